//! Counts of frames by camera, and the credits that follow from them.
//!
//! Every admitted frame has a number in its camera, from 0. A leaf answers a camera's numbers one after the other, so one
//! number a leaf tells what it has answered, what is missing and what came twice. After an edit of the graph each
//! camera has a first number of the new version: leaves that go owe the numbers below it, leaves that come those from it on.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use flowrun_dsl::params::Params;
use flowrun_dsl::plan::{CameraPlan, NodePlan, Origin, Plan};
use flowrun_dsl::port::Role;

use crate::admission::CameraParams;
use crate::admission::delay::Watched;
use crate::admission::leaf::{Door, Leaf, LeafCount, UNKNOWN};
use crate::roster::Roster;
use crate::rows::{At, CameraId};
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
    /// One of them was unanswered for too long.
    Delay,
    /// Sinks had fallen too far behind.
    Backlog,
}

struct CameraLedger {
    params: ArcSwap<CameraParams>,
    admitted: AtomicU64,
    watched: Watched,
    shed_in_flight: AtomicU64,
    shed_delay: AtomicU64,
    shed_backlog: AtomicU64,
    faults: AtomicU64,
    leaves: ArcSwap<Vec<Arc<LeafCount>>>,
    /// What leaves that are gone had counted.
    gone_doubled: AtomicU64,
    gone_lost: AtomicU64,
    /// No row before this tick is still to come; [`ENDED`] after the last.
    announced: AtomicU64,
    /// The first tick after the last row of a camera that has ended.
    ended_at: AtomicU64,
    /// The index in the source that the next frame will at least have.
    next_frame: AtomicU64,
    /// Whether the dataflow has taken in the camera's end.
    drained: AtomicBool,
    door: Arc<Door>,
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
    /// Frames that an end of the graph went past without an answer; always 0.
    pub lost: u64,
    /// Frames shed because too many of the camera's were unanswered.
    pub shed_in_flight: u64,
    /// Frames shed because one of the camera's was unanswered for too long.
    pub shed_delay: u64,
    /// Frames shed because sinks had fallen behind.
    pub shed_backlog: u64,
    /// What the source could not read.
    pub faults: u64,
}

impl CameraCounts {
    /// Frames shed for any reason.
    pub fn shed(&self) -> u64 {
        self.shed_in_flight + self.shed_delay + self.shed_backlog
    }
}

/// All cameras' counts.
pub struct Ledger {
    cameras: Roster<CameraLedger>,
    /// By node: those of its answers that leave the graph.
    leaves: Mutex<HashMap<String, Leaf>>,
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

/// The nodes whose answers nobody reads: where frames leave the graph.
fn leaves_of(plan: &Plan) -> impl Iterator<Item = &NodePlan> {
    let nodes = plan.nodes.iter().enumerate();
    nodes.filter_map(|(index, node)| {
        let mut inputs = plan.nodes.iter().flat_map(|reader| &reader.inputs);
        let read = inputs.any(|input| input.origin == Origin::Node(index));
        (per_frame(plan, node) && (!read || node.role != Role::Operator)).then_some(node)
    })
}

fn params_of(camera: &CameraPlan) -> CameraParams {
    CameraParams::from_values(&camera.common).expect("the plan's values follow the declaration")
}

impl Ledger {
    /// Two seconds of media.
    const LEAD_TICKS: Tick = 400;

    /// The ledger of a plan.
    pub fn of(plan: &Plan) -> Self {
        let ledger = Ledger {
            cameras: Roster::default(),
            leaves: Mutex::default(),
            backlog_bytes: AtomicI64::new(0),
            lead: Self::LEAD_TICKS,
            slowest: AtomicU64::new(0),
            lead_waited: AtomicBool::new(false),
        };
        ledger.follow(plan);
        ledger
    }

    /// Opens the books for a plan that follows the running one: cameras and leaves that are new, parameters that changed.
    /// Leaves that the plan does not have go on owing what was admitted before its first frame, until [`Ledger::retire`].
    pub fn follow(&self, plan: &Plan) {
        let mut fresh = HashSet::new();
        for (index, camera) in plan.cameras.iter().enumerate() {
            let id = CameraId(plan.camera_number(index));
            match self.cameras.get(id) {
                Some(known) => {
                    known.params.store(Arc::new(params_of(camera)));
                    known.door.first.store(UNKNOWN, Ordering::SeqCst);
                }
                None => {
                    fresh.insert(id);
                    self.cameras.set(id, Some(Arc::new(CameraLedger::of(camera))));
                }
            }
        }
        let mut leaves = self.leaves.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut kept: HashSet<(String, CameraId)> = HashSet::new();
        for node in leaves_of(plan) {
            let leaf = leaves.entry(node.name.clone()).or_default();
            for camera in &node.cameras {
                let id = CameraId(plan.camera_number(*camera));
                kept.insert((node.name.clone(), id));
                if leaf.0.get(id).is_some() {
                    continue;
                }
                let Some(books) = self.cameras.get(id) else { continue };
                let through = if fresh.contains(&id) { 0 } else { UNKNOWN };
                let count = Arc::new(LeafCount::new(books.door.clone(), through));
                leaf.0.set(id, Some(count.clone()));
                books
                    .leaves
                    .rcu(|list| [list.as_slice(), std::slice::from_ref(&count)].concat());
            }
        }
        for (name, leaf) in leaves.iter() {
            for (camera, count) in leaf.0.all() {
                if !kept.contains(&(name.clone(), camera)) {
                    count.retiring.store(true, Ordering::SeqCst);
                }
            }
        }
    }

    /// Closes the books of what the plan before this one had and this one has not; everything must have been answered.
    /// Gives how many frames that leaves owed they never answered.
    pub fn retire(&self, plan: &Plan) -> u64 {
        let mut owed = 0;
        let mut leaves = self.leaves.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for leaf in leaves.values() {
            for (camera, count) in leaf.0.all() {
                if !count.retiring.load(Ordering::SeqCst) {
                    continue;
                }
                leaf.0.set(camera, None);
                if let Some(books) = self.cameras.get(camera) {
                    owed += count.owed(books.admitted.load(Ordering::SeqCst));
                    books.leaves.rcu(|list| {
                        let stays = list.iter().filter(|other| !Arc::ptr_eq(other, &count));
                        stays.cloned().collect::<Vec<_>>()
                    });
                    let (doubled, lost) = count.faults();
                    books.gone_doubled.fetch_add(doubled, Ordering::Relaxed);
                    books.gone_lost.fetch_add(lost, Ordering::Relaxed);
                    books.door.open();
                }
            }
        }
        leaves.retain(|_, leaf| !leaf.0.all().is_empty());
        for (camera, _) in self.cameras.all() {
            if plan.camera_index(camera.0).is_none() {
                self.cameras.set(camera, None);
            }
        }
        owed
    }

    fn with<R>(&self, camera: CameraId, look: impl FnOnce(&CameraLedger) -> R) -> Option<R> {
        self.cameras.with(camera, look)
    }

    /// The parameters of a camera; none once it is no longer part of the run.
    pub fn params(&self, camera: CameraId) -> Option<Arc<CameraParams>> {
        self.with(camera, |camera| camera.params.load_full())
    }

    /// The leaf that a node is, if it is one.
    pub fn leaf(&self, node: &str) -> Option<Leaf> {
        let leaves = self.leaves.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        leaves.get(node).cloned()
    }

    /// Frames of a camera that some leaf has not answered.
    pub fn in_flight(&self, camera: CameraId) -> u64 {
        self.with(camera, CameraLedger::in_flight).unwrap_or(0)
    }

    /// Whether another frame may enter now, in microseconds since the run began, and if not, why not.
    ///
    /// # Errors
    /// The reason for which a live camera would shed it.
    pub fn may_admit(&self, camera: CameraId, now_us: u64) -> Result<(), ShedReason> {
        let Some((bounds, share)) = self.with(camera, |camera| {
            let params = camera.params.load();
            (camera.bounds(&params, now_us), params.priority.share())
        }) else {
            return Ok(());
        };
        bounds?;
        let backlog = self.backlog_bytes.load(Ordering::Relaxed) as f64;
        if backlog > BACKLOG_LIMIT_BYTES * share {
            return Err(ShedReason::Backlog);
        }
        Ok(())
    }

    /// Counts a frame in, now; gives its number in the camera.
    pub fn admit(&self, camera: CameraId, frame: u64, now_us: u64) -> u64 {
        self.with(camera, |camera| {
            camera.next_frame.store(frame.saturating_add(1), Ordering::Relaxed);
            let number = camera.admitted.fetch_add(1, Ordering::AcqRel);
            if let Some(through) = camera.answered_through() {
                camera.watched.follow(through, number, now_us);
            }
            number
        })
        .unwrap_or(0)
    }

    /// The index that a camera's next frame will at least have.
    pub fn next_frame(&self, camera: CameraId) -> u64 {
        self.with(camera, |camera| camera.next_frame.load(Ordering::Relaxed))
            .unwrap_or(0)
    }

    /// Counts a frame out at the door.
    pub fn shed(&self, camera: CameraId, reason: ShedReason, frame: u64) {
        self.with(camera, |camera| {
            camera.next_frame.store(frame.saturating_add(1), Ordering::Relaxed);
            match reason {
                ShedReason::InFlight => &camera.shed_in_flight,
                ShedReason::Delay => &camera.shed_delay,
                ShedReason::Backlog => &camera.shed_backlog,
            }
            .fetch_add(1, Ordering::Relaxed)
        });
    }

    /// Counts something that a source could not read; gives how many there were before.
    pub fn fault(&self, camera: CameraId) -> u64 {
        self.with(camera, |camera| camera.faults.fetch_add(1, Ordering::Relaxed))
            .unwrap_or(0)
    }

    /// Whether sinks have fallen so far behind that nothing may be added.
    pub fn is_congested(&self) -> bool {
        self.backlog_bytes.load(Ordering::Relaxed) as f64 > BACKLOG_LIMIT_BYTES
    }

    /// The first frame of a camera that goes through the new version of an edited graph: its number, and where it stands.
    pub fn first_after_cut(&self, at: &At, number: u64) {
        self.with(at.camera, |camera| camera.door.first_after_cut(number, at.frame));
    }

    /// By camera, the index of the first frame that went through the version of the last edit.
    pub fn firsts(&self) -> Vec<(CameraId, u64)> {
        let cameras = self.cameras.all().into_iter();
        cameras
            .filter_map(|(id, camera)| Some((id, camera.door.first_frame()?)))
            .collect()
    }

    /// Registers the thread that reads a camera's source, to be woken when it may go on.
    pub fn attend(&self, camera: CameraId, thread: Thread) {
        self.with(camera, |camera| camera.door.attend(thread));
    }

    /// Says that the camera's thread is about to park for credit; look again after this.
    pub fn wait(&self, camera: CameraId) {
        self.with(camera, |camera| camera.door.waiting.store(true, Ordering::SeqCst));
    }

    /// Wakes every source.
    pub fn wake_all(&self) {
        self.cameras.all().iter().for_each(|(_, camera)| camera.door.wake());
    }

    /// Wakes one.
    pub fn wake(&self, camera: CameraId) {
        self.with(camera, |camera| camera.door.wake());
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
        self.with(camera, |camera| camera.announced.store(tick, Ordering::SeqCst));
        if self.lead_waited.load(Ordering::SeqCst) && self.lead_waited.swap(false, Ordering::SeqCst) {
            self.wake_all();
        }
    }

    /// Says that a camera's last row had a tick before this one. Must be known before the dataflow can
    /// see that the camera has ended, or what is complete at this tick would depend on timing.
    pub fn end(&self, camera: CameraId, tick: Tick) {
        self.with(camera, |camera| camera.ended_at.store(tick, Ordering::Release));
    }

    /// Says that a camera that has ended will announce nothing more.
    pub fn leave(&self, camera: CameraId) {
        self.announce(camera, ENDED);
    }

    /// Says that the dataflow has taken in all that a camera sent, its end included.
    pub fn drained(&self, camera: CameraId) {
        self.with(camera, |camera| camera.drained.store(true, Ordering::SeqCst));
    }

    /// Whether it has.
    pub fn is_drained(&self, camera: CameraId) -> bool {
        self.with(camera, |camera| camera.drained.load(Ordering::SeqCst))
            .unwrap_or(true)
    }

    /// Says that a camera that has ended begins anew, with another source.
    pub fn reopen(&self, camera: CameraId) {
        self.with(camera, |camera| {
            camera.drained.store(false, Ordering::SeqCst);
            camera.ended_at.store(ENDED, Ordering::Release);
            camera.announced.store(0, Ordering::SeqCst);
        });
    }

    /// The earliest tick that a camera may still send; none once it has ended.
    pub fn announced(&self, camera: CameraId) -> Option<Tick> {
        let tick = self.with(camera, |camera| camera.announced.load(Ordering::Acquire))?;
        (tick != ENDED).then_some(tick)
    }

    /// Whether a camera had ended by this tick.
    pub fn ended_by(&self, camera: CameraId, tick: Tick) -> bool {
        self.with(camera, |camera| camera.ended_at.load(Ordering::Acquire) <= tick)
            .unwrap_or(true)
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
        let cameras = self.cameras.all();
        let announced = cameras
            .iter()
            .map(|(_, camera)| camera.announced.load(Ordering::SeqCst));
        let slowest = announced.min().unwrap_or(ENDED);
        self.slowest.fetch_max(slowest, Ordering::Relaxed);
        tick > limit(slowest)
    }

    /// What became of a camera's frames so far.
    pub fn counts(&self, camera: CameraId) -> CameraCounts {
        self.with(camera, CameraLedger::counts).unwrap_or_default()
    }

    /// All cameras' counts, summed.
    pub fn total(&self) -> CameraCounts {
        let cameras = self.cameras.all();
        cameras
            .iter()
            .map(|(_, camera)| camera.counts())
            .fold(CameraCounts::default(), |sum, camera| CameraCounts {
                admitted: sum.admitted + camera.admitted,
                answered: sum.answered + camera.answered,
                doubled: sum.doubled + camera.doubled,
                lost: sum.lost + camera.lost,
                shed_in_flight: sum.shed_in_flight + camera.shed_in_flight,
                shed_delay: sum.shed_delay + camera.shed_delay,
                shed_backlog: sum.shed_backlog + camera.shed_backlog,
                faults: sum.faults + camera.faults,
            })
    }

    /// The longest time, in microseconds, between two answers of one leaf and camera since the last call.
    pub fn longest_gap(&self) -> u64 {
        let cameras = self.cameras.all();
        let leaves = cameras
            .iter()
            .flat_map(|(_, camera)| camera.leaves.load_full().to_vec());
        leaves
            .map(|leaf| leaf.longest_gap_us.swap(0, Ordering::Relaxed))
            .max()
            .unwrap_or(0)
    }

    /// Whether every camera that still sends has had an answer of the new version after an edit.
    pub fn all_have_begun(&self) -> bool {
        let cameras = self.cameras.all();
        cameras.iter().all(|(_, camera)| camera.has_begun())
    }
}

impl CameraLedger {
    fn of(camera: &CameraPlan) -> Self {
        CameraLedger {
            params: ArcSwap::from_pointee(params_of(camera)),
            admitted: AtomicU64::new(0),
            watched: Watched::default(),
            shed_in_flight: AtomicU64::new(0),
            shed_delay: AtomicU64::new(0),
            shed_backlog: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            leaves: ArcSwap::default(),
            gone_doubled: AtomicU64::new(0),
            gone_lost: AtomicU64::new(0),
            announced: AtomicU64::new(0),
            ended_at: AtomicU64::new(ENDED),
            next_frame: AtomicU64::new(0),
            drained: AtomicBool::new(false),
            door: Arc::default(),
        }
    }

    /// The number up to which all leaves have answered; none where there are no leaves.
    fn answered_through(&self) -> Option<u64> {
        let leaves = self.leaves.load();
        leaves.iter().map(|leaf| leaf.answered_through()).min()
    }

    fn in_flight(&self) -> u64 {
        let answered = self.answered_through();
        let admitted = self.admitted.load(Ordering::Acquire);
        answered.map_or(0, |answered| admitted.saturating_sub(answered))
    }

    /// Whether the camera keeps its own bounds.
    fn bounds(&self, params: &CameraParams, now_us: u64) -> Result<(), ShedReason> {
        let Some(through) = self.answered_through() else {
            return Ok(());
        };
        let in_flight = self.admitted.load(Ordering::Acquire).saturating_sub(through);
        if in_flight >= params.in_flight as u64 {
            return Err(ShedReason::InFlight);
        }
        let is_late =
            |longest: Duration| self.watched.delay(through, now_us) > longest.mul_f64(params.priority.share());
        match in_flight > 0 && params.max_delay.is_some_and(is_late) {
            true => Err(ShedReason::Delay),
            false => Ok(()),
        }
    }

    fn has_begun(&self) -> bool {
        let first = self.door.first.load(Ordering::SeqCst);
        let leaves = self.leaves.load();
        let answers = leaves.iter().filter(|leaf| !leaf.retiring.load(Ordering::SeqCst));
        first != UNKNOWN && answers.into_iter().all(|leaf| leaf.answered_through() > first)
            || self.announced.load(Ordering::SeqCst) == ENDED
    }

    fn counts(&self) -> CameraCounts {
        let in_flight = self.in_flight();
        let admitted = self.admitted.load(Ordering::Acquire);
        let leaves = self.leaves.load();
        let faults = leaves.iter().map(|leaf| leaf.faults());
        let gone = (
            self.gone_doubled.load(Ordering::Relaxed),
            self.gone_lost.load(Ordering::Relaxed),
        );
        let (doubled, lost) = faults.fold(gone, |sum, leaf| (sum.0 + leaf.0, sum.1 + leaf.1));
        CameraCounts {
            admitted,
            answered: admitted.saturating_sub(in_flight),
            doubled,
            lost,
            shed_in_flight: self.shed_in_flight.load(Ordering::Relaxed),
            shed_delay: self.shed_delay.load(Ordering::Relaxed),
            shed_backlog: self.shed_backlog.load(Ordering::Relaxed),
            faults: self.faults.load(Ordering::Relaxed),
        }
    }
}
