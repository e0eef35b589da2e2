//! Which camera is on which device: chosen once, by what each device has left, and kept until that device fails or fills.
//!
//! A camera goes where the most memory is left for one more, made less by decoder sessions near the limit that was found and
//! by pictures that wait. So equal devices get equally many, and one with half the memory half as many. Cameras of a device
//! that fails go to the others and remember where they came from. When its rest is over one of them tries the device, with
//! what is inferred alone; only when that went well do all of them go back. Each setback doubles the rest, so that
//! nothing goes to and fro.
//!
//! It reads no clock: whoever calls says what time it is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::rows::CameraId;

/// How long a device is left alone after it failed for the first time.
const REST: Duration = Duration::from_secs(30);
/// The rest doubles so often at most: a little more than an hour.
const MOST_DOUBLINGS: u32 = 7;
/// Who has done well for so long starts anew with the shortest rest.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3600);
/// Pictures that wait weigh as much as memory that is half gone when there are so many.
const USUAL_BATCH: f64 = 32.0;

/// What a device has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Bytes of memory that can be had.
    pub free_bytes: usize,
    /// Cameras that decode on it.
    pub sessions: usize,
    /// Pictures that wait for its lanes.
    pub waiting: usize,
}

/// Why cameras leave a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MoveCause {
    /// It is lost.
    Lost,
    /// Its memory stays full.
    Full,
    /// It keeps failing.
    Failing,
    /// Its decoder takes no further session.
    Sessions,
    /// The device that they came from works again.
    Returned,
    /// An edit of the graph leaves it out.
    Edit,
}

impl MoveCause {
    /// All there are.
    pub const ALL: [MoveCause; 6] = [
        MoveCause::Lost,
        MoveCause::Full,
        MoveCause::Failing,
        MoveCause::Sessions,
        MoveCause::Returned,
        MoveCause::Edit,
    ];

    /// Its name in metrics.
    pub fn word(self) -> &'static str {
        match self {
            MoveCause::Lost => "lost",
            MoveCause::Full => "full",
            MoveCause::Failing => "failing",
            MoveCause::Sessions => "sessions",
            MoveCause::Returned => "returned",
            MoveCause::Edit => "edit",
        }
    }
}

/// A camera that goes from one device to another, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which camera.
    pub camera: CameraId,
    /// From where.
    pub from: usize,
    /// To where.
    pub to: usize,
}

/// Where a camera is.
#[derive(Clone, Copy, Debug)]
struct Home {
    device: usize,
    /// The device that it had to leave, and goes back to.
    left: Option<usize>,
}

/// How a device stands.
#[derive(Clone, Debug, Default)]
struct Standing {
    away: Option<Away>,
    setbacks: u32,
    recovered: Duration,
    /// As many sessions as its decoder is known to take.
    most_sessions: Option<usize>,
    /// When its decoder last had no room for a further one.
    filled: Option<Duration>,
    moves: [u64; MoveCause::ALL.len()],
}

/// A device that is left alone.
#[derive(Clone, Copy, Debug)]
struct Away {
    /// When it may be tried; never where there is none.
    until: Option<Duration>,
    /// Who tries it.
    trial: Option<CameraId>,
}

/// The cameras of a run on devices of one kind.
#[derive(Clone, Debug)]
pub struct Placement {
    homes: BTreeMap<CameraId, Home>,
    devices: Vec<Standing>,
}

impl Placement {
    /// Nobody is anywhere yet.
    pub fn new(devices: usize) -> Self {
        Placement {
            homes: BTreeMap::new(),
            devices: vec![Standing::default(); devices],
        }
    }

    /// Where a camera is, once it was placed.
    pub fn home(&self, camera: CameraId) -> Option<usize> {
        self.homes.get(&camera).map(|home| home.device)
    }
    /// How many cameras are on a device.
    pub fn cameras(&self, device: usize) -> usize {
        self.homes.values().filter(|home| home.device == device).count()
    }
    /// Whether cameras may go to a device.
    pub fn is_well(&self, device: usize) -> bool {
        self.devices.get(device).is_some_and(|standing| standing.away.is_none())
    }
    /// How many cameras have left a device, or come back to it, for a cause.
    pub fn moves(&self, device: usize, cause: MoveCause) -> u64 {
        self.devices
            .get(device)
            .map_or(0, |standing| standing.moves[cause as usize])
    }
    /// As many sessions as a device's decoder is known to take; none while it has refused none.
    pub fn most_sessions(&self, device: usize) -> Option<usize> {
        self.devices.get(device)?.most_sessions
    }

    /// Finds a camera its device, once. `loads` says of each device what it has left, of one that does not work nothing. Where
    /// none is well the camera waits on the first that may come round.
    pub fn place(&mut self, camera: CameraId, loads: &[Option<Load>]) -> usize {
        if let Some(home) = self.homes.get(&camera) {
            return home.device;
        }
        let device = self.best(loads, None);
        let device = device.or_else(|| loads.iter().position(Option::is_some)).unwrap_or(0);
        self.homes.insert(camera, Home { device, left: None });
        device
    }

    /// A camera is no longer part of the run.
    pub fn forget(&mut self, camera: CameraId) {
        let left = self.homes.remove(&camera).and_then(|home| home.left);
        for away in self.devices.iter_mut().filter_map(|standing| standing.away.as_mut()) {
            away.trial.take_if(|trial| *trial == camera);
        }
        let Some(left) = left.filter(|left| self.homes.values().all(|home| home.left != Some(*left))) else {
            return;
        };
        // Nobody is there any more who would try the device: who comes new does.
        self.devices[left].away.take_if(|away| away.until.is_some());
    }

    /// The well device with the most left for one more camera, other than `except`.
    fn best(&self, loads: &[Option<Load>], except: Option<usize>) -> Option<usize> {
        let mut best: Option<(f64, usize, usize)> = None;
        for (device, load) in loads.iter().enumerate() {
            let Some(load) = load.filter(|_| self.is_well(device) && Some(device) != except) else {
                continue;
            };
            let cameras = self.cameras(device);
            let room = self.most_sessions(device).map_or(1.0, |most| {
                most.saturating_sub(load.sessions) as f64 / most.max(1) as f64
            });
            let weight = load.free_bytes as f64 * room / (1.0 + load.waiting as f64 / USUAL_BATCH);
            let score = weight / (cameras + 1) as f64;
            if best.is_none_or(|(other, fewest, _)| score > other || (score >= other && cameras < fewest)) {
                best = Some((score, cameras, device));
            }
        }
        best.map(|(_, _, device)| device)
    }

    /// A device failed: it is left alone for a while, and its cameras go to others. Where there is no other they stay: what
    /// stands in for the device serves them.
    pub fn fail(&mut self, device: usize, cause: MoveCause, now: Duration, loads: &[Option<Load>]) -> Vec<Move> {
        let Some(standing) = self.devices.get_mut(device) else {
            return Vec::new();
        };
        if now.saturating_sub(standing.recovered) > FORGIVEN_AFTER && standing.away.is_none() {
            standing.setbacks = 0;
        }
        let is_barred = standing.away.is_some_and(|away| away.until.is_none());
        let rest = REST * (1 << standing.setbacks.min(MOST_DOUBLINGS));
        standing.setbacks += 1;
        standing.away = Some(Away {
            until: (!is_barred).then_some(now + rest),
            trial: None,
        });
        self.clear_out(device, cause, loads)
    }

    /// A device cannot be used in this run.
    pub fn bar(&mut self, device: usize, loads: &[Option<Load>]) -> Vec<Move> {
        let Some(standing) = self.devices.get_mut(device) else {
            return Vec::new();
        };
        standing.away = Some(Away {
            until: None,
            trial: None,
        });
        self.clear_out(device, MoveCause::Failing, loads)
    }

    /// Only these devices are used from here on: cameras leave the others, and do not come back there.
    pub fn keep_to(&mut self, used: &[usize], loads: &[Option<Load>]) -> Vec<Move> {
        for home in self.homes.values_mut() {
            home.left.take_if(|left| !used.contains(left));
        }
        let outside = self.homes.iter().filter(|(_, home)| !used.contains(&home.device));
        let outside: Vec<(CameraId, usize)> = outside.map(|(camera, home)| (*camera, home.device)).collect();
        let moves = outside.into_iter().filter_map(|(camera, from)| {
            let to = self.best(loads, None)?;
            Some(self.send(camera, from, to, MoveCause::Edit, None))
        });
        moves.collect()
    }

    fn clear_out(&mut self, device: usize, cause: MoveCause, loads: &[Option<Load>]) -> Vec<Move> {
        let here = self.homes.iter().filter(|(_, home)| home.device == device);
        let cameras: Vec<CameraId> = here.map(|(camera, _)| *camera).collect();
        let moves = cameras.into_iter().filter_map(|camera| {
            let to = self.best(loads, Some(device))?;
            Some(self.send(camera, device, to, cause, Some(device)))
        });
        moves.collect()
    }

    /// A device's decoder refused a camera's session, of which it has so many: the camera goes to another that has room.
    pub fn refuse(&mut self, camera: CameraId, sessions: usize, loads: &[Option<Load>]) -> Option<Move> {
        let from = self.home(camera)?;
        self.devices.get_mut(from)?.most_sessions = Some(sessions.max(1));
        let has_room = |device: usize, load: &Load| self.most_sessions(device).is_none_or(|most| load.sessions < most);
        let with_room: Vec<Option<Load>> = loads
            .iter()
            .enumerate()
            .map(|(device, load)| load.filter(|load| has_room(device, load)))
            .collect();
        let to = self.best(&with_room, Some(from))?;
        Some(self.send(camera, from, to, MoveCause::Sessions, None))
    }

    /// A device's decoder has no room for a further session, and has so many.
    pub fn fill(&mut self, device: usize, sessions: usize, now: Duration) {
        if let Some(standing) = self.devices.get_mut(device) {
            (standing.most_sessions, standing.filled) = (Some(sessions.max(1)), Some(now));
        }
    }
    /// Whether a device's decoder, with so many sessions, would refuse a further one, as it did a short while ago. To ask it
    /// takes as long as to open one, and cameras are asked for one after the other.
    pub fn is_full(&self, device: usize, sessions: usize, now: Duration) -> bool {
        self.devices.get(device).is_some_and(|standing| {
            standing.most_sessions.is_some_and(|most| sessions >= most)
                && standing.filled.is_some_and(|filled| now < filled + REST)
        })
    }

    fn send(&mut self, camera: CameraId, from: usize, to: usize, cause: MoveCause, left: Option<usize>) -> Move {
        // A camera that moves on goes back to where it was first.
        let first = self.homes.get(&camera).and_then(|home| home.left);
        let left = left.map(|left| first.unwrap_or(left));
        self.homes.insert(camera, Home { device: to, left });
        let counts = if cause == MoveCause::Returned { to } else { from };
        self.devices[counts].moves[cause as usize] += 1;
        Move { camera, from, to }
    }

    /// Whether a device waits to be tried by somebody.
    pub fn is_due(&self, now: Duration) -> bool {
        let due = |away: &Away| away.until.is_some_and(|until| until <= now);
        self.devices
            .iter()
            .any(|standing| standing.away.as_ref().is_some_and(due))
    }

    /// The device that infers for a camera now: its own, or one that it is to try.
    pub fn serving(&mut self, camera: CameraId, now: Duration) -> Option<usize> {
        let home = *self.homes.get(&camera)?;
        let left = home.left.filter(|left| {
            let away = self.devices.get_mut(*left).and_then(|standing| standing.away.as_mut());
            away.is_some_and(|away| {
                away.until.is_some_and(|until| until <= now) && *away.trial.get_or_insert(camera) == camera
            })
        });
        Some(left.unwrap_or(home.device))
    }

    /// A device works. Where its rest is over, who had to leave it comes back; before, what was under way there says
    /// nothing.
    pub fn recover(&mut self, device: usize, now: Duration) -> Vec<Move> {
        let Some(standing) = self.devices.get_mut(device) else {
            return Vec::new();
        };
        let is_over = |away: Away| away.until.is_some_and(|until| until <= now);
        if !standing.away.is_some_and(is_over) {
            return Vec::new();
        }
        standing.away = None;
        standing.recovered = now;
        let left = self.homes.iter().filter(|(_, home)| home.left == Some(device));
        let cameras: Vec<(CameraId, usize)> = left.map(|(camera, home)| (*camera, home.device)).collect();
        let moves = cameras.into_iter().filter(|(_, from)| *from != device);
        let moves: Vec<(CameraId, usize)> = moves.collect();
        moves
            .into_iter()
            .map(|(camera, from)| self.send(camera, from, device, MoveCause::Returned, None))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1);

    fn free(gigabytes: &[usize]) -> Vec<Option<Load>> {
        let load = |gigabytes: &usize| {
            Some(Load {
                free_bytes: gigabytes << 30,
                ..Load::default()
            })
        };
        gigabytes.iter().map(load).collect()
    }

    fn placed(cameras: u32, loads: &[Option<Load>]) -> Placement {
        let mut placement = Placement::new(loads.len());
        for camera in 0..cameras {
            placement.place(CameraId(camera), loads);
        }
        placement
    }

    fn counts(placement: &Placement) -> Vec<usize> {
        (0..placement.devices.len())
            .map(|device| placement.cameras(device))
            .collect()
    }

    #[test]
    fn cameras_go_where_the_most_is_left_for_them() {
        assert_eq!(counts(&placed(9, &free(&[80, 80]))), [5, 4]);
        assert_eq!(counts(&placed(12, &free(&[60, 20, 40]))), [6, 2, 4]);
        assert_eq!(
            counts(&placed(4, &[None, free(&[8])[0]])),
            [0, 4],
            "one that does not work gets none"
        );
        let busy = |waiting, sessions| {
            Some(Load {
                free_bytes: 1 << 30,
                sessions,
                waiting,
            })
        };
        assert_eq!(
            counts(&placed(3, &[busy(96, 0), busy(0, 0)])),
            [0, 3],
            "where pictures wait, fewer go"
        );
        let mut placement = placed(1, &[busy(0, 4), busy(0, 0)]);
        placement.refuse(CameraId(0), 5, &[busy(0, 5), busy(0, 0)]);
        let near = [busy(0, 5), busy(0, 0)];
        (1..4).for_each(|camera| assert_eq!(placement.place(CameraId(camera), &near), 1, "there its decoder is full"));
    }

    #[test]
    fn a_full_decoder_is_asked_again_when_it_has_room_or_has_rested() {
        let mut placement = Placement::new(2);
        assert!(!placement.is_full(0, 300, NOW), "nobody has asked");
        placement.fill(0, 288, NOW);
        let full = |sessions, now| placement.is_full(0, sessions, now);
        assert!(full(288, NOW) && full(290, NOW + REST / 2));
        assert!(!full(287, NOW) && !full(288, NOW + REST));
        assert!(!placement.is_full(1, 288, NOW), "another is another");
    }

    #[test]
    fn a_camera_stays_where_it_is() {
        let mut placement = placed(2, &free(&[8, 8]));
        assert_eq!(placement.place(CameraId(0), &free(&[0, 80])), 0);
        placement.forget(CameraId(0));
        assert_eq!(placement.place(CameraId(0), &free(&[0, 80])), 1);
    }

    #[test]
    fn who_has_to_leave_comes_back_when_one_of_them_has_tried_it() {
        let loads = free(&[8, 8]);
        let mut placement = placed(4, &loads);
        let moves = placement.fail(0, MoveCause::Lost, NOW, &loads);
        assert_eq!(
            moves.iter().map(|moved| (moved.from, moved.to)).collect::<Vec<_>>(),
            [(0, 1); 2]
        );
        assert_eq!(
            (counts(&placement), placement.moves(0, MoveCause::Lost)),
            (vec![0, 4], 2)
        );
        assert_eq!(placement.place(CameraId(9), &loads), 1, "nobody new goes there");
        let rested = NOW + REST;
        assert!(!placement.is_due(rested - NOW) && placement.is_due(rested));
        assert_eq!(placement.serving(CameraId(0), rested - NOW), Some(1));
        assert_eq!(
            placement.serving(CameraId(1), rested),
            Some(1),
            "who was never there does not try it"
        );
        assert_eq!(placement.serving(CameraId(0), rested), Some(0), "one tries it");
        assert_eq!(placement.serving(CameraId(2), rested), Some(1), "and no other");
        assert_eq!(placement.home(CameraId(0)), Some(1), "its decoder stays meanwhile");
        assert_eq!(placement.recover(0, rested).len(), 2);
        assert_eq!(
            (counts(&placement), placement.moves(0, MoveCause::Returned)),
            (vec![2, 3], 2)
        );
    }

    #[test]
    fn each_setback_doubles_the_rest() {
        let loads = free(&[8, 8]);
        let mut placement = placed(2, &loads);
        let mut now = NOW;
        for doubling in [0, 1, 2, 3, 4, 5, 6, 7, 7, 7] {
            placement.fail(0, MoveCause::Full, now, &loads);
            let rest = REST * (1 << doubling);
            assert_eq!(placement.serving(CameraId(0), now + rest - NOW), Some(1), "{doubling}");
            now += rest;
            assert_eq!(placement.serving(CameraId(0), now), Some(0), "{doubling}");
        }
        placement.recover(0, now);
        placement.fail(0, MoveCause::Full, now + FORGIVEN_AFTER + NOW, &loads);
        assert!(
            placement.is_due(now + FORGIVEN_AFTER + NOW + REST),
            "it did well for long"
        );
    }

    #[test]
    fn where_there_is_no_other_they_stay() {
        let loads = free(&[8, 8]);
        let mut placement = placed(4, &loads);
        placement.fail(0, MoveCause::Failing, NOW, &loads);
        assert_eq!(placement.fail(1, MoveCause::Failing, NOW, &loads), []);
        assert_eq!(counts(&placement), [0, 4]);
        assert_eq!(placement.place(CameraId(9), &[None, loads[1]]), 1, "also who comes new");
        placement.bar(0, &loads);
        assert!(
            placement.recover(0, NOW).is_empty() && !placement.is_well(0),
            "what cannot be used is not tried"
        );
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Place(u32),
        Forget(u32),
        Fail(usize),
        Recover(usize),
        Serve(u32),
        Refuse(u32),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0u32..12).prop_map(Event::Place),
            (0u32..12).prop_map(Event::Forget),
            (0usize..4).prop_map(Event::Fail),
            (0usize..4).prop_map(Event::Recover),
            (0u32..12).prop_map(Event::Serve),
            (0u32..12).prop_map(Event::Refuse),
        ]
    }

    proptest! {
        #[test]
        fn a_camera_that_is_placed_has_one_device_whatever_happens(
            devices in 1usize..4,
            events in proptest::collection::vec((event(), 0u64..40), 0..200),
        ) {
            let loads = free(&[8, 8, 8][..devices]);
            let mut placement = Placement::new(devices);
            let mut placed = std::collections::BTreeSet::new();
            let mut now = Duration::ZERO;
            for (event, seconds) in events {
                now += Duration::from_secs(seconds);
                match event {
                    Event::Place(camera) => {
                        placed.insert(camera);
                        let any_well = (0..devices).any(|device| placement.is_well(device));
                        let known = placement.home(CameraId(camera)).is_some();
                        let home = placement.place(CameraId(camera), &loads);
                        prop_assert!(known || !any_well || placement.is_well(home));
                    }
                    Event::Forget(camera) => {
                        placed.remove(&camera);
                        placement.forget(CameraId(camera));
                    }
                    Event::Fail(device) => {
                        for moved in placement.fail(device, MoveCause::Failing, now, &loads) {
                            prop_assert!(moved.from == device && moved.to != device && placement.is_well(moved.to));
                        }
                    }
                    Event::Recover(device) => {
                        let moves = placement.recover(device, now);
                        prop_assert!(moves.iter().all(|moved| moved.to == device && moved.from != device));
                    }
                    Event::Serve(camera) => {
                        let serving = placement.serving(CameraId(camera), now);
                        prop_assert_eq!(serving.is_some(), placed.contains(&camera));
                    }
                    Event::Refuse(camera) => drop(placement.refuse(CameraId(camera), 3, &loads)),
                }
                let all: usize = (0..devices).map(|device| placement.cameras(device)).sum();
                prop_assert_eq!(all, placed.len());
                prop_assert!(placed.iter().all(|camera| placement.home(CameraId(*camera)).is_some_and(|home| home < devices)));
            }
        }
    }
}
