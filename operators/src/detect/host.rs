//! The model on the host's processor: in one session, or in two that compute beside each other.
//!
//! Threads that compute one picture together wait for each other after every operator, and where a decoder or a lane has
//! taken one of their cores all of them wait. Two pictures beside each other wait for nobody: YOLO11n at 640 on two cores
//! makes a third more pictures that way, for 50 MB of weights and activations once more.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use flowrun_engine::errors::Result;
use flowrun_engine::infer::{Model, OutputTensor};

use super::input::Input;
use super::lane::DetectLane;

/// The threads of each session.
pub(super) fn shares(threads: usize, lanes: usize) -> Vec<usize> {
    let sessions = threads.clamp(1, lanes.max(1));
    (0..sessions)
        .map(|session| threads.max(1) / sessions + usize::from(session < threads % sessions))
        .collect()
}

/// One model, in one session or more.
pub(super) struct Host {
    sessions: Vec<Mutex<Model>>,
}

impl Host {
    /// Over a session.
    pub fn new(first: Model) -> Self {
        Host {
            sessions: vec![Mutex::new(first)],
        }
    }

    /// Has another session of the same model compute beside those that are there.
    pub fn join(&mut self, other: Model) {
        self.sessions.push(Mutex::new(other));
    }

    /// A session that nobody uses; with fewer than there are lanes it waits for the first.
    fn free(&self) -> MutexGuard<'_, Model> {
        let free = self.sessions.iter().find_map(|session| match session.try_lock() {
            Ok(session) => Some(session),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        free.unwrap_or_else(|| self.sessions[0].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Computes what lies in a lane's tensor.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn run(&self, input: &Input, lane: &DetectLane, count: usize) -> Result<OutputTensor> {
        input.run(&mut self.free(), lane, count)
    }
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn threads_are_shared_out_among_as_many_sessions_as_there_are_lanes() {
        assert_eq!(shares(1, 2), [1]);
        assert_eq!(shares(2, 2), [1, 1]);
        assert_eq!(shares(5, 2), [3, 2]);
        assert_eq!(shares(16, 2), [8, 8]);
        assert_eq!(shares(0, 2), [1], "somebody must compute");
    }
}
