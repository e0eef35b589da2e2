//! ONNX Runtime, found at run time: no other module but the doctor's names `ort`.
//!
//! `runtime` finds and loads the library, `external` looks at a model file before the library
//! does, `session` opens a model on the first provider of a ladder that takes it, `undecoded` takes off a detection model's last
//! steps, `ranges` watches how far its tensors get; both know the bytes of a model by `onnx`. `bound` binds it to a device's
//! memory, `pipeline` puts what comes before and after it there too. `rungs` goes down the ladder while a run is under way, each
//! provider behind its `breaker`; `batcher` decides which pictures go together. `cache` is where TensorRT's engines lie,
//! `engines` who builds those that a run lacks.

mod batcher;
mod bound;
mod breaker;
mod cache;
mod engines;
mod external;
mod onnx;
mod pipeline;
mod provider;
mod ranges;
mod rungs;
mod runner;
mod runtime;
mod session;
mod tensorrt;
mod undecoded;
mod words;

pub use batcher::{Batcher, Decision, Urgency, snap};
pub use bound::Bound;
pub use breaker::{Breaker, BreakerPolicy, BreakerState, Failure};
pub use cache::{EngineBuild, EngineCache};
pub use engines::{Build, BuildStage, Builds, EngineBuilder, EngineWanted};
pub use external::is_quantised;
pub use pipeline::{HeadForm, Pipeline, PipelineOptions};
pub use provider::{AUTO, Placement, Provider, Recorded, Refusal, absent};
pub use ranges::Ranges;
pub use rungs::{Now, Outcome, RungState, Rungs};
pub use runtime::{Runtime, runtime};
pub use session::{Element, Model, ModelOptions, OutputTensor, TensorSpec, TensorView};
pub use tensorrt::{Precision, TensorRt};
