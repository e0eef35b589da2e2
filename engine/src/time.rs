//! The two times (ARCHITECTURE.md, law 1).
//!
//! A [`Tick`] is engine time at admission, the dataflow's timestamp: progress, order and replay read
//! it. [`EventTime`] is when a picture was taken: windows, lateness and completeness read that.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Engine time in steps of [`TICK`] since the run began.
pub type Tick = u64;

/// The length of a tick. With every frame at a time of its own, progress tracking for 1,000 cameras
/// costs more than a core; at 5 ms it is a few per cent of one.
pub const TICK: Duration = Duration::from_millis(5);

/// How often the frontier moves while nothing arrives.
pub const PULSE: Duration = Duration::from_millis(100);

/// Capture time: nanoseconds since the Unix epoch, or since the start of the medium in an offline run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventTime(pub i64);

impl EventTime {
    /// The time this far later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        EventTime(self.0.saturating_add(nanos(span)))
    }
    /// The time this far earlier.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        EventTime(self.0.saturating_sub(nanos(span)))
    }
    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: EventTime) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A span in nanoseconds, as far as i64 reaches (292 years).
pub fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// The tick in which a moment of engine time lies.
pub fn tick_of(since_start: Duration) -> Tick {
    u64::try_from(since_start.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX)
}
