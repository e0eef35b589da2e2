//! The devices of a run, by kind, and which camera is on which: see [`Placement`].
//!
//! What decodes a camera and what infers for it ask the same set, so that its pictures stay on one device.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use flowrun_dsl::plan::Plan;
use flowrun_dsl::value::Value;

use super::backend::{Device, MemoryLeft};
use super::fault::Result;
use super::gpu::Gpu;
use super::placement::{Load, Move, MoveCause, Placement};
use super::probe::{Cuda, cuda};
use super::resident::ResidentPool;
use super::twin::Twin;
use crate::rows::CameraId;

/// Tells the time since some moment.
pub type Now = Arc<dyn Fn() -> Duration + Send + Sync>;

/// More than a machine has.
const MOST_DEVICES: usize = 64;

/// What kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    /// NVIDIA's.
    Cuda,
    /// The host's memory.
    Twin,
}

impl DeviceKind {
    /// Its name in metrics.
    pub fn word(self) -> &'static str {
        match self {
            DeviceKind::Cuda => "cuda",
            DeviceKind::Twin => "twin",
        }
    }
}

/// The devices of a run.
#[derive(Clone, Debug)]
pub struct Devices {
    cuda: Arc<DeviceSet>,
    twin: Arc<DeviceSet>,
}

impl Default for Devices {
    /// The first of each kind.
    fn default() -> Self {
        Devices::new(&[], 1)
    }
}

impl Devices {
    /// Those with the `asked` numbers, or where none are asked for as many as there are and as `most` says; of twins one.
    pub fn new(asked: &[usize], most: usize) -> Self {
        let began = Instant::now();
        Devices::with_clock(asked, most, Arc::new(move || began.elapsed()))
    }

    /// As [`Devices::new`], by a clock of one's own.
    pub fn with_clock(asked: &[usize], most: usize, now: Now) -> Self {
        let of = |kind| {
            Arc::new(DeviceSet {
                kind,
                used: RwLock::new(Used::of(asked, most)),
                members: (0..MOST_DEVICES).map(Member::new).collect(),
                placement: RwLock::new(Placement::new(MOST_DEVICES)),
                now: now.clone(),
            })
        };
        Devices {
            cuda: of(DeviceKind::Cuda),
            twin: of(DeviceKind::Twin),
        }
    }

    /// Those that the models of a plan name by `device`; where none names any, as many as there are cameras.
    pub fn of(plan: &Plan) -> Self {
        Devices::new(&asked(plan), plan.cameras.len())
    }

    /// Lets a plan that is being prepared use what it names, beside what is used.
    pub(crate) fn widen(&self, plan: &Plan) {
        self.sets().for_each(|set| set.widen(&asked(plan), plan.cameras.len()));
    }

    /// A plan has taken over: cameras leave what it does not name.
    pub(crate) fn narrow(&self, plan: &Plan) {
        self.sets().for_each(|set| set.narrow(&asked(plan), plan.cameras.len()));
    }

    /// Those of a kind.
    pub fn of_kind(&self, kind: DeviceKind) -> &Arc<DeviceSet> {
        match kind {
            DeviceKind::Cuda => &self.cuda,
            DeviceKind::Twin => &self.twin,
        }
    }

    /// A camera is no longer part of the run.
    pub fn forget(&self, camera: CameraId) {
        self.sets().for_each(|set| set.places().forget(camera));
    }

    /// Those that are open.
    pub fn open(&self) -> Vec<Seat> {
        self.sets().flat_map(|set| set.open()).collect()
    }

    fn sets(&self) -> impl Iterator<Item = &Arc<DeviceSet>> {
        [&self.cuda, &self.twin].into_iter()
    }
}

/// The numbers that the models of a plan name.
fn asked(plan: &Plan) -> Vec<usize> {
    let lists = plan
        .models
        .values()
        .filter_map(|model| match model.params.get("device") {
            Some(Value::List(numbers)) => Some(numbers),
            _ => None,
        });
    let numbers = lists.flatten().filter_map(|value| match value {
        Value::Int(number) => usize::try_from(*number).ok(),
        _ => None,
    });
    numbers.collect()
}

/// Which devices are used.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Used {
    /// All there are, at most so many; of twins one.
    All(usize),
    /// Those with these numbers.
    These(BTreeSet<usize>),
}

impl Used {
    fn of(asked: &[usize], most: usize) -> Self {
        let asked: BTreeSet<usize> = asked.iter().copied().filter(|number| *number < MOST_DEVICES).collect();
        match asked.is_empty() {
            true => Used::All(most.max(1)),
            false => Used::These(asked),
        }
    }
}

/// Devices of one kind, opened when they are needed. A device's place is its number.
pub struct DeviceSet {
    kind: DeviceKind,
    used: RwLock<Used>,
    members: Vec<Member>,
    placement: RwLock<Placement>,
    now: Now,
}

struct Member {
    ordinal: usize,
    opened: OnceLock<Result<(Arc<dyn Device>, Arc<ResidentPool>)>>,
    /// Of a twin, to lose it.
    twin: OnceLock<Arc<Twin>>,
    sessions: AtomicUsize,
    waiting: AtomicUsize,
}

impl Member {
    fn new(ordinal: usize) -> Self {
        Member {
            ordinal,
            opened: OnceLock::new(),
            twin: OnceLock::new(),
            sessions: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        }
    }
}

/// A device among those of its kind.
#[derive(Clone)]
pub struct Seat {
    set: Arc<DeviceSet>,
    place: usize,
    device: Arc<dyn Device>,
    pool: Arc<ResidentPool>,
}

/// How a device of a run stands.
#[derive(Clone, Debug)]
pub struct DeviceState {
    /// Its kind.
    pub kind: DeviceKind,
    /// Its number.
    pub ordinal: usize,
    /// As its driver calls it.
    pub name: String,
    /// Cameras that are on it.
    pub cameras: usize,
    /// Pictures that wait for its lanes.
    pub waiting: usize,
    /// Cameras that decode on it.
    pub sessions: usize,
    /// Whether cameras may go there.
    pub is_well: bool,
    /// Its memory; none where it does not say.
    pub memory: Option<MemoryLeft>,
    /// How many cameras have moved, by cause.
    pub moves: Vec<(MoveCause, u64)>,
}

impl DeviceSet {
    /// The numbers of the devices that are used.
    pub fn ordinals(&self) -> Vec<usize> {
        let used = self.used.read().unwrap_or_else(PoisonError::into_inner).clone();
        match (used, self.kind) {
            (Used::These(ordinals), _) => ordinals.into_iter().collect(),
            (Used::All(_), DeviceKind::Twin) | (Used::All(1), _) => vec![0],
            (Used::All(most), DeviceKind::Cuda) => match cuda() {
                Cuda::Present(driver) => (0..driver.devices.len().min(MOST_DEVICES).clamp(1, most)).collect(),
                Cuda::Absent | Cuda::Broken(_) => vec![0],
            },
        }
    }

    fn widen(&self, asked: &[usize], most: usize) {
        let (before, mut used) = (
            self.ordinals(),
            self.used.write().unwrap_or_else(PoisonError::into_inner),
        );
        *used = match Used::of(asked, most) {
            Used::These(ordinals) => Used::These(before.into_iter().chain(ordinals).collect()),
            Used::All(most) => Used::All(most.max(before.iter().max().map_or(1, |last| last + 1))),
        };
    }

    fn narrow(self: &Arc<Self>, asked: &[usize], most: usize) {
        *self.used.write().unwrap_or_else(PoisonError::into_inner) = Used::of(asked, most);
        let is_placed = (0..MOST_DEVICES).any(|device| self.placed().cameras(device) > 0);
        if is_placed {
            let (ordinals, loads) = (self.ordinals(), self.loads());
            let moves = self.places().keep_to(&ordinals, &loads);
            self.tell(&moves, MoveCause::Edit);
        }
    }

    /// Opens a device by its place. What keeps it from opening is not asked again.
    ///
    /// # Errors
    /// When there is none, or it does not work.
    pub fn seat(self: &Arc<Self>, place: usize) -> Result<Seat> {
        let member = &self.members[place];
        let opened = member.opened.get_or_init(|| {
            let device: Arc<dyn Device> = match self.kind {
                DeviceKind::Cuda => Gpu::open(member.ordinal)
                    .inspect_err(|fault| tracing::info!(device = member.ordinal, %fault, "a device is done without"))?,
                DeviceKind::Twin => member
                    .twin
                    .get_or_init(|| Twin::numbered(member.ordinal, usize::MAX / 2))
                    .clone(),
            };
            let pool = ResidentPool::new(&device);
            Ok((device, pool))
        });
        let (device, pool) = opened.clone()?;
        Ok(Seat {
            set: self.clone(),
            place,
            device,
            pool,
        })
    }

    /// The twin of a number, where this is a set of twins: tests lose it. `make` makes it where there is none yet.
    pub fn twin(&self, ordinal: usize, make: impl FnOnce() -> Arc<Twin>) -> Option<Arc<Twin>> {
        let member = self.members.get(ordinal).filter(|_| self.kind == DeviceKind::Twin)?;
        Some(member.twin.get_or_init(make).clone())
    }

    /// The device of a camera, which is found one where it has none yet.
    pub fn home(self: &Arc<Self>, camera: CameraId) -> usize {
        if let Some(home) = self.placed().home(camera) {
            return home;
        }
        let loads = self.loads();
        self.places().place(camera, &loads)
    }

    /// The device that infers for a camera now: its own, or one that it tries.
    pub fn serving(self: &Arc<Self>, camera: CameraId) -> usize {
        let now = (self.now)();
        let (home, is_due) = {
            let placement = self.placed();
            (placement.home(camera), placement.is_due(now))
        };
        match home {
            Some(home) if !is_due => home,
            Some(home) => self.places().serving(camera, now).unwrap_or(home),
            None => self.home(camera),
        }
    }

    fn open(self: &Arc<Self>) -> Vec<Seat> {
        let is_open = |member: &&Member| member.opened.get().is_some_and(Result::is_ok);
        let open = self.members.iter().filter(is_open);
        open.filter_map(|member| self.seat(member.ordinal).ok()).collect()
    }

    /// What each device has left. One of one is not asked: all cameras go there.
    fn loads(self: &Arc<Self>) -> Vec<Option<Load>> {
        let (ordinals, mut loads) = (self.ordinals(), vec![None; MOST_DEVICES]);
        if let [only] = ordinals.as_slice() {
            loads[*only] = Some(Load::default());
            return loads;
        }
        let load = |ordinal: usize| {
            let member = &self.members[ordinal];
            Some(Load {
                free_bytes: self.seat(ordinal).ok()?.device.memory().ok()?.free,
                sessions: member.sessions.load(Ordering::Relaxed),
                waiting: member.waiting.load(Ordering::Relaxed),
            })
        };
        ordinals.into_iter().for_each(|ordinal| loads[ordinal] = load(ordinal));
        loads
    }

    fn placed(&self) -> RwLockReadGuard<'_, Placement> {
        self.placement.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn places(&self) -> RwLockWriteGuard<'_, Placement> {
        self.placement.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, moves: &[Move], cause: MoveCause) {
        let from: BTreeSet<usize> = moves.iter().map(|moved| moved.from).collect();
        for from in from {
            let gone = moves.iter().filter(|moved| moved.from == from);
            let to: BTreeSet<usize> = gone.clone().map(|moved| moved.to).collect();
            tracing::warn!(
                from,
                ?to,
                cameras = gone.count(),
                cause = cause.word(),
                "cameras move to another device"
            );
        }
    }
}

impl Seat {
    /// The device.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }
    /// Where decoded pictures lie on it.
    pub fn pool(&self) -> &Arc<ResidentPool> {
        &self.pool
    }
    /// Its set.
    pub fn set(&self) -> &Arc<DeviceSet> {
        &self.set
    }
    /// Its number, which is its place in the set.
    pub fn ordinal(&self) -> usize {
        self.place
    }

    /// It failed: its cameras go elsewhere, and it is left alone for a while.
    pub fn fail(&self, cause: MoveCause) {
        let (loads, now) = (self.set.loads(), (self.set.now)());
        let moves = self.set.places().fail(self.place, cause, now, &loads);
        self.set.tell(&moves, cause);
    }

    /// It cannot be used in this run.
    pub fn bar(&self) {
        let loads = self.set.loads();
        let moves = self.set.places().bar(self.place, &loads);
        self.set.tell(&moves, MoveCause::Failing);
    }

    /// Whether cameras may go there.
    pub fn is_well(&self) -> bool {
        self.set.placed().is_well(self.place)
    }

    /// It works. Where it was left alone and its rest is over, cameras that had to leave come back.
    pub fn recover(&self) {
        let now = (self.set.now)();
        let moves = self.set.places().recover(self.place, now);
        self.set.tell(&moves, MoveCause::Returned);
    }

    /// Its decoder refused a camera's session; whether the camera has another device now.
    pub fn refuse(&self, camera: CameraId) -> bool {
        let loads = self.set.loads();
        let sessions = self.member().sessions.load(Ordering::Relaxed);
        let moved = self.set.places().refuse(camera, sessions, &loads);
        self.set.tell(moved.as_slice(), MoveCause::Sessions);
        moved.is_some()
    }

    /// Its decoder had no room for another session.
    pub fn fill(&self) {
        let (sessions, now) = (self.member().sessions.load(Ordering::Relaxed), (self.set.now)());
        self.set.places().fill(self.place, sessions, now);
    }
    /// Whether its decoder has no room, as far as is known; then how many sessions it has.
    pub fn full(&self) -> Option<usize> {
        let (sessions, now) = (self.member().sessions.load(Ordering::Relaxed), (self.set.now)());
        let is_full = self.set.placed().is_full(self.place, sessions, now);
        is_full.then_some(sessions)
    }

    /// How many pictures wait for a node's lanes on it, `before` and now.
    pub fn waits(&self, before: usize, now: usize) {
        let waiting = &self.member().waiting;
        waiting.fetch_add(now, Ordering::Relaxed);
        waiting.fetch_sub(before, Ordering::Relaxed);
    }

    /// Counts a camera that decodes on it.
    pub(super) fn decodes(&self, more: bool) {
        let sessions = &self.member().sessions;
        match more {
            true => sessions.fetch_add(1, Ordering::Relaxed),
            false => sessions.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// How it stands.
    pub fn state(&self) -> DeviceState {
        let (placement, member) = (self.set.placed(), self.member());
        DeviceState {
            kind: self.set.kind,
            ordinal: member.ordinal,
            name: self.device.chip().name.clone(),
            cameras: placement.cameras(self.place),
            waiting: member.waiting.load(Ordering::Relaxed),
            sessions: member.sessions.load(Ordering::Relaxed),
            is_well: placement.is_well(self.place),
            memory: self.device.memory().ok(),
            moves: MoveCause::ALL
                .map(|cause| (cause, placement.moves(self.place, cause)))
                .into(),
        }
    }

    fn member(&self) -> &Member {
        &self.set.members[self.place]
    }
}

impl fmt::Debug for DeviceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.used.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "DeviceSet({}, {used:?})", self.kind.word())
    }
}
impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seat({}, {})", self.set.kind.word(), self.ordinal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn homes(set: &Arc<DeviceSet>, cameras: std::ops::Range<u32>) -> Vec<usize> {
        cameras.map(|camera| set.home(CameraId(camera))).collect()
    }

    #[test]
    fn a_twin_with_little_memory_gets_fewer_cameras() {
        let devices = Devices::new(&[0, 2], 1);
        let twins = devices.of_kind(DeviceKind::Twin);
        twins.twin(0, || Twin::numbered(0, 1 << 20)).unwrap();
        twins.twin(2, || Twin::numbered(2, 3 << 20)).unwrap();
        let homes = homes(twins, 0..8);
        let on = |device| homes.iter().filter(|home| **home == device).count();
        assert_eq!((on(0), on(2)), (2, 6));
        let states: Vec<_> = devices.open().iter().map(Seat::state).collect();
        let told: Vec<_> = states.iter().map(|state| (state.ordinal, state.cameras)).collect();
        assert_eq!(told, [(0, 2), (2, 6)]);
    }

    #[test]
    fn cameras_go_where_fewer_pictures_wait_and_leave_what_fails() {
        let clock = Arc::new(AtomicUsize::new(0));
        let reads = clock.clone();
        let now = Arc::new(move || Duration::from_secs(reads.load(Ordering::Relaxed) as u64));
        let devices = Devices::with_clock(&[0, 1], 1, now);
        let twins = devices.of_kind(DeviceKind::Twin);
        let seats = [twins.seat(0).unwrap(), twins.seat(1).unwrap()];
        seats[0].waits(0, 320);
        assert_eq!(homes(twins, 0..4), [1; 4]);
        seats[0].waits(320, 0);
        seats[1].fail(MoveCause::Full);
        assert_eq!(homes(twins, 0..6), [0; 6]);
        seats[1].recover();
        assert_eq!(
            twins.serving(CameraId(0)),
            0,
            "what was under way there says nothing: it rests first"
        );
        clock.store(30, Ordering::Relaxed);
        assert_eq!(twins.serving(CameraId(0)), 1);
        seats[1].recover();
        assert_eq!(
            homes(twins, 0..6),
            [1, 1, 1, 1, 0, 0],
            "those that were there come back"
        );
        let state = seats[1].state();
        assert!(state.is_well && state.moves.contains(&(MoveCause::Full, 4)));
        assert!(state.moves.contains(&(MoveCause::Returned, 4)));
    }

    #[test]
    fn an_edit_opens_devices_before_it_and_leaves_others_after_it() {
        let devices = Devices::new(&[0], 1);
        let twins = devices.of_kind(DeviceKind::Twin);
        assert_eq!(homes(twins, 0..2), [0, 0]);
        twins.widen(&[1, 3], 2);
        assert_eq!(twins.ordinals(), [0, 1, 3]);
        twins.narrow(&[1, 3], 2);
        assert_eq!((twins.ordinals(), homes(twins, 0..2)), (vec![1, 3], vec![1, 3]));
        twins.widen(&[], 2);
        twins.narrow(&[], 2);
        assert_eq!((twins.ordinals(), homes(twins, 0..2)), (vec![0], vec![0, 0]));
    }
}
