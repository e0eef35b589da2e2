//! The junction's plan in metres: x to the east, y to the north, its middle at the origin.
//!
//! Two roads of two lanes each way cross at a right angle; traffic keeps to the right. Each lane of
//! each arm leads straight on or into the turn on its own side, so that vehicles of one arm never
//! cross each other's way; the signals let only one arm go at a time.

/// Width of a lane.
pub(super) const LANE: f64 = 3.25;
/// From the middle of a road to its kerb.
pub(super) const KERB: f64 = 7.0;
/// From the middle of a road to the outer edge of the pavement.
pub(super) const PAVEMENT_EDGE: f64 = 10.8;
/// From the middle of the junction to a stop line.
pub(super) const STOP_LINE: f64 = 12.0;
/// Where crosswalks begin and end, from the middle of the junction.
pub(super) const CROSSWALK: [f64; 2] = [7.8, 10.8];

/// North, east, south, west: outwards.
pub(super) const ARMS: [[f64; 2]; 4] = [[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]];
/// How far each arm reaches: beyond the edge of the picture.
pub(super) const ARM_LENGTHS: [f64; 4] = [112.0, 64.0, 60.0, 64.0];
/// Inbound lanes, two an arm.
pub(super) const LANES: usize = 8;

/// To the right of a direction.
pub(super) fn right_of([x, y]: [f64; 2]) -> [f64; 2] {
    [y, -x]
}

/// A way from one arm's far end to another's.
#[derive(Debug)]
pub(super) struct Path {
    /// The lane by which it leaves, as an index like those of inbound lanes.
    pub exit_lane: usize,
    /// Distance along it of the stop line.
    pub stop: f64,
    /// Distance at which it enters the middle of the junction.
    pub enter: f64,
    /// Distance at which it leaves it.
    pub exit: f64,
    /// Its length.
    pub length: f64,
    /// The speed at which it is safely driven inside the junction, in metres a second.
    pub turn_speed: f64,
    points: Vec<([f64; 2], f64)>,
}

/// Whether a path goes straight on; else it turns to the side of its lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Movement {
    Straight,
    Turn,
}

/// All paths: two an inbound lane, the straight one first.
pub(super) fn paths() -> Vec<Path> {
    let lanes = (0..LANES).flat_map(|lane| [Movement::Straight, Movement::Turn].map(|movement| (lane, movement)));
    lanes.map(|(lane, movement)| Path::new(lane, movement)).collect()
}

/// A point of an arm: so far out, and so far to the right of somebody who goes in this direction.
fn on_arm(arm: usize, out: f64, direction: [f64; 2], offset: f64) -> [f64; 2] {
    let (along, side) = (ARMS[arm], right_of(direction));
    [along[0] * out + side[0] * offset, along[1] * out + side[1] * offset]
}

impl Path {
    fn new(lane: usize, movement: Movement) -> Self {
        let (arm, outer) = (lane / 2, lane % 2);
        let offset = LANE * (0.5 + outer as f64);
        let inward = [-ARMS[arm][0], -ARMS[arm][1]];
        // Clockwise: seen from an arm, the next one is on the left and the one before on the right.
        let leaves = match (movement, outer) {
            (Movement::Straight, _) => (arm + 2) % 4,
            (Movement::Turn, 0) => (arm + 1) % 4,
            (Movement::Turn, _) => (arm + 3) % 4,
        };
        let turn_speed = match (movement, outer) {
            (Movement::Straight, _) => 20.0,
            (Movement::Turn, 0) => 6.5,
            (Movement::Turn, _) => 4.0,
        };
        let outward = ARMS[leaves];
        let entry = on_arm(arm, KERB, inward, offset);
        let gone = on_arm(leaves, KERB, outward, offset);
        // Where the two lanes would meet; for a straight way any point between its ends.
        let bend = match movement {
            Movement::Straight => [0.5 * (entry[0] + gone[0]), 0.5 * (entry[1] + gone[1])],
            Movement::Turn if inward[0] == 0.0 => [entry[0], gone[1]],
            Movement::Turn => [gone[0], entry[1]],
        };
        let mut corners = vec![on_arm(arm, ARM_LENGTHS[arm], inward, offset)];
        for step in 0..=16 {
            let t = f64::from(step) / 16.0;
            let (a, b, c) = ((1.0 - t) * (1.0 - t), 2.0 * t * (1.0 - t), t * t);
            corners.push([0, 1].map(|axis| a * entry[axis] + b * bend[axis] + c * gone[axis]));
        }
        corners.push(on_arm(leaves, ARM_LENGTHS[leaves], outward, offset));
        let mut points: Vec<([f64; 2], f64)> = Vec::with_capacity(corners.len());
        for corner in corners {
            let far = points.last().map_or(0.0, |(last, far)| far + distance(*last, corner));
            points.push((corner, far));
        }
        let length = points[points.len() - 1].1;
        Path {
            exit_lane: leaves * 2 + outer,
            stop: ARM_LENGTHS[arm] - STOP_LINE,
            enter: ARM_LENGTHS[arm] - KERB,
            exit: length - (ARM_LENGTHS[leaves] - KERB),
            length,
            turn_speed,
            points,
        }
    }

    /// The point so far along it; before and behind it, its ends go on straight.
    pub fn point(&self, along: f64) -> [f64; 2] {
        let inner = &self.points[1..self.points.len() - 1];
        let after = 1 + inner.iter().take_while(|(_, far)| *far <= along).count();
        let (from, start) = self.points[after - 1];
        let (to, end) = self.points[after];
        let part = (along - start) / (end - start);
        [0, 1].map(|axis| from[axis] + (to[axis] - from[axis]) * part)
    }
}

/// The distance between two points.
pub(super) fn distance(from: [f64; 2], to: [f64; 2]) -> f64 {
    let (x, y) = (to[0] - from[0], to[1] - from[1]);
    (x * x + y * y).sqrt()
}

/// What an arm's lamps show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lamp {
    Red,
    Yellow,
    Green,
}

const GREEN_S: f64 = 10.0;
const YELLOW_S: f64 = 3.0;
const CLEARING_S: f64 = 1.0;
const ARM_S: f64 = GREEN_S + YELLOW_S + CLEARING_S;
const WALK_S: f64 = 8.0;
const PEOPLE_CLEARING_S: f64 = 12.0;
/// One round of all arms, and of the people.
pub(super) const CYCLE_S: f64 = 4.0 * ARM_S + WALK_S + PEOPLE_CLEARING_S;

/// The signals at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Signals {
    pub lamps: [Lamp; 4],
    /// Whether people may start to cross.
    pub walk: bool,
}

/// The signals so many seconds after the start: a fixed programme.
pub(super) fn signals(seconds: f64) -> Signals {
    let in_cycle = seconds - (seconds / CYCLE_S).floor() * CYCLE_S;
    let (turn, in_turn) = (
        (in_cycle / ARM_S).floor(),
        in_cycle - (in_cycle / ARM_S).floor() * ARM_S,
    );
    let mut lamps = [Lamp::Red; 4];
    // South, west, north, east.
    if turn < 4.0 {
        lamps[(turn as usize + 2) % 4] = match in_turn {
            t if t < GREEN_S => Lamp::Green,
            t if t < GREEN_S + YELLOW_S => Lamp::Yellow,
            _ => Lamp::Red,
        };
    }
    let walk = (4.0 * ARM_S..4.0 * ARM_S + WALK_S).contains(&in_cycle);
    Signals { lamps, walk }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_continuous_and_keep_to_their_side() {
        for path in paths() {
            assert!(path.stop < path.enter && path.enter < path.exit && path.exit < path.length);
            let mut last = path.point(0.0);
            for step in 1..(path.length * 2.0) as usize {
                let next = path.point(step as f64 * 0.5);
                assert!((distance(last, next) - 0.5).abs() < 0.02, "{last:?} {next:?}");
                last = next;
            }
        }
        let north_outer = &paths()[2];
        assert!(
            north_outer.point(0.0)[0] < 0.0,
            "southbound traffic drives in the west half"
        );
    }

    #[test]
    fn one_arm_goes_at_a_time() {
        for tenth in 0..2000 {
            let now = signals(f64::from(tenth) * 0.1);
            let open = now.lamps.iter().filter(|lamp| **lamp != Lamp::Red).count();
            assert!(open + usize::from(now.walk) <= 1);
        }
    }
}
