//! The threads of cameras: read, pace, and let in or shed (laws 1 and 3).
//!
//! A source that may wait has a thread of its own; all others share one, which wakes once a tick for
//! everything that is due, so that a thousand quiet cameras cost two hundred wake-ups a second.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::batch::Answer;
use crate::clock::Clock;
use crate::dataflow::{Inbox, Message};
use crate::errors::worth_logging;
use crate::operator::{Item, Next, Overload, SourceTraits, Stop, Thread, Times};
use crate::registry::ErasedSource;
use crate::rows::{At, CameraId};
use crate::run::context::Context;
use crate::time::{EventTime, TICK, Tick, nanos};

/// How often a waiting thread looks whether the run is to end.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// A camera on its thread.
pub struct Camera {
    /// Which one.
    pub id: CameraId,
    /// Where its frames come from.
    pub source: Box<dyn ErasedSource>,
    /// Where they go.
    pub inbox: Arc<Inbox>,
    /// Asked when it is to end.
    pub stop: Stop,
    /// The index of its first frame: where another source had the name before, they go on counting.
    pub first_frame: u64,
}

/// All cameras' threads.
pub struct Intake {
    context: Arc<Context>,
    state: Mutex<State>,
    /// Cameras that have not ended, and who waits for that.
    open: Arc<Open>,
}

#[derive(Default)]
struct State {
    threads: Vec<thread::JoinHandle<()>>,
    stops: HashMap<CameraId, Stop>,
    shared: Option<(Arc<Mutex<Vec<Camera>>>, thread::Thread)>,
}

#[derive(Default)]
struct Open {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
    fn add(&self, cameras: usize) {
        *self.lock() += cameras;
    }
    fn close(&self) {
        *self.lock() -= 1;
        self.changed.notify_all();
    }
}

impl Intake {
    /// Without any yet.
    pub fn new(context: Arc<Context>) -> Self {
        Intake {
            context,
            state: Mutex::default(),
            open: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Tells the dataflow that cameras begin.
    pub fn announce(cameras: &[Camera]) {
        for camera in cameras {
            camera.inbox.send(Message::Begin(camera.id));
        }
    }

    /// Starts cameras, which have been announced.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(&self, cameras: Vec<Camera>) -> std::io::Result<()> {
        let mut state = self.state();
        state.threads.retain(|thread| !thread.is_finished());
        self.open.add(cameras.len());
        for camera in &cameras {
            state.stops.insert(camera.id, camera.stop.clone());
        }
        let (shared, own): (Vec<_>, Vec<_>) = cameras
            .into_iter()
            .partition(|camera| camera.source.thread() == Thread::Shared);
        for camera in own {
            let name = format!("camera {}", self.context.names.camera(camera.id));
            let newcomers = Arc::new(Mutex::new(vec![camera]));
            let thread = self.spawn(name, newcomers, Newcomers::Single)?;
            state.threads.push(thread);
        }
        if shared.is_empty() {
            return Ok(());
        }
        match &state.shared {
            Some((newcomers, thread)) => {
                newcomers
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner())
                    .extend(shared);
                thread.unpark();
            }
            None => {
                let newcomers = Arc::new(Mutex::new(shared));
                let kind = match self.context.clock.is_offline() {
                    true => Newcomers::Single,
                    false => Newcomers::Welcome,
                };
                let thread = self.spawn("cameras".to_owned(), newcomers.clone(), kind)?;
                state.shared = Some((newcomers, thread.thread().clone()));
                state.threads.push(thread);
            }
        }
        Ok(())
    }

    fn spawn(
        &self,
        name: String,
        newcomers: Arc<Mutex<Vec<Camera>>>,
        kind: Newcomers,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        let (context, open) = (self.context.clone(), self.open.clone());
        thread::Builder::new()
            .name(name)
            .spawn(move || attend(&newcomers, kind, &open, &context))
    }

    /// Asks cameras to end.
    pub fn stop(&self, cameras: &[CameraId]) {
        let mut state = self.state();
        for camera in cameras {
            if let Some(stop) = state.stops.remove(camera) {
                stop.ask();
            }
            self.context.ledger.wake(*camera);
        }
        if let Some((_, thread)) = &state.shared {
            thread.unpark();
        }
    }

    /// Whether every camera has ended.
    pub fn is_over(&self) -> bool {
        *self.open.lock() == 0
    }

    /// Waits until every camera has ended.
    pub fn wait(&self) {
        let mut open = self.open.lock();
        while *open > 0 {
            open = self
                .open
                .changed
                .wait(open)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Waits for the threads; the run must have been asked to end.
    pub fn join(&self) {
        let threads = std::mem::take(&mut self.state().threads);
        for thread in threads {
            // A source's panics are caught; one that escaped has been answered by the ledger's count.
            let _ = thread.join();
        }
    }
}

/// Whether cameras may join a thread later.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Newcomers {
    Single,
    Welcome,
}

/// What a thread of many cameras sends, gathered by worker: one lock and one wake-up serve all that is due together.
struct Outbox {
    /// Whether messages are gathered, or go at once.
    gathers: bool,
    waiting: Vec<(Arc<Inbox>, Vec<Message>)>,
}

impl Outbox {
    fn send(&mut self, inbox: &Arc<Inbox>, message: Message) {
        if !self.gathers {
            return inbox.send(message);
        }
        let own = self.waiting.iter_mut().find(|(other, _)| Arc::ptr_eq(other, inbox));
        match own {
            Some((_, messages)) => messages.push(message),
            None => self.waiting.push((inbox.clone(), vec![message])),
        }
    }

    /// Sends what was gathered; called before the thread looks at anything but the next camera.
    fn flush(&mut self) {
        for (inbox, messages) in &mut self.waiting {
            inbox.send_all(messages);
        }
    }
}

struct Slot {
    camera: Camera,
    traits: SourceTraits,
    /// When it began, since the run did: media time counts from there.
    began: Duration,
    pending: Option<Item>,
    first: Option<i64>,
    tick: Tick,
    next_frame: u64,
    last_at: At,
}

/// The cameras of one thread, and when each is due.
struct Attended {
    slots: Vec<Option<Slot>>,
    due: BinaryHeap<Reverse<(i64, usize)>>,
    blocked: Vec<Reverse<(i64, usize)>>,
    outbox: Outbox,
}

impl Attended {
    fn welcome(&mut self, newcomers: &Mutex<Vec<Camera>>, open: &Open, context: &Context) {
        let cameras = std::mem::take(&mut *newcomers_of(newcomers));
        for camera in cameras {
            context.ledger.attend(camera.id, thread::current());
            let free = self.slots.iter().position(Option::is_none);
            let index = free.unwrap_or_else(|| {
                self.slots.push(None);
                self.slots.len() - 1
            });
            self.slots[index] = Some(Slot::new(camera, context));
            self.fetch(index, open, context);
        }
    }

    /// Reads a camera's next frame, or lets the camera go.
    fn fetch(&mut self, index: usize, open: &Open, context: &Context) {
        let Some(slot) = &mut self.slots[index] else { return };
        match slot.fetch(&mut self.outbox, context) {
            Some(at) => self.due.push(Reverse((at, index))),
            None => self.part(index, open, context),
        }
    }

    fn part(&mut self, index: usize, open: &Open, context: &Context) {
        if let Some(mut slot) = self.slots[index].take() {
            slot.end(&mut self.outbox, context);
            open.close();
        }
    }

    /// What there is to do besides cameras that are due, after a wait.
    fn look_around(&mut self, wait: Duration, newcomers: &Mutex<Vec<Camera>>, open: &Open, context: &Context) {
        self.outbox.flush();
        thread::park_timeout(wait.min(LOOK_AROUND));
        self.dismiss(open, context);
        self.welcome(newcomers, open, context);
        // What was blocked is looked at again, whether the wait is over or an answer has woken the thread.
        self.due.append(&mut std::mem::take(&mut self.blocked).into());
    }

    /// Lets go the cameras that have been asked to end.
    fn dismiss(&mut self, open: &Open, context: &Context) {
        for index in 0..self.slots.len() {
            if self.slots[index].as_ref().is_some_and(|slot| slot.camera.stop.asked()) {
                let stays = |Reverse((_, other)): &Reverse<(i64, usize)>| *other != index;
                self.due.retain(stays);
                self.blocked.retain(stays);
                self.part(index, open, context);
            }
        }
    }
}

fn attend(newcomers: &Mutex<Vec<Camera>>, kind: Newcomers, open: &Open, context: &Context) {
    let coalesce = kind == Newcomers::Welcome || newcomers_of(newcomers).len() > 1;
    let mut all = Attended {
        slots: Vec::new(),
        due: BinaryHeap::new(),
        blocked: Vec::new(),
        outbox: Outbox {
            // Offline a camera announces only what it has sent.
            gathers: coalesce && !context.clock.is_offline(),
            waiting: Vec::new(),
        },
    };
    all.welcome(newcomers, open, context);
    // One look at the clock serves all that is due by then.
    let mut now = context.clock.elapsed();
    while !context.stop.asked() {
        let Some(Reverse((at, index))) = all.due.pop() else {
            if all.blocked.is_empty() && kind == Newcomers::Single {
                break;
            }
            all.look_around(LOOK_AROUND, newcomers, open, context);
            continue;
        };
        if time_until(at, coalesce, now, context).is_some() {
            all.due.push(Reverse((at, index)));
            now = context.clock.elapsed();
            if let Some(wait) = time_until(at, coalesce, now, context) {
                all.look_around(wait, newcomers, open, context);
                now = context.clock.elapsed();
            }
            continue;
        }
        if !coalesce {
            now = context.clock.elapsed();
        }
        let Some(slot) = &mut all.slots[index] else { continue };
        if slot.camera.stop.asked() {
            all.part(index, open, context);
            continue;
        }
        match slot.admit(now, &mut all.outbox, context) {
            Outcome::Next => all.fetch(index, open, context),
            Outcome::Blocked => all.blocked.push(Reverse((at, index))),
        }
    }
    (0..all.slots.len()).for_each(|index| all.part(index, open, context));
    // Who came while the run was ending is let go as well.
    for camera in std::mem::take(&mut *newcomers_of(newcomers)) {
        Slot::new(camera, context).end(&mut all.outbox, context);
        open.close();
    }
    all.outbox.flush();
}

fn newcomers_of(newcomers: &Mutex<Vec<Camera>>) -> MutexGuard<'_, Vec<Camera>> {
    newcomers.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// How long until a moment of media time, in a live run. With many cameras on the thread all that is
/// due within a tick goes together.
fn time_until(at: i64, coalesce: bool, now: Duration, context: &Context) -> Option<Duration> {
    if context.clock.is_offline() {
        return None;
    }
    let due = Duration::from_nanos(u64::try_from(at).unwrap_or(0));
    let due = if coalesce {
        TICK * u32::try_from(due.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u32::MAX)
    } else {
        due
    };
    let wait = due.saturating_sub(now);
    (!wait.is_zero()).then_some(wait)
}

/// A moment of engine time as metrics have it.
fn micros(now: Duration) -> u64 {
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

enum Outcome {
    /// It was admitted or shed.
    Next,
    /// It must wait.
    Blocked,
}

impl Slot {
    fn new(camera: Camera, context: &Context) -> Self {
        let traits = camera.source.traits();
        let first_version = context.generation().number == 1;
        Slot {
            // Those that begin with the run begin at the same moment.
            began: match first_version {
                true => Duration::ZERO,
                false => context.clock.elapsed(),
            },
            next_frame: camera.first_frame,
            camera,
            traits,
            pending: None,
            first: None,
            tick: 0,
            last_at: At::default(),
        }
    }

    /// Reads the next frame; gives when it is due: media time since the camera's first, offline the medium's own, and
    /// at once where it is live. None when the camera has ended.
    fn fetch(&mut self, outbox: &mut Outbox, context: &Context) -> Option<i64> {
        loop {
            if self.camera.stop.asked() {
                self.end(outbox, context);
                return None;
            }
            let next = catch_unwind(AssertUnwindSafe(|| self.camera.source.next()));
            match next {
                Ok(Ok(Next::Item(mut item))) => {
                    item.frame = item.frame.saturating_add(self.camera.first_frame);
                    let first = *self.first.get_or_insert(item.media_time);
                    let due = match self.traits.times {
                        Times::Event => 0,
                        Times::Media if context.clock.is_offline() => item.media_time,
                        Times::Media => nanos(self.began).saturating_add(item.media_time.saturating_sub(first)),
                    };
                    if context.clock.is_offline() {
                        // A late row enters at the current tick and corrects.
                        self.tick = self.tick.max(Clock::media_tick(item.media_time));
                        context.ledger.announce(self.camera.id, self.tick);
                    }
                    self.pending = Some(item);
                    return Some(due);
                }
                Ok(Ok(Next::Fault(cause))) => self.fault(outbox, context, cause),
                Ok(Ok(Next::End)) => {
                    self.end(outbox, context);
                    return None;
                }
                Ok(Err(error)) => {
                    self.fault(outbox, context, error.cause);
                    context.health.broke(self.camera.id);
                    self.end(outbox, context);
                    return None;
                }
                Err(_) => {
                    self.fault(outbox, context, "the source panicked".into());
                    context.health.broke(self.camera.id);
                    self.end(outbox, context);
                    return None;
                }
            }
        }
    }

    fn admit(&mut self, now: Duration, outbox: &mut Outbox, context: &Context) -> Outcome {
        let id = self.camera.id;
        if context.clock.is_offline() && context.ledger.leads(self.tick) {
            return self.wait(context);
        }
        if let Err(reason) = context.ledger.may_admit(id, micros(now)) {
            if self.traits.overload == Overload::Shed {
                let frame = self.pending.as_ref().map_or(self.next_frame, |item| item.frame);
                context.ledger.shed(id, reason, frame);
                self.delivered(now, context);
                self.next_frame = self.pending.take().map_or(self.next_frame, |item| item.frame + 1);
                return Outcome::Next;
            }
            context.ledger.wait(id);
            // An answer between the first look and the flag would have woken nobody.
            if context.ledger.may_admit(id, micros(now)).is_err() {
                return self.wait(context);
            }
        }
        self.delivered(now, context);
        let Some(item) = self.pending.take() else {
            return Outcome::Next;
        };
        let event_time = match self.traits.times {
            Times::Event => EventTime(item.media_time),
            Times::Media => {
                let first = self.first.unwrap_or(0).saturating_sub(nanos(self.began));
                context.clock.event_time(item.media_time, first)
            }
        };
        let at = At {
            camera: id,
            frame: item.frame,
            event_time,
            size: item.size,
        };
        self.next_frame = item.frame + 1;
        self.last_at = at;
        let answer = Answer {
            number: context.ledger.admit(id, item.frame, micros(now)),
            at,
            batch: item.batch,
            admitted_us: micros(now),
            failed: false,
        };
        outbox.send(&self.camera.inbox, Message::Admitted(self.tick, answer));
        Outcome::Next
    }

    /// Notes that the camera lives, whatever becomes of the frame.
    fn delivered(&self, now: Duration, context: &Context) {
        if let Some(item) = &self.pending {
            context.health.delivered(self.camera.id, micros(now), item.size);
        }
    }

    fn wait(&self, context: &Context) -> Outcome {
        if context.clock.is_offline() {
            // The frontier may move up to what this camera has announced.
            self.camera.inbox.wake();
        }
        Outcome::Blocked
    }

    fn fault(&mut self, outbox: &mut Outbox, context: &Context, cause: String) {
        let id = self.camera.id;
        let before = context.ledger.fault(id);
        let camera = context.names.camera(id);
        context.health.faulted(id, context.clock.now_us(), &cause);
        context.recent.note(
            context.clock.wall(),
            camera.clone(),
            camera.clone(),
            self.next_frame,
            &cause,
        );
        if worth_logging(before) {
            tracing::warn!(%camera, frame = self.next_frame, faults = before + 1, "{cause}");
        }
        // Faults need no credit, since nobody answers them; a source that has nothing else must not
        // outrun the worker that takes them, nor the sink that writes them.
        outbox.flush();
        while (self.camera.inbox.is_long() || context.ledger.is_congested()) && !self.camera.stop.asked() {
            thread::park_timeout(TICK);
        }
        let at = At {
            camera: id,
            frame: self.next_frame,
            ..self.last_at
        };
        outbox.send(&self.camera.inbox, Message::Fault(self.tick, at, cause));
    }

    fn end(&mut self, outbox: &mut Outbox, context: &Context) {
        if self.tick == Tick::MAX {
            return;
        }
        let id = self.camera.id;
        if context.clock.is_offline() {
            context.ledger.end(id, self.tick.saturating_add(1));
        }
        outbox.send(&self.camera.inbox, Message::End(id));
        context.ledger.leave(id);
        context.health.ended(id);
        self.tick = Tick::MAX;
        self.pending = None;
    }
}
