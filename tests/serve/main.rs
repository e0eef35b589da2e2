//! The server from outside: what it says of a run, what it publishes, and what those get who mean it no good.

#![allow(clippy::unwrap_used, missing_docs)]

mod attacks;
mod binary;
mod client;
mod documents;
mod edits;
mod events;
mod exposition;
mod segments;
mod served;
#[path = "../support/mod.rs"]
mod support;
