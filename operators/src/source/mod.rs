//! Where frames enter the graph.

mod damage;
mod demux;
mod file;
mod timeline;

pub use file::{AtEnd, DecodeWhich, FileParams, FileSource};
