//! All that can fail, before the first frame: cameras opened, models loaded, files created.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use flowrun_dsl::plan::{CameraPlan, NodePlan, Plan};
use flowrun_dsl::port::Role;

use crate::clock::{Clock, WallClock};
use crate::dataflow::{
    Group, Inbox, Installation, KeyedParts, NodeParts, OffloadPool, QueryCameras, SavedStates, Takeover, Writer,
};
use crate::demand::{Demand, Watching};
use crate::device::{Decoders, Devices};
use crate::errors::{OperatorError, PrepareError};
use crate::names::Names;
use crate::network::Network;
use crate::operator::{Pace, SinkWants, SourceSetup, SourceTraits, Stop};
use crate::registry::{ErasedSource, Keyed, Prepared, Registry};
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
    pub(super) installation: Installation,
    pub(super) cameras: Vec<Camera>,
    pub(super) workers: usize,
    pub(super) registry: Registry,
    pub(super) network: Network,
}

/// A failure at its place in the graph.
pub(crate) fn failed(place: &str, error: OperatorError) -> PrepareError {
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
    let (wall, network, decoders) = (
        WallClock::default(),
        Network::default(),
        Decoders::on(Devices::of(&plan)),
    );
    let opening = Opening {
        plan: &plan,
        registry,
        names: &names,
        stop: &stop,
        wall: &wall,
        network: &network,
        decoders: &decoders,
    };
    let mut sources = Vec::new();
    for index in 0..plan.cameras.len() {
        match opening.open(index) {
            Ok(opened) => sources.push(opened),
            Err(error) => errors.push(error),
        }
    }
    let clock = clock_for(&plan, &sources, wall, &mut errors);
    let context = Arc::new(Context::new(plan.clone(), names, clock, decoders, stop));
    let mut prepared = Vec::new();
    for node in &plan.nodes {
        match build(&plan, node, registry, &context) {
            Ok(built) => prepared.push(built),
            Err(error) => errors.push(failed(&node.name, error)),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut nodes = Vec::new();
    for (node, prepared) in plan.nodes.iter().zip(prepared) {
        match parts(&plan, node, prepared, Takeover::Reset, &context) {
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
    let groups = groups_of(&plan, workers, &[]);
    let cameras = sources.into_iter().map(|opened| opened.at(&plan, &groups, 0)).collect();
    let installation = Installation {
        generation: context.generation(),
        wants: lasting_wants(&plan, &nodes, &context),
        nodes,
        new_groups: groups.iter().map(|group| group.name.clone()).collect(),
        groups,
        built: plan.fragments.iter().map(|fragment| fragment.name.clone()).collect(),
        follows: BTreeMap::new(),
        ended: BTreeSet::new(),
        context: context.clone(),
    };
    Ok(PreparedRun {
        context,
        installation,
        cameras,
        workers,
        registry: registry.clone(),
        network,
    })
}

/// A camera that is open and not yet connected with a run.
pub(crate) struct Opened {
    index: usize,
    id: CameraId,
    source: Box<dyn ErasedSource>,
    stop: Stop,
}

impl Opened {
    /// Which one.
    pub fn id(&self) -> CameraId {
        self.id
    }

    /// What kind of source it turned out to be.
    pub fn traits(&self) -> SourceTraits {
        self.source.traits()
    }

    /// Connected with its group's inbox; its frames count from `first_frame`.
    pub fn at(self, plan: &Plan, groups: &[Group], first_frame: u64) -> Camera {
        let group = groups
            .iter()
            .find(|group| group.name == plan.cameras[self.index].group)
            .expect("a camera stands in a group");
        Camera {
            id: self.id,
            source: self.source,
            inbox: group.inboxes[self.id.0 as usize % group.inboxes.len()].clone(),
            stop: self.stop,
            first_frame,
        }
    }
}

/// What opening a plan's cameras needs.
pub(crate) struct Opening<'a> {
    pub plan: &'a Plan,
    pub registry: &'a Registry,
    pub names: &'a Arc<Names>,
    pub stop: &'a Stop,
    pub wall: &'a WallClock,
    pub network: &'a Network,
    pub decoders: &'a Decoders,
}

impl Opening<'_> {
    /// Opens the camera at an index of the plan.
    ///
    /// # Errors
    /// What is wrong, at the camera's place.
    pub fn open(&self, index: usize) -> Result<Opened, PrepareError> {
        let camera: &CameraPlan = &self.plan.cameras[index];
        let (id, stop) = (CameraId(self.plan.camera_number(index)), self.stop.part());
        let setup = SourceSetup {
            root: &self.plan.root,
            names: self.names,
            camera: id,
            stop: stop.clone(),
            wall: self.wall.clone(),
            network: self.network.clone(),
            decoders: self.decoders.clone(),
        };
        let definition = self.registry.definition(Role::Source, &camera.kind);
        let opened = definition
            .ok_or_else(|| OperatorError::new(format!("no source `{}`", camera.kind)))
            .and_then(|definition| definition.open(&setup, camera));
        match opened {
            Ok(source) => Ok(Opened {
                index,
                id,
                source,
                stop,
            }),
            Err(error) => Err(failed(&camera.name, error)),
        }
    }
}

/// Offline when every source is finite and runs as fast as it can; a mixture has no one time.
fn clock_for(plan: &Plan, sources: &[Opened], wall: WallClock, errors: &mut Vec<PrepareError>) -> Clock {
    let offline = |traits: SourceTraits| traits.finite && traits.pace == Pace::Max;
    if !sources.is_empty() && sources.iter().all(|source| offline(source.traits())) {
        return Clock::offline();
    }
    let name = |source: &Opened| plan.cameras[source.index].name.as_str();
    let paced = sources.iter().find(|source| !offline(source.traits()));
    for source in sources {
        if source.traits().pace == Pace::Max {
            let other = paced.map_or("another camera", name);
            let error = OperatorError::new(format!(
                "pace=max is for runs whose every source is finite and has pace=max; `{other}` is not"
            ))
            .help("give this camera pace=media, or every camera pace=max");
            errors.push(failed(name(source), error));
        }
    }
    Clock::live(wall)
}

/// Builds a node.
///
/// # Errors
/// As its operator reports it.
pub(crate) fn build(
    plan: &Arc<Plan>,
    node: &NodePlan,
    registry: &Registry,
    context: &Arc<Context>,
) -> Result<Prepared, OperatorError> {
    registry
        .definition(node.role, &node.kind)
        .ok_or_else(|| OperatorError::new(format!("no operator `{}`", node.kind)))
        .and_then(|definition| definition.prepare(plan, node, context))
}

/// The cameras that a node sees.
pub(crate) fn cameras_of<'p>(plan: &'p Plan, node: &'p NodePlan) -> impl Iterator<Item = CameraId> + 'p {
    node.cameras.iter().map(|camera| CameraId(plan.camera_number(*camera)))
}

/// Instances of a keyed node for some cameras.
///
/// # Errors
/// The first that cannot be made.
pub(crate) fn keyed_parts(
    keyed: Arc<dyn Keyed>,
    cameras: impl Iterator<Item = CameraId>,
    takeover: Takeover,
    before: &str,
) -> Result<KeyedParts, OperatorError> {
    let mut instances = HashMap::new();
    for camera in cameras {
        instances.insert(camera, keyed.instance(camera)?);
    }
    Ok(KeyedParts {
        keyed,
        instances: Mutex::new(instances),
        takeover,
        before: before.to_owned(),
        renewed: false,
        saved: Mutex::new(SavedStates::new()),
    })
}

/// What a node that is built anew runs on.
///
/// # Errors
/// What cannot be had.
pub(crate) fn parts(
    plan: &Plan,
    node: &NodePlan,
    prepared: Prepared,
    takeover: Takeover,
    context: &Arc<Context>,
) -> Result<NodeParts, OperatorError> {
    Ok(match prepared {
        Prepared::Keyed(keyed) => {
            let parts = keyed_parts(keyed, cameras_of(plan, node), takeover, &node.name)?;
            NodeParts::Keyed(Arc::new(parts))
        }
        Prepared::Offload(offload) => {
            let pool = Arc::new(OffloadPool::start(&offload, &node.name)?);
            NodeParts::Offload(offload, pool)
        }
        Prepared::Query(query) => NodeParts::Query(query, Arc::new(QueryCameras::new(cameras_of(plan, node)))),
        Prepared::Sink(sink) => {
            let writer = Writer::start(&node.name, sink.open()?, context.clone())?;
            NodeParts::Sink(sink, Arc::new(writer))
        }
    })
}

/// What is wanted while a version is at work: all that operators, queries and most sinks read.
pub(crate) fn lasting_wants(plan: &Plan, nodes: &[NodeParts], context: &Context) -> Vec<Watching> {
    let mut wants = Vec::new();
    for (node, parts) in plan.nodes.iter().zip(nodes) {
        if matches!(parts, NodeParts::Sink(sink, _) if sink.wants() == SinkWants::WhenWatched) {
            continue;
        }
        let setup = context.setup(plan, node);
        for camera in setup.cameras() {
            wants.extend(setup.demands_on_inputs(camera).iter().map(Demand::watch));
        }
    }
    wants
}

/// The groups of a plan; those that are known keep their inboxes.
pub(crate) fn groups_of(plan: &Plan, workers: usize, known: &[Group]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for camera in &plan.cameras {
        if groups.iter().any(|group| group.name == camera.group) {
            continue;
        }
        let before = known.iter().find(|group| group.name == camera.group);
        groups.push(before.cloned().unwrap_or_else(|| Group {
            name: camera.group.clone(),
            inboxes: (0..workers).map(|_| Arc::new(Inbox::default())).collect(),
        }));
    }
    groups
}
