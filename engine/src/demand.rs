//! Whether anybody wants what a node makes: a picture that nobody watches is not encoded.
//!
//! A node's rows of one camera are wanted while somebody holds a [`Watching`] on them. A sink that always takes all it
//! is given, and an operator that reads on, are wants for the whole run; a live page's sink takes one for as long as
//! it has viewers. Whether a frame is wanted is an input from outside like the frame itself: only nodes whose
//! results leave through such sinks may ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flowrun_dsl::plan::Plan;

use crate::rows::CameraId;

/// Who wants one node's rows of one camera.
#[derive(Clone, Debug, Default)]
pub struct Demand(Arc<AtomicUsize>);

impl Demand {
    /// Wants the rows until the result is dropped.
    #[must_use]
    pub fn watch(&self) -> Watching {
        self.0.fetch_add(1, Ordering::Relaxed);
        Watching(self.0.clone())
    }
    /// Whether anybody does.
    pub fn wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// Somebody wants the rows.
#[derive(Debug)]
pub struct Watching(Arc<AtomicUsize>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The demands on all nodes of a plan.
pub struct Demands {
    nodes: Vec<Vec<Demand>>,
}

impl Demands {
    /// None yet, on each node and camera of a plan.
    pub fn of(plan: &Plan) -> Self {
        let cameras = || plan.cameras.iter().map(|_| Demand::default()).collect();
        Demands {
            nodes: plan.nodes.iter().map(|_| cameras()).collect(),
        }
    }
    /// The demand on a node's rows of a camera; the node by its index in the plan.
    pub fn on(&self, node: usize, camera: CameraId) -> &Demand {
        &self.nodes[node][camera.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_wanted_while_somebody_watches() {
        let demand = Demand::default();
        let (one, two) = (demand.watch(), demand.clone().watch());
        drop(one);
        assert!(demand.wanted());
        drop(two);
        assert!(!demand.wanted());
    }
}
