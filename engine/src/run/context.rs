//! What all parts of one run share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use flowrun_dsl::plan::Plan;

use crate::admission::Ledger;
use crate::audience::Audience;
use crate::clock::Clock;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::names::Names;
use crate::operator::Stop;
use crate::recent::RecentErrors;

/// A run's plan, names, clock, ledger and metrics.
pub struct Context {
    /// What runs.
    pub plan: Arc<Plan>,
    /// Its words.
    pub names: Arc<Names>,
    /// Its engine time.
    pub clock: Clock,
    /// Frames admitted, answered and shed.
    pub ledger: Ledger,
    /// Rates, queues and latencies.
    pub metrics: Metrics,
    /// How cameras do.
    pub health: Health,
    /// The last errors.
    pub recent: RecentErrors,
    /// Those who watch.
    pub audience: Arc<Audience>,
    /// Asked when the run is to end.
    pub stop: Stop,
    failure: Mutex<Option<String>>,
    failed: AtomicBool,
}

impl Context {
    /// A run of a plan.
    pub fn new(plan: Arc<Plan>, names: Arc<Names>, clock: Clock, stop: Stop) -> Self {
        Context {
            names,
            ledger: Ledger::of(&plan),
            metrics: Metrics::of(&plan),
            health: Health::of(&plan),
            recent: RecentErrors::default(),
            audience: Arc::new(Audience::of(&plan)),
            plan,
            clock,
            stop,
            failure: Mutex::default(),
            failed: AtomicBool::new(false),
        }
    }

    /// Ends the run with a failure; the first one counts.
    pub fn fail(&self, cause: String) {
        let mut failure = self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        failure.get_or_insert(cause);
        self.failed.store(true, Ordering::Release);
        self.end();
    }

    /// Lets every source end; what was admitted is still answered and written.
    pub fn end(&self) {
        self.stop.ask();
        self.ledger.wake_all();
    }

    /// Why the run failed, if it did.
    pub fn failure(&self) -> Option<String> {
        if !self.failed.load(Ordering::Acquire) {
            return None;
        }
        self.failure
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }
}
