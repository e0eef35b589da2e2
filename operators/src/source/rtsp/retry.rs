//! When a camera that went away is asked again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// How soon a first retry comes.
const SHORTEST: Duration = Duration::from_millis(500);
/// How long it takes at most.
const LONGEST: Duration = Duration::from_secs(30);
/// After this long in good order a session counts as stable, and what comes next as a new trouble.
pub(super) const STABLE_AFTER: Duration = Duration::from_secs(60);

/// Exponential backoff with jitter: between half and all of 0.5, 1, 2 ... 30 seconds, so that a thousand cameras of
/// one switch do not come back in step.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

/// Whether another attempt may help soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hope {
    /// The camera may be back in a moment.
    Soon,
    /// A person has to mend something first.
    Late,
}

impl Backoff {
    /// How long to wait now.
    pub fn wait(&mut self, hope: Hope) -> Duration {
        let whole = match hope {
            Hope::Soon => SHORTEST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST),
            Hope::Late => LONGEST,
        };
        self.attempts = self.attempts.saturating_add(1);
        // A new state has random keys.
        let chance = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
        let wait = whole.mul_f64(0.5 + 0.5 * chance);
        wait.max(SHORTEST)
    }

    /// How often it was asked since the last good order.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// All is well again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_and_longer_within_its_bounds() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..50).map(|_| backoff.wait(Hope::Soon)).collect();
        assert!(waits.iter().all(|wait| (SHORTEST..=LONGEST).contains(wait)));
        assert!(waits[2] >= SHORTEST * 2, "half of two seconds at least");
        assert!(waits[20..].iter().all(|wait| *wait >= LONGEST / 2));
        assert!(waits[20..].windows(2).any(|pair| pair[0] != pair[1]), "there is jitter");
        backoff.reset();
        assert_eq!(backoff.wait(Hope::Soon), SHORTEST);
    }

    #[test]
    fn what_a_person_must_mend_is_tried_rarely_from_the_start() {
        assert!(Backoff::default().wait(Hope::Late) >= LONGEST / 2);
    }
}
