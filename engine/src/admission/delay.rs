//! How long a camera's frames go unanswered, told by one of them at a time: the next to be admitted once the last one was
//! answered. Where answers take long that is the oldest, or one that came little later.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The frame that is looked at. Only the camera's own thread writes it.
#[derive(Default)]
pub(super) struct Watched {
    number: AtomicU64,
    since_us: AtomicU64,
}

impl Watched {
    /// For how long it has gone unanswered, where some frame has; not at all once this one was answered.
    pub fn delay(&self, answered_through: u64, now_us: u64) -> Duration {
        match answered_through > self.number.load(Ordering::Relaxed) {
            true => Duration::ZERO,
            false => Duration::from_micros(now_us.saturating_sub(self.since_us.load(Ordering::Relaxed))),
        }
    }

    /// Looks at a frame that is admitted, where no other is looked at.
    pub fn follow(&self, answered_through: u64, number: u64, now_us: u64) {
        if number == 0 || answered_through > self.number.load(Ordering::Relaxed) {
            self.number.store(number, Ordering::Relaxed);
            self.since_us.store(now_us, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Watched;

    proptest! {
        /// Frames come and are answered in order, at any times: what is told is how long one of those that wait has done so.
        #[test]
        fn the_delay_is_that_of_a_frame_that_waits(
            steps in prop::collection::vec((any::<bool>(), 1_u64..1000), 1..200)
        ) {
            let watched = Watched::default();
            let (mut now, mut answered, mut admitted) = (0, 0, Vec::new());
            for (is_answer, later) in steps {
                now += later;
                if !is_answer {
                    watched.follow(answered, admitted.len() as u64, now);
                    admitted.push(now);
                } else if answered < admitted.len() as u64 {
                    answered += 1;
                }
                let waiting = &admitted[answered as usize..];
                if !waiting.is_empty() {
                    let told = watched.delay(answered, now).as_micros() as u64;
                    prop_assert!(told == 0 || waiting.iter().any(|at| now - at == told));
                }
            }
        }

        /// Nothing is answered: the first frame is told of, however many follow.
        #[test]
        fn a_frame_that_is_never_answered_is_told_of_for_ever(gaps in prop::collection::vec(1_u64..1000, 1..50)) {
            let watched = Watched::default();
            let mut now = 7;
            for (number, gap) in gaps.iter().enumerate() {
                watched.follow(0, number as u64, now);
                now += gap;
                prop_assert_eq!(watched.delay(0, now).as_micros() as u64, now - 7);
            }
        }
    }
}
