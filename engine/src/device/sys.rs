//! The driver's and the run-time compiler's own calls, once it is known that the libraries are there.
//!
//! cudarc loads both by name at the first call and panics where it cannot, or where an old driver lacks a function:
//! [`guarded`] turns that into an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use cudarc::driver::sys::*;

use super::fault::{Fault, Result};

/// Whether NVIDIA's driver library can be loaded.
pub fn has_driver() -> bool {
    // SAFETY: loads and unloads the driver library by name, and nothing else.
    unsafe { is_culib_present() }
}

/// Whether the compiler for kernels can be loaded.
pub fn has_compiler() -> bool {
    // SAFETY: loads and unloads the compiler's library by name, and nothing else.
    unsafe { cudarc::nvrtc::sys::is_culib_present() }
}

/// Calls into the driver; a function that an old driver lacks is an error.
pub fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result,
        Err(_) => Err(Fault::Absent("the driver is older than CUDA 13.0, or damaged".into())),
    }
}
