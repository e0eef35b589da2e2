//! What is published.
