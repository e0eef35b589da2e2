//! Those who watch a run while it goes on: what is served to them, and what they want.

use crate::clock;
use crate::demand::Demands;
use crate::site::Site;
use crate::time::EventTime;

/// A run's site, and the demand on each of its nodes.
pub struct Audience {
    /// What is served.
    pub site: Site,
    /// What is wanted.
    pub demands: Demands,
    /// When the run was made ready, on the wall. What is numbered for viewers is numbered from here, so that numbers
    /// go on growing from run to run.
    pub opened: EventTime,
}

impl Default for Audience {
    /// Nobody yet.
    fn default() -> Self {
        Audience {
            site: Site::default(),
            demands: Demands::default(),
            opened: clock::wall(),
        }
    }
}
