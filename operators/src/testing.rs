//! What tests of several operators share.

use std::path::PathBuf;

/// The reference data made by others, which is never part of the repository: `$FLOWRUN_DATA`, or
/// `../shared/data` beside the repository. Says so and gives none where it is absent.
pub(crate) fn reference_data() -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    let folder = std::env::var_os("FLOWRUN_DATA").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no reference data");
    None
}
