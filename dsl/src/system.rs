//! What the language asks of the world outside of the text: which files are there, which a graph may name, and what an
//! included one says.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Answers for the files that a graph names, so that it can be checked where they are not.
pub trait System {
    /// Whether there is a file or folder at this path.
    fn exists(&self, path: &Path) -> bool;

    /// Whether a graph may read or write there.
    fn allows(&self, path: &Path) -> bool;

    /// A file's first bytes, at most so many.
    ///
    /// # Errors
    /// When there is no such file, or it cannot be read.
    fn read(&self, path: &Path, at_most: usize) -> io::Result<Vec<u8>> {
        let _ = (path, at_most);
        Err(io::ErrorKind::NotFound.into())
    }
}

/// The file system, all of it: for graphs that are trusted as code is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl System for Disk {
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn allows(&self, _: &Path) -> bool {
        true
    }

    fn read(&self, path: &Path, at_most: usize) -> io::Result<Vec<u8>> {
        if !path.is_file() {
            // A pipe might never end, and a folder never begins.
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no regular file"));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path)?
            .take(at_most as u64)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The file system below some folders: what leads out of them, by `..` or a link too, is not allowed.
#[derive(Clone, Debug, Default)]
pub struct Confined {
    folders: Vec<PathBuf>,
}

impl Confined {
    /// To these folders, as [`Path::canonicalize`] gives them.
    pub fn to(folders: Vec<PathBuf>) -> Self {
        Confined { folders }
    }
}

impl System for Confined {
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
    fn allows(&self, path: &Path) -> bool {
        resolved(path).is_some_and(|path| self.folders.iter().any(|folder| path.starts_with(folder)))
    }
    fn read(&self, path: &Path, at_most: usize) -> io::Result<Vec<u8>> {
        if !self.allows(path) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it lies outside of what graphs may use",
            ));
        }
        Disk.read(path, at_most)
    }
}

/// A path without links: of what is there by the file system, of what is yet to be made by its folder. None where that
/// cannot be told.
fn resolved(path: &Path) -> Option<PathBuf> {
    let mut rest = Vec::new();
    let mut there = path;
    loop {
        if let Ok(there) = there.canonicalize() {
            return Some(rest.iter().rev().fold(there, |path, name| path.join(name)));
        }
        // A link to nowhere would be followed by who writes there.
        if there.is_symlink() {
            return None;
        }
        match there.components().next_back()? {
            Component::Normal(name) => rest.push(name),
            _ => return None,
        }
        there = match there.parent()? {
            folder if folder.as_os_str().is_empty() => Path::new("."),
            folder => folder,
        };
    }
}

/// Every file is there and may be used: for checking a graph away from its files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anything;

impl System for Anything {
    fn exists(&self, _: &Path) -> bool {
        true
    }
    fn allows(&self, _: &Path) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_stays_below_its_folders() {
        let place = tempfile::tempdir().unwrap();
        let (own, other) = (place.path().join("own"), place.path().join("other"));
        for folder in [&own, &other] {
            std::fs::create_dir_all(folder.join("clips")).unwrap();
            std::fs::write(folder.join("clips/a.mp4"), "").unwrap();
        }
        std::os::unix::fs::symlink(&other, own.join("away")).unwrap();
        std::os::unix::fs::symlink(own.join("clips"), own.join("near")).unwrap();
        std::os::unix::fs::symlink(other.join("to-be"), own.join("dangling")).unwrap();
        let [own, other] = [own, other].map(|folder| folder.canonicalize().unwrap());
        let confined = Confined::to(vec![own.clone()]);
        for inside in [
            "clips/a.mp4",
            "out/new/rows.jsonl",
            "clips/../clips/a.mp4",
            "near/a.mp4",
            ".",
        ] {
            assert!(confined.allows(&own.join(inside)), "{inside}");
        }
        for outside in [
            "../other/clips/a.mp4",
            "away/clips/a.mp4",
            "away/new",
            "dangling",
            "new/../../other/x",
            "/etc/passwd",
        ] {
            assert!(!confined.allows(&own.join(outside)), "{outside}");
        }
        let both = Confined::to(vec![own.clone(), other]);
        assert!(both.allows(&own.join("away/clips/a.mp4")));
    }
}
