//! Engine time, and how media time becomes event time (law 1).

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::{EventTime, Tick, nanos, tick_of};

/// The wall's time at the run's start, carried on by the monotone clock: steps of the machine's clock during a run
/// do not reach event times. Clones are the same clock. Beside the engine only sources that hear live cameras read it.
#[derive(Clone, Debug, Default)]
pub struct WallClock {
    /// When the run began, by the monotone clock and on the wall.
    began: Arc<OnceLock<(Instant, EventTime)>>,
}

/// This moment on the wall, where no run has a clock yet.
#[allow(clippy::disallowed_methods, reason = "the one place that asks what time it is")]
pub fn wall() -> EventTime {
    EventTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos))
}

impl WallClock {
    /// The event time of something that happens now.
    pub fn now(&self) -> EventTime {
        self.at(Instant::now())
    }

    /// The event time of a moment by the monotone clock.
    pub fn at(&self, moment: Instant) -> EventTime {
        let (began, wall) = self.origin();
        match moment.checked_duration_since(*began) {
            Some(since) => wall.plus(since),
            None => wall.minus(began.duration_since(moment)),
        }
    }

    fn origin(&self) -> &(Instant, EventTime) {
        self.began.get_or_init(|| (Instant::now(), wall()))
    }
}

/// A run's clock. Only the engine reads it; operators see event time alone.
#[derive(Debug)]
pub struct Clock {
    wall: WallClock,
    offline: bool,
}

impl Clock {
    /// A clock whose ticks are engine time; the run's start on the wall anchors media time.
    pub fn live(wall: WallClock) -> Self {
        Clock { wall, offline: false }
    }

    /// A clock whose ticks are media time: every source is finite and runs as fast as it is answered, and
    /// the same input gives the same ticks on any machine.
    pub fn offline() -> Self {
        Clock {
            wall: WallClock::default(),
            offline: true,
        }
    }

    /// The wall as sources of this run see it.
    pub fn wall_clock(&self) -> WallClock {
        self.wall.clone()
    }

    /// Starts it.
    pub fn begin(&self) {
        self.wall.origin();
    }

    /// Whether it has been started: asking a clock for the time starts it.
    pub fn has_begun(&self) -> bool {
        self.wall.began.get().is_some()
    }

    /// This moment on the wall, for logs and those who watch.
    pub fn wall(&self) -> EventTime {
        self.wall.origin().1.plus(self.elapsed())
    }

    /// Whether the run lives in its media's time.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// Time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.wall.origin().0.elapsed()
    }

    /// Microseconds since the run began.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The tick of this moment, in a live run.
    pub fn now_tick(&self) -> Tick {
        tick_of(self.elapsed())
    }

    /// The tick of a medium's moment, in an offline run.
    pub fn media_tick(media_time: i64) -> Tick {
        tick_of(Duration::from_nanos(u64::try_from(media_time).unwrap_or(0)))
    }

    /// When a picture was taken: run start plus media time since the camera's first picture, or in an
    /// offline run the medium's own time.
    pub fn event_time(&self, media_time: i64, first: i64) -> EventTime {
        if self.offline {
            return EventTime(media_time);
        }
        EventTime(self.wall.origin().1.0.saturating_add(media_time.saturating_sub(first)))
    }
}
