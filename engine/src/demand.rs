//! Whether anybody wants what a node makes: a picture that nobody watches is not encoded.
//!
//! A node's rows of one camera are wanted while somebody holds a [`Watching`] on them. A sink that always takes all it
//! is given, and an operator that reads on, are wants for the whole run; a live page's sink takes one for as long as
//! it has viewers. Whether a frame is wanted is an input from outside like the frame itself: only nodes whose
//! results leave through such sinks may ask.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

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

/// The demands on all nodes of a run, by the node's name: they outlive edits of the graph.
#[derive(Default)]
pub struct Demands(Mutex<HashMap<String, HashMap<CameraId, Demand>>>);

impl Demands {
    /// The demand on a node's rows of a camera.
    pub fn on(&self, node: &str, camera: CameraId) -> Demand {
        let mut nodes = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let of_node = match nodes.get_mut(node) {
            Some(known) => known,
            None => nodes.entry(node.to_owned()).or_default(),
        };
        of_node.entry(camera).or_default().clone()
    }

    /// Forgets what no plan of these has any more.
    pub fn keep(&self, plans: &[&Plan]) {
        let mut nodes = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        nodes.retain(|name, cameras| {
            let known = |plan: &&&Plan| plan.nodes.iter().any(|node| node.name == *name);
            let having: Vec<_> = plans.iter().filter(known).collect();
            cameras.retain(|camera, _| having.iter().any(|plan| plan.camera_index(camera.0).is_some()));
            !having.is_empty()
        });
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
