//! All that can fail, before the first frame: cameras opened, models loaded, files created.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use flowrun_dsl::plan::Plan;
use flowrun_dsl::port::Role;

use crate::clock::{Clock, WallClock};
use crate::dataflow::{Group, Inbox, Installation, NodeParts, OffloadPool, Writer};
use crate::demand::{Demand, Watching};
use crate::errors::{OperatorError, PrepareError};
use crate::names::Names;
use crate::network::Network;
use crate::operator::{Pace, SinkWants, SourceSetup, SourceTraits, Stop};
use crate::registry::{ErasedSource, Prepared, Registry};
use crate::rows::CameraId;
use crate::run::context::Context;
use crate::run::intake::Camera;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Timely workers.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { workers: 1 }
    }
}

/// A run that is ready to start.
pub struct PreparedRun {
    pub(super) context: Arc<Context>,
    pub(super) installation: Arc<Installation>,
    pub(super) cameras: Vec<Camera>,
    pub(super) workers: usize,
}

fn failed(place: &str, error: OperatorError) -> PrepareError {
    PrepareError {
        place: place.into(),
        cause: error.cause,
        remedy: error.remedy,
    }
}

/// Builds everything that a plan needs.
///
/// # Errors
/// All that is wrong, each with its place in the graph.
pub fn prepare(plan: Plan, registry: &Registry, options: &Options) -> Result<PreparedRun, Vec<PrepareError>> {
    let (plan, stop) = (Arc::new(plan), Stop::default());
    let names = Arc::new(Names::of(&plan));
    let mut errors = Vec::new();
    let wall = WallClock::default();
    let sources = open_cameras(&plan, registry, &names, (&stop, &wall), &mut errors);
    let clock = clock_for(&plan, &sources, wall, &mut errors);
    let context = Arc::new(Context::new(plan.clone(), names, clock, stop));
    let mut prepared = Vec::new();
    for node in &plan.nodes {
        let definition = registry.definition(node.role, &node.kind);
        let built = definition
            .ok_or_else(|| OperatorError::new(format!("no operator `{}`", node.kind)))
            .and_then(|definition| definition.prepare(node, &context));
        match built {
            Ok(built) => prepared.push(built),
            Err(error) => errors.push(failed(&node.name, error)),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut nodes = Vec::new();
    for (node, prepared) in plan.nodes.iter().zip(prepared) {
        match parts(node, prepared, &context) {
            Ok(parts) => nodes.push(parts),
            Err(error) => errors.push(failed(&node.name, error)),
        }
    }
    if !errors.is_empty() {
        // Sinks that are open already must not present an empty file as a whole one.
        context.fail("not started".into());
        return Err(errors);
    }
    let workers = options.workers.max(1);
    let groups = groups_of(&plan, workers);
    let cameras = sources.into_iter().map(|(id, source)| {
        let group = groups
            .iter()
            .find(|group| group.cameras.contains(&id))
            .expect("a camera stands in a group");
        Camera {
            id,
            source,
            inbox: group.inboxes[id.0 as usize % workers].clone(),
        }
    });
    let cameras = cameras.collect();
    let wants = lasting_wants(&plan, &nodes, &context);
    let installation = Arc::new(Installation {
        context: context.clone(),
        nodes,
        wants,
        groups,
    });
    Ok(PreparedRun {
        context,
        installation,
        cameras,
        workers,
    })
}

fn open_cameras(
    plan: &Plan,
    registry: &Registry,
    names: &Arc<Names>,
    (stop, wall): (&Stop, &WallClock),
    errors: &mut Vec<PrepareError>,
) -> Vec<(CameraId, Box<dyn ErasedSource>)> {
    let network = Network::default();
    let mut sources = Vec::new();
    for (index, camera) in plan.cameras.iter().enumerate() {
        let id = CameraId(index as u32);
        let setup = SourceSetup {
            root: &plan.root,
            names,
            camera: id,
            stop: stop.clone(),
            wall: wall.clone(),
            network: network.clone(),
        };
        let definition = registry.definition(Role::Source, &camera.kind);
        let opened = definition
            .ok_or_else(|| OperatorError::new(format!("no source `{}`", camera.kind)))
            .and_then(|definition| definition.open(&setup, camera));
        match opened {
            Ok(source) => sources.push((id, source)),
            Err(error) => errors.push(failed(&camera.name, error)),
        }
    }
    sources
}

/// Offline when every source is finite and runs as fast as it can; a mixture has no one time.
fn clock_for(
    plan: &Plan,
    sources: &[(CameraId, Box<dyn ErasedSource>)],
    wall: WallClock,
    errors: &mut Vec<PrepareError>,
) -> Clock {
    let offline = |traits: SourceTraits| traits.finite && traits.pace == Pace::Max;
    if !sources.is_empty() && sources.iter().all(|(_, source)| offline(source.traits())) {
        return Clock::offline();
    }
    let paced = sources.iter().find(|(_, source)| !offline(source.traits()));
    for (camera, source) in sources {
        if source.traits().pace == Pace::Max {
            let name = &plan.cameras[camera.0 as usize].name;
            let other = paced.map_or("another camera", |(id, _)| plan.cameras[id.0 as usize].name.as_str());
            let error = OperatorError::new(format!(
                "pace=max is for runs whose every source is finite and has pace=max; `{other}` is not"
            ))
            .help("give this camera pace=media, or every camera pace=max");
            errors.push(failed(name, error));
        }
    }
    Clock::live(wall)
}

fn parts(
    node: &flowrun_dsl::plan::NodePlan,
    prepared: Prepared,
    context: &Arc<Context>,
) -> Result<NodeParts, OperatorError> {
    Ok(match prepared {
        Prepared::Keyed(keyed) => {
            let mut instances = HashMap::new();
            for camera in &node.cameras {
                let camera = CameraId(*camera as u32);
                instances.insert(camera, keyed.instance(camera)?);
            }
            NodeParts::Keyed(keyed, Mutex::new(instances))
        }
        Prepared::Offload(offload) => {
            let pool = Arc::new(OffloadPool::start(&offload, &node.name)?);
            NodeParts::Offload(offload, pool)
        }
        Prepared::Query(query) => NodeParts::Query(query),
        Prepared::Sink(sink) => {
            let writer = Writer::start(&node.name, sink.open()?, context.clone())?;
            NodeParts::Sink(sink, Arc::new(writer))
        }
    })
}

/// What is wanted for the whole run: all that operators, queries and most sinks read.
fn lasting_wants(plan: &Plan, nodes: &[NodeParts], context: &Context) -> Vec<Watching> {
    let mut wants = Vec::new();
    for (node, parts) in plan.nodes.iter().zip(nodes) {
        if matches!(parts, NodeParts::Sink(sink, _) if sink.wants() == SinkWants::WhenWatched) {
            continue;
        }
        for camera in &node.cameras {
            let demands = context.setup(node).demands_on_inputs(CameraId(*camera as u32));
            wants.extend(demands.iter().map(Demand::watch));
        }
    }
    wants
}

fn groups_of(plan: &Plan, workers: usize) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, camera) in plan.cameras.iter().enumerate() {
        let id = CameraId(index as u32);
        match groups.iter_mut().find(|group| group.name == camera.group) {
            Some(group) => group.cameras.push(id),
            None => {
                let inboxes = (0..workers).map(|_| Arc::new(Inbox::default())).collect();
                groups.push(Group {
                    name: camera.group.clone(),
                    cameras: vec![id],
                    inboxes,
                });
            }
        }
    }
    groups
}
