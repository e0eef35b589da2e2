//! What a detection head proposes and what of it is kept: the reference of `detections.cu`.

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

/// Reads a head of `[places, 4 + classes, anchors]` into proposals.
#[derive(Clone, Copy, Debug)]
pub struct Propose {
    /// The head's answer.
    pub head: u64,
    /// Whether it is of fp16 rather than fp32.
    pub half: bool,
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

    pub(super) fn arguments(&self) -> [u64; 7] {
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
        [head, choices, wanted, proposals, counts, classes.into(), anchors.into()]
    }

    pub(super) unsafe fn on_host(&self) {
        let (places, classes, anchors) = (self.places as usize, self.classes as usize, self.anchors as usize);
        let numbers = (4 + classes) * anchors;
        for place in 0..places {
            let value = |row: usize, anchor: usize| {
                let at = place * numbers + row * anchors + anchor;
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
                let (mut best, mut class) = (0.0, 0);
                for index in 0..classes {
                    let score = value(4 + index, anchor);
                    if score > best {
                        (best, class) = (score, index);
                    }
                }
                if best <= choice.min_score || wanted[class] == 0 {
                    continue;
                }
                let [x, y, width, height] = [0, 1, 2, 3].map(|row| value(row, anchor));
                let corners = [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0];
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
    use super::*;

    #[test]
    fn layouts_are_the_kernels() {
        assert_eq!(
            (size_of::<Choice>(), size_of::<Proposal>(), size_of::<Kept>()),
            (16, 32, 24)
        );
    }
}
