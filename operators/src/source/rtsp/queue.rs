//! What waits between a camera's task on the network and its thread that decodes.
//!
//! Bounded: a decoder that does not keep up costs access units, never memory. What is left out goes up to the next
//! keyframe, since nothing between can be decoded.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::stream::Taken;

/// Access units that may wait: two seconds of most cameras.
const UNITS_AT_MOST: usize = 60;
/// Bytes that may wait in them.
const BYTES_AT_MOST: usize = 16 << 20;
/// Messages that may wait; further ones are counted.
const FAULTS_AT_MOST: usize = 64;

/// What the task has to say.
#[derive(Debug)]
pub(super) enum Event {
    /// A new session begins: what comes has nothing to do with what came.
    Begin,
    /// An access unit.
    Unit(Taken),
    /// Something that went wrong.
    Fault(String),
}

/// The way from the task to the thread.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    units: usize,
    bytes: usize,
    faults: usize,
    untold: u64,
    /// Access units left out since there was no room; none while there is.
    left_out: u64,
    finished: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A new session begins.
    pub fn begin(&self) {
        let mut state = self.lock();
        // One is enough where nothing came between.
        if !matches!(state.events.back(), Some(Event::Begin)) {
            state.events.push_back(Event::Begin);
        }
        self.ready.notify_one();
    }

    /// Adds an access unit, or leaves it out.
    pub fn offer(&self, taken: Taken) {
        let unit = &taken.unit;
        let mut state = self.lock();
        let room = state.units < UNITS_AT_MOST && state.bytes + unit.data.len() <= BYTES_AT_MOST;
        if !room || (state.left_out > 0 && !unit.keyframe) {
            state.left_out += 1;
            return;
        }
        if state.left_out > 0 {
            let count = std::mem::take(&mut state.left_out);
            state.tell(format!(
                "{count} pictures were left out, because they come faster than this machine decodes them; give the camera \
                 fewer pictures or less resolution, or decode=keyframes"
            ));
        }
        state.units += 1;
        state.bytes += unit.data.len();
        state.events.push_back(Event::Unit(taken));
        self.ready.notify_one();
    }

    /// Adds a message.
    pub fn tell(&self, fault: String) {
        self.lock().tell(fault);
        self.ready.notify_one();
    }

    /// The next event; none when there is none for this long.
    pub fn take(&self, patience: Duration) -> Option<Event> {
        let mut state = self.lock();
        if state.events.is_empty() {
            state = self
                .ready
                .wait_timeout_while(state, patience, |state| state.events.is_empty())
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .0;
        }
        let event = state.events.pop_front()?;
        match &event {
            Event::Unit(taken) => {
                state.units -= 1;
                state.bytes -= taken.unit.data.len();
            }
            Event::Fault(_) => {
                state.faults -= 1;
                if state.untold > 0 {
                    let count = std::mem::take(&mut state.untold);
                    state.tell(format!("{count} more messages were left out"));
                }
            }
            Event::Begin => {}
        }
        Some(event)
    }

    /// The task says that it has ended.
    pub fn finish(&self) {
        self.lock().finished = true;
        self.ready.notify_all();
    }

    /// Waits until the task has ended, this long at most.
    pub fn wait_finished(&self, patience: Duration) {
        let state = self.lock();
        let waited = self.ready.wait_timeout_while(state, patience, |state| !state.finished);
        drop(waited.unwrap_or_else(|poisoned| poisoned.into_inner()));
    }
}

impl State {
    fn tell(&mut self, fault: String) {
        if self.faults >= FAULTS_AT_MOST {
            self.untold += 1;
            return;
        }
        self.faults += 1;
        self.events.push_back(Event::Fault(fault));
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::tests::unit;
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn a_slow_decoder_costs_pictures_up_to_the_next_keyframe_and_is_told_how_many() {
        let queue = Queue::default();
        for index in 0..1_000 {
            queue.offer(unit(index, index == 0, 10));
        }
        for expected in 0..UNITS_AT_MOST as u64 {
            let Some(Event::Unit(taken)) = queue.take(NOW) else {
                panic!()
            };
            assert_eq!(taken.unit.sequence, expected);
        }
        assert!(queue.take(NOW).is_none());
        queue.offer(unit(1_000, false, 10));
        assert!(queue.take(NOW).is_none(), "nothing can be decoded before a keyframe");
        queue.offer(unit(1_001, true, 10));
        let Some(Event::Fault(cause)) = queue.take(NOW) else {
            panic!()
        };
        assert!(cause.starts_with("941 pictures were left out"), "{cause}");
        assert!(matches!(queue.take(NOW), Some(Event::Unit(taken)) if taken.unit.sequence == 1_001));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let queue = Queue::default();
        (0..20).for_each(|index| queue.offer(unit(index, true, 3 << 20)));
        assert!(queue.lock().bytes <= BYTES_AT_MOST);
        assert!(queue.lock().units == 5);
    }

    #[test]
    fn messages_are_bounded_and_counted() {
        let queue = Queue::default();
        (0..100).for_each(|index| queue.tell(index.to_string()));
        let told: Vec<String> = std::iter::from_fn(|| match queue.take(NOW) {
            Some(Event::Fault(cause)) => Some(cause),
            _ => None,
        })
        .collect();
        assert_eq!(told.len(), FAULTS_AT_MOST + 1);
        assert_eq!(told.last().unwrap(), "36 more messages were left out");
    }
}
