//! Where frames and rows enter the graph.

mod damage;
mod demux;
mod file;
pub mod rows;
pub mod rtsp;
mod size;
pub mod synthetic;
mod timeline;

pub use file::{AtEnd, DecodeWhich, FileParams, FileSource};
