//! TensorRT, asked for by ONNX Runtime's C interface: `ort` hands a stream on as text, which ONNX Runtime takes for CUDA
//! and refuses for TensorRT.

use std::ffi::{CString, c_char};
use std::path::PathBuf;

use ort::AsPointer;
use ort::session::builder::SessionBuilder;

use super::provider::Placement;

/// How TensorRT is to work.
#[derive(Clone, Debug)]
pub struct TensorRt {
    /// The folder of engines, as [`super::EngineCache`] found it safe; none keeps nothing.
    pub folder: Option<PathBuf>,
    /// Whether it may compute in fp16 where the model says fp32.
    pub half: bool,
    /// Whether it may compute in int8 where the model's own quantisation says how.
    pub int8: bool,
    /// Bytes that it may use beside the model's own.
    pub workspace_bytes: usize,
    /// How hard it looks for fast kernels, 0 to 5; none leaves it to TensorRT.
    pub effort: Option<u8>,
    /// Smallest, usual and largest shape of the input, each as in `images:1x3x640x640`; none for a model that fixes it.
    pub shapes: Option<[String; 3]>,
}

impl Default for TensorRt {
    fn default() -> Self {
        TensorRt {
            folder: None,
            half: true,
            int8: false,
            workspace_bytes: 4 << 30,
            effort: None,
            shapes: None,
        }
    }
}

impl TensorRt {
    fn options(&self, device: usize, recorded: bool) -> Vec<(&'static str, String)> {
        let flag = |on: bool| u8::from(on).to_string();
        let mut options = vec![
            ("device_id", device.to_string()),
            ("trt_fp16_enable", flag(self.half)),
            ("trt_int8_enable", flag(self.int8)),
            ("trt_max_workspace_size", self.workspace_bytes.to_string()),
            ("trt_cuda_graph_enable", flag(recorded)),
            // TensorRT's own kernels only: what cuBLAS and cuDNN are like on a machine does not matter then.
            ("trt_tactic_sources", "-CUDNN,-CUBLAS,-CUBLAS_LT".to_owned()),
        ];
        if let Some(folder) = &self.folder {
            let folder = folder.display().to_string();
            options.extend([
                ("trt_engine_cache_enable", flag(true)),
                ("trt_engine_cache_path", folder.clone()),
                ("trt_timing_cache_enable", flag(true)),
                ("trt_timing_cache_path", folder),
            ]);
        }
        if let Some(effort) = self.effort {
            options.push(("trt_builder_optimization_level", effort.min(5).to_string()));
        }
        if let Some([least, usual, most]) = &self.shapes {
            options.extend([
                ("trt_profile_min_shapes", least.clone()),
                ("trt_profile_opt_shapes", usual.clone()),
                ("trt_profile_max_shapes", most.clone()),
            ]);
        }
        options
    }
}

/// Asks for TensorRT in the placement's stream, which whoever holds the session holds too.
pub(super) fn register(builder: &mut SessionBuilder, placement: &Placement) -> ort::Result<()> {
    let options = placement
        .tensorrt
        .options(placement.device, placement.recorded.is_some());
    let text = |text: &str| CString::new(text).map_err(|error| ort::Error::new(error.to_string()));
    let keys = options
        .iter()
        .map(|(key, _)| text(key))
        .collect::<ort::Result<Vec<_>>>()?;
    let values = options
        .iter()
        .map(|(_, value)| text(value))
        .collect::<ort::Result<Vec<_>>>()?;
    let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).collect::<Vec<*const c_char>>();
    let (keys_there, values_there) = (pointers(&keys), pointers(&values));
    let api = ort::api();
    let mut raw = std::ptr::null_mut();
    // SAFETY: writes one pointer, which is released below.
    unsafe { ort::Error::result_from_status((api.CreateTensorRTProviderOptions)(&mut raw))? };
    // SAFETY: keys and values end in NUL and live until the calls are over, which copy them; the stream is the driver's.
    let done = unsafe {
        let update =
            (api.UpdateTensorRTProviderOptions)(raw, keys_there.as_ptr(), values_there.as_ptr(), options.len());
        ort::Error::result_from_status(update).and_then(|()| {
            if let Some(stream) = &placement.stream {
                let stream = stream.handle() as usize as *mut std::ffi::c_void;
                let name = c"user_compute_stream".as_ptr();
                ort::Error::result_from_status((api.UpdateTensorRTProviderOptionsWithValue)(raw, name, stream))?;
            }
            let appended = (api.SessionOptionsAppendExecutionProvider_TensorRT_V2)(builder.ptr_mut(), raw);
            ort::Error::result_from_status(appended)
        })
    };
    // SAFETY: made above, and released once.
    unsafe { (api.ReleaseTensorRTProviderOptions)(raw) };
    done
}
