//! What does an edit of a running graph cost those who are not edited?
//!
//! | question | bar |
//! |---|---|
//! | how long from asking for another threshold until it holds, beside a detector at work? | 50 ms |
//! | by how much is the longest pause between two answers longer than the interval of frames? | one interval |
//! | 1,000 cameras of rows: how long does adding one take, and what does it do to the others' p99? | 100 ms; 10 % or 2 ms |
//! | 2,000 edits: does memory stay where it was? | yes |
//!
//! `cargo bench --bench reload -- added` runs one part: `threshold`, `rebuilt`, `added` or `many`. Prints medians and the worst; never fails on what it measures. The detector needs ONNX Runtime, else its part is
//! left out. `FLOWRUN_BENCH_EDITS` is the number of edits in the last part. Random edits for
//! minutes are `make soak-reload`.

use std::path::Path;
use std::time::{Duration, Instant};

use flowrun::engine::metrics::Counts;
use flowrun::engine::reload::{Outcome, Receipt};
use flowrun::engine::run::{Options, Running};
use flowrun::prelude::*;

#[path = "support/beat.rs"]
mod beat;

use beat::{Beat, Smooth};

/// The binary's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Edits in each measured series.
const EDITS: usize = 50;

fn registry() -> Registry {
    Registry::builtin().with_source::<Beat>().with::<Smooth>()
}

fn start(graph: &str, workers: usize) -> Option<Running> {
    let registry = registry();
    let (source, compiled) =
        flowrun::compile_text("bench.kdl", graph, Path::new("."), &registry).expect("the graph is right");
    match flowrun::prepare_compiled(&source, compiled, &registry, &Options { workers }) {
        Ok(prepared) => Some(prepared.start().expect("threads")),
        Err(error) => {
            println!("left out: {error}");
            None
        }
    }
}

fn edit(running: &Running, graph: &str) -> std::sync::Arc<Receipt> {
    let (_, compiled) =
        flowrun::compile_text("bench.kdl", graph, Path::new("."), &registry()).expect("the graph is right");
    match running.editor().reload(compiled.plan, None, None) {
        Ok(Outcome::Made(receipt)) => {
            assert_eq!(
                (receipt.lost, receipt.doubled),
                (0, 0),
                "an edit lost or doubled frames"
            );
            receipt
        }
        other => panic!("the edit was not made: {other:?}"),
    }
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

fn told(what: &str, values: &mut [f64]) {
    println!(
        "{what:<58} median {:>7.2} ms, p90 {:>7.2} ms, worst {:>7.2} ms",
        quantile(values, 0.5),
        quantile(values, 0.9),
        quantile(values, 1.0)
    );
}

fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

/// Threshold edits beside a detector.
fn threshold() {
    let graph = |score: f64| {
        format!(
            r#"cameras junction {{
    defaults size="640x360" fps=10
    synthetic a seed=1
    synthetic b seed=2
    synthetic c seed=3
    synthetic d seed=4
}}
model demo "models/demo-yolo11n.onnx"
flow seen from=junction {{
    detect demo min-score={score} threads=1
    track
}}
"#
        )
    };
    let Some(running) = start(&graph(0.25), 2) else { return };
    std::thread::sleep(Duration::from_secs(4));
    running.context().ledger.longest_gap();
    std::thread::sleep(Duration::from_secs(5));
    let usual = ms(running.context().ledger.longest_gap());
    let (mut applied, mut gaps) = (Vec::new(), Vec::new());
    for index in 0..EDITS {
        let receipt = edit(&running, &graph(0.26 + index as f64 * 0.001));
        applied.push(ms(receipt.applied_us));
        gaps.push(ms(receipt.longest_gap_us));
        std::thread::sleep(Duration::from_millis(150));
    }
    running.stop();
    let report = running.wait();
    let shed: u64 = report.cameras.iter().map(|camera| camera.counts.shed()).sum();
    println!(
        "four cameras of 10 fps, a detector and a tracker, 2 workers; {EDITS} edits of its threshold; {shed} shed"
    );
    told("  asked until it holds (bar 50)", &mut applied);
    told(
        &format!("  longest pause at an edit (interval 100, usual {usual:.0})"),
        &mut gaps,
    );
}

/// Rebuilt nodes whose state crosses over, without a detector.
fn rebuilt() {
    let graph = |anchor: &str| {
        format!(
            r#"cameras junction {{
    defaults size="160x90" fps=30
    synthetic a seed=1
    synthetic b seed=2
    synthetic c seed=3
    synthetic d seed=4
}}
zones cameras=junction {{ polygon box 0.1 0.1 {anchor} 0.1 0.9 0.9 0.1 0.9; }}
flow seen from=junction {{
    truth
    track
    visit zones=box
}}
"#
        )
    };
    let running = start(&graph("0.9"), 2).expect("nothing is needed");
    std::thread::sleep(Duration::from_secs(2));
    running.context().ledger.longest_gap();
    std::thread::sleep(Duration::from_secs(3));
    let usual = ms(running.context().ledger.longest_gap());
    let (mut applied, mut gaps, mut holds) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..EDITS {
        let receipt = edit(&running, &graph(&format!("{:.3}", 0.8 - index as f64 * 0.001)));
        applied.push(ms(receipt.applied_us));
        gaps.push(ms(receipt.longest_gap_us));
        holds.push(ms(receipt.hold_us));
        std::thread::sleep(Duration::from_millis(100));
    }
    running.stop();
    running.wait();
    println!("four cameras of 30 fps, 2 workers; {EDITS} edits of a zone");
    told("  asked until it holds", &mut applied);
    told("  frames held back to agree on the tick", &mut holds);
    told(
        &format!("  longest pause at an edit (interval 33, usual {usual:.0})"),
        &mut gaps,
    );
}

fn rows_graph(cameras: usize) -> String {
    let lines: String = (0..cameras).map(|index| format!("    beat c{index}\n")).collect();
    format!(
        "cameras all {{\n{lines}}}\nflow rows from=all {{\n    smooth\n    smooth\n    smooth\n    smooth\n    smooth\n}}\n"
    )
}

/// The latency of the last of the five operators.
fn latency(running: &Running) -> Counts {
    let generation = running.context().generation();
    generation.node(generation.plan.nodes.len() - 1).latency_us.counts()
}

/// A thousand cameras of rows, to which one more is added, fifty times.
fn added() {
    const CAMERAS: usize = 1_000;
    const WINDOW: Duration = Duration::from_millis(400);
    let running = start(&rows_graph(CAMERAS), 2).expect("nothing is needed");
    std::thread::sleep(Duration::from_secs(3));
    let (mut applied, mut quiet, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..EDITS {
        let before = latency(&running);
        std::thread::sleep(WINDOW);
        quiet.push(latency(&running).since(&before));
        let graph = rows_graph(CAMERAS + index + 1);
        let (_, compiled) = flowrun::compile_text("bench.kdl", graph.as_str(), Path::new("."), &registry())
            .expect("the graph is right");
        let (before, began) = (latency(&running), Instant::now());
        let Ok(Outcome::Made(receipt)) = running.editor().reload(compiled.plan, None, None) else {
            panic!("the edit was not made");
        };
        applied.push(ms(receipt.applied_us));
        std::thread::sleep(WINDOW.saturating_sub(began.elapsed()));
        busy.push(latency(&running).since(&before));
    }
    running.stop();
    let report = running.wait();
    let shed: u64 = report.cameras.iter().map(|camera| camera.counts.shed()).sum();
    println!("1,000 cameras of 30 rows a second through five operators, 2 workers; {EDITS} cameras added; {shed} shed");
    told("  asked until it holds (bar 100)", &mut applied);
    let all = |windows: Vec<Counts>| {
        windows
            .into_iter()
            .reduce(|sum, next| sum.plus(&next))
            .map(|sum| ms(sum.quantile(0.99)))
    };
    let (quiet, busy) = (all(quiet).unwrap_or(0.0), all(busy).unwrap_or(0.0));
    println!("  p99 pooled over all windows (bar +10 % or +2 ms)        without {quiet:>6.2} ms, with {busy:>6.2} ms");
}

fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * 4
}

/// Thousands of edits of all kinds.
fn many() {
    let edits: usize = std::env::var("FLOWRUN_BENCH_EDITS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2_000);
    let graph = |index: usize| {
        let more = match index % 4 {
            0 => "    beat more\n",
            _ => "",
        };
        let query = match index % 3 {
            0 => "query n from=rows.last { window \"1s\"; select n=\"count(*)\"; }\n",
            _ => "",
        };
        let weight = 0.1 + (index % 7) as f64 / 10.0;
        format!(
            "cameras all {{\n    beat a\n    beat b\n    beat c\n{more}}}\nflow rows from=all {{\n    smooth weight={weight}\n    smooth as=last\n}}\n{query}"
        )
    };
    let running = start(&graph(1), 2).expect("nothing is needed");
    std::thread::sleep(Duration::from_secs(1));
    println!("{edits} edits one upon the other: cameras, queries and parameters come and go, 2 workers");
    let began = Instant::now();
    let mut settled = 0;
    for index in 2..=edits + 1 {
        edit(&running, &graph(index));
        if index == edits / 10 {
            settled = resident_kib();
        }
    }
    let (after, took) = (resident_kib(), began.elapsed());
    let counts = running.context().ledger.total();
    running.stop();
    running.wait();
    println!(
        "  {:.1} ms each; resident {settled} KiB after {} edits, {after} KiB after {edits}; {} frames, {} lost, {} doubled",
        took.as_secs_f64() * 1e3 / edits as f64,
        edits / 10,
        counts.admitted,
        counts.lost,
        counts.doubled
    );
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let parts: [(&str, fn()); 4] = [
        ("threshold", threshold),
        ("rebuilt", rebuilt),
        ("added", added),
        ("many", many),
    ];
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            part();
        }
    }
}
