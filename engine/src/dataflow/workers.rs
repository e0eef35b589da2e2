//! All workers of a run, as the one that commands them sees them.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use crate::dataflow::instances::SavedStates;
use crate::dataflow::site::{Command, Reply, Site};
use crate::time::Tick;

/// Runs workers until they have been told to close and everything has ended.
///
/// # Errors
/// A worker that could not be started, or that panicked.
pub fn run_workers(workers: usize, replies: Sender<Reply>) -> Result<(), String> {
    let mut config = timely::Config::process(workers);
    let options = differential_dataflow::Config::default().idle_merge_effort(Some(1_000));
    differential_dataflow::configure(&mut config.worker, &options);
    let replies = Mutex::new(replies);
    let guards = timely::execute(config, move |worker| {
        let replies = replies.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        Site::run(worker, replies);
    })?;
    guards.join().into_iter().collect()
}

/// Workers under way, each of which gets the same commands in the same order.
pub struct Workers {
    sites: Vec<(Sender<Command>, Thread)>,
    replies: Receiver<Reply>,
    /// Fragments of the version before that have answered their last frame since they were last asked for.
    retired: usize,
    knew: Vec<(String, SavedStates)>,
    thread: JoinHandle<Result<(), String>>,
}

/// The workers have gone: one of them panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Workers {
    /// Starts them.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(count: usize) -> std::io::Result<Self> {
        let (sender, replies) = channel();
        let run = move || run_workers(count, sender);
        let thread = std::thread::Builder::new().name("workers".into()).spawn(run)?;
        let mut sites: Vec<_> = (0..count).map(|_| None).collect();
        while sites.iter().any(Option::is_none) {
            match replies.recv() {
                Ok(Reply::Hello(index, sender, thread)) => sites[index] = Some((sender, thread)),
                Ok(_) => {}
                Err(_) => return Err(std::io::Error::other("the dataflow's workers could not be started")),
            }
        }
        Ok(Workers {
            sites: sites.into_iter().flatten().collect(),
            replies,
            retired: 0,
            knew: Vec::new(),
            thread,
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sites.len()
    }

    /// Tells all of them.
    pub fn tell(&self, command: &Command) {
        for (sender, thread) in &self.sites {
            let _ = sender.send(command.clone());
            thread.unpark();
        }
    }

    /// Tells all of them and waits until each has done so; gives the furthest tick that one of them said.
    ///
    /// # Errors
    /// When a worker has panicked.
    pub fn ask(&mut self, command: &Command) -> Result<Tick, Gone> {
        self.tell(command);
        let (mut answered, mut furthest) = (0, 0);
        while answered < self.sites.len() {
            match self.next(Duration::from_millis(200))? {
                Some(Reply::Held(tick)) => {
                    furthest = furthest.max(tick);
                    answered += 1;
                }
                Some(Reply::Done) => answered += 1,
                _ => {}
            }
        }
        Ok(furthest)
    }

    /// Waits for a fragment that retires, at most this long; gives how many have, over all workers, since the last
    /// [`Workers::take_retired`].
    ///
    /// # Errors
    /// When a worker has panicked.
    pub fn await_retired(&mut self, at_most: Duration) -> Result<usize, Gone> {
        self.next(at_most)?;
        Ok(self.retired)
    }

    /// What the nodes of retired fragments knew; counting begins anew.
    pub fn take_retired(&mut self) -> Vec<(String, SavedStates)> {
        self.retired = 0;
        std::mem::take(&mut self.knew)
    }

    fn next(&mut self, at_most: Duration) -> Result<Option<Reply>, Gone> {
        match self.replies.recv_timeout(at_most) {
            Ok(Reply::Retired(knew)) => {
                self.retired += 1;
                self.knew.extend(knew);
                Ok(None)
            }
            Ok(reply) => Ok(Some(reply)),
            // A worker that panics takes its thread down, and the others may wait for it.
            Err(_) if self.thread.is_finished() => Err(Gone),
            Err(_) => Ok(None),
        }
    }

    /// Whether all have ended.
    pub fn are_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for their end.
    ///
    /// # Errors
    /// A worker's panic.
    pub fn join(self) -> Result<(), String> {
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err("the workers' thread panicked".into()))
    }
}
