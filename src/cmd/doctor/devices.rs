//! Accelerators. None is needed.

use std::path::Path;

use flowrun_engine::device::{
    Cuda, NVDEC_LIBRARY, TENSORRT_LIBRARIES, TensorRtLibrary, cuda, is_loadable, tensorrt_library,
};

use super::Finding;
use super::inference::Loaded;
use super::machine::gibibytes;

/// The file that a build of ONNX Runtime for TensorRT brings beside its library.
const TENSORRT_PROVIDER: &str = "libonnxruntime_providers_tensorrt.so";

/// Examines NVIDIA's driver and TensorRT.
pub fn examine(findings: &mut Vec<Finding>, onnx_runtime: Option<&Loaded>) -> Cuda {
    let cuda = cuda();
    findings.push(match &cuda {
        Cuda::Present(driver) if !driver.devices.is_empty() => {
            let devices: Vec<String> = driver
                .devices
                .iter()
                .enumerate()
                .map(|(number, device)| {
                    let memory = gibibytes(device.memory_bytes as u64);
                    format!(
                        "device {number}: {} ({memory:.0} GiB, compute capability {})",
                        device.name, device.compute_capability
                    )
                })
                .collect();
            Finding::ok("CUDA", format!("{}: {}", driver.cuda, devices.join(", ")))
        }
        Cuda::Present(driver) => Finding::absent(
            "CUDA",
            format!("{}, and no device", driver.cuda),
            "nvidia-smi says whether the driver sees one",
        ),
        Cuda::Broken(cause) => Finding::absent("CUDA", format!("the driver does not work: {cause}"), "nvidia-smi"),
        Cuda::Absent => Finding::absent(
            "CUDA",
            "no NVIDIA driver; none is needed",
            "with an NVIDIA GPU: apt-get install --yes nvidia-driver",
        ),
    });
    if matches!(&cuda, Cuda::Present(driver) if !driver.devices.is_empty()) {
        findings.push(nvdec());
    }
    findings.push(tensorrt(onnx_runtime));
    cuda
}

fn nvdec() -> Finding {
    match is_loadable(Path::new(NVDEC_LIBRARY)) {
        true => Finding::ok("NVDEC", format!("{NVDEC_LIBRARY}: cameras are decoded on the GPU")),
        false => Finding::absent(
            "NVDEC",
            format!("{NVDEC_LIBRARY} cannot be loaded: the processor decodes"),
            "in a container, ask for the driver's `video` capability",
        ),
    }
}

fn tensorrt(onnx_runtime: Option<&Loaded>) -> Finding {
    let Some(loaded) = onnx_runtime else {
        return Finding::absent("TensorRT", "no ONNX Runtime to use it with", "see ONNX Runtime above");
    };
    let provider = loaded
        .library
        .parent()
        .is_some_and(|folder| folder.join(TENSORRT_PROVIDER).is_file());
    match (provider, tensorrt_library()) {
        (
            true,
            Some(TensorRtLibrary {
                name,
                lacks: Some(file),
                ..
            }),
        ) => Finding::absent(
            "TensorRT",
            format!("{name} is there without {file}"),
            "install all of TensorRT: it ends the process where it misses that file",
        ),
        (true, Some(TensorRtLibrary { name, version, .. })) => Finding::ok(
            "TensorRT",
            format!("{version} ({name}), and ONNX Runtime's provider for it"),
        ),
        (true, None) => Finding::absent(
            "TensorRT",
            format!(
                "ONNX Runtime has its provider, and there is no {}",
                TENSORRT_LIBRARIES[0]
            ),
            "put TensorRT's lib folder into LD_LIBRARY_PATH",
        ),
        (false, _) => Finding::absent(
            "TensorRT",
            "this ONNX Runtime has no provider for it; none is needed",
            "with an NVIDIA GPU: set ORT_DYLIB_PATH to a build of ONNX Runtime for GPUs",
        ),
    }
}
