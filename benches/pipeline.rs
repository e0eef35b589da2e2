//! How much of a bare inference loop's speed does a whole graph reach: file -> detect -> track?
//!
//! The same model, threads and session settings; the clip is 768x432, the model's input 640x640. The two
//! take turns, because machines drift; what counts is the ratio of each pair. The bar is 95 % with one
//! thread and 88 % with two. Needs the reference data and ONNX Runtime.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flowrun::engine::infer::{AUTO, Model, ModelOptions, TensorView};
use flowrun::engine::run::Options;
use flowrun::prelude::*;

/// Pairs that count, after one that does not: `FLOWRUN_BENCH_PAIRS`, 5 by default.
fn pairs() -> usize {
    let given = std::env::var("FLOWRUN_BENCH_PAIRS")
        .ok()
        .and_then(|text| text.parse().ok());
    given.unwrap_or(5).max(1)
}

fn reference_data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("FLOWRUN_DATA").map_or_else(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// Frames a second of `run` alone, on one resident input, for as long as the graph took.
fn bare(model: &mut Model, for_at_least: Duration) -> f64 {
    let dims: Vec<usize> = model.input().dims.iter().map(|dim| dim.unwrap_or(1)).collect();
    let input = vec![0.45; dims.iter().product()];
    let (began, mut frames) = (Instant::now(), 0);
    while began.elapsed() < for_at_least {
        drop(model.run(&dims, TensorView::F32(&input)).expect("the model runs"));
        frames += 1;
    }
    f64::from(frames) / began.elapsed().as_secs_f64()
}

/// Frames a second of the graph, from the first frame's admission to the last row written.
fn graph(data: &Path, folder: &Path, threads: usize) -> (f64, Duration) {
    let text = format!(
        "cameras road {{ file car \"{clip}\" pace=max; }}\nmodel yolo11n \"{model}\"\nflow vehicles from=road {{\n    detect yolo11n threads={threads}\n    track bytetrack\n}}\nwrite {{ jsonl \"tracks.jsonl\" from=vehicles; }}\n",
        clip = data.join("video/intel_car-detection.mp4").display(),
        model = data.join("models/yolo11n-coco.onnx").display(),
    );
    let report = flowrun::run_text(&text, folder, &Registry::builtin(), &Options::default()).expect("the graph runs");
    let frames: u64 = report.cameras.iter().map(|camera| camera.counts.answered).sum();
    (frames as f64 / report.elapsed.as_secs_f64(), report.elapsed)
}

fn main() {
    let Some(data) = reference_data() else {
        println!("skipped: no reference data");
        return;
    };
    let folder = std::env::temp_dir().join(format!("flowrun-pipeline-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    for threads in [1, 2] {
        let options = ModelOptions::new(threads, AUTO);
        let mut model = match Model::open(&data.join("models/yolo11n-coco.onnx"), &options) {
            Ok(model) => model,
            Err(error) => {
                println!("skipped: {error}");
                return;
            }
        };
        let mut shares = Vec::new();
        for pair in 0..=pairs() {
            let (whole, took) = graph(&data, &folder, threads);
            let bare = bare(&mut model, took);
            println!(
                "{threads} threads: graph {whole:.2} fps, bare session {bare:.2} fps, {:.1} %",
                100.0 * whole / bare
            );
            if pair > 0 {
                shares.push(100.0 * whole / bare);
            }
        }
        shares.sort_by(f64::total_cmp);
        println!(
            "{threads} threads: median {:.1} %, from {:.1} to {:.1} %",
            shares[shares.len() / 2],
            shares[0],
            shares[shares.len() - 1]
        );
    }
    // The folder lies in the system's own for temporary files; what is left of it there is harmless.
    let _ = std::fs::remove_dir_all(folder);
}
