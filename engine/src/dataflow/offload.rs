//! Operators on threads of their own: jobs leave the worker, answers come back in any order and are
//! put into each camera's order again. The worker keeps the capabilities; a thread always answers. Which jobs go together
//! is [`Lines`]' business; each group of lanes has lines of its own, and what waits for a camera that has moved to another
//! group goes over to it.

use std::any::Any;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
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
use crate::dataflow::align::{Aligned, Newest};
use crate::dataflow::failures::{Failures, error_port, panic_text};
use crate::dataflow::gate::Gate;
use crate::dataflow::lines::Lines;
use crate::dataflow::node::Node;
use crate::dataflow::scale::Scale;
use crate::dataflow::{Edge, Out, Rendered};
use crate::errors::Result;
use crate::infer::{Batcher, Decision, Urgency};
use crate::metrics::LaneState;
use crate::operator::LaneChoice;
use crate::registry::{ErasedJob, ErasedOffload};
use crate::rows::CameraId;
use crate::time::Tick;

/// A job on its way: who answers it, and where its answer goes.
struct Ticket {
    job: ErasedJob,
    /// The version of the operator that the frame belongs to: after an edit two use the same lanes for a while.
    offload: Arc<dyn ErasedOffload>,
    urgency: Urgency,
    sequence: u64,
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

/// Jobs that wait for one lane, or for any of several.
struct Shared {
    /// Which group of lanes takes from it.
    group: usize,
    inner: Mutex<Inner>,
    arrived: Condvar,
    /// Lanes that rest wait for this.
    more: Condvar,
    began: Instant,
}

struct Inner {
    lines: Lines<dyn ErasedOffload, Ticket>,
    scale: Scale,
}

impl Shared {
    fn new(group: usize, lanes: RangeInclusive<usize>) -> Self {
        Shared {
            group,
            inner: Mutex::new(Inner {
                lines: Lines::default(),
                scale: Scale::new(lanes),
            }),
            arrived: Condvar::new(),
            more: Condvar::new(),
            began: Instant::now(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Queues jobs of one version, and wakes the lanes.
    fn add(&self, offload: &Arc<dyn ErasedOffload>, tickets: impl Iterator<Item = Ticket>) {
        let mut inner = self.lock();
        self.push(&mut inner, offload, tickets);
        drop(inner);
        self.arrived.notify_all();
    }

    /// As `add`, from a lane of another group; gives the jobs back where these lanes may have ended.
    fn take_over(&self, offload: &Arc<dyn ErasedOffload>, tickets: Vec<Ticket>) -> Result<(), Vec<Ticket>> {
        let mut inner = self.lock();
        if inner.lines.is_closed() {
            return Err(tickets);
        }
        self.push(&mut inner, offload, tickets.into_iter());
        drop(inner);
        self.arrived.notify_all();
        Ok(())
    }

    fn push(&self, inner: &mut Inner, offload: &Arc<dyn ErasedOffload>, tickets: impl Iterator<Item = Ticket>) {
        let now = self.began.elapsed();
        let batcher = || Batcher::new(&offload.sizes(), offload.policy().deadline);
        for ticket in tickets {
            let urgency = ticket.urgency;
            inner.lines.push(offload, batcher, ticket, urgency, now);
        }
        offload.waits(self.group, inner.lines.len());
        if inner.scale.is_short() {
            self.more.notify_all();
        }
    }

    /// A lane that rests waits: until it may work, or, where it is the next, until a batch is ready that all others are too
    /// busy for.
    fn rest<'a>(&self, mut inner: MutexGuard<'a, Inner>, lane: usize) -> MutexGuard<'a, Inner> {
        let now = self.began.elapsed();
        let ready = inner.scale.is_next(lane).then(|| inner.lines.ready(now)).flatten();
        match ready {
            Some(ready) if ready <= now => {
                inner.scale.grows(now);
                inner
            }
            Some(ready) => {
                let waited = self.more.wait_timeout(inner, ready - now);
                waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0
            }
            None => self.more.wait(inner).unwrap_or_else(|poisoned| poisoned.into_inner()),
        }
    }

    /// The next batch for a lane by its place in the group, of one version: full, or as much as came before the first job's
    /// time. None when closed and empty.
    fn take(&self, lane: usize) -> Option<Vec<Ticket>> {
        let mut inner = self.lock();
        loop {
            if !inner.scale.has(lane) && !inner.lines.is_closed() {
                inner = self.rest(inner, lane);
                continue;
            }
            let now = self.began.elapsed();
            inner = match inner.lines.decide(now) {
                Decision::Batch(tickets) => {
                    if let Some(ticket) = tickets.first() {
                        ticket.offload.waits(self.group, inner.lines.len());
                    }
                    inner.scale.takes(now);
                    if inner.scale.is_short() {
                        self.more.notify_all();
                    }
                    return Some(tickets);
                }
                Decision::Idle if inner.lines.is_over() => return None,
                Decision::Idle => self
                    .arrived
                    .wait(inner)
                    .unwrap_or_else(|poisoned| poisoned.into_inner()),
                Decision::Wait(left) => {
                    self.arrived
                        .wait_timeout(inner, left)
                        .unwrap_or_else(|poisoned| poisoned.into_inner())
                        .0
                }
            };
        }
    }

    fn lanes(&self) -> LaneState {
        self.lock().scale.state()
    }

    /// A lane is through with what it took.
    fn give(&self) {
        self.lock().scale.gives(self.began.elapsed());
    }
}

/// The threads of one offloaded node, shared by all workers.
pub struct OffloadPool {
    /// One that all lanes of a group take from, or one a lane.
    queues: Arc<[Shared]>,
    choice: LaneChoice,
    threads: Vec<JoinHandle<()>>,
}

impl OffloadPool {
    /// Starts the lanes of a node.
    ///
    /// # Errors
    /// When a lane's scratch memory cannot be had.
    pub fn start(offload: &Arc<dyn ErasedOffload>, name: &str) -> Result<Self> {
        let (lanes, groups, choice) = (offload.policy().lanes.max(1), offload.groups(), offload.lane_choice());
        let bounds = offload.least_lanes().clamp(1, lanes)..=lanes;
        let queues = match choice {
            LaneChoice::Any => (0..groups).map(|group| Shared::new(group, bounds.clone())).collect(),
            LaneChoice::ByCamera => (0..lanes).map(|_| Shared::new(0, 1..=1)).collect(),
        };
        let mut pool = OffloadPool {
            queues,
            choice,
            threads: Vec::new(),
        };
        for index in 0..lanes * groups {
            // The lanes of a group are next to each other.
            let (group, queue, place) = match choice {
                LaneChoice::Any => (index / lanes, index / lanes, index % lanes),
                LaneChoice::ByCamera => (0, index, 0),
            };
            let mut lane = offload.lane(group)?;
            let queues = pool.queues.clone();
            let thread = std::thread::Builder::new()
                .name(format!("{name}#{index}"))
                .spawn(move || {
                    while let Some(tickets) = queues[queue].take(place) {
                        let tickets = match choice {
                            LaneChoice::Any => hand_over(&queues, queue, tickets),
                            LaneChoice::ByCamera => tickets,
                        };
                        let Some(offload) = tickets.first().map(|ticket| ticket.offload.clone()) else {
                            queues[queue].give();
                            continue;
                        };
                        if !work(offload.as_ref(), lane.as_mut(), tickets)
                            && let Ok(fresh) = offload.lane(group)
                        {
                            lane = fresh;
                        }
                        queues[queue].give();
                    }
                })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// How many lanes of each group work; none where each has its own cameras.
    pub fn lanes(&self) -> Vec<LaneState> {
        match self.choice {
            LaneChoice::Any => self.queues.iter().map(Shared::lanes).collect(),
            LaneChoice::ByCamera => Vec::new(),
        }
    }

    /// Which queue a camera's frames wait in.
    fn queue_of(&self, offload: &dyn ErasedOffload, camera: CameraId) -> usize {
        match self.choice {
            LaneChoice::Any => group_of(&self.queues, offload, camera),
            LaneChoice::ByCamera => camera.0 as usize % self.queues.len(),
        }
    }
}

/// The group that answers a camera's frames now.
fn group_of(queues: &[Shared], offload: &dyn ErasedOffload, camera: CameraId) -> usize {
    match queues.len() {
        1 => 0,
        groups => offload.group(camera).min(groups - 1),
    }
}

/// Gives jobs whose camera has moved to the group that it has moved to, and leaves the others. Their answers are put in
/// order where they come back.
fn hand_over(queues: &[Shared], own: usize, tickets: Vec<Ticket>) -> Vec<Ticket> {
    if queues.len() == 1 {
        return tickets;
    }
    let mut stay = Vec::with_capacity(tickets.len());
    let mut leave: Vec<Vec<Ticket>> = queues.iter().map(|_| Vec::new()).collect();
    for ticket in tickets {
        match group_of(queues, ticket.offload.as_ref(), ticket.job.at.camera) {
            group if group == own => stay.push(ticket),
            group => leave[group].push(ticket),
        }
    }
    for (queue, tickets) in queues.iter().zip(leave) {
        let Some(offload) = tickets.first().map(|ticket| ticket.offload.clone()) else {
            continue;
        };
        if let Err(back) = queue.take_over(&offload, tickets) {
            stay.extend(back);
        }
    }
    stay
}

impl Drop for OffloadPool {
    fn drop(&mut self) {
        for queue in &*self.queues {
            queue.lock().lines.close();
            queue.arrived.notify_all();
            queue.more.notify_all();
        }
        for thread in self.threads.drain(..) {
            // A lane catches its panics; one that escaped has nothing left to clean up.
            let _ = thread.join();
        }
    }
}

/// Answers a batch; false when the lane panicked and its scratch memory cannot be trusted.
fn work(offload: &dyn ErasedOffload, lane: &mut (dyn Any + Send), tickets: Vec<Ticket>) -> bool {
    let (mut jobs, mut backs) = (Vec::with_capacity(tickets.len()), Vec::with_capacity(tickets.len()));
    for ticket in tickets {
        backs.push((ticket.sequence, ticket.job.at.camera.0, ticket.back));
        jobs.push(ticket.job);
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| offload.process(lane, &mut jobs)));
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

/// How long a camera's frames may wait for others.
fn urgency_of(node: &Node, camera: CameraId) -> Urgency {
    let params = node.context.ledger.params(camera);
    params.map_or(Urgency::Normal, |params| params.priority.into())
}

/// What an answer is sent with: the rows' capability, and the error port's where somebody reads it.
type Held = (Capability<Tick>, Option<Capability<Tick>>);

/// A frame that has left the worker.
struct Pending {
    answer: Answer,
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

/// Renders a node. Where a lane remembers something of its cameras, a node that follows an older version waits at the
/// gate, so that the lanes get each camera's frames in order.
pub fn render<'scope>(
    scope: Scope<'scope, Tick>,
    inputs: Vec<Edge<'scope>>,
    node: &Node,
    pool: &Arc<OffloadPool>,
    offload: &Arc<dyn ErasedOffload>,
    gate: &Gate,
) -> Rendered<'scope> {
    let mut builder = OperatorBuilder::new(node.name.to_string(), scope);
    let address = builder.operator_info().address;
    let back = Arc::new(Returns::default());
    let activator = scope.worker().sync_activator_for(address.to_vec());
    *back.activator.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(activator);
    let lanes = Arc::downgrade(pool);
    let lanes = move || lanes.upgrade().map_or_else(Vec::new, |pool| pool.lanes());
    node.metrics.computed_by(offload, Box::new(lanes));
    let waits = offload.lane_choice() == LaneChoice::ByCamera;
    if waits {
        gate.register(scope.activator_for(address));
    }
    let mut frames: Option<Aligned<Held>> = (inputs.len() > 1).then(|| Aligned::new(node, inputs.len()));
    let mut newest = Newest::new();
    let mut handles = Vec::with_capacity(inputs.len());
    for (port, stream) in inputs.into_iter().enumerate() {
        handles.push(builder.new_input(stream, Pipeline));
        builder.set_notify_for(port, FrontierInterest::Never);
    }
    let (output, rows) = builder.new_output::<Vec<Answer>>();
    let mut output: Out<Answer> = Out::from(output);
    let (mut error_output, errors) = error_port(&mut builder, node.errors_wanted);
    let (pool, offload, kind) = (pool.clone(), offload.clone(), offload.output());
    let (node, gate, failures) = (node.clone(), gate.clone(), Failures::of(node));
    let mut cameras: Vec<OutOfHouse> = Vec::new();
    let mut tickets: Vec<Vec<Ticket>> = pool.queues.iter().map(|_| Vec::new()).collect();
    let mut arrived: Vec<(Answer, Vec<Batch>, Held)> = Vec::new();
    builder.build(move |_| {
        move |_| {
            let metrics = &node.metrics;
            for (port, handle) in handles.iter_mut().enumerate() {
                handle.for_each(|capability, answers| {
                    let mut held = None;
                    if port == 0 {
                        let error_held = node.errors_wanted.then(|| capability.retain_least(1)).flatten();
                        held = capability.retain_least(0).map(|held| (held, error_held));
                        metrics.queue.fetch_add(answers.len() as i64, Ordering::Relaxed);
                    }
                    for mut answer in answers.drain(..) {
                        match (&mut frames, &held) {
                            (Some(frames), _) => frames.push(port, answer, held.clone()),
                            (None, Some(held)) => {
                                let batch = std::mem::replace(&mut answer.batch, Batch::empty(&kind));
                                arrived.push((answer, vec![batch], held.clone()));
                            }
                            (None, None) => {}
                        }
                    }
                });
            }
            if waits && !gate.is_open() {
                return;
            }
            if let Some(frames) = &mut frames {
                frames.complete(&mut newest, |answer, batches, held| {
                    arrived.push((answer, batches, held));
                });
            }
            for (mut answer, inputs, (capability, error_capability)) in arrived.drain(..) {
                let number = answer.at.camera.0 as usize;
                let queue = pool.queue_of(offload.as_ref(), answer.at.camera);
                if number >= cameras.len() {
                    cameras.resize_with(number + 1, OutOfHouse::default);
                }
                let camera = &mut cameras[number];
                let sequence = camera.first + camera.frames.len() as u64;
                let job = ErasedJob {
                    at: answer.at,
                    inputs,
                    result: None,
                };
                // What it came with is the job's alone: a picture is not held while its answer waits for others.
                answer.batch = Batch::empty(&kind);
                camera.frames.push_back(Pending {
                    answer,
                    capability,
                    error_capability,
                    result: None,
                });
                // A lane that remembers its cameras gets each one's frames in order, also where its priority changes.
                let urgency = match waits {
                    true => Urgency::Normal,
                    false => urgency_of(&node, job.at.camera),
                };
                let ticket = Ticket {
                    job,
                    offload: offload.clone(),
                    urgency,
                    sequence,
                    back: back.clone(),
                };
                tickets[queue].push(ticket);
            }
            for (queue, tickets) in pool.queues.iter().zip(&mut tickets) {
                if !tickets.is_empty() {
                    queue.add(&offload, tickets.drain(..));
                }
            }
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
                    let mut answer = frame.answer;
                    let row = match frame.result.expect("just seen") {
                        Ok(batch) => {
                            answer.batch = batch;
                            None
                        }
                        Err(error) => {
                            answer.failed = true;
                            failures.report(&answer, &error.cause)
                        }
                    };
                    let mut answers = vec![answer];
                    metrics.answered(&answers, node.context.clock.now_us());
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
