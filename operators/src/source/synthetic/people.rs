//! People: they walk along the pavements and cross the roads when all vehicles have red.

use super::body::{Body, Kind};
use super::random::Random;
use super::roads::{self, ARM_LENGTHS, ARMS, CROSSWALK, KERB};
use super::traffic::STEP_S;

/// People a second and pavement at density 1.
const ARRIVALS: f64 = 0.03;
/// The most people at a time.
const MOST: usize = 96;
/// The middle of a pavement, from the middle of the road.
const PAVEMENT: f64 = 8.9;

/// What somebody does at a point of the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Walk,
    /// Waits for the signal, then crosses the road.
    Cross,
}

#[derive(Clone, Debug)]
struct Person {
    id: u64,
    look: u64,
    speed: f64,
    way: Vec<([f64; 2], Then)>,
    /// The point of the way that was passed last.
    leg: usize,
    /// Metres since.
    along: f64,
    travelled: f64,
    position: [f64; 2],
    before: [f64; 2],
    heading: [f64; 2],
}

/// All people of a junction.
#[derive(Clone, Debug)]
pub(super) struct People {
    random: Random,
    arrivals: f64,
    people: Vec<Person>,
}

/// The signs of x and y of the corners, clockwise from north-east; corner c lies between arm c and arm c + 1.
const CORNERS: [[f64; 2]; 4] = [[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]];

impl People {
    pub fn new(seed: u64, density: f64) -> Self {
        People {
            random: Random::new(seed, 2),
            arrivals: ARRIVALS * density,
            people: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// Whether anybody is on a road.
    pub fn are_crossing(&self) -> bool {
        self.people.iter().any(Person::is_crossing)
    }

    /// Goes on by one step.
    pub fn step(&mut self, may_cross: bool, next_id: &mut u64) {
        for person in &mut self.people {
            person.step(may_cross);
        }
        self.people.retain(|person| person.leg + 1 < person.way.len());
        for end in 0..8 {
            if self.random.happens(self.arrivals * STEP_S) && self.people.len() < MOST {
                let person = self.arrive(end / 2, end % 2, *next_id);
                self.people.push(person);
                *next_id += 1;
            }
        }
    }

    /// Somebody who comes along one of the two arms of a corner.
    fn arrive(&mut self, corner: usize, side: usize, id: u64) -> Person {
        let random = &mut self.random;
        let own = [random.between(-1.3, 1.3), random.between(-1.3, 1.3)];
        let jitter = random.between(-1.0, 1.0);
        let mut way = vec![(far_end(corner, side, own), Then::Walk)];
        let turn = random.unit();
        let crossings = match turn {
            u if u < 0.35 => 0,
            u if u < 0.85 => 1,
            _ => 2,
        };
        let clockwise = random.happens(0.5);
        let mut here = corner;
        for _ in 0..crossings {
            // Clockwise from corner c the way leads over arm c + 1, the other way over arm c.
            let (arm, next) = match clockwise {
                true => ((here + 1) % 4, (here + 1) % 4),
                false => (here, (here + 3) % 4),
            };
            way.push((kerb_point(arm, here, jitter), Then::Cross));
            way.push((kerb_point(arm, next, jitter), Then::Walk));
            here = next;
        }
        if crossings == 0 {
            way.push((CORNERS[here].map(|sign| sign * PAVEMENT + own[0] * 0.8), Then::Walk));
        }
        let leave = if crossings == 0 { 1 - side } else { random.below(2) };
        if crossings > 0 {
            way.push((CORNERS[here].map(|sign| sign * PAVEMENT + own[1] * 0.8), Then::Walk));
        }
        way.push((far_end(here, leave, own), Then::Walk));
        let start = way[0].0;
        Person {
            id,
            look: random.bits(),
            speed: Kind::Person.speed() * random.between(0.85, 1.2),
            way,
            leg: 0,
            along: 0.0,
            travelled: 0.0,
            position: start,
            before: start,
            heading: [0.0, 1.0],
        }
    }

    /// All people as they stand `part` of a step after the last but one, 0 to 1.
    pub fn bodies(&self, part: f64, out: &mut Vec<Body>) {
        out.extend(self.people.iter().map(|person| Body {
            id: person.id,
            kind: Kind::Person,
            look: person.look,
            position: [0, 1].map(|axis| person.before[axis] + (person.position[axis] - person.before[axis]) * part),
            heading: person.heading,
            travelled: person.travelled,
            braking: person.along == 0.0,
        }));
    }
}

/// Where the pavement of a corner begins, along the first or the second of its arms.
fn far_end(corner: usize, side: usize, own: [f64; 2]) -> [f64; 2] {
    let arm = (corner + side) % 4;
    let along_y = ARMS[arm][0] == 0.0;
    let sign = CORNERS[corner];
    let far = ARM_LENGTHS[arm] - 4.0;
    match along_y {
        true => [sign[0] * (PAVEMENT + own[0]), sign[1] * far],
        false => [sign[0] * far, sign[1] * (PAVEMENT + own[1])],
    }
}

/// Where somebody stands who wants to cross an arm from a corner.
fn kerb_point(arm: usize, corner: usize, jitter: f64) -> [f64; 2] {
    let sign = CORNERS[corner];
    let out = 0.5 * (CROSSWALK[0] + CROSSWALK[1]) + jitter;
    let side = KERB + 0.6;
    match ARMS[arm][0] == 0.0 {
        true => [sign[0] * side, sign[1] * out],
        false => [sign[0] * out, sign[1] * side],
    }
}

impl Person {
    fn is_crossing(&self) -> bool {
        self.way[self.leg].1 == Then::Cross && self.along > 0.0
    }

    fn step(&mut self, may_cross: bool) {
        self.before = self.position;
        if self.way[self.leg].1 == Then::Cross && self.along == 0.0 && !may_cross {
            return;
        }
        let ((from, _), (to, _)) = (self.way[self.leg], self.way[self.leg + 1]);
        let length = roads::distance(from, to).max(0.01);
        self.along += self.speed * STEP_S;
        self.travelled += self.speed * STEP_S;
        self.heading = [(to[0] - from[0]) / length, (to[1] - from[1]) / length];
        let part = (self.along / length).min(1.0);
        self.position = [0, 1].map(|axis| from[axis] + (to[axis] - from[axis]) * part);
        if part == 1.0 {
            self.leg += 1;
            self.along = 0.0;
        }
    }
}
