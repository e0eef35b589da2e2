//! flowrun's engine: runs any [`flowrun_dsl::plan::Plan`] and knows no operator by name.

// The derives name this crate by its path from outside.
extern crate self as flowrun_engine;

pub mod admission;
pub mod audience;
pub mod batch;
pub mod cells;
pub mod clock;
pub mod dataflow;
pub mod demand;
pub mod device;
pub mod errors;
pub mod frame;
pub mod health;
pub mod infer;
pub mod metrics;
pub mod names;
pub mod network;
pub mod operator;
pub mod packet;
pub mod recent;
pub mod registry;
pub mod reload;
pub mod roster;
pub mod rows;
pub mod run;
pub mod secret;
pub mod site;
pub mod testing;
pub mod time;
