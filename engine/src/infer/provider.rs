//! What computes a model: the providers, the ladders of them, and how each is asked for.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ort::ep;
use ort::session::builder::SessionBuilder;

use super::runtime::{Runtime, is_since, runtime};
use super::tensorrt::{self, TensorRt};
use crate::device::{Cuda, CudaStream, TENSORRT_LIBRARIES, TensorRtLibrary, cuda, tensorrt_library};

/// What computes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provider {
    /// TensorRT on an NVIDIA GPU: the fastest, from an engine that is built once for a model and a chip.
    TensorRt,
    /// ONNX Runtime's CUDA kernels on an NVIDIA GPU.
    Cuda,
    /// OpenVINO on Intel's hardware.
    OpenVino,
    /// The way of a GPU with all its memory on the host: what is built on devices is tested on it.
    Twin,
    /// ONNX Runtime's own kernels on the host.
    Cpu,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Provider::TensorRt => "TensorRT",
            Provider::Cuda => "CUDA",
            Provider::OpenVino => "OpenVINO",
            Provider::Twin => "CPU twin",
            Provider::Cpu => "CPU",
        })
    }
}

impl Provider {
    /// Whether it works in a device's memory, so that pictures are prepared and answers read there.
    pub fn is_on_device(self) -> bool {
        matches!(self, Provider::TensorRt | Provider::Cuda | Provider::Twin)
    }
}

/// The ladder that takes the best provider the machine has.
pub const AUTO: &[Provider] = &[Provider::TensorRt, Provider::Cuda, Provider::OpenVino, Provider::Cpu];

/// The first version of ONNX Runtime whose CUDA provider takes a stream.
const STREAMS: [u32; 2] = [1, 18];

/// Why a provider did not take a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub provider: Provider,
    /// One sentence: what is missing.
    pub cause: String,
    /// Whether the machine has the hardware, so that the refusal makes a run slower than it need be.
    pub is_loss: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.provider, self.cause)
    }
}

impl Refusal {
    /// Says it in the log: loudly where it makes a run slower than it need be.
    pub fn tell(&self, model: &Path, remedy: Option<&str>) {
        let (model, provider, cause) = (model.display(), self.provider, &self.cause);
        match self.is_loss {
            true => {
                tracing::warn!(%model, %provider, cause, remedy, "a provider cannot be used; the next one is tried")
            }
            false => tracing::info!(%model, %provider, cause, "a provider is not there; the next one is tried"),
        }
    }
}

/// How a model is put onto a GPU.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Whose work is done in its order; none lets ONNX Runtime make one.
    pub stream: Option<Arc<CudaStream>>,
    /// The device's number.
    pub device: usize,
    /// Whether CUDA's convolutions keep channels together, which suits tensor cores.
    pub channels_last: bool,
    /// Whether CUDA times all kernels that can compute a convolution rather than asks which is likely the fastest.
    pub thorough: bool,
    /// The size of all batches: the model's open batch becomes this, and a run is recorded as a CUDA graph and replayed.
    /// None leaves the batch open and launches piece by piece.
    pub recorded: Option<Recorded>,
    /// How TensorRT is to work.
    pub tensorrt: TensorRt,
}

/// A batch that is always of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The size.
    pub batch: usize,
    /// What the model calls its open batch; none where it fixes the size itself.
    pub symbol: Option<String>,
}

impl Default for Placement {
    fn default() -> Self {
        Placement {
            stream: None,
            device: 0,
            channels_last: true,
            thorough: false,
            recorded: None,
            tensorrt: TensorRt::default(),
        }
    }
}

/// What keeps a provider from working on this machine, as far as that can be told without trying.
pub fn absent(provider: Provider) -> Option<Refusal> {
    match runtime() {
        Ok(runtime) => missing(provider, runtime),
        Err(error) => Some(Refusal {
            provider,
            cause: error.cause,
            is_loss: true,
        }),
    }
}

/// As [`absent`], with the library at hand.
pub(super) fn missing(provider: Provider, runtime: &Runtime) -> Option<Refusal> {
    let brought = |file: &str| {
        runtime
            .library()
            .parent()
            .is_none_or(|folder| folder.as_os_str().is_empty() || folder.join(file).is_file())
    };
    let refusal = |cause: String, is_loss| {
        Some(Refusal {
            provider,
            cause,
            is_loss,
        })
    };
    if matches!(provider, Provider::TensorRt | Provider::Cuda) {
        match cuda() {
            Cuda::Absent => return refusal("there is no NVIDIA driver".into(), false),
            Cuda::Broken(cause) => return refusal(format!("the NVIDIA driver does not work: {cause}"), true),
            Cuda::Present(driver) if driver.devices.is_empty() => {
                return refusal("the NVIDIA driver sees no device".into(), false);
            }
            Cuda::Present(_) => {}
        }
        if !brought("libonnxruntime_providers_cuda.so") {
            let library = runtime.library().display();
            let cause = format!(
                "ONNX Runtime at {library} has no libonnxruntime_providers_cuda.so beside it: set ORT_DYLIB_PATH to a build for GPUs"
            );
            return refusal(cause, true);
        }
        if let Some(cause) = too_old(provider, runtime.version()) {
            return refusal(cause, true);
        }
    }
    if provider == Provider::TensorRt {
        if !brought("libonnxruntime_providers_tensorrt.so") {
            return refusal(
                "this ONNX Runtime has no libonnxruntime_providers_tensorrt.so beside it".into(),
                true,
            );
        }
        match tensorrt_library() {
            None => {
                let [newest, _] = TENSORRT_LIBRARIES;
                let cause = format!("{newest} cannot be loaded: put TensorRT's lib folder into LD_LIBRARY_PATH");
                return refusal(cause, true);
            }
            Some(TensorRtLibrary {
                name,
                lacks: Some(file),
                ..
            }) => return refusal(format!("{name} is there without {file}: install all of TensorRT"), true),
            Some(_) => {}
        }
    }
    if provider == Provider::OpenVino && !brought("libonnxruntime_providers_openvino.so") {
        return refusal(
            "this ONNX Runtime has no libonnxruntime_providers_openvino.so beside it".into(),
            false,
        );
    }
    None
}

/// Why a version of ONNX Runtime has no use for a provider: CUDA's takes the stream of a session as an option only since 1.18
/// (<https://github.com/microsoft/onnxruntime/pull/19229>).
fn too_old(provider: Provider, version: &str) -> Option<String> {
    let old = provider == Provider::Cuda && !is_since(version, STREAMS);
    old.then(|| {
        let [major, minor] = STREAMS;
        format!(
            "the CUDA provider of ONNX Runtime {version} takes no stream: set ORT_DYLIB_PATH to {major}.{minor} or newer"
        )
    })
}

/// Asks for a provider; the host's kernels are always there below it.
pub(super) fn register(
    mut builder: SessionBuilder,
    provider: Provider,
    placement: &Placement,
) -> ort::Result<SessionBuilder> {
    let device = placement.device as i32;
    let stream = placement
        .stream
        .as_ref()
        .map(|stream| stream.handle() as usize as *mut ());
    let dispatch = match provider {
        Provider::Cpu | Provider::Twin => return Ok(builder),
        Provider::OpenVino => ep::OpenVINO::default().build(),
        Provider::Cuda => {
            let cuda = ep::CUDA::default()
                .with_device_id(device)
                .with_prefer_nhwc(placement.channels_last)
                .with_cuda_graph(placement.recorded.is_some())
                .with_conv_algorithm_search(match placement.thorough {
                    true => ep::cuda::ConvAlgorithmSearch::Exhaustive,
                    false => ep::cuda::ConvAlgorithmSearch::Heuristic,
                })
                // Grows by what is asked for rather than in powers of two: what is reserved is used.
                .with_arena_extend_strategy(ort::ep::ArenaExtendStrategy::SameAsRequested);
            match stream {
                // SAFETY: whoever holds the session holds the stream: `Model` keeps its placement.
                Some(stream) => unsafe { cuda.with_compute_stream(stream) }.build(),
                None => cuda.build(),
            }
        }
        Provider::TensorRt => {
            tensorrt::register(&mut builder, placement)?;
            return Ok(builder);
        }
    };
    Ok(builder.with_execution_providers([dispatch.error_on_failure()])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_old_for_a_provider_is_told_with_what_to_set() {
        let cause = too_old(Provider::Cuda, "1.17.3").unwrap();
        assert!(
            cause.contains("1.17.3") && cause.contains("ORT_DYLIB_PATH to 1.18"),
            "{cause}"
        );
        assert!(too_old(Provider::Cuda, "unknown").is_some());
        for (provider, version) in [
            (Provider::Cuda, "1.18.0"),
            (Provider::Cuda, "1.31.1"),
            (Provider::TensorRt, "1.17.3"),
        ] {
            assert_eq!(too_old(provider, version), None, "{provider} {version}");
        }
    }
}
