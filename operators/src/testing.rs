//! What tests of several operators share: where the reference data lies.

use std::path::{Path, PathBuf};

/// The folder of reference data: `$FLOWRUN_DATA`, else `../shared/data` beside the repository. Says so when there is
/// none, so that a test can return.
pub(crate) fn reference_data() -> Option<PathBuf> {
    let folder = std::env::var_os("FLOWRUN_DATA")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
    if folder.join("golden").is_dir() {
        return Some(folder);
    }
    println!("skipped: no reference data");
    None
}
