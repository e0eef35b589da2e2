//! The driver's and the run-time compiler's own calls, once it is known that the libraries are there.
//!
//! cudarc loads both by name at the first call and panics where it cannot, or where a driver lacks a function:
//! [`guarded`] turns that into an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use cudarc::driver::sys::*;

use super::fault::{Fault, Result};
use super::probe;

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

/// Calls into the driver; what it is too old for, and a function that it lacks all the same, is an error.
pub fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    if let Some(cause) = probe::too_old() {
        return Err(Fault::Absent(format!("the driver cannot be used: {cause}")));
    }
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(Fault::Absent(probe::DAMAGED.into())))
}
