//! What the renderer of any node needs to know of its place in the run.

use std::sync::Arc;

use flowrun_dsl::plan::{NodePlan, OnError, Plan};

use crate::admission::Leaf;
use crate::metrics::NodeMetrics;
use crate::run::context::{Context, Generation};

/// A node of one version of the graph.
#[derive(Clone)]
pub struct Node {
    /// Its index in the plan.
    pub index: usize,
    /// Its name.
    pub name: Arc<str>,
    /// The plan.
    pub plan: Arc<Plan>,
    /// Its counts.
    pub metrics: Arc<NodeMetrics>,
    /// Where its answers leave the graph, if they do.
    pub leaf: Option<Leaf>,
    /// What it does about failures.
    pub on_error: OnError,
    /// Whether somebody reads its error port.
    pub errors_wanted: bool,
    /// The run.
    pub context: Arc<Context>,
}

impl Node {
    /// At an index of a version's plan.
    pub fn of(generation: &Generation, index: usize, errors_wanted: bool, context: &Arc<Context>) -> Self {
        let plan = &generation.plan.nodes[index];
        Node {
            index,
            name: plan.name.as_str().into(),
            metrics: generation.node(index).clone(),
            leaf: context.ledger.leaf(&plan.name),
            on_error: plan.on_error,
            errors_wanted,
            context: context.clone(),
            plan: generation.plan.clone(),
        }
    }

    /// Its entry in the plan.
    pub fn plan(&self) -> &NodePlan {
        &self.plan.nodes[self.index]
    }
}
