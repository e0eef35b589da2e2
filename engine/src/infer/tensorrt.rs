//! TensorRT, asked for by ONNX Runtime's C interface: `ort` hands a stream on as text, which ONNX Runtime takes for CUDA
//! and refuses for TensorRT.

use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};

use flowrun_dsl::params::Choice;
use ort::AsPointer;
use ort::session::builder::SessionBuilder;

use super::provider::Placement;

/// The numbers that TensorRT computes in; where a layer gains nothing by them it takes wider ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Choice)]
pub enum Precision {
    /// IEEE 754 binary32, as the model says.
    Fp32,
    /// IEEE 754 binary16.
    #[default]
    Fp16,
    /// Bytes, by the model's own quantisation or a calibration table.
    Int8,
}

impl Precision {
    /// As a graph writes it.
    pub fn word(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Fp16 => "fp16",
            Precision::Int8 => "int8",
        }
    }
    /// Whether layers may compute in fp16.
    pub fn takes_half(self) -> bool {
        self != Precision::Fp32
    }
    /// Whether layers may compute in bytes.
    pub fn takes_int8(self) -> bool {
        self == Precision::Int8
    }
}

/// How TensorRT is to work.
#[derive(Clone, Debug)]
pub struct TensorRt {
    /// The folder of engines, as [`super::EngineCache`] found it safe; none keeps nothing.
    pub folder: Option<PathBuf>,
    /// The numbers that it computes in.
    pub precision: Precision,
    /// The table of ranges for a model that is not quantised itself; it is read beside the engine.
    pub calibration: Option<PathBuf>,
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
            precision: Precision::default(),
            calibration: None,
            workspace_bytes: 4 << 30,
            effort: None,
            shapes: None,
        }
    }
}

/// What a calibration table is called beside an engine: TensorRT's own, or the one that ONNX Runtime's tool writes.
pub(super) fn table_name(written: &Path) -> &'static str {
    match written.extension().is_some_and(|extension| extension == "flatbuffers") {
        true => "calibration.flatbuffers",
        false => NATIVE_TABLE,
    }
}

const NATIVE_TABLE: &str = "calibration.table";

impl TensorRt {
    fn options(&self, device: usize, recorded: bool) -> Vec<(&'static str, String)> {
        let flag = |on: bool| u8::from(on).to_string();
        let mut options = vec![
            ("device_id", device.to_string()),
            ("trt_fp16_enable", flag(self.precision.takes_half())),
            ("trt_int8_enable", flag(self.precision.takes_int8())),
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
        if let (Some(table), true) = (&self.calibration, self.precision.takes_int8()) {
            // ONNX Runtime looks for it in the folder of engines alone.
            let name = table_name(table);
            options.extend([
                ("trt_int8_calibration_table_name", name.to_owned()),
                ("trt_int8_use_native_calibration_table", flag(name == NATIVE_TABLE)),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn set<'o>(options: &'o [(&str, String)], name: &str) -> Option<&'o str> {
        let found = options.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_precision_sets_what_layers_may_compute_in() {
        for (precision, half, int8) in [
            (Precision::Fp32, "0", "0"),
            (Precision::Fp16, "1", "0"),
            (Precision::Int8, "1", "1"),
        ] {
            let tensorrt = TensorRt {
                precision,
                ..TensorRt::default()
            };
            let options = tensorrt.options(0, false);
            assert_eq!(set(&options, "trt_fp16_enable"), Some(half), "{precision:?}");
            assert_eq!(set(&options, "trt_int8_enable"), Some(int8), "{precision:?}");
            assert_eq!(set(&options, "trt_int8_calibration_table_name"), None);
        }
    }

    #[test]
    fn a_table_is_read_as_what_its_name_says() {
        for (written, name, native) in [
            ("a/b.flatbuffers", "calibration.flatbuffers", "0"),
            ("a/b.cache", "calibration.table", "1"),
        ] {
            let mut tensorrt = TensorRt {
                precision: Precision::Int8,
                calibration: Some(written.into()),
                ..TensorRt::default()
            };
            let options = tensorrt.options(0, false);
            assert_eq!(set(&options, "trt_int8_calibration_table_name"), Some(name));
            assert_eq!(set(&options, "trt_int8_use_native_calibration_table"), Some(native));
            tensorrt.precision = Precision::Fp16;
            assert_eq!(
                set(&tensorrt.options(0, false), "trt_int8_calibration_table_name"),
                None
            );
        }
    }
}
