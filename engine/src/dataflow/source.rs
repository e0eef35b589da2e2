//! Brings what camera threads have admitted into the dataflow, and moves its frontier (law 1).
//!
//! Live, the tick is engine time at admission: while frames come the frontier moves by their ticks,
//! else by a slow pulse. Offline, the tick is media time, and the frontier is the earliest tick that
//! some camera may still send.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use timely::dataflow::Scope;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::SyncActivator;

use crate::batch::{Answer, Batch};
use crate::dataflow::failures::{error_port, error_row};
use crate::dataflow::{Out, Rendered};
use crate::rows::{At, CameraId, Rows};
use crate::run::context::Context;
use crate::time::{PULSE, TICK, Tick};

/// Messages that may wait for a worker before faults are held back.
const MANY_MESSAGES: usize = 1_024;

/// What a camera's thread sends.
#[derive(Debug)]
pub enum Message {
    /// A camera begins, or begins anew.
    Begin(CameraId),
    /// An admitted frame; the tick counts in an offline run only.
    Admitted(Tick, Answer),
    /// Something the camera could not read.
    Fault(Tick, At, String),
    /// The camera has ended.
    End(CameraId),
}

/// The way from camera threads to the worker that owns the cameras.
#[derive(Default)]
pub struct Inbox {
    state: Mutex<InboxState>,
}

#[derive(Default)]
struct InboxState {
    messages: Vec<Message>,
    activator: Option<SyncActivator>,
    /// Whether no camera will begin any more.
    closed: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sends; wakes the worker unless it has been woken for an earlier message already.
    pub fn send(&self, message: Message) {
        let mut state = self.lock();
        let first = state.messages.is_empty();
        state.messages.push(message);
        if first {
            state.wake();
        }
    }

    /// Sends what belongs together, and leaves the list empty.
    pub fn send_all(&self, messages: &mut Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        let mut state = self.lock();
        let first = state.messages.is_empty();
        match first {
            true => std::mem::swap(&mut state.messages, messages),
            false => state.messages.append(messages),
        }
        if first {
            state.wake();
        }
    }

    /// Wakes the worker although there is no message: an announcement may have moved.
    pub fn wake(&self) {
        self.lock().wake();
    }

    /// Whether the worker is so far behind that nothing but frames with credit should be added.
    pub fn is_long(&self) -> bool {
        self.lock().messages.len() > MANY_MESSAGES
    }

    /// Says that no camera will begin any more: when those that have begun have ended, the dataflow may.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.wake();
    }

    /// What has come, and whether cameras may still begin.
    fn drain(&self) -> (Vec<Message>, bool) {
        let mut state = self.lock();
        (std::mem::take(&mut state.messages), state.closed)
    }
}

impl InboxState {
    fn wake(&self) {
        if let Some(activator) = &self.activator {
            // It fails only once the worker is gone, and then nobody is left to wake.
            let _ = activator.activate();
        }
    }
}

/// Renders the cameras of a group that this worker owns.
pub fn render<'scope>(
    scope: Scope<'scope, Tick>,
    group: &str,
    inbox: Arc<Inbox>,
    context: Arc<Context>,
    errors_wanted: bool,
) -> Rendered<'scope> {
    let mut builder = OperatorBuilder::new(format!("cameras {group}"), scope);
    let address = builder.operator_info().address;
    inbox.lock().activator = Some(scope.worker().sync_activator_for(address.to_vec()));
    let again = scope.activator_for(address);
    let (output, rows) = builder.new_output::<Vec<Answer>>();
    let mut output: Out<Answer> = Out::from(output);
    let (mut error_output, errors) = error_port(&mut builder, errors_wanted);
    builder.build(move |mut capabilities| {
        let mut error_capability = errors_wanted.then(|| capabilities.pop().expect("an output has a capability"));
        let mut capability = capabilities.pop();
        let mut open: Vec<CameraId> = Vec::new();
        let mut timers = Timers::default();
        move |_| {
            let Some(held) = capability.as_mut() else { return };
            let offline = context.clock.is_offline();
            // Read before the messages are drained: a camera announces a tick only after it has sent
            // everything before it, so nothing in or after this drain is earlier than these.
            let announcements = || open.iter().filter_map(|camera| context.ledger.announced(*camera)).min();
            let mut announced = offline.then(announcements).flatten();
            let now = if offline {
                *held.time()
            } else {
                context.clock.now_tick().max(*held.time())
            };
            let mut answers: Vec<(Tick, Answer)> = Vec::new();
            let mut faults: Vec<(Tick, Answer)> = Vec::new();
            let (messages, closed) = inbox.drain();
            for message in messages {
                let at_tick = |tick: Tick| if offline { tick } else { now };
                match message {
                    Message::Begin(camera) => {
                        open.push(camera);
                        // It may have sent rows of any tick since.
                        announced = Some(*held.time());
                    }
                    Message::Admitted(tick, answer) => answers.push((at_tick(tick), answer)),
                    Message::Fault(tick, at, cause) => {
                        let row = error_row(&context.names.camera(at.camera), &cause);
                        let batch = Batch::Errors(Rows::from(vec![row]));
                        let answer = Answer {
                            at,
                            batch,
                            number: 0,
                            admitted_us: context.clock.now_us(),
                            failed: false,
                        };
                        faults.push((at_tick(tick), answer));
                    }
                    Message::End(camera) => {
                        open.retain(|other| *other != camera);
                        if !offline {
                            context.ledger.end(camera, now + 1);
                        }
                        context.ledger.drained(camera);
                    }
                }
            }
            let active = !answers.is_empty() || !faults.is_empty();
            {
                let mut output = output.activate();
                for (tick, mut group) in by_tick(answers) {
                    output
                        .session_with_builder(&held.delayed(&tick))
                        .give_container(&mut group);
                }
            }
            if let (Some(output), Some(held)) = (error_output.as_mut(), error_capability.as_ref()) {
                let mut output = output.activate();
                for (tick, mut group) in by_tick(faults) {
                    output
                        .session_with_builder(&held.delayed(&tick))
                        .give_container(&mut group);
                }
            }
            if closed && open.is_empty() {
                (capability, error_capability) = (None, None);
                return;
            }
            let upper = if offline {
                announced.unwrap_or(now).max(now)
            } else {
                now
            };
            if upper > *held.time() {
                held.downgrade(&upper);
                if let Some(error_capability) = error_capability.as_mut() {
                    error_capability.downgrade(&upper);
                }
            }
            if !offline {
                // The tick just sent closes when the next begins; without traffic a pulse is enough.
                let elapsed = context.clock.elapsed();
                let boundary = TICK * u32::try_from(now + 1).unwrap_or(u32::MAX);
                let wanted = if active { boundary } else { elapsed + PULSE };
                if timers.need(wanted, elapsed) {
                    again.activate_after(wanted.saturating_sub(elapsed));
                }
            }
        }
    });
    Rendered {
        rows: Some(rows),
        errors,
    }
}

/// Wake-ups that timely has been asked for. It takes none back, so that one more for each activation would never end.
#[derive(Default)]
struct Timers(Vec<Duration>);

impl Timers {
    /// Whether one more has to be asked for, so that there is one by `wanted`.
    fn need(&mut self, wanted: Duration, now: Duration) -> bool {
        self.0.retain(|due| *due > now);
        if self.0.iter().any(|due| *due <= wanted) {
            return false;
        }
        self.0.push(wanted);
        true
    }
}

/// Groups what was drained by tick, keeping the order within each.
fn by_tick(mut drained: Vec<(Tick, Answer)>) -> Vec<(Tick, Vec<Answer>)> {
    drained.sort_by_key(|(tick, _)| *tick);
    let mut groups: Vec<(Tick, Vec<Answer>)> = Vec::new();
    for (tick, answer) in drained {
        match groups.last_mut() {
            Some((last, group)) if *last == tick => group.push(answer),
            _ => groups.push((tick, vec![answer])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However often it is activated, what is asked for stays few and comes in time.
    #[test]
    fn wake_ups_do_not_multiply() {
        let (mut timers, mut asked) = (Timers::default(), Vec::new());
        let mut wanted_by = Vec::new();
        for millisecond in 0..2_000u64 {
            let now = Duration::from_millis(millisecond);
            let fires = asked.contains(&now);
            let message = millisecond % 33 == 0;
            if !(fires || message) {
                continue;
            }
            let wanted = now + if message { TICK } else { PULSE };
            wanted_by.push(wanted);
            if timers.need(wanted, now) {
                asked.push(wanted);
            }
        }
        let end = Duration::from_millis(1_900);
        assert!(asked.len() <= 2 * 2_000 / 33, "{} wake-ups", asked.len());
        for wanted in wanted_by.into_iter().filter(|wanted| *wanted < end) {
            assert!(asked.iter().any(|due| *due <= wanted && *due + PULSE >= wanted));
        }
    }
}
