//! A model that is ready to run: its tensors by name and shape, its metadata, the provider it runs on.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Outlet, TensorElementType, TensorRef, ValueType};

use super::external;
use super::provider::{Placement, Provider, Recorded, Refusal, missing, register};
use super::runtime::{Runtime, runtime};
use super::undecoded;
use super::words::plain;
use crate::errors::{OperatorError, Result};

/// How a model is opened.
#[derive(Clone, Debug)]
pub struct ModelOptions<'a> {
    /// Threads that compute one run together, the caller's included; at least 1.
    pub threads: usize,
    /// Providers to try, the best first: the first that takes the model runs it.
    pub ladder: &'a [Provider],
    /// How it is put onto a GPU, where one takes it.
    pub placement: Placement,
    /// Whether it is opened without its last steps. Those of detection models of YOLOv8 or later make boxes and scores of all
    /// anchors, which is dear and wanted for few. Without them the answer for a picture is, for one grid of anchors after the
    /// other, `[4 x bins + classes, anchors of the grid]`: of each side's distance from the anchor's point the logits of its
    /// bins, then the logit of each class.
    pub undecoded: bool,
}

impl<'a> ModelOptions<'a> {
    /// So many threads, these providers, and for the rest what suits most.
    pub fn new(threads: usize, ladder: &'a [Provider]) -> Self {
        ModelOptions {
            threads,
            ladder,
            placement: Placement::default(),
            undecoded: false,
        }
    }
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
}

impl Element {
    /// Bytes of one.
    pub fn bytes(self) -> usize {
        match self {
            Element::F32 => 4,
            Element::F16 => 2,
        }
    }
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

impl<'a> TensorView<'a> {
    /// As a session takes it.
    pub(super) fn of_shape(self, dims: &'a [usize]) -> ort::Result<SessionInputValue<'a>> {
        Ok(match self {
            TensorView::F32(data) => TensorRef::from_array_view((dims, data))?.into(),
            TensorView::F16(data) => TensorRef::from_array_view((dims, data))?.into(),
        })
    }
}

/// A model with one input, opened on a provider.
#[derive(Debug)]
pub struct Model {
    session: Session,
    input: TensorSpec,
    outputs: Vec<TensorSpec>,
    metadata: BTreeMap<String, String>,
    provider: Provider,
    refusals: Vec<Refusal>,
    batch_symbol: Option<String>,
    /// Kept for the stream in it, which the session works in.
    placement: Placement,
}

impl Drop for Model {
    fn drop(&mut self) {
        // ONNX Runtime gives pinned memory of a run back in its stream, after the run. Where the session has gone by then,
        // the last of it is freed where CUDA allows no call, and the process ends (1.31).
        if let Some(stream) = &self.placement.stream
            && let Err(fault) = stream.drain()
        {
            tracing::debug!(%fault, "a model's stream ended in failure");
        }
    }
}

impl Model {
    /// Opens a model file.
    ///
    /// # Errors
    /// When ONNX Runtime is missing; when the file is no ONNX model, or reads files outside its own
    /// folder; when it has more than one input, or tensors that are neither fp32 nor fp16; when it is to be opened without
    /// its last steps and those are not known; when no provider of the ladder takes it.
    pub fn open(path: &Path, options: &ModelOptions<'_>) -> Result<Model> {
        external::check(path)?;
        let undecoded = options.undecoded.then(|| without_last_steps(path)).transpose()?;
        let runtime = runtime()?;
        let open = |provider| {
            guarded(|| {
                let mut builder = build(runtime, options, provider)?;
                match &undecoded {
                    Some(model) => builder.commit_from_memory(model),
                    None => builder.commit_from_file(path),
                }
            })
        };
        let mut refusals = Vec::new();
        for provider in options.ladder {
            let refusal = match missing(*provider, runtime) {
                Some(refusal) => refusal,
                None => match open(*provider) {
                    Ok(session) => return Model::of(session, *provider, path, refusals, options.placement.clone()),
                    Err(cause) => Refusal {
                        provider: *provider,
                        cause,
                        is_loss: true,
                    },
                },
            };
            refusal.tell(path, None);
            refusals.push(refusal);
        }
        let causes: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        let cause = format!("model `{}` cannot be loaded: {}", path.display(), causes.join("; "));
        // What both of TensorRT's complaints about a calibration table have in common.
        let is_of_table = |refusal: &Refusal| refusal.provider == Provider::TensorRt && refusal.cause.contains("INT8");
        let has_table = options.placement.tensorrt.calibration.is_some();
        let remedy = if has_table && refusals.iter().any(is_of_table) {
            "make the table anew, as `flowrun model calibrate` does".into()
        } else if options.ladder.iter().all(|provider| provider.is_on_device()) {
            "see in `flowrun doctor` what is missing here; where nothing is, the model wants another export".into()
        } else {
            format!(
                "export the model for an opset that ONNX Runtime {} knows",
                runtime.version()
            )
        };
        Err(OperatorError::new(cause).help(remedy))
    }

    fn of(
        session: Session,
        provider: Provider,
        path: &Path,
        refusals: Vec<Refusal>,
        placement: Placement,
    ) -> Result<Model> {
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
        let batch_symbol = match session.inputs()[0].dtype() {
            ValueType::Tensor { dimension_symbols, .. } => dimension_symbols
                .first()
                .filter(|symbol| !symbol.is_empty())
                .map(|symbol| symbol.to_string()),
            _ => None,
        };
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
            refusals,
            batch_symbol,
            placement,
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
    /// What it calls the first dimension of its input, where it leaves that open.
    pub fn batch_symbol(&self) -> Option<&str> {
        self.batch_symbol.as_deref()
    }
    /// What computes it.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Whether its runs are recorded and replayed.
    pub fn is_recorded(&self) -> bool {
        self.placement.recorded.is_some()
    }
    /// Which providers did not take it, the best first.
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }
    pub(super) fn session(&self) -> &Session {
        &self.session
    }
    pub(super) fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Runs the model over `input` of shape `dims` and hands out its first output, which is its own: the
    /// next run does not touch it. The input is read in place; the output comes from the session's arena.
    ///
    /// # Errors
    /// When shape or type do not fit, or a kernel fails.
    pub fn run(&mut self, dims: &[usize], input: TensorView<'_>) -> Result<OutputTensor> {
        let (session, name) = (&mut self.session, &self.outputs[0].name);
        let value = guarded(|| {
            let mut outputs = session.run([input.of_shape(dims)?])?;
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

/// A model file without its last steps.
fn without_last_steps(path: &Path) -> Result<Vec<u8>> {
    undecoded::take_off(&external::whole(path)?).ok_or_else(|| {
        let cause = "its last steps are not those of a known detection model";
        OperatorError::new(format!("model `{}`: {cause}", path.display()))
    })
}

/// Calls into ort and turns whatever it throws into a text: it panics where ONNX Runtime answers with null.
pub(super) fn guarded<T>(call: impl FnOnce() -> ort::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| plain(&error.to_string())),
        Err(_) => Err("ONNX Runtime gave an answer that makes no sense".into()),
    }
}

pub(super) fn build(runtime: &Runtime, options: &ModelOptions<'_>, provider: Provider) -> ort::Result<SessionBuilder> {
    let builder = Session::builder(runtime.environment())?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(options.threads.max(1))?
        .with_inter_threads(1)?
        // Threads that spin between operators gain about 6 % of a run on cores of their own, and burn what lanes,
        // decoders and workers of a live graph want in between.
        .with_intra_op_spinning(false)?
        // Planning memory by pattern keeps a second copy of all activations (34 MB for YOLO11n at 640) and gains nothing.
        .with_memory_pattern(false)?;
    let builder = match provider {
        // All of the graph or none of it: in pieces it would go back and forth between the device and the host.
        Provider::TensorRt => builder.with_disable_cpu_fallback()?,
        _ => builder,
    };
    let builder = match &options.placement.recorded {
        // TensorRT records a run of one size of an engine for all.
        Some(Recorded {
            batch,
            symbol: Some(symbol),
        }) if provider != Provider::TensorRt => builder.with_dimension_override(symbol, *batch as i64)?,
        _ => builder,
    };
    register(builder, provider, &options.placement)
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
