//! Accelerators: what this machine has. Nothing computes on one yet.

mod probe;

pub use probe::{Cuda, CudaDevice, Driver, TENSORRT_LIBRARIES, cuda, is_loadable};
