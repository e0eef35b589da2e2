//! One end of the graph as one camera sees it, and the door through which that camera's frames come.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Thread;

use crate::batch::Answer;
use crate::roster::Roster;

/// A number that is not known yet.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// Where a camera's frames enter, and who is to be woken when they may.
pub(super) struct Door {
    pub waiting: AtomicBool,
    thread: Mutex<Option<Thread>>,
    /// The first number that goes through the newest version of the graph; [`UNKNOWN`] until it has come.
    pub first: AtomicU64,
    first_frame: AtomicU64,
}

impl Default for Door {
    fn default() -> Self {
        Door {
            waiting: AtomicBool::new(false),
            thread: Mutex::default(),
            first: AtomicU64::new(0),
            first_frame: AtomicU64::new(0),
        }
    }
}

impl Door {
    pub fn attend(&self, thread: Thread) {
        *self.thread.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(thread);
    }

    pub fn wake(&self) {
        if let Some(thread) = &*self.thread.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            thread.unpark();
        }
    }

    /// Lets a waiting source look again.
    pub fn open(&self) {
        if self.waiting.load(Ordering::SeqCst) && self.waiting.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    pub fn first_after_cut(&self, number: u64, frame: u64) {
        if self.first.load(Ordering::Relaxed) == UNKNOWN {
            self.first_frame.store(frame, Ordering::Relaxed);
            self.first.store(number, Ordering::SeqCst);
        }
    }

    pub fn first_frame(&self) -> Option<u64> {
        (self.first.load(Ordering::SeqCst) != UNKNOWN).then(|| self.first_frame.load(Ordering::Relaxed))
    }
}

/// What a leaf has answered of one camera.
pub struct LeafCount {
    door: Arc<Door>,
    /// The next number that it should answer; [`UNKNOWN`] in a leaf that came with an edit and has answered nothing yet.
    through: AtomicU64,
    doubled: AtomicU64,
    lost: AtomicU64,
    /// When it answered last, and the longest pause between two answers, in microseconds since the run began.
    last_us: AtomicU64,
    pub(super) longest_gap_us: AtomicU64,
    /// Whether an edit took it away: it owes what was admitted before.
    pub(super) retiring: AtomicBool,
}

impl LeafCount {
    pub(super) fn new(door: Arc<Door>, through: u64) -> Self {
        LeafCount {
            door,
            through: AtomicU64::new(through),
            doubled: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            last_us: AtomicU64::new(0),
            longest_gap_us: AtomicU64::new(0),
            retiring: AtomicBool::new(false),
        }
    }

    /// The number up to which it owes nothing.
    pub(super) fn answered_through(&self) -> u64 {
        let (through, first) = (
            self.through.load(Ordering::Acquire),
            self.door.first.load(Ordering::SeqCst),
        );
        if self.retiring.load(Ordering::SeqCst) {
            return if through >= first { UNKNOWN } else { through };
        }
        // Of a leaf that came with an edit nothing is wanted before the first number that goes to it.
        if through == UNKNOWN { first } else { through }
    }

    /// What it owes, when nothing can come any more.
    pub(super) fn owed(&self, admitted: u64) -> u64 {
        let through = self.through.load(Ordering::SeqCst);
        let last = self.door.first.load(Ordering::SeqCst).min(admitted);
        if through == UNKNOWN {
            0
        } else {
            last.saturating_sub(through)
        }
    }

    /// Answers that came twice, and those that never came.
    pub(super) fn faults(&self) -> (u64, u64) {
        (self.doubled.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }

    fn answered(&self, number: u64, now_us: u64) {
        // One worker owns a camera, so nobody else writes these.
        let through = self.through.load(Ordering::Relaxed);
        let expected = if through == UNKNOWN {
            self.door.first.load(Ordering::SeqCst).min(number)
        } else {
            through
        };
        if number < expected {
            self.doubled.fetch_add(1, Ordering::Relaxed);
        } else {
            self.lost.fetch_add(number - expected, Ordering::Relaxed);
            self.through.store(number + 1, Ordering::SeqCst);
        }
        let last = self.last_us.swap(now_us, Ordering::Relaxed);
        if last > 0 {
            self.longest_gap_us
                .fetch_max(now_us.saturating_sub(last), Ordering::Relaxed);
        }
        self.door.open();
    }
}

/// A node whose answers leave the graph.
#[derive(Clone, Default)]
pub struct Leaf(pub(super) Arc<Roster<LeafCount>>);

impl Leaf {
    /// Notes answers that have left, at this many microseconds since the run began.
    pub fn answered(&self, answers: &[Answer], now_us: u64) {
        for answer in answers {
            self.0
                .with(answer.at.camera, |count| count.answered(answer.number, now_us));
        }
    }
}
