//! Where rows are kept.

pub mod durable;
pub(crate) mod encode;
pub mod jsonl;
pub(crate) mod line;
pub mod mp4;
