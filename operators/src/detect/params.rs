//! What `detect` and the `model` block can be told.

use std::path::PathBuf;
use std::time::Duration;

use flowrun_dsl::params::{Choice, Model, Params, Ref};
use flowrun_engine::infer::{AUTO, Provider};

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
    /// Pictures that are inferred together: what the model was exported for, else 1. More helps GPUs only.
    #[param(min = 1, max = 64)]
    pub batch: Option<usize>,
    /// How long a picture may wait for others to fill a batch.
    #[param(default = "5ms")]
    pub deadline: Duration,
    /// Threads that compute, two pictures at a time where there are two: as many as the machine has cores, unless given.
    #[param(min = 1, max = 256)]
    pub threads: Option<usize>,
}

/// What computes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum ProviderChoice {
    /// The best that the machine has.
    Auto,
    /// The host's processor.
    Cpu,
}

/// A model file and how to open it.
#[derive(Clone, Debug, Params)]
pub struct ModelParams {
    /// An Ultralytics data.yaml with the names of the classes, for a model that does not carry them.
    pub labels: Option<PathBuf>,
    /// What computes the model.
    #[param(default = "auto")]
    pub provider: ProviderChoice,
}

impl ProviderChoice {
    /// Providers to try, the best first.
    pub(super) fn ladder(self) -> &'static [Provider] {
        match self {
            ProviderChoice::Auto => AUTO,
            ProviderChoice::Cpu => &[Provider::Cpu],
        }
    }
}
