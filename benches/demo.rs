//! How well do the demo model, the tracker and lines see a junction that they have not seen before?
//!
//! Synthetic cameras by day and at night, of seeds that no training picture has, go through one graph: the model, the
//! tracker and three lines on one side, the truth and the same lines on the other. What is graded: boxes of which at least
//! 30 % is to be seen and whose shorter side has 5 pixels of 360, see models/README.md. The bars: mAP50 0.9, IDF1
//! 0.85, crossings within 3 % of at least 500. Needs ONNX Runtime. `FLOWRUN_BENCH_FRAMES` is the frames a camera,
//! `FLOWRUN_BENCH_MODEL` another model's file, `FLOWRUN_BENCH_DETECT` and `FLOWRUN_BENCH_TRACK` are other parameters.
//! Whoever chooses parameters does so on other cameras: `FLOWRUN_BENCH_SEED` 20 stands for seeds 51 to 53 and 61 to 63.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use flowrun::engine::run::Options;
use flowrun::prelude::*;
use serde::Deserialize;

#[path = "../tests/support/scoring.rs"]
mod scoring;

use scoring::{Rows, Truth, identity, mean, precision, read};

/// Seeds of day and night; training has those from 10,000,000 on.
const DAY: [u64; 3] = [31, 32, 33];
const NIGHT: [u64; 3] = [41, 42, 43];
/// The shorter side of a graded box, in pixels of a picture of 640x360.
const SHORTEST: f64 = 5.0;

#[derive(Deserialize)]
struct Crossed {
    line: String,
    direction: String,
}

/// What `detect` and `track` are told beyond their defaults: graphs/junction.kdl has the same, but for the boxes of low
/// scores that average precision asks for and tracks do not.
const DETECT: &str = "agnostic=#true min-score=0.01 max=300";
const TRACK: &str = "track-high-thresh=0.3 track-low-thresh=0.25 new-track-thresh=0.6 track-buffer=60 match-thresh=0.85 fuse-score=#false";

/// A text of the environment.
fn given(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A whole number of the environment.
fn number(name: &str, usual: u64) -> u64 {
    given(name).and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn frames() -> u64 {
    number("FLOWRUN_BENCH_FRAMES", 1_500).max(1)
}

fn graph(model: &Path, frames: u64) -> String {
    let more = number("FLOWRUN_BENCH_SEED", 0);
    let camera = |light: &str, seed: u64| {
        let seed = seed + more;
        format!("    synthetic {light}{seed} seed={seed} light={light} frames={frames} fps=10 pace=max\n")
    };
    let detect = given("FLOWRUN_BENCH_DETECT").unwrap_or_else(|| DETECT.into());
    let track = given("FLOWRUN_BENCH_TRACK").unwrap_or_else(|| TRACK.into());
    let cameras: String = DAY
        .iter()
        .map(|seed| camera("day", *seed))
        .chain(NIGHT.iter().map(|seed| camera("night", *seed)))
        .collect();
    format!(
        r#"cameras junction {{
{cameras}}}
model demo "{model}"
zones cameras=junction {{
    line stop 0.18 0.78 0.72 0.78
    line west 0.27 0.28 0.27 0.50
    line east 0.70 0.28 0.76 0.50
}}
flow seen from=junction {{
    detect demo {detect} as=boxes
    track from=boxes as=tracks {track}
    cross lines="stop,west,east" from=tracks as=crossings
}}
flow real from=junction {{
    truth-tracks as=tracks
    cross lines="stop,west,east" from=tracks as=crossings
}}
flow clear from=junction {{
    truth-tracks min-visible=0.3 as=tracks
}}
flow whole from=junction {{
    truth-tracks min-visible=1.0 as=tracks
}}
write {{
    jsonl "boxes.jsonl" from=seen.boxes
    jsonl "tracks.jsonl" from=seen.tracks
    jsonl "crossings.jsonl" from=seen.crossings
    jsonl "real.jsonl" from=real.tracks
    jsonl "real-crossings.jsonl" from=real.crossings
    jsonl "clear.jsonl" from=clear.tracks
    jsonl "whole.jsonl" from=whole.tracks
}}
"#,
        model = model.display()
    )
}

/// Rows of cameras whose names begin so.
fn of(rows: &Rows, light: &str) -> Rows {
    let own = rows.iter().filter(|(at, _)| at.0.starts_with(light));
    own.map(|(at, rows)| (at.clone(), rows.clone())).collect()
}

/// How many crossings there are of each line and way.
fn passings(path: &Path) -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(path).expect("a file of crossings");
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let row: Crossed = serde_json::from_str(line).expect("a crossing");
        *counts.entry(format!("{} {}", row.line, row.direction)).or_default() += 1;
    }
    counts
}

fn main() {
    if let Err(error) = flowrun::engine::infer::runtime() {
        println!("skipped: {error}");
        return;
    }
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo-yolo11n.onnx");
    let model = std::env::var_os("FLOWRUN_BENCH_MODEL").map_or_else(own, PathBuf::from);
    let folder = std::env::temp_dir().join(format!("flowrun-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = graph(&model, frames());
    let report = flowrun::run_text(&text, &folder, &Registry::builtin(), &Options::default()).expect("the graph runs");
    let answered: u64 = report.cameras.iter().map(|camera| camera.counts.answered).sum();
    println!("{answered} frames in {:.0} s", report.elapsed.as_secs_f64());

    let rows = |name: &str| read(&folder.join(name));
    let (boxes, tracks, whole) = (rows("boxes.jsonl"), rows("tracks.jsonl"), rows("whole.jsonl"));
    let (real, clear) = (rows("real.jsonl"), rows("clear.jsonl"));
    for light in ["", "day", "night"] {
        let (boxes, tracks) = (of(&boxes, light), of(&tracks, light));
        let (real, clear) = (of(&real, light), of(&clear, light));
        let name = if light.is_empty() { "all" } else { light };
        for (floor, shortest) in [("", SHORTEST), (" of any size", 0.0)] {
            let truth = Truth::new(&real, &clear, shortest);
            let averages = precision(&truth, &boxes);
            let parts: Vec<String> = averages
                .iter()
                .map(|(class, (average, total))| format!("{class} {average:.3} of {total}"))
                .collect();
            println!(
                "{name}: mAP50 {:.3}, IDF1 {:.3} on {} boxes{floor}: {}",
                mean(&averages),
                identity(&truth, &tracks).idf1(),
                truth.graded_boxes(),
                parts.join(", ")
            );
        }
    }
    let truth = Truth::new(&real, &clear, SHORTEST);
    let unhidden = Truth::new(&clear, &whole, SHORTEST).graded_boxes();
    let (graded, all) = (truth.graded_boxes(), real.values().map(Vec::len).sum::<usize>());
    println!(
        "graded are {:.1} % of {all} boxes; {:.1} % of them are partly hidden",
        100.0 * graded as f64 / all as f64,
        100.0 * (1.0 - unhidden as f64 / graded as f64)
    );
    let (counted, truly) = (
        passings(&folder.join("crossings.jsonl")),
        passings(&folder.join("real-crossings.jsonl")),
    );
    let names: BTreeSet<_> = counted.keys().chain(truly.keys()).collect();
    for name in names {
        let of = |counts: &BTreeMap<_, usize>| counts.get(name).copied().unwrap_or(0);
        println!("{name}: {} counted, {} true", of(&counted), of(&truly));
    }
    let (counted, truly): (usize, usize) = (counted.values().sum(), truly.values().sum());
    println!(
        "crossings: {counted} counted, {truly} true, {:+.1} %",
        100.0 * (counted as f64 / truly as f64 - 1.0)
    );
    // The folder lies in the system's own for temporary files; what is left of it there is harmless.
    let _ = std::fs::remove_dir_all(folder);
}
