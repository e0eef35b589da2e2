//! What do 1,000 cameras of 30 rows a second cost through five operators of the public API?
//!
//! CPU of the whole process by getrusage, sources included, after two seconds of settling. The bar is
//! 5 % of one core. `FLOWRUN_BENCH_SECONDS` sets how long each run takes, 10 by default.

use std::time::Instant;

use flowrun::engine::run::{Options, Report};
use flowrun::prelude::*;

#[path = "support/beat.rs"]
mod beat;

use beat::{Beat, Smooth};

/// The binary's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Seconds of processor time that this process has used.
fn cpu_seconds() -> f64 {
    // SAFETY: `usage` is a plain struct of integers, valid when zeroed, and getrusage fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn measure(cameras: usize, workers: usize, seconds: u64) -> (f64, f64, Report) {
    let registry = Registry::builtin().with_source::<Beat>().with::<Smooth>();
    let lines: String = (0..cameras).map(|index| format!("    beat c{index}\n")).collect();
    let graph = format!(
        "cameras all {{\n{lines}}}\nflow rows from=all {{\n    smooth\n    smooth\n    smooth\n    smooth\n    smooth\n}}\n"
    );
    let folder = std::path::Path::new(".");
    let (source, compiled) = flowrun::compile_text("bench.kdl", graph, folder, &registry).expect("the graph is right");
    let prepared = flowrun::prepare_compiled(&source, compiled, &registry, &Options { workers }).expect("it can run");
    let running = prepared.start().expect("threads");
    let admitted = |report: &Report| report.cameras.iter().map(|camera| camera.counts.answered).sum::<u64>();
    std::thread::sleep(Duration::from_secs(2));
    let (cpu, began, before) = (cpu_seconds(), Instant::now(), admitted(&Report::of(running.context())));
    std::thread::sleep(Duration::from_secs(seconds));
    let share = (cpu_seconds() - cpu) / began.elapsed().as_secs_f64();
    let rate = (admitted(&Report::of(running.context())) - before) as f64 / began.elapsed().as_secs_f64();
    running.stop();
    (share, rate, running.wait())
}

fn main() {
    let seconds = std::env::var("FLOWRUN_BENCH_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    println!("cameras  workers   rows/s  % of a core  p50 ms  p99 ms   shed");
    for (cameras, workers) in [(1, 1), (100, 1), (1_000, 1), (1_000, 2), (1_000, 1), (1_000, 1)] {
        let (share, rate, report) = measure(cameras, workers, seconds);
        let last = report.nodes.last().expect("five operators");
        let shed: u64 = report.cameras.iter().map(|camera| camera.counts.shed()).sum();
        let ms = |span: Duration| span.as_secs_f64() * 1e3;
        println!(
            "{cameras:>7}  {workers:>7}  {rate:>7.0}  {:>11.2}  {:>6.2}  {:>6.2}  {shed:>5}",
            share * 100.0,
            ms(last.p50),
            ms(last.p99)
        );
    }
}
