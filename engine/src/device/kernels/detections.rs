//! What a detection head proposes and what of it is kept: the reference of `detections.cu`.

use std::ops::Range;

use half::f16;

use super::{Shape, host, host_mut};

/// What is kept of one picture. The layout is the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Choice {
    /// Scores up to this are dropped.
    pub min_score: f32,
    /// Of two boxes that overlap by more than this, the less sure one is dropped.
    pub iou: f32,
    /// The most boxes that are kept.
    pub max: u32,
    /// 1 where boxes of different classes suppress each other.
    pub agnostic: u32,
}

/// A box that the head proposes. The layout is the kernel's.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Proposal {
    corners: [f32; 4],
    score: f32,
    class: u32,
    anchor: u32,
    unused: u32,
}

/// A box that is kept, in pixels of the model's input. The layout is the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Kept {
    /// Left, top, right, bottom.
    pub corners: [f32; 4],
    /// How sure.
    pub score: f32,
    /// Index of the class in the model.
    pub class: u32,
}

/// Bins of the distribution of a side's distance from its anchor's point (Li et al., Generalized Focal Loss, 2020).
pub const BINS: usize = 16;

/// How a head tells boxes and scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxForm {
    /// Ready: rows of centre x, centre y, width and height, and of scores, each over all anchors.
    Decoded,
    /// Of a model without its last steps, with an input so many pixels across and down: for one grid of anchors after the
    /// other [`BINS`] rows for each side, and rows of logits, each over the anchors of the grid.
    Undecoded([u32; 2]),
}

impl BoxForm {
    /// Rows before those of the classes.
    pub fn rows(self) -> usize {
        match self {
            BoxForm::Decoded => 4,
            BoxForm::Undecoded(_) => 4 * BINS,
        }
    }

    /// The number that an anchor's best class has to be above to be told at all.
    pub fn least(self) -> f32 {
        match self {
            BoxForm::Decoded => 0.0,
            BoxForm::Undecoded(_) => f32::NEG_INFINITY,
        }
    }

    /// What the number of an anchor's best class says of how sure it is.
    pub fn score(self, best: f32) -> f32 {
        match self {
            BoxForm::Decoded => best,
            BoxForm::Undecoded(_) => logistic(best),
        }
    }

    /// The anchors, of so many, that this one shares its rows with.
    pub fn grid(self, anchors: usize, anchor: usize) -> Range<usize> {
        match self {
            BoxForm::Decoded => 0..anchors,
            BoxForm::Undecoded(size) => grid_of(size, anchor).0,
        }
    }

    /// All of them that share their rows, one after the other.
    pub fn grids(self, anchors: usize) -> impl Iterator<Item = Range<usize>> {
        let from = move |first: usize| {
            let grid = (first < anchors).then(|| self.grid(anchors, first));
            grid.filter(|grid| !grid.is_empty())
        };
        std::iter::successors(from(0), move |grid| from(grid.end))
    }
}

/// Pixels between the anchors of a model's three grids, the finest first.
const STRIDES: [u32; 3] = [8, 16, 32];

/// How many anchors a model has whose input is so many pixels across and down.
pub fn anchors_of(size: [u32; 2]) -> usize {
    STRIDES.iter().map(|stride| anchors_at(size, *stride)).sum()
}

/// How many of them are so many pixels apart.
fn anchors_at([width, height]: [u32; 2], stride: u32) -> usize {
    (width / stride) as usize * (height / stride) as usize
}

/// The anchors of an anchor's grid, and its stride.
fn grid_of(size: [u32; 2], anchor: usize) -> (Range<usize>, u32) {
    let (mut first, mut stride) = (0, STRIDES[0]);
    while stride < STRIDES[2] && anchor - first >= anchors_at(size, stride) {
        first += anchors_at(size, stride);
        stride *= 2;
    }
    (first..first + anchors_at(size, stride), stride)
}

/// The point of an anchor, and its stride.
fn anchor_of(size: [u32; 2], anchor: usize) -> [f32; 3] {
    let (grid, stride) = grid_of(size, anchor);
    let place = (anchor - grid.start) as u32;
    let across = (size[0] / stride).max(1);
    let at = |place: u32| (place as f32 + 0.5) * stride as f32;
    [at(place % across), at(place / across), stride as f32]
}

/// The mean of a distribution over 0, 1, 2, ... whose logits these are.
fn mean_bin(logits: &[f32; BINS]) -> f32 {
    let (mut most, mut sum, mut weighed) = (f32::NEG_INFINITY, 0.0, 0.0);
    for logit in logits {
        most = if *logit > most { *logit } else { most };
    }
    for (bin, logit) in (0_u8..).zip(logits) {
        let share = power(*logit - most);
        sum += share;
        weighed += share * f32::from(bin);
    }
    weighed / sum
}

/// The logistic function.
fn logistic(logit: f32) -> f32 {
    let part = power(if logit > 0.0 { -logit } else { logit });
    (if logit > 0.0 { 1.0 } else { part }) / (1.0 + part)
}

/// e to the power of a number that is at most nought, by sums and products alone, so that all devices agree to the bit
/// (`expf` of Moshier's Cephes library, 1989).
fn power(x: f32) -> f32 {
    // Written so that what is no number stays none.
    let x = if x < -87.0 { -87.0 } else { x };
    let halvings = (x * std::f32::consts::LOG2_E).round_ties_even();
    let rest = x - halvings * 0.693_359_4 - halvings * -2.121_944_4e-4;
    let factors = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let sum = factors
        .iter()
        .fold(1.987_569_2e-4_f32, |sum, factor| sum * rest + factor);
    (sum * (rest * rest) + rest + 1.0) * f32::from_bits((((halvings as i32) + 127) as u32) << 23)
}

/// Reads a head into proposals: see [`BoxForm`].
#[derive(Clone, Copy, Debug)]
pub struct Propose {
    /// The head's answer.
    pub head: u64,
    /// Whether it is of fp16 rather than fp32.
    pub half: bool,
    /// How it tells boxes and scores.
    pub boxes: BoxForm,
    /// One [`Choice`] a place.
    pub choices: u64,
    /// For each place and class one byte: 1 where it is wanted.
    pub wanted: u64,
    /// Room for `anchors` proposals a place.
    pub proposals: u64,
    /// One `u32` a place, nought before.
    pub counts: u64,
    /// Classes.
    pub classes: u32,
    /// Anchors.
    pub anchors: u32,
    /// Pictures.
    pub places: u32,
}

/// Thins proposals out.
#[derive(Clone, Copy, Debug)]
pub struct Suppress {
    /// One [`Choice`] a place.
    pub choices: u64,
    /// What [`Propose`] wrote.
    pub proposals: u64,
    /// What [`Propose`] counted.
    pub counts: u64,
    /// Room for `most` [`Kept`] a place.
    pub kept: u64,
    /// One `u32` a place.
    pub kept_counts: u64,
    /// Anchors.
    pub anchors: u32,
    /// The most that can be kept.
    pub most: u32,
    /// Pictures.
    pub places: u32,
}

impl Propose {
    pub(super) fn shape(&self) -> Shape {
        Shape {
            grid: [self.anchors.div_ceil(128), self.places, 1],
            block: [128, 1, 1],
        }
    }

    pub(super) fn arguments(&self) -> [u64; 9] {
        let Propose {
            head,
            choices,
            wanted,
            proposals,
            counts,
            classes,
            anchors,
            ..
        } = *self;
        let [width, height] = match self.boxes {
            BoxForm::Decoded => [0, 0],
            BoxForm::Undecoded(size) => size,
        };
        [
            head,
            choices,
            wanted,
            proposals,
            counts,
            classes.into(),
            anchors.into(),
            width.into(),
            height.into(),
        ]
    }

    pub(super) unsafe fn on_host(&self) {
        let (places, classes, anchors) = (self.places as usize, self.classes as usize, self.anchors as usize);
        let box_rows = self.boxes.rows();
        let rows = box_rows + classes;
        let numbers = rows * anchors;
        for place in 0..places {
            let value = |at: usize| {
                let at = place * numbers + at;
                // SAFETY: the caller of `Work::on_host` promises a head of this shape.
                unsafe {
                    if self.half {
                        host::<f16>(self.head, places * numbers)[at].to_f32()
                    } else {
                        host::<f32>(self.head, places * numbers)[at]
                    }
                }
            };
            // SAFETY: the caller promises as much of each.
            let (choice, wanted, proposals, count) = unsafe {
                (
                    host::<Choice>(self.choices, places)[place],
                    &host::<u8>(self.wanted, places * classes)[place * classes..][..classes],
                    &mut host_mut::<Proposal>(self.proposals, places * anchors)[place * anchors..][..anchors],
                    &mut host_mut::<u32>(self.counts, places)[place],
                )
            };
            for anchor in 0..anchors {
                let grid = self.boxes.grid(anchors, anchor);
                let value = |row: usize| value(rows * grid.start + row * grid.len() + anchor - grid.start);
                let (mut best, mut class) = (self.boxes.least(), 0);
                for index in 0..classes {
                    let score = value(box_rows + index);
                    if score > best {
                        (best, class) = (score, index);
                    }
                }
                best = self.boxes.score(best);
                if best <= choice.min_score || wanted[class] == 0 {
                    continue;
                }
                let corners = self.boxes.corners(anchor, value);
                if !corners.iter().chain([&best]).all(|number| number.is_finite()) {
                    continue;
                }
                proposals[*count as usize] = Proposal {
                    corners,
                    score: best.min(1.0),
                    class: class as u32,
                    anchor: anchor as u32,
                    unused: 0,
                };
                *count += 1;
            }
        }
    }
}

impl BoxForm {
    /// Left, top, right and bottom of an anchor's box, out of its rows.
    pub fn corners(self, anchor: usize, row: impl Fn(usize) -> f32) -> [f32; 4] {
        match self {
            BoxForm::Decoded => {
                let [x, y, width, height] = [0, 1, 2, 3].map(row);
                [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0]
            }
            BoxForm::Undecoded(size) => {
                let [x, y, stride] = anchor_of(size, anchor);
                let distance = |side: usize| stride * mean_bin(&std::array::from_fn(|bin| row(side * BINS + bin)));
                let [left, top, right, bottom] = [0, 1, 2, 3].map(distance);
                [x - left, y - top, x + right, y + bottom]
            }
        }
    }
}

impl Suppress {
    pub(super) fn shape(&self) -> Shape {
        Shape {
            grid: [self.places, 1, 1],
            block: [256, 1, 1],
        }
    }

    pub(super) fn arguments(&self) -> [u64; 7] {
        let Suppress {
            choices,
            proposals,
            counts,
            kept,
            kept_counts,
            anchors,
            most,
            ..
        } = *self;
        [
            choices,
            proposals,
            counts,
            kept,
            kept_counts,
            anchors.into(),
            most.into(),
        ]
    }

    pub(super) unsafe fn on_host(&self) {
        let (places, anchors, most) = (self.places as usize, self.anchors as usize, self.most as usize);
        for place in 0..places {
            // SAFETY: the caller of `Work::on_host` promises as much of each.
            let (choice, count, proposals, kept, kept_count) = unsafe {
                (
                    host::<Choice>(self.choices, places)[place],
                    (host::<u32>(self.counts, places)[place] as usize).min(anchors),
                    &mut host_mut::<Proposal>(self.proposals, places * anchors)[place * anchors..][..anchors],
                    &mut host_mut::<Kept>(self.kept, places * most)[place * most..][..most],
                    &mut host_mut::<u32>(self.kept_counts, places)[place],
                )
            };
            let proposals = &mut proposals[..count];
            proposals.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.anchor.cmp(&b.anchor)));
            let mut found = 0;
            for proposal in proposals.iter() {
                if found == most.min(choice.max as usize) {
                    break;
                }
                let agnostic = choice.agnostic != 0;
                let own = shifted(proposal.corners, proposal.class, agnostic);
                let over = kept[..found].iter().any(|kept| {
                    let same = agnostic || kept.class == proposal.class;
                    same && overlap(shifted(kept.corners, kept.class, agnostic), own) > choice.iou
                });
                if !over {
                    kept[found] = Kept {
                        corners: proposal.corners,
                        score: proposal.score,
                        class: proposal.class,
                    };
                    found += 1;
                }
            }
            *kept_count = found as u32;
        }
    }
}

/// A box moved by its class, as Ultralytics compares it.
fn shifted(corners: [f32; 4], class: u32, agnostic: bool) -> [f32; 4] {
    let offset = if agnostic { 0.0 } else { class as f32 * 7680.0 };
    corners.map(|corner| corner + offset)
}

fn overlap([ax1, ay1, ax2, ay2]: [f32; 4], [bx1, by1, bx2, by2]: [f32; 4]) -> f32 {
    let width = (ax2.min(bx2) - ax1.max(bx1)).max(0.0);
    let height = (ay2.min(by2) - ay1.max(by1)).max(0.0);
    let shared = width * height;
    shared / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layouts_are_the_kernels() {
        assert_eq!(
            (size_of::<Choice>(), size_of::<Proposal>(), size_of::<Kept>()),
            (16, 32, 24)
        );
    }

    proptest! {
        #[test]
        fn every_anchor_is_in_one_grid(width in 0_u32..200, height in 0_u32..200) {
            let (form, anchors) = (BoxForm::Undecoded([width, height]), anchors_of([width, height]));
            let mut next = 0;
            for grid in form.grids(anchors) {
                prop_assert_eq!(grid.start, next);
                for anchor in grid.clone() {
                    prop_assert_eq!(form.grid(anchors, anchor), grid.clone());
                }
                next = grid.end;
            }
            prop_assert_eq!(next, anchors);
            prop_assert_eq!(BoxForm::Decoded.grids(anchors).map(|grid| grid.len()).sum::<usize>(), anchors);
        }
    }

    #[test]
    fn powers_are_those_of_e() {
        for step in 0..200_000 {
            let x = -87.0 * (step as f32 / 200_000.0);
            let (here, wanted) = (f64::from(power(x)), f64::from(x).exp());
            assert!((here - wanted).abs() <= 2e-7 * wanted, "e^{x}: {here} for {wanted}");
        }
        assert_eq!((power(0.0), logistic(0.0), logistic(f32::INFINITY)), (1.0, 0.5, 1.0));
        assert!(power(f32::NEG_INFINITY) < 1e-37 && power(f32::NAN).is_nan());
    }
}
