//! What a frame shows: outlines in the order in which they are painted, and the truth about them.

use std::sync::Arc;

use flowrun_engine::frame::TruthBox;
use flowrun_engine::rows::{ClassId, Rect, Size, TrackId};

use super::body::{Body, KINDS};
use super::camera::Camera;
use super::figure;
use super::hull::{self, Hull};
use super::street::Fixture;

/// Rows of a thing that are looked at to tell how much of it is visible: all of those of a small one.
const SAMPLED_ROWS: usize = 24;

/// Where a thing comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Thing {
    /// Something that moves.
    Body(Body),
    /// Something of the street, by index.
    Fixture(usize),
}

/// A thing on the picture.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub thing: Thing,
    pub depth: f64,
    pub outline: Arc<[Hull]>,
    /// Around the outline: left, top, right, bottom.
    pub bounds: [f32; 4],
}

/// All things on a picture, the farthest first.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub things: Vec<Placed>,
}

fn around(outline: &[Hull]) -> [f32; 4] {
    let mut bounds = [f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
    for hull in outline {
        bounds = [
            bounds[0].min(hull.bounds[0]),
            bounds[1].min(hull.bounds[1]),
            bounds[2].max(hull.bounds[2]),
            bounds[3].max(hull.bounds[3]),
        ];
    }
    bounds
}

fn meet(a: &[f32; 4], b: &[f32; 4]) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

impl Placed {
    /// The box around what lies on the picture; for a thing that reaches beyond it, around its pixels there.
    fn bbox(&self, size: Size) -> Rect {
        let [left, top, right, bottom] = self.bounds;
        let (width, height) = (size.width as i32, size.height as i32);
        if left >= 0.0 && top >= 0.0 && right <= width as f32 && bottom <= height as f32 {
            // A tip that is narrower than a pixel has none.
            let has_none = |row: &i32| self.outline.iter().all(|hull| hull.pixels(*row, width).is_empty());
            let rows = hull::rows(top, bottom, height);
            let first = rows.clone().find(|row| !has_none(row)).unwrap_or(rows.start);
            let last = rows.rev().find(|row| !has_none(row)).unwrap_or(first);
            return Rect {
                x1: left,
                y1: top.max(first as f32),
                x2: right,
                y2: bottom.min(last as f32 + 1.0),
            };
        }
        let (mut columns, mut lines) = ((i32::MAX, 0), (i32::MAX, 0));
        for row in hull::rows(top, bottom, height) {
            for pixels in self.outline.iter().map(|hull| hull.pixels(row, width)) {
                if !pixels.is_empty() {
                    columns = (columns.0.min(pixels.start), columns.1.max(pixels.end));
                    lines = (lines.0.min(row), row + 1);
                }
            }
        }
        Rect {
            x1: columns.0 as f32,
            y1: lines.0 as f32,
            x2: columns.1 as f32,
            y2: lines.1 as f32,
        }
    }
}

impl Scene {
    /// Places what lies on the picture.
    pub fn new(bodies: &[Body], fixtures: &[Fixture], camera: &Camera, size: Size) -> Self {
        let picture = [0.0, 0.0, size.width as f32, size.height as f32];
        let mut things = Vec::with_capacity(bodies.len() + fixtures.len());
        for body in bodies {
            // Cheaper than an outline, and most things are elsewhere.
            let reach = 0.5 * body.kind.length(body.look) + 1.5;
            if !camera.may_see(body.position, reach) {
                continue;
            }
            let outline: Arc<[Hull]> = figure::outline(body, camera).into();
            let bounds = around(&outline);
            if meet(&bounds, &picture) {
                things.push(Placed {
                    thing: Thing::Body(*body),
                    depth: camera.depth(body.position),
                    outline,
                    bounds,
                });
            }
        }
        let standing = fixtures.iter().enumerate().map(|(index, fixture)| Placed {
            thing: Thing::Fixture(index),
            depth: fixture.depth,
            outline: fixture.outline.clone(),
            bounds: around(&fixture.outline),
        });
        things.extend(standing);
        things.sort_by(|a, b| b.depth.total_cmp(&a.depth));
        Scene { things }
    }

    /// The truth about everything that moves, in the order of identities. What is fully hidden is there too, as not
    /// visible; what covers no pixel's middle is not.
    pub fn truth(&self, classes: &[ClassId; KINDS.len()], size: Size) -> Vec<TruthBox> {
        let mut scratch = Scratch::default();
        let mut boxes = Vec::with_capacity(self.things.len());
        for (index, placed) in self.things.iter().enumerate() {
            let Thing::Body(body) = placed.thing else { continue };
            let Some(visible) = self.visible(index, size, &mut scratch) else {
                continue;
            };
            boxes.push(TruthBox {
                id: TrackId(body.id),
                class: classes[body.kind as usize],
                bbox: placed.bbox(size),
                visible,
            });
        }
        boxes.sort_unstable_by_key(|object| object.id);
        boxes
    }

    /// The part of a thing's pixels that nothing nearer covers; none if it has no pixels.
    fn visible<'a>(&'a self, index: usize, size: Size, scratch: &mut Scratch<'a>) -> Option<f32> {
        let own = &self.things[index];
        let (width, height) = (size.width as i32, size.height as i32);
        let rows = hull::rows(own.bounds[1], own.bounds[3], height);
        let has_pixels = |row: i32| own.outline.iter().any(|hull| !hull.pixels(row, width).is_empty());
        let nearer = self.things[index + 1..]
            .iter()
            .filter(|other| meet(&other.bounds, &own.bounds));
        let nearer = nearer.flat_map(|other| other.outline.iter());
        scratch.nearer.clear();
        scratch
            .nearer
            .extend(nearer.filter(|hull| meet(&hull.bounds, &own.bounds)));
        if scratch.nearer.is_empty() {
            return rows.into_iter().any(has_pixels).then_some(1.0);
        }
        let lines = rows.len().min(SAMPLED_ROWS);
        let step = rows.len() as f32 / lines as f32;
        let sampling = Sampling {
            top: rows.start as f32 + 0.5 * step,
            step,
            lines,
            columns: [(own.bounds[0] as i32).max(0), (own.bounds[2].ceil() as i32).min(width)],
        };
        scratch.own.draw(own.outline.iter(), &sampling);
        scratch.others.draw(scratch.nearer.iter().copied(), &sampling);
        let (mut all, mut seen) = (0, 0);
        for (word, hidden) in scratch.own.bits.iter().zip(&scratch.others.bits) {
            all += word.count_ones();
            seen += (word & !hidden).count_ones();
        }
        if all == 0 {
            return rows.into_iter().any(has_pixels).then_some(0.0);
        }
        Some(seen as f32 / all as f32)
    }
}

/// Memory that is used again for every thing of a picture.
#[derive(Default)]
struct Scratch<'a> {
    nearer: Vec<&'a Hull>,
    own: Mask,
    others: Mask,
}

/// Which pixels are looked at.
struct Sampling {
    /// Height of the first line, and from one to the next: every row's middle for a small thing.
    top: f32,
    step: f32,
    lines: usize,
    /// The first pixel of a line, and the one behind the last.
    columns: [i32; 2],
}

/// Which pixels of sampled lines are covered, one bit each.
#[derive(Default)]
struct Mask {
    bits: Vec<u64>,
}

impl Mask {
    /// Starts anew with what polygons cover.
    fn draw<'a>(&mut self, hulls: impl Iterator<Item = &'a Hull>, sampling: &Sampling) {
        let [first, end] = sampling.columns;
        let words = ((end - first).max(0) as usize).div_ceil(64);
        self.bits.clear();
        self.bits.resize(words * sampling.lines, 0);
        let mut spans = [(0f32, 0f32); SAMPLED_ROWS];
        for hull in hulls {
            hull.spans(sampling.top, sampling.step, &mut spans[..sampling.lines]);
            for (line, (left, right)) in spans[..sampling.lines].iter().enumerate() {
                let from = hull::middles(*left, end).max(first) - first;
                let to = hull::middles(*right, end) - first;
                if from < to {
                    cover(&mut self.bits[line * words..][..words], from as usize, to as usize);
                }
            }
        }
    }
}

/// Sets the bits from one to before another.
fn cover(bits: &mut [u64], from: usize, to: usize) {
    let (start, last) = (from / 64, (to - 1) / 64);
    let (head, tail) = (u64::MAX << (from % 64), u64::MAX >> (63 - (to - 1) % 64));
    if start == last {
        bits[last] |= head & tail;
        return;
    }
    bits[start] |= head;
    bits[start + 1..last].fill(u64::MAX);
    bits[last] |= tail;
}
