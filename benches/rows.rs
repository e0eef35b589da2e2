//! What do 1,000 cameras of 30 rows a second cost through five operators of the public API?
//!
//! CPU of the whole process by getrusage, sources included, after two seconds of settling. The bar is
//! 5 % of one core. `FLOWRUN_BENCH_SECONDS` sets how long each run takes, 10 by default.

use std::time::Instant;

use flowrun::dsl::port::RowKind;
use flowrun::engine::operator::{
    Item, Next, Overload, Pace, Source, SourceOutput, SourceSetup, SourceTraits, Thread, Times,
};
use flowrun::engine::rows::ClassId;
use flowrun::engine::run::{Options, Report};
use flowrun::prelude::*;

/// A camera that sends one detection a frame.
struct Beat {
    frame: u64,
    period_ns: i64,
}

/// A camera that sends one detection a frame.
#[derive(Clone, Debug, Params)]
struct BeatParams {
    /// Frames a second.
    #[param(default = "30", min = 1)]
    fps: u32,
}

impl Source for Beat {
    const KIND: &'static str = "beat";
    const THREAD: Thread = Thread::Shared;
    type Params = BeatParams;

    fn output() -> SourceOutput {
        SourceOutput::Always(RowKind::Detection)
    }
    fn open(params: BeatParams, _: &SourceSetup<'_>) -> Result<Self> {
        Ok(Beat {
            frame: 0,
            period_ns: 1_000_000_000 / i64::from(params.fps),
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
        let frame = self.frame;
        self.frame += 1;
        let bbox = Rect {
            x1: (frame % 500) as f32,
            y1: 10.0,
            x2: (frame % 500) as f32 + 50.0,
            y2: 60.0,
        };
        let batch = Detection::into_batch(vec![Detection {
            class: ClassId(0),
            score: 0.9,
            bbox,
        }]);
        let size = Size {
            width: 640,
            height: 360,
        };
        Ok(Next::Item(Item {
            frame,
            media_time: frame as i64 * self.period_ns,
            size,
            batch,
        }))
    }
}

/// Smooths boxes: a little state, a little arithmetic.
struct Smooth {
    params: SmoothParams,
    last: Option<Rect>,
}

/// Smooths boxes: a little state, a little arithmetic.
#[derive(Clone, Debug, Params)]
struct SmoothParams {
    /// How much of the new box counts.
    #[param(live, default = "0.5", min = 0.0, max = 1.0)]
    weight: f32,
}

impl Operator for Smooth {
    const KIND: &'static str = "smooth";
    type Params = SmoothParams;
    type Input = Detection;
    type Output = Detection;
    type State = Option<Rect>;

    fn new(params: SmoothParams, _: &Setup<'_>) -> Result<Self> {
        Ok(Smooth { params, last: None })
    }
    fn process(&mut self, _: &At, detections: &[Detection], out: &mut Output<Detection>) -> Result<()> {
        for detection in detections {
            let (new, old, weight) = (detection.bbox, self.last.unwrap_or(detection.bbox), self.params.weight);
            let blend = |new: f32, old: f32| old + (new - old) * weight;
            let bbox = Rect {
                x1: blend(new.x1, old.x1),
                y1: blend(new.y1, old.y1),
                x2: blend(new.x2, old.x2),
                y2: blend(new.y2, old.y2),
            };
            self.last = Some(bbox);
            out.push(Detection { bbox, ..*detection });
        }
        Ok(())
    }
    fn update(&mut self, params: SmoothParams) {
        self.params = params;
    }
    fn snapshot(&self) -> Option<Rect> {
        self.last
    }
    fn restore(&mut self, before: Option<Rect>) {
        self.last = before;
    }
}

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
