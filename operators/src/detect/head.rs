//! The output layouts of detection models, read into candidates.
//!
//! `Grid` is what YOLOv8, YOLO11 and their kin answer: a box and a score per class at each anchor, still to be thinned out by
//! [`super::nms`]; with their last steps left off ([`super::undecoded`]), what those are made of. `EndToEnd` is what YOLOv10
//! and exports with `nms=True` give: boxes that need no thinning.

use std::ops::Range;
use std::sync::Arc;

use flowrun_engine::device::{BoxForm, HeadShape};
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::infer::HeadForm;
use flowrun_engine::rows::Rect;

use super::nms::{Candidate, MAX_CANDIDATES, Settings, suppress};

/// Scratch memory of one thread.
#[derive(Debug, Default)]
pub struct HeadScratch {
    best: Vec<f32>,
    shifted: Vec<Rect>,
}

/// How a model's output is to be read.
pub trait Head: Send + Sync {
    /// How many classes the output tells apart; none when its shape does not say.
    fn classes(&self) -> Option<usize>;

    /// Elements of the output for one picture.
    fn picture_len(&self) -> usize;

    /// How a device is to read it, where boxes are thinned out to at most `most`.
    fn form(&self, most: usize) -> HeadForm;

    /// Replaces `out` by what is kept of one picture's output, the surest first, in pixels of the model's input.
    /// Numbers that are not finite never get out.
    fn read(&self, output: &[f32], settings: &Settings, scratch: &mut HeadScratch, out: &mut Vec<Candidate>);
}

/// Chooses by the shape of the output for `batch` pictures; `classes` is how many names the model brings, if any.
///
/// # Errors
/// When the shape is neither's.
pub fn head_of(dims: &[usize], batch: usize, classes: Option<usize>) -> Result<Arc<dyn Head>> {
    match *dims {
        [pictures, rows, 6] if pictures == batch && rows > 0 => Ok(Arc::new(EndToEnd { rows })),
        [pictures, channels, anchors]
            if pictures == batch && anchors > 0 && channels > 4 && fits(channels, anchors, classes) =>
        {
            Ok(Arc::new(Grid(HeadShape {
                boxes: BoxForm::Decoded,
                classes: channels - 4,
                anchors,
            })))
        }
        _ => Err(OperatorError::new(format!(
            "the model answers {dims:?}, which is neither [{batch}, 4 + classes, anchors] nor [{batch}, boxes, 6]"
        ))
        .help("use a detection model of YOLOv8 or later, as `yolo export format=onnx` writes it")),
    }
}

/// Whether a dimension is 4 + classes. Without names to count, a shape that is higher than wide is taken for
/// YOLOv5's, where each row is an anchor and a column says whether there is any object.
fn fits(channels: usize, anchors: usize, classes: Option<usize>) -> bool {
    classes.map_or(channels < anchors, |classes| channels == classes + 4)
}

/// For the anchors of one grid after the other rows that boxes are made of, then a row for each class.
#[derive(Debug)]
pub(super) struct Grid(pub HeadShape);

impl Grid {
    /// The grids of an answer: their anchors, and their numbers.
    pub fn grids<'a>(&self, output: &'a [f32]) -> impl Iterator<Item = (Range<usize>, &'a [f32])> {
        let rows = self.0.rows();
        let grids = self.0.boxes.grids(self.0.anchors);
        grids.map(move |grid| (grid.clone(), &output[rows * grid.start..rows * grid.end]))
    }

    /// The box of an anchor, from the numbers of its grid.
    pub fn bbox(&self, grid: &Range<usize>, numbers: &[f32], anchor: usize) -> Rect {
        let row = |row: usize| numbers[row * grid.len() + anchor - grid.start];
        let [x1, y1, x2, y2] = self.0.boxes.corners(anchor, row);
        Rect { x1, y1, x2, y2 }
    }
}

impl Head for Grid {
    fn classes(&self) -> Option<usize> {
        Some(self.0.classes)
    }

    fn picture_len(&self) -> usize {
        self.0.rows() * self.0.anchors
    }

    fn form(&self, most: usize) -> HeadForm {
        // The device keeps a place for each anchor, and so no list that is cut off.
        HeadForm::Grid(self.0, (self.0.anchors <= MAX_CANDIDATES).then_some(most))
    }

    fn read(&self, output: &[f32], settings: &Settings, scratch: &mut HeadScratch, out: &mut Vec<Candidate>) {
        out.clear();
        let HeadShape { boxes, classes, .. } = self.0;
        for (grid, numbers) in self.grids(output) {
            let scores = &numbers[boxes.rows() * grid.len()..];
            highest(scores, grid.len(), boxes.least(), &mut scratch.best);
            for (place, best) in scratch.best.iter().enumerate() {
                let score = boxes.score(*best);
                if score <= settings.min_score {
                    continue;
                }
                let class = (0..classes).find(|class| scores[class * grid.len() + place] == *best);
                let Some(class) = class.filter(|class| settings.wants(*class)) else {
                    continue;
                };
                out.extend(candidate(self.bbox(&grid, numbers, grid.start + place), score, class));
            }
        }
        suppress(out, settings, &mut scratch.shifted);
    }
}

/// Puts into `best` the highest number at each of so many anchors, of a row for each class, and `least` where all are lower.
/// In a pass of its own: it is branch-free over all anchors, and which class it is is wanted for few.
fn highest(scores: &[f32], anchors: usize, least: f32, best: &mut Vec<f32>) {
    best.clear();
    best.resize(anchors, least);
    for row in scores.chunks_exact(anchors) {
        for (best, score) in best.iter_mut().zip(row) {
            *best = if *score > *best { *score } else { *best };
        }
    }
}

/// `[boxes, 6]`: rows of left, top, right, bottom, score, class.
#[derive(Debug)]
struct EndToEnd {
    rows: usize,
}

impl Head for EndToEnd {
    fn classes(&self) -> Option<usize> {
        None
    }

    fn picture_len(&self) -> usize {
        self.rows * 6
    }

    fn form(&self, _: usize) -> HeadForm {
        HeadForm::Rows(self.rows, 6)
    }

    fn read(&self, output: &[f32], settings: &Settings, _: &mut HeadScratch, out: &mut Vec<Candidate>) {
        out.clear();
        for row in output.as_chunks::<6>().0 {
            let [x1, y1, x2, y2, score, class] = *row;
            // A class is a whole number written as a float; the cast takes NaN and negatives to 0, so they are told apart first.
            if score > settings.min_score && class >= 0.0 && settings.wants(class as usize) {
                out.extend(candidate(Rect { x1, y1, x2, y2 }, score, class as usize));
            }
        }
        out.sort_by(|a, b| b.score.total_cmp(&a.score));
        out.truncate(settings.max);
    }
}

/// None where a number is not finite: quantised and broken models make such.
fn candidate(bbox: Rect, score: f32, class: usize) -> Option<Candidate> {
    let finite = [bbox.x1, bbox.y1, bbox.x2, bbox.y2, score]
        .iter()
        .all(|number| number.is_finite());
    let score = score.min(1.0);
    finite.then_some(Candidate { bbox, score, class })
}
