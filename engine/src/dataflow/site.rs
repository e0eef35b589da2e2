//! One worker's side of a run: its fragments, its taps, and the commands by which an edit of the graph is made.
//!
//! ```text
//! Install   build the fragments of N+1; their readers stand by; their instances wait at a gate
//! Hold      keep back what comes to the taps that are to be cut; say how far each has come
//! Commit T  N's readers end at T, N+1's begin there; what was held goes on
//! ```
//! When timely has removed a fragment of N, on every worker its last frame has been answered: then the instances are
//! handed over and the gate opens. Every worker gets the same commands in the same order, so that dataflows and channels
//! have the same numbers everywhere. No fragment is dropped by force.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Thread;

use timely::dataflow::Scope;
use timely::worker::Worker;

use crate::dataflow::failures::Failures;
use crate::dataflow::gate::Gate;
use crate::dataflow::installation::{Installation, NodeParts, Point, points_of, wanted_points};
use crate::dataflow::instances::{Instances, InstancesRef, SavedStates};
use crate::dataflow::node::Node;
use crate::dataflow::tap::{self, ReaderRef, TapRef};
use crate::dataflow::{Edge, Rendered, collection, keyed, offload, sink, source};
use crate::rows::CameraId;
use crate::time::Tick;

/// What a worker is told.
#[derive(Clone)]
pub enum Command {
    /// Build these fragments.
    Install(Arc<Installation>),
    /// Let the first version begin.
    Begin,
    /// Keep back what comes to the taps that are to be cut.
    Hold,
    /// Cut them at this tick.
    Commit(Tick),
    /// Forget the edit whose last answers have been given.
    Settle,
    /// Nothing more will be installed: end when everything has ended.
    Close,
}

/// What a worker answers.
pub enum Reply {
    /// It is there.
    Hello(usize, Sender<Command>, Thread),
    /// It has done as it was told.
    Done,
    /// The first tick at which its taps can be cut.
    Held(Tick),
    /// A fragment of the version before has answered its last frame; what its nodes knew.
    Retired(Vec<(String, SavedStates)>),
}

/// A fragment that is built.
struct Standing {
    name: String,
    /// The fragment of the version before whose place it takes.
    follows: Option<String>,
    dataflow: usize,
    reads: Vec<(TapRef, ReaderRef)>,
    instances: HashMap<String, InstancesRef>,
    gate: Gate,
}

/// The tap at a point; where the one that was there has come to its end, another.
fn open_tap(taps: &mut HashMap<Point, TapRef>, point: Point) -> &TapRef {
    let tap = taps.entry(point).or_default();
    if tap.borrow().has_ended() {
        *tap = TapRef::default();
    }
    tap
}

/// All fragments of one worker.
pub struct Site {
    index: usize,
    peers: usize,
    taps: HashMap<Point, TapRef>,
    /// By name, the fragments at work.
    serving: HashMap<String, Standing>,
    /// Those that wait for a commit.
    coming: Vec<Standing>,
    /// Those that answer what came before the cut.
    retiring: Vec<Standing>,
    installation: Option<Arc<Installation>>,
    closing: bool,
    replies: Sender<Reply>,
}

impl Site {
    /// Runs a worker until it has been told to close and every dataflow has ended by itself.
    pub fn run(worker: &mut Worker, replies: Sender<Reply>) {
        let (sender, commands) = channel();
        let mut site = Site {
            index: worker.index(),
            peers: worker.peers(),
            taps: HashMap::new(),
            serving: HashMap::new(),
            coming: Vec::new(),
            retiring: Vec::new(),
            installation: None,
            closing: false,
            replies,
        };
        site.reply(Reply::Hello(worker.index(), sender, std::thread::current()));
        site.attend(worker, &commands);
    }

    fn attend(&mut self, worker: &mut Worker, commands: &Receiver<Command>) {
        loop {
            while let Ok(command) = commands.try_recv() {
                self.obey(worker, command);
            }
            if self.closing && worker.installed_dataflows().is_empty() {
                return;
            }
            worker.step_or_park(None);
            self.notice_retired(worker);
        }
    }

    fn reply(&self, reply: Reply) {
        // It fails only where the run is being torn down.
        let _ = self.replies.send(reply);
    }

    fn owns(&self, camera: CameraId) -> bool {
        camera.0 as usize % self.peers == self.index
    }

    fn obey(&mut self, worker: &mut Worker, command: Command) {
        match command {
            Command::Install(installation) => {
                self.install(worker, &installation);
                self.installation = Some(installation);
                self.reply(Reply::Done);
            }
            Command::Begin => {
                for standing in std::mem::take(&mut self.coming) {
                    let readers = standing.reads.iter();
                    readers.for_each(|(_, reader)| reader.borrow_mut().begin(0));
                    self.serving.insert(standing.name.clone(), standing);
                }
                self.reply(Reply::Done);
            }
            Command::Hold => {
                let mut passed = 0;
                for tap in self.taps_to_cut() {
                    tap.borrow_mut().hold();
                    passed = passed.max(tap.borrow().passed());
                }
                self.reply(Reply::Held(passed));
            }
            Command::Commit(at) => self.commit(at),
            Command::Settle => {
                self.taps.values().for_each(|tap| tap.borrow_mut().mark(None));
                // What was handed over is followed no longer: a later edit may give its name to something else.
                self.serving.values_mut().for_each(|standing| standing.follows = None);
                self.taps.retain(|_, tap| !tap.borrow().is_deserted());
                self.reply(Reply::Done);
            }
            Command::Close => self.closing = true,
        }
    }

    fn commit(&mut self, at: Tick) {
        let taps = self.taps_to_cut();
        let Some(installation) = self.installation.clone() else {
            return self.reply(Reply::Done);
        };
        for name in &installation.ended {
            if let Some(standing) = self.serving.remove(name) {
                let readers = standing.reads.iter();
                readers.for_each(|(_, reader)| reader.borrow_mut().end(at));
                self.retiring.push(standing);
            }
        }
        for standing in std::mem::take(&mut self.coming) {
            let readers = standing.reads.iter();
            readers.for_each(|(_, reader)| reader.borrow_mut().begin(at));
            self.serving.insert(standing.name.clone(), standing);
        }
        for (point, tap) in &self.taps {
            if matches!(point, Point::Group(_)) {
                tap.borrow_mut().mark(Some((at, installation.context.clone())));
            }
        }
        for tap in taps {
            tap.borrow_mut().release();
        }
        self.reply(Reply::Done);
    }

    /// What is read by fragments that come or go. And, wherever the cut is, the taps of cameras: a frame that has passed
    /// them before the tick is agreed on must belong to the version before, or the books would take a later one for the
    /// first of the new version.
    fn taps_to_cut(&self) -> Vec<TapRef> {
        let ended = self.installation.iter().flat_map(|installation| &installation.ended);
        let going = ended.filter_map(|name| self.serving.get(name));
        let read = going.chain(&self.coming).flat_map(|standing| &standing.reads);
        let read = read.map(|(tap, _)| tap);
        let groups = self.taps.iter().filter(|(point, _)| matches!(point, Point::Group(_)));
        let groups = groups.map(|(_, tap)| tap).filter(|tap| !tap.borrow().has_ended());
        let mut taps: Vec<TapRef> = Vec::new();
        for tap in read.chain(groups) {
            if !taps.iter().any(|known| Rc::ptr_eq(known, tap)) {
                taps.push(tap.clone());
            }
        }
        taps
    }

    /// Hands over what fragments that have ended knew, and lets those that follow go on.
    fn notice_retired(&mut self, worker: &Worker) {
        if self.retiring.is_empty() {
            return;
        }
        let installed = worker.installed_dataflows();
        let (still, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut self.retiring)
            .into_iter()
            .partition(|standing| installed.contains(&standing.dataflow));
        self.retiring = still;
        for before in ended {
            let knew = self.hand_over(&before);
            self.reply(Reply::Retired(knew));
        }
    }

    fn hand_over(&mut self, before: &Standing) -> Vec<(String, SavedStates)> {
        let follows = |standing: &&Standing| standing.follows.as_ref() == Some(&before.name);
        let (Some(after), Some(installation)) = (self.serving.values().find(follows), self.installation.clone()) else {
            return Vec::new();
        };
        let plan = &installation.generation.plan;
        let mut knew = Vec::new();
        for (name, instances) in &after.instances {
            let Some(index) = plan.nodes.iter().position(|node| node.name == *name) else {
                continue;
            };
            let NodeParts::Keyed(parts) = &installation.nodes[index] else {
                continue;
            };
            let Some(old) = before.instances.get(&parts.before) else {
                continue;
            };
            let saved = parts.take_saved(|camera| self.owns(camera));
            let mut instances = instances.borrow_mut();
            let of_node = (&**plan, &plan.nodes[index]);
            let states = instances.succeed(&mut old.borrow_mut(), parts.takeover, of_node, saved);
            if parts.renewed {
                instances.renew();
            }
            if !states.is_empty() {
                knew.push((name.clone(), states));
            }
        }
        after.gate.open();
        knew
    }

    fn install(&mut self, worker: &mut Worker, installation: &Arc<Installation>) {
        let plan = installation.generation.plan.clone();
        let wanted = wanted_points(&plan);
        for group in &installation.groups {
            if !installation.new_groups.contains(&group.name) {
                continue;
            }
            // Its errors are always published, since a later version may read them.
            let taps = &mut self.taps;
            worker.dataflow_named::<Tick, _, _>(&group.name, |scope| {
                let inbox = group.inboxes[scope.index()].clone();
                let rendered = source::render(scope, &group.name, inbox, installation.context.clone(), true);
                let points = [
                    (Point::Group(group.name.clone()), rendered.rows),
                    (Point::GroupErrors(group.name.clone()), rendered.errors),
                ];
                for (point, stream) in points {
                    if let Some(stream) = stream {
                        tap::publish(stream, open_tap(taps, point));
                    }
                }
            });
        }
        for fragment in &plan.fragments {
            if installation.built.contains(&fragment.name) {
                let standing = self.build(worker, installation, fragment, &wanted);
                self.coming.push(standing);
            }
        }
    }

    fn build(
        &mut self,
        worker: &mut Worker,
        installation: &Arc<Installation>,
        fragment: &flowrun_dsl::plan::FragmentPlan,
        wanted: &BTreeSet<Point>,
    ) -> Standing {
        let follows = installation.follows.get(&fragment.name);
        let follows = follows.filter(|before| self.serving.contains_key(*before)).cloned();
        let mut standing = Standing {
            name: fragment.name.clone(),
            gate: Gate::new(follows.is_none()),
            follows,
            dataflow: worker.next_dataflow_index(),
            reads: Vec::new(),
            instances: HashMap::new(),
        };
        worker.dataflow_named::<Tick, _, _>(&fragment.name, |scope| {
            let plan = &installation.generation.plan;
            let mut here: HashMap<usize, Edge<'_>> = HashMap::new();
            let mut imported: HashMap<Point, Edge<'_>> = HashMap::new();
            for index in &fragment.nodes {
                let mut inputs = Vec::new();
                for input in &plan.nodes[*index].inputs {
                    if let flowrun_dsl::plan::Origin::Node(origin) = &input.origin
                        && let Some(edge) = here.get(origin)
                    {
                        inputs.push(edge.clone());
                        continue;
                    }
                    for point in points_of(plan, input, *index) {
                        let edge = match imported.entry(point) {
                            Entry::Occupied(known) => known.get().clone(),
                            Entry::Vacant(new) => {
                                let tap = self.taps.entry(new.key().clone()).or_default().clone();
                                let (edge, reader) = tap::import(scope, &tap);
                                standing.reads.push((tap, reader));
                                new.insert(edge).clone()
                            }
                        };
                        inputs.push(edge);
                    }
                }
                let name = &plan.nodes[*index].name;
                let errors_wanted = wanted.contains(&Point::NodeErrors(name.clone()));
                let node = Node::of(&installation.generation, *index, errors_wanted, &installation.context);
                let rendered = self.render(scope, inputs, &node, &installation.nodes[*index], &mut standing);
                if let Some(rows) = rendered.rows {
                    here.insert(*index, rows.clone());
                    self.publish(Point::Node(name.clone()), wanted, rows);
                }
                if let Some(errors) = rendered.errors {
                    self.publish(Point::NodeErrors(name.clone()), wanted, errors);
                }
            }
        });
        standing
    }

    fn publish(&mut self, point: Point, wanted: &BTreeSet<Point>, stream: Edge<'_>) {
        if wanted.contains(&point) {
            tap::publish(stream, open_tap(&mut self.taps, point));
        }
    }

    fn render<'scope>(
        &self,
        scope: Scope<'scope, Tick>,
        mut inputs: Vec<Edge<'scope>>,
        node: &Node,
        parts: &NodeParts,
        standing: &mut Standing,
    ) -> Rendered<'scope> {
        let gate = &standing.gate;
        let rendered = match parts {
            NodeParts::Keyed(parts) => {
                let own = parts.take_instances(|camera| self.owns(camera));
                let instances = Instances::new(parts.keyed.clone(), own, Failures::of(node));
                let instances = Rc::new(RefCell::new(instances));
                standing.instances.insert(node.name.to_string(), instances.clone());
                keyed::render(scope, inputs, node, instances, gate)
            }
            NodeParts::Offload(shared, pool) => offload::render(scope, inputs, node, pool, shared, gate),
            NodeParts::Query(query, cameras) => {
                let rows = collection::render(scope, inputs.remove(0), node, query, cameras);
                return Rendered {
                    rows: Some(rows),
                    errors: None,
                };
            }
            NodeParts::Sink(shared, writer) => {
                sink::render(scope, inputs, node, shared, writer, gate);
                return Rendered {
                    rows: None,
                    errors: None,
                };
            }
        };
        Rendered {
            rows: rendered.rows.map(|rows| keyed::end(rows, node)),
            errors: rendered.errors,
        }
    }
}
