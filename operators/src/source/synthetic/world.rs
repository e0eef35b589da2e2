//! The junction over time: a simulation in fixed steps from the seed alone.
//!
//! Steps are 0.1 s whatever the frame rate; between two of them everything moves evenly. What happens
//! therefore depends on seed and density only, and a camera at 50 frames a second sees the same
//! traffic as one at 5.

use super::body::Body;
use super::people::People;
use super::roads::{self, Path, Signals, paths, signals};
use super::traffic::{STEP_S, Traffic};

/// Seconds that have passed before the first frame, so that it does not show an empty junction.
const WARM_UP_S: f64 = 1.5 * roads::CYCLE_S;

/// Everything that moves.
#[derive(Debug)]
pub(super) struct World {
    paths: Vec<Path>,
    traffic: Traffic,
    people: People,
    next_id: u64,
    steps: u64,
}

impl World {
    pub fn new(seed: u64, density: f64) -> Self {
        let mut world = World {
            paths: paths(),
            traffic: Traffic::new(seed, density),
            people: People::new(seed, density),
            next_id: 1,
            steps: 0,
        };
        while world.now() < WARM_UP_S {
            world.step();
        }
        world
    }

    fn now(&self) -> f64 {
        self.steps as f64 * STEP_S
    }

    fn step(&mut self) {
        let signals = signals(self.now());
        let crossing = self.people.are_crossing();
        self.traffic.step(&self.paths, &signals, crossing, &mut self.next_id);
        let may_cross = signals.walk && !self.traffic.is_inside(&self.paths, None);
        self.people.step(may_cross, &mut self.next_id);
        self.steps += 1;
    }

    /// What there is so many seconds after the first frame; moments must not go back.
    pub fn at(&mut self, seconds: f64) -> (Vec<Body>, Signals) {
        let moment = WARM_UP_S + seconds;
        while self.now() < moment {
            self.step();
        }
        let part = (1.0 - (self.now() - moment) / STEP_S).clamp(0.0, 1.0);
        let mut bodies = Vec::with_capacity(self.traffic.len() + self.people.len());
        self.traffic.bodies(&self.paths, part, &mut bodies);
        self.people.bodies(part, &mut bodies);
        (bodies, signals(moment))
    }

    #[cfg(test)]
    pub fn vehicles_so_far(&self) -> u64 {
        self.traffic.arrived()
    }
}
