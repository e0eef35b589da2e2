//! The threads of cameras: read, pace, and let in or shed (laws 1 and 3).
//!
//! A source that may wait has a thread of its own; all others share one, which wakes once a tick for
//! everything that is due, so that a thousand quiet cameras cost two hundred wake-ups a second.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::batch::Answer;
use crate::clock::Clock;
use crate::dataflow::{Inbox, Message};
use crate::errors::worth_logging;
use crate::operator::{Item, Next, Overload, SourceTraits, Thread, Times};
use crate::registry::ErasedSource;
use crate::rows::{At, CameraId};
use crate::run::context::Context;
use crate::time::{EventTime, TICK, Tick};

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
}

struct Slot {
    camera: Camera,
    traits: SourceTraits,
    pending: Option<Item>,
    first: Option<i64>,
    tick: Tick,
    next_frame: u64,
    last_at: At,
}

/// Starts the threads of all cameras.
///
/// # Errors
/// When the system has no thread left.
pub fn start(cameras: Vec<Camera>, context: &Arc<Context>) -> std::io::Result<Vec<thread::JoinHandle<()>>> {
    let (shared, own): (Vec<_>, Vec<_>) = cameras
        .into_iter()
        .partition(|camera| camera.source.thread() == Thread::Shared);
    let mut threads = Vec::new();
    let groups = own
        .into_iter()
        .map(|camera| vec![camera])
        .chain((!shared.is_empty()).then_some(shared));
    for group in groups {
        let name = match group.as_slice() {
            [one] => format!("camera {}", context.names.camera(one.id)),
            _ => "cameras".to_owned(),
        };
        let context = context.clone();
        threads.push(
            thread::Builder::new()
                .name(name)
                .spawn(move || attend(group, &context))?,
        );
    }
    Ok(threads)
}

fn attend(cameras: Vec<Camera>, context: &Context) {
    let coalesce = cameras.len() > 1;
    let mut slots: Vec<Slot> = cameras.into_iter().map(Slot::new).collect();
    let mut due: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::new();
    for (index, slot) in slots.iter_mut().enumerate() {
        context.ledger.attend(slot.camera.id, thread::current());
        if let Some(at) = slot.fetch(context) {
            due.push(Reverse((at, index)));
        }
    }
    let mut blocked: Vec<Reverse<(i64, usize)>> = Vec::new();
    // One look at the clock serves all that is due by then.
    let mut now = context.clock.elapsed();
    while !context.stop.asked() {
        let Some(Reverse((at, index))) = due.pop() else {
            if blocked.is_empty() {
                return;
            }
            thread::park_timeout(LOOK_AROUND);
            due.extend(blocked.drain(..));
            continue;
        };
        if time_until(at, coalesce, now, context).is_some() {
            due.push(Reverse((at, index)));
            now = context.clock.elapsed();
            if let Some(wait) = time_until(at, coalesce, now, context) {
                // What was blocked is looked at again after the wait, or when an answer wakes the thread.
                thread::park_timeout(wait.min(LOOK_AROUND));
                due.extend(blocked.drain(..));
                now = context.clock.elapsed();
            }
            continue;
        }
        if !coalesce {
            now = context.clock.elapsed();
        }
        match slots[index].admit(now, context) {
            Outcome::Next => {
                if let Some(at) = slots[index].fetch(context) {
                    due.push(Reverse((at, index)));
                }
            }
            Outcome::Blocked => blocked.push(Reverse((at, index))),
        }
    }
    slots.iter_mut().for_each(|slot| slot.end(context));
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
    fn new(camera: Camera) -> Self {
        let traits = camera.source.traits();
        Slot {
            camera,
            traits,
            pending: None,
            first: None,
            tick: 0,
            next_frame: 0,
            last_at: At::default(),
        }
    }

    /// Reads the next frame; gives when it is due: media time since the camera's first, offline the medium's own, and
    /// at once where it is live. None when the camera has ended.
    fn fetch(&mut self, context: &Context) -> Option<i64> {
        loop {
            if context.stop.asked() {
                self.end(context);
                return None;
            }
            let next = catch_unwind(AssertUnwindSafe(|| self.camera.source.next()));
            match next {
                Ok(Ok(Next::Item(item))) => {
                    let first = *self.first.get_or_insert(item.media_time);
                    let due = match self.traits.times {
                        Times::Event => 0,
                        Times::Media if context.clock.is_offline() => item.media_time,
                        Times::Media => item.media_time.saturating_sub(first),
                    };
                    if context.clock.is_offline() {
                        // A late row enters at the current tick and corrects.
                        self.tick = self.tick.max(Clock::media_tick(item.media_time));
                        context.ledger.announce(self.camera.id, self.tick);
                    }
                    self.pending = Some(item);
                    return Some(due);
                }
                Ok(Ok(Next::Fault(cause))) => self.fault(context, cause),
                Ok(Ok(Next::End)) => {
                    self.end(context);
                    return None;
                }
                Ok(Err(error)) => {
                    self.fault(context, error.cause);
                    context.health.broke(self.camera.id);
                    self.end(context);
                    return None;
                }
                Err(_) => {
                    self.fault(context, "the source panicked".into());
                    context.health.broke(self.camera.id);
                    self.end(context);
                    return None;
                }
            }
        }
    }

    fn admit(&mut self, now: Duration, context: &Context) -> Outcome {
        let id = self.camera.id;
        if context.clock.is_offline() && context.ledger.leads(self.tick) {
            return self.wait(context);
        }
        if let Err(reason) = context.ledger.may_admit(id) {
            if self.traits.overload == Overload::Shed {
                context.ledger.shed(id, reason);
                self.delivered(now, context);
                self.next_frame = self.pending.take().map_or(self.next_frame, |item| item.frame + 1);
                return Outcome::Next;
            }
            context.ledger.wait(id);
            // An answer between the first look and the flag would have woken nobody.
            if context.ledger.may_admit(id).is_err() {
                return self.wait(context);
            }
        }
        self.delivered(now, context);
        let Some(item) = self.pending.take() else {
            return Outcome::Next;
        };
        let event_time = match self.traits.times {
            Times::Event => EventTime(item.media_time),
            Times::Media => context.clock.event_time(item.media_time, self.first.unwrap_or(0)),
        };
        let at = At {
            camera: id,
            frame: item.frame,
            event_time,
            size: item.size,
        };
        self.next_frame = item.frame + 1;
        self.last_at = at;
        context.ledger.admit(id);
        let answer = Answer {
            at,
            batch: item.batch,
            admitted_us: micros(now),
            failed: false,
        };
        self.camera.inbox.send(Message::Admitted(self.tick, answer));
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

    fn fault(&mut self, context: &Context, cause: String) {
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
        while (self.camera.inbox.is_long() || context.ledger.is_congested()) && !context.stop.asked() {
            thread::park_timeout(TICK);
        }
        let at = At {
            camera: id,
            frame: self.next_frame,
            ..self.last_at
        };
        self.camera.inbox.send(Message::Fault(self.tick, at, cause));
    }

    fn end(&mut self, context: &Context) {
        if self.tick == Tick::MAX {
            return;
        }
        let id = self.camera.id;
        if context.clock.is_offline() {
            context.ledger.end(id, self.tick.saturating_add(1));
        }
        self.camera.inbox.send(Message::End(id));
        context.ledger.leave(id);
        context.health.ended(id);
        self.tick = Tick::MAX;
        self.pending = None;
    }
}
