//! What tests of several operators share.

pub(crate) mod video;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowrun_dsl::params::{ParamValues, Params};
use flowrun_dsl::plan::{CameraPlan, FragmentPlan, InputPlan, NodePlan, OnError, PLAN_VERSION, Plan};
use flowrun_dsl::port::{Role, RowKind};
use flowrun_dsl::value::Value;
use flowrun_engine::device::{DeviceKind, Gpu};
use flowrun_engine::names::Names;
use flowrun_engine::operator::SourceSetup;
use flowrun_engine::rows::CameraId;

/// A plan with one camera, `north`, and no nodes.
pub(crate) fn plan_of_north(root: &Path) -> Plan {
    Plan {
        version: PLAN_VERSION,
        root: root.into(),
        hash: String::new(),
        cameras: vec![CameraPlan {
            name: "north".into(),
            group: "junction".into(),
            kind: "rows".into(),
            params: ParamValues::new(),
            common: ParamValues::new(),
            output: RowKind::Detection,
            fingerprint: String::new(),
        }],
        models: BTreeMap::new(),
        zones: Vec::new(),
        nodes: Vec::new(),
        fragments: vec![FragmentPlan {
            name: "test".into(),
            nodes: vec![0],
        }],
        server: None,
        numbers: Default::default(),
    }
}

/// A node that reads these inputs.
pub(crate) fn node(name: &str, role: Role, inputs: Vec<InputPlan>) -> NodePlan {
    NodePlan {
        name: name.into(),
        kind: name.into(),
        role,
        fragment: 0,
        params: ParamValues::new(),
        overrides: BTreeMap::new(),
        inputs,
        output: None,
        cameras: vec![0],
        on_error: OnError::Skip,
        query: None,
        fingerprint: String::new(),
    }
}

/// The names of a run in which `north` is the only camera.
pub(crate) fn names_of_north() -> Arc<Names> {
    Arc::new(Names::of(&plan_of_north(Path::new("."))))
}

/// The place of camera `north`.
pub(crate) fn source_setup<'a>(root: &'a Path, names: &'a Arc<Names>) -> SourceSetup<'a> {
    SourceSetup::new(root, names, CameraId(0))
}

/// Parameters with their defaults, but for those given.
pub(crate) fn params<P: Params>(given: &[(&str, Value)]) -> P {
    let mut values: ParamValues = P::schema()
        .params
        .into_iter()
        .filter_map(|spec| Some((spec.name, spec.default?)))
        .collect();
    values.extend(given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    P::from_values(&values).expect("the test gives what is required")
}

/// The reference data made by others, which is never part of the repository: `$FLOWRUN_DATA`, or
/// Kinds of devices of which there are two here; says so where there are not two of CUDA's.
pub(crate) fn kinds_of_two() -> Vec<DeviceKind> {
    let mut kinds = vec![DeviceKind::Twin];
    match Gpu::open(1) {
        Err(_) => println!("skipped: there are not two CUDA devices"),
        Ok(_) => kinds.push(DeviceKind::Cuda),
    }
    kinds
}

/// `../shared/data` beside the repository. Says so and gives none where it is absent.
pub(crate) fn reference_data() -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    let folder = std::env::var_os("FLOWRUN_DATA").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no reference data");
    None
}
