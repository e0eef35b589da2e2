//! What a frame shows: outlines in the order in which they are painted, and the truth about them.

use flowrun_engine::frame::TruthBox;
use flowrun_engine::rows::{ClassId, Rect, Size, TrackId};

use super::body::{Body, KINDS};
use super::camera::Camera;
use super::figure;
use super::hull::{self, Hull};
use super::street::Fixture;

/// Rows of a thing that are looked at to tell how much of it is visible: all of those of a small one.
const SAMPLED_ROWS: i32 = 24;

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
    pub outline: Vec<Hull>,
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
            let outline = figure::outline(body, camera);
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
        let (width, height) = (size.width as f32, size.height as f32);
        let mut boxes = Vec::with_capacity(self.things.len());
        for (index, placed) in self.things.iter().enumerate() {
            let Thing::Body(body) = placed.thing else { continue };
            let Some(visible) = self.visible(index, size) else {
                continue;
            };
            let [left, top, right, bottom] = placed.bounds;
            boxes.push(TruthBox {
                id: TrackId(body.id),
                class: classes[body.kind as usize],
                bbox: Rect {
                    x1: left.max(0.0),
                    y1: top.max(0.0),
                    x2: right.min(width),
                    y2: bottom.min(height),
                },
                visible,
            });
        }
        boxes.sort_unstable_by_key(|object| object.id);
        boxes
    }

    /// The part of a thing's pixels that nothing nearer covers; none if it has no pixels.
    fn visible(&self, index: usize, size: Size) -> Option<f32> {
        let own = &self.things[index];
        let (width, height) = (size.width as i32, size.height as i32);
        let rows = hull::rows(own.bounds[1], own.bounds[3], height);
        let count = rows.len() as i32;
        let nearer: Vec<&Placed> = self.things[index + 1..]
            .iter()
            .filter(|other| meet(&other.bounds, &own.bounds))
            .collect();
        let sampled = count.min(if nearer.is_empty() { 4 } else { SAMPLED_ROWS });
        let (mut all, mut seen) = (0, 0);
        let mut spans = Spans::default();
        for sample in 0..sampled {
            // The middle of each of as many equal parts.
            let row = rows.start + (2 * sample + 1) * count / (2 * sampled);
            spans.clear();
            for other in &nearer {
                spans.add(other.outline.iter().map(|hull| hull.pixels(row, width)));
            }
            let hidden = spans.length();
            spans.add(own.outline.iter().map(|hull| hull.pixels(row, width)));
            let either = spans.length();
            spans.clear();
            spans.add(own.outline.iter().map(|hull| hull.pixels(row, width)));
            all += spans.length();
            seen += either - hidden;
        }
        if all == 0 {
            let any = rows
                .into_iter()
                .any(|row| own.outline.iter().any(|hull| !hull.pixels(row, width).is_empty()));
            return any.then_some(if nearer.is_empty() { 1.0 } else { 0.0 });
        }
        Some(seen as f32 / all as f32)
    }
}

/// Pieces of a row that may overlap.
#[derive(Default)]
struct Spans {
    pieces: Vec<(i32, i32)>,
}

impl Spans {
    fn clear(&mut self) {
        self.pieces.clear();
    }
    fn add(&mut self, pieces: impl Iterator<Item = std::ops::Range<i32>>) {
        let pieces = pieces.filter(|piece| !piece.is_empty());
        self.pieces.extend(pieces.map(|piece| (piece.start, piece.end)));
    }
    /// Pixels in at least one piece.
    fn length(&mut self) -> i32 {
        self.pieces.sort_unstable();
        let (mut total, mut end) = (0, i32::MIN);
        for &(from, to) in &self.pieces {
            total += (to - from.max(end)).max(0);
            end = end.max(to);
        }
        total
    }
}
