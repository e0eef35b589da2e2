//! ONNX Runtime: what `detect` computes with.

use std::path::PathBuf;

use flowrun_engine::infer::runtime;
use serde::Serialize;

use super::Finding;

/// The library that was found.
#[derive(Debug, Serialize)]
pub struct Loaded {
    /// Its version.
    version: String,
    /// The file; a bare name where the system's loader found it.
    pub library: PathBuf,
}

/// Loads it the way a run would.
pub fn examine(findings: &mut Vec<Finding>) -> Option<Loaded> {
    match runtime() {
        Ok(runtime) => {
            let loaded = Loaded {
                version: runtime.version().to_owned(),
                library: runtime.library().to_owned(),
            };
            let found = format!("{} from {}", loaded.version, loaded.library.display());
            findings.push(Finding::ok("ONNX Runtime", found));
            Some(loaded)
        }
        Err(error) => {
            let remedy = error.remedy.unwrap_or_else(|| "make setup".into());
            findings.push(Finding::missing("ONNX Runtime", error.cause, remedy));
            None
        }
    }
}
