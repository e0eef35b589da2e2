//! Edits of running graphs (law 4): nothing is lost, nothing comes twice, and what an edit does not concern goes on.

mod cameras;
#[allow(clippy::unwrap_used, dead_code, reason = "made for the tests of the server")]
#[path = "../serve/client.rs"]
mod client;
mod connections;
mod edits;
mod engines;
mod invalid;
#[path = "../fuzz/mutate.rs"]
mod mutate;
mod pair;
#[path = "../support/rtsp.rs"]
mod rtsp;
mod scene;
mod schedule;
mod soak;
mod stamp;
mod viewer;
