//! Providers one below the other while a run is under way: the best that works computes, and one that keeps failing is
//! left out until it has rested.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::breaker::{Breaker, BreakerPolicy, BreakerState, Failure};
use super::provider::Provider;
use crate::errors::Result;

/// Tells the time since some moment; tests bring their own.
pub type Now = Box<dyn Fn() -> Duration + Send + Sync>;

/// Providers of one model, the best first.
pub struct Rungs {
    rungs: Vec<Rung>,
    device: Option<usize>,
    now: Now,
}

struct Rung {
    provider: Provider,
    inner: Mutex<Inner>,
}

struct Inner {
    breaker: Breaker,
    /// The largest batch that it is given: halved when memory is short, and given back when it has come round.
    most: usize,
    whole: usize,
    served: u64,
    failed: u64,
    /// How the last call that failed did.
    failure: Option<Failure>,
}

/// How one provider stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RungState {
    /// Which.
    pub provider: Provider,
    /// The number of the device that it computes on, or stands in for.
    pub device: Option<usize>,
    /// Whether the next call would go to it.
    pub serves: bool,
    /// Its breaker.
    pub breaker: BreakerState,
    /// How often that has opened.
    pub opened: u64,
    /// Calls that it served.
    pub served: u64,
    /// Calls that failed on it.
    pub failed: u64,
    /// The largest batch that it is given now.
    pub most: usize,
    /// How the last call that failed did.
    pub failure: Option<Failure>,
}

/// What a call to one provider came to.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It served.
    Done(T),
    /// It failed; the next one below is tried.
    Failed(Failure, String),
}

impl Rungs {
    /// Providers with the largest batch of each, by the machine's clock.
    pub fn new(providers: &[(Provider, usize)], policy: BreakerPolicy) -> Self {
        let start = Instant::now();
        Rungs::with_clock(providers, policy, Box::new(move || start.elapsed()))
    }

    /// As [`Rungs::new`], by a clock of one's own.
    pub fn with_clock(providers: &[(Provider, usize)], policy: BreakerPolicy, now: Now) -> Self {
        let rung = |(provider, most): &(Provider, usize)| Rung {
            provider: *provider,
            inner: Mutex::new(Inner {
                breaker: Breaker::new(policy),
                most: *most,
                whole: *most,
                served: 0,
                failed: 0,
                failure: None,
            }),
        };
        Rungs {
            rungs: providers.iter().map(rung).collect(),
            device: None,
            now,
        }
    }

    /// Those of one of several devices, by its number.
    #[must_use]
    pub fn of_device(self, ordinal: usize) -> Self {
        Rungs {
            device: Some(ordinal),
            ..self
        }
    }

    /// Lets the best provider that may serve do so, and where it fails the next. `call` is told which, and the largest
    /// batch that it may be given. The lowest is always tried: there is nothing below it.
    ///
    /// # Errors
    /// The last failure, when none served.
    pub fn serve<T>(&self, mut call: impl FnMut(Provider, usize) -> Outcome<T>) -> Result<T> {
        let mut last = "no provider is there".to_owned();
        for (place, rung) in self.rungs.iter().enumerate() {
            let is_lowest = place + 1 == self.rungs.len();
            // A full device is given half as much before the next one is asked.
            loop {
                let most = {
                    let mut inner = rung.lock();
                    if !inner.breaker.permits((self.now)()) && !is_lowest {
                        break;
                    }
                    inner.most
                };
                match call(rung.provider, most) {
                    Outcome::Done(answer) => {
                        let mut inner = rung.lock();
                        inner.served += 1;
                        let rested = inner.breaker.state() == BreakerState::HalfOpen;
                        inner.breaker.succeeded();
                        if rested && inner.breaker.state() == BreakerState::Closed {
                            inner.most = inner.whole;
                            tracing::info!(provider = %rung.provider, "the provider works again");
                        }
                        return Ok(answer);
                    }
                    Outcome::Failed(failure, cause) => {
                        let again = rung.fail(failure, &cause, (self.now)());
                        last = format!("{}: {cause}", rung.provider);
                        if !again {
                            break;
                        }
                    }
                }
            }
        }
        Err(last.into())
    }

    /// The provider that the next call would go to.
    pub fn serving(&self) -> Option<Provider> {
        let open = |rung: &&Rung| rung.lock().breaker.state() == BreakerState::Open;
        let best = self.rungs.iter().find(|rung| !open(rung)).or(self.rungs.last());
        best.map(|rung| rung.provider)
    }

    /// How each stands, the best first.
    pub fn states(&self) -> Vec<RungState> {
        let serving = self.serving();
        let state = |rung: &Rung| {
            let inner = rung.lock();
            RungState {
                provider: rung.provider,
                device: self.device,
                serves: serving == Some(rung.provider),
                breaker: inner.breaker.state(),
                opened: inner.breaker.opened(),
                served: inner.served,
                failed: inner.failed,
                most: inner.most,
                failure: inner.failure,
            }
        };
        self.rungs.iter().map(state).collect()
    }
}

impl Rung {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a failure; whether a smaller batch is worth trying.
    fn fail(&self, failure: Failure, cause: &str, now: Duration) -> bool {
        let mut inner = self.lock();
        inner.failed += 1;
        inner.failure = Some(failure);
        let opened = inner.breaker.failed(now, failure);
        if opened {
            tracing::error!(provider = %self.provider, cause, "the provider keeps failing; the next one serves until it has rested");
        } else if crate::errors::worth_logging(inner.failed - 1) {
            tracing::warn!(provider = %self.provider, cause, "the provider failed; the next one serves this batch");
        }
        if failure != Failure::Memory || inner.most <= 1 {
            return false;
        }
        inner.most /= 2;
        tracing::warn!(provider = %self.provider, most = inner.most, "memory is short; batches are smaller from here on");
        !opened
    }
}

impl fmt::Debug for Rungs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.states()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn rungs() -> (Rungs, Arc<AtomicU64>) {
        let clock = Arc::new(AtomicU64::new(0));
        let reads = clock.clone();
        let now = Box::new(move || Duration::from_secs(reads.load(Ordering::Relaxed)));
        let providers = [(Provider::TensorRt, 32), (Provider::Cuda, 32), (Provider::Cpu, 1)];
        (Rungs::with_clock(&providers, BreakerPolicy::default(), now), clock)
    }

    /// A call on which these providers fail.
    fn failing(broken: &[Provider]) -> impl FnMut(Provider, usize) -> Outcome<Provider> {
        move |provider, _| match broken.contains(&provider) {
            true => Outcome::Failed(Failure::Other, "broken".into()),
            false => Outcome::Done(provider),
        }
    }

    #[test]
    fn the_next_one_serves_while_the_best_rests() {
        let (rungs, clock) = rungs();
        for _ in 0..15 {
            assert_eq!(rungs.serve(failing(&[Provider::TensorRt])).unwrap(), Provider::Cuda);
        }
        assert_eq!(rungs.serving(), Some(Provider::Cuda));
        let states = rungs.states();
        assert_eq!(
            (states[0].breaker, states[0].failed, states[1].served),
            (BreakerState::Open, 15, 15)
        );
        assert_eq!(
            rungs.serve(failing(&[])).unwrap(),
            Provider::Cuda,
            "the best is not asked"
        );
        clock.store(30, Ordering::Relaxed);
        for _ in 0..10 {
            assert_eq!(rungs.serve(failing(&[])).unwrap(), Provider::TensorRt);
        }
        assert_eq!(rungs.states()[0].breaker, BreakerState::Closed);
    }

    #[test]
    fn the_lowest_is_always_asked_and_its_cause_told() {
        let (rungs, _) = rungs();
        let all = [Provider::TensorRt, Provider::Cuda, Provider::Cpu];
        for _ in 0..40 {
            assert_eq!(rungs.serve(failing(&all)).unwrap_err().cause, "CPU: broken");
        }
        assert_eq!(rungs.serve(failing(&all[..2])).unwrap(), Provider::Cpu);
    }

    #[test]
    fn memory_first_shrinks_the_batch_and_opens_after_three() {
        let (rungs, clock) = rungs();
        let full = |limit: usize| {
            move |provider, most| match provider == Provider::TensorRt && most > limit {
                true => Outcome::Failed(Failure::Memory, "full".into()),
                false => Outcome::Done((provider, most)),
            }
        };
        assert_eq!(
            rungs.serve(full(8)).unwrap(),
            (Provider::TensorRt, 8),
            "two halvings serve the same call"
        );
        assert_eq!(
            rungs.serve(full(8)).unwrap(),
            (Provider::TensorRt, 8),
            "and it stays so"
        );
        assert_eq!(
            rungs.serve(full(0)).unwrap(),
            (Provider::Cuda, 32),
            "three failures in a row open it"
        );
        assert_eq!(rungs.states()[0].breaker, BreakerState::Open);
        clock.store(31, Ordering::Relaxed);
        (0..10).for_each(|_| drop(rungs.serve(full(32))));
        assert_eq!(
            rungs.states()[0].most,
            32,
            "a provider that has come round gets whole batches"
        );
    }
}
