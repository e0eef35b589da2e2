//! A version of the graph, made ready: what workers need to build its fragments, and what is to be done with those
//! that are there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use flowrun_dsl::plan::{InputPlan, Origin, Plan};
use flowrun_dsl::port::Role;

use crate::dataflow::collection::QueryCameras;
use crate::dataflow::instances::{SavedStates, Takeover};
use crate::dataflow::offload::OffloadPool;
use crate::dataflow::sink::Writer;
use crate::dataflow::source::Inbox;
use crate::demand::Watching;
use crate::registry::{ErasedOffload, ErasedQuery, ErasedSink, Instance, Keyed};
use crate::rows::CameraId;
use crate::run::context::{Context, Generation};

/// A prepared node with what it runs on.
#[derive(Clone)]
pub enum NodeParts {
    /// Instances wait for the worker that owns their camera.
    Keyed(Arc<KeyedParts>),
    /// Threads shared by all workers.
    Offload(Arc<dyn ErasedOffload>, Arc<OffloadPool>),
    /// A collection.
    Query(Arc<dyn ErasedQuery>, Arc<QueryCameras>),
    /// The way out.
    Sink(Arc<dyn ErasedSink>, Arc<Writer>),
}

/// A keyed operator with the instances that were made for it.
pub struct KeyedParts {
    /// Makes instances.
    pub keyed: Arc<dyn Keyed>,
    /// Made in prepare: of every camera, or where others stay, of those that are new.
    pub instances: Mutex<HashMap<CameraId, Box<dyn Instance>>>,
    /// What becomes of those of the version before.
    pub takeover: Takeover,
    /// What it was called in the version before.
    pub before: String,
    /// Whether another model stands before it than in the version before.
    pub renewed: bool,
    /// States that count instead of what those knew.
    pub saved: Mutex<SavedStates>,
}

impl KeyedParts {
    /// A worker's own instances.
    pub fn take_instances(&self, owns: impl Fn(CameraId) -> bool) -> Vec<(CameraId, Box<dyn Instance>)> {
        take(&self.instances, owns)
    }

    /// The states kept for them.
    pub fn take_saved(&self, owns: impl Fn(CameraId) -> bool) -> SavedStates {
        take(&self.saved, owns).into_iter().collect()
    }
}

/// Takes what belongs to some cameras.
fn take<T>(all: &Mutex<HashMap<CameraId, T>>, owns: impl Fn(CameraId) -> bool) -> Vec<(CameraId, T)> {
    let mut all = all.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let own: Vec<CameraId> = all.keys().copied().filter(|camera| owns(*camera)).collect();
    own.into_iter().filter_map(|camera| all.remove_entry(&camera)).collect()
}

/// All that workers need to build a version.
pub struct Installation {
    /// The run.
    pub context: Arc<Context>,
    /// The version.
    pub generation: Arc<Generation>,
    /// One a node of the plan.
    pub nodes: Vec<NodeParts>,
    /// What is wanted of them while the version is at work.
    pub wants: Vec<Watching>,
    /// By group: an inbox a worker.
    pub groups: Vec<Group>,
    /// Names of the groups whose fragments are to be built.
    pub new_groups: BTreeSet<String>,
    /// Names of the fragments that are to be built.
    pub built: BTreeSet<String>,
    /// By name of a fragment that is built, the one of the version before that it follows.
    pub follows: BTreeMap<String, String>,
    /// Names of the fragments that end with the version before: those that are built anew, and those that are gone.
    pub ended: BTreeSet<String>,
}

/// A `cameras` block.
#[derive(Clone)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// One a worker.
    pub inboxes: Vec<Arc<Inbox>>,
}

/// Where fragments of one worker meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// A group's frames.
    Group(String),
    /// What a group's cameras could not read.
    GroupErrors(String),
    /// A node's answers.
    Node(String),
    /// A node's errors.
    NodeErrors(String),
}

/// The points that an input of the node at `reader` reads: one, or for `*.errors` all error ports.
pub fn points_of(plan: &Plan, input: &InputPlan, reader: usize) -> Vec<Point> {
    match &input.origin {
        Origin::Group(name) => vec![Point::Group(name.clone())],
        Origin::Node(index) => vec![Point::Node(plan.nodes[*index].name.clone())],
        Origin::ErrorsOf(index) => vec![Point::NodeErrors(plan.nodes[*index].name.clone())],
        Origin::AllErrors => {
            let groups: BTreeSet<&str> = plan.cameras.iter().map(|camera| camera.group.as_str()).collect();
            let groups = groups.into_iter().map(|group| Point::GroupErrors(group.to_owned()));
            // What stands behind the reader would close a circle; sinks and queries report to the log.
            let nodes = plan
                .nodes
                .iter()
                .take(reader)
                .filter(|node| node.role == Role::Operator);
            groups
                .chain(nodes.map(|node| Point::NodeErrors(node.name.clone())))
                .collect()
        }
    }
}

/// The fragment in which a node stands.
fn fragment_of<'p>(plan: &'p Plan, point: &Point) -> Option<&'p str> {
    let Point::Node(name) = point else { return None };
    let node = plan.nodes.iter().find(|node| node.name == *name)?;
    Some(&plan.fragments[node.fragment].name)
}

/// What a fragment's wiring is made of: the points that its nodes read, in order, and those that others read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// By node: its name and the points that each of its inputs reads.
    pub reads: Vec<(String, Vec<Vec<Point>>)>,
    /// What it publishes.
    pub publishes: BTreeSet<Point>,
}

/// The points that some fragment reads from a tap.
pub fn wanted_points(plan: &Plan) -> BTreeSet<Point> {
    let mut wanted = BTreeSet::new();
    for (index, node) in plan.nodes.iter().enumerate() {
        let own = plan.fragments[node.fragment].name.as_str();
        let points = node.inputs.iter().flat_map(|input| points_of(plan, input, index));
        wanted.extend(points.filter(|point| fragment_of(plan, point) != Some(own)));
    }
    wanted
}

/// The wiring of a fragment.
pub fn wiring(plan: &Plan, fragment: usize, wanted: &BTreeSet<Point>) -> Wiring {
    let nodes = &plan.fragments[fragment].nodes;
    let reads = nodes.iter().map(|index| {
        let node = &plan.nodes[*index];
        let inputs = node.inputs.iter().map(|input| points_of(plan, input, *index));
        (node.name.clone(), inputs.collect())
    });
    let publishes = nodes.iter().flat_map(|index| {
        let name = &plan.nodes[*index].name;
        [Point::Node(name.clone()), Point::NodeErrors(name.clone())]
    });
    Wiring {
        reads: reads.collect(),
        publishes: publishes.filter(|point| wanted.contains(point)).collect(),
    }
}
