//! Pictures in, boxes out, all of it on a device: letterbox, model, head, in one stream.
//!
//! The model is opened once for each size of batch where its provider can record a run of one size and replay it as a
//! whole, so that a hundred launches cost as much as one. Where it cannot, it is opened once for all sizes and launched
//! piece by piece.

use std::fmt;
use std::sync::Arc;

use super::bound::Bound;
use super::provider::Provider;
use super::session::{Element, Model};
use crate::device::{
    Choice, CudaStream, Fault, Findings, Fit, FramePools, HeadShape, Kept, Pictures, Pinned, Surface, alone, opening,
    working,
};
use crate::errors::Result;
use crate::frame::Picture;

/// What a model answers for one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadForm {
    /// Boxes that are still to be thinned out. That is done on the device, and at most so many are kept; where it says none,
    /// the host reads all numbers.
    Grid(HeadShape, Option<usize>),
    /// Rows of so many numbers, which the host reads.
    Rows(usize, usize),
}

impl HeadForm {
    fn dims(self) -> Vec<usize> {
        match self {
            HeadForm::Grid(shape, _) => shape.dims(),
            HeadForm::Rows(rows, row) => vec![rows, row],
        }
    }
}

/// What a pipeline is made for.
#[derive(Clone, Debug)]
pub struct PipelineOptions<'a> {
    /// Pixels across and down of the model's input.
    pub size: [u32; 2],
    /// Sizes of batches, at least one.
    pub batches: &'a [usize],
    /// What the model answers.
    pub head: HeadForm,
    /// Where pictures lie on their way.
    pub pools: FramePools,
    /// Whether batches are recorded.
    pub recorded: bool,
}

/// A stream with all that a batch needs.
pub struct Pipeline {
    bound: Bound,
    pictures: Pictures,
    reader: Reader,
    stream: Arc<CudaStream>,
    size: [u32; 2],
    batches: Vec<usize>,
    /// Why runs are not recorded; none where they are.
    unrecorded: Option<String>,
}

enum Reader {
    Boxes(Findings),
    /// So many numbers a picture.
    Numbers {
        here: Pinned,
        element: Element,
        count: usize,
    },
}

impl Pipeline {
    /// Opens a model in `stream`, binds it, and runs it for each size of batch until its provider has found its kernels.
    /// `open` is asked for a model of one recorded size, or of none for all sizes.
    ///
    /// # Errors
    /// When there is no memory, the model cannot be opened, or a run fails.
    pub fn new(
        stream: Arc<CudaStream>,
        options: &PipelineOptions<'_>,
        open: &mut dyn FnMut(Option<usize>) -> Result<Model>,
    ) -> Result<Self> {
        let mut cause = "it was not asked for".to_owned();
        if options.recorded {
            match Pipeline::with(&stream, options, None, open) {
                Ok(pipeline) => return Ok(pipeline),
                Err(error) => {
                    tracing::warn!(
                        cause = error.cause,
                        "runs cannot be recorded; they are launched piece by piece"
                    );
                    cause = error.cause;
                }
            }
        }
        Pipeline::with(&stream, options, Some(cause), open)
    }

    fn with(
        stream: &Arc<CudaStream>,
        options: &PipelineOptions<'_>,
        unrecorded: Option<String>,
        open: &mut dyn FnMut(Option<usize>) -> Result<Model>,
    ) -> Result<Self> {
        // TensorRT's models are not recorded here, and may have an engine to build first.
        let opening = unrecorded.is_none().then(opening);
        let device = stream.device().clone();
        let most = options.batches.iter().copied().max().unwrap_or(1);
        let [width, height] = options.size.map(|side| side as usize);
        let dims = options.head.dims();
        let models = match unrecorded {
            Some(_) => vec![(open(None)?, options.batches.to_vec())],
            None => {
                let each = options.batches.iter().map(|size| Ok((open(Some(*size))?, vec![*size])));
                each.collect::<Result<Vec<_>>>()?
            }
        };
        let bound = Bound::new(models, &device, &[3, height, width], &dims)?;
        let element = bound.writes();
        let reader = match options.head {
            HeadForm::Grid(shape, Some(kept)) => Reader::Boxes(Findings::new(&device, shape, most, kept)?),
            _ => {
                let count: usize = dims.iter().product();
                Reader::Numbers {
                    here: Pinned::new(&device, most * count * element.bytes())?,
                    element,
                    count,
                }
            }
        };
        let mut batches = options.batches.to_vec();
        batches.sort_unstable();
        let mut pipeline = Pipeline {
            bound,
            pictures: Pictures::new(&device, options.pools.clone(), most)?,
            reader,
            stream: stream.clone(),
            size: options.size,
            batches,
            unrecorded,
        };
        pipeline.pictures.clear();
        // While one records nobody else works, so that what takes long comes before.
        if opening.is_some() {
            for size in pipeline.batches.clone() {
                // What fails here fails again below, where that is an error.
                let warm = pipeline.bound.warm_up(size).and_then(|()| pipeline.stream.drain());
                warm.unwrap_or_else(|fault| tracing::debug!(%fault, size, "a model was not warmed up"));
            }
        }
        drop(opening);
        for size in pipeline.batches.clone() {
            pipeline.begin(size)?;
        }
        Ok(pipeline)
    }

    /// Runs a size, for the first time where it was not warmed up, and has the run recorded where that was asked for.
    fn begin(&mut self, size: usize) -> Result<()> {
        let is_recorded = self.unrecorded.is_none();
        let mut twice = || {
            for _ in 0..2 {
                self.give(size)?;
                self.stream.drain()?;
            }
            Ok(())
        };
        if is_recorded {
            return alone(twice);
        }
        let _working = working();
        twice()
    }

    /// Gives all that a batch does to the stream.
    fn give(&mut self, size: usize) -> Result<(), Fault> {
        let half = self.bound.reads() == Element::F16;
        self.pictures
            .letterbox(&self.stream, self.bound.input(), half, self.size, size)?;
        // The run is ordered behind what its stream was given; waiting for that all the same costs ten microseconds, and
        // leaves nothing to chance where another thread makes the run.
        self.stream.drain()?;
        self.bound.run(size)?;
        match &mut self.reader {
            Reader::Boxes(findings) => {
                let half = self.bound.writes() == Element::F16;
                findings.find(&self.stream, self.bound.output(), half, size)?;
            }
            Reader::Numbers { here, element, count } => {
                self.stream
                    .download(self.bound.output(), size * *count * element.bytes(), here)?;
            }
        }
        Ok(())
    }

    /// The stream that it works in.
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }
    /// What computes the model.
    pub fn provider(&self) -> Provider {
        self.bound.provider()
    }
    /// The sizes of batches, the smallest first.
    pub fn batches(&self) -> &[usize] {
        &self.batches
    }
    /// Why runs are launched piece by piece; none where they are recorded and replayed.
    pub fn unrecorded(&self) -> Option<&str> {
        self.unrecorded.as_deref()
    }

    /// Sends a picture to a place of the next batch.
    ///
    /// # Errors
    /// When the picture is broken, or the device has no place for it.
    pub fn place(&mut self, place: usize, picture: &Picture, fit: &Fit) -> Result<(), Fault> {
        let memory = picture.memory();
        match memory.surface() {
            Some(surface) if surface.is_on(self.stream.device()) => self.place_resident(place, surface, fit),
            _ => {
                // One of another device comes by way of the host.
                memory
                    .fetch()
                    .map_err(|error| Fault::Unfit(format!("the picture cannot be read: {}", error.cause)))?;
                let _working = working();
                self.pictures.place(&self.stream, place, picture.layout(), memory, fit)
            }
        }
    }

    /// Takes a picture that is on this device already.
    ///
    /// # Errors
    /// As the driver tells.
    pub fn place_resident(&mut self, place: usize, surface: &Arc<Surface>, fit: &Fit) -> Result<(), Fault> {
        let _working = working();
        self.pictures.place_resident(&self.stream, place, surface, fit)
    }

    /// What is to be kept of a place of the next batch: see [`Choice`]; `wanted` says of each class whether it is.
    pub fn choose(&mut self, place: usize, choice: Choice, wanted: Option<&[bool]>) {
        if let Reader::Boxes(findings) = &mut self.reader {
            findings.choose(place, choice, wanted);
        }
    }

    /// Computes the first `count` places, at most as many as the largest batch, and waits for the answer. What was placed
    /// is forgotten; the answer stays until the next run.
    ///
    /// # Errors
    /// When the device or the provider fails.
    pub fn run(&mut self, count: usize) -> Result<(), Fault> {
        let size = self.batches.iter().copied().find(|size| *size >= count);
        let size = size.ok_or_else(|| Fault::Unfit(format!("{count} pictures are more than a batch holds")))?;
        let _working = working();
        let given = self.give(size);
        // Whatever happened, nothing of it may still run when the pictures' memory is given back.
        let drained = self.stream.drain();
        self.pictures.clear();
        given.and(drained)
    }

    /// Forgets what was placed for a batch that will not be run.
    pub fn abandon(&mut self) {
        if let Err(fault) = self.stream.drain() {
            tracing::debug!(%fault, "a batch was abandoned");
        }
        self.pictures.clear();
    }

    /// Boxes that were kept of a place, the surest first; none where the head is read by the host.
    pub fn kept(&self, place: usize) -> &[Kept] {
        match &self.reader {
            Reader::Boxes(findings) => findings.kept(place),
            Reader::Numbers { .. } => &[],
        }
    }

    /// The head's numbers for a place, fp16 ones widened into `wide`; none where boxes are found on the device.
    pub fn numbers<'a>(&'a self, place: usize, wide: &'a mut Vec<f32>) -> &'a [f32] {
        let Reader::Numbers { here, element, count } = &self.reader else {
            return &[];
        };
        let bytes = here
            .bytes()
            .chunks_exact(count * element.bytes())
            .nth(place)
            .unwrap_or_default();
        wide.clear();
        match element {
            Element::F32 => wide.extend(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))),
            Element::F16 => wide.extend(
                bytes
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|bytes| half::f16::from_le_bytes(*bytes).to_f32()),
            ),
        }
        wide
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("bound", &self.bound)
            .field("unrecorded", &self.unrecorded)
            .finish_non_exhaustive()
    }
}
