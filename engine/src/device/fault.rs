//! What goes wrong on a device, told apart by what can be done about it.

use std::fmt;

use crate::errors::OperatorError;

/// Why a device did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no such device, or no driver for it.
    Absent(String),
    /// Its memory is full: so many bytes were asked for; 0 where that is not known.
    OutOfMemory(usize),
    /// It has gone, or a kernel ran astray: nothing works on it until the process starts anew.
    Lost(String),
    /// What it was given is not what it should be; the device is well.
    Unfit(String),
    /// Anything else, as the driver tells it.
    Other(String),
}

/// How ONNX Runtime, which has no code of its own for it, the driver, and NVIDIA's libraries (cuBLAS, cuDNN, TensorRT) say that
/// memory is full.
const FULL: [&str; 8] = [
    "out of memory",
    "Failed to allocate memory",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "the device has no",
    "resource allocation failed",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "OutOfMemory",
];

/// Whether a cause is that a device's memory is full.
pub fn is_out_of_memory(cause: &str) -> bool {
    FULL.iter().any(|words| cause.contains(words))
}

/// What calls of a device return.
pub type Result<T, E = Fault> = std::result::Result<T, E>;

impl Fault {
    /// What mends it.
    fn remedy(&self) -> Option<&'static str> {
        match self {
            Fault::Absent(_) => {
                Some("`flowrun doctor` says what this machine has; without a device all runs on the host")
            }
            Fault::OutOfMemory(_) => Some("lower `batch`, or end what else uses the device: nvidia-smi lists it"),
            Fault::Lost(_) => Some("start the run anew; `nvidia-smi` and `dmesg` say what became of the device"),
            Fault::Unfit(_) | Fault::Other(_) => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Absent(cause) => write!(f, "no device: {cause}"),
            Fault::OutOfMemory(0) => f.write_str("the device has no memory left"),
            Fault::OutOfMemory(bytes) => write!(f, "the device has no {bytes} bytes left"),
            Fault::Lost(cause) => write!(f, "the device is lost: {cause}"),
            Fault::Unfit(cause) | Fault::Other(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for OperatorError {
    fn from(fault: Fault) -> Self {
        let error = OperatorError::new(fault.to_string());
        match fault.remedy() {
            Some(remedy) => error.help(remedy),
            None => error,
        }
    }
}
