//! An edit made ready beside the version that is at work. What fails here leaves that untouched.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use flowrun_dsl::params::{ParamType, RefKind};
use flowrun_dsl::plan::{Action, NodePlan, Origin, PartKind, Plan, PlanDiff};
use flowrun_dsl::port::{Catalogue, Role};

use crate::dataflow::{
    Group, Installation, NodeParts, QueryCameras, SavedStates, Takeover, Writer, wanted_points, wiring,
};
use crate::errors::{OperatorError, PrepareError};
use crate::infer::EngineWanted;
use crate::operator::Pace;
use crate::registry::{Prepared, Registry};
use crate::reload::engines;
use crate::rows::CameraId;
use crate::run::context::{Context, Generation};
use crate::run::prepare::{Opened, Opening, build, cameras_of, failed, groups_of, keyed_parts, lasting_wants, parts};

/// States of nodes by name, and of cameras by name: numbers may change until they are needed.
pub type Remembered = HashMap<String, HashMap<String, crate::registry::SavedState>>;

/// An edit that is ready to be made.
pub struct Edit {
    pub plan: Arc<Plan>,
    pub diff: PlanDiff,
    pub nodes: Vec<NodeParts>,
    pub groups: Vec<Group>,
    pub new_groups: BTreeSet<String>,
    pub built: BTreeSet<String>,
    pub follows: BTreeMap<String, String>,
    pub ended: BTreeSet<String>,
    /// Cameras that begin, or begin anew with another source.
    pub opened: Vec<Opened>,
    /// Cameras whose source ends.
    pub stopped: Vec<CameraId>,
    /// Queries that go on for other cameras.
    pub queries: Vec<(Arc<QueryCameras>, Vec<CameraId>)>,
    /// Writers that this edit opened.
    fresh: Vec<Arc<Writer>>,
}

/// What an edit is made ready beside.
pub struct Beside<'a> {
    /// The engine that is there now: nodes that lacked it are opened anew.
    pub engine: Option<&'a EngineWanted>,
    pub context: &'a Arc<Context>,
    pub registry: &'a Registry,
    pub running: &'a Installation,
    pub opening: &'a dyn Fn(&Plan, usize) -> Result<Opened, PrepareError>,
    pub workers: usize,
}

impl Edit {
    /// Gives it up.
    pub fn abandon(self, context: &Context) {
        context.audience.site.abandon();
        self.fresh.iter().for_each(|writer| writer.discard());
    }

    /// What workers need to build it.
    pub fn installation(&self, context: &Arc<Context>, generation: Arc<Generation>) -> Installation {
        Installation {
            wants: lasting_wants(&self.plan, &self.nodes, context),
            nodes: self.nodes.clone(),
            groups: self.groups.clone(),
            new_groups: self.new_groups.clone(),
            built: self.built.clone(),
            follows: self.follows.clone(),
            ended: self.ended.clone(),
            context: context.clone(),
            generation,
        }
    }
}

/// Makes an edit ready, and takes from `remembered` what its nodes go on from.
///
/// # Errors
/// All that is wrong, each with its place in the graph.
pub fn prepare(beside: &Beside<'_>, plan: Plan, remembered: &mut Remembered) -> Result<Edit, Vec<PrepareError>> {
    let running = &beside.running.generation.plan;
    let plan = Arc::new(plan);
    let mut diff = flowrun_dsl::plan::diff(running, &plan, beside.registry);
    let context = beside.context;
    let mut lacked = Vec::new();
    if let Some(engine) = beside.engine {
        lacked = engines::lacking(&beside.running.generation, engine);
        lacked
            .iter()
            .for_each(|node| diff.rebuild(node, format!("{engine} is ready")));
    }
    context.names.learn_fresh(&plan, running);
    context.decoders.devices().widen(&plan);
    context.audience.site.stage();
    let mut walk = Walk {
        beside,
        plan: &plan,
        diff: &diff,
        zones_changed: diff
            .changes
            .iter()
            .any(|change| change.part == PartKind::Zone && change.action != Action::Kept),
        fresh: Vec::new(),
        queries: Vec::new(),
        errors: Vec::new(),
    };
    let (opened, stopped) = walk.cameras();
    let mut nodes = walk.nodes();
    let Walk {
        fresh,
        queries,
        mut errors,
        ..
    } = walk;
    if let Some(change) = diff.of(PartKind::Server, "server")
        && change.action != Action::Kept
    {
        let error = OperatorError::new("the server's own settings cannot change while it runs")
            .help("put them back, or start flowrun anew");
        errors.push(failed("server", error));
    }
    for (node, parts) in plan.nodes.iter().zip(&nodes) {
        let (Some(engine), Some(parts), true) = (beside.engine, parts, lacked.contains(&node.name)) else {
            continue;
        };
        match engines::gone_over(engine, &beside.running.generation, &node.name, parts) {
            Ok(why) => diff.rebuild(&node.name, why),
            Err(error) => errors.push(failed(&node.name, error)),
        }
    }
    if !errors.is_empty() {
        context.audience.site.abandon();
        drop(nodes);
        fresh.iter().for_each(|writer| writer.discard());
        return Err(errors);
    }
    remember(&plan, &mut nodes, remembered);
    let groups = groups_of(&plan, beside.workers, &beside.running.groups);
    let known = |group: &&Group| {
        let mut before = beside.running.groups.iter();
        before.all(|before| before.name != group.name)
    };
    let new_groups = groups.iter().filter(known).map(|group| group.name.clone()).collect();
    let (built, ended) = fragments(running, &plan, &diff);
    let renamed = diff
        .changes
        .iter()
        .filter_map(|change| Some((change.name.clone(), change.renamed_from.clone()?)));
    let renamed: HashMap<String, String> = renamed.collect();
    Ok(Edit {
        follows: follows(running, &plan, &built, &renamed),
        plan: plan.clone(),
        nodes: nodes.into_iter().flatten().collect(),
        groups,
        new_groups,
        built,
        ended,
        opened,
        stopped,
        queries,
        fresh,
        diff,
    })
}

/// Puts states that were kept from an earlier version where they count.
fn remember(plan: &Plan, nodes: &mut [Option<NodeParts>], remembered: &mut Remembered) {
    for (node, parts) in plan.nodes.iter().zip(nodes) {
        let (Some(NodeParts::Keyed(parts)), Some(states)) = (parts, remembered.remove(&node.name)) else {
            continue;
        };
        let by_number = states.into_iter().filter_map(|(camera, state)| {
            let index = plan.cameras.iter().position(|known| known.name == camera)?;
            Some((CameraId(plan.camera_number(index)), state))
        });
        *parts.saved.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = by_number.collect::<SavedStates>();
    }
}

/// The fragments that are built, and those that end: all of which something else than the cameras of a query changes.
fn fragments(running: &Plan, plan: &Plan, diff: &PlanDiff) -> (BTreeSet<String>, BTreeSet<String>) {
    let (wanted_before, wanted) = (wanted_points(running), wanted_points(plan));
    let stays = |node: &NodePlan| {
        diff.of(PartKind::Node, &node.name).is_some_and(|change| {
            change.renamed_from.is_none()
                && (change.action == Action::Kept || (change.action == Action::Live && node.role == Role::Query))
        })
    };
    let mut kept = HashSet::new();
    for (index, fragment) in plan.fragments.iter().enumerate() {
        let Some(before) = running.fragments.iter().position(|before| before.name == fragment.name) else {
            continue;
        };
        if fragment.nodes.iter().all(|node| stays(&plan.nodes[*node]))
            && wiring(plan, index, &wanted) == wiring(running, before, &wanted_before)
        {
            kept.insert(fragment.name.clone());
        }
    }
    let changed = |plan: &Plan| -> BTreeSet<String> {
        let names = plan.fragments.iter().map(|fragment| fragment.name.clone());
        names.filter(|name| !kept.contains(name)).collect()
    };
    (changed(plan), changed(running))
}

/// Of each fragment that is built, the one in which its nodes were before.
fn follows(
    running: &Plan,
    plan: &Plan,
    built: &BTreeSet<String>,
    renamed: &HashMap<String, String>,
) -> BTreeMap<String, String> {
    let built = plan.fragments.iter().filter(|fragment| built.contains(&fragment.name));
    let before = built.filter_map(|fragment| {
        let names = fragment.nodes.iter().map(|index| &plan.nodes[*index].name);
        let mut known = names.map(|name| renamed.get(name).unwrap_or(name));
        let before = known.find_map(|name| {
            // What another node is called now is not what was called so.
            let taken = renamed.values().any(|other| other == name) && plan.nodes.iter().any(|node| node.name == *name);
            let own = fragment
                .nodes
                .iter()
                .any(|index| renamed.get(&plan.nodes[*index].name) == Some(name));
            let node = running.nodes.iter().find(|node| node.name == *name)?;
            (!taken || own).then_some(node.fragment)
        })?;
        Some((fragment.name.clone(), running.fragments[before].name.clone()))
    });
    before.collect()
}

struct Walk<'a> {
    beside: &'a Beside<'a>,
    plan: &'a Arc<Plan>,
    diff: &'a PlanDiff,
    zones_changed: bool,
    fresh: Vec<Arc<Writer>>,
    queries: Vec<(Arc<QueryCameras>, Vec<CameraId>)>,
    errors: Vec<PrepareError>,
}

impl Walk<'_> {
    fn cameras(&mut self) -> (Vec<Opened>, Vec<CameraId>) {
        let running = &self.beside.running.generation.plan;
        let (mut opened, mut stopped) = (Vec::new(), Vec::new());
        for change in &self.diff.changes {
            if change.part != PartKind::Camera {
                continue;
            }
            let old = running.cameras.iter().position(|camera| camera.name == change.name);
            if let (Action::Rebuilt | Action::Reset | Action::Removed, Some(old)) = (change.action, old) {
                stopped.push(CameraId(running.camera_number(old)));
            }
            let new = self.plan.cameras.iter().position(|camera| camera.name == change.name);
            if let (Action::Rebuilt | Action::Reset | Action::Added, Some(new)) = (change.action, new) {
                match (self.beside.opening)(self.plan, new) {
                    Ok(camera) if camera.traits().pace == Pace::Max => {
                        let error = OperatorError::new("pace=max has no place in a run that goes by the clock")
                            .help("give the camera pace=media");
                        self.errors.push(failed(&change.name, error));
                    }
                    Ok(camera) => opened.push(camera),
                    Err(error) => self.errors.push(error),
                }
            }
        }
        (opened, stopped)
    }

    fn nodes(&mut self) -> Vec<Option<NodeParts>> {
        let plan = self.plan.clone();
        let nodes = plan.nodes.iter().enumerate();
        let parts = nodes.map(|(index, node)| match self.node(index, node) {
            Ok(parts) => Some(parts),
            Err(error) => {
                self.errors.push(failed(&node.name, error));
                None
            }
        });
        parts.collect()
    }

    fn node(&mut self, index: usize, node: &NodePlan) -> Result<NodeParts, OperatorError> {
        let change = self.diff.of(PartKind::Node, &node.name);
        let action = change.map_or(Action::Added, |change| change.action);
        let known_as = change
            .and_then(|change| change.renamed_from.as_deref())
            .unwrap_or(&node.name);
        let running = self.beside.running;
        let nodes = &running.generation.plan.nodes;
        let before = nodes.iter().position(|before| before.name == known_as);
        let before = before.map(|before| (&nodes[before], &running.nodes[before]));
        let fresh = matches!(action, Action::Added | Action::Reset | Action::Removed);
        let (Some((old, old_parts)), false) = (before, fresh) else {
            return self.anew(node, Takeover::Reset, known_as);
        };
        let same_cameras = cameras_of(&running.generation.plan, old).eq(cameras_of(self.plan, node));
        match old_parts {
            NodeParts::Keyed(_) => self.keyed(index, node, old, action, known_as),
            _ if action == Action::Kept && change.is_none_or(|change| change.renamed_from.is_none()) => {
                Ok(old_parts.clone())
            }
            NodeParts::Offload(offload, pool) if action != Action::Rebuilt => {
                match offload.revise(self.plan, node, self.beside.context)? {
                    Some(revised) => Ok(NodeParts::Offload(revised, pool.clone())),
                    None => self.anew(node, Takeover::Reset, known_as),
                }
            }
            NodeParts::Query(query, cameras) if action != Action::Rebuilt => {
                if !same_cameras {
                    let covered = cameras_of(self.plan, node).collect();
                    self.queries.push((cameras.clone(), covered));
                }
                Ok(NodeParts::Query(query.clone(), cameras.clone()))
            }
            NodeParts::Sink(sink, writer) => match sink.revise(self.plan, node, self.beside.context)? {
                Some(revised) => Ok(NodeParts::Sink(revised, writer.clone())),
                None => self.anew(node, Takeover::Reset, known_as),
            },
            NodeParts::Offload(..) | NodeParts::Query(..) => self.anew(node, Takeover::Reset, known_as),
        }
    }

    fn keyed(
        &mut self,
        index: usize,
        node: &NodePlan,
        old: &NodePlan,
        action: Action,
        known_as: &str,
    ) -> Result<NodeParts, OperatorError> {
        let same_params = old.params == node.params && old.overrides == node.overrides;
        let takeover = match action {
            Action::Kept => Takeover::Keep,
            // Where a zone lies is known to an instance from the time it is built.
            Action::Live if self.zones_changed => Takeover::Rebuild,
            Action::Live if same_params => Takeover::Keep,
            Action::Live => Takeover::Update,
            _ => Takeover::Rebuild,
        };
        let Prepared::Keyed(keyed) = build(self.plan, node, self.beside.registry, self.beside.context)? else {
            return Err(OperatorError::new(format!(
                "`{}` is of another nature than before",
                node.kind
            )));
        };
        let known: Vec<CameraId> = match takeover {
            Takeover::Keep | Takeover::Update => cameras_of(&self.beside.running.generation.plan, old).collect(),
            Takeover::Rebuild | Takeover::Reset => Vec::new(),
        };
        if takeover == Takeover::Update {
            // A value that no instance can be built with is refused here.
            cameras_of(self.plan, node)
                .next()
                .map(|camera| keyed.instance(camera))
                .transpose()?;
        }
        let made = cameras_of(self.plan, node).filter(|camera| !known.contains(camera));
        let mut parts = keyed_parts(keyed, made, takeover, known_as)?;
        parts.renewed = self.has_new_model(index);
        Ok(NodeParts::Keyed(Arc::new(parts)))
    }

    /// Builds a node that takes nothing over but, where it is keyed, states.
    fn anew(&mut self, node: &NodePlan, takeover: Takeover, known_as: &str) -> Result<NodeParts, OperatorError> {
        let context = self.beside.context;
        context.audience.site.leaves(known_as);
        let prepared = build(self.plan, node, self.beside.registry, context)?;
        let parts = parts(self.plan, node, prepared, takeover, context)?;
        if let NodeParts::Sink(_, writer) = &parts {
            self.fresh.push(writer.clone());
        }
        Ok(parts)
    }

    /// Whether a node upstream of this one that computes a model begins anew.
    fn has_new_model(&self, index: usize) -> bool {
        let node = &self.plan.nodes[index];
        node.inputs.iter().any(|input| {
            let Origin::Node(origin) = input.origin else {
                return false;
            };
            let before = &self.plan.nodes[origin];
            let begins = self
                .diff
                .of(PartKind::Node, &before.name)
                .is_some_and(|change| matches!(change.action, Action::Reset | Action::Added));
            begins && self.computes_a_model(before) || self.has_new_model(origin)
        })
    }

    fn computes_a_model(&self, node: &NodePlan) -> bool {
        let spec = self.beside.registry.find(node.role, &node.kind);
        spec.is_some_and(|spec| {
            let mut params = spec.params.params.iter();
            params.any(|param| param.ty == ParamType::Ref(RefKind::Model))
        })
    }
}

/// Opens cameras as the running ones were.
pub fn opening<'a>(
    context: &'a Context,
    registry: &'a Registry,
    network: &'a crate::network::Network,
    wall: &'a crate::clock::WallClock,
) -> impl Fn(&Plan, usize) -> Result<Opened, PrepareError> + 'a {
    move |plan, index| {
        let opening = Opening {
            plan,
            registry,
            names: &context.names,
            stop: &context.stop,
            wall,
            network,
            decoders: &context.decoders,
        };
        opening.open(index)
    }
}
