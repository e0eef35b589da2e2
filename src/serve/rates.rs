//! How fast things go now: what counts do over the last seconds.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use flowrun_engine::metrics::Counts;
use flowrun_engine::rows::CameraId;
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
    cameras: Vec<u64>,
    nodes: Vec<u64>,
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
    /// Frames a second that each camera delivers, whether they are let in or not.
    pub cameras: Vec<f64>,
    /// One a node.
    pub nodes: Vec<NodeRate>,
}

/// The last looks at a run.
#[derive(Default)]
pub struct Rates(Mutex<History>);

#[derive(Default)]
struct History {
    looks: VecDeque<Look>,
    /// Latencies as they were at two earlier moments, the older first.
    latencies: VecDeque<Vec<Counts>>,
    since_latencies: usize,
}

fn look(context: &Context) -> Look {
    let cameras = (0..context.plan.cameras.len()).map(|camera| {
        let counts = context.ledger.counts(CameraId(camera as u32));
        counts.admitted + counts.shed()
    });
    let nodes = (0..context.plan.nodes.len()).map(|node| context.metrics.node(node).answers.load(Ordering::Relaxed));
    Look {
        at: context.clock.elapsed(),
        cameras: cameras.collect(),
        nodes: nodes.collect(),
    }
}

fn latencies(context: &Context) -> Vec<Counts> {
    let nodes = 0..context.plan.nodes.len();
    nodes
        .map(|node| context.metrics.node(node).latency_us.counts())
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
        // Before the first look all that has happened counts.
        let start = Look {
            at: Duration::ZERO,
            cameras: vec![0; now.cameras.len()],
            nodes: vec![0; now.nodes.len()],
        };
        let then = history.looks.front().unwrap_or(&start);
        let seconds = now.at.saturating_sub(then.at).as_secs_f64().max(1e-3);
        let rate = |(now, then): (&u64, &u64)| now.saturating_sub(*then) as f64 / seconds;
        let answers = now.nodes.iter().zip(&then.nodes).map(rate);
        let nodes = answers.zip(&counted).enumerate().map(|(node, (answers, counted))| {
            let recent = match history.latencies.front() {
                Some(earlier) => counted.since(&earlier[node]),
                None => counted.clone(),
            };
            NodeRate {
                answers,
                p50_us: recent.quantile(0.5),
                p99_us: recent.quantile(0.99),
            }
        });
        Now {
            cameras: now.cameras.iter().zip(&then.cameras).map(rate).collect(),
            nodes: nodes.collect(),
        }
    }
}
