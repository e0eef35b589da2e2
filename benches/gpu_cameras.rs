//! How many cameras does one GPU carry, from encoded pictures to tracks, and does decoding in this process cost anything?
//!
//! `make gpu-cameras CLIPS="a.mp4 b.mp4" MODEL=yolo11n.onnx`; without a CUDA device it says so. Two parts:
//!
//! 1. NVDEC in this process beside as many FFmpeg processes on the same clip, in pictures a second.
//! 2. Cameras that loop over the clips, through decode, detect and track. A camera sheds what cannot be answered, as a
//!    live one does; its pictures come evenly or as a Poisson process. Told is the time from a picture's being decoded to
//!    its detections.
//!
//! `FLOWRUN_GPU_CAMERAS` (100) at `FLOWRUN_GPU_FPS` (30) for `FLOWRUN_GPU_SECONDS` (60), `FLOWRUN_GPU_ARRIVALS`
//! (`even`, `poisson`), `FLOWRUN_GPU_PROVIDER` (`auto`), `FLOWRUN_GPU_DECODER` (`nvdec`), `FLOWRUN_GPU_WORKERS` (2),
//! `FLOWRUN_GPU_DETECT` (further parameters of `detect`), `FLOWRUN_GPU_DEFAULTS` (of all cameras, as `max-delay="75ms"`);
//! several numbers of cameras are measured one after the other, until one does not hold: a picture that was shed counts as
//! one that came too late, and less than one in a hundred may. They may take
//! `FLOWRUN_GPU_PATIENCE` (90) seconds to begin. `FLOWRUN_GPU_DECODERS` (`16`) numbers the sessions of part 1; 0 leaves it
//! out.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Instant;

use flowrun::engine::device::{Decoders, Gpu, PoolState};
use flowrun::engine::names::Names;
use flowrun::engine::operator::{Item, Next, Overload, Pace, Source, SourceOutput, SourceSetup, SourceTraits, Times};
use flowrun::engine::rows::CameraId;
use flowrun::engine::run::{Options, Running};
use flowrun::operators::decode::DecoderChoice;
use flowrun::operators::source::{AtEnd, DecodeWhich, FileParams, FileSource};
use flowrun::prelude::*;

/// What is measured begins this long after that.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long part 1 measures.
const DECODING: Duration = Duration::from_secs(6);
/// From a picture's being decoded to its detections, at the 99th percentile.
const BOUND_MS: f64 = 75.0;

fn given(name: &str, usual: &str) -> String {
    std::env::var(format!("FLOWRUN_GPU_{name}")).unwrap_or_else(|_| usual.into())
}

fn number<T: std::str::FromStr>(name: &str, usual: &str) -> T {
    let text = given(name, usual);
    text.parse()
        .unwrap_or_else(|_| panic!("FLOWRUN_GPU_{name}={text} is no number"))
}

fn main() {
    let chip = match Gpu::open(0) {
        Ok(device) => flowrun::engine::device::Device::chip(&*device).to_string(),
        Err(fault) => {
            println!("no CUDA device ({fault})");
            return;
        }
    };
    let clips: Vec<PathBuf> = given("CLIPS", "").split_whitespace().map(PathBuf::from).collect();
    let model = given("MODEL", "");
    if clips.is_empty() {
        println!("FLOWRUN_GPU_CLIPS names no clip; nothing measured");
        return;
    }
    println!(
        "{chip}; {}",
        std::thread::available_parallelism().map_or(1, usize::from)
    );
    for sessions in given("DECODERS", "16").split_whitespace() {
        let sessions = sessions.parse().expect("a number of sessions");
        if sessions > 0 {
            decoding(&clips[0], sessions);
        }
    }
    if model.is_empty() {
        println!("FLOWRUN_GPU_MODEL names no model; no cameras measured");
        return;
    }
    println!(
        "| cameras | fps | seconds | pictures | of due | shed | p50 ms | p99 ms | p99 with shed | batch | decoded on device/host, spilled | device MiB | pool efficiency | cores busy | GPU % | NVDEC % |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for cameras in given("CAMERAS", "100").split_whitespace() {
        if !cameras_hold(&clips, &model, cameras.parse().expect("a number of cameras")) {
            break;
        }
    }
}

// ---- decoding alone --------------------------------------------------------------------------

fn file(path: &Path, decoder: DecoderChoice) -> FileParams {
    FileParams {
        path: path.to_owned(),
        pace: Pace::Media,
        at_end: AtEnd::Loop,
        fps: None,
        decode: DecodeWhich::All,
        decode_threads: 1,
        decoder,
    }
}

/// Pictures a second of so many sessions here, then of as many FFmpeg processes, by both of its ways to NVDEC.
fn decoding(clip: &Path, sessions: usize) {
    let decoders = Decoders::default();
    let (counted, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (here, counts) = std::thread::scope(|scope| {
        for _ in 0..sessions {
            scope.spawn(|| {
                let names = Arc::new(Names::default());
                let setup = SourceSetup {
                    decoders: decoders.clone(),
                    ..SourceSetup::new(Path::new("/"), &names, CameraId(0))
                };
                let mut source = FileSource::open(file(clip, DecoderChoice::Nvdec), &setup).unwrap();
                while !over.load(Ordering::Relaxed) {
                    match source.next().unwrap() {
                        Next::Item(_) => drop(counted.fetch_add(1, Ordering::Relaxed)),
                        Next::Fault(cause) => println!("  {cause}"),
                        Next::End => return,
                    }
                }
            });
        }
        let rate = rate_of(&|| counted.load(Ordering::Relaxed), sessions);
        let counts = decoders.counts();
        over.store(true, Ordering::Relaxed);
        (rate, counts)
    });
    let hardware: &[&str] = &["-hwaccel", "cuda", "-hwaccel_output_format", "cuda"];
    let cuvid: &[&str] = &["-c:v", "h264_cuvid"];
    let others =
        [("-hwaccel cuda", hardware), ("h264_cuvid", cuvid)].map(|(name, how)| (name, ffmpeg(clip, sessions, how)));
    print!(
        "{sessions} sessions on {}: {here:.0} pictures/s in this process ({counts:?})",
        clip.display()
    );
    for (name, rate) in others {
        match rate {
            Some(rate) => print!("; {rate:.0} by as many `ffmpeg {name}`, {:.1} %", 100.0 * here / rate),
            None => print!("; no ffmpeg {name}"),
        }
    }
    println!();
}

/// How fast a count grows once all of `sessions` have begun.
fn rate_of(count: &dyn Fn() -> u64, sessions: usize) -> f64 {
    let patience = Instant::now();
    while count() < 100 * sessions as u64 && patience.elapsed() < Duration::from_secs(40) {
        sleep(Duration::from_millis(20));
    }
    let (began, before) = (Instant::now(), count());
    sleep(DECODING);
    (count() - before) as f64 / began.elapsed().as_secs_f64()
}

/// Pictures a second of FFmpeg processes that leave them on the device.
fn ffmpeg(clip: &Path, sessions: usize, how: &[&str]) -> Option<f64> {
    let frames: Vec<AtomicU64> = (0..sessions).map(|_| AtomicU64::new(0)).collect();
    let mut processes = Vec::new();
    for _ in 0..sessions {
        let started = Command::new("ffmpeg")
            .args([
                "-hide_banner",
                "-loglevel",
                "error",
                "-nostats",
                "-stats_period",
                "0.1",
                "-progress",
                "pipe:1",
            ])
            .args(how)
            .args(["-stream_loop", "-1", "-i"])
            .arg(clip)
            .args(["-an", "-vsync", "passthrough", "-f", "null", "-"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        processes.push(started.ok()?);
    }
    let rate = std::thread::scope(|scope| {
        for (process, frames) in processes.iter_mut().zip(&frames) {
            let told = process.stdout.take().expect("it is piped");
            scope.spawn(move || {
                for line in BufReader::new(told).lines().map_while(Result::ok) {
                    if let Some(count) = line.strip_prefix("frame=").and_then(|count| count.trim().parse().ok()) {
                        frames.store(count, Ordering::Relaxed);
                    }
                }
            });
        }
        let rate = rate_of(
            &|| frames.iter().map(|count| count.load(Ordering::Relaxed)).sum(),
            sessions,
        );
        for process in &mut processes {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        rate
    });
    (rate > 0.0).then_some(rate)
}

// ---- cameras ---------------------------------------------------------------------------------

/// A file as a live camera: its pictures come when it says, not when they were filmed.
struct Live {
    file: FileSource,
    gap_ns: f64,
    poisson: bool,
    at: f64,
    random: u64,
    /// When it was first asked for a picture.
    began: Option<Instant>,
}

/// A file as a live camera.
#[derive(Clone, Debug, Params)]
struct LiveParams {
    /// The clip.
    #[param(positional)]
    path: PathBuf,
    /// Pictures a second.
    fps: f64,
    /// Whether they come as a Poisson process.
    poisson: bool,
    /// What decodes.
    decoder: DecoderChoice,
}

impl Source for Live {
    const KIND: &'static str = "live";
    type Params = LiveParams;

    fn output() -> SourceOutput {
        FileSource::output()
    }
    fn open(params: LiveParams, setup: &SourceSetup<'_>) -> Result<Self> {
        let seed = u64::from(setup.camera.0) + 1;
        Ok(Live {
            file: FileSource::open(file(&params.path, params.decoder), setup)?,
            gap_ns: 1e9 / params.fps,
            poisson: params.poisson,
            at: 0.0,
            began: None,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        })
    }
    fn traits(&self) -> SourceTraits {
        SourceTraits {
            finite: false,
            pace: Pace::Media,
            times: Times::Media,
            overload: Overload::Shed,
        }
    }
    fn next(&mut self) -> Result<Next> {
        let began = *self.began.get_or_insert_with(Instant::now);
        let next = self.file.next()?;
        let Next::Item(item) = next else { return Ok(next) };
        let media_time = self.at as i64;
        // The second picture puts each camera at a place of its own among the others.
        let share = match self.poisson || self.at == 0.0 {
            true => -(1.0 - self.uniform()).ln(),
            false => 1.0,
        };
        if self.at == 0.0 {
            // Opening a decoder takes its time when many are opened at once; a camera does not make up for that.
            self.at = began.elapsed().as_nanos() as f64;
        }
        self.at += (share * self.gap_ns).max(1.0);
        Ok(Next::Item(Item { media_time, ..item }))
    }
}

impl Live {
    /// At least 0, below 1.
    fn uniform(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn start(clips: &[PathBuf], model: &str, cameras: usize) -> Running {
    let (fps, poisson) = (given("FPS", "30"), given("ARRIVALS", "even") == "poisson");
    let decoder = given("DECODER", "nvdec");
    let lines: String = (0..cameras)
        .map(|camera| {
            let clip = std::path::absolute(&clips[camera % clips.len()]).unwrap();
            let clip = clip.display();
            format!("    live c{camera} \"{clip}\" fps={fps} poisson=#{poisson} decoder={decoder};\n")
        })
        .collect();
    let model = std::path::absolute(model).unwrap();
    let graph = format!(
        "cameras site {{\n    defaults {}\n{lines}}}\nmodel m \"{}\" provider={}\nflow f from=site {{\n    detect m {}\n    track bytetrack\n}}\n",
        given("DEFAULTS", "in-flight=8"),
        model.display(),
        given("PROVIDER", "auto"),
        given("DETECT", "")
    );
    let registry = Registry::builtin().with_source::<Live>();
    let (source, compiled) = flowrun::compile_text("cameras.kdl", graph, Path::new("/"), &registry)
        .unwrap_or_else(|error| panic!("{error}"));
    let options = Options {
        workers: number("WORKERS", "2"),
    };
    let prepared =
        flowrun::prepare_compiled(&source, compiled, &registry, &options).unwrap_or_else(|error| panic!("{error}"));
    prepared.start().unwrap()
}

/// User and system time of this process so far, in seconds.
fn cpu_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: writes one structure to the place given, of which any bytes are a value.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Mean shares of the GPU and of NVDEC that were busy, and the most memory in MiB; none without nvidia-smi.
struct Busy {
    process: Option<std::process::Child>,
}

impl Busy {
    fn watch() -> Self {
        let query = "--query-gpu=utilization.gpu,utilization.decoder,memory.used";
        // It tells of all that the machine has, also of those that this process does not see.
        let visible = std::env::var("CUDA_VISIBLE_DEVICES")
            .ok()
            .filter(|devices| !devices.is_empty());
        let process = Command::new("nvidia-smi")
            .args([query, "--format=csv,noheader,nounits", "-l", "1"])
            .args(visible.map(|devices| format!("--id={devices}")))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Busy { process: process.ok() }
    }

    fn told(mut self) -> Option<[f64; 3]> {
        let process = self.process.as_mut()?;
        process.kill().ok()?;
        let lines = BufReader::new(process.stdout.take()?).lines().map_while(Result::ok);
        let numbers =
            |line: String| -> Option<Vec<f64>> { line.split(',').map(|part| part.trim().parse().ok()).collect() };
        let told: Vec<Vec<f64>> = lines.filter_map(numbers).filter(|numbers| numbers.len() == 3).collect();
        process.wait().ok()?;
        let mean = |index: usize| told.iter().map(|numbers| numbers[index]).sum::<f64>() / told.len().max(1) as f64;
        let most = told.iter().map(|numbers| numbers[2]).fold(0.0, f64::max);
        Some([mean(0), mean(1), most])
    }
}

/// Runs so many cameras and prints a row; whether all was answered in time.
fn cameras_hold(clips: &[PathBuf], model: &str, cameras: usize) -> bool {
    let (fps, seconds): (f64, u64) = (number("FPS", "30"), number("SECONDS", "60"));
    let running = start(clips, model, cameras);
    let context = running.context().clone();
    let generation = context.generation();
    let node = |kind: &str| {
        let nodes = &generation.plan.nodes;
        generation.node(
            nodes
                .iter()
                .position(|node| node.kind == kind)
                .expect("it is in the graph"),
        )
    };
    let (detect, track) = (node("detect"), node("track"));
    let (begun, patience) = (Instant::now(), Duration::from_secs(number("PATIENCE", "90")));
    let decoding = || context.decoders.counts().on_device + context.decoders.counts().on_host;
    let mut quarters = 1;
    while decoding() < cameras as u64 && begun.elapsed() < patience {
        sleep(Duration::from_millis(20));
        if 4 * decoding() >= quarters * cameras as u64 {
            println!("  {} decode after {:.1} s", decoding(), begun.elapsed().as_secs_f64());
            quarters = 4 * decoding() / cameras as u64 + 1;
        }
    }
    println!(
        "  {} of {cameras} cameras decode after {:.1} s",
        decoding(),
        begun.elapsed().as_secs_f64()
    );
    sleep(WARM_UP);
    let shed = || -> u64 {
        let cameras = generation.cameras();
        cameras.map(|(id, _)| context.ledger.counts(id).shed()).sum()
    };
    let busy = Busy::watch();
    let (began, cpu, shed_before) = (Instant::now(), cpu_seconds(), shed());
    let (before, tracked) = (detect.latency_us.counts(), track.answers.load(Ordering::Relaxed));
    sleep(Duration::from_secs(seconds));
    let (counts, tracked) = (
        detect.latency_us.counts().since(&before),
        track.answers.load(Ordering::Relaxed) - tracked,
    );
    let (elapsed, cores, shed) = (
        began.elapsed().as_secs_f64(),
        (cpu_seconds() - cpu) / began.elapsed().as_secs_f64(),
        shed() - shed_before,
    );
    let [gpu, nvdec, memory] = busy.told().unwrap_or([f64::NAN; 3]);
    let (p50, p99) = (counts.quantile(0.5) as f64 / 1e3, counts.quantile(0.99) as f64 / 1e3);
    // What was shed would come after all that were answered.
    let answered = counts.count() as f64;
    let share = 0.99 * (answered + shed as f64) / answered.max(1.0);
    let p99_of_all = if share < 1.0 {
        counts.quantile(share) as f64 / 1e3
    } else {
        f64::INFINITY
    };
    let due = cameras as f64 * fps * elapsed;
    let decoded = context.decoders.counts();
    let efficiency = |state: PoolState| format!("{:.2}", state.efficiency());
    let pools: Vec<String> = context
        .decoders
        .pools()
        .iter()
        .map(|pool| efficiency(pool.state()))
        .collect();
    println!(
        "| {cameras} | {fps} | {seconds} | {tracked} | {:.1} % | {shed} | {p50:.1} | {p99:.1} | {p99_of_all:.1} | {} | {}/{}, {} | {memory:.0} | {} | {cores:.1} | {gpu:.0} | {nvdec:.0} |",
        100.0 * tracked as f64 / due,
        given("DETECT", "as it comes"),
        decoded.on_device,
        decoded.on_host,
        decoded.spilled,
        pools.join(" "),
    );
    running.stop();
    if let Some(cause) = running.wait().failure {
        println!("| {cause} |");
        return false;
    }
    p99_of_all < BOUND_MS && tracked as f64 > 0.98 * due
}
