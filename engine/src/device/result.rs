//! The driver's calls with their results checked: a thin layer over cudarc's own, which tells apart what can be mended.

use std::ffi::CString;

use cudarc::driver::result::{self, DriverError};
use cudarc::nvrtc::{CompileError, CompileOptions, compile_ptx_with_opts};

use super::backend::{RowShape, RowsAt};
use super::fault::{Fault, Result};
use super::sys;

/// What the driver answered, as a fault; `bytes` is what was asked for, where memory was.
pub fn told(error: DriverError, bytes: usize) -> Fault {
    use sys::CUresult::{
        CUDA_ERROR_ASSERT, CUDA_ERROR_DEVICE_UNAVAILABLE, CUDA_ERROR_ECC_UNCORRECTABLE,
        CUDA_ERROR_HARDWARE_STACK_ERROR, CUDA_ERROR_ILLEGAL_ADDRESS, CUDA_ERROR_ILLEGAL_INSTRUCTION,
        CUDA_ERROR_INVALID_PC, CUDA_ERROR_LAUNCH_FAILED, CUDA_ERROR_LAUNCH_TIMEOUT, CUDA_ERROR_MISALIGNED_ADDRESS,
        CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_SYSTEM_NOT_READY,
    };
    match error.0 {
        CUDA_ERROR_OUT_OF_MEMORY => Fault::OutOfMemory(bytes),
        CUDA_ERROR_ASSERT
        | CUDA_ERROR_DEVICE_UNAVAILABLE
        | CUDA_ERROR_ECC_UNCORRECTABLE
        | CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUDA_ERROR_ILLEGAL_ADDRESS
        | CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUDA_ERROR_INVALID_PC
        | CUDA_ERROR_LAUNCH_FAILED
        | CUDA_ERROR_LAUNCH_TIMEOUT
        | CUDA_ERROR_MISALIGNED_ADDRESS
        | CUDA_ERROR_SYSTEM_NOT_READY => Fault::Lost(error.to_string()),
        _ => Fault::Other(error.to_string()),
    }
}

/// As [`told`], where no memory was asked for.
pub fn plain(error: DriverError) -> Fault {
    told(error, 0)
}

/// Pinned memory that every context may use.
pub fn pin(bytes: usize) -> Result<*mut u8> {
    // SAFETY: a context is current, which whoever calls this sees to; the call writes one pointer.
    unsafe { result::malloc_host(bytes, sys::CU_MEMHOSTALLOC_PORTABLE) }
        .map(<*mut std::ffi::c_void>::cast)
        .map_err(|error| told(error, bytes))
}

/// Copies rows from one place of the current context's device to another.
///
/// # Safety
/// Both places hold so many rows, and live until the stream has come past this.
pub unsafe fn copy_rows(from: RowsAt, to: RowsAt, shape: RowShape, stream: sys::CUstream) -> Result<()> {
    let device = sys::CUmemorytype::CU_MEMORYTYPE_DEVICE;
    let copy = sys::CUDA_MEMCPY2D {
        srcXInBytes: 0,
        srcY: 0,
        srcMemoryType: device,
        srcHost: std::ptr::null(),
        srcDevice: from.start,
        srcArray: std::ptr::null_mut(),
        srcPitch: from.stride,
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: device,
        dstHost: std::ptr::null_mut(),
        dstDevice: to.start,
        dstArray: std::ptr::null_mut(),
        dstPitch: to.stride,
        WidthInBytes: shape.bytes,
        Height: shape.rows,
    };
    // SAFETY: as the caller promises; the description is read before the call returns.
    unsafe { sys::cuMemcpy2DAsync_v2(&copy, stream) }
        .result()
        .map_err(plain)
}

/// A stream that does not wait for the default one.
pub fn open_stream() -> Result<sys::CUstream> {
    result::stream::create(result::stream::StreamKind::NonBlocking).map_err(plain)
}

/// An event that a waiting thread sleeps on.
pub fn event() -> Result<sys::CUevent> {
    use sys::CUevent_flags::{CU_EVENT_BLOCKING_SYNC, CU_EVENT_DISABLE_TIMING};
    let mut event = std::ptr::null_mut();
    let flags = CU_EVENT_BLOCKING_SYNC as u32 | CU_EVENT_DISABLE_TIMING as u32;
    // SAFETY: writes one handle to the place given.
    unsafe { sys::cuEventCreate(&mut event, flags) }
        .result()
        .map_err(plain)?;
    Ok(event)
}

/// Compiles kernels to PTX for `compute_MAJORMINOR`, without contracting products and sums: a kernel computes what its
/// reference on the host does.
///
/// # Errors
/// With the compiler's own words, or when there is no compiler.
pub fn compile(source: &str, architecture: &'static str) -> Result<String> {
    if !sys::has_compiler() {
        return Err(Fault::Absent(
            "libnvrtc.so.13, the compiler for kernels, cannot be loaded".into(),
        ));
    }
    let options = CompileOptions {
        fmad: Some(false),
        arch: Some(architecture),
        ..CompileOptions::default()
    };
    let compiled = compile_ptx_with_opts(source, options).map_err(|error| match error {
        CompileError::CompileError { log, .. } => {
            Fault::Other(format!("a kernel does not compile: {}", log.to_string_lossy()))
        }
        error => Fault::Other(format!("a kernel does not compile: {error}")),
    })?;
    Ok(compiled.to_src())
}

/// Loads compiled kernels into the current context.
pub fn load(ptx: String) -> Result<sys::CUmodule> {
    let text = CString::new(ptx).map_err(|_| Fault::Other("compiled kernels hold a NUL".into()))?;
    // SAFETY: the image is text that ends in NUL.
    unsafe { result::module::load_data(text.as_ptr().cast()) }.map_err(|error| match error.0 {
        sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => Fault::Absent(
            "the driver is older than NVRTC, the compiler for kernels, of this machine: install a newer driver".into(),
        ),
        _ => plain(error),
    })
}

/// A kernel of a module.
pub fn function(module: sys::CUmodule, name: &str) -> Result<sys::CUfunction> {
    let name = CString::new(name).map_err(|_| Fault::Other("a kernel's name holds a NUL".into()))?;
    // SAFETY: modules are unloaded with their context only, when the process ends.
    unsafe { result::module::get_function(module, name) }.map_err(plain)
}
