//! Makes edits, one after the other, and keeps their receipts.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use flowrun_dsl::plan::{Action, PartKind, Plan, PlanDiff};

use crate::dataflow::{Command, Installation, NodeParts, SavedStates, Workers};
use crate::errors::PrepareError;
use crate::infer::EngineWanted;
use crate::network::Network;
use crate::registry::Registry;
use crate::reload::edit::{self, Beside, Edit, Remembered};
use crate::reload::engines;
use crate::reload::probation::{self, Probation};
use crate::reload::receipt::{Cause, FirstFrame, Receipt, Unseen};
use crate::rows::CameraId;
use crate::run::context::Context;
use crate::run::intake::{Camera, Intake};
use crate::time::Tick;

/// Receipts that are kept.
const KEPT: usize = 1_000;
/// How long a camera may take to end that an edit takes away.
const END_WITHIN: Duration = Duration::from_secs(10);
/// How long a receipt waits for each camera's first answer of the new version.
const BEGIN_WITHIN: Duration = Duration::from_millis(500);
/// How often it is looked whether an edit has proved itself.
const PROBATION_LOOK: Duration = Duration::from_millis(100);

/// Edits a run's graph. Clones edit the same run.
#[derive(Clone)]
pub struct Editor(Arc<Shared>);

struct Shared {
    context: Arc<Context>,
    intake: Intake,
    registry: Registry,
    network: Network,
    /// None once the run has been closed. Whoever holds it makes an edit.
    state: Mutex<Option<State>>,
    receipts: Mutex<VecDeque<Arc<Receipt>>>,
    made: tokio::sync::watch::Sender<u64>,
    /// Counts requests, so that those that newer ones overtake can be left out.
    requests: AtomicU64,
    /// Edits that are on probation.
    on_probation: Arc<AtomicUsize>,
}

/// What is asked of [`Shared::make`].
struct Request<'a> {
    plan: Plan,
    cause: Cause,
    asked: Instant,
    remembered: &'a mut Remembered,
    /// After a rollback the first frames of the version that it takes back.
    between: &'a [FirstFrame],
    /// The engine that is there now, where no edit asks.
    engine: Option<&'a EngineWanted>,
}

struct State {
    workers: Workers,
    installation: Arc<Installation>,
    /// What the last edit took the place of.
    previous: Option<Previous>,
}

/// A version that can come back.
struct Previous {
    plan: Plan,
    states: Remembered,
    firsts: Vec<FirstFrame>,
}

/// Why an edit was not made; the version at work goes on.
#[derive(Debug)]
pub enum ReloadError {
    /// A newer edit came before this one could be prepared.
    Superseded,
    /// The graph is not the one that the edit was made from.
    Conflict {
        /// The hash of the plan that is at work.
        running: String,
    },
    /// It cannot be made ready; each cause with its place in the graph.
    Refused(Vec<PrepareError>),
    /// There is no version to go back to.
    NothingBefore,
    /// Runs at `pace=max` live in their media's time and take no edits.
    Offline,
    /// The run has ended, or is about to.
    Over,
}

impl std::fmt::Display for ReloadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReloadError::Superseded => f.write_str("a newer edit came before this one could be made"),
            ReloadError::Conflict { running } => {
                write!(f, "the graph has been edited meanwhile: the plan at work is {running}")
            }
            ReloadError::Refused(errors) => {
                let lines = errors.iter().map(|error| format!("{}: {}", error.place, error.cause));
                f.write_str(&lines.collect::<Vec<_>>().join("\n"))
            }
            ReloadError::NothingBefore => f.write_str("no edit has been made that could be taken back"),
            ReloadError::Offline => f.write_str("a run at pace=max takes no edits: it lives in its media's time"),
            ReloadError::Over => f.write_str("the run is over"),
        }
    }
}

impl std::error::Error for ReloadError {}

/// What came of an edit.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was made.
    Made(Arc<Receipt>),
    /// It changes nothing that runs.
    Unchanged,
}

impl Editor {
    pub(crate) fn new(
        context: Arc<Context>,
        intake: Intake,
        workers: Workers,
        installation: Arc<Installation>,
        registry: Registry,
        network: Network,
    ) -> Self {
        Editor(Arc::new(Shared {
            context,
            intake,
            registry,
            network,
            state: Mutex::new(Some(State {
                workers,
                installation,
                previous: None,
            })),
            receipts: Mutex::default(),
            made: tokio::sync::watch::Sender::new(0),
            requests: AtomicU64::new(0),
            on_probation: Arc::default(),
        }))
    }

    /// What the run's parts share.
    pub fn context(&self) -> &Arc<Context> {
        &self.0.context
    }

    /// The operators that the run knows.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// What a plan would change.
    pub fn diff(&self, plan: &Plan) -> PlanDiff {
        let running = self.0.context.generation();
        flowrun_dsl::plan::diff(&running.plan, plan, &self.0.registry)
    }

    /// The receipts of edits of versions after this one, oldest first.
    pub fn receipts(&self, after: u64) -> Vec<Arc<Receipt>> {
        let receipts = self.0.receipts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        receipts
            .iter()
            .filter(|receipt| receipt.version > after)
            .cloned()
            .collect()
    }

    /// Tells of each edit that is made, by its version.
    pub fn watch(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.made.subscribe()
    }

    /// Whether every source has ended.
    pub fn is_over(&self) -> bool {
        self.0.intake.is_over()
    }

    /// Whether the run has been told to end, or its sources have.
    pub(super) fn is_ending(&self) -> bool {
        self.is_over() || self.context().stop.asked()
    }

    /// Counts edits that are on probation.
    pub(super) fn on_probation(&self) -> &Arc<AtomicUsize> {
        &self.0.on_probation
    }

    /// Makes an edit: from one tick on every frame goes through the new plan, each exactly once. Waits until the old
    /// version has answered its last frame. With `expected`, the hash of the plan that the edit was made from, another
    /// edit that came first is not undone unseen.
    ///
    /// # Errors
    /// Why it was not made.
    pub fn reload(
        &self,
        plan: Plan,
        expected: Option<&str>,
        probation: Option<Probation>,
    ) -> Result<Outcome, ReloadError> {
        let asked = Instant::now();
        let request = self.0.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let mut state = self.state();
        if self.0.requests.load(Ordering::SeqCst) != request {
            return Err(ReloadError::Superseded);
        }
        let running = state.as_ref().ok_or(ReloadError::Over)?;
        let hash = &running.installation.generation.plan.hash;
        if expected.is_some_and(|expected| expected != hash) {
            return Err(ReloadError::Conflict { running: hash.clone() });
        }
        let state = state.as_mut().ok_or(ReloadError::Over)?;
        let mut nothing = Remembered::new();
        let request = Request {
            plan,
            cause: Cause::Edit,
            asked,
            remembered: &mut nothing,
            between: &[],
            engine: None,
        };
        let outcome = self.0.make(state, request)?;
        if let (Outcome::Made(receipt), Some(probation)) = (&outcome, probation) {
            probation::watch(self.clone(), receipt, probation);
        }
        engines::look(self);
        Ok(outcome)
    }

    /// Opens anew what lacks an engine, now that this is there: the same graph goes on, cut as by an edit. An edit that
    /// is on probation is judged first, and stays the one that a rollback takes back.
    ///
    /// # Errors
    /// Why it was not done.
    pub(super) fn reopen(&self, engine: &EngineWanted) -> Result<Outcome, ReloadError> {
        let asked = Instant::now();
        loop {
            let mut state = self.state();
            if self.is_ending() {
                return Err(ReloadError::Over);
            }
            // Edits begin their probation while they hold the state.
            if self.0.on_probation.load(Ordering::SeqCst) == 0 {
                let state = state.as_mut().ok_or(ReloadError::Over)?;
                let request = Request {
                    plan: Plan::clone(&state.installation.generation.plan),
                    cause: Cause::Engine(format!("{engine} is ready")),
                    asked,
                    remembered: &mut Remembered::new(),
                    between: &[],
                    engine: Some(engine),
                };
                return self.0.make(state, request);
            }
            drop(state);
            std::thread::sleep(PROBATION_LOOK);
        }
    }

    /// Takes the last edit back: the version before is at work again, with the states that its nodes had at the cut where
    /// the edit changed them.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn rollback(&self) -> Result<Outcome, ReloadError> {
        self.take_back(None, Cause::Rollback)
    }

    /// As [`Editor::rollback`], for as long as `version` is the one at work.
    pub(super) fn take_back(&self, version: Option<u64>, cause: Cause) -> Result<Outcome, ReloadError> {
        let asked = Instant::now();
        let mut state = self.state();
        let state = state.as_mut().ok_or(ReloadError::Over)?;
        if version.is_some_and(|version| version != state.installation.generation.number) {
            return Err(ReloadError::Superseded);
        }
        let mut previous = state.previous.take().ok_or(ReloadError::NothingBefore)?;
        let plan = previous.plan.clone();
        let request = Request {
            plan,
            cause,
            asked,
            remembered: &mut previous.states,
            between: &previous.firsts,
            engine: None,
        };
        let outcome = self.0.make(state, request);
        if !matches!(outcome, Ok(Outcome::Made(_))) {
            // What hinders it may be mended, and then it is asked for again.
            state.previous = Some(previous);
        }
        engines::look(self);
        outcome
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.0.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits for the end of the run and closes everything.
    pub(crate) fn finish(&self) {
        let shared = &self.0;
        shared.intake.wait();
        shared.context.builds.join();
        let state = self.state().take();
        if let Some(State {
            workers, installation, ..
        }) = state
        {
            let inboxes = installation.groups.iter().flat_map(|group| &group.inboxes);
            inboxes.for_each(|inbox| inbox.close());
            workers.tell(&Command::Close);
            if let Err(cause) = workers.join() {
                shared.context.fail(cause);
            }
            shared.context.end();
            shared.context.audience.site.settle();
            shared.intake.join();
            installation
                .nodes
                .iter()
                .filter_map(writer_of)
                .for_each(|writer| writer.join());
        }
    }
}

impl Shared {
    /// Makes an edit, or a cut without one.
    fn make(&self, state: &mut State, request: Request<'_>) -> Result<Outcome, ReloadError> {
        let Request {
            mut plan,
            cause,
            asked,
            remembered,
            between,
            engine,
        } = request;
        if self.context.clock.is_offline() {
            return Err(ReloadError::Offline);
        }
        if self.intake.is_over() || self.context.stop.asked() {
            return Err(ReloadError::Over);
        }
        let running = state.installation.clone();
        plan.follow(&running.generation.plan);
        let wall = self.context.clock.wall_clock();
        let beside = Beside {
            engine,
            context: &self.context,
            registry: &self.registry,
            running: &running,
            opening: &edit::opening(&self.context, &self.registry, &self.network, &wall),
            workers: state.workers.count(),
        };
        let edit = edit::prepare(&beside, plan, remembered).map_err(ReloadError::Refused)?;
        if edit.diff.is_empty() {
            edit.abandon(&self.context);
            return Ok(Outcome::Unchanged);
        }
        let prepared = asked.elapsed();
        self.stop_cameras(&edit.stopped);
        let before = self.context.ledger.total();
        let (tick, hold) = self.cut(state, &edit, &running)?;
        let applied = asked.elapsed();
        let time = self.context.clock.wall();
        self.start_cameras(edit.opened, &edit.plan, &state.installation, tick);
        let drained = Instant::now();
        let knew = self.retire(state, &running)?;
        let drain = drained.elapsed();
        let owed = self.settle(state, &running, &edit.stopped)?;
        let counts = self.context.ledger.total();
        let firsts = self.firsts();
        let receipt = Arc::new(Receipt {
            version: state.installation.generation.number,
            cause,
            time_ns: time.0,
            tick,
            frames: firsts.clone(),
            diff: edit.diff,
            unseen: unseen(between, &firsts),
            prepare_us: micros(prepared),
            hold_us: micros(hold),
            drain_us: micros(drain),
            applied_us: micros(applied),
            longest_gap_us: self.context.ledger.longest_gap(),
            admitted: counts.admitted,
            answered: counts.answered,
            lost: owed + since(counts.lost, before.lost),
            doubled: since(counts.doubled, before.doubled),
        });
        if engine.is_none() {
            state.previous = Some(Previous {
                plan: Plan::clone(&running.generation.plan),
                states: by_name(&state.installation.generation.plan, knew),
                firsts,
            });
        }
        self.keep(receipt.clone());
        Ok(Outcome::Made(receipt))
    }

    /// Lets the cameras end that the edit takes away, and waits until the dataflow has all that they sent: their last
    /// frames belong to the version before.
    fn stop_cameras(&self, cameras: &[CameraId]) {
        self.intake.stop(cameras);
        let began = Instant::now();
        for camera in cameras {
            while !self.context.ledger.is_drained(*camera) {
                if began.elapsed() > END_WITHIN {
                    let name = self.context.names.camera(*camera);
                    tracing::warn!(camera = %name, "the camera does not end; its last frames may be answered with errors");
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Agrees with all workers on a tick and cuts there.
    fn cut(&self, state: &mut State, edit: &Edit, running: &Installation) -> Result<(Tick, Duration), ReloadError> {
        let context = &self.context;
        for opened in &edit.opened {
            context.health.open(opened.id());
            context.ledger.reopen(opened.id());
        }
        context.ledger.follow(&edit.plan);
        let known_as = |node: &str| {
            let change = edit.diff.of(PartKind::Node, node)?;
            let known = change.renamed_from.as_deref().unwrap_or(node);
            (change.action != Action::Added).then(|| known.to_owned())
        };
        let generation = Arc::new(running.generation.next(edit.plan.clone(), known_as));
        let installation = Arc::new(edit.installation(context, generation.clone()));
        let workers = &mut state.workers;
        let gone = |_| self.worker_gone();
        workers.ask(&Command::Install(installation.clone())).map_err(gone)?;
        context.ledger.longest_gap();
        let held = Instant::now();
        let passed = workers.ask(&Command::Hold).map_err(gone)?;
        let tick = passed.max(context.clock.now_tick());
        for (query, cameras) in &edit.queries {
            query.edit(tick, cameras.iter().copied());
        }
        context.names.learn(&edit.plan);
        context.advance(generation);
        context.audience.site.commit();
        workers.ask(&Command::Commit(tick)).map_err(gone)?;
        state.installation = installation;
        Ok((tick, held.elapsed()))
    }

    /// Lets the edit's cameras begin; their first frames must not come before the cut.
    fn start_cameras(
        &self,
        opened: Vec<crate::run::prepare::Opened>,
        plan: &Plan,
        installation: &Installation,
        tick: Tick,
    ) {
        if opened.is_empty() {
            return;
        }
        while self.context.clock.now_tick() < tick {
            std::thread::sleep(Duration::from_millis(1));
        }
        let cameras = opened.into_iter().map(|opened| {
            let first_frame = self.context.ledger.next_frame(opened.id());
            opened.at(plan, &installation.groups, first_frame)
        });
        let cameras: Vec<Camera> = cameras.collect();
        Intake::announce(&cameras);
        if let Err(error) = self.intake.start(cameras) {
            self.context.fail(format!("cannot start a camera: {error}"));
        }
    }

    /// Waits until the version before has answered its last frame; gives what its nodes knew.
    fn retire(&self, state: &mut State, running: &Installation) -> Result<Vec<(String, SavedStates)>, ReloadError> {
        let standing = running.generation.plan.fragments.iter();
        let ended = &state.installation.ended;
        let ending = standing.filter(|fragment| ended.contains(&fragment.name)).count() * state.workers.count();
        let (began, mut told) = (Instant::now(), false);
        let mut retired = 0;
        while retired < ending {
            let waited = state.workers.await_retired(Duration::from_millis(100));
            retired = waited.map_err(|_| self.worker_gone())?;
            if began.elapsed() > END_WITHIN && !told {
                tracing::warn!(
                    retired,
                    ending,
                    "the version before still has frames to answer, 10 s after it was replaced"
                );
                told = true;
            }
        }
        Ok(state.workers.take_retired())
    }

    /// Closes the books of the version before and what only it had; gives the frames that it never answered.
    fn settle(&self, state: &mut State, running: &Installation, stopped: &[CameraId]) -> Result<u64, ReloadError> {
        let context = &self.context;
        let plan = &state.installation.generation.plan;
        let began = Instant::now();
        while !context.ledger.all_have_begun() && began.elapsed() < BEGIN_WITHIN && !context.stop.asked() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let owed = context.ledger.retire(plan);
        for group in &running.groups {
            if state.installation.groups.iter().all(|kept| kept.name != group.name) {
                group.inboxes.iter().for_each(|inbox| inbox.close());
            }
        }
        for camera in stopped {
            if plan.camera_index(camera.0).is_none() {
                context.health.close(*camera);
                context.decoders.devices().forget(*camera);
            }
        }
        context.decoders.devices().narrow(plan);
        let writers: Vec<_> = state.installation.nodes.iter().filter_map(writer_of).collect();
        for writer in running.nodes.iter().filter_map(writer_of) {
            if !writers.iter().any(|kept| Arc::ptr_eq(kept, writer)) {
                writer.join();
            }
        }
        context.audience.demands.keep(&[plan]);
        state.workers.ask(&Command::Settle).map_err(|_| self.worker_gone())?;
        Ok(owed)
    }

    fn worker_gone(&self) -> ReloadError {
        self.context.fail("a worker panicked".into());
        ReloadError::Over
    }

    fn firsts(&self) -> Vec<FirstFrame> {
        let firsts = self.context.ledger.firsts().into_iter();
        firsts
            .map(|(camera, frame)| FirstFrame {
                camera: self.context.names.camera(camera).to_string(),
                frame,
            })
            .collect()
    }

    fn keep(&self, receipt: Arc<Receipt>) {
        let mut receipts = self.receipts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if receipts.len() == KEPT {
            receipts.pop_front();
        }
        self.made.send_replace(receipt.version);
        receipts.push_back(receipt);
    }
}

/// Of each camera the frames from its first of the version in between to its first of the one that is at work again.
fn unseen(between: &[FirstFrame], again: &[FirstFrame]) -> Vec<Unseen> {
    let again: HashMap<&str, u64> = again.iter().map(|first| (first.camera.as_str(), first.frame)).collect();
    let unseen = between.iter().filter_map(|first| {
        Some(Unseen {
            camera: first.camera.clone(),
            from: first.frame,
            until: *again.get(first.camera.as_str())?,
        })
    });
    unseen.filter(|unseen| unseen.from < unseen.until).collect()
}

fn writer_of(node: &NodeParts) -> Option<&Arc<crate::dataflow::Writer>> {
    match node {
        NodeParts::Sink(_, writer) => Some(writer),
        _ => None,
    }
}

fn by_name(plan: &Plan, knew: Vec<(String, SavedStates)>) -> Remembered {
    let mut remembered = Remembered::new();
    for (node, states) in knew {
        let of_node = remembered.entry(node).or_default();
        for (camera, state) in states {
            if let Some(index) = plan.camera_index(camera.0) {
                of_node.insert(plan.cameras[index].name.clone(), state);
            }
        }
    }
    remembered
}

fn since(now: u64, before: u64) -> u64 {
    now.saturating_sub(before)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
