//! What leaves the graph for those who watch it: resources on the run's site.

mod events;
pub mod sse;
