//! The engine inside a program of one's own: compile, prepare, start, watch, stop, read what came out.
//!
//! ```text
//! cargo run --release --example 03_embed
//! ```

use std::path::Path;
use std::time::Duration;

use flowrun::engine::run::{Options, Report};
use flowrun::prelude::*;

/// Endless, at the pace of time.
const GRAPH: &str = r#"
cameras junction { synthetic north fps=30 seed=7; }
flow all from=junction { truth-tracks as=tracks; }
write { jsonl "out/embed/tracks.jsonl" from=all.tracks; }
"#;

/// The whole program.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::builtin();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));

    // Text to plan: everything that is wrong with the text, at once and with its place.
    let (source, compiled) = flowrun::compile_text("embedded", GRAPH, folder, &registry)?;
    println!(
        "{} nodes, plan {}",
        compiled.plan.nodes.len(),
        &compiled.plan.hash[..12]
    );

    // Plan to run: everything that can fail on this machine, before the first frame.
    let prepared = flowrun::prepare_compiled(&source, compiled, &registry, &Options::default())?;
    let running = prepared.start()?;

    // Numbers are there while it runs.
    while Report::of(running.context()).cameras[0].counts.answered < 10 {
        std::thread::sleep(Duration::from_millis(20));
    }
    running.stop();
    let report = running.wait();
    if let Some(cause) = report.failure {
        return Err(cause.into());
    }
    let rows = std::fs::read_to_string(folder.join("out/embed/tracks.jsonl"))?;
    println!(
        "{} frames, {} rows",
        report.cameras[0].counts.answered,
        rows.lines().count()
    );
    Ok(())
}
