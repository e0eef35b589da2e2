//! The last errors of a run, for those who come to look after something went wrong.
//!
//! Error ports carry every one; this keeps a bounded number, however many there are and however long they are.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::time::EventTime;

/// How many are kept.
pub const KEPT: usize = 200;

/// Of a cause this many bytes are kept.
const CAUSE_BYTES: usize = 512;

/// An error, or what a camera could not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentError {
    /// Counts the errors of a run, from 1.
    pub number: u64,
    /// When, on the wall.
    pub time: EventTime,
    /// The node; of a fault the camera.
    pub node: Arc<str>,
    /// The camera.
    pub camera: Arc<str>,
    /// The frame.
    pub frame: u64,
    /// One sentence.
    pub cause: Arc<str>,
}

/// The last errors, oldest first.
#[derive(Default)]
pub struct RecentErrors(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    total: u64,
    kept: VecDeque<RecentError>,
}

impl RecentErrors {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Notes one.
    pub fn note(&self, time: EventTime, node: Arc<str>, camera: Arc<str>, frame: u64, cause: &str) {
        let mut end = cause.len().min(CAUSE_BYTES);
        while !cause.is_char_boundary(end) {
            end -= 1;
        }
        let cause: Arc<str> = match end == cause.len() {
            true => cause.into(),
            false => format!("{}...", &cause[..end]).into(),
        };
        let mut ring = self.lock();
        ring.total += 1;
        let number = ring.total;
        if ring.kept.len() == KEPT {
            ring.kept.pop_front();
        }
        ring.kept.push_back(RecentError {
            number,
            time,
            node,
            camera,
            frame,
            cause,
        });
    }

    /// Those that are kept, oldest first.
    pub fn list(&self) -> Vec<RecentError> {
        self.lock().kept.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_ones_and_no_more_of_each_than_a_sentence() {
        let recent = RecentErrors::default();
        for frame in 0..1_000 {
            recent.note(EventTime(0), "n".into(), "c".into(), frame, &"é".repeat(10_000));
        }
        let list = recent.list();
        assert_eq!(list.len(), KEPT);
        assert_eq!((list[0].number, list[0].frame), (801, 800));
        assert!(list.iter().all(|error| error.cause.len() <= CAUSE_BYTES + 3));
    }
}
