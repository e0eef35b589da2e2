//! What is drawn on one picture, and in which order: zones lie under boxes, and labels above all.

use std::sync::Arc;

use flowrun_engine::names::Names;
use flowrun_engine::rows::{Detection, Rect, Track, ZoneId};
use flowrun_engine::time::EventTime;

use super::ColourBy;
use super::canvas::{Canvas, text_size};
use super::colour::{BLACK, Rgb, Samples, colour_of};
use super::label::{Label, Subject};
use crate::utc::Utc;

/// The strokes of a polygon or line, in pixels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outline {
    strokes: Vec<([f32; 2], [f32; 2])>,
    colour: Rgb,
}

/// Colours of zones: apart from those of boxes, and from each other by turns.
const ZONE_COLOURS: [Rgb; 4] = [[1.0, 0.9, 0.2], [0.2, 0.95, 1.0], [1.0, 0.5, 1.0], [0.6, 1.0, 0.4]];

fn zone_colour(id: ZoneId) -> Rgb {
    ZONE_COLOURS[usize::from(id.0) % ZONE_COLOURS.len()]
}

fn near([x, y]: [f64; 2]) -> [f32; 2] {
    [x as f32, y as f32]
}

impl Outline {
    /// A polygon, closed.
    pub fn polygon(id: ZoneId, corners: &[[f64; 2]]) -> Self {
        let next = corners.iter().cycle().skip(1);
        Outline {
            strokes: corners.iter().zip(next).map(|(a, b)| (near(*a), near(*b))).collect(),
            colour: zone_colour(id),
        }
    }

    /// A line, with an arrow from its middle to its forward side: the right of a -> b.
    pub fn line(id: ZoneId, [a, b]: [[f64; 2]; 2]) -> Self {
        let (a, b) = (near(a), near(b));
        let (across, down) = (b[0] - a[0], b[1] - a[1]);
        let middle = [a[0] + across / 2.0, a[1] + down / 2.0];
        let (forward, along) = (
            [-down, across].map(|part| part / 12.0),
            [across, down].map(|part| part / 36.0),
        );
        let tip = [middle[0] + forward[0], middle[1] + forward[1]];
        let barb = |side: f32| [0, 1].map(|axis| tip[axis] - forward[axis] / 3.0 + side * along[axis]);
        Outline {
            strokes: vec![(a, b), (middle, tip), (tip, barb(1.0)), (tip, barb(-1.0))],
            colour: zone_colour(id),
        }
    }
}

/// What is drawn on one picture.
pub(super) struct Scene {
    pub tracks: Box<[Track]>,
    pub detections: Box<[Detection]>,
    pub outlines: Arc<[Outline]>,
    pub label: Arc<Label>,
    pub names: Arc<Names>,
    pub colour: ColourBy,
    pub time: Option<EventTime>,
}

impl Scene {
    /// Paints it. Sizes follow the picture's height; dark edges keep light strokes apart from light ground.
    pub fn paint(&self, canvas: &mut Canvas) {
        let height = canvas.size().1 as f32;
        let thick = (height / 270.0).round().max(2.0) as i32;
        let scale = (height / 400.0).round().max(1.0) as i32;
        let black = Samples::of(BLACK, canvas.layout());
        for (edge, of) in [(2, true), (0, false)] {
            for outline in self.outlines.iter() {
                let colour = if of {
                    black
                } else {
                    Samples::of(outline.colour, canvas.layout())
                };
                for (a, b) in &outline.strokes {
                    canvas.line(*a, *b, thick + edge, colour);
                }
            }
        }
        let detections = self.detections.iter().map(|row| {
            let subject = Subject {
                class: row.class,
                track: None,
                score: row.score,
            };
            (row.bbox, subject)
        });
        let tracks = self.tracks.iter().map(|row| {
            let subject = Subject {
                class: row.class,
                track: Some(row.id),
                score: row.score,
            };
            (row.bbox, subject)
        });
        let boxes: Vec<(Rect, Subject)> = detections.chain(tracks).collect();
        let colour = |subject: &Subject| match (self.colour, subject.track) {
            (ColourBy::Track, Some(track)) => colour_of(track.0),
            _ => colour_of(u64::from(subject.class.0)),
        };
        for (bbox, subject) in &boxes {
            let (from, to) = corners(bbox);
            canvas.frame(from, to, thick + 2, black);
            let colour = Samples::of(colour(subject), canvas.layout());
            canvas.frame(from, to, thick, colour);
        }
        for (bbox, subject) in &boxes {
            let label = self.label.of(subject, &self.names);
            if !label.is_empty() {
                let (x, y) = corners(bbox).0;
                let plate = Samples::of(colour(subject), canvas.layout());
                canvas.text((x, y - text_size(&label, scale).1), &label, scale, plate);
            }
        }
        if let Some(time) = self.time {
            let text = Utc::from(time).plain();
            canvas.text((scale, scale), &text, scale, black);
        }
    }
}

/// A box's corners on the grid of pixels. The conversion saturates, and makes nought of what is no number.
fn corners(bbox: &Rect) -> ((i32, i32), (i32, i32)) {
    let far = 1e6;
    let whole = |at: f32| at.clamp(-far, far).round() as i32;
    ((whole(bbox.x1), whole(bbox.y1)), (whole(bbox.x2), whole(bbox.y2)))
}
