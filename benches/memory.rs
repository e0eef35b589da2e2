//! Does memory stay where it is, however long a run lasts?
//!
//! Everything that could grow is in one graph at the pace of time: sixteen recorded cameras that start over at
//! their end, with a look at every picture; a seventeenth through a detector and a tracker, where there is a model
//! and ONNX Runtime; eight synthetic cameras whose traffic never repeats through a tracker, zones and lines,
//! sliding windows, and files that are written. Without reference data the sixteen are synthetic too, and rendered.
//!
//! Prints resident memory, threads, open files and unanswered frames every five seconds, and in the end by how much the
//! last minute's median is above that of minute three, when caches, pools and windows are full. A machine that falls
//! behind fills the queues up to their bounds: unanswered frames tell that from a leak. `FLOWRUN_BENCH_MINUTES` says
//! for how long, 10 unless set. It measures and never fails on what it measures; it fails when the run does.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use flowrun::engine::admission::CameraCounts;
use flowrun::engine::run::{Options, Report, Running};
use flowrun::prelude::*;

#[path = "support/brightness.rs"]
mod brightness;

use brightness::Brightness;

/// The binary's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How often memory is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// When everything that fills is full.
const SETTLED: Duration = Duration::from_secs(120);
const MINUTES: f64 = 10.0;
/// What medians are of.
const SPAN: Duration = Duration::from_secs(60);

/// Cameras that give pictures, and cameras that know their truth.
const PICTURES: usize = 16;
const JUNCTIONS: usize = 8;

/// Small clips of fixed cameras and of trouble: loops of 3 to 30 seconds, six codecs and containers, one that
/// changes its size on the way, two that end in the middle of a picture.
const CLIPS: [&str; 12] = [
    "video/bgslibrary_video02.avi",
    "video/bgslibrary_video03.avi",
    "video/intel_car-detection.mp4",
    "video/intel_one-by-one-person-detection.mp4",
    "video/odd/hw2_h264_opengop_b3.mp4",
    "video/odd/hw2_h264_vfr.mp4",
    "video/odd/hw2_h265_opengop_b3.mp4",
    "video/odd/hw2_mjpeg.avi",
    "video/odd/hw2_fmp4_truncated.mp4",
    "video/odd/hw2_midstart_truncated.ts",
    "video/odd/resolution_change_640x480_to_320x240.h264",
    "video/torchcodec/h265_video.mp4",
];

/// The folder with clips and model, if there is one.
fn reference_data() -> Option<PathBuf> {
    let given = std::env::var_os("FLOWRUN_DATA").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    folder.join(CLIPS[0]).exists().then_some(folder)
}

fn pictures(data: Option<&Path>) -> String {
    // Few in flight: on a busy machine all that may be unanswered is, and pictures would hide what leaks.
    let mut cameras = String::from("cameras recorded {\n    defaults in-flight=2\n");
    for index in 0..PICTURES {
        // Writing to a String does not fail.
        let _ = match data {
            Some(data) => {
                let clip = data.join(CLIPS[index % CLIPS.len()]);
                writeln!(cameras, "    file p{index} {clip:?} pace=media at-end=loop")
            }
            None => writeln!(cameras, "    synthetic p{index} seed={index} size=\"320x180\""),
        };
    }
    cameras + "}\nflow looked-at from=recorded { brightness as=light; }\n"
}

fn detector(data: &Path) -> String {
    format!(
        r#"
model yolo {:?}
cameras detected {{ file d0 {:?} pace=media at-end=loop fps=2; }}
flow found from=detected {{ detect yolo threads=1; track as=tracks; }}
write {{ jsonl "found.jsonl" from=found.tracks; }}
"#,
        data.join("models/yolo11n-coco.onnx"),
        data.join(CLIPS[2])
    )
}

fn junctions() -> String {
    let mut cameras = String::from("cameras junction {\n    defaults fps=10 density=2\n");
    for index in 0..JUNCTIONS {
        let light = ["day", "night", "cycle"][index % 3];
        // Writing to a String does not fail.
        let _ = writeln!(cameras, "    synthetic j{index} seed={} light={light}", 100 + index);
    }
    cameras + "}\n"
}

const ANALYSIS: &str = r#"
zones cameras=junction {
    polygon arm   0.50 0.00  0.66 0.00  0.65 0.30  0.42 0.30
    polygon right 0.66 0.25  0.76 0.25  0.76 0.36  0.66 0.36
    line    stop  0.18 0.78  0.72 0.78  forward=towards backward=away
}
flow vehicles from=junction {
    truth min-visible=0.2
    track as=tracks
    visit zones="arm,right" from=tracks as=visits
    cross lines=stop from=tracks as=crossings
}
query passed from=vehicles.crossings {
    window   "20s" every="5s" retain="10s"
    group-by camera direction class
    select   passed="count(distinct track)"
}
query waiting from=vehicles.visits {
    where    "phase = 'dwell' and dwell > '2s'"
    window   "20s" every="2s" retain="10s"
    group-by camera zone
    select   tracks="count(distinct track)" longest="max(dwell)"
}
query bright from=looked-at.light {
    window   "10s" every="1s" retain="10s"
    group-by camera
    select   mean="avg(mean)"
}
write {
    jsonl "tracks.jsonl" from=vehicles.tracks
    jsonl "visits.jsonl" from=vehicles.visits
    jsonl "crossings.jsonl" from=vehicles.crossings
    jsonl "passed.jsonl" from=passed
    jsonl "waiting.jsonl" from=waiting
    jsonl "bright.jsonl" from=bright
    jsonl "errors.jsonl" from="*.errors"
}
"#;

/// Starts a graph whose files go into `folder`.
fn start(graph: &str, folder: &Path) -> std::result::Result<Running, String> {
    let registry = Registry::builtin().with::<Brightness>();
    let options = Options::default();
    let (source, compiled) =
        flowrun::compile_text("memory.kdl", graph, folder, &registry).map_err(|error| error.to_string())?;
    let prepared =
        flowrun::prepare_compiled(&source, compiled, &registry, &options).map_err(|error| error.to_string())?;
    prepared.start().map_err(|error| error.to_string())
}

/// What the process holds at one moment.
#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    resident_kib: u64,
    threads: usize,
    files: usize,
    in_flight: u64,
}

impl Sample {
    fn take(at: Duration, report: &Report) -> std::io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.split_whitespace().next()?.parse().ok());
        Ok(Sample {
            at,
            resident_kib: resident.ok_or_else(|| std::io::Error::other("/proc/self/status has no VmRSS"))?,
            threads: std::fs::read_dir("/proc/self/task")?.count(),
            // One of them reads the folder.
            files: std::fs::read_dir("/proc/self/fd")?.count() - 1,
            in_flight: report
                .cameras
                .iter()
                .map(|camera| camera.counts.admitted.saturating_sub(camera.counts.answered))
                .sum(),
        })
    }

    fn print(&self) {
        println!(
            "{:>6.0} s  {:>8.1} MiB  {:>4} threads  {:>4} files  {:>4} frames in flight",
            self.at.as_secs_f64(),
            self.resident_kib as f64 / 1024.0,
            self.threads,
            self.files,
            self.in_flight
        );
    }
}

fn minutes() -> f64 {
    let given = std::env::var("FLOWRUN_BENCH_MINUTES").ok();
    given
        .and_then(|text| text.parse().ok())
        .filter(|minutes: &f64| minutes.is_finite() && *minutes > 0.0)
        .unwrap_or(MINUTES)
}

/// Least-squares slope, KiB a minute.
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len().max(1) as f64;
    let time = |sample: &Sample| sample.at.as_secs_f64() / 60.0;
    let memory = |sample: &Sample| sample.resident_kib as f64;
    let mean_time = samples.iter().map(time).sum::<f64>() / count;
    let mean_memory = samples.iter().map(memory).sum::<f64>() / count;
    let spread = samples
        .iter()
        .map(|sample| (time(sample) - mean_time).powi(2))
        .sum::<f64>();
    let together = samples
        .iter()
        .map(|sample| (time(sample) - mean_time) * (memory(sample) - mean_memory))
        .sum::<f64>();
    if spread > 0.0 { together / spread } else { 0.0 }
}

/// The median of resident memory in KiB.
fn median<'a>(samples: impl Iterator<Item = &'a Sample>) -> f64 {
    let mut resident: Vec<u64> = samples.map(|sample| sample.resident_kib).collect();
    resident.sort_unstable();
    resident.get(resident.len() / 2).map_or(f64::NAN, |kib| *kib as f64)
}

fn conclude(samples: &[Sample], settled: Duration, report: &Report) {
    let Some(last) = samples.last() else { return };
    let after: Vec<Sample> = samples.iter().copied().filter(|sample| sample.at >= settled).collect();
    let first = after.first().copied().unwrap_or(*last);
    // Recordings that start over move memory up and down by some percent: one look says where in its loop each was.
    let early = median(after.iter().filter(|sample| sample.at < first.at + SPAN));
    let late = median(after.iter().filter(|sample| sample.at + SPAN > last.at));
    let growth = (late / early - 1.0) * 100.0;
    let peak = samples
        .iter()
        .map(|sample| sample.resident_kib)
        .max()
        .unwrap_or_default();
    let of = |count: fn(&CameraCounts) -> u64| report.cameras.iter().map(|camera| count(&camera.counts)).sum::<u64>();
    println!("\nsettled");
    first.print();
    println!("end");
    last.print();
    println!("peak          {:>8.1} MiB", peak as f64 / 1024.0);
    println!(
        "medians       {:>8.1} MiB in the minute after settling, {:.1} MiB in the last",
        early / 1024.0,
        late / 1024.0
    );
    println!("growth        {growth:>+8.2} %, {:+.0} KiB a minute", slope(&after));
    println!(
        "frames        {} admitted, {} answered, {} shed, {} faults",
        of(|counts| counts.admitted),
        of(|counts| counts.answered),
        of(CameraCounts::shed),
        of(|counts| counts.faults)
    );
}

fn measure() -> std::result::Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let data = reference_data();
    if data.is_none() {
        println!("no reference data: synthetic cameras stand in for recorded ones");
    }
    let base = pictures(data.as_deref()) + &junctions() + ANALYSIS;
    let running = match &data {
        Some(data) => start(&(base.clone() + &detector(data)), folder.path()).or_else(|cause| {
            println!("without a detector: {cause}");
            start(&base, folder.path())
        }),
        None => start(&base, folder.path()),
    }?;
    let (began, whole) = (Instant::now(), Duration::from_secs_f64(minutes() * 60.0));
    let settled = SETTLED.min(whole / 2);
    let mut samples = Vec::new();
    while began.elapsed() < whole && !running.is_finished() {
        let next = EVERY * (samples.len() as u32 + 1);
        std::thread::sleep(next.min(whole).saturating_sub(began.elapsed()));
        let sample =
            Sample::take(began.elapsed(), &Report::of(running.context())).map_err(|error| error.to_string())?;
        sample.print();
        samples.push(sample);
    }
    running.stop();
    let report = running.wait();
    conclude(&samples, settled, &report);
    report.failure.map_or(Ok(()), Err)
}

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("error: {cause}");
            ExitCode::FAILURE
        }
    }
}
