//! Vehicles: they arrive by chance, follow each other by the Intelligent Driver Model (Treiber,
//! Hennecke, Helbing: "Congested traffic states in empirical observations and microscopic
//! simulations", 2000, equations 3 and 4), stop at red and leave the picture.

use super::body::{Body, Kind};
use super::random::Random;
use super::roads::{self, LANES, Lamp, Path, Signals};

/// Length of a step of the simulation.
pub(super) const STEP_S: f64 = 0.1;
/// Vehicles a second and lane at density 1.
const ARRIVALS: f64 = 0.055;
/// No vehicle comes nearer to the one before it than this.
const BUMPER_GAP: f64 = 0.6;
const STANDING_GAP: f64 = 2.0;
const HEADWAY_S: f64 = 1.2;
const BRAKING: f64 = 2.2;
/// The hardest braking for a yellow lamp.
const YELLOW_BRAKING: f64 = 3.0;

#[derive(Clone, Debug)]
struct Vehicle {
    id: u64,
    kind: Kind,
    look: u64,
    path: usize,
    length: f64,
    /// Distance of its front along the path, now and a step ago.
    front: f64,
    before: f64,
    speed: f64,
    wanted_speed: f64,
    braking: bool,
    /// Has passed the point of no return before a lamp turned.
    committed: bool,
}

/// What one vehicle sees of another before it.
#[derive(Clone, Copy)]
struct Leader {
    gap: f64,
    speed: f64,
}

/// All vehicles of a junction.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    random: Random,
    arrivals: f64,
    /// In the order in which they came, by inbound lane.
    lanes: [Vec<Vehicle>; LANES],
    #[cfg(test)]
    arrived: u64,
    /// A vehicle that could not come yet because the lane was full.
    waiting: [bool; LANES],
}

impl Traffic {
    pub fn new(seed: u64, density: f64) -> Self {
        Traffic {
            random: Random::new(seed, 1),
            arrivals: ARRIVALS * density,
            lanes: Default::default(),
            #[cfg(test)]
            arrived: 0,
            waiting: [false; LANES],
        }
    }

    /// Whether a vehicle of another arm, or of any arm when none is named, is between its stop line and the far kerb.
    pub fn is_inside(&self, paths: &[Path], but: Option<usize>) -> bool {
        let others = self.lanes.iter().enumerate().filter(|(lane, _)| Some(lane / 2) != but);
        others.flat_map(|(_, lane)| lane).any(|vehicle| {
            let path = &paths[vehicle.path];
            vehicle.front > path.stop && vehicle.front - vehicle.length < path.exit
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lanes.iter().map(Vec::len).sum()
    }

    /// How many came since the start.
    #[cfg(test)]
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Goes on by one step.
    pub fn step(&mut self, paths: &[Path], signals: &Signals, people_crossing: bool, next_id: &mut u64) {
        let arm_lamps: [Lamp; 4] = std::array::from_fn(|arm| match signals.lamps[arm] {
            // Green is of no use while somebody is still in the way.
            Lamp::Green if people_crossing || self.is_inside(paths, Some(arm)) => Lamp::Red,
            lamp => lamp,
        });
        let leaving = self.leaving(paths);
        for (lane, lamp) in (0..LANES).map(|lane| (lane, arm_lamps[lane / 2])) {
            for index in 0..self.lanes[lane].len() {
                let (ahead, rest) = self.lanes[lane].split_at_mut(index);
                let vehicle = &mut rest[0];
                let others = leaving.iter().filter(|other| other.lane != lane);
                let leader = nearest(vehicle, paths, ahead, others);
                vehicle.step(&paths[vehicle.path], lamp, leader);
            }
            self.lanes[lane].retain(|vehicle| vehicle.front - vehicle.length < paths[vehicle.path].length);
            self.arrive(lane, next_id);
        }
    }

    /// The vehicles that are past their stop line, as those behind them on other ways into the same lane see them.
    fn leaving(&self, paths: &[Path]) -> Vec<Leaving> {
        let vehicles = self.lanes.iter().enumerate();
        let all = vehicles.flat_map(|(lane, vehicles)| vehicles.iter().map(move |vehicle| (lane, vehicle)));
        all.filter_map(|(lane, vehicle)| {
            let path = &paths[vehicle.path];
            (vehicle.front > path.stop).then_some(Leaving {
                lane,
                exit_lane: path.exit_lane,
                front: vehicle.front - path.exit,
                length: vehicle.length,
                speed: vehicle.speed,
            })
        })
        .collect()
    }

    fn arrive(&mut self, lane: usize, next_id: &mut u64) {
        self.waiting[lane] |= self.random.happens(self.arrivals * STEP_S);
        if !self.waiting[lane] {
            return;
        }
        let last = self.lanes[lane].last();
        if last.is_some_and(|last| last.front - last.length < 8.0) {
            return;
        }
        self.waiting[lane] = false;
        let outer = lane % 2 == 1;
        let kind = match self.random.unit() {
            u if u < 0.66 => Kind::Car,
            u if u < 0.76 => Kind::Truck,
            u if u < 0.84 => Kind::Bus,
            u if u < 0.91 || !outer => Kind::Motorcycle,
            _ => Kind::Bicycle,
        };
        let look = self.random.bits();
        let turns = self.random.happens(if outer { 0.3 } else { 0.35 });
        let wanted_speed = kind.speed() * self.random.between(0.85, 1.15);
        let near = last.filter(|last| last.front - last.length < 40.0);
        self.lanes[lane].push(Vehicle {
            id: *next_id,
            kind,
            look,
            path: lane * 2 + usize::from(turns),
            length: kind.length(look),
            front: 0.0,
            before: 0.0,
            speed: near.map_or(wanted_speed, |last| last.speed.min(wanted_speed)),
            wanted_speed,
            braking: false,
            committed: false,
        });
        *next_id += 1;
        #[cfg(test)]
        {
            self.arrived += 1;
        }
    }

    /// All vehicles as they stand `part` of a step after the last but one, 0 to 1.
    pub fn bodies(&self, paths: &[Path], part: f64, out: &mut Vec<Body>) {
        for vehicle in self.lanes.iter().flatten() {
            let front = vehicle.before + (vehicle.front - vehicle.before) * part;
            let (nose, tail) = (
                paths[vehicle.path].point(front),
                paths[vehicle.path].point(front - vehicle.length),
            );
            let chord = roads::distance(tail, nose);
            out.push(Body {
                id: vehicle.id,
                kind: vehicle.kind,
                look: vehicle.look,
                position: [0.5 * (nose[0] + tail[0]), 0.5 * (nose[1] + tail[1])],
                heading: [(nose[0] - tail[0]) / chord, (nose[1] - tail[1]) / chord],
                travelled: front,
                braking: vehicle.braking,
            });
        }
    }
}

/// A vehicle on its way out; `front` is measured from where the path leaves the junction.
struct Leaving {
    lane: usize,
    exit_lane: usize,
    front: f64,
    length: f64,
    speed: f64,
}

/// What is next before a vehicle: of its own lane, until the ways part, and of the lane by which it leaves.
fn nearest<'a>(
    vehicle: &Vehicle,
    paths: &[Path],
    ahead: &[Vehicle],
    leaving: impl Iterator<Item = &'a Leaving>,
) -> Option<Leader> {
    let path = &paths[vehicle.path];
    let own = ahead.iter().filter_map(|other| {
        let rear = other.front - other.length;
        let together = other.path == vehicle.path || rear < path.enter + 4.0;
        together.then_some(Leader {
            gap: rear - vehicle.front,
            speed: other.speed,
        })
    });
    let front = vehicle.front - path.exit;
    let out = leaving
        .filter(|other| other.exit_lane == path.exit_lane && other.front > front)
        .map(|other| Leader {
            gap: other.front - other.length - front,
            speed: other.speed,
        });
    own.chain(out).min_by(|a, b| a.gap.total_cmp(&b.gap))
}

impl Vehicle {
    fn step(&mut self, path: &Path, lamp: Lamp, leader: Option<Leader>) {
        let to_stop = path.stop - self.front;
        self.committed |= lamp == Lamp::Yellow && to_stop < self.speed * self.speed / (2.0 * YELLOW_BRAKING);
        let must_stop = lamp != Lamp::Green && to_stop >= 0.0 && !self.committed;
        // A red lamp is a vehicle that stands just behind the stop line.
        let line = must_stop.then_some(Leader {
            gap: to_stop + STANDING_GAP - 0.5,
            speed: 0.0,
        });
        let target = self.wanted_speed.min(self.bend_speed(path));
        let free = 1.0 - square(square(self.speed / target));
        let worst = leader.into_iter().chain(line).map(|other| self.interaction(other));
        let power = self.kind.acceleration();
        let acceleration = (power * (free - worst.fold(0.0, f64::max))).max(-8.0);
        self.before = self.front;
        let speed = (self.speed + acceleration * STEP_S).max(0.0);
        let mut front = self.front + speed * STEP_S;
        // The model keeps its distance by itself; this makes it a law.
        if let Some(leader) = leader {
            front = front.min(self.front + leader.gap - BUMPER_GAP);
        }
        if must_stop {
            front = front.min(path.stop);
        }
        self.front = front.max(self.front);
        self.braking = acceleration < -0.6 || self.speed < 0.1;
        self.speed = speed.min((self.front - self.before) / STEP_S);
    }

    /// How fast it may be here so as to be slow enough in the bend.
    fn bend_speed(&self, path: &Path) -> f64 {
        if self.front - self.length > path.exit {
            return f64::INFINITY;
        }
        let ahead = (path.enter - self.front).max(0.0);
        (square(path.turn_speed) + 2.0 * 1.5 * ahead).sqrt()
    }

    fn interaction(&self, other: Leader) -> f64 {
        let closing = self.speed * (self.speed - other.speed) / (2.0 * (self.kind.acceleration() * BRAKING).sqrt());
        let wanted = STANDING_GAP + (self.speed * HEADWAY_S + closing).max(0.0);
        square(wanted / other.gap.max(0.1))
    }
}

fn square(x: f64) -> f64 {
    x * x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::synthetic::roads::{paths, signals};

    /// The part of a vehicle's way that its front and its rear span, if another one goes the same way.
    fn overlap(a: &Vehicle, b: &Vehicle, paths: &[Path]) -> bool {
        let (one, other) = (&paths[a.path], &paths[b.path]);
        let meet = |a_front: f64, b_front: f64| a_front - a.length < b_front && b_front - b.length < a_front;
        let before = a.path / 2 == b.path / 2 && a.front.min(b.front) < one.stop && meet(a.front, b.front);
        let (a_out, b_out) = (a.front - one.exit, b.front - other.exit);
        let after =
            one.exit_lane == other.exit_lane && a_out - a.length > 0.0 && b_out - b.length > 0.0 && meet(a_out, b_out);
        before || after
    }

    #[test]
    fn vehicles_of_a_lane_never_overlap_and_stop_at_red() {
        let paths = paths();
        for density in [1.0, 20.0] {
            let mut traffic = Traffic::new(9, density);
            let (mut id, mut turned) = (0, 0);
            for step in 0..20_000 {
                let now = signals(f64::from(step) * STEP_S);
                let before = traffic.clone();
                traffic.step(&paths, &now, false, &mut id);
                let all: Vec<&Vehicle> = traffic.lanes.iter().flatten().collect();
                for (index, one) in all.iter().enumerate() {
                    turned += usize::from(one.path % 2 == 1);
                    assert!(
                        all[..index].iter().all(|other| !overlap(one, other, &paths)),
                        "{step}: {one:?}"
                    );
                    assert!(one.front >= one.before, "nobody goes back");
                }
                let was = before.lanes.iter().flatten().map(|vehicle| (vehicle.id, vehicle.front));
                let was: std::collections::BTreeMap<_, _> = was.collect();
                for (lane, vehicle) in traffic
                    .lanes
                    .iter()
                    .enumerate()
                    .flat_map(|(lane, all)| all.iter().map(move |one| (lane, one)))
                {
                    let stop = paths[vehicle.path].stop;
                    let passed = was.get(&vehicle.id).is_some_and(|front| *front <= stop) && vehicle.front > stop;
                    assert!(
                        !passed || now.lamps[lane / 2] != Lamp::Red || vehicle.committed,
                        "{vehicle:?}"
                    );
                }
            }
            assert!(id > 500 && turned > 500);
        }
    }
}
