//! Where TensorRT's engines are kept. An engine is code that runs in this process, so the folder belongs to the user
//! alone, and every file in it is compared with what was written down when it was built.
//!
//! `FOLDER/KEY/complete` lists the files of a model's engines with their hashes. The key is made of the model's bytes, the
//! chip, the versions of the driver, TensorRT and ONNX Runtime, and all options that change an engine.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::runtime::runtime;
use super::tensorrt::{TensorRt, table_name};
use crate::device::{Chip, Cuda, cuda, tensorrt_library};
use crate::errors::{OperatorError, Result};

/// Lists what belongs to a finished build.
const COMPLETE: &str = "complete";
/// Held by whoever builds, so that two processes do not build the same.
const LOCK: &str = "lock";

/// The folder of one model's engines on one chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineCache {
    folder: PathBuf,
}

impl EngineCache {
    /// Finds the folder for a model on this machine, opened with or without its last steps, and makes it where it is missing.
    ///
    /// # Errors
    /// When there is no ONNX Runtime, the model cannot be read, the folder cannot be made, or others than its owner could
    /// change what is in it.
    pub fn open(model: &Path, chip: &Chip, options: &TensorRt, undecoded: bool) -> Result<Self> {
        // All that an engine depends on beside its chip, its model's file and its options.
        let driver = match cuda() {
            Cuda::Present(driver) => driver.cuda,
            Cuda::Absent | Cuda::Broken(_) => String::new(),
        };
        let ending = if undecoded { " undecoded grids" } else { "" };
        let tensorrt = tensorrt_library().map(|library| library.version);
        let versions = format!("{} {tensorrt:?} {driver}{ending}", runtime()?.version());
        EngineCache::below(&root()?, model, chip, &versions, options)
    }

    fn below(root: &Path, model: &Path, chip: &Chip, versions: &str, options: &TensorRt) -> Result<Self> {
        let mut hash = Sha256::new();
        let mut file = File::open(model).map_err(|error| format!("model `{}`: {error}", model.display()))?;
        io::copy(&mut file, &mut hash)?;
        let TensorRt {
            precision,
            calibration,
            workspace_bytes,
            effort,
            shapes,
            ..
        } = options;
        let (major, minor) = chip.capability;
        let (half, int8) = (precision.takes_half(), precision.takes_int8());
        let about = format!(
            "{} {major}.{minor} {} {versions} {half} {int8} {workspace_bytes} {effort:?} {shapes:?}",
            chip.name, chip.multiprocessors
        );
        hash.update(about.as_bytes());
        if let (Some(table), true) = (calibration, int8) {
            let about = |error| format!("calibration table `{}`: {error}", table.display());
            io::copy(&mut File::open(table).map_err(about)?, &mut hash).map_err(about)?;
        }
        let folder = root.join(hex(&hash.finalize()[..16]));
        private_folder(root)?;
        private_folder(&folder)?;
        Ok(EngineCache { folder })
    }

    /// Where the engines lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a build was finished and nothing has changed since.
    ///
    /// # Errors
    /// When a file is not what was built: somebody has changed it.
    pub fn is_built(&self) -> Result<bool> {
        let Ok(list) = fs::read_to_string(self.folder.join(COMPLETE)) else {
            return Ok(false);
        };
        let mut files = 0;
        for line in list.lines() {
            let Some((hash, name)) = line.split_once(' ') else {
                continue;
            };
            if name.contains('/') || hash_of(&self.folder.join(name)).ok().as_deref() != Some(hash) {
                let cause = format!("`{}` is not what was built", self.folder.join(name).display());
                return Err(
                    OperatorError::new(cause).help(format!("remove {} and build it again", self.folder.display()))
                );
            }
            files += 1;
        }
        Ok(files > 0)
    }

    /// Takes the folder to build in it, and waits for another process that builds the same. What one that was broken off
    /// has left is removed: it is code that nobody has written down. None where the build was finished meanwhile.
    ///
    /// # Errors
    /// When the folder cannot be written, or as [`EngineCache::is_built`].
    pub fn begin(&self) -> Result<Option<EngineBuild>> {
        let about = |error: io::Error| format!("the cache folder `{}`: {error}", self.folder.display());
        let lock = File::create(self.folder.join(LOCK)).map_err(about)?;
        if lock.try_lock().is_err() {
            tracing::info!(folder = %self.folder.display(), "another process builds this engine");
            lock.lock().map_err(about)?;
        }
        if self.is_built()? {
            return Ok(None);
        }
        for entry in fs::read_dir(&self.folder)?.flatten() {
            if is_engine(&entry.path()) {
                fs::remove_file(entry.path()).map_err(about)?;
            }
        }
        Ok(Some(EngineBuild {
            cache: self.clone(),
            _lock: lock,
        }))
    }

    fn finish(&self) -> Result<()> {
        let mut list = String::new();
        for entry in fs::read_dir(&self.folder)? {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
            let name = name.to_string_lossy();
            if is_engine(&path) {
                let _ = writeln!(list, "{} {name}", hash_of(&path)?);
            }
        }
        if list.is_empty() {
            return Err(OperatorError::new(format!(
                "TensorRT left no engine in {}",
                self.folder.display()
            )));
        }
        let partial = self.folder.join("complete.partial");
        fs::write(&partial, list)?;
        Ok(fs::rename(&partial, self.folder.join(COMPLETE))?)
    }
}

/// A build under way: nobody else builds in its folder until this is gone.
#[derive(Debug)]
pub struct EngineBuild {
    cache: EngineCache,
    _lock: File,
}

impl EngineBuild {
    /// Puts what the build reads beside it: the calibration table, where there is one.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn equip(&self, options: &TensorRt) -> Result<()> {
        if let (Some(table), true) = (&options.calibration, options.precision.takes_int8()) {
            let about = |error| format!("calibration table `{}`: {error}", table.display());
            fs::copy(table, self.cache.folder.join(table_name(table))).map_err(about)?;
        }
        Ok(())
    }

    /// Writes down that the build is finished, with what it left.
    ///
    /// # Errors
    /// When the folder cannot be read or written, or holds no engine.
    pub fn finish(self) -> Result<()> {
        self.cache.finish()
    }
}

/// Whether a file of the folder is part of an engine. The timing cache grows with later builds and holds no code.
fn is_engine(path: &Path) -> bool {
    let extension = path.extension();
    path.is_file() && extension.is_some_and(|extension| extension != "timing" && extension != "partial")
}

/// `$FLOWRUN_CACHE`, else `$XDG_CACHE_HOME/flowrun`, else `~/.cache/flowrun`; in it `tensorrt`.
fn root() -> Result<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = set("FLOWRUN_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("flowrun")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache/flowrun")));
    let base =
        base.ok_or_else(|| OperatorError::new("there is no folder for TensorRT's engines").help("set FLOWRUN_CACHE"))?;
    Ok(base.join("tensorrt"))
}

/// Makes a folder that its owner alone can use, or checks that it is one.
fn private_folder(folder: &Path) -> Result<()> {
    let about = |cause: String| OperatorError::new(format!("the cache folder `{}` {cause}", folder.display()));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| {
            about(format!("cannot be made: {error}")).help("set FLOWRUN_CACHE to a folder that can be written")
        })?;
    let found = fs::symlink_metadata(folder)?;
    // SAFETY: asks for a number and cannot fail.
    let user = unsafe { libc::geteuid() };
    let unsafe_because = if !found.is_dir() {
        Some("is a link".to_owned())
    } else if found.uid() != user {
        Some("belongs to somebody else".to_owned())
    } else if found.mode() & 0o022 != 0 {
        Some(format!("can be written by others (mode {:o})", found.mode() & 0o777))
    } else {
        None
    };
    match unsafe_because {
        Some(cause) => Err(about(cause).help("engines are code: use a folder of mode 0700 that is yours")),
        None => Ok(()),
    }
}

fn hash_of(path: &Path) -> io::Result<String> {
    let (mut hash, mut file) = (Sha256::new(), File::open(path)?);
    let mut chunk = vec![0; 1 << 16];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&chunk[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::tensorrt::Precision;

    use super::*;

    fn chip() -> Chip {
        Chip {
            ordinal: 0,
            name: "test".into(),
            memory_bytes: 1,
            capability: (9, 0),
            multiprocessors: 2,
        }
    }

    fn opened(folder: &Path, options: &TensorRt) -> Result<EngineCache> {
        fs::write(folder.join("m.onnx"), "model").unwrap();
        EngineCache::below(&folder.join("cache"), &folder.join("m.onnx"), &chip(), "1", options)
    }

    #[test]
    fn a_build_is_found_again_until_somebody_changes_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = opened(folder.path(), &TensorRt::default()).unwrap();
        assert_eq!(cache.is_built(), Ok(false));
        assert!(cache.begin().unwrap().unwrap().finish().is_err(), "nothing was built");
        fs::write(cache.folder().join("a.engine"), "code that was left half written").unwrap();
        let build = cache.begin().unwrap().expect("nothing is built");
        assert!(
            !cache.folder().join("a.engine").exists(),
            "nobody knows where it is from"
        );
        fs::write(cache.folder().join("a.engine"), "code").unwrap();
        fs::write(cache.folder().join("a.timing"), "times").unwrap();
        assert_eq!(cache.is_built(), Ok(false), "it was not finished");
        build.finish().unwrap();
        assert!(cache.begin().unwrap().is_none(), "it is finished");
        fs::write(cache.folder().join("a.timing"), "more times").unwrap();
        assert_eq!(
            opened(folder.path(), &TensorRt::default()).unwrap().is_built(),
            Ok(true)
        );
        fs::write(cache.folder().join("a.engine"), "other code").unwrap();
        assert!(cache.is_built().unwrap_err().cause.contains("not what was built"));
    }

    #[test]
    fn all_that_changes_an_engine_changes_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let plain = opened(folder.path(), &TensorRt::default()).unwrap();
        let whole = TensorRt {
            precision: Precision::Fp32,
            ..TensorRt::default()
        };
        assert_ne!(plain, opened(folder.path(), &whole).unwrap());
        let table = folder.path().join("ranges.table");
        fs::write(&table, "ranges").unwrap();
        let mut bytes = TensorRt {
            precision: Precision::Int8,
            ..TensorRt::default()
        };
        let quantised = opened(folder.path(), &bytes).unwrap();
        bytes.calibration = Some(table.clone());
        let calibrated = opened(folder.path(), &bytes).unwrap();
        assert!(plain != quantised && quantised != calibrated);
        let build = calibrated.begin().unwrap().unwrap();
        build.equip(&bytes).unwrap();
        assert_eq!(
            fs::read(calibrated.folder().join("calibration.table")).unwrap(),
            b"ranges"
        );
        fs::write(&table, "other ranges").unwrap();
        assert_ne!(calibrated, opened(folder.path(), &bytes).unwrap());
        let model = folder.path().join("m.onnx");
        let below = |chip: &Chip, versions| {
            EngineCache::below(
                &folder.path().join("cache"),
                &model,
                chip,
                versions,
                &TensorRt::default(),
            )
            .unwrap()
        };
        assert_eq!(plain, below(&chip(), "1"));
        assert_ne!(plain, below(&chip(), "2"));
        let other = Chip {
            name: "other".into(),
            ..chip()
        };
        assert_ne!(plain, below(&other, "1"));
        fs::write(&model, "other model").unwrap();
        assert_ne!(plain, below(&chip(), "1"));
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let cache = opened(folder.path(), &TensorRt::default()).unwrap();
        assert_eq!(fs::metadata(cache.folder()).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(cache.folder(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = opened(folder.path(), &TensorRt::default()).unwrap_err();
        assert!(error.cause.contains("can be written by others (mode 777)"), "{error}");
        fs::remove_dir(cache.folder()).unwrap();
        std::os::unix::fs::symlink(folder.path(), cache.folder()).unwrap();
        assert!(
            opened(folder.path(), &TensorRt::default())
                .unwrap_err()
                .cause
                .contains("is a link")
        );
    }
}
