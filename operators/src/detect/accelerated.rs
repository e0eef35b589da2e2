//! `detect` on a device: pictures are letterboxed, inferred and thinned out there, and only what is kept comes back.
//!
//! Each lane has a pipeline of its own, with a stream and a session: while one computes, the other sends its pictures.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use flowrun_engine::device::{
    BATCHES, Choice, CudaStream, Device, Fault, FramePools, Gpu, Kept, MemoryLeft, Seat, is_out_of_memory,
};
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::Picture;
use flowrun_engine::infer::{
    EngineBuild, EngineCache, EngineWanted, HeadForm, Model, ModelOptions, Pipeline, PipelineOptions, Placement,
    Provider, Recorded, TensorRt,
};
use flowrun_engine::rows::{Rect, Size};

use super::input::{Batch, Input};
use super::letterbox::{Geometry, fit};
use super::nms::{Candidate, Settings};
use super::params::{EngineChoice, ModelParams};

/// The most pictures in a batch on a device, unless the graph says otherwise.
const USUAL_BATCH: usize = 32;

/// What a node's pipelines are made of; each lane opens one.
pub(super) struct Accelerator {
    provider: Provider,
    device: Arc<dyn Device>,
    options: ModelOptions<'static>,
    pools: FramePools,
    size: Size,
    batches: Vec<usize>,
    head: HeadForm,
    symbol: Option<String>,
    /// Whether runs are recorded and replayed. TensorRT's engine serves all sizes, and opening it takes seconds.
    pub recorded: bool,
    /// The engine that the first pipeline builds.
    build: Mutex<Option<EngineBuild>>,
}

/// Why an accelerator is not used.
pub(super) enum Unused {
    /// Its engine is not built, and this run is to go on without.
    Lacks(Box<EngineWanted>, OperatorError),
    /// Something is missing or fails.
    Fails(OperatorError),
}

impl From<OperatorError> for Unused {
    fn from(error: OperatorError) -> Self {
        Unused::Fails(error)
    }
}

impl From<Fault> for Unused {
    fn from(fault: Fault) -> Self {
        Unused::Fails(fault.into())
    }
}

/// What is asked of an accelerator.
pub(super) struct Wanted<'a> {
    pub seat: Seat,
    /// What the graph calls the model.
    pub name: &'a str,
    pub model: &'a Path,
    pub params: &'a ModelParams,
    pub input: &'a Input,
    pub input_name: &'a str,
    pub symbol: Option<&'a str>,
    /// Whether it is opened without its last steps; `head` is what it answers so.
    pub undecoded: bool,
    pub head: HeadForm,
    pub batch: Option<usize>,
    pub lanes: usize,
}

impl Accelerator {
    /// Opens a provider's device and sees that all it needs is there.
    ///
    /// # Errors
    /// One sentence: what is missing.
    pub fn new(provider: Provider, wanted: &Wanted<'_>) -> Result<Self, Unused> {
        let device: Arc<dyn Device> = match provider {
            Provider::Twin => wanted.seat.device().clone(),
            _ => {
                let cuda = Gpu::open(wanted.seat.ordinal())?;
                cuda.load_kernels()?;
                cuda
            }
        };
        Accelerator::on(device, provider, wanted)
    }

    /// As [`Accelerator::new`], on a device that is open.
    ///
    /// # Errors
    /// As there.
    pub fn on(device: Arc<dyn Device>, provider: Provider, wanted: &Wanted<'_>) -> Result<Self, Unused> {
        let batches = match (wanted.input.batch, wanted.batch) {
            (Batch::Exactly(size), _) => vec![size],
            (Batch::UpTo(_), asked) => up_to(asked.unwrap_or(USUAL_BATCH)),
        };
        let most = batches.last().copied().unwrap_or(1);
        let mut placement = Placement {
            device: wanted.seat.ordinal(),
            ..Placement::default()
        };
        let mut build = None;
        if let Some(choice) = wanted.params.engine_of(provider) {
            placement.tensorrt = tensorrt(wanted, most);
            let cache = EngineCache::open(wanted.model, device.chip(), &placement.tensorrt, wanted.undecoded)?;
            build = engine(provider, wanted, &*device, &cache, choice)?;
            build.iter().try_for_each(|build| build.equip(&placement.tensorrt))?;
            placement.tensorrt.folder = Some(cache.folder().to_owned());
        }
        let ladder: &'static [Provider] = match provider {
            Provider::TensorRt => &[Provider::TensorRt],
            Provider::Twin => &[Provider::Twin],
            _ => &[Provider::Cuda],
        };
        Ok(Accelerator {
            provider,
            pools: FramePools::new(&device, wanted.lanes * most),
            device,
            options: ModelOptions {
                placement,
                undecoded: wanted.undecoded,
                ..ModelOptions::new(1, ladder)
            },
            size: wanted.input.size,
            batches,
            head: wanted.head,
            symbol: wanted.symbol.map(str::to_owned),
            recorded: provider == Provider::Cuda,
            build: Mutex::new(build),
        })
    }

    /// What computes.
    pub fn provider(&self) -> Provider {
        self.provider
    }
    /// The sizes of batches that it is open for, the largest last.
    pub fn batches(&self) -> &[usize] {
        &self.batches
    }
    /// The most pictures in a batch.
    pub fn most(&self) -> usize {
        self.batches.last().copied().unwrap_or(1)
    }
    /// Where pictures lie on their way.
    pub fn pools(&self) -> &FramePools {
        &self.pools
    }
    /// The device, and how much of its memory is left.
    pub fn described(&self) -> String {
        let left = |MemoryLeft { free, whole }: MemoryLeft| format!("{} of {} MiB free", free >> 20, whole >> 20);
        match self.device.memory() {
            Ok(memory) => format!("{}, {}", self.device.chip(), left(memory)),
            Err(fault) => format!("{}, {fault}", self.device.chip()),
        }
    }

    /// Opens a pipeline for each lane. TensorRT's are opened one after the other, since the first may build an engine that
    /// the others find; the rest at once, since each looks for its kernels for seconds.
    ///
    /// # Errors
    /// As [`Accelerator::pipeline`]; where memory is what is missing, with the sums.
    pub fn pipelines(&self, model: &Path, lanes: usize) -> Result<Vec<Pipeline>> {
        let before = self.device.memory();
        let opened = self.open_all(model, lanes);
        opened.map_err(|error| match before {
            Ok(MemoryLeft { free, whole }) if is_out_of_memory(&error.cause) => {
                let (most, chip) = (self.most(), self.device.chip());
                let sums = format!("{} of {} MiB were free", free >> 20, whole >> 20);
                OperatorError::new(format!(
                    "{chip} has too little memory for {lanes} lanes with batches of up to {most}: {sums}, then {}",
                    error.cause
                ))
                .help(
                    "lower `batch=` of this `detect`, end what else uses the device, or give the model `provider=cpu`",
                )
            }
            _ => error,
        })
    }

    fn open_all(&self, model: &Path, lanes: usize) -> Result<Vec<Pipeline>> {
        if self.provider == Provider::TensorRt {
            return (0..lanes).map(|_| self.pipeline(model)).collect();
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..lanes).map(|_| scope.spawn(|| self.pipeline(model))).collect();
            let panicked = |_| Err(OperatorError::new("opening the model panicked"));
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(panicked))
                .collect()
        })
    }

    /// Opens a pipeline: the model in a stream of its own, run and recorded for each size of batch.
    ///
    /// # Errors
    /// When the provider refuses the model, or a run fails.
    pub fn pipeline(&self, model: &Path) -> Result<Pipeline> {
        let stream = Arc::new(CudaStream::open(&self.device)?);
        let mut options = self.options.clone();
        options.placement.stream = Some(stream.clone());
        let mut open = |size: Option<usize>| {
            options.placement.recorded = size.map(|batch| Recorded {
                batch,
                symbol: self.symbol.clone(),
            });
            Model::open(model, &options)
        };
        let options = PipelineOptions {
            size: [self.size.width, self.size.height],
            batches: &self.batches,
            head: self.head,
            pools: self.pools.clone(),
            recorded: self.recorded,
        };
        let pipeline = Pipeline::new(stream, &options, &mut open)?;
        if let Some(build) = self.build.lock().unwrap_or_else(PoisonError::into_inner).take() {
            build.finish()?;
        }
        Ok(pipeline)
    }
}

/// The pooled sizes below a bound, and the bound.
fn up_to(most: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> = BATCHES.into_iter().filter(|size| *size < most).collect();
    sizes.push(most.max(1));
    sizes
}

/// How TensorRT is to work.
fn tensorrt(wanted: &Wanted<'_>, most: usize) -> TensorRt {
    let Size { width, height } = wanted.input.size;
    let shape = |batch: usize| format!("{}:{batch}x3x{height}x{width}", wanted.input_name);
    let mut options = TensorRt {
        effort: wanted.params.effort.map(|effort| effort as u8),
        precision: wanted.params.precision,
        calibration: wanted.params.calibration.clone(),
        ..TensorRt::default()
    };
    if let Batch::UpTo(_) = wanted.input.batch {
        options.shapes = Some([shape(1), shape(most), shape(most)]);
    }
    options
}

/// Sees that a provider's engine is built, or begins to build it where that is asked for.
///
/// # Errors
/// When it is not there, or is not what was built.
fn engine(
    provider: Provider,
    wanted: &Wanted<'_>,
    device: &dyn Device,
    cache: &EngineCache,
    choice: EngineChoice,
) -> Result<Option<EngineBuild>, Unused> {
    if cache.is_built()? {
        return Ok(None);
    }
    let missing = || {
        let cause = format!("no {provider} engine is built for this model on {}", device.chip().name);
        OperatorError::new(cause).help("build it once with `flowrun model build MODEL`")
    };
    match choice {
        EngineChoice::Ready => Err(Unused::Fails(missing())),
        EngineChoice::Background => {
            let lacking = EngineWanted {
                provider,
                name: wanted.name.to_owned(),
                model: wanted.model.to_owned(),
                device: wanted.seat.ordinal(),
                batch: wanted.batch,
                effort: wanted.params.effort,
                precision: wanted.params.precision,
                calibration: wanted.params.calibration.clone(),
                folder: cache.folder().to_owned(),
            };
            Err(Unused::Lacks(Box::new(lacking), missing()))
        }
        EngineChoice::Before => {
            tracing::warn!(model = %wanted.model.display(), %provider, "the engine is built first, which may take minutes");
            let build = cache.begin()?;
            if build.is_some() && provider == Provider::Twin {
                // It plays a provider with engines: what it leaves stands for one.
                let engine = cache.folder().join("twin.engine");
                std::fs::write(engine, "the CPU twin computes the model itself\n").map_err(OperatorError::from)?;
            }
            Ok(build)
        }
    }
}

/// How the device is told what is kept.
pub(super) fn choice(settings: &Settings) -> Choice {
    Choice {
        min_score: settings.min_score,
        iou: settings.iou,
        max: settings.max as u32,
        agnostic: u32::from(settings.agnostic),
    }
}

/// A box that came from the device.
pub(super) fn candidate(kept: &Kept) -> Candidate {
    let [x1, y1, x2, y2] = kept.corners;
    Candidate {
        bbox: Rect { x1, y1, x2, y2 },
        score: kept.score,
        class: kept.class as usize,
    }
}

/// Sends a picture to a place of the next batch. The outer error is the device's, the inner one the picture's own.
pub(super) fn place(
    pipeline: &mut Pipeline,
    place: usize,
    picture: &Picture,
    target: Size,
) -> Result<Result<Geometry>, Fault> {
    let (geometry, fit) = match fit(picture.layout(), target) {
        Ok(fitted) => fitted,
        Err(error) => return Ok(Err(error)),
    };
    // Rendering a picture, or a decoder's memory, is others' code: its panic must cost one frame, not a batch.
    let readable = catch_unwind(AssertUnwindSafe(|| picture.memory().stride(0)));
    if readable.is_err() {
        return Ok(Err(OperatorError::new("the picture's pixels cannot be read")));
    }
    match catch_unwind(AssertUnwindSafe(|| pipeline.place(place, picture, &fit))) {
        Ok(Ok(())) => Ok(Ok(geometry)),
        Ok(Err(Fault::Unfit(cause))) => Ok(Err(cause.into())),
        Ok(Err(fault)) => Err(fault),
        Err(_) => Ok(Err(OperatorError::new("the picture's pixels cannot be read"))),
    }
}
