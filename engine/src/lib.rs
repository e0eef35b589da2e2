//! flowrun's engine: runs any [`flowrun_dsl::plan::Plan`] and knows no operator by name.

// The derives name this crate by its path from outside.
extern crate self as flowrun_engine;

pub mod batch;
pub mod errors;
pub mod frame;
pub mod infer;
pub mod names;
pub mod operator;
pub mod rows;
pub mod time;
