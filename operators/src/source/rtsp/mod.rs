//! Network cameras that speak RTSP.
//!
//! ```text
//! network threads, a task a camera                          the camera's own thread
//! connect, retry  ->  RTP to access units  ->  Queue  ->  decode  ->  frames
//! (session, retry)    (stream, clock, order)   (bounded)  (source)
//! ```

mod clock;
mod order;
mod params;
mod queue;
mod retry;
mod session;
mod source;
mod stream;
mod trouble;

pub use params::{RtspParams, Transport};
pub use source::RtspSource;
