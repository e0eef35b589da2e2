//! The model that comes with flowrun finds what is on pictures of the synthetic junction that it was not trained on.
//! Needs ONNX Runtime. `make bench-demo` measures the same on many more pictures, with tracks and crossings.

#[path = "support/scoring.rs"]
mod scoring;
mod support;

use flowrun::engine::run::Options;
use flowrun::prelude::*;
use scoring::{Truth, mean, precision, read};
use support::{Folder, root};

/// The shorter side of a graded box, in pixels of a picture of 640x360: see models/README.md.
const SHORTEST: f64 = 5.0;

#[test]
fn the_demo_model_sees_a_junction_that_it_does_not_know() {
    if flowrun::engine::infer::runtime().is_err() {
        println!("skipped: no ONNX Runtime");
        return;
    }
    let folder = Folder::new();
    // Pictures are 2 s apart, so that most things have moved on.
    let graph = format!(
        r#"cameras junction {{
    defaults frames=20 fps=0.5 pace=max
    synthetic day seed=51
    synthetic night seed=52 light=night
}}
model demo "{}"
flow seen from=junction {{ detect demo min-score=0.01 iou=0.6 max=300 as=boxes; }}
flow real from=junction {{ truth-tracks as=tracks; }}
flow clear from=junction {{ truth-tracks min-visible=0.3 as=tracks; }}
write {{
    jsonl "boxes.jsonl" from=seen.boxes
    jsonl "real.jsonl" from=real.tracks
    jsonl "clear.jsonl" from=clear.tracks
}}
"#,
        root().join("models/demo-yolo11n.onnx").display()
    );
    let run = flowrun::run_text(&graph, &folder.path(""), &Registry::builtin(), &Options::default());
    run.unwrap_or_else(|error| panic!("{error}"));
    let rows = |name: &str| read(&folder.path(name));
    let truth = Truth::new(&rows("real.jsonl"), &rows("clear.jsonl"), SHORTEST);
    assert!(truth.graded_boxes() > 500, "{} boxes", truth.graded_boxes());
    let averages = precision(&truth, &rows("boxes.jsonl"));
    assert_eq!(averages.len(), 6, "{averages:?}");
    assert!(mean(&averages) >= 0.85, "mAP50 {:.3} of {averages:?}", mean(&averages));
}
