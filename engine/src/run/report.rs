//! What a run did, in numbers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::admission::CameraCounts;
use crate::run::context::Context;

/// The whole run.
#[derive(Clone, Debug)]
pub struct Report {
    /// How long it took.
    pub elapsed: Duration,
    /// One a camera.
    pub cameras: Vec<CameraReport>,
    /// One a node.
    pub nodes: Vec<NodeReport>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// A camera's frames.
#[derive(Clone, Debug)]
pub struct CameraReport {
    /// Its name.
    pub name: String,
    /// What became of them.
    pub counts: CameraCounts,
}

/// A node's work.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// Frames answered.
    pub answers: u64,
    /// Rows emitted.
    pub rows: u64,
    /// Frames answered with an error.
    pub errors: u64,
    /// Frames inside it now.
    pub queue: i64,
    /// Median time from admission to its answer.
    pub p50: Duration,
    /// 99th percentile of it.
    pub p99: Duration,
}

impl Report {
    /// The state of a run, under way or ended.
    pub fn of(context: &Context) -> Self {
        let generation = context.generation();
        let cameras = generation.cameras().map(|(id, camera)| CameraReport {
            name: camera.name.clone(),
            counts: context.ledger.counts(id),
        });
        let nodes = generation.plan.nodes.iter().enumerate().map(|(index, node)| {
            let metrics = generation.node(index);
            NodeReport {
                name: node.name.clone(),
                answers: metrics.answers.load(Ordering::Relaxed),
                rows: metrics.rows.load(Ordering::Relaxed),
                errors: metrics.errors.load(Ordering::Relaxed),
                queue: metrics.queue.load(Ordering::Relaxed),
                p50: Duration::from_micros(metrics.latency_us.quantile(0.5)),
                p99: Duration::from_micros(metrics.latency_us.quantile(0.99)),
            }
        });
        Report {
            elapsed: context.clock.elapsed(),
            cameras: cameras.collect(),
            nodes: nodes.collect(),
            failure: context.failure(),
        }
    }
}
