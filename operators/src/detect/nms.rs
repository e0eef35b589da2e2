//! Greedy non-maximum suppression, with the decisions of Ultralytics' `non_max_suppression`.
//!
//! The arithmetic is theirs to the bit (fp32, boxes shifted by class before they are compared), so
//! that the same head tensor gives the same boxes.

use flowrun_engine::rows::Rect;

/// A box that the head proposes, in pixels of the model's input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Where.
    pub bbox: Rect,
    /// How sure, 0 to 1.
    pub score: f32,
    /// Index of the class in the model.
    pub class: usize,
}

/// What is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Scores up to this are dropped.
    pub min_score: f32,
    /// Of two boxes that overlap by more than this, the one with the lower score is dropped.
    pub iou: f32,
    /// The most boxes that are kept.
    pub max: usize,
    /// Whether boxes of different classes suppress each other.
    pub agnostic: bool,
    /// For each class of the model whether it is wanted; none wants all.
    pub classes: Option<Vec<bool>>,
}

impl Settings {
    /// Whether boxes of a class are wanted.
    pub fn wants(&self, class: usize) -> bool {
        self.classes
            .as_ref()
            .is_none_or(|wanted| wanted.get(class).is_some_and(|wanted| *wanted))
    }
}

/// Candidates beyond this many are dropped, the least sure first.
pub(super) const MAX_CANDIDATES: usize = 30_000;
/// Pixels between the planes that boxes of different classes are moved to.
const CLASS_OFFSET: f32 = 7680.0;

/// Sorts candidates, the surest first and equals in the order given, and keeps at most `settings.max` of
/// which no two of a class overlap by more than `settings.iou`. `shifted` is scratch.
pub fn suppress(candidates: &mut Vec<Candidate>, settings: &Settings, shifted: &mut Vec<Rect>) {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MAX_CANDIDATES);
    shifted.clear();
    let mut kept = 0;
    for index in 0..candidates.len() {
        if kept == settings.max {
            break;
        }
        let candidate = candidates[index];
        let bbox = shift(&candidate, settings.agnostic);
        let same = |other: &Candidate| settings.agnostic || other.class == candidate.class;
        let suppressed = candidates[..kept]
            .iter()
            .zip(shifted.iter())
            .any(|(other, over)| same(other) && overlap(over, &bbox) > settings.iou);
        if !suppressed {
            shifted.push(bbox);
            candidates[kept] = candidate;
            kept += 1;
        }
    }
    candidates.truncate(kept);
}

/// The box as Ultralytics compares it: moved by its class, and so rounded to what fp32 holds there.
fn shift(candidate: &Candidate, agnostic: bool) -> Rect {
    let offset = if agnostic {
        0.0
    } else {
        candidate.class as f32 * CLASS_OFFSET
    };
    Rect {
        x1: candidate.bbox.x1 + offset,
        y1: candidate.bbox.y1 + offset,
        x2: candidate.bbox.x2 + offset,
        y2: candidate.bbox.y2 + offset,
    }
}

/// Intersection over union as `torchvision.ops.nms` computes it; NaN, which suppresses nothing, for two boxes without area.
fn overlap(a: &Rect, b: &Rect) -> f32 {
    let width = (a.x2.min(b.x2) - a.x1.max(b.x1)).max(0.0);
    let height = (a.y2.min(b.y2) - a.y1.max(b.y1)).max(0.0);
    let shared = width * height;
    shared / (a.width() * a.height() + b.width() * b.height() - shared)
}
