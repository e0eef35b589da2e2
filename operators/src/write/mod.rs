//! Where rows are kept.

pub mod durable;
pub mod jsonl;
mod line;
