//! One camera's pictures on their way to its viewers, and whether it has any.
//!
//! A viewer is whoever asked within the last ten seconds, or holds a stream. While there is one, the pictures are wanted
//! ([`flowrun_engine::demand`]); when the last has gone, they rest and the memory is freed. The worker that brings packets
//! takes the lock for as long as it takes to cut a part, readers for as long as it takes to find one.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use flowrun_engine::demand::{Demand, Watching};
use flowrun_engine::errors::Result;
use flowrun_engine::packet::Packet;
use tokio::sync::watch;

use super::cmaf::Timeline;
use super::hls_playlist::playlist;
use super::hls_ring::{Cut, Ring};

/// How long after its last request somebody is still a viewer.
const ATTENTION: Duration = Duration::from_secs(10);

/// What time it is for those who ask: any clock that only goes forward.
pub(super) type RequestClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// What the lock guards.
pub(super) struct State {
    pub ring: Ring,
    timeline: Timeline,
    /// The playlist of this moment, once somebody asked for it.
    playlist: Option<Bytes>,
    watching: Vec<Watching>,
    asked: Duration,
    streams: usize,
}

impl State {
    /// Forgets all pictures: what was cut for others is not what somebody who comes later wants to see.
    fn rest(&mut self) {
        self.timeline.rest();
        self.ring.clear();
        self.playlist = None;
    }

    /// The playlist.
    pub fn playlist(&mut self) -> Bytes {
        let ring = &self.ring;
        self.playlist.get_or_insert_with(|| playlist(ring).into()).clone()
    }
}

/// One camera's pictures and viewers.
pub(super) struct Channel {
    state: Mutex<State>,
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
    demands: Vec<Demand>,
    clock: RequestClock,
}

impl Channel {
    pub fn new(cut: Cut, demands: Vec<Demand>, clock: RequestClock) -> Self {
        Channel {
            state: Mutex::new(State {
                ring: Ring::new(cut),
                timeline: Timeline::default(),
                playlist: None,
                watching: Vec::new(),
                asked: Duration::ZERO,
                streams: 0,
            }),
            changes: watch::Sender::new(0),
            demands,
            clock,
        }
    }

    /// What there is now.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Tells of each change from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Takes packets, in their order.
    ///
    /// # Errors
    /// When they cannot be put into segments.
    pub fn push(&self, packets: &[Packet]) -> Result<()> {
        let mut state = self.lock();
        let now = (self.clock)();
        if !state.watching.is_empty() && state.streams == 0 && now.saturating_sub(state.asked) > ATTENTION {
            state.watching.clear();
            if !self.wanted_by_others() {
                state.rest();
            }
        }
        let before = state.ring.newest();
        let mut steps = Vec::new();
        for packet in packets {
            state.timeline.push(packet, &mut steps);
        }
        let mut refused = Ok(());
        for step in steps {
            refused = refused.and(state.ring.push(step));
        }
        if state.ring.newest() != before {
            self.changed(state);
        }
        refused
    }

    /// Nothing follows.
    pub fn end(&self) {
        let mut state = self.lock();
        if state.ring.has_ended() {
            return;
        }
        let mut steps = Vec::new();
        state.timeline.finish(&mut steps);
        for step in steps {
            // A last sample begins nothing that could be refused.
            let _ = state.ring.push(step);
        }
        state.ring.end();
        self.changed(state);
    }

    fn changed(&self, mut state: MutexGuard<'_, State>) {
        state.playlist = None;
        drop(state);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Notes that somebody asked; from now on the pictures are wanted.
    pub fn ask(&self) {
        let mut state = self.lock();
        let now = (self.clock)();
        state.asked = now;
        if state.watching.is_empty() {
            if !state.ring.has_ended() && !self.wanted_by_others() {
                state.rest();
            }
            state.watching = self.demands.iter().map(Demand::watch).collect();
        }
    }

    /// Whether packets come anyhow, to be recorded say: then the newest segments are always those of now.
    fn wanted_by_others(&self) -> bool {
        self.demands.iter().any(Demand::wanted)
    }

    /// Counts a stream as a viewer until the result is dropped.
    pub fn attend(self: &Arc<Self>) -> Attendance {
        self.lock().streams += 1;
        Attendance(self.clone())
    }
}

/// Somebody holds a stream.
pub(super) struct Attendance(Arc<Channel>);

impl Drop for Attendance {
    fn drop(&mut self) {
        let now = (self.0.clock)();
        let mut state = self.0.lock();
        state.streams -= 1;
        state.asked = now;
    }
}
