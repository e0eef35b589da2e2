//! Asks for accelerators without taking any: `flowrun doctor` must work where there is no driver, where
//! it is broken, and while somebody else uses the device.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use cudarc::driver::{result, sys};
use serde::Serialize;

/// What TensorRT is called, the newest first: which one is needed is up to the build of ONNX Runtime.
pub const TENSORRT_LIBRARIES: [&str; 2] = ["libnvinfer.so.10", "libnvinfer.so.8"];

/// What NVIDIA's driver is called, as cudarc looks for it.
const DRIVER_LIBRARIES: [&str; 2] = ["libcuda.so", "libcuda.so.1"];
/// Of the driver's calls that are made, the one that came last: with CUDA 10.1.
const NEWEST_CALL: &CStr = c"cuThreadExchangeStreamCaptureMode";

/// Of a driver that lacks one of the calls that every one has.
pub(super) const DAMAGED: &str = "the driver is damaged: install it again";

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
    if let Some(cause) = too_old() {
        return Cuda::Broken(cause);
    }
    // cudarc panics where a driver lacks a function.
    match catch_unwind(driver) {
        Ok(Ok(driver)) => Cuda::Present(driver),
        Ok(Err(cause)) => Cuda::Broken(cause),
        Err(_) => Cuda::Broken(DAMAGED.into()),
    }
}

/// Why a driver that is there cannot be used at all; none where it can, or there is none.
pub(super) fn too_old() -> Option<String> {
    let mut names = DRIVER_LIBRARIES.into_iter().map(Path::new);
    names.find_map(|name| with_library(name, unfit))?
}

/// Why an open driver cannot be used.
fn unfit(handle: *mut libc::c_void) -> Option<String> {
    // SAFETY: `handle` is open, and the names end in NUL.
    let [newest, version] =
        [NEWEST_CALL, c"cuDriverGetVersion"].map(|name| unsafe { libc::dlsym(handle, name.as_ptr()) });
    if !newest.is_null() {
        return None;
    }
    let mut serves = 0;
    if !version.is_null() {
        // SAFETY: cuda.h declares it so in every version; it writes one number to the place given, and needs no device.
        unsafe {
            std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn(*mut i32) -> i32>(version)(&raw mut serves);
        }
    }
    Some(match serves {
        0 => "it does not say which CUDA it serves: install NVIDIA's driver again".into(),
        _ => format!(
            "it serves CUDA {}, and 10.1 is the least: install a newer one",
            cuda_version(serves)
        ),
    })
}

/// A version as the driver tells it, in words.
fn cuda_version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
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
        cuda: cuda_version(version),
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
    with_library(library, |_| ()).is_some()
}

/// What is found out of a library while it is open; none where the system's loader cannot open it.
fn with_library<T>(library: &Path, look: impl FnOnce(*mut libc::c_void) -> T) -> Option<T> {
    let name = CString::new(library.as_os_str().as_bytes()).ok()?;
    // SAFETY: the name ends in NUL. The libraries asked for may be opened at any time: inference would.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
    if handle.is_null() {
        return None;
    }
    let found = look(handle);
    // SAFETY: `handle` was just opened and is closed once.
    unsafe { libc::dlclose(handle) };
    Some(found)
}

/// TensorRT, as the system's loader finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorRtLibrary {
    /// What it was found by.
    pub name: &'static str,
    /// What it reports, as in `8.6.0`.
    pub version: String,
    /// The file that it needs and that is not there. It ends the process where it looks for it in vain.
    pub lacks: Option<String>,
}

/// Looks for TensorRT; none where there is none.
pub fn tensorrt_library() -> Option<TensorRtLibrary> {
    TENSORRT_LIBRARIES.into_iter().find_map(|name| {
        let (version, folder) = with_library(Path::new(name), |handle| {
            // SAFETY: `handle` is open, and the name ends in NUL.
            let symbol = unsafe { libc::dlsym(handle, c"getInferLibVersion".as_ptr()) };
            (!symbol.is_null()).then(|| {
                // SAFETY: NvInferRuntime.h declares it so in every version.
                let version =
                    unsafe { std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn() -> i32>(symbol) };
                // SAFETY: as above; it takes nothing and answers a number.
                (unsafe { version() }, folder_of(symbol))
            })
        })??;
        // Up to 8 a digit for major and two each for minor and patch; since 10 two each.
        let version = match version {
            ..10_000 => format!("{}.{}.{}", version / 1000, version / 100 % 10, version % 100),
            _ => format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100),
        };
        Some(TensorRtLibrary {
            name,
            lacks: lacking(&version, folder.as_deref()),
            version,
        })
    })
}

/// The folder of the library that holds a symbol.
fn folder_of(symbol: *const libc::c_void) -> Option<PathBuf> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: writes one structure to the place given, of which zeroes are a value.
    let (known, info) = unsafe { (libc::dladdr(symbol, info.as_mut_ptr()), info.assume_init()) };
    if known == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: it ends in NUL, and lives as long as the library is open.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Path::new(OsStr::from_bytes(name.to_bytes()))
        .parent()
        .map(Path::to_owned)
}

/// What makes engines is a library of its own, which is opened even where an engine is only read. Later versions have one for
/// each kind of chip.
fn lacking(version: &str, folder: Option<&Path>) -> Option<String> {
    const BUILDER: &str = "libnvinfer_builder_resource";
    let files = folder.and_then(|folder| std::fs::read_dir(folder).ok());
    let mut files = files.into_iter().flatten().flatten();
    if files.any(|file| file.file_name().as_bytes().starts_with(BUILDER.as_bytes())) {
        return None;
    }
    // Last, since it is a gigabyte.
    let usual = format!("{BUILDER}.so.{version}");
    (!is_loadable(Path::new(&usual))).then_some(usual)
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
    fn a_tensorrt_without_its_builder_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = "libnvinfer_builder_resource.so.99.1.2";
        assert_eq!(lacking("99.1.2", Some(folder.path())).as_deref(), Some(file));
        assert_eq!(lacking("99.1.2", None).as_deref(), Some(file));
        let one_of_many = folder.path().join("libnvinfer_builder_resource_sm90.so.99.1.2");
        std::fs::write(one_of_many, "").unwrap();
        assert_eq!(lacking("99.1.2", Some(folder.path())), None);
    }

    #[test]
    fn a_library_is_known_by_what_it_holds() {
        let folder = folder_of(libc::dlopen as *const libc::c_void).unwrap();
        assert!(folder.join("libc.so.6").is_file(), "{}", folder.display());
        assert_eq!(folder_of(std::ptr::null()), None);
    }

    #[test]
    fn libraries_are_loadable_or_not() {
        assert!(is_loadable(Path::new("libc.so.6")));
        assert!(!is_loadable(Path::new("libno-such-thing.so.1")));
        assert!(!is_loadable(Path::new("lib\0c.so.6")));
    }
}
