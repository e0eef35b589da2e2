//! The ring and those who read it.
