//! Builds a run's fragments on every worker, in the same order, and steps them until they have ended.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use flowrun_dsl::plan::{Align, InputPlan, NodePlan, Origin};
use flowrun_dsl::port::Role;
use timely::dataflow::Scope;
use timely::worker::Worker;

use crate::dataflow::keyed::KeyedNode;
use crate::dataflow::offload::OffloadPool;
use crate::dataflow::sink::Writer;
use crate::dataflow::source::Inbox;
use crate::dataflow::tap::TapRef;
use crate::dataflow::{Edge, Rendered, collection, keyed, offload, sink, source, tap};
use crate::demand::Watching;
use crate::registry::{ErasedOffload, ErasedQuery, ErasedSink, Instance, Keyed};
use crate::rows::CameraId;
use crate::run::context::Context;
use crate::time::Tick;

/// A prepared node with what it runs on.
pub enum NodeParts {
    /// Instances wait for the worker that owns their camera.
    Keyed(Arc<dyn Keyed>, Mutex<HashMap<CameraId, Box<dyn Instance>>>),
    /// Threads shared by all workers.
    Offload(Arc<dyn ErasedOffload>, Arc<OffloadPool>),
    /// A collection.
    Query(Arc<dyn ErasedQuery>),
    /// The way out.
    Sink(Arc<dyn ErasedSink>, Arc<Writer>),
}

/// All that workers need to build a run.
pub struct Installation {
    /// What all parts share.
    pub context: Arc<Context>,
    /// One a node of the plan.
    pub nodes: Vec<NodeParts>,
    /// What is wanted of them for the whole run.
    pub wants: Vec<Watching>,
    /// By group: its cameras, and an inbox a worker.
    pub groups: Vec<Group>,
}

/// A `cameras` block.
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its cameras.
    pub cameras: Vec<CameraId>,
    /// One a worker.
    pub inboxes: Vec<Arc<Inbox>>,
}

/// Where fragments of one worker meet.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Point {
    Group(String),
    GroupErrors(String),
    Node(usize),
    NodeErrors(usize),
}

/// Runs an installation on this many workers until everything has ended.
///
/// # Errors
/// A worker that could not be started, or that panicked.
pub fn run_workers(installation: Arc<Installation>, workers: usize) -> Result<(), String> {
    let mut config = timely::Config::process(workers);
    let options = differential_dataflow::Config::default().idle_merge_effort(Some(1_000));
    differential_dataflow::configure(&mut config.worker, &options);
    let guards = timely::execute(config, move |worker| {
        build(worker, &installation);
        while !worker.installed_dataflows().is_empty() {
            worker.step_or_park(None);
        }
    })?;
    guards.join().into_iter().collect()
}

fn build(worker: &mut Worker, installation: &Installation) {
    let mut taps: HashMap<Point, TapRef> = HashMap::new();
    let wanted = wanted_points(installation);
    for group in &installation.groups {
        let (index, peers) = (worker.index(), worker.peers());
        let own = group
            .cameras
            .iter()
            .copied()
            .filter(|camera| camera.0 as usize % peers == index)
            .collect();
        let errors_wanted = wanted.contains(&Point::GroupErrors(group.name.clone()));
        worker.dataflow_named::<Tick, _, _>(&group.name, |scope| {
            let rendered = source::render(
                scope,
                &group.name,
                own,
                group.inboxes[index].clone(),
                installation.context.clone(),
                errors_wanted,
            );
            publish(&mut taps, &wanted, Point::Group(group.name.clone()), rendered.rows);
            publish(
                &mut taps,
                &wanted,
                Point::GroupErrors(group.name.clone()),
                rendered.errors,
            );
        });
    }
    for fragment in &installation.context.plan.fragments {
        worker.dataflow_named::<Tick, _, _>(&fragment.name, |scope| {
            let mut here: HashMap<usize, Edge<'_>> = HashMap::new();
            let mut imported: HashMap<Point, Edge<'_>> = HashMap::new();
            for node in &fragment.nodes {
                let plan = &installation.context.plan.nodes[*node];
                let mut inputs = Vec::new();
                for input in &plan.inputs {
                    let edges = points_of(input, *node, installation)
                        .into_iter()
                        .map(|point| match point {
                            Point::Node(index) if here.contains_key(&index) => here[&index].clone(),
                            point => match imported.entry(point) {
                                Entry::Occupied(known) => known.get().clone(),
                                Entry::Vacant(new) => {
                                    let tap = taps.entry(new.key().clone()).or_default();
                                    new.insert(tap::import(scope, tap)).clone()
                                }
                            },
                        });
                    inputs.extend(edges);
                }
                let errors_wanted = wanted.contains(&Point::NodeErrors(*node));
                let rendered = render(
                    scope,
                    inputs,
                    *node,
                    plan,
                    installation,
                    worker_share(scope),
                    errors_wanted,
                );
                if let Some(rows) = rendered.rows {
                    here.insert(*node, rows.clone());
                    publish(&mut taps, &wanted, Point::Node(*node), Some(rows));
                }
                publish(&mut taps, &wanted, Point::NodeErrors(*node), rendered.errors);
            }
        });
    }
}

/// Which worker of how many this is.
fn worker_share(scope: Scope<'_, Tick>) -> (usize, usize) {
    (scope.index(), scope.peers())
}

/// The points that an input reads: one, or for `*.errors` all error ports.
fn points_of(input: &InputPlan, reader: usize, installation: &Installation) -> Vec<Point> {
    let plan = &installation.context.plan;
    match &input.origin {
        Origin::Group(name) => vec![Point::Group(name.clone())],
        Origin::Node(index) => vec![Point::Node(*index)],
        Origin::ErrorsOf(index) => vec![Point::NodeErrors(*index)],
        Origin::AllErrors => {
            let groups = installation
                .groups
                .iter()
                .map(|group| Point::GroupErrors(group.name.clone()));
            // What stands behind the reader would close a circle; sinks and queries report to the log.
            let nodes = plan
                .nodes
                .iter()
                .enumerate()
                .filter(|(index, node)| node.role == Role::Operator && *index < reader);
            groups.chain(nodes.map(|(index, _)| Point::NodeErrors(index))).collect()
        }
    }
}

/// The points that some fragment reads from a tap.
fn wanted_points(installation: &Installation) -> Vec<Point> {
    let plan = &installation.context.plan;
    let mut wanted = Vec::new();
    for (index, node) in plan.nodes.iter().enumerate() {
        for point in node
            .inputs
            .iter()
            .flat_map(|input| points_of(input, index, installation))
        {
            let local = matches!(point, Point::Node(origin) if plan.nodes[origin].fragment == node.fragment);
            if !local && !wanted.contains(&point) {
                wanted.push(point);
            }
        }
    }
    wanted
}

fn publish(taps: &mut HashMap<Point, TapRef>, wanted: &[Point], point: Point, stream: Option<Edge<'_>>) {
    if let Some(stream) = stream
        && wanted.contains(&point)
    {
        tap::publish(stream, taps.entry(point).or_default());
    }
}

fn render<'scope>(
    scope: Scope<'scope, Tick>,
    mut inputs: Vec<Edge<'scope>>,
    node: usize,
    plan: &NodePlan,
    installation: &Installation,
    (index, peers): (usize, usize),
    errors_wanted: bool,
) -> Rendered<'scope> {
    let context = &installation.context;
    let rendered = match &installation.nodes[node] {
        NodeParts::Keyed(keyed, instances) => {
            let mut instances = instances.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let own: Vec<CameraId> = instances
                .keys()
                .copied()
                .filter(|camera| camera.0 as usize % peers == index)
                .collect();
            let instances = own
                .into_iter()
                .filter_map(|camera| instances.remove_entry(&camera))
                .collect();
            let align: Vec<Align> = plan.inputs.iter().map(|input| input.align).collect();
            let parts = KeyedNode {
                node,
                keyed: keyed.clone(),
                instances,
                align,
            };
            keyed::render(scope, inputs, parts, context, errors_wanted)
        }
        NodeParts::Offload(shared, pool) => {
            offload::render(scope, inputs.remove(0), node, pool, shared, context, errors_wanted)
        }
        NodeParts::Query(query) => Rendered {
            rows: Some(collection::render(scope, inputs.remove(0), node, query, context)),
            errors: None,
        },
        NodeParts::Sink(shared, writer) => {
            sink::render(scope, inputs, node, shared, writer, context);
            Rendered {
                rows: None,
                errors: None,
            }
        }
    };
    let leaf = matches!(installation.nodes[node], NodeParts::Keyed(..) | NodeParts::Offload(..))
        .then(|| context.ledger.leaf(node))
        .flatten();
    match (leaf, rendered.rows) {
        (Some(leaf), Some(rows)) => Rendered {
            rows: Some(keyed::end(rows, leaf, context)),
            errors: rendered.errors,
        },
        (_, rows) => Rendered {
            rows,
            errors: rendered.errors,
        },
    }
}
