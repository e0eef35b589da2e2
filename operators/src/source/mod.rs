//! Where frames and rows enter the graph.

mod damage;
mod demux;
mod encoded;
mod file;
mod nal;
mod packets;
pub mod photo;
pub mod rows;
pub mod rtsp;
mod size;
pub mod synthetic;
mod timeline;

pub use file::{AtEnd, DecodeWhich, FileParams, FileSource};
