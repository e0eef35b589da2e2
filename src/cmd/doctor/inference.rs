//! ONNX Runtime: what `detect` computes with.

use std::path::PathBuf;

use flowrun_engine::infer::{AUTO, Provider, absent, runtime};
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
            findings.push(providers());
            Some(loaded)
        }
        Err(error) => {
            let remedy = error.remedy.unwrap_or_else(|| "make setup".into());
            findings.push(Finding::missing("ONNX Runtime", error.cause, remedy));
            None
        }
    }
}

/// Which provider a model would be tried on first, and what keeps the better ones away.
fn providers() -> Finding {
    let (there, missing): (Vec<&Provider>, Vec<&Provider>) =
        AUTO.iter().partition(|provider| absent(**provider).is_none());
    let there: Vec<String> = there.iter().map(ToString::to_string).collect();
    let causes = missing.iter().filter_map(|provider| absent(**provider));
    let causes: Vec<String> = causes.map(|refusal| format!("not {refusal}")).collect();
    Finding::ok("providers", [vec![there.join(", then ")], causes].concat().join("; "))
}
