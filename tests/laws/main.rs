//! The laws of ARCHITECTURE.md, held on whole runs: what goes in through sources comes out of sinks.

mod answers;
mod clips;
mod completeness;
mod counts;
mod determinism;
mod devices;
mod lanes;
mod live;
mod pictures;
mod scene;
mod trouble;
mod truth;
