//! Counts of frames by camera, and the credits that follow from them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::Thread;

use flowrun_dsl::params::Params;
use flowrun_dsl::plan::{NodePlan, Origin, Plan};
use flowrun_dsl::port::Role;

use crate::admission::CameraParams;
use crate::rows::CameraId;
use crate::time::Tick;

/// Bytes that sinks may hold before cameras are stopped at the door.
const BACKLOG_LIMIT_BYTES: f64 = 256.0 * 1024.0 * 1024.0;

/// The tick of a camera that has ended.
const ENDED: u64 = u64::MAX;

/// Why a frame was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShedReason {
    /// Too many frames of its camera were unanswered.
    InFlight,
    /// Sinks had fallen too far behind.
    Backlog,
}

/// One end of the graph as one camera sees it.
struct LeafCount {
    answered: AtomicU64,
    /// The next frame index that is not a repetition.
    next_frame: AtomicU64,
    doubled: AtomicU64,
}

struct CameraLedger {
    params: CameraParams,
    admitted: AtomicU64,
    shed_in_flight: AtomicU64,
    shed_backlog: AtomicU64,
    faults: AtomicU64,
    leaves: Vec<LeafCount>,
    /// No row before this tick is still to come; [`ENDED`] after the last.
    announced: AtomicU64,
    /// The first tick after the last row of a camera that has ended.
    ended_at: AtomicU64,
    waiting: AtomicBool,
    thread: OnceLock<Thread>,
}

/// A node whose answers nobody reads: where frames leave the graph.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// For each camera of the plan, its place among that camera's leaves.
    places: Vec<Option<usize>>,
}

/// What became of a camera's frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CameraCounts {
    /// Frames that entered.
    pub admitted: u64,
    /// Frames that every end of the graph has answered.
    pub answered: u64,
    /// Answers beyond one a frame, or out of order; always 0.
    pub doubled: u64,
    /// Frames shed because too many of the camera's were unanswered.
    pub shed_in_flight: u64,
    /// Frames shed because sinks had fallen behind.
    pub shed_backlog: u64,
    /// What the source could not read.
    pub faults: u64,
}

impl CameraCounts {
    /// Frames shed for any reason.
    pub fn shed(&self) -> u64 {
        self.shed_in_flight + self.shed_backlog
    }
}

/// All cameras' counts.
pub struct Ledger {
    cameras: Vec<CameraLedger>,
    leaves: Vec<Option<Leaf>>,
    backlog_bytes: AtomicI64,
    /// In an offline run, how far a camera may be ahead of the slowest.
    lead: Tick,
    /// A tick that the slowest camera has reached.
    slowest: AtomicU64,
    /// Whether a camera waits because it leads.
    lead_waited: AtomicBool,
}

/// Whether a node answers frame by frame: a query and what reads it, or an error port, does not.
fn per_frame(plan: &Plan, node: &NodePlan) -> bool {
    node.inputs.first().is_some_and(|input| match &input.origin {
        Origin::Group(_) => true,
        Origin::Node(index) => plan.nodes[*index].role != Role::Query && per_frame(plan, &plan.nodes[*index]),
        Origin::ErrorsOf(_) | Origin::AllErrors => false,
    })
}

impl Ledger {
    /// Two seconds of media.
    const LEAD_TICKS: Tick = 400;

    /// The ledger of a plan.
    pub fn of(plan: &Plan) -> Self {
        let mut counts = vec![0; plan.cameras.len()];
        let mut leaves = Vec::new();
        for (index, node) in plan.nodes.iter().enumerate() {
            let read = plan
                .nodes
                .iter()
                .flat_map(|reader| &reader.inputs)
                .any(|input| input.origin == Origin::Node(index));
            let leaf = per_frame(plan, node) && (!read || node.role != Role::Operator);
            leaves.push(leaf.then(|| {
                let mut places = vec![None; plan.cameras.len()];
                for camera in &node.cameras {
                    places[*camera] = Some(counts[*camera]);
                    counts[*camera] += 1;
                }
                Leaf { places }
            }));
        }
        let cameras = plan.cameras.iter().zip(counts).map(|(camera, leaves)| {
            let count = || LeafCount {
                answered: AtomicU64::new(0),
                next_frame: AtomicU64::new(0),
                doubled: AtomicU64::new(0),
            };
            CameraLedger {
                params: CameraParams::from_values(&camera.common).expect("the plan's values follow the declaration"),
                admitted: AtomicU64::new(0),
                shed_in_flight: AtomicU64::new(0),
                shed_backlog: AtomicU64::new(0),
                faults: AtomicU64::new(0),
                leaves: (0..leaves).map(|_| count()).collect(),
                announced: AtomicU64::new(0),
                ended_at: AtomicU64::new(ENDED),
                waiting: AtomicBool::new(false),
                thread: OnceLock::new(),
            }
        });
        Ledger {
            cameras: cameras.collect(),
            leaves,
            backlog_bytes: AtomicI64::new(0),
            lead: Self::LEAD_TICKS,
            slowest: AtomicU64::new(0),
            lead_waited: AtomicBool::new(false),
        }
    }

    fn camera(&self, camera: CameraId) -> &CameraLedger {
        &self.cameras[camera.0 as usize]
    }

    /// The parameters of a camera.
    pub fn params(&self, camera: CameraId) -> &CameraParams {
        &self.camera(camera).params
    }

    /// The leaf that a node is, if it is one.
    pub fn leaf(&self, node: usize) -> Option<Leaf> {
        self.leaves.get(node).cloned().flatten()
    }

    /// Frames of a camera that some leaf has not answered.
    pub fn in_flight(&self, camera: CameraId) -> u64 {
        let camera = self.camera(camera);
        let answered = camera
            .leaves
            .iter()
            .map(|leaf| leaf.answered.load(Ordering::Acquire))
            .min();
        let admitted = camera.admitted.load(Ordering::Acquire);
        answered.map_or(0, |answered| admitted.saturating_sub(answered))
    }

    /// Whether another frame may enter, and if not, why not.
    ///
    /// # Errors
    /// The reason for which a live camera would shed it.
    pub fn may_admit(&self, camera: CameraId) -> Result<(), ShedReason> {
        let params = self.params(camera);
        if self.in_flight(camera) >= params.in_flight as u64 {
            return Err(ShedReason::InFlight);
        }
        let backlog = self.backlog_bytes.load(Ordering::Relaxed) as f64;
        if backlog > BACKLOG_LIMIT_BYTES * params.priority.backlog_share() {
            return Err(ShedReason::Backlog);
        }
        Ok(())
    }

    /// Counts a frame in.
    pub fn admit(&self, camera: CameraId) {
        self.camera(camera).admitted.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a frame out at the door.
    pub fn shed(&self, camera: CameraId, reason: ShedReason) {
        let camera = self.camera(camera);
        match reason {
            ShedReason::InFlight => &camera.shed_in_flight,
            ShedReason::Backlog => &camera.shed_backlog,
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    /// Counts something that a source could not read; gives how many there were before.
    pub fn fault(&self, camera: CameraId) -> u64 {
        self.camera(camera).faults.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether sinks have fallen so far behind that nothing may be added.
    pub fn is_congested(&self) -> bool {
        self.backlog_bytes.load(Ordering::Relaxed) as f64 > BACKLOG_LIMIT_BYTES
    }

    /// A leaf has answered a frame.
    pub fn answered(&self, leaf: &Leaf, camera: CameraId, frame: u64) {
        let Some(place) = leaf.places.get(camera.0 as usize).copied().flatten() else {
            return;
        };
        let camera = self.camera(camera);
        let count = &camera.leaves[place];
        // One worker owns a camera, so nobody else writes these two.
        if frame < count.next_frame.load(Ordering::Relaxed) {
            count.doubled.fetch_add(1, Ordering::Relaxed);
        }
        count.next_frame.store(frame + 1, Ordering::Relaxed);
        count.answered.fetch_add(1, Ordering::SeqCst);
        if camera.waiting.load(Ordering::SeqCst) && camera.waiting.swap(false, Ordering::SeqCst) {
            camera.wake();
        }
    }

    /// Registers the thread that reads a camera's source, to be woken when it may go on.
    pub fn attend(&self, camera: CameraId, thread: Thread) {
        let _ = self.camera(camera).thread.set(thread);
    }

    /// Says that the camera's thread is about to park for credit; look again after this.
    pub fn wait(&self, camera: CameraId) {
        self.camera(camera).waiting.store(true, Ordering::SeqCst);
    }

    /// Wakes every source.
    pub fn wake_all(&self) {
        self.cameras.iter().for_each(CameraLedger::wake);
    }

    /// Adds to, or takes from, what sinks hold.
    pub fn backlog(&self, bytes: i64) {
        let before = self.backlog_bytes.fetch_add(bytes, Ordering::Relaxed);
        let gate = (BACKLOG_LIMIT_BYTES * 0.5) as i64;
        if bytes < 0 && before >= gate {
            self.wake_all();
        }
    }

    /// Says that no row of a camera before this tick is still to come.
    pub fn announce(&self, camera: CameraId, tick: Tick) {
        self.camera(camera).announced.store(tick, Ordering::SeqCst);
        if self.lead_waited.load(Ordering::SeqCst) && self.lead_waited.swap(false, Ordering::SeqCst) {
            self.wake_all();
        }
    }

    /// Says that a camera's last row had a tick before this one. Must be known before the dataflow can
    /// see that the camera has ended, or what is complete at this tick would depend on timing.
    pub fn end(&self, camera: CameraId, tick: Tick) {
        self.camera(camera).ended_at.store(tick, Ordering::Release);
    }

    /// Says that a camera that has ended will announce nothing more.
    pub fn leave(&self, camera: CameraId) {
        self.announce(camera, ENDED);
    }

    /// The earliest tick that a camera may still send; none once it has ended.
    pub fn announced(&self, camera: CameraId) -> Option<Tick> {
        let tick = self.camera(camera).announced.load(Ordering::Acquire);
        (tick != ENDED).then_some(tick)
    }

    /// Whether a camera had ended by this tick.
    pub fn ended_by(&self, camera: CameraId, tick: Tick) -> bool {
        self.camera(camera).ended_at.load(Ordering::Acquire) <= tick
    }

    /// Whether, in an offline run, this tick is too far ahead of the slowest camera. If so, the caller's
    /// thread is woken when some camera moves.
    pub fn leads(&self, tick: Tick) -> bool {
        let limit = |slowest: Tick| slowest.saturating_add(self.lead);
        // The slowest never goes back, so what was known last time is enough to say no.
        if tick <= limit(self.slowest.load(Ordering::Relaxed)) {
            return false;
        }
        self.lead_waited.store(true, Ordering::SeqCst);
        let slowest = self
            .cameras
            .iter()
            .map(|camera| camera.announced.load(Ordering::SeqCst))
            .min()
            .unwrap_or(ENDED);
        self.slowest.fetch_max(slowest, Ordering::Relaxed);
        tick > limit(slowest)
    }

    /// What became of a camera's frames so far.
    pub fn counts(&self, camera: CameraId) -> CameraCounts {
        let in_flight = self.in_flight(camera);
        let camera = self.camera(camera);
        let admitted = camera.admitted.load(Ordering::Acquire);
        CameraCounts {
            admitted,
            answered: admitted.saturating_sub(in_flight),
            doubled: camera
                .leaves
                .iter()
                .map(|leaf| leaf.doubled.load(Ordering::Relaxed))
                .sum(),
            shed_in_flight: camera.shed_in_flight.load(Ordering::Relaxed),
            shed_backlog: camera.shed_backlog.load(Ordering::Relaxed),
            faults: camera.faults.load(Ordering::Relaxed),
        }
    }
}

impl CameraLedger {
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}
