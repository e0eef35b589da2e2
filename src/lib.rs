//! flowrun: video analytics as a graph in a file.
//!
//! The binary `flowrun` runs graphs of built-in operators. A researcher's own binary adds operators to
//! them and keeps the whole command line:
//!
//! ```no_run
//! use flowrun::prelude::*;
//!
//! fn main() {
//!     flowrun::main(Registry::builtin())
//! }
//! ```

pub use flowrun_dsl as dsl;
pub use flowrun_engine as engine;
pub use flowrun_operators as operators;

pub mod cmd;
pub mod engines;
mod graph;
pub mod live;
pub mod serve;

pub use cmd::main;
pub use graph::{GraphError, compile_file, compile_file_with, compile_text, prepare_compiled, run_file, run_text};

use flowrun_engine::registry::Registry;

/// What an operator's author needs.
pub mod prelude {
    pub use crate::Builtin;
    pub use flowrun_dsl::params::{Bitrate, Bytes, Choice, Line, Model, Params, Ref, Secret, Template, Url, Zone};
    pub use flowrun_dsl::schema::Row;
    pub use flowrun_engine::batch::{Batch, RowType};
    pub use flowrun_engine::errors::{OperatorError, Result};
    pub use flowrun_engine::frame::Frame;
    pub use flowrun_engine::operator::{Operator, Output, Setup};
    pub use flowrun_engine::registry::Registry;
    pub use flowrun_engine::rows::{At, Crossing, Detection, Direction, Phase, Rect, Size, Track, TrackId, Visit};
    pub use flowrun_engine::testing::Harness;
    pub use flowrun_engine::time::EventTime;
    pub use std::time::Duration;
}

/// A registry that starts from the built-in operators.
pub trait Builtin {
    /// All built-in operators.
    fn builtin() -> Self;
}

impl Builtin for Registry {
    fn builtin() -> Self {
        let mut registry = Registry::new::<flowrun_operators::detect::ModelParams>();
        for definition in flowrun_operators::BUILTIN {
            registry.add(std::sync::Arc::new(*definition));
        }
        registry
    }
}
