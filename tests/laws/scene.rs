//! Runs of graphs in a folder of their own, and what they wrote.

use std::path::Path;

use flowrun::engine::operator::{BatchPolicy, Job, NodeSetup, Offload, PerCamera};
use flowrun::engine::run::{Options, Report};
use flowrun::prelude::*;
use serde_json::Value;

/// A graph's run.
pub struct Scene {
    pub folder: tempfile::TempDir,
}

impl Scene {
    pub fn new() -> Self {
        Scene {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a graph to its end; it must not fail.
    pub fn run(&self, graph: &str, workers: usize) -> Report {
        let report = flowrun::run_text(graph, self.path(), &registry(), &Options { workers });
        report.unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn bytes(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.path().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    pub fn rows(&self, file: &str) -> Vec<Value> {
        let text = String::from_utf8(self.bytes(file)).expect("JSON is UTF-8");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a line is an object"))
            .collect()
    }
}

/// The built-in operators and those that make trouble.
pub fn registry() -> Registry {
    Registry::builtin()
        .with_offload::<Wander>()
        .with::<crate::trouble::Stumble>()
}

/// Hands detections on after a while, out of order and from several threads.
pub struct Wander {
    params: WanderParams,
}

/// Hands detections on after a while that depends on the frame.
#[derive(Clone, Debug, Params)]
pub struct WanderParams {
    /// Threads.
    #[param(default = "3", min = 1)]
    lanes: usize,
    /// Jobs in a batch.
    #[param(default = "4", min = 1)]
    size: usize,
    /// The longest that a frame takes, in microseconds.
    #[param(default = "600", min = 0)]
    longest_us: u64,
    /// Changes which frame takes how long.
    #[param(default = "1", min = 0)]
    seed: u64,
    /// One in this many frames fails; none when 0.
    #[param(default = "0", min = 0)]
    fail_one_in: u64,
    /// One in this many batches panics; none when 0.
    #[param(default = "0", min = 0)]
    panic_one_in: u64,
}

/// A number that looks random, the same for the same input (splitmix64).
pub fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl Offload for Wander {
    const KIND: &'static str = "wander";
    type Params = WanderParams;
    type Input = Detection;
    type Output = Detection;
    type Lane = ();

    fn new(params: PerCamera<WanderParams>, _: &NodeSetup<'_>) -> Result<Self> {
        Ok(Wander {
            params: params.base().clone(),
        })
    }
    fn policy(&self) -> BatchPolicy {
        BatchPolicy {
            lanes: self.params.lanes,
            size: self.params.size,
            deadline: Duration::from_micros(300),
        }
    }
    fn lane(&self) -> Result<()> {
        Ok(())
    }
    fn process(&self, (): &mut (), jobs: &mut [Job<Detection, Detection>]) {
        let number = |job: &Job<Detection, Detection>, salt: u64| {
            mix(self.params.seed ^ salt ^ u64::from(job.at.camera.0) << 32 ^ job.at.frame)
        };
        let chosen = |number: u64, one_in: u64| one_in > 0 && number.is_multiple_of(one_in);
        let longest = jobs
            .iter()
            .map(|job| number(job, 1) % (self.params.longest_us + 1))
            .max()
            .unwrap_or(0);
        std::thread::sleep(Duration::from_micros(longest));
        for job in jobs {
            assert!(
                !chosen(number(job, 2), self.params.panic_one_in),
                "a lane stumbles on purpose"
            );
            job.result = Some(match chosen(number(job, 3), self.params.fail_one_in) {
                true => Err("fails on purpose".into()),
                false => Ok(job.input.to_vec()),
            });
        }
    }
}

/// Junction cameras whose truth is taken for detections, as fast as they are answered.
pub fn cameras(count: usize, frames: usize, fps: usize) -> String {
    let one = |index: usize| {
        format!(
            "    synthetic c{index} seed={} frames={frames} fps={fps} pace=max\n",
            index + 1
        )
    };
    format!("cameras junction {{\n{}}}\n", (0..count).map(one).collect::<String>())
}

/// Zones and lines on all of them.
pub const ZONES: &str = r#"
zones cameras=junction {
    polygon box 0.25 0.35 0.75 0.35 0.80 0.80 0.20 0.80
    line across 0.0 0.55 1.0 0.55
    line upright 0.5 0.1 0.5 1.0
}
"#;
