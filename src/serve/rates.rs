//! How fast things go now: what counts do over the last seconds.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use flowrun_engine::metrics::Counts;
use flowrun_engine::run::context::Context;

/// How often counts are looked at.
pub const EVERY: Duration = Duration::from_secs(1);

/// Looks that are kept: rates are over as many seconds.
const LOOKS: usize = 5;

/// After this many looks latencies begin anew: they are over the last 10 to 20 seconds.
const LATENCY_LOOKS: usize = 10;

/// Counts at one moment.
struct Look {
    at: Duration,
    /// By name, since edits of the graph come between.
    cameras: HashMap<String, u64>,
    nodes: HashMap<String, u64>,
}

/// How a node does now.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeRate {
    /// Answers a second.
    pub answers: f64,
    /// Median time from admission to answer, in microseconds.
    pub p50_us: u64,
    /// 99th percentile of it.
    pub p99_us: u64,
}

/// How everything does now.
#[derive(Clone, Debug, Default)]
pub struct Now {
    cameras: HashMap<String, f64>,
    nodes: HashMap<String, NodeRate>,
}

impl Now {
    /// Frames a second that a camera delivers, whether they are let in or not.
    pub fn camera(&self, name: &str) -> f64 {
        self.cameras.get(name).copied().unwrap_or(0.0)
    }

    /// How a node does.
    pub fn node(&self, name: &str) -> NodeRate {
        self.nodes.get(name).copied().unwrap_or_default()
    }
}

/// The last looks at a run.
#[derive(Default)]
pub struct Rates(Mutex<History>);

#[derive(Default)]
struct History {
    looks: VecDeque<Look>,
    /// Latencies as they were at two earlier moments, the older first.
    latencies: VecDeque<HashMap<String, Counts>>,
    since_latencies: usize,
}

fn look(context: &Context) -> Look {
    let generation = context.generation();
    let cameras = generation.cameras().map(|(id, camera)| {
        let counts = context.ledger.counts(id);
        (camera.name.clone(), counts.admitted + counts.shed())
    });
    let nodes = generation.plan.nodes.iter().enumerate();
    let nodes = nodes.map(|(index, node)| {
        let answers = generation.node(index).answers.load(Ordering::Relaxed);
        (node.name.clone(), answers)
    });
    Look {
        at: context.clock.elapsed(),
        cameras: cameras.collect(),
        nodes: nodes.collect(),
    }
}

fn latencies(context: &Context) -> HashMap<String, Counts> {
    let generation = context.generation();
    let nodes = generation.plan.nodes.iter().enumerate();
    nodes
        .map(|(index, node)| (node.name.clone(), generation.node(index).latency_us.counts()))
        .collect()
}

impl Rates {
    fn history(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Looks at the counts; called every second.
    pub fn look(&self, context: &Context) {
        let look = look(context);
        let mut history = self.history();
        if history.looks.len() == LOOKS {
            history.looks.pop_front();
        }
        history.looks.push_back(look);
        if history.since_latencies == 0 {
            if history.latencies.len() == 2 {
                history.latencies.pop_front();
            }
            history.latencies.push_back(latencies(context));
        }
        history.since_latencies = (history.since_latencies + 1) % LATENCY_LOOKS;
    }

    /// How everything does at this moment.
    pub fn now(&self, context: &Context) -> Now {
        let (now, counted) = (look(context), latencies(context));
        let history = self.history();
        // Before the first look, and of what was not there then, all that has happened counts.
        let start = Look {
            at: Duration::ZERO,
            cameras: HashMap::new(),
            nodes: HashMap::new(),
        };
        let then = history.looks.front().unwrap_or(&start);
        let seconds = now.at.saturating_sub(then.at).as_secs_f64().max(1e-3);
        let rate = |now: u64, then: Option<&u64>| now.saturating_sub(then.copied().unwrap_or(0)) as f64 / seconds;
        let nodes = counted.into_iter().map(|(name, counted)| {
            let answers = now.nodes.get(&name).copied().unwrap_or(0);
            let earlier = history.latencies.front().and_then(|earlier| earlier.get(&name));
            let recent = earlier.map_or_else(|| counted.clone(), |earlier| counted.since(earlier));
            let rate = NodeRate {
                answers: rate(answers, then.nodes.get(&name)),
                p50_us: recent.quantile(0.5),
                p99_us: recent.quantile(0.99),
            };
            (name, rate)
        });
        let nodes = nodes.collect();
        let cameras = now.cameras.into_iter();
        Now {
            cameras: cameras
                .map(|(name, count)| {
                    let rate = rate(count, then.cameras.get(&name));
                    (name, rate)
                })
                .collect(),
            nodes,
        }
    }
}
