//! A circuit breaker: what keeps failing is left alone for a while, and then tried again with care.
//!
//! Closed, it lets every call through and counts failures in a row. Open, it lets none through. After its rest it is half
//! open: so many trial calls go through; one that fails opens it again, and when all have succeeded it closes. Want of
//! memory is counted apart, because there is something to do about it first: make batches smaller. A device that is lost
//! opens it at once.
//!
//! It reads no clock: whoever calls says what time it is.

use std::time::Duration;

/// When it opens and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Failures in a row for want of memory that open it.
    pub memory_failures: u32,
    /// How long it stays open.
    pub rest: Duration,
    /// Calls that must succeed before it closes.
    pub trials: u32,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        BreakerPolicy {
            failures: 15,
            memory_failures: 3,
            rest: Duration::from_secs(30),
            trials: 10,
        }
    }
}

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// For want of memory.
    Memory,
    /// Because the device has gone: trying it again at once is of no use.
    Lost,
    /// Otherwise.
    Other,
}

/// How a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All calls go through.
    Closed,
    /// None does.
    Open,
    /// Trials do.
    HalfOpen,
}

impl BreakerState {
    /// Its name in metrics.
    pub fn word(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half-open",
        }
    }
}

/// The breaker of one provider.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    phase: Phase,
    opened: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed { failures: u32, memory: u32 },
    Open { since: Duration },
    HalfOpen { begun: u32, succeeded: u32 },
}

const CLOSED: Phase = Phase::Closed { failures: 0, memory: 0 };

impl Breaker {
    /// A closed breaker.
    pub fn new(policy: BreakerPolicy) -> Self {
        Breaker {
            policy,
            phase: CLOSED,
            opened: 0,
        }
    }

    /// How it stands.
    pub fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// How often it has opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Whether a call may be made now. One that was let through has to be answered by [`Breaker::succeeded`] or
    /// [`Breaker::failed`].
    pub fn permits(&mut self, now: Duration) -> bool {
        if let Phase::Open { since } = self.phase
            && now.saturating_sub(since) >= self.policy.rest
        {
            self.phase = Phase::HalfOpen { begun: 0, succeeded: 0 };
        }
        match &mut self.phase {
            Phase::Closed { .. } => true,
            Phase::Open { .. } => false,
            Phase::HalfOpen { begun, .. } if *begun < self.policy.trials.max(1) => {
                *begun += 1;
                true
            }
            Phase::HalfOpen { .. } => false,
        }
    }

    /// A call came back well.
    pub fn succeeded(&mut self) {
        match &mut self.phase {
            Phase::Closed { .. } => self.phase = CLOSED,
            // It was let through before the breaker opened, and says nothing about now.
            Phase::Open { .. } => {}
            Phase::HalfOpen { succeeded, .. } => {
                *succeeded += 1;
                if *succeeded >= self.policy.trials.max(1) {
                    self.phase = CLOSED;
                }
            }
        }
    }

    /// A call failed; whether that opened the breaker.
    pub fn failed(&mut self, now: Duration, failure: Failure) -> bool {
        let opens = match &mut self.phase {
            Phase::Closed { failures, memory } => match failure {
                Failure::Memory => {
                    *memory += 1;
                    *memory >= self.policy.memory_failures.max(1)
                }
                Failure::Lost => true,
                Failure::Other => {
                    *failures += 1;
                    *failures >= self.policy.failures.max(1)
                }
            },
            Phase::Open { .. } => false,
            Phase::HalfOpen { .. } => true,
        };
        if opens {
            self.phase = Phase::Open { since: now };
            self.opened += 1;
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_opens_rests_tries_and_closes() {
        let mut breaker = Breaker::new(BreakerPolicy::default());
        for call in 1..=15 {
            assert!(breaker.permits(SECOND));
            assert_eq!(breaker.failed(SECOND, Failure::Other), call == 15);
        }
        assert!(!breaker.permits(30 * SECOND), "29 s of rest are not 30");
        for trial in 0..10 {
            assert!(breaker.permits(31 * SECOND), "trial {trial}");
        }
        assert!(!breaker.permits(31 * SECOND), "ten trials and no more");
        (0..9).for_each(|_| breaker.succeeded());
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        breaker.succeeded();
        assert_eq!((breaker.state(), breaker.opened()), (BreakerState::Closed, 1));
    }

    #[test]
    fn a_trial_that_fails_opens_it_again() {
        let policy = BreakerPolicy {
            failures: 1,
            ..BreakerPolicy::default()
        };
        let mut breaker = Breaker::new(policy);
        assert!(breaker.failed(SECOND, Failure::Other));
        assert!(breaker.permits(31 * SECOND) && breaker.permits(31 * SECOND));
        breaker.succeeded();
        assert!(breaker.failed(32 * SECOND, Failure::Other));
        assert!(!breaker.permits(61 * SECOND));
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Open, "a call from before says nothing");
        assert!(breaker.permits(62 * SECOND));
        assert_eq!(breaker.opened(), 2);
    }

    #[test]
    fn memory_is_counted_apart() {
        let mut breaker = Breaker::new(BreakerPolicy::default());
        for _ in 0..14 {
            assert!(!breaker.failed(SECOND, Failure::Other));
        }
        assert!(!breaker.failed(SECOND, Failure::Memory) && !breaker.failed(SECOND, Failure::Memory));
        assert!(breaker.failed(SECOND, Failure::Memory));
    }

    #[test]
    fn a_lost_device_is_not_tried_again_at_once() {
        let mut breaker = Breaker::new(BreakerPolicy::default());
        assert!(breaker.failed(SECOND, Failure::Lost));
        assert!(!breaker.permits(30 * SECOND) && breaker.permits(31 * SECOND));
    }

    proptest! {
        #[test]
        fn it_opens_only_after_failures_in_a_row(calls in proptest::collection::vec(any::<Option<bool>>(), 0..200)) {
            let policy = BreakerPolicy { failures: 4, memory_failures: 2, ..BreakerPolicy::default() };
            let mut breaker = Breaker::new(policy);
            let (mut others, mut memory, mut now) = (0, 0, Duration::ZERO);
            for call in calls {
                now += SECOND / 10;
                if !breaker.permits(now) {
                    break;
                }
                match call {
                    None => {
                        breaker.succeeded();
                        (others, memory) = (0, 0);
                    }
                    Some(full) => {
                        (others, memory) = (others + u32::from(!full), memory + u32::from(full));
                        let failure = if full { Failure::Memory } else { Failure::Other };
                        prop_assert_eq!(breaker.failed(now, failure), others >= 4 || memory >= 2);
                    }
                }
            }
        }
    }
}
