//! Errors are rows (law 5): how a failure of one frame becomes one, and what else it causes.

use std::any::Any;
use std::sync::Arc;

use flowrun_dsl::plan::OnError;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::batch::{Answer, Batch};
use crate::dataflow::{Edge, Out};
use crate::errors::worth_logging;
use crate::rows::{At, ErrorRow, Rows};
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
    node: usize,
    name: Arc<str>,
    policy: OnError,
    wanted: bool,
}

impl Failures {
    /// For a node of the plan; `wanted` says whether somebody reads its error port.
    pub fn of(context: &Arc<Context>, node: usize, wanted: bool) -> Self {
        let plan = &context.plan.nodes[node];
        Failures {
            context: context.clone(),
            node,
            name: plan.name.as_str().into(),
            policy: plan.on_error,
            wanted,
        }
    }

    /// What the node does after a failure.
    pub fn policy(&self) -> OnError {
        self.policy
    }

    /// Counts a failure, ends the run if the node says so, and gives the error row if somebody reads it.
    pub fn report(&self, at: At, admitted_us: u64, cause: &str) -> Option<Answer> {
        let errors = &self.context.metrics.node(self.node).errors;
        let before = errors.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
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
                at,
                batch,
                admitted_us,
                failed: false,
            }
        })
    }
}
