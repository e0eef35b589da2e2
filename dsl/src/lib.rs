//! flowrun's language: text to a checked [`plan::Plan`].
//!
//! ```text
//! graph.kdl -> document -> graph -> plan
//!              KDL, spans  names    types, defaults, placement
//! ```
//! Knows no timely, no FFmpeg and no CUDA. What operators exist is told by a [`port::Catalogue`].

// The derives name this crate by its path from outside.
extern crate self as flowrun_dsl;

pub mod diagnostic;
pub mod document;
pub mod expr;
pub mod fmt;
pub mod graph;
pub mod params;
pub mod plan;
pub mod port;
pub mod schema;
pub mod source;
pub mod system;
pub mod value;

mod compile;
mod suggest;
mod template;

pub use compile::{Compiled, Place, Spans, compile, compile_with};
pub use diagnostic::{Diagnostic, Diagnostics};
pub use document::include;
pub use source::{SourceFile, Span};
