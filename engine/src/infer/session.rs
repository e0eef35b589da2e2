//! A model that is ready to run: its tensors by name and shape, its metadata, the provider it runs on.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Outlet, TensorElementType, TensorRef, ValueType};

use super::external;
use super::runtime::{Runtime, runtime};
use crate::errors::{OperatorError, Result};

/// What computes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// ONNX Runtime's own kernels on the host.
    Cpu,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Provider::Cpu => "CPU",
        })
    }
}

/// The ladder that takes the best provider the machine has.
pub const AUTO: &[Provider] = &[Provider::Cpu];

/// How a model is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelOptions<'a> {
    /// Threads that compute one run together, the caller's included; at least 1.
    pub threads: usize,
    /// Providers to try, the best first: the first that takes the model runs it.
    pub ladder: &'a [Provider],
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
}

/// An input or output as the model declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub element: Element,
    /// Its shape; none where the model leaves the length open.
    pub dims: Vec<Option<usize>>,
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<_> = self
            .dims
            .iter()
            .map(|dim| dim.map_or("?".into(), |dim| dim.to_string()))
            .collect();
        write!(f, "`{}` [{}]", self.name, dims.join(", "))
    }
}

/// A tensor to feed: row-major elements of the type that the input declares.
#[derive(Clone, Copy, Debug)]
pub enum TensorView<'a> {
    /// For an input of [`Element::F32`].
    F32(&'a [f32]),
    /// For an input of [`Element::F16`].
    F16(&'a [f16]),
}

/// A model with one input, opened on a provider.
#[derive(Debug)]
pub struct Model {
    session: Session,
    input: TensorSpec,
    outputs: Vec<TensorSpec>,
    metadata: BTreeMap<String, String>,
    provider: Provider,
}

impl Model {
    /// Opens a model file.
    ///
    /// # Errors
    /// When ONNX Runtime is missing; when the file is no ONNX model, or reads files outside its own
    /// folder; when it has more than one input, or tensors that are neither fp32 nor fp16; when no
    /// provider of the ladder takes it.
    pub fn open(path: &Path, options: &ModelOptions<'_>) -> Result<Model> {
        external::check(path)?;
        let runtime = runtime()?;
        let mut refusals = Vec::new();
        for provider in options.ladder {
            match guarded(|| build(runtime, path, options.threads, *provider)) {
                Ok(session) => return Model::of(session, *provider, path),
                Err(cause) => refusals.push(format!("{provider}: {cause}")),
            }
        }
        let cause = format!("model `{}` cannot be loaded: {}", path.display(), refusals.join("; "));
        Err(OperatorError::new(cause).help(format!(
            "export the model for an opset that ONNX Runtime {} knows",
            runtime.version()
        )))
    }

    fn of(session: Session, provider: Provider, path: &Path) -> Result<Model> {
        let about = |cause: String| OperatorError::new(format!("model `{}` {cause}", path.display()));
        let specs = |outlets: &[Outlet]| outlets.iter().map(spec).collect::<Result<Vec<_>, _>>().map_err(about);
        let (mut inputs, outputs) = (specs(session.inputs())?, specs(session.outputs())?);
        let input = match inputs.pop() {
            Some(input) if inputs.is_empty() => input,
            _ => {
                return Err(about(format!(
                    "has {} inputs where one is expected",
                    session.inputs().len()
                )));
            }
        };
        if outputs.is_empty() {
            return Err(about("has no output".into()));
        }
        let metadata = guarded(|| {
            let metadata = session.metadata()?;
            let keys = metadata.custom_keys()?;
            Ok(keys
                .into_iter()
                .filter_map(|key| metadata.custom(&key).map(|value| (key, value)))
                .collect())
        });
        Ok(Model {
            input,
            outputs,
            metadata: metadata.map_err(|cause| about(format!("has metadata that cannot be read: {cause}")))?,
            provider,
            session,
        })
    }

    /// The input.
    pub fn input(&self) -> &TensorSpec {
        &self.input
    }
    /// The outputs, at least one.
    pub fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }
    /// What the exporter wrote about the model: Ultralytics writes `names`, `imgsz`, `task`, `stride`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
    /// What computes it.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Runs the model over `input` of shape `dims` and hands out its first output, which is its own: the
    /// next run does not touch it. The input is read in place; the output comes from the session's arena.
    ///
    /// # Errors
    /// When shape or type do not fit, or a kernel fails.
    pub fn run(&mut self, dims: &[usize], input: TensorView<'_>) -> Result<OutputTensor> {
        let (session, name) = (&mut self.session, &self.outputs[0].name);
        let value = guarded(|| {
            let value: SessionInputValue<'_> = match input {
                TensorView::F32(data) => TensorRef::from_array_view((dims, data))?.into(),
                TensorView::F16(data) => TensorRef::from_array_view((dims, data))?.into(),
            };
            let mut outputs = session.run([value])?;
            outputs
                .remove(name)
                .ok_or_else(|| ort::Error::new("the model answered without its first output"))
        });
        let value = value.map_err(|cause| OperatorError::new(format!("inference failed: {cause}")))?;
        let dims = value
            .dtype()
            .tensor_shape()
            .map(|shape| shape.iter().map(|dim| *dim as usize).collect());
        Ok(OutputTensor {
            dims: dims.unwrap_or_default(),
            value,
        })
    }
}

/// What a run answered.
#[derive(Debug)]
pub struct OutputTensor {
    value: DynValue,
    dims: Vec<usize>,
}

impl OutputTensor {
    /// Its shape.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Its elements, row-major; fp16 ones are widened into `wide`.
    ///
    /// # Errors
    /// When the elements are neither fp32 nor fp16.
    pub fn floats<'a>(&'a self, wide: &'a mut Vec<f32>) -> Result<&'a [f32]> {
        if let Ok((_, floats)) = self.value.try_extract_tensor::<f32>() {
            return Ok(floats);
        }
        let (_, halves) = self
            .value
            .try_extract_tensor::<f16>()
            .map_err(|error| OperatorError::new(format!("the model's answer cannot be read: {error}")))?;
        wide.resize(halves.len(), 0.0);
        halves.convert_to_f32_slice(wide);
        Ok(wide)
    }
}

/// Calls into ort and turns whatever it throws into a text: it panics where ONNX Runtime answers with null.
fn guarded<T>(call: impl FnOnce() -> ort::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("ONNX Runtime gave an answer that makes no sense".into()),
    }
}

fn build(runtime: &Runtime, path: &Path, threads: usize, provider: Provider) -> ort::Result<Session> {
    let mut builder = Session::builder(runtime.environment())?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads.max(1))?
        .with_inter_threads(1)?
        // Threads that spin between operators gain about 6 % of a run on cores of their own, and burn what lanes,
        // decoders and workers of a live graph want in between.
        .with_intra_op_spinning(false)?
        // Planning memory by pattern keeps a second copy of all activations (34 MB for YOLO11n at 640) and gains nothing.
        .with_memory_pattern(false)?;
    match provider {
        // The host's kernels are always there, below whatever else is registered.
        Provider::Cpu => {}
    }
    builder.commit_from_file(path)
}

fn spec(outlet: &Outlet) -> Result<TensorSpec, String> {
    let unfit = |what: String| {
        format!(
            "has a tensor `{}` of {what} where fp32 or fp16 is expected",
            outlet.name()
        )
    };
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(unfit(outlet.dtype().to_string()));
    };
    let element = match ty {
        TensorElementType::Float32 => Element::F32,
        TensorElementType::Float16 => Element::F16,
        other => return Err(unfit(other.to_string())),
    };
    Ok(TensorSpec {
        name: outlet.name().to_owned(),
        element,
        dims: shape.iter().map(|dim| usize::try_from(*dim).ok()).collect(),
    })
}
