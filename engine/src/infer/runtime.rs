//! Finds and loads ONNX Runtime, once a process.
//!
//! The library is no part of the binary: a machine without it runs every graph that infers nothing,
//! and a machine with a GPU brings its own build. Nothing here panics where it is missing.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::errors::{OperatorError, Result};

/// The loaded library.
#[derive(Debug)]
pub struct Runtime {
    environment: Environment,
    version: String,
    library: PathBuf,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
/// Held while loading: ONNX Runtime allows one environment a process, so two threads must not both build one.
static LOADING: Mutex<()> = Mutex::new(());

/// Where `make setup` puts the library, relative to the repository.
const SETUP_FOLDER: &str = ".deps/onnxruntime/lib";
/// What the library is called on Linux; a version may follow.
const LIBRARY: &str = "libonnxruntime.so";
const REMEDY: &str = "run `make setup`, or set ORT_DYLIB_PATH to libonnxruntime.so of ONNX Runtime 1.17 or newer";

/// ONNX Runtime, loaded by the first call. Searched in this order: the file or folder in
/// `ORT_DYLIB_PATH`, `.deps/onnxruntime/lib` in each folder above
/// the executable, the system's library path. The first that is there is taken; when it does not load,
/// that is an error rather than a reason to search on.
///
/// # Errors
/// When there is none, or it does not load, or it is older than 1.17. A later call tries again.
pub fn runtime() -> Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let _loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let library = locate();
    let environment = load(&library)?;
    let version = version(&library).unwrap_or_else(|| "unknown".into());
    tracing::info!(version, library = %library.display(), "ONNX Runtime loaded");
    Ok(RUNTIME.get_or_init(|| Runtime {
        environment,
        version,
        library,
    }))
}

impl Runtime {
    /// The version it reports, as in `1.32.0`.
    pub fn version(&self) -> &str {
        &self.version
    }
    /// The file it was loaded from; a bare name where the system's loader found it.
    pub fn library(&self) -> &Path {
        &self.library
    }
    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }
}

fn locate() -> PathBuf {
    if let Some(given) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        let given = PathBuf::from(given);
        return newest_library(&given).unwrap_or(given);
    }
    let executable = std::env::current_exe().ok();
    // Not the working directory: what lies there is not ours to load as code.
    let mut folders = executable.iter().flat_map(|path| path.ancestors().skip(1));
    folders
        .find_map(|folder| newest_library(&folder.join(SETUP_FOLDER)))
        .unwrap_or_else(|| LIBRARY.into())
}

/// `libonnxruntime.so`, else the highest `libonnxruntime.so.X.Y.Z` of a folder.
fn newest_library(folder: &Path) -> Option<PathBuf> {
    let plain = folder.join(LIBRARY);
    if plain.is_file() {
        return Some(plain);
    }
    let numbered = std::fs::read_dir(folder).ok()?.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let version = name.to_str()?.strip_prefix(LIBRARY)?.strip_prefix('.')?;
        let numbers = version
            .split('.')
            .map(str::parse)
            .collect::<Result<Vec<u32>, _>>()
            .ok()?;
        Some((numbers, entry.path()))
    });
    numbered.max().map(|(_, path)| path)
}

fn load(library: &Path) -> Result<Environment> {
    // ort asserts where a library answers with null pointers, so a foreign library could panic here.
    let loaded = catch_unwind(AssertUnwindSafe(|| {
        let builder = ort::init_from(library).map_err(|error| error.to_string())?;
        let built = builder.with_telemetry(false).with_name("flowrun").build();
        built.map_err(|error| error.to_string())
    }));
    let environment = loaded
        .unwrap_or_else(|_| Err("the library does not behave like ONNX Runtime".into()))
        .map_err(|cause| {
            let place = library.display();
            OperatorError::new(format!("ONNX Runtime cannot be loaded from `{place}`: {cause}")).help(REMEDY)
        })?;
    // ort asks for every message and filters afterwards: formatting them costs more than small models do.
    environment.set_log_level(LogLevel::Warning);
    Ok(environment)
}

/// The version that the library itself tells; ort reads it too, and keeps it to itself.
fn version(library: &Path) -> Option<String> {
    let path = CString::new(library.as_os_str().as_bytes()).ok()?;
    // SAFETY: RTLD_NOLOAD runs no code: it only finds the library that ort has loaded and never unloads.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_LAZY) };
    if handle.is_null() {
        return None;
    }
    // SAFETY: `handle` is open, the name ends in NUL.
    let symbol = unsafe { libc::dlsym(handle, c"OrtGetApiBase".as_ptr()) };
    if symbol.is_null() {
        return None;
    }
    // SAFETY: ONNX Runtime declares `const OrtApiBase* OrtGetApiBase(void)`, and `load` has had ort call it already.
    let base =
        unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> *const ort::sys::OrtApiBase>(symbol)() };
    // SAFETY: the base lives as long as the library, and so does the text, which ends in NUL.
    let text = unsafe { CStr::from_ptr((base.as_ref()?.GetVersionString)()) };
    Some(text.to_string_lossy().into_owned())
}

/// Whether a version is `first`, as `[1, 17]`, or a later one; not where it says nothing.
pub(super) fn is_since(version: &str, first: [u32; 2]) -> bool {
    numbers(version).is_some_and(|numbers| numbers >= first)
}

/// The first two numbers of a version.
fn numbers(version: &str) -> Option<[u32; 2]> {
    let mut parts = version.split('.').map(str::parse);
    Some([parts.next()?.ok()?, parts.next()?.ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        assert_eq!(numbers("1.17.3"), Some([1, 17]));
        assert!(numbers("1.9.0") < numbers("1.18.0") && numbers("2.0") > numbers("1.31.1"));
        assert_eq!([numbers("unknown"), numbers("1"), numbers("1.x")], [None; 3]);
    }

    #[test]
    fn the_newest_library_of_a_folder_wins() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(newest_library(folder.path()), None);
        for name in [
            "libonnxruntime.so.1.9.0",
            "libonnxruntime.so.1.32.0",
            "libonnxruntime.so.junk",
            "other.so",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(
            newest_library(folder.path()),
            Some(folder.path().join("libonnxruntime.so.1.32.0"))
        );
        std::fs::write(folder.path().join(LIBRARY), "").unwrap();
        assert_eq!(newest_library(folder.path()), Some(folder.path().join(LIBRARY)));
    }

    #[test]
    fn a_library_that_is_none_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let fake = folder.path().join(LIBRARY);
        std::fs::write(&fake, "no library").unwrap();
        for path in [fake, folder.path().join("absent.so")] {
            let error = load(&path).unwrap_err();
            assert!(error.cause.contains(&*path.to_string_lossy()), "{error}");
            assert!(error.remedy.is_some_and(|remedy| remedy.contains("make setup")));
        }
    }
}
