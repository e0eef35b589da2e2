//! The lowest tier: one file without a name.
//!
//! It is made in a folder that is its owner's alone, and file and folder lose their names at once: the bytes are gone with
//! the last handle, however the process ends, and nobody else can open them meanwhile.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::errors::{OperatorError, Result};

/// Names that are tried: others may have taken some.
const NAMES: u32 = 10_000;

/// A part of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    start: u64,
    pub bytes: usize,
}

/// The file and what of it is free.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    folder: PathBuf,
    budget: u64,
    /// Start and length of what is free, never two that touch.
    free: BTreeMap<u64, u64>,
}

impl Archive {
    /// An empty one of at most so many bytes.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(folder: &Path, budget: u64) -> Result<Self> {
        let file = nameless(folder).map_err(|error| {
            let cause = format!(
                "the archive of pictures cannot be made in `{}`: {error}",
                folder.display()
            );
            OperatorError::new(cause).help("name a folder that can be written by `folder=`, or leave out `archive=`")
        })?;
        Ok(Archive::of(file, folder, budget))
    }

    pub(super) fn of(file: File, folder: &Path, budget: u64) -> Self {
        Archive {
            file,
            folder: folder.into(),
            budget,
            free: BTreeMap::from([(0, budget)]),
        }
    }

    /// Whether so many bytes could ever lie in it.
    pub fn could_hold(&self, bytes: usize) -> bool {
        bytes as u64 <= self.budget
    }

    /// Writes bytes; none without room for them in one piece.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<Option<Extent>> {
        let needed = bytes.len() as u64;
        let mut parts = self.free.iter();
        let Some((start, length)) = parts.find(|(_, length)| **length >= needed) else {
            return Ok(None);
        };
        let (start, length) = (*start, *length);
        self.file.write_all_at(bytes, start).map_err(|error| {
            let cause = format!("the archive of pictures in `{}`: {error}", self.folder.display());
            OperatorError::new(cause).help("make room on that disk, lower `archive=`, or name another `folder=`")
        })?;
        self.free.remove(&start);
        if length > needed {
            self.free.insert(start + needed, length - needed);
        }
        Ok(Some(Extent {
            start,
            bytes: bytes.len(),
        }))
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read(&self, extent: &Extent, to: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(to, extent.start).map_err(|error| {
            let cause = format!("the archive of pictures in `{}`: {error}", self.folder.display());
            OperatorError::new(cause).help("look after that disk, or name another `folder=`")
        })
    }

    /// Gives a part back.
    pub fn release(&mut self, extent: Extent) {
        let (mut start, mut length) = (extent.start, extent.bytes as u64);
        if let Some(behind) = self.free.remove(&(start + length)) {
            length += behind;
        }
        if let Some((before, own)) = self.free.range(..start).next_back().map(|(at, own)| (*at, *own))
            && before + own == start
        {
            start = before;
            length += own;
        }
        self.free.insert(start, length);
    }
}

fn nameless(folder: &Path) -> Result<File, Error> {
    std::fs::create_dir_all(folder)?;
    for number in 0..NAMES {
        let own = folder.join(format!(".flowrun-archive-{}-{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&own) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        let path = own.join("pictures");
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path);
        let unnamed = file.is_ok().then(|| std::fs::remove_file(&path)).transpose();
        let removed = std::fs::remove_dir(&own);
        let file = file?;
        unnamed?;
        removed?;
        return Ok(file);
    }
    Err(Error::other("the folder is full of earlier archives"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn its_file_has_no_name_and_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive::open(&folder.path().join("new"), 100).unwrap();
        let about = archive.file.metadata().unwrap();
        assert_eq!((about.nlink(), about.mode() & 0o777), (0, 0o600));
        assert_eq!(std::fs::read_dir(folder.path().join("new")).unwrap().count(), 0);
    }

    #[test]
    fn a_full_disk_is_told_with_its_place_and_what_to_do() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut archive = Archive::of(full, Path::new("clips"), 100);
        let error = archive.write(&[1; 10]).unwrap_err();
        assert!(error.cause.contains("`clips`") && error.remedy.is_some(), "{error:?}");
        assert_eq!(archive.free, BTreeMap::from([(0, 100)]), "nothing is taken");
    }

    #[test]
    fn a_folder_that_cannot_be_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = Archive::open(&file, 10).unwrap_err();
        assert!(error.remedy.unwrap().contains("folder="));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_space_comes_back(steps in proptest::collection::vec((1usize..60, any::<u8>(), any::<bool>()), 1..80)) {
            let folder = tempfile::tempdir().unwrap();
            let mut archive = Archive::open(folder.path(), 200).unwrap();
            let mut there: Vec<(Extent, u8)> = Vec::new();
            for (bytes, byte, first) in steps {
                match archive.write(&vec![byte; bytes]).unwrap() {
                    Some(extent) => there.push((extent, byte)),
                    None if first => archive.release(there.remove(0).0),
                    None => archive.release(there.pop().unwrap().0),
                }
                for (extent, byte) in &there {
                    let mut read = vec![0; extent.bytes];
                    archive.read(extent, &mut read).unwrap();
                    prop_assert!(read.iter().all(|read| read == byte));
                }
                prop_assert!(archive.file.metadata().unwrap().len() <= 200);
            }
            there.into_iter().for_each(|(extent, _)| archive.release(extent));
            prop_assert_eq!(&archive.free, &BTreeMap::from([(0, 200)]));
        }
    }
}
