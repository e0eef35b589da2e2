//! Analyses of tracks: stays in zones, lines passed.

mod cross;
pub mod geometry;
mod roster;
mod visit;

pub use cross::{CrossLines, CrossParams, CrossState};
pub use visit::{VisitParams, VisitState, VisitZones};

use flowrun_dsl::params::Choice;
use flowrun_engine::rows::Rect;

use geometry::Point;

/// Which point of a box stands for the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Anchor {
    /// The middle of the lower edge: where a standing thing touches the ground.
    Feet,
    /// The middle of the box.
    Centre,
}

impl Anchor {
    /// The point in pixels; none for a box that is not finite.
    pub fn of(self, bbox: &Rect) -> Option<Point> {
        let Rect { x1, y1, x2, y2 } = *bbox;
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(f64::from);
        let point = match self {
            Anchor::Feet => [0.5 * (x1 + x2), y2],
            Anchor::Centre => [0.5 * (x1 + x2), 0.5 * (y1 + y2)],
        };
        [x1, y1, x2, y2]
            .iter()
            .all(|number| number.is_finite())
            .then_some(point)
    }
}
