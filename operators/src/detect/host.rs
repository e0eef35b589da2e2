//! The model on the host's processor: in one session, or in two that compute beside each other.
//!
//! Threads that compute one picture together wait for each other after every operator, and where a decoder or a lane has
//! taken one of their cores all of them wait. Two pictures beside each other wait for nobody: YOLO11n at 640 on two cores
//! makes a third more pictures that way, for 50 MB of weights and activations once more.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use flowrun_engine::errors::Result;
use flowrun_engine::infer::{Model, ModelOptions, OutputTensor, Provider};

use super::head::Head;
use super::input::Input;
use super::lane::DetectLane;
use super::undecoded;

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
    /// How its answer is read.
    pub head: Arc<dyn Head>,
    /// Whether it is open without its last steps; what a device then answers is read by the same head.
    pub is_undecoded: bool,
}

impl Host {
    /// Over a model that answers as `head` says, with so many threads; without its last steps where they can be done here.
    pub fn new(path: &Path, mut model: Model, threads: usize, input: &Input, head: Arc<dyn Head>) -> Self {
        let undecoded = undecoded::open(path, threads, &mut model, input).unwrap_or_else(|error| {
            tracing::debug!(cause = error.cause, "the model keeps its last steps");
            None
        });
        let is_undecoded = undecoded.is_some();
        let (model, head) = match undecoded {
            Some((model, head)) => (model, Arc::new(head) as Arc<dyn Head>),
            None => (model, head),
        };
        Host {
            sessions: vec![Mutex::new(model)],
            head,
            is_undecoded,
        }
    }

    /// Has another session of the same model compute beside those that are there.
    ///
    /// # Errors
    /// When it cannot be opened or run.
    pub fn join(&mut self, path: &Path, threads: usize, provider: Provider, input: &Input) -> Result<()> {
        let ladder = [provider];
        let options = ModelOptions {
            undecoded: self.is_undecoded,
            ..ModelOptions::new(threads, &ladder)
        };
        let mut other = Model::open(path, &options)?;
        // The first run is the slowest.
        input.run(&mut other, &DetectLane::new(input, None, 0), input.batch.most())?;
        self.sessions.push(Mutex::new(other));
        Ok(())
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
