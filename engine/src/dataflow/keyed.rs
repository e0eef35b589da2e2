//! Operators with one instance a camera: called for every frame in order, panics caught, inputs
//! aligned by frame.

use std::sync::atomic::Ordering;
use std::time::Duration;

use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

use crate::batch::{Answer, Batch};
use crate::dataflow::align::Aligned;
use crate::dataflow::failures::error_port;
use crate::dataflow::gate::Gate;
use crate::dataflow::instances::{Instances, InstancesRef};
use crate::dataflow::node::Node;
use crate::dataflow::{Edge, Out, Rendered};
use crate::time::Tick;

/// Renders a node.
pub fn render<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
    node: &Node,
    instances: InstancesRef,
    gate: &Gate,
) -> Rendered<'scope> {
    if inputs.len() == 1 {
        single(scope, inputs, node, instances, gate)
    } else {
        aligned(scope, inputs, node, instances, gate)
    }
}

/// What an answer is sent with: the rows' capability, and the error port's where somebody reads it.
type Held = (Capability<Tick>, Option<Capability<Tick>>);

/// Rewrites answers in place; gives the error rows.
fn rewrite(instances: &mut Instances, node: &Node, answers: &mut [Answer]) -> Vec<Answer> {
    let began = node.context.clock.elapsed();
    let mut failed = Vec::new();
    for answer in answers.iter_mut() {
        let empty = Batch::Errors(crate::rows::Rows::default());
        let input = [std::mem::replace(&mut answer.batch, empty)];
        failed.extend(instances.answer(answer, &input));
    }
    note(node, answers, began);
    failed
}

/// One input: answers are rewritten in place.
fn single<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
    node: &Node,
    instances: InstancesRef,
    gate: &Gate,
) -> Rendered<'scope> {
    let mut builder = OperatorBuilder::new(node.name.to_string(), scope);
    gate.register(scope.activator_for(builder.operator_info().address));
    let stream = inputs.into_iter().next().expect("the caller counted");
    let mut input = builder.new_input(stream, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (output, rows) = builder.new_output::<Vec<Answer>>();
    let mut output: Out<Answer> = Out::from(output);
    let (mut error_output, errors) = error_port(&mut builder, node.errors_wanted);
    let (node, gate) = (node.clone(), gate.clone());
    let mut stash: Vec<(Held, Vec<Answer>)> = Vec::new();
    builder.build(move |_| {
        move |_| {
            let mut output = output.activate();
            let mut error_output = error_output.as_mut().map(Out::activate);
            if !gate.is_open() {
                input.for_each(|capability, answers| {
                    let error_held = node.errors_wanted.then(|| capability.retain_least(1)).flatten();
                    if let Some(held) = capability.retain_least(0) {
                        stash.push(((held, error_held), std::mem::take(answers)));
                    }
                });
                return;
            }
            let mut instances = instances.borrow_mut();
            for ((held, error_held), mut answers) in stash.drain(..) {
                let mut failed = rewrite(&mut instances, &node, &mut answers);
                if let (Some(output), Some(held), false) = (error_output.as_mut(), error_held, failed.is_empty()) {
                    output.session_with_builder(&held).give_container(&mut failed);
                }
                output.session_with_builder(&held).give_container(&mut answers);
            }
            input.for_each(|capability, answers| {
                let mut failed = rewrite(&mut instances, &node, answers);
                if let (Some(output), false) = (error_output.as_mut(), failed.is_empty())
                    && let Some(held) = capability.retain_least(1)
                {
                    output.session_with_builder(&held).give_container(&mut failed);
                }
                output.session(&capability).give_container(answers);
            });
        }
    });
    Rendered {
        rows: Some(rows),
        errors,
    }
}

fn note(node: &Node, answers: &[Answer], began: Duration) {
    let ended = node.context.clock.elapsed();
    let metrics = &node.metrics;
    metrics.answered(answers, u64::try_from(ended.as_micros()).unwrap_or(u64::MAX));
    let busy = u64::try_from((ended.saturating_sub(began)).as_nanos()).unwrap_or(u64::MAX);
    metrics.busy_ns.fetch_add(busy, Ordering::Relaxed);
}

/// Several inputs: a camera's frame is answered when every input that is waited for has it.
fn aligned<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
    node: &Node,
    instances: InstancesRef,
    gate: &Gate,
) -> Rendered<'scope> {
    let mut builder = OperatorBuilder::new(node.name.to_string(), scope);
    gate.register(scope.activator_for(builder.operator_info().address));
    let mut frames: Aligned<Held> = Aligned::new(node, inputs.len());
    let mut handles = Vec::with_capacity(inputs.len());
    for (port, stream) in inputs.into_iter().enumerate() {
        handles.push(builder.new_input(stream, Pipeline));
        builder.set_notify_for(port, FrontierInterest::Never);
    }
    let (output, rows) = builder.new_output::<Vec<Answer>>();
    let mut output: Out<Answer> = Out::from(output);
    let (mut error_output, errors) = error_port(&mut builder, node.errors_wanted);
    let (node, gate) = (node.clone(), gate.clone());
    builder.build(move |_| {
        move |_| {
            for (port, handle) in handles.iter_mut().enumerate() {
                handle.for_each(|capability, answers| {
                    let held = (port == 0).then(|| capability.retain_least(0)).flatten();
                    let error_held = if node.errors_wanted && port == 0 {
                        capability.retain_least(1)
                    } else {
                        None
                    };
                    for answer in answers.drain(..) {
                        let held = held.clone().map(|held| (held, error_held.clone()));
                        frames.push(port, answer, held);
                    }
                });
            }
            if !gate.is_open() {
                return;
            }
            let mut instances = instances.borrow_mut();
            let mut output = output.activate();
            let mut error_output = error_output.as_mut().map(Out::activate);
            let mut newest = std::mem::take(&mut instances.newest);
            frames.complete(&mut newest, |mut answer, batches, (capability, error_capability)| {
                let began = node.context.clock.elapsed();
                let failed = instances.answer(&mut answer, &batches);
                let mut answers = vec![answer];
                note(&node, &answers, began);
                if let (Some(output), Some(held), Some(row)) = (error_output.as_mut(), error_capability, failed) {
                    output.session_with_builder(&held).give_container(&mut vec![row]);
                }
                output.session_with_builder(&capability).give_container(&mut answers);
            });
            instances.newest = newest;
        }
    });
    Rendered {
        rows: Some(rows),
        errors,
    }
}

/// Marks answers that nobody reads as having left the graph.
pub fn end<'scope>(stream: Edge<'scope>, node: &Node) -> Edge<'scope> {
    let Some(leaf) = node.leaf.clone() else { return stream };
    let mut builder = OperatorBuilder::new("Leaf".into(), stream.scope());
    let mut input = builder.new_input(stream, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (output, rows) = builder.new_output::<Vec<Answer>>();
    let mut output: Out<Answer> = Out::from(output);
    let context = node.context.clone();
    builder.build(move |_| {
        move |_| {
            let mut output = output.activate();
            input.for_each(|capability, answers| {
                leaf.answered(answers, context.clock.now_us());
                output.session(&capability).give_container(answers);
            });
        }
    });
    rows
}
