//! What `detect` and the `model` block can be told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flowrun_dsl::params::{Choice, Model, Params, Ref};
use flowrun_dsl::plan::ModelPlan;
use flowrun_engine::errors::Result;
use flowrun_engine::infer::{AUTO, BreakerPolicy, Precision, Provider};

/// Finds objects on pictures with a YOLO model.
#[derive(Clone, Debug, Params)]
pub struct DetectParams {
    /// The model.
    #[param(positional)]
    pub model: Ref<Model>,
    /// Detections that the model is less sure of are dropped.
    #[param(live, default = "0.25", min = 0.0, max = 1.0)]
    pub min_score: f32,
    /// Of two boxes of a class that overlap by more than this ratio of their union, the less sure one is dropped.
    #[param(live, default = "0.45", min = 0.0, max = 1.0)]
    pub iou: f32,
    /// The most detections on one picture; the surest stay.
    #[param(live, default = "100", min = 1, max = 1000)]
    pub max: usize,
    /// Names of the classes to look for; none looks for all that the model knows.
    #[param(live, default = "")]
    pub classes: Vec<String>,
    /// Whether boxes of different classes compete too.
    #[param(live, default = "#false")]
    pub agnostic: bool,
    /// A second model that looks at a share of the frames beside this one, to see how far they agree: in the status and
    /// `/metrics`. It changes no row and delays none; what it has no time for is left out and counted.
    #[param(live)]
    pub shadow: Option<Ref<Model>>,
    /// The share of each camera's frames that the shadow looks at.
    #[param(live, default = "0.05", min = 0.0, max = 1.0)]
    pub shadow_share: f32,
    /// Pictures that are inferred together at most: what the model was exported for, else 32 on a GPU and 1 on the host's
    /// processor, where more gains nothing.
    #[param(min = 1, max = 64)]
    pub batch: Option<usize>,
    /// How long a picture may wait for others to fill a batch; not at all for a camera with `priority=emergency`, half as
    /// long with `high`, twice as long with `low`.
    #[param(default = "5ms")]
    pub deadline: Duration,
    /// The fewest CUDA streams that compute at once on a GPU. Another joins in while all have a batch and a further one is
    /// due, and leaves after five seconds in which it was not needed.
    #[param(default = "1", min = 1, max = 64)]
    pub min_streams: usize,
    /// The most CUDA streams that compute at once on a GPU, each with memory of its own for batches, taken before the run:
    /// at most what the chip has use for (64 on a large one of compute capability 8 and above). On the host's processor
    /// there are always two lanes.
    #[param(default = "2", min = 1, max = 64)]
    pub max_streams: usize,
    /// Threads that compute, two pictures at a time where there are two: as many as the machine has cores, unless given.
    #[param(min = 1, max = 256)]
    pub threads: Option<usize>,
}

/// What computes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum ProviderChoice {
    /// The best that the machine has.
    Auto,
    /// TensorRT on an NVIDIA GPU, whose engine is built before the run where it is missing and `engine=` does not say
    /// otherwise; else the best below it.
    Tensorrt,
    /// CUDA on an NVIDIA GPU; else the best below it.
    Cuda,
    /// OpenVINO on Intel's hardware; else the host's processor.
    Openvino,
    /// The way of a GPU with all its memory on the host, to test it.
    Twin,
    /// The host's processor.
    Cpu,
}

/// Where an engine comes from that a provider needs for a model and a chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum EngineChoice {
    /// The run begins at once on the next provider. The engine is built beside it, and the run goes over to it between two
    /// frames.
    Background,
    /// `flowrun model build` has left it; else the next provider computes.
    Ready,
    /// It is built before the run, which takes minutes.
    Before,
}

/// A model file and how to open it.
#[derive(Clone, Debug, Params)]
pub struct ModelParams {
    /// An Ultralytics data.yaml with the names of the classes, for a model that does not carry them.
    pub labels: Option<PathBuf>,
    /// What computes the model.
    #[param(default = "auto")]
    pub provider: ProviderChoice,
    /// The GPUs that compute it, by their numbers in the driver's order, as in `device=1` or `device="0,1"`. Unless given, all
    /// that the driver shows, at most as many as there are cameras; each camera stays on one. Twins are as many as are
    /// given, else one.
    #[param(default = "", min = 0, max = 63)]
    pub device: Vec<usize>,
    /// Where TensorRT's engine comes from where none is built for this model and GPU: `background` with `provider=auto`,
    /// `before` with `provider=tensorrt`, unless given. With `provider=twin` it has the twin play a provider with engines.
    pub engine: Option<EngineChoice>,
    /// The numbers that TensorRT computes in: `fp32`, `fp16` or `int8`, which needs a model that is quantised itself
    /// (with QuantizeLinear and DequantizeLinear nodes), or `calibration`. Other providers compute as the model says.
    #[param(default = "fp16")]
    pub precision: Precision,
    /// The table of ranges by which TensorRT computes a model in int8 that is not quantised itself: what ONNX Runtime's
    /// calibration tool writes (`.flatbuffers`), or TensorRT's own. Its ranges must be symmetric about zero, which that tool
    /// is told with `extra_options={"symmetric": True}`; TensorRT refuses others.
    pub calibration: Option<PathBuf>,
    /// How hard TensorRT looks for fast kernels while it builds an engine, from 0, which takes a minute, to 5; its own
    /// choice unless given. YOLO11n in batches of 32 took 4 minutes with 1 on an H100, and 13 minutes with 3 for an engine
    /// that is about as fast.
    #[param(min = 0, max = 5)]
    pub effort: Option<usize>,
    /// A folder of pictures on which each provider must find what the host's processor finds, before a frame is let in. One
    /// that does not is left out, with the figures. These may stand together: `floor images="photos" matched=0.98`.
    pub floor_images: Option<PathBuf>,
    /// The share of all boxes that both must have found.
    #[param(default = "0.98", min = 0.0, max = 1.0)]
    pub floor_matched: f32,
    /// How far the scores of boxes that both found may be apart on average.
    #[param(default = "0.03", min = 0.0, max = 1.0)]
    pub floor_score_drift: f32,
    /// Boxes that a model is less sure of do not count.
    #[param(default = "0.35", min = 0.0, max = 1.0)]
    pub floor_min_score: f32,
    /// Another model that is to be agreed with, such as the one that this one was quantised from.
    pub floor_reference: Option<PathBuf>,
    /// Failures in a row after which the next provider serves.
    #[param(default = "15", min = 1, max = 1000)]
    pub failures: usize,
    /// Failures in a row for want of the device's memory after which the next provider serves; before, batches are halved.
    #[param(default = "3", min = 1, max = 1000)]
    pub memory_failures: usize,
    /// How long a provider that keeps failing is left alone.
    #[param(default = "30s")]
    pub rest: Duration,
    /// Calls that must succeed before a provider that has rested is trusted again.
    #[param(default = "10", min = 1, max = 1000)]
    pub trials: usize,
}

impl ProviderChoice {
    /// The provider that the graph asks for; none where it leaves the choice to us.
    pub(super) fn named(self) -> Option<Provider> {
        match self {
            ProviderChoice::Auto => None,
            ProviderChoice::Tensorrt => Some(Provider::TensorRt),
            ProviderChoice::Cuda => Some(Provider::Cuda),
            ProviderChoice::Openvino => Some(Provider::OpenVino),
            ProviderChoice::Twin => Some(Provider::Twin),
            ProviderChoice::Cpu => Some(Provider::Cpu),
        }
    }

    /// Providers to try, the best first; the last is always the host's processor.
    pub(super) fn ladder(self) -> &'static [Provider] {
        match self {
            ProviderChoice::Auto | ProviderChoice::Tensorrt => AUTO,
            ProviderChoice::Cuda => &[Provider::Cuda, Provider::OpenVino, Provider::Cpu],
            ProviderChoice::Openvino => &[Provider::OpenVino, Provider::Cpu],
            ProviderChoice::Twin => &[Provider::Twin, Provider::Cpu],
            ProviderChoice::Cpu => &[Provider::Cpu],
        }
    }
}

impl ModelParams {
    /// As a graph gives them.
    ///
    /// # Errors
    /// When a value is none, which a checked plan rules out.
    pub(super) fn from_plan(plan: &ModelPlan) -> Result<Self> {
        Ok(ModelParams::from_values(&plan.params).map_err(|error| error.to_string())?)
    }

    /// Makes its paths what they are on this machine.
    pub(super) fn resolve(&mut self, path: impl Fn(&Path) -> PathBuf) {
        for written in [
            &mut self.labels,
            &mut self.calibration,
            &mut self.floor_images,
            &mut self.floor_reference,
        ] {
            *written = written.as_deref().map(&path);
        }
    }

    /// Where a provider's engine comes from; none where it needs none.
    pub(super) fn engine_of(&self, provider: Provider) -> Option<EngineChoice> {
        let usual = match self.provider {
            ProviderChoice::Tensorrt => EngineChoice::Before,
            _ => EngineChoice::Background,
        };
        match provider {
            Provider::TensorRt => Some(self.engine.unwrap_or(usual)),
            Provider::Twin => self.engine,
            Provider::Cuda | Provider::OpenVino | Provider::Cpu => None,
        }
    }

    /// When a provider is left alone.
    pub(super) fn breaker(&self) -> BreakerPolicy {
        BreakerPolicy {
            failures: self.failures as u32,
            memory_failures: self.memory_failures as u32,
            rest: self.rest,
            trials: self.trials as u32,
        }
    }
}
