//! Asks for accelerators without taking any: `flowrun doctor` must work where there is no driver, where
//! it is broken, and while somebody else uses the device.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::panic::catch_unwind;
use std::path::Path;

use cudarc::driver::{result, sys};
use serde::Serialize;

/// What TensorRT is called, the newest first: which one is needed is up to the build of ONNX Runtime.
pub const TENSORRT_LIBRARIES: [&str; 2] = ["libnvinfer.so.10", "libnvinfer.so.8"];

/// NVIDIA's decoder, which comes with the driver.
pub const NVDEC_LIBRARY: &str = "libnvcuvid.so.1";

/// NVIDIA's driver and its devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cuda {
    /// There is no driver library.
    Absent,
    /// There is one, and it does not work; the cause.
    Broken(String),
    /// It works.
    Present(Driver),
}

/// A driver that works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Driver {
    /// The newest CUDA that it serves, as in `13.0`.
    pub cuda: String,
    /// Its devices, in its own order.
    pub devices: Vec<CudaDevice>,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CudaDevice {
    /// As the driver calls it.
    pub name: String,
    /// Its memory in bytes, used or not.
    pub memory_bytes: usize,
    /// Its compute capability, as in `9.0`.
    pub compute_capability: String,
}

/// Asks for NVIDIA's driver and devices. Makes no context, so no device memory is taken.
pub fn cuda() -> Cuda {
    // SAFETY: loads and unloads the driver library by name, and nothing else.
    if !unsafe { sys::is_culib_present() } {
        return Cuda::Absent;
    }
    // cudarc panics where an old driver lacks a function.
    match catch_unwind(driver) {
        Ok(Ok(driver)) => Cuda::Present(driver),
        Ok(Err(cause)) => Cuda::Broken(cause),
        Err(_) => Cuda::Broken("the driver is older than CUDA 13.0 or damaged".into()),
    }
}

fn driver() -> Result<Driver, String> {
    let told = |error: result::DriverError| error.to_string();
    result::init().map_err(told)?;
    let mut version = 0;
    // SAFETY: writes one number to the place given.
    unsafe { sys::cuDriverGetVersion(&mut version) }
        .result()
        .map_err(told)?;
    let count = result::device::get_count().map_err(told)?;
    let devices = (0..count).map(|index| device(index).map_err(told));
    Ok(Driver {
        cuda: format!("{}.{}", version / 1000, version % 1000 / 10),
        devices: devices.collect::<Result<_, _>>()?,
    })
}

fn device(index: i32) -> Result<CudaDevice, result::DriverError> {
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let device = result::device::get(index)?;
    // SAFETY: `device` was just handed out by the driver.
    let (memory_bytes, major, minor) = unsafe {
        (
            result::device::total_mem(device)?,
            result::device::get_attribute(device, MAJOR)?,
            result::device::get_attribute(device, MINOR)?,
        )
    };
    Ok(CudaDevice {
        name: result::device::get_name(device)?,
        memory_bytes,
        compute_capability: format!("{major}.{minor}"),
    })
}

/// Whether the system's loader can open a library, by name or path. It is let go again.
pub fn is_loadable(library: &Path) -> bool {
    let Ok(name) = CString::new(library.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: the name ends in NUL. The libraries asked for may be opened at any time: inference would.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
    if handle.is_null() {
        return false;
    }
    // SAFETY: `handle` was just opened and is closed once.
    unsafe { libc::dlclose(handle) };
    true
}

/// The version that the loaded TensorRT reports, as in `8.6.0`; none where there is none.
pub fn tensorrt_version() -> Option<String> {
    TENSORRT_LIBRARIES.into_iter().find_map(|name| {
        let name = CString::new(name).ok()?;
        // SAFETY: the name ends in NUL; inference would open the library too.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
        if handle.is_null() {
            return None;
        }
        // SAFETY: `handle` was just opened, and the name ends in NUL.
        let symbol = unsafe { libc::dlsym(handle, c"getInferLibVersion".as_ptr()) };
        let version = (!symbol.is_null()).then(|| {
            // SAFETY: NvInferRuntime.h declares it so in every version.
            let version = unsafe { std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn() -> i32>(symbol) };
            // SAFETY: as above; it takes nothing and answers a number.
            unsafe { version() }
        });
        // SAFETY: `handle` is closed once.
        unsafe { libc::dlclose(handle) };
        // Up to 8 a digit for major and two each for minor and patch; since 10 two each.
        version.map(|version| match version {
            ..10_000 => format!("{}.{}.{}", version / 1000, version / 100 % 10, version % 100),
            _ => format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_harms_nothing_on_any_machine() {
        assert_eq!(cuda(), cuda());
        if let Cuda::Present(driver) = cuda() {
            assert!(driver.devices.iter().all(|device| device.memory_bytes > 0));
        }
    }

    #[test]
    fn libraries_are_loadable_or_not() {
        assert!(is_loadable(Path::new("libc.so.6")));
        assert!(!is_loadable(Path::new("libno-such-thing.so.1")));
        assert!(!is_loadable(Path::new("lib\0c.so.6")));
    }
}
