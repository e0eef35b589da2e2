//! Network cameras: GStreamer's RTSP server is the camera, whole runs are what is looked at. Without GStreamer's Python
//! bindings these tests say so and pass.

#![allow(clippy::unwrap_used, missing_docs)]

mod cameras;
mod captures;
mod probe;
mod secrets;
#[path = "../support/rtsp.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;
mod trouble;
