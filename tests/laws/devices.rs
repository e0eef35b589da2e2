//! Laws 2 and 9 on several devices: cameras are spread over them, a batch is of one, and what becomes of a device
//! loses no frame.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use flowrun::engine::device::{DeviceKind, MoveCause, Seat};
use flowrun::engine::operator::{BatchPolicy, Job, NodeSetup, Offload, PerCamera};
use flowrun::engine::rows::CameraId;
use flowrun::engine::run::{Options, PreparedRun, Report};
use flowrun::prelude::*;
use serde_json::Value;

use crate::scene::{Scene, cameras, registry};

fn prepared(scene: &Scene, graph: &str) -> PreparedRun {
    let (source, compiled) = flowrun::compile_text("devices.kdl", graph, scene.path(), &registry())
        .unwrap_or_else(|error| panic!("{error}"));
    flowrun::prepare_compiled(&source, compiled, &registry(), &Options { workers: 2 })
        .unwrap_or_else(|error| panic!("{error}"))
}

fn has_runtime() -> bool {
    let found = flowrun::engine::infer::runtime().is_ok();
    if !found {
        eprintln!("skipped: no ONNX Runtime");
    }
    found
}

/// Eight cameras through a model that says how bright each picture is.
fn graph(model: &str) -> String {
    let path = format!("{}/operators/fixtures/dynamic.onnx", env!("CARGO_MANIFEST_DIR"));
    format!(
        "{}model bright \"{path}\" {model}\nflow seen from=junction {{\n    detect bright min-score=0.05 deadline=\"1ms\"\n}}\nwrite {{ jsonl \"seen.jsonl\" from=seen; jsonl \"errors.jsonl\" from=\"*.errors\"; }}\n",
        cameras(8, 30, 10)
    )
}

#[track_caller]
fn assert_answered(report: &Report, frames: u64) {
    assert_eq!(report.failure, None);
    for camera in &report.cameras {
        let counts = camera.counts;
        assert_eq!(
            (counts.admitted, counts.answered, counts.doubled, counts.lost),
            (frames, frames, 0, 0),
            "{}",
            camera.name
        );
    }
    assert!(report.nodes.iter().all(|node| node.errors == 0 && node.queue == 0));
}

#[test]
fn two_devices_write_what_one_does() {
    if !has_runtime() {
        return;
    }
    let (one, two) = (Scene::new(), Scene::new());
    assert_answered(&one.run(&graph("provider=twin"), 1), 30);
    let run = prepared(&two, &graph("provider=twin device=\"0,1\""));
    let context = run.context().clone();
    assert_answered(&run.start().expect("threads").wait(), 30);
    let states: Vec<_> = context.decoders.devices().open().iter().map(Seat::state).collect();
    let told: Vec<_> = states
        .iter()
        .map(|state| (state.kind, state.ordinal, state.cameras, state.waiting))
        .collect();
    assert_eq!(told, [(DeviceKind::Twin, 0, 4, 0), (DeviceKind::Twin, 1, 4, 0)]);
    assert!(!one.bytes("seen.jsonl").is_empty());
    assert!(one.bytes("seen.jsonl") == two.bytes("seen.jsonl"));
}

#[test]
fn a_device_that_is_lost_under_way_costs_no_frame() {
    if !has_runtime() {
        return;
    }
    let wanted = Scene::new();
    wanted.run(&graph("provider=twin"), 1);
    // Each of its 120 pictures takes one call at least.
    for calls in [5, 40, 100] {
        let scene = Scene::new();
        let run = prepared(&scene, &graph("provider=twin device=\"0,1\""));
        let context = run.context().clone();
        let twins = context.decoders.devices().of_kind(DeviceKind::Twin);
        let twin = twins.twin(1, || panic!("it is open")).expect("a set of twins");
        twin.lose_after(calls);
        assert_answered(&run.start().expect("threads").wait(), 30);
        let state = twins.seat(1).expect("it was opened").state();
        assert_eq!((state.is_well, state.cameras), (false, 0), "after {calls} calls");
        assert!(state.moves.contains(&(MoveCause::Lost, 4)), "{:?}", state.moves);
        // What the processor answered is the same but for rounding.
        let (got, wanted) = (scene.rows("seen.jsonl"), wanted.rows("seen.jsonl"));
        let place = |row: &Value| [&row["camera"], &row["frame"], &row["class"]].map(Value::to_string);
        assert_eq!(
            got.iter().map(place).collect::<Vec<_>>(),
            wanted.iter().map(place).collect::<Vec<_>>()
        );
        for (got, wanted) in got.iter().zip(&wanted) {
            let score = |row: &Value| row["score"].as_f64().expect("a row has a score");
            assert!((score(got) - score(wanted)).abs() < 2e-3, "{got}, not {wanted}");
        }
    }
}

/// Hands frames on by lanes in three groups, which cameras change as often as is asked for.
struct Grouped {
    params: GroupedParams,
    frames: AtomicUsize,
}

/// Hands detections on by lanes in groups.
#[derive(Clone, Debug, Params)]
struct GroupedParams {
    /// After so many frames each camera goes to the next group; never when 0.
    #[param(default = "0", min = 0)]
    move_every: usize,
}

/// Which cameras a lane of a group was given, in any run of these tests.
static GIVEN: Mutex<Vec<(usize, CameraId)>> = Mutex::new(Vec::new());

impl Offload for Grouped {
    const KIND: &'static str = "grouped";
    type Params = GroupedParams;
    type Input = Detection;
    type Output = Detection;
    type Lane = usize;

    fn new(params: PerCamera<GroupedParams>, _: &NodeSetup<'_>) -> Result<Self> {
        Ok(Grouped {
            params: params.base().clone(),
            frames: AtomicUsize::new(0),
        })
    }
    fn policy(&self) -> BatchPolicy {
        BatchPolicy {
            lanes: 2,
            size: 4,
            deadline: std::time::Duration::from_micros(300),
        }
    }
    fn groups(&self) -> usize {
        3
    }
    fn group(&self, camera: CameraId) -> usize {
        let moved = match self.params.move_every {
            0 => 0,
            every => self.frames.load(Ordering::Relaxed) / every,
        };
        (camera.0 as usize + moved) % 3
    }
    fn lane(&self) -> Result<usize> {
        self.lane_of(0)
    }
    fn lane_of(&self, group: usize) -> Result<usize> {
        Ok(group)
    }
    fn process(&self, lane: &mut usize, jobs: &mut [Job<Detection, Detection>]) {
        self.frames.fetch_add(jobs.len(), Ordering::Relaxed);
        if self.params.move_every == 0 {
            let mut given = GIVEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            given.extend(jobs.iter().map(|job| (*lane, job.at.camera)));
        }
        for job in jobs {
            job.result = Some(Ok(job.input.to_vec()));
        }
    }
}

#[test]
fn a_batch_is_of_one_group_and_moves_lose_nothing() {
    let registry = registry().with_offload::<Grouped>();
    let run = |grouped: &str| {
        let scene = Scene::new();
        let graph = format!(
            "{}flow seen from=junction {{\n    truth\n{grouped}}}\nwrite {{ jsonl \"seen.jsonl\" from=seen; }}\n",
            cameras(7, 60, 10)
        );
        let report = flowrun::run_text(&graph, scene.path(), &registry, &Options { workers: 2 });
        assert_answered(&report.unwrap_or_else(|error| panic!("{error}")), 60);
        scene.bytes("seen.jsonl")
    };
    let wanted = run("");
    assert!(!wanted.is_empty());
    assert!(run("    grouped\n") == wanted);
    let given = GIVEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    assert_eq!(given.len(), 7 * 60);
    assert!(given.iter().all(|(group, camera)| camera.0 as usize % 3 == *group));
    drop(given);
    for every in [1, 5, 40] {
        assert!(
            run(&format!("    grouped move-every={every}\n")) == wanted,
            "moved every {every} frames"
        );
    }
}
