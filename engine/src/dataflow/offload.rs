//! Operators on threads of their own: jobs leave the worker, answers come back in any order and are
//! put into each camera's order again. The worker keeps the capabilities; a thread always answers.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Instant;

use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;
use timely::scheduling::SyncActivator;

use crate::batch::{Answer, Batch};
use crate::dataflow::failures::{Failures, error_port, panic_text};
use crate::dataflow::{Edge, Out, Rendered};
use crate::errors::Result;
use crate::operator::{BatchPolicy, LaneChoice};
use crate::registry::{ErasedJob, ErasedOffload};
use crate::rows::At;
use crate::run::context::Context;
use crate::time::Tick;

type Lane = Box<dyn FnMut(&mut [ErasedJob]) + Send>;

/// A job on its way: where its answer goes.
struct Ticket {
    job: ErasedJob,
    sequence: u64,
    queued: Instant,
    back: Arc<Returns>,
}

/// Answers on their way back to a worker.
#[derive(Default)]
struct Returns {
    done: Mutex<Vec<(u64, u32, Result<Batch>)>>,
    activator: Mutex<Option<SyncActivator>>,
}

impl Returns {
    fn send(&self, answers: impl Iterator<Item = (u64, u32, Result<Batch>)>) {
        self.done
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .extend(answers);
        if let Some(activator) = &*self.activator.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            // It fails only once the worker is gone.
            let _ = activator.activate();
        }
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Ticket>,
    closed: bool,
}

/// Jobs that wait for one lane, or for any of several.
#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The next batch: full, or as much as came before the first job's deadline. None when closed and empty.
    fn take(&self, policy: BatchPolicy) -> Option<Vec<Ticket>> {
        let mut queue = self.lock();
        loop {
            let Some(first) = queue.waiting.front() else {
                if queue.closed {
                    return None;
                }
                queue = self
                    .arrived
                    .wait(queue)
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                continue;
            };
            let size = policy.size.max(1);
            let left = policy.deadline.saturating_sub(first.queued.elapsed());
            if queue.waiting.len() >= size || left.is_zero() || queue.closed {
                let count = queue.waiting.len().min(size);
                return Some(queue.waiting.drain(..count).collect());
            }
            queue = self
                .arrived
                .wait_timeout(queue, left)
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .0;
        }
    }
}

/// The threads of one offloaded node, shared by all workers.
pub struct OffloadPool {
    /// One that all lanes take from, or one a lane.
    queues: Vec<Arc<Shared>>,
    threads: Vec<JoinHandle<()>>,
}

impl OffloadPool {
    /// Starts the lanes of a node.
    ///
    /// # Errors
    /// When a lane's scratch memory cannot be had.
    pub fn start(offload: &Arc<dyn ErasedOffload>, name: &str) -> Result<Self> {
        let policy = offload.policy();
        let lanes = policy.lanes.max(1);
        let queues = match offload.lane_choice() {
            LaneChoice::Any => 1,
            LaneChoice::ByCamera => lanes,
        };
        let mut pool = OffloadPool {
            queues: (0..queues).map(|_| Arc::default()).collect(),
            threads: Vec::new(),
        };
        for index in 0..lanes {
            let mut lane = offload.clone().lane()?;
            let (shared, offload) = (pool.queues[index % queues].clone(), offload.clone());
            let thread = std::thread::Builder::new()
                .name(format!("{name}#{index}"))
                .spawn(move || {
                    while let Some(tickets) = shared.take(policy) {
                        if !work(&mut lane, tickets)
                            && let Ok(fresh) = offload.clone().lane()
                        {
                            lane = fresh;
                        }
                    }
                })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }
}

impl Drop for OffloadPool {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.lock().closed = true;
            queue.arrived.notify_all();
        }
        for thread in self.threads.drain(..) {
            // A lane catches its panics; one that escaped has nothing left to clean up.
            let _ = thread.join();
        }
    }
}

/// Answers a batch; false when the lane panicked and its scratch memory cannot be trusted.
fn work(lane: &mut Lane, tickets: Vec<Ticket>) -> bool {
    let (mut jobs, mut backs) = (Vec::with_capacity(tickets.len()), Vec::with_capacity(tickets.len()));
    for ticket in tickets {
        backs.push((ticket.sequence, ticket.job.at.camera.0, ticket.back));
        jobs.push(ticket.job);
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| lane(&mut jobs)));
    let missing = match &outcome {
        Ok(()) => "was left without an answer".to_owned(),
        Err(panic) => format!("panicked: {}", panic_text(panic.as_ref())),
    };
    for ((sequence, camera, back), job) in backs.into_iter().zip(jobs) {
        let result = job.result.unwrap_or_else(|| Err(missing.clone().into()));
        back.send(std::iter::once((sequence, camera, result)));
    }
    outcome.is_ok()
}

/// A frame that has left the worker.
struct Pending {
    at: At,
    admitted_us: u64,
    failed_before: bool,
    capability: Capability<Tick>,
    error_capability: Option<Capability<Tick>>,
    result: Option<Result<Batch>>,
}

/// A camera's frames that are out, in order.
#[derive(Default)]
struct OutOfHouse {
    first: u64,
    frames: VecDeque<Pending>,
}

/// Renders a node.
pub fn render<'scope>(
    scope: Scope<'scope, Tick>,
    stream: Edge<'scope>,
    node: usize,
    pool: &Arc<OffloadPool>,
    offload: &Arc<dyn ErasedOffload>,
    context: &Arc<Context>,
    errors_wanted: bool,
) -> Rendered<'scope> {
    let mut builder = OperatorBuilder::new(context.plan.nodes[node].name.clone(), scope);
    let back = Arc::new(Returns::default());
    let activator = scope
        .worker()
        .sync_activator_for(builder.operator_info().address.to_vec());
    *back.activator.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(activator);
    let mut input = builder.new_input(stream, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (output, rows) = builder.new_output::<Vec<Answer>>();
    let mut output: Out<Answer> = Out::from(output);
    let (mut error_output, errors) = error_port(&mut builder, errors_wanted);
    let (context, pool, kind) = (context.clone(), pool.clone(), offload.output());
    let failures = Failures::of(&context, node, errors_wanted);
    let mut cameras: Vec<OutOfHouse> = (0..context.plan.cameras.len()).map(|_| OutOfHouse::default()).collect();
    let mut tickets: Vec<Vec<Ticket>> = pool.queues.iter().map(|_| Vec::new()).collect();
    builder.build(move |_| {
        move |_| {
            let metrics = context.metrics.node(node);
            input.for_each(|capability, answers| {
                let Some(held) = capability.retain_least(0) else { return };
                let error_held = if errors_wanted {
                    capability.retain_least(1)
                } else {
                    None
                };
                let queued = Instant::now();
                metrics.queue.fetch_add(answers.len() as i64, Ordering::Relaxed);
                for answer in answers.drain(..) {
                    let lane = answer.at.camera.0 as usize % tickets.len();
                    let camera = &mut cameras[answer.at.camera.0 as usize];
                    let sequence = camera.first + camera.frames.len() as u64;
                    camera.frames.push_back(Pending {
                        at: answer.at,
                        admitted_us: answer.admitted_us,
                        failed_before: answer.failed,
                        capability: held.clone(),
                        error_capability: error_held.clone(),
                        result: None,
                    });
                    let job = ErasedJob {
                        at: answer.at,
                        inputs: vec![answer.batch],
                        result: None,
                    };
                    tickets[lane].push(Ticket {
                        job,
                        sequence,
                        queued,
                        back: back.clone(),
                    });
                }
                for (queue, tickets) in pool.queues.iter().zip(&mut tickets) {
                    if !tickets.is_empty() {
                        queue.lock().waiting.extend(tickets.drain(..));
                        queue.arrived.notify_all();
                    }
                }
            });
            let done = std::mem::take(&mut *back.done.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
            let mut touched = Vec::with_capacity(done.len());
            for (sequence, camera, result) in done {
                let out = &mut cameras[camera as usize];
                out.frames[(sequence - out.first) as usize].result = Some(result);
                touched.push(camera as usize);
            }
            let mut output = output.activate();
            let mut error_output = error_output.as_mut().map(Out::activate);
            for camera in touched {
                let out = &mut cameras[camera];
                while out.frames.front().is_some_and(|frame| frame.result.is_some()) {
                    let frame = out.frames.pop_front().expect("just seen");
                    out.first += 1;
                    metrics.queue.fetch_sub(1, Ordering::Relaxed);
                    let (batch, failure) = match frame.result.expect("just seen") {
                        Ok(batch) => (batch, None),
                        Err(error) => (Batch::empty(&kind), Some(error.cause)),
                    };
                    let failed = frame.failed_before || failure.is_some();
                    let mut answers = vec![Answer {
                        at: frame.at,
                        batch,
                        admitted_us: frame.admitted_us,
                        failed,
                    }];
                    metrics.answered(&answers, context.clock.now_us());
                    let row = failure.and_then(|cause| failures.report(frame.at, frame.admitted_us, &cause));
                    if let (Some(output), Some(held), Some(row)) = (error_output.as_mut(), frame.error_capability, row)
                    {
                        output.session_with_builder(&held).give_container(&mut vec![row]);
                    }
                    output
                        .session_with_builder(&frame.capability)
                        .give_container(&mut answers);
                }
            }
        }
    });
    Rendered {
        rows: Some(rows),
        errors,
    }
}
