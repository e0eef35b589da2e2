//! Operators that wait or compute long, away from the timely workers.

use std::time::Duration;

use flowrun_dsl::params::Params;

use crate::batch::{Input, RowType};
use crate::errors::Result;
use crate::metrics::ComputeState;
use crate::operator::setup::{NodeSetup, PerCamera};
use crate::rows::{At, CameraId};

/// How jobs are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPolicy {
    /// Threads that take batches; two let one prepare its input while the other computes.
    pub lanes: usize,
    /// The most jobs in a batch.
    pub size: usize,
    /// How long a job may wait for others: one of a camera of usual priority; urgent ones wait less, patient ones longer.
    pub deadline: Duration,
}

/// Which lane takes a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneChoice {
    /// Whichever is free: a lane keeps nothing from frame to frame but scratch memory.
    Any,
    /// Each camera has a lane, which gets all its frames in order: a lane may keep what belongs to a camera. A lane that
    /// panics is replaced, and what it kept is lost.
    ByCamera,
}

/// One frame to answer.
pub struct Job<I: Input, O> {
    /// Which frame of which camera.
    pub at: At,
    /// Its rows.
    pub input: I::Held,
    /// The answer; a job left without one is answered with an error row.
    pub result: Option<Result<Vec<O>>>,
}

/// An operator on threads of its own that works on batches over all cameras, without memory between frames unless it
/// asks for a lane by camera ([`LaneChoice::ByCamera`]).
/// Results may come in any order: the engine puts them back into each camera's.
pub trait Offload: Sized + Send + Sync + 'static {
    /// The node's name in a graph.
    const KIND: &'static str;
    /// Names of the ports, in the order of `Input`; the first is fed by the line above. A frame becomes a job when all
    /// ports have it.
    const PORTS: &'static [&'static str] = &["rows"];
    /// The parameters.
    type Params: Params;
    /// What it reads.
    type Input: Input<Held: Send>;
    /// What it emits.
    type Output: RowType;
    /// What one thread keeps from batch to batch: scratch memory, and with [`LaneChoice::ByCamera`] its cameras' state.
    type Lane: Send;
    /// Which lane takes a frame.
    const LANE: LaneChoice = LaneChoice::Any;

    /// Builds the one instance that all lanes share: opens devices, loads models.
    ///
    /// # Errors
    /// What is wrong, and what mends it.
    fn new(params: PerCamera<Self::Params>, setup: &NodeSetup<'_>) -> Result<Self>;

    /// The same operator with new values of `live` parameters, or for other cameras: it shares what is heavy, and works
    /// on the same lanes, where frames of both versions may follow on each other. None where it has to be built anew.
    ///
    /// # Errors
    /// What is wrong with the new values.
    fn revise(&self, params: PerCamera<Self::Params>, setup: &NodeSetup<'_>) -> Result<Option<Self>> {
        let _ = (params, setup);
        Ok(None)
    }

    /// How jobs are gathered.
    fn policy(&self) -> BatchPolicy;

    /// The fewest lanes of a group that work; those above it work while all others have a batch and another is ready. All,
    /// unless it says otherwise.
    fn least_lanes(&self) -> usize {
        self.policy().lanes
    }

    /// Sizes of batches that leave nothing unused, where not every size does: as many wait together as fill one well. The
    /// largest is the most.
    fn sizes(&self) -> Vec<usize> {
        vec![self.policy().size]
    }

    /// What it computes with, for those who watch.
    fn compute(&self) -> ComputeState {
        ComputeState::default()
    }

    /// Scratch memory of a thread.
    ///
    /// # Errors
    /// When it cannot be had.
    fn lane(&self) -> Result<Self::Lane>;

    /// Groups of lanes, as many lanes each as the policy says, that share no batch: one a device. With
    /// [`LaneChoice::ByCamera`] there is one.
    fn groups(&self) -> usize {
        1
    }

    /// The group that answers a camera's frames now. Where that changes, frames that wait go over to the new one.
    fn group(&self, camera: CameraId) -> usize {
        let _ = camera;
        0
    }

    /// Scratch memory of a thread of a group.
    ///
    /// # Errors
    /// When it cannot be had.
    fn lane_of(&self, group: usize) -> Result<Self::Lane> {
        let _ = group;
        self.lane()
    }

    /// So many jobs wait for a group's lanes now.
    fn waits(&self, group: usize, jobs: usize) {
        let _ = (group, jobs);
    }

    /// Answers a batch. Each frame fails or succeeds by itself.
    fn process(&self, lane: &mut Self::Lane, jobs: &mut [Job<Self::Input, Self::Output>]);
}
