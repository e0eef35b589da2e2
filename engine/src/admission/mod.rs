//! Who may enter, and that everyone who entered is answered (laws 2 and 3).
//!
//! Frames in flight are bounded per camera by the number of admitted frames that some end of the
//! graph has not answered yet, and by how long one of them has waited. Past a bound a file waits and a live
//! camera sheds, counted by reason.
//! The same counts are the ledger: admitted, answered, lost, doubled.

mod delay;
mod leaf;
mod ledger;

use std::time::Duration;

use flowrun_dsl::params::{Choice, Params};

pub use leaf::Leaf;
pub use ledger::{CameraCounts, Ledger, ShedReason};

/// What every camera has, whatever its source.
#[derive(Clone, Debug, Params)]
pub struct CameraParams {
    /// How late rows may come before their window counts as complete.
    #[param(live, default = "150ms")]
    pub lateness: Duration,
    /// Who is shed last when the whole system falls behind, and whose pictures go to a model first.
    #[param(live, default = "normal")]
    pub priority: Priority,
    /// Frames that may be unanswered at once; past it a file waits and a live camera sheds.
    #[param(live, default = "8", min = 1, max = 1024)]
    pub in_flight: usize,
    /// How long frames may go unanswered: past it a file waits and a live camera sheds, so that where there is more to do
    /// than can be done, answers come no later than about this. Cameras of low priority shed at half of it, normal ones at
    /// three quarters, high ones at nine tenths. Only `in-flight` bounds them unless given.
    #[param(live)]
    pub max_delay: Option<Duration>,
}

/// How much a camera matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Priority {
    /// Shed last.
    Emergency,
    /// Shed after normal ones.
    High,
    /// The usual.
    Normal,
    /// Shed first.
    Low,
}

impl Priority {
    /// The share of the system's backlog, and of the longest delay, at which a camera of this priority is shed.
    fn share(self) -> f64 {
        match self {
            Priority::Emergency => 1.0,
            Priority::High => 0.9,
            Priority::Normal => 0.75,
            Priority::Low => 0.5,
        }
    }
}
