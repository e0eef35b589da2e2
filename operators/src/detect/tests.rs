//! `detect` against Ultralytics' own outputs, and against tiny models of every shape.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowrun_dsl::params::{ParamValues, Params, parse_text};
use flowrun_dsl::plan::{ModelPlan, NodePlan, OnError, Plan};
use flowrun_dsl::port::{Role, RowKind};
use flowrun_engine::audience::Audience;
use flowrun_engine::frame::{Frame, Matrix, Picture, PictureLayout, PixelFormat, PlainMemory, Range};
use flowrun_engine::infer::runtime;
use flowrun_engine::names::Names;
use flowrun_engine::rows::{At, CameraId, Rect};
use proptest::prelude::*;

use flowrun_engine::rows::Size;
use half::f16;

use super::head::{HeadScratch, head_of};
use super::letterbox::{Letterbox, LetterboxScratch, Sample};
use super::*;
use crate::testing::reference_data;

mod device;
mod floor;
mod golden;
mod ladder;
mod laws;
mod models;
mod several;
mod shadow;

/// Whether models can be run here.
fn has_runtime() -> bool {
    match runtime() {
        Ok(_) => true,
        Err(error) if std::env::var_os("ORT_DYLIB_PATH").is_some() => panic!("{error}"),
        Err(_) => {
            eprintln!("skipped: no ONNX Runtime");
            false
        }
    }
}

fn values<P: Params>(written: &[(&str, &str)]) -> ParamValues {
    let schema = P::schema();
    let defaults = schema
        .params
        .iter()
        .filter_map(|spec| Some((spec.name.clone(), spec.default.clone()?)));
    let given = written.iter().map(|(name, text)| {
        let spec = schema.get(name).unwrap_or_else(|| panic!("no parameter {name}"));
        (spec.name.clone(), parse_text(&spec.ty, text).unwrap())
    });
    defaults.chain(given).collect()
}

fn params(written: &[(&str, &str)]) -> DetectParams {
    let written = [&[("model", "m")], written].concat();
    DetectParams::from_values(&values::<DetectParams>(&written)).unwrap()
}

/// `detect` over a model file, and the run's names.
fn detect_with(model: &Path, labels: Option<&str>, params: PerCamera<DetectParams>) -> Result<(Detect, Arc<Names>)> {
    // What is looked for here is the host's; `device` has tests of its own.
    let labels = labels.map(|labels| ("labels", labels));
    detect_of(
        model,
        &Vec::from_iter(labels.into_iter().chain([("provider", "cpu")])),
        params,
    )
}

/// `detect` over a model file with parameters of the model.
fn detect_of(model: &Path, written: &[(&str, &str)], params: PerCamera<DetectParams>) -> Result<(Detect, Arc<Names>)> {
    let model = ModelPlan {
        path: model.to_owned(),
        params: values::<ModelParams>(written),
    };
    let plan = Plan {
        version: 1,
        root: fixtures(),
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
        name: "flow.detect".into(),
        kind: Detect::KIND.into(),
        role: Role::Operator,
        fragment: 0,
        params: ParamValues::new(),
        overrides: BTreeMap::new(),
        inputs: Vec::new(),
        output: Some(RowKind::Detection),
        cameras: Vec::new(),
        on_error: OnError::Skip,
        query: None,
        fingerprint: String::new(),
    };
    let names = Arc::new(Names::of(&plan));
    let setup = NodeSetup {
        plan: &plan,
        node: &node,
        names: &names,
        audience: &Arc::new(Audience::default()),
        devices: &flowrun_engine::device::Devices::of(&plan),
    };
    Detect::new(params, &setup).map(|detect| (detect, names))
}

fn detect(model: &str, written: &[(&str, &str)]) -> Result<(Detect, Arc<Names>)> {
    detect_with(Path::new(model), None, PerCamera::new(params(written), BTreeMap::new()))
}

pub(super) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn job(camera: u32, pictures: &[Arc<Picture>]) -> Job<Frame, Detection> {
    let frame = |picture: &Arc<Picture>| Frame {
        picture: picture.clone(),
        truth: None,
        packets: flowrun_engine::rows::Rows::default(),
        taken: None,
    };
    Job {
        at: At {
            camera: CameraId(camera),
            ..At::default()
        },
        input: pictures.iter().map(frame).collect::<Vec<_>>().into(),
        result: None,
    }
}

fn layout(width: u32, height: u32, format: PixelFormat) -> PictureLayout {
    PictureLayout {
        size: Size { width, height },
        format,
        matrix: Matrix::Bt601,
        range: Range::Full,
    }
}

/// A picture of one level of grey.
fn flat(width: u32, height: u32, level: u8) -> Arc<Picture> {
    let plane = vec![level; (width * height) as usize];
    let memory = PlainMemory::new([(width as usize, plane)]);
    Arc::new(Picture::new(layout(width, height, PixelFormat::Gray), Box::new(memory)))
}

/// Whether no side of a box is further off than that.
fn same_box(a: &Rect, b: &Rect, within: f32) -> bool {
    [a.x1 - b.x1, a.y1 - b.y1, a.x2 - b.x2, a.y2 - b.y2]
        .iter()
        .all(|difference| difference.abs() <= within)
}
