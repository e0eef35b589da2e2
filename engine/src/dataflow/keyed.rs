//! Operators with one instance a camera: called for every frame in order, panics caught, inputs
//! aligned by frame.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use flowrun_dsl::plan::{Align, OnError};
use flowrun_dsl::port::RowKind;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

use crate::batch::{Answer, Batch};
use crate::dataflow::failures::{Failures, error_port, panic_text};
use crate::dataflow::{Edge, Out, Rendered};
use crate::registry::{Instance, Keyed};
use crate::rows::CameraId;
use crate::run::context::Context;
use crate::time::Tick;

/// A camera's instance, or why there is none any more.
enum Slot {
    Empty,
    Ready(Box<dyn Instance>),
    /// Its state cannot be trusted after a panic.
    Poisoned(Arc<str>),
}

/// All instances of a node on one worker.
struct Instances {
    slots: Vec<Slot>,
    keyed: Arc<dyn Keyed>,
    output: RowKind,
    failures: Failures,
}

impl Instances {
    /// Answers one frame in place; gives an error row if there was an error and somebody reads it.
    fn answer(&mut self, answer: &mut Answer, inputs: &[Batch]) -> Option<Answer> {
        let index = answer.at.camera.0 as usize;
        let result = match self.slots.get_mut(index) {
            Some(Slot::Ready(instance)) => catch_unwind(AssertUnwindSafe(|| instance.process(&answer.at, inputs))),
            Some(Slot::Poisoned(cause)) => Ok(Err(format!("not processed: {cause}").into())),
            Some(Slot::Empty) | None => Ok(Err("no instance for this camera".into())),
        };
        let cause = match result {
            Ok(Ok(batch)) => {
                answer.batch = batch;
                return None;
            }
            Ok(Err(error)) => error.cause,
            Err(panic) => self.poison(answer.at.camera, &panic_text(panic.as_ref())),
        };
        answer.batch = Batch::empty(&self.output);
        answer.failed = true;
        self.failures.report(answer.at, answer.admitted_us, &cause)
    }

    fn poison(&mut self, camera: CameraId, text: &str) -> String {
        let cause = format!("panicked: {text}");
        let fresh = match self.failures.policy() {
            OnError::Restart => catch_unwind(AssertUnwindSafe(|| self.keyed.instance(camera)))
                .ok()
                .and_then(Result::ok),
            OnError::Skip | OnError::Stop => None,
        };
        self.slots[camera.0 as usize] = match fresh {
            Some(instance) => Slot::Ready(instance),
            None => Slot::Poisoned(cause.as_str().into()),
        };
        cause
    }
}

/// What a node needs to be rendered.
pub struct KeyedNode {
    /// Its index in the plan.
    pub node: usize,
    /// Makes instances.
    pub keyed: Arc<dyn Keyed>,
    /// This worker's instances, made in prepare.
    pub instances: Vec<(CameraId, Box<dyn Instance>)>,
    /// How each input is aligned.
    pub align: Vec<Align>,
}

/// Renders a node.
pub fn render<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
    parts: KeyedNode,
    context: &Arc<Context>,
    errors_wanted: bool,
) -> Rendered<'scope> {
    let KeyedNode {
        node,
        keyed,
        instances,
        align,
    } = parts;
    let cameras = context.plan.cameras.len();
    let mut slots: Vec<Slot> = (0..cameras).map(|_| Slot::Empty).collect();
    for (camera, instance) in instances {
        slots[camera.0 as usize] = Slot::Ready(instance);
    }
    let output = keyed.output();
    let instances = Instances {
        slots,
        keyed,
        output,
        failures: Failures::of(context, node, errors_wanted),
    };
    if inputs.len() == 1 {
        single(scope, inputs, instances, node, context, errors_wanted)
    } else {
        aligned(scope, inputs, instances, node, &align, context, errors_wanted)
    }
}

/// One input: answers are rewritten in place.
fn single<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
    mut instances: Instances,
    node: usize,
    context: &Arc<Context>,
    errors_wanted: bool,
) -> Rendered<'scope> {
    let mut builder = OperatorBuilder::new(context.plan.nodes[node].name.clone(), scope);
    let stream = inputs.into_iter().next().expect("the caller counted");
    let mut input = builder.new_input(stream, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (output, rows) = builder.new_output::<Vec<Answer>>();
    let mut output: Out<Answer> = Out::from(output);
    let (mut error_output, errors) = error_port(&mut builder, errors_wanted);
    let context = context.clone();
    builder.build(move |_| {
        move |_| {
            let mut output = output.activate();
            let mut error_output = error_output.as_mut().map(Out::activate);
            input.for_each(|capability, answers| {
                let began = context.clock.elapsed();
                let mut failed = Vec::new();
                for answer in answers.iter_mut() {
                    let empty = Batch::Errors(crate::rows::Rows::default());
                    let input = [std::mem::replace(&mut answer.batch, empty)];
                    failed.extend(instances.answer(answer, &input));
                }
                note(&context, node, answers, began);
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

fn note(context: &Context, node: usize, answers: &[Answer], began: std::time::Duration) {
    let ended = context.clock.elapsed();
    let metrics = context.metrics.node(node);
    metrics.answered(answers, u64::try_from(ended.as_micros()).unwrap_or(u64::MAX));
    let busy = u64::try_from((ended.saturating_sub(began)).as_nanos()).unwrap_or(u64::MAX);
    metrics.busy_ns.fetch_add(busy, Ordering::Relaxed);
}

/// What an answer is sent with: the rows' capability, and the error port's where somebody reads it.
type Held = (Capability<Tick>, Option<Capability<Tick>>);

/// What a camera's inputs hold until all have the same frame.
#[derive(Default)]
struct Waiting {
    /// By port: answers in order, with the capability of the first port's.
    queues: Vec<VecDeque<(Answer, Option<Held>)>>,
    /// By port: the newest batch of an input that is not waited for.
    newest: Vec<Option<Batch>>,
}

/// Several inputs: a camera's frame is answered when every input that is waited for has it.
fn aligned<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
    mut instances: Instances,
    node: usize,
    align: &[Align],
    context: &Arc<Context>,
    errors_wanted: bool,
) -> Rendered<'scope> {
    let plan = &context.plan.nodes[node];
    let mut builder = OperatorBuilder::new(plan.name.clone(), scope);
    let kinds: Vec<RowKind> = plan.inputs.iter().map(|input| input.rows.clone()).collect();
    let ports = inputs.len();
    let waits: Vec<bool> = (0..ports)
        .map(|port| port == 0 || align.get(port) != Some(&Align::Latest))
        .collect();
    let mut handles = Vec::with_capacity(ports);
    for (port, stream) in inputs.into_iter().enumerate() {
        handles.push(builder.new_input(stream, Pipeline));
        builder.set_notify_for(port, FrontierInterest::Never);
    }
    let (output, rows) = builder.new_output::<Vec<Answer>>();
    let mut output: Out<Answer> = Out::from(output);
    let (mut error_output, errors) = error_port(&mut builder, errors_wanted);
    let context = context.clone();
    let mut cameras: Vec<Waiting> = (0..context.plan.cameras.len())
        .map(|_| Waiting {
            queues: (0..ports).map(|_| VecDeque::new()).collect(),
            newest: vec![None; ports],
        })
        .collect();
    builder.build(move |_| {
        move |_| {
            let mut touched = Vec::new();
            for (port, handle) in handles.iter_mut().enumerate() {
                handle.for_each(|capability, answers| {
                    let held = (port == 0).then(|| capability.retain_least(0)).flatten();
                    let error_held = if errors_wanted && port == 0 {
                        capability.retain_least(1)
                    } else {
                        None
                    };
                    for answer in answers.drain(..) {
                        let camera = answer.at.camera.0 as usize;
                        touched.push(camera);
                        if waits[port] {
                            let capability = held.clone().map(|held| (held, error_held.clone()));
                            cameras[camera].queues[port].push_back((answer, capability));
                        } else {
                            cameras[camera].newest[port] = Some(answer.batch);
                        }
                    }
                });
            }
            touched.sort_unstable();
            touched.dedup();
            let mut output = output.activate();
            let mut error_output = error_output.as_mut().map(Out::activate);
            for camera in touched {
                let waiting = &mut cameras[camera];
                while (0..ports).all(|port| !waits[port] || !waiting.queues[port].is_empty()) {
                    let began = context.clock.elapsed();
                    let mut batches = Vec::with_capacity(ports);
                    let mut first = None;
                    for port in 0..ports {
                        if !waits[port] {
                            let newest = waiting.newest[port].clone();
                            batches.push(newest.unwrap_or_else(|| Batch::empty(&kinds[port])));
                            continue;
                        }
                        let (answer, capability) = waiting.queues[port].pop_front().expect("looked above");
                        batches.push(answer.batch.clone());
                        first = first.or(Some((answer, capability)));
                    }
                    let (mut answer, capability) = first.expect("the first input is waited for");
                    let failed = instances.answer(&mut answer, &batches);
                    let mut answers = vec![answer];
                    note(&context, node, &answers, began);
                    let (capability, error_capability) = capability.expect("the first input keeps its capability");
                    if let (Some(output), Some(held), Some(row)) = (error_output.as_mut(), error_capability, failed) {
                        output.session_with_builder(&held).give_container(&mut vec![row]);
                    }
                    output.session_with_builder(&capability).give_container(&mut answers);
                }
            }
        }
    });
    Rendered {
        rows: Some(rows),
        errors,
    }
}

/// Marks answers that nobody reads as having left the graph.
pub fn end<'scope>(stream: Edge<'scope>, leaf: crate::admission::Leaf, context: &Arc<Context>) -> Edge<'scope> {
    let mut builder = OperatorBuilder::new("Leaf".into(), stream.scope());
    let mut input = builder.new_input(stream, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (output, rows) = builder.new_output::<Vec<Answer>>();
    let mut output: Out<Answer> = Out::from(output);
    let context = context.clone();
    builder.build(move |_| {
        move |_| {
            let mut output = output.activate();
            input.for_each(|capability, answers| {
                answers
                    .iter()
                    .for_each(|answer| context.ledger.answered(&leaf, answer.at.camera, answer.at.frame));
                output.session(&capability).give_container(answers);
            });
        }
    });
    rows
}
