//! What tests of several operators need.

use std::path::{Path, PathBuf};

/// The folder of files made by others, which is no part of the repository; none where it is absent.
pub(crate) fn reference_data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("FLOWRUN_DATA").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no reference data");
    None
}
