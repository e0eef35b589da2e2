//! What one thread keeps from batch to batch: the tensor that pictures are letterboxed into, and scratch memory.

use std::panic::{AssertUnwindSafe, catch_unwind};

use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::Picture;
use flowrun_engine::infer::{Element, Pipeline, TensorView};
use half::f16;

use super::head::HeadScratch;
use super::input::Input;
use super::letterbox::{Geometry, Letterbox, LetterboxScratch, Sample};
use super::nms::Candidate;

/// Prepared letterboxes that a lane keeps; cameras of one site have a handful of sizes.
const KEPT_LETTERBOXES: usize = 8;

/// The memory of one thread.
pub struct DetectLane {
    /// Which of the model's devices it works on.
    pub(super) post: usize,
    /// The way over a device, where there is one.
    pub(super) pipeline: Option<Pipeline>,
    tensor: Tensor,
    letterboxes: Vec<Letterbox>,
    letterbox_scratch: LetterboxScratch,
    /// Of each place in the tensor, the geometry whose margins are grey there.
    margins: Vec<Option<Geometry>>,
    /// Of each place in the tensor, the job and its geometry.
    pub(super) places: Vec<(usize, Geometry)>,
    /// fp16 answers, widened.
    pub(super) wide: Vec<f32>,
    pub(super) head: HeadScratch,
    pub(super) candidates: Vec<Candidate>,
}

enum Tensor {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

impl DetectLane {
    /// Memory for the host's rung; `pipeline` is the device's, `post` which of them.
    pub(super) fn new(input: &Input, pipeline: Option<Pipeline>, post: usize) -> Self {
        let length = input.batch.most() * input.picture_len();
        DetectLane {
            post,
            pipeline,
            tensor: match input.element {
                Element::F32 => Tensor::F32(vec![0.0; length]),
                Element::F16 => Tensor::F16(vec![f16::ZERO; length]),
            },
            letterboxes: Vec::new(),
            letterbox_scratch: LetterboxScratch::default(),
            margins: vec![None; input.batch.most()],
            places: Vec::new(),
            wide: Vec::new(),
            head: HeadScratch::default(),
            candidates: Vec::new(),
        }
    }

    /// Fills the tensor with numbers as pictures have them, always the same.
    pub(super) fn fill_with_noise(&mut self) {
        let mut state = 1_u32;
        let mut next = || {
            // Numerical Recipes' generator; its low bits are poor.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as f32 / 255.0
        };
        match &mut self.tensor {
            Tensor::F32(tensor) => tensor.iter_mut().for_each(|number| *number = next()),
            Tensor::F16(tensor) => tensor.iter_mut().for_each(|number| *number = f16::from_f32(next())),
        }
    }

    /// The first `length` numbers of the tensor.
    pub(super) fn view(&self, length: usize) -> TensorView<'_> {
        match &self.tensor {
            Tensor::F32(tensor) => TensorView::F32(&tensor[..length]),
            Tensor::F16(tensor) => TensorView::F16(&tensor[..length]),
        }
    }

    /// Letterboxes a picture into the place behind those that are taken.
    ///
    /// # Errors
    /// When the picture cannot be read; the place stays free.
    pub(super) fn place(&mut self, job: usize, picture: &Picture, input: &Input) -> Result<()> {
        let layout = picture.layout();
        match self.letterboxes.iter().position(|prepared| prepared.layout() == layout) {
            Some(at) => self.letterboxes[..=at].rotate_right(1),
            None => {
                let prepared = Letterbox::new(layout, input.size)?;
                self.letterboxes.truncate(KEPT_LETTERBOXES - 1);
                self.letterboxes.insert(0, prepared);
            }
        }
        let place = self.places.len();
        let (letterbox, margins) = (&self.letterboxes[0], &mut self.margins[place]);
        let span = place * input.picture_len()..(place + 1) * input.picture_len();
        let scratch = &mut self.letterbox_scratch;
        match &mut self.tensor {
            Tensor::F32(tensor) => fill(letterbox, margins, picture, scratch, &mut tensor[span])?,
            Tensor::F16(tensor) => fill(letterbox, margins, picture, scratch, &mut tensor[span])?,
        }
        self.places.push((job, letterbox.geometry()));
        Ok(())
    }
}

/// Writes a picture with its margins; those that are grey already are left alone.
fn fill<T: Sample>(
    letterbox: &Letterbox,
    margins: &mut Option<Geometry>,
    picture: &Picture,
    scratch: &mut LetterboxScratch,
    tensor: &mut [T],
) -> Result<()> {
    if *margins != Some(letterbox.geometry()) {
        letterbox.fill_margins(tensor);
        *margins = Some(letterbox.geometry());
    }
    // Rendering a picture, or a decoder's memory, is others' code: its panic must cost one frame, not a batch.
    catch_unwind(AssertUnwindSafe(|| letterbox.write(picture, scratch, tensor)))
        .unwrap_or_else(|_| Err(OperatorError::new("the picture's pixels cannot be read")))
}
