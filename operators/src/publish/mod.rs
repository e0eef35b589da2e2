//! What leaves the graph for those who watch it: resources on the run's site.

pub mod cmaf;
mod cmaf_boxes;
mod events;
pub mod hls;
mod hls_channel;
mod hls_clock;
mod hls_playlist;
mod hls_resource;
mod hls_ring;
pub mod sse;
#[cfg(test)]
mod tests;
