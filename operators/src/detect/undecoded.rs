//! What a model answers without its last steps, decoded where a class is sure enough.
//!
//! Each side's distance from the anchor's point is the mean of a distribution over 16 bins (Li et al., Generalized Focal
//! Loss, 2020), in strides of 8, 16 or 32 pixels; each score is the logistic function of a logit. A model's own last steps
//! do that for every anchor and class, a tenth of YOLO11n's time on a processor. A device does the same in a kernel.

use std::path::Path;

use flowrun_engine::device::{BoxForm, HeadShape, anchors_of};
use flowrun_engine::errors::Result;
use flowrun_engine::infer::{Element, Model, ModelOptions, Provider};
use flowrun_engine::rows::{Rect, Size};

use super::head::{Grid, Head};
use super::input::Input;
use super::lane::DetectLane;

/// How far scores may be apart from the model's own, in fp32 and in fp16, which it computes in itself.
const SCORE_OFF: [f32; 2] = [1e-4, 5e-3];
/// The same of a box's centre and size, in pixels; at 640, fp16 has steps of half a pixel.
const BOX_OFF: [f32; 2] = [0.02, 1.5];

/// How an answer of so many numbers for a picture is read, from a model with an input of this size; none where it is another's.
pub(super) fn grid(size: Size, numbers: usize) -> Option<Grid> {
    let size = [size.width, size.height];
    let (boxes, anchors) = (BoxForm::Undecoded(size), anchors_of(size));
    let rows = numbers.checked_div(anchors).filter(|rows| rows * anchors == numbers)?;
    let classes = rows.checked_sub(boxes.rows()).filter(|classes| *classes > 0)?;
    Some(Grid(HeadShape {
        boxes,
        classes,
        anchors,
    }))
}

/// Whether it makes of this answer what the model makes of it itself: boxes and scores of all anchors.
fn agrees(head: &Grid, output: &[f32], decoded: &[f32], is_half: bool) -> bool {
    let HeadShape { boxes, anchors, .. } = head.0;
    let (score_off, box_off) = (SCORE_OFF[usize::from(is_half)], BOX_OFF[usize::from(is_half)]);
    let (wanted_boxes, wanted_scores) = decoded.split_at(4 * anchors);
    // Written so that what is no number agrees with nothing.
    head.grids(output).all(|(grid, numbers)| {
        let logits = numbers[boxes.rows() * grid.len()..].chunks_exact(grid.len());
        let mut rows = logits.zip(wanted_scores.chunks_exact(anchors));
        let mut within = grid.clone();
        rows.all(|(logits, scores)| {
            let mut scores = logits.iter().zip(&scores[grid.clone()]);
            scores.all(|(logit, score)| (boxes.score(*logit) - score).abs() <= score_off)
        }) && within.all(|anchor| {
            let Rect { x1, y1, x2, y2 } = head.bbox(&grid, numbers, anchor);
            let here = [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1];
            let mut rows = here.iter().enumerate();
            rows.all(|(row, number)| (number - wanted_boxes[row * anchors + anchor]).abs() <= box_off)
        })
    })
}

/// Opens a model without its last steps, where what is made of its answer here is what `whole`, the same model with them,
/// makes of it on noise.
///
/// # Errors
/// When it cannot be opened so, or run.
pub(super) fn open(path: &Path, threads: usize, whole: &mut Model, input: &Input) -> Result<Option<(Model, Grid)>> {
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
    let Some(head) = grid(input.size, numbers) else {
        return Ok(None);
    };
    let whole = HeadShape {
        boxes: BoxForm::Decoded,
        ..head.0
    };
    if decoded.dims() != [batch, whole.rows(), whole.anchors] {
        return Ok(None);
    }
    let (mut wide, mut wide_decoded) = (Vec::new(), Vec::new());
    let answer = &answer.floats(&mut wide)?[..head.picture_len()];
    let decoded = &decoded.floats(&mut wide_decoded)?[..whole.rows() * whole.anchors];
    Ok(agrees(&head, answer, decoded, input.element == Element::F16).then_some((model, head)))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use flowrun_engine::device::BINS;
    use flowrun_engine::infer::runtime;
    use proptest::prelude::*;

    use super::super::head::{HeadScratch, head_of};
    use super::super::input::{input_of, warm_up};
    use super::super::nms::{Candidate, Settings};
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
            let head = grid(SIZE, NUMBERS).unwrap();
            let answer = decoded(&output);
            prop_assert!(agrees(&head, &output, &answer, false));
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
        let head = grid(SIZE, NUMBERS).unwrap();
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
                agrees(&head, &output, &answer, false) && !agrees(&head, &output, &other, false),
                "{at}"
            );
        }
        assert!(grid(SIZE, NUMBERS + 1).is_none());
        assert!(grid(SIZE, 4 * BINS * ANCHORS).is_none());
    }

    #[test]
    fn what_is_no_number_is_never_found() {
        let head = grid(SIZE, NUMBERS).unwrap();
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
