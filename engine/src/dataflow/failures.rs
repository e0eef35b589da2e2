//! Errors are rows (law 5): how a failure of one frame becomes one, and what else it causes.

use std::any::Any;
use std::sync::Arc;

use flowrun_dsl::plan::OnError;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::batch::{Answer, Batch};
use crate::dataflow::node::Node;
use crate::dataflow::{Edge, Out};
use crate::errors::worth_logging;
use crate::metrics::NodeMetrics;
use crate::rows::{ErrorRow, Rows};
use crate::run::context::Context;
use crate::time::Tick;

/// An error row.
pub fn error_row(node: &str, cause: &str) -> ErrorRow {
    ErrorRow {
        node: node.into(),
        cause: cause.into(),
    }
}

/// The text of a panic.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".into())
}

/// The error port of an operator that is being built; it has one only where somebody reads it.
pub fn error_port<'scope>(
    builder: &mut OperatorBuilder<'scope, Tick>,
    wanted: bool,
) -> (Option<Out<Answer>>, Option<Edge<'scope>>) {
    match wanted.then(|| builder.new_output::<Vec<Answer>>()) {
        Some((output, stream)) => (Some(Out::from(output)), Some(stream)),
        None => (None, None),
    }
}

/// What a node does about failures.
#[derive(Clone)]
pub struct Failures {
    context: Arc<Context>,
    metrics: Arc<NodeMetrics>,
    name: Arc<str>,
    policy: OnError,
    wanted: bool,
}

impl Failures {
    /// For a node; error rows are made where somebody reads its error port.
    pub fn of(node: &Node) -> Self {
        Failures {
            context: node.context.clone(),
            metrics: node.metrics.clone(),
            name: node.name.clone(),
            policy: node.on_error,
            wanted: node.errors_wanted,
        }
    }

    /// What the node does after a failure.
    pub fn policy(&self) -> OnError {
        self.policy
    }

    /// Counts a failure, ends the run if the node says so, and gives the error row if somebody reads it. Of the answer
    /// that failed only its place counts.
    pub fn report(&self, failed: &Answer, cause: &str) -> Option<Answer> {
        let at = failed.at;
        let before = self.metrics.errors.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let camera = self.context.names.camera(at.camera);
        if worth_logging(before) {
            tracing::warn!(node = %self.name, %camera, frame = at.frame, errors = before + 1, "{cause}");
        }
        let wall = self.context.clock.wall();
        self.context
            .recent
            .note(wall, self.name.clone(), camera.clone(), at.frame, cause);
        if self.policy == OnError::Stop {
            self.context
                .fail(format!("{}: camera {camera}, frame {}: {cause}", self.name, at.frame));
        }
        self.wanted.then(|| {
            let batch = Batch::Errors(Rows::from(vec![error_row(&self.name, cause)]));
            Answer {
                batch,
                failed: false,
                ..failed.clone()
            }
        })
    }
}
