//! Rows leave: encoded on the worker that has them, gathered on one, put into the order (tick, camera,
//! frame, input), and written by a thread of their own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, Concatenate};
use timely::progress::operate::FrontierInterest;

use crate::batch::Answer;
use crate::dataflow::failures::Failures;
use crate::dataflow::gate::Gate;
use crate::dataflow::node::Node;
use crate::dataflow::{Edge, Out};
use crate::operator::{SinkOrder, SinkWriter};
use crate::registry::ErasedSink;
use crate::run::context::Context;
use crate::time::Tick;

/// The bytes of one answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Encoded {
    camera: u32,
    frame: u64,
    input: u16,
    bytes: Vec<u8>,
}

/// The thread of one sink.
pub struct Writer {
    /// Whether what was written is not to be presented: the edit that opened it was given up.
    discarded: Arc<AtomicBool>,
    sender: Mutex<Option<Sender<Vec<u8>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts it.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(name: &str, sink: Box<dyn SinkWriter>, context: Arc<Context>) -> std::io::Result<Self> {
        let (sender, chunks) = channel();
        let name: Arc<str> = name.into();
        let builder = std::thread::Builder::new().name(format!("write {name}"));
        let discarded = Arc::new(AtomicBool::new(false));
        let given_up = discarded.clone();
        let thread = builder.spawn(move || write_all(&name, sink, &chunks, &context, &given_up))?;
        Ok(Writer {
            discarded,
            sender: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
        })
    }

    fn sender(&self) -> Option<Sender<Vec<u8>>> {
        self.sender
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    /// Closes it without finishing what it writes to.
    pub fn discard(&self) {
        self.discarded.store(true, Ordering::SeqCst);
        self.join();
    }

    /// Waits until everything is written and finished; the dataflow must have ended.
    pub fn join(&self) {
        drop(
            self.sender
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .take(),
        );
        if let Some(thread) = self
            .thread
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take()
        {
            // A panic inside a sink's writer leaves its file unfinished, which is what its absence says.
            let _ = thread.join();
        }
    }
}

fn write_all(
    name: &str,
    mut sink: Box<dyn SinkWriter>,
    chunks: &Receiver<Vec<u8>>,
    context: &Context,
    discarded: &AtomicBool,
) {
    let mut healthy = true;
    for chunk in chunks {
        // After a failure what still comes is only taken off the books, so that nobody waits for it.
        if healthy && let Err(error) = sink.write(&chunk) {
            context.fail(format!("{name}: cannot write: {error}"));
            healthy = false;
        }
        context.ledger.backlog(-(chunk.len() as i64));
    }
    // A run that failed does not present its output as whole.
    if healthy
        && !discarded.load(Ordering::SeqCst)
        && context.failure().is_none()
        && let Err(error) = sink.finish()
    {
        context.fail(format!("{name}: cannot finish: {error}"));
    }
}

/// The collector's end of the channel. A worker that panics must not look like one that is done.
struct Chunks {
    sender: Option<Sender<Vec<u8>>>,
    context: Arc<Context>,
}

impl Drop for Chunks {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.context.fail("a worker panicked".into());
        }
    }
}

/// Renders a sink. One that follows an older version waits at the gate until that has sent its last rows.
pub fn render<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
    node: &Node,
    sink: &Arc<dyn ErasedSink>,
    writer: &Writer,
    gate: &Gate,
) {
    let encoded = inputs
        .into_iter()
        .enumerate()
        .map(|(input, stream)| encode(scope, stream, input as u16, node, sink, gate));
    let encoded = scope.concatenate(encoded.collect::<Vec<_>>());
    let mut builder = OperatorBuilder::new(format!("{} order", node.name), scope);
    let target = node.index as u64;
    let mut input = builder.new_input(encoded, Exchange::new(move |_: &Encoded| target));
    let chunks = Chunks {
        sender: writer.sender(),
        context: node.context.clone(),
    };
    let order = sink.order();
    let mut waiting: BTreeMap<Tick, Vec<Encoded>> = BTreeMap::new();
    builder.build(move |_| {
        move |frontiers| {
            input.for_each(|capability, rows| {
                let tick = *capability.least().expect("a message has a time");
                waiting.entry(tick).or_default().append(rows);
            });
            let frontier = frontiers[0].frontier();
            let mut chunk = Vec::new();
            while let Some(first) = waiting.first_entry() {
                if order == SinkOrder::Tick && frontier.less_equal(first.key()) {
                    break;
                }
                let mut rows = first.remove();
                rows.sort_by_key(|row| (row.camera, row.frame, row.input));
                rows.iter().for_each(|row| chunk.extend_from_slice(&row.bytes));
            }
            if let (Some(sender), false) = (&chunks.sender, chunk.is_empty()) {
                // It fails only when the writer's thread panicked: then there is nothing to write to.
                let _ = sender.send(chunk);
            }
        }
    });
}

fn encode<'scope>(
    scope: Scope<'scope, Tick>,
    stream: Edge<'scope>,
    input_index: u16,
    node: &Node,
    sink: &Arc<dyn ErasedSink>,
    gate: &Gate,
) -> timely::dataflow::Stream<'scope, Tick, Vec<Encoded>> {
    let mut builder = OperatorBuilder::new(node.name.to_string(), scope);
    gate.register(scope.activator_for(builder.operator_info().address));
    let mut input = builder.new_input(stream, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (output, encoded) = builder.new_output::<Vec<Encoded>>();
    let mut output: Out<Encoded> = Out::from(output);
    let (sink, node, gate, failures) = (sink.clone(), node.clone(), gate.clone(), Failures::of(node));
    let mut stash: Vec<(Capability<Tick>, Vec<Answer>)> = Vec::new();
    let rows_of = move |answers: &mut Vec<Answer>| {
        let context = &node.context;
        let mut rows = Vec::new();
        let mut total = 0;
        for answer in answers.iter() {
            let mut bytes = Vec::new();
            if let Err(error) = sink.encode(answer, &mut bytes) {
                bytes.clear();
                failures.report(answer, &error.cause);
            }
            if !bytes.is_empty() {
                total += bytes.len();
                rows.push(Encoded {
                    camera: answer.at.camera.0,
                    frame: answer.at.frame,
                    input: input_index,
                    bytes,
                });
            }
        }
        context.ledger.backlog(total as i64);
        let now = context.clock.now_us();
        node.metrics.answered(answers, now);
        if let Some(leaf) = &node.leaf {
            leaf.answered(answers, now);
        }
        answers.clear();
        rows
    };
    builder.build(move |_| {
        move |_| {
            let mut output = output.activate();
            if !gate.is_open() {
                input.for_each(|capability, answers| {
                    if let Some(held) = capability.retain_least(0) {
                        stash.push((held, std::mem::take(answers)));
                    }
                });
                return;
            }
            for (held, mut answers) in stash.drain(..) {
                let mut rows = rows_of(&mut answers);
                if !rows.is_empty() {
                    output.session_with_builder(&held).give_container(&mut rows);
                }
            }
            input.for_each(|capability, answers| {
                let mut rows = rows_of(answers);
                if !rows.is_empty() {
                    output.session(&capability).give_container(&mut rows);
                }
            });
        }
    });
    encoded
}
