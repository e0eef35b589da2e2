//! What a model answers without its last steps, decoded where a class is sure enough.
//!
//! Each side's distance from the anchor's point is the mean of a distribution over 16 bins (Li et al., Generalized Focal
//! Loss, 2020), in strides of 8, 16 or 32 pixels; each score is the logistic function of a logit. A model's own last steps
//! do that for every anchor and class, a tenth of YOLO11n's time on a processor. A device does the same in a kernel.

use std::ops::Range;
use std::path::Path;

use flowrun_engine::device::{BINS, BoxForm, anchors_of, logistic};
use flowrun_engine::errors::Result;
use flowrun_engine::infer::{Element, HeadForm, Model, ModelOptions, Provider};
use flowrun_engine::rows::{Rect, Size};

use super::head::{Head, HeadScratch, candidate, grid_form, highest};
use super::input::Input;
use super::lane::DetectLane;
use super::nms::{Candidate, Settings, suppress};

/// How far scores may be apart from the model's own, in fp32 and in fp16, which it computes in itself.
const SCORE_OFF: [f32; 2] = [1e-4, 5e-3];
/// The same of a box's centre and size, in pixels; at 640, fp16 has steps of half a pixel.
const BOX_OFF: [f32; 2] = [0.02, 1.5];

/// For one grid of anchors after the other `[4 x bins + classes, anchors of the grid]`.
#[derive(Debug)]
pub(super) struct Undecoded {
    classes: usize,
    anchors: usize,
    boxes: BoxForm,
}

impl Undecoded {
    /// Of a model with an input of this size that answers so many numbers for a picture; none where that is another's answer.
    pub(super) fn of(size: Size, numbers: usize) -> Option<Self> {
        let size = [size.width, size.height];
        let anchors = anchors_of(size);
        let rows = numbers.checked_div(anchors).filter(|rows| rows * anchors == numbers)?;
        let classes = rows.checked_sub(4 * BINS).filter(|classes| *classes > 0)?;
        Some(Undecoded {
            classes,
            anchors,
            boxes: BoxForm::Undecoded(size),
        })
    }

    /// The grids of an answer: their anchors, and their numbers.
    fn grids<'a>(&self, output: &'a [f32]) -> impl Iterator<Item = (Range<usize>, &'a [f32])> {
        let rows = 4 * BINS + self.classes;
        let grids = self.boxes.grids(self.anchors);
        grids.map(move |grid| (grid.clone(), &output[rows * grid.start..rows * grid.end]))
    }

    /// The box of an anchor, from the numbers of its grid.
    fn bbox(&self, grid: &Range<usize>, numbers: &[f32], anchor: usize) -> Rect {
        let row = |row: usize| numbers[row * grid.len() + anchor - grid.start];
        let [x1, y1, x2, y2] = self.boxes.corners(anchor, row);
        Rect { x1, y1, x2, y2 }
    }

    /// Whether it makes of this answer what the model makes of it itself: boxes and scores of all anchors.
    fn agrees(&self, output: &[f32], decoded: &[f32], is_half: bool) -> bool {
        let count = self.anchors;
        let (score_off, box_off) = (SCORE_OFF[usize::from(is_half)], BOX_OFF[usize::from(is_half)]);
        let (boxes, scores) = decoded.split_at(4 * count);
        // Written so that what is no number agrees with nothing.
        self.grids(output).all(|(grid, numbers)| {
            let logits = numbers[4 * BINS * grid.len()..].chunks_exact(grid.len());
            let mut rows = logits.zip(scores.chunks_exact(count));
            let mut anchors = grid.clone();
            rows.all(|(logits, scores)| {
                let mut scores = logits.iter().zip(&scores[grid.clone()]);
                scores.all(|(logit, score)| (logistic(*logit) - score).abs() <= score_off)
            }) && anchors.all(|anchor| {
                let Rect { x1, y1, x2, y2 } = self.bbox(&grid, numbers, anchor);
                let here = [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1];
                let mut rows = here.iter().enumerate();
                rows.all(|(row, number)| (number - boxes[row * count + anchor]).abs() <= box_off)
            })
        })
    }
}

/// Opens a model without its last steps, where what is made of its answer here is what `whole`, the same model with them,
/// makes of it on noise.
///
/// # Errors
/// When it cannot be opened so, or run.
pub(super) fn open(
    path: &Path,
    threads: usize,
    whole: &mut Model,
    input: &Input,
) -> Result<Option<(Model, Undecoded)>> {
    if whole.provider() != Provider::Cpu {
        return Ok(None);
    }
    let options = ModelOptions {
        undecoded: true,
        ..ModelOptions::new(threads, &[Provider::Cpu])
    };
    let mut model = Model::open(path, &options)?;
    let mut lane = DetectLane::new(input, None, 0);
    lane.fill_with_noise();
    let batch = input.batch.most();
    let (answer, decoded) = (input.run(&mut model, &lane, batch)?, input.run(whole, &lane, batch)?);
    let &[_, numbers] = answer.dims() else {
        return Ok(None);
    };
    let Some(head) = Undecoded::of(input.size, numbers) else {
        return Ok(None);
    };
    if decoded.dims() != [batch, 4 + head.classes, head.anchors] {
        return Ok(None);
    }
    let (mut wide, mut wide_decoded) = (Vec::new(), Vec::new());
    let answer = &answer.floats(&mut wide)?[..head.picture_len()];
    let decoded = &decoded.floats(&mut wide_decoded)?[..(4 + head.classes) * head.anchors];
    Ok(head
        .agrees(answer, decoded, input.element == Element::F16)
        .then_some((model, head)))
}

impl Head for Undecoded {
    fn classes(&self) -> Option<usize> {
        Some(self.classes)
    }

    fn picture_len(&self) -> usize {
        (4 * BINS + self.classes) * self.anchors
    }

    fn form(&self, most: usize) -> HeadForm {
        grid_form(self.boxes, self.classes, self.anchors, most)
    }

    fn read(&self, output: &[f32], settings: &Settings, scratch: &mut HeadScratch, out: &mut Vec<Candidate>) {
        out.clear();
        for (grid, numbers) in self.grids(output) {
            let logits = &numbers[4 * BINS * grid.len()..];
            highest(logits, grid.len(), f32::NEG_INFINITY, &mut scratch.best);
            for (place, logit) in scratch.best.iter().enumerate() {
                let score = logistic(*logit);
                if score <= settings.min_score {
                    continue;
                }
                let class = (0..self.classes).find(|class| logits[class * grid.len() + place] == *logit);
                let Some(class) = class.filter(|class| settings.wants(*class)) else {
                    continue;
                };
                out.extend(candidate(self.bbox(&grid, numbers, grid.start + place), score, class));
            }
        }
        suppress(out, settings, &mut scratch.shifted);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use flowrun_engine::infer::runtime;
    use proptest::prelude::*;

    use super::super::head::head_of;
    use super::super::input::{input_of, warm_up};
    use super::*;
    use crate::testing::reference_data;

    /// The repository's own model, and the usual one where it is there.
    fn models() -> Vec<PathBuf> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/demo-yolo11n.onnx");
        let usual = reference_data().map(|data| data.join("models/yolo11n-coco.onnx"));
        [own].into_iter().chain(usual).collect()
    }

    #[test]
    fn usual_models_are_opened_without_their_last_steps() {
        if runtime().is_err() {
            return eprintln!("skipped: no ONNX Runtime");
        }
        for path in models() {
            let mut whole = Model::open(&path, &ModelOptions::new(1, &[Provider::Cpu])).unwrap();
            let input = input_of(&whole, None).unwrap();
            warm_up(&mut whole, &input, None).unwrap();
            let opened = open(&path, 1, &mut whole, &input).unwrap();
            assert!(opened.is_some(), "{}", path.display());
        }
    }

    const SIZE: Size = Size { width: 64, height: 32 };
    /// 8 x 4, 4 x 2 and 2 x 1.
    const ANCHORS: usize = 42;
    const CLASSES: usize = 3;
    const NUMBERS: usize = (4 * BINS + CLASSES) * ANCHORS;

    /// What a model makes of this answer in its last steps, in fp64.
    fn decoded(output: &[f32]) -> Vec<f32> {
        let points = [8, 16, 32].into_iter().flat_map(|stride| {
            let (across, down) = (SIZE.width / stride, SIZE.height / stride);
            let at = move |index: u32| (f64::from(index) + 0.5) * f64::from(stride);
            (0..down).flat_map(move |y| (0..across).map(move |x| [at(x), at(y), f64::from(stride)]))
        });
        let mut answer = vec![0.0; (4 + CLASSES) * ANCHORS];
        for (anchor, [x, y, stride]) in points.enumerate() {
            let (first, count) = match anchor {
                0..32 => (0, 32),
                32..40 => (32, 8),
                _ => (40, 2),
            };
            let number = |row: usize| {
                let at = (4 * BINS + CLASSES) * first + row * count + anchor - first;
                f64::from(output[at])
            };
            let side = |side: usize| {
                let logit = |bin: usize| number(side * BINS + bin);
                let shares: Vec<f64> = (0..BINS).map(|bin| logit(bin).exp()).collect();
                let weighed: f64 = shares.iter().zip(0..).map(|(share, bin)| share * f64::from(bin)).sum();
                stride * weighed / shares.iter().sum::<f64>()
            };
            let [left, top, right, bottom] = [0, 1, 2, 3].map(side);
            let bbox = [
                x + (right - left) / 2.0,
                y + (bottom - top) / 2.0,
                left + right,
                top + bottom,
            ];
            for (row, number) in bbox.into_iter().enumerate() {
                answer[row * ANCHORS + anchor] = number as f32;
            }
            for class in 0..CLASSES {
                let logit = number(4 * BINS + class);
                answer[(4 + class) * ANCHORS + anchor] = (1.0 / (1.0 + (-logit).exp())) as f32;
            }
        }
        answer
    }

    proptest! {
        /// Read here or decoded first: the same is found, in the same order.
        #[test]
        fn what_is_found_is_what_the_last_steps_would_have_made(
            output in prop::collection::vec(-6.0_f32..6.0, NUMBERS),
            min_score in 0.0_f32..0.99,
        ) {
            let head = Undecoded::of(SIZE, NUMBERS).unwrap();
            let answer = decoded(&output);
            prop_assert!(head.agrees(&output, &answer, false));
            let settings = Settings { min_score, iou: 1.0, max: 1000, agnostic: false, classes: None };
            let (mut here, mut there, mut scratch) = (Vec::new(), Vec::new(), HeadScratch::default());
            head.read(&output, &settings, &mut scratch, &mut here);
            let usual = head_of(&[1, 4 + CLASSES, ANCHORS], 1, Some(CLASSES)).unwrap();
            usual.read(&answer, &settings, &mut scratch, &mut there);
            // A score at the bound may fall on either side of it.
            let sure = |found: &[Candidate]| found.iter().filter(|found| found.score > min_score + 1e-5).count();
            prop_assert_eq!(sure(&here), sure(&there));
            for (here, there) in here.iter().zip(&there) {
                prop_assert!((here.score - there.score).abs() < 1e-5, "{:?} {:?}", here, there);
            }
        }
    }

    #[test]
    fn another_answer_is_not_agreed_with() {
        let head = Undecoded::of(SIZE, NUMBERS).unwrap();
        let output: Vec<f32> = (0..head.picture_len())
            .map(|index| (index as f32 * 0.37).sin() * 4.0)
            .collect();
        let answer = decoded(&output);
        for (at, by) in [
            (0, 0.1),
            (3 * ANCHORS + 41, -0.1),
            (4 * ANCHORS, 0.01),
            (7 * ANCHORS - 1, f32::NAN),
        ] {
            let mut other = answer.clone();
            other[at] += by;
            assert!(
                head.agrees(&output, &answer, false) && !head.agrees(&output, &other, false),
                "{at}"
            );
        }
        assert!(Undecoded::of(SIZE, NUMBERS + 1).is_none());
        assert!(Undecoded::of(SIZE, 4 * BINS * ANCHORS).is_none());
    }

    #[test]
    fn what_is_no_number_is_never_found() {
        let head = Undecoded::of(SIZE, NUMBERS).unwrap();
        let settings = Settings {
            min_score: 0.1,
            iou: 1.0,
            max: 1000,
            agnostic: false,
            classes: None,
        };
        let (mut out, mut scratch) = (Vec::new(), HeadScratch::default());
        for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            head.read(&vec![number; head.picture_len()], &settings, &mut scratch, &mut out);
            assert!(out.is_empty(), "{number}: {out:?}");
        }
    }
}
