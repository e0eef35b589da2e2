//! How much of a bare inference loop's speed is left once frames are letterboxed and answers read?
//!
//! `cargo bench -p flowrun-operators --bench detect -- MODEL.onnx [threads] [rounds]`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flowrun_dsl::params::{ParamValues, Params};
use flowrun_dsl::plan::{ModelPlan, NodePlan, OnError, Plan};
use flowrun_dsl::port::Role;
use flowrun_dsl::value::Value;
use flowrun_engine::audience::Audience;
use flowrun_engine::frame::{Frame, Matrix, Picture, PictureLayout, PixelFormat, PlainMemory, Range};
use flowrun_engine::infer::{AUTO, Model, ModelOptions, TensorView};
use flowrun_engine::names::Names;
use flowrun_engine::operator::{Job, NodeSetup, Offload, PerCamera};
use flowrun_engine::rows::{At, Size};
use flowrun_operators::detect::{Detect, DetectParams};

/// How long one side is measured before it is the other's turn.
const TURN: Duration = Duration::from_secs(3);

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let Some(model) = arguments.first() else {
        println!("skipped: name a model, as in `cargo bench --bench detect -- models/yolo11n.onnx`");
        return;
    };
    let number = |index: usize, default: usize| {
        arguments
            .get(index)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (threads, rounds) = (number(1, 1), number(2, 5));
    let path = std::path::absolute(model).expect("the working directory is there");
    let options = ModelOptions::new(threads, AUTO);
    let mut model = Model::open(&path, &options).expect("the model opens");
    let detect = detect(&path, threads);
    // In turns, because a machine that others use drifts; the first round warms up.
    let mut shares = Vec::new();
    for round in 0..=rounds {
        let (bare, whole) = (bare(&mut model), whole(&detect));
        println!("{threads} threads: bare {bare:.2} fps, detect with 2 lanes {whole:.2} fps");
        if round > 0 {
            shares.push(100.0 * whole / bare);
        }
    }
    shares.sort_by(f64::total_cmp);
    println!("median share {:.1} % of {shares:.1?}", shares[shares.len() / 2]);
    println!(
        "peak resident memory: {}",
        peak_memory().unwrap_or_else(|| "unknown".into())
    );
}

fn bare(model: &mut Model) -> f64 {
    let dims: Vec<usize> = model.input().dims.iter().map(|dim| dim.unwrap_or(1)).collect();
    let input = vec![0.45; dims.iter().product()];
    let (start, mut frames) = (Instant::now(), 0);
    while start.elapsed() < TURN {
        drop(model.run(&dims, TensorView::F32(&input)).expect("the model runs"));
        frames += 1;
    }
    f64::from(frames) / start.elapsed().as_secs_f64()
}

fn whole(detect: &Detect) -> f64 {
    let picture = Arc::new(picture());
    let (start, frames) = (Instant::now(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..detect.policy().lanes {
            scope.spawn(|| {
                let mut lane = detect.lane().expect("scratch can be had");
                while start.elapsed() < TURN {
                    let frame = Frame {
                        picture: picture.clone(),
                        truth: None,
                        packets: flowrun_engine::rows::Rows::default(),
                        taken: None,
                    };
                    let mut jobs = [Job {
                        at: At::default(),
                        input: vec![frame].into(),
                        result: None,
                    }];
                    detect.process(&mut lane, &mut jobs);
                    jobs[0]
                        .result
                        .take()
                        .expect("every job is answered")
                        .expect("the frame is sound");
                    frames.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    frames.into_inner() as f64 / start.elapsed().as_secs_f64()
}

fn detect(path: &Path, threads: usize) -> Detect {
    let model = ModelPlan {
        path: path.to_owned(),
        params: ParamValues::from([("provider".to_owned(), Value::Text("auto".into()))]),
    };
    let plan = Plan {
        version: 1,
        root: PathBuf::new(),
        hash: String::new(),
        cameras: Vec::new(),
        models: BTreeMap::from([("m".to_owned(), model)]),
        zones: Vec::new(),
        nodes: Vec::new(),
        fragments: Vec::new(),
        server: None,
        numbers: Default::default(),
    };
    let node = NodePlan {
        name: "bench.detect".into(),
        kind: Detect::KIND.into(),
        role: Role::Operator,
        fragment: 0,
        params: ParamValues::new(),
        overrides: BTreeMap::new(),
        inputs: Vec::new(),
        output: None,
        cameras: Vec::new(),
        on_error: OnError::Skip,
        query: None,
        fingerprint: String::new(),
    };
    let setup = NodeSetup {
        plan: &plan,
        node: &node,
        names: &Arc::new(Names::of(&plan)),
        audience: &Arc::new(Audience::default()),
        devices: &flowrun_engine::device::Devices::default(),
    };
    let defaults = DetectParams::schema()
        .params
        .into_iter()
        .filter_map(|spec| Some((spec.name, spec.default?)));
    let mut values: ParamValues = defaults.collect();
    values.insert("model".into(), Value::Text("m".into()));
    values.insert("threads".into(), Value::Int(threads as i64));
    let params = DetectParams::from_values(&values).expect("the values are sound");
    Detect::new(PerCamera::new(params, BTreeMap::new()), &setup).expect("the model opens")
}

fn picture() -> Picture {
    let (width, height) = (768u32, 432u32);
    let noise = |count: u32| {
        (0..count)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect::<Vec<u8>>()
    };
    let (half, quarter) = (width as usize / 2, width * height / 4);
    let planes = [
        (width as usize, noise(width * height)),
        (half, noise(quarter)),
        (half, noise(quarter)),
    ];
    let layout = PictureLayout {
        size: Size { width, height },
        format: PixelFormat::Yuv420,
        matrix: Matrix::Bt709,
        range: Range::Limited,
    };
    Picture::new(layout, Box::new(PlainMemory::new(planes)))
}

fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().to_owned())
}
