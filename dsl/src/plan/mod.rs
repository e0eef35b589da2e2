//! The plan: a graph with names bound, types proven, defaults filled in and placement decided.
//!
//! Flat and linked by index, so that installing it is a straight walk. Invariants:
//! 1. `nodes` is in topological order: every [`Origin::Node`] of a node is smaller than its own index.
//! 2. Every parameter that its operator requires is present, of its declared type and in range.
//! 3. Every input's rows are rows that the port takes.
//! 4. A node's `cameras` are those of its inputs, in ascending order; a node that answers for no
//!    camera in particular (a query) has none of its own but lists those it reads.
//! 5. Names of nodes, cameras, zones and models are unique in their kind.
//! 6. Each node belongs to exactly one fragment, and fragments are in topological order too.

mod connect;
mod declare;
pub mod diff;
mod drawing;
mod explain;
pub mod fingerprint;
pub(crate) mod lower;
mod numbers;
mod place;
mod points;
mod query;
mod reach;
mod references;
mod targets;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::expr::QueryPlan;
use crate::params::ParamValues;
use crate::port::{Role, RowKind};

pub use diff::{Action, PartChange, PartKind, PlanDiff, diff, explain_diff};
pub use drawing::draw;
pub use explain::explain;
pub use numbers::Numbers;
pub use reach::{Reach, Touch, Touched, Within};

/// The version of the JSON form.
pub const PLAN_VERSION: u32 = 1;

/// A checked, typed, physical graph.
///
/// Its JSON form, by `serde`, has the fields as they are named here. Enums are words in kebab case, or
/// an object with the one word as key where they carry something (`{"node": 3}`). Parameters are
/// numbers, flags, text and lists; what has a unit is text with it (`"800ms"`, `"4M"`, `"1024B"`), and
/// a secret is the `env.NAME` that holds it. Constants in expressions are `{"duration": 5000000000}`:
/// the type, with times and durations in nanoseconds. `version` counts up when a reader of the form
/// would have to change.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// The graph file's folder: relative paths of parameters are relative to it.
    #[serde(skip)]
    pub root: PathBuf,
    /// SHA-256 over the canonical plan: two texts that mean the same have the same hash.
    pub hash: String,
    /// All cameras.
    pub cameras: Vec<CameraPlan>,
    /// Models by name.
    pub models: BTreeMap<String, ModelPlan>,
    /// Polygons and lines.
    pub zones: Vec<ZonePlan>,
    /// Operators and sinks, in topological order.
    pub nodes: Vec<NodePlan>,
    /// Dataflows of their own that meet at taps.
    pub fragments: Vec<FragmentPlan>,
    /// The parameters of the `server` node, where there is one:
    /// [`ServerParams`](crate::graph::server::ServerParams).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ParamValues>,
    /// What rows call its cameras and zones.
    #[serde(skip)]
    pub numbers: Numbers,
}

/// A camera.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CameraPlan {
    /// Its bare name.
    pub name: String,
    /// The `cameras` block it stands in.
    pub group: String,
    /// The source's kind.
    pub kind: String,
    /// The source's own parameters.
    pub params: ParamValues,
    /// Parameters that every camera has.
    pub common: ParamValues,
    /// What it emits.
    pub output: RowKind,
    /// Hash of all of the above.
    pub fingerprint: String,
}

/// A model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelPlan {
    /// The file, as written.
    pub path: PathBuf,
    /// Parameters of the `model` block.
    pub params: ParamValues,
}

/// A polygon or a directed line on the picture of some cameras.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ZonePlan {
    /// The name that `zones=` and `lines=` use.
    pub name: String,
    /// The cameras whose pictures it lies on: indices.
    pub cameras: Vec<usize>,
    /// Its corners.
    pub shape: Shape,
    /// What its coordinates mean.
    pub units: Units,
}

/// The geometry of a zone.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A simple polygon of at least three corners.
    Polygon(Vec<[f64; 2]>),
    /// A directed line; `forward` is to the right of a -> b as seen on the picture.
    Line {
        /// Its ends, a then b.
        ends: [[f64; 2]; 2],
        /// What people call passing it to the right.
        forward: String,
        /// What people call passing it to the left.
        backward: String,
    },
}

/// What coordinates are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Units {
    /// Of the picture's width and height.
    Ratio,
    /// Pixels of the source picture.
    Pixels,
}

/// An operator or sink at work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodePlan {
    /// Unique: `flow.name` where `as=` gave one, else `flow.kind`, `flow.kind.2` and so on.
    pub name: String,
    /// The operator's kind.
    pub kind: String,
    /// Where it stands.
    pub role: Role,
    /// Index of its fragment.
    pub fragment: usize,
    /// What holds for every camera without an entry in `overrides`.
    pub params: ParamValues,
    /// Complete parameters of cameras that differ, by camera name.
    pub overrides: BTreeMap<String, ParamValues>,
    /// What it reads, in the order of its ports.
    pub inputs: Vec<InputPlan>,
    /// What it emits.
    pub output: Option<RowKind>,
    /// The cameras it answers for.
    pub cameras: Vec<usize>,
    /// What to do with a row or a camera that fails.
    pub on_error: OnError,
    /// The compiled query of a `query` block.
    pub query: Option<QueryPlan>,
    /// Hash of kind, parameters, names of inputs and types.
    pub fingerprint: String,
}

/// What becomes of a failure inside a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// The row is answered empty with an error row; after a panic so is every later one of that camera.
    #[default]
    Skip,
    /// As `skip`, and after a panic the camera's state starts from nothing.
    Restart,
    /// The run ends with exit code 1.
    Stop,
}

/// One edge into a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputPlan {
    /// The port's name.
    pub port: String,
    /// Where its rows come from.
    pub origin: Origin,
    /// How it is aligned with the node's other inputs.
    pub align: Align,
    /// What travels.
    pub rows: RowKind,
}

/// Where rows come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// All cameras of a group.
    Group(String),
    /// Another node's output: its index.
    Node(usize),
    /// A node's error port: its index.
    ErrorsOf(usize),
    /// Every error port, those of cameras included.
    AllErrors,
}

/// How an input is matched with a node's other inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Align {
    /// By frame number, per camera.
    #[default]
    Frame,
    /// The newest that is there: a live picture that must not wait for the tracker.
    Latest,
}

/// Nodes that are installed, and later replaced, together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FragmentPlan {
    /// The flow's, the query's or the sink's name.
    pub name: String,
    /// Indices into [`Plan::nodes`].
    pub nodes: Vec<usize>,
}
