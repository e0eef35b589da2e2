//! Runs a graph file to its end and says what became of every frame.
//!
//! ```text
//! cargo run --release --example 01_run_a_graph
//! ```

use std::path::Path;

use flowrun::engine::run::Options;
use flowrun::prelude::*;

/// The whole program.
pub fn main() -> Result<(), flowrun::GraphError> {
    let graph = Path::new(env!("CARGO_MANIFEST_DIR")).join("graphs/count-only.kdl");
    let report = flowrun::run_file(&graph, &Registry::builtin(), &Options { workers: 2 })?;
    for camera in &report.cameras {
        let counts = camera.counts;
        println!(
            "{}: {} frames admitted, {} answered",
            camera.name, counts.admitted, counts.answered
        );
        assert_eq!(
            (counts.admitted, counts.doubled),
            (counts.answered, 0),
            "no frame is lost or doubled"
        );
    }
    for node in &report.nodes {
        println!(
            "{}: {} rows, 99 % of frames within {:?}",
            node.name, node.rows, node.p99
        );
    }
    Ok(())
}
