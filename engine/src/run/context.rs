//! What all parts of one run share, and what changes with each version of its graph.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use flowrun_dsl::plan::{NodePlan, Plan};

use crate::admission::Ledger;
use crate::audience::Audience;
use crate::clock::Clock;
use crate::device::Decoders;
use crate::health::Health;
use crate::infer::Builds;
use crate::metrics::NodeMetrics;
use crate::names::Names;
use crate::operator::{NodeSetup, Stop};
use crate::recent::RecentErrors;
use crate::rows::CameraId;

/// One version of a run's graph.
pub struct Generation {
    /// Counts the versions of a run, from 1.
    pub number: u64,
    /// What runs.
    pub plan: Arc<Plan>,
    /// By the node's index in the plan. A node that an edit leaves keeps its counts.
    metrics: Vec<Arc<NodeMetrics>>,
}

impl Generation {
    /// The first of a run.
    pub fn first(plan: Arc<Plan>) -> Self {
        Generation {
            number: 1,
            metrics: plan.nodes.iter().map(|_| Arc::default()).collect(),
            plan,
        }
    }

    /// The one after this; `before` tells what a node was called in it, if it was there.
    pub fn next(&self, plan: Arc<Plan>, before: impl Fn(&str) -> Option<String>) -> Self {
        let metrics = plan.nodes.iter().map(|node| {
            let known = before(&node.name);
            let nodes = &self.plan.nodes;
            let before = known.and_then(|known| nodes.iter().position(|before| before.name == known));
            before.map_or_else(Arc::default, |before| self.metrics[before].clone())
        });
        Generation {
            number: self.number + 1,
            metrics: metrics.collect(),
            plan,
        }
    }

    /// A node's metrics, by its index in the plan.
    pub fn node(&self, node: usize) -> &Arc<NodeMetrics> {
        &self.metrics[node]
    }

    /// The plan's cameras with the numbers by which rows and the ledger know them.
    pub fn cameras(&self) -> impl Iterator<Item = (CameraId, &flowrun_dsl::plan::CameraPlan)> {
        let cameras = self.plan.cameras.iter().enumerate();
        cameras.map(|(index, camera)| (CameraId(self.plan.camera_number(index)), camera))
    }
}

/// A run's names, clock, ledger, and the version of its graph that is at work.
pub struct Context {
    generation: ArcSwap<Generation>,
    /// Its words.
    pub names: Arc<Names>,
    /// Its engine time.
    pub clock: Clock,
    /// Frames admitted, answered and shed.
    pub ledger: Ledger,
    /// How cameras do.
    pub health: Health,
    /// The last errors.
    pub recent: RecentErrors,
    /// Those who watch.
    pub audience: Arc<Audience>,
    /// Where its cameras decode.
    pub decoders: Decoders,
    /// The engines that its models lack.
    pub builds: Builds,
    /// Asked when the run is to end.
    pub stop: Stop,
    failure: Mutex<Option<String>>,
    failed: AtomicBool,
}

impl Context {
    /// A run that begins with a plan, its cameras open.
    pub fn new(plan: Arc<Plan>, names: Arc<Names>, clock: Clock, decoders: Decoders, stop: Stop) -> Self {
        Context {
            names,
            ledger: Ledger::of(&plan),
            health: Health::of(&plan),
            recent: RecentErrors::default(),
            audience: Arc::default(),
            generation: ArcSwap::from_pointee(Generation::first(plan)),
            clock,
            decoders,
            builds: Builds::default(),
            stop,
            failure: Mutex::default(),
            failed: AtomicBool::new(false),
        }
    }

    /// The version of the graph that is at work.
    pub fn generation(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// From now on another version is at work.
    pub(crate) fn advance(&self, generation: Arc<Generation>) {
        self.generation.store(generation);
    }

    /// A node's place in this run, by a plan that is at work or is being prepared.
    pub fn setup<'a>(&'a self, plan: &'a Plan, node: &'a NodePlan) -> NodeSetup<'a> {
        NodeSetup {
            plan,
            node,
            names: &self.names,
            audience: &self.audience,
            devices: self.decoders.devices(),
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
