//! Files that are whole or not there.
//!
//! What is being written is called `PATH.partial`; only [`DurableFile::finish`] gives it its name, so
//! whoever finds `PATH` finds all of it. Lines are not buffered here: the engine hands over the bytes
//! of many answers at once, and what was handed over survives the end of the process, however it ends.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::operator::SinkWriter;
use flowrun_engine::time::EventTime;

/// What bytes go to: a file, or in tests a disk that fills up.
trait Medium: Write + Send {
    /// Forgets all bytes behind the first `length`.
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// Waits until the bytes survive a power cut.
    fn sync(&mut self) -> io::Result<()>;
}

impl Medium for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// A file that gets its name when it is complete.
pub struct DurableFile {
    /// Its lock, held until it is renamed, keeps a second run away.
    medium: Box<dyn Medium>,
    partial: PathBuf,
    path: PathBuf,
    /// Bytes of whole chunks that are in the file.
    length: u64,
    /// Why nothing more is taken.
    broken: Option<io::ErrorKind>,
    /// A file of its name that was written after this moment is kept beside it.
    keeps_since: Option<EventTime>,
}

impl DurableFile {
    /// Creates `PATH.partial` and the folders above it, and locks it; `path` itself is left alone.
    ///
    /// # Errors
    /// When `path` is something else than a file, another run is writing it, or the folder cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let shown = path.display();
        if let Ok(there) = fs::metadata(path)
            && !there.is_file()
        {
            let what = if there.is_dir() { "a folder" } else { "no regular file" };
            return Err(OperatorError::new(format!("cannot write `{shown}`: it is {what}"))
                .help("name a file that may be replaced when the run is complete"));
        }
        // Renaming onto a link would replace the link and leave what it points at as it was.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let folder = folder_of(&path);
        fs::create_dir_all(folder).map_err(|error| refused(folder, &error))?;
        let partial = partial_of(&path);
        let file = lock(&partial)?;
        file.set_len(0).map_err(|error| refused(&partial, &error))?;
        Ok(DurableFile {
            medium: Box::new(file),
            partial,
            path,
            length: 0,
            broken: None,
            keeps_since: None,
        })
    }

    /// Keeps what a run has completed already: an edit may take a sink away and another bring it back. A file of this name
    /// that was written after the run began gets a number, `rows.1.jsonl`, when this one takes its name.
    #[must_use]
    pub fn keeping(mut self, began: EventTime) -> Self {
        self.keeps_since = Some(began);
        self
    }
}

impl DurableFile {
    /// Takes `PATH.partial` away: there is nothing to keep.
    ///
    /// # Errors
    /// As the system reports it.
    pub fn discard(self) -> io::Result<()> {
        fs::remove_file(&self.partial)
    }

    /// Makes a folder and those above it, and sees whether files can be made in it.
    ///
    /// # Errors
    /// When they cannot.
    pub fn try_folder(folder: &Path) -> Result<()> {
        let probe = folder.join(format!(".flowrun-{}", std::process::id()));
        let tried = fs::create_dir_all(folder).and_then(|()| File::create(&probe).map(drop));
        let tried = tried.and_then(|()| fs::remove_file(&probe));
        tried.map_err(|error| refused(folder, &error))
    }
}

impl SinkWriter for DurableFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(kind) = self.broken {
            return Err(kind.into());
        }
        if let Err(error) = self.medium.write_all(bytes) {
            self.broken = Some(error.kind());
            // Half a line would look like a whole file with a broken end. If even this fails there is
            // nothing left to do, and the first failure is the one to report.
            let _ = self.medium.cut(self.length);
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if let Some(kind) = self.broken {
            return Err(kind.into());
        }
        self.medium.sync()?;
        let written = fs::metadata(&self.path).map(|there| {
            there
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(there.mtime_nsec())
        });
        if written.is_ok_and(|written| self.keeps_since.is_some_and(|since| written > since.0)) {
            fs::rename(&self.path, numbered(&self.path))?;
        }
        fs::rename(&self.partial, &self.path)?;
        // The new name survives a power cut only when the folder does.
        File::open(folder_of(&self.path))?.sync_all()
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn partial_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".partial");
    name.into()
}

/// The path with the lowest number that no file has: `rows.1.jsonl` beside `rows.jsonl`.
fn numbered(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default();
    let names = (1..u32::MAX).map(|number| {
        let mut name = OsString::from(stem);
        name.push(format!(".{number}"));
        if let Some(ending) = path.extension() {
            name.push(".");
            name.push(ending);
        }
        path.with_file_name(name)
    });
    let mut free = names.filter(|name| !name.exists());
    free.next().unwrap_or_else(|| path.to_path_buf())
}

/// Opens and locks a file, and makes sure that it still has its name: between opening and locking
/// another run may have finished and renamed it, and truncating it then would destroy that run's result.
fn lock(partial: &Path) -> Result<File> {
    loop {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file = options.open(partial).map_err(|error| refused(partial, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let cause = format!("`{}` is being written by another run or sink", partial.display());
                return Err(OperatorError::new(cause).help("give each sink a file of its own, or end the other run"));
            }
            Err(TryLockError::Error(error)) => return Err(refused(partial, &error)),
        }
        let held = file.metadata().map_err(|error| refused(partial, &error))?;
        match fs::metadata(partial) {
            Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => return Ok(file),
            _ => {}
        }
    }
}

fn refused(path: &Path, error: &io::Error) -> OperatorError {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose a folder that this user may write, or change its permissions"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a part of the path is a file: choose another folder"
        }
        io::ErrorKind::StorageFull => "make room on the disk",
        _ => "choose another path",
    };
    OperatorError::new(format!("cannot write `{}`: {error}", path.display())).help(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for so many bytes more.
    struct Full {
        file: File,
        room: usize,
    }
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let written = self.file.write(&bytes[..bytes.len().min(self.room)])?;
            self.room -= written;
            Ok(written)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Medium for Full {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            self.file.set_len(length)
        }
        fn sync(&mut self) -> io::Result<()> {
            self.file.sync_all()
        }
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_file_gets_its_name_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/rows.jsonl");
        let mut file = Box::new(DurableFile::create(&path).unwrap());
        file.write(b"one\n").unwrap();
        assert!(!path.exists());
        assert_eq!(read(&partial_of(&path)), "one\n");
        file.write(b"two\n").unwrap();
        file.finish().unwrap();
        assert_eq!(read(&path), "one\ntwo\n");
        assert!(!partial_of(&path).exists());
    }

    #[test]
    fn a_run_that_breaks_off_leaves_the_older_file_and_a_partial_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        fs::write(&path, "before\n").unwrap();
        let mut file = DurableFile::create(&path).unwrap();
        file.write(b"one\n").unwrap();
        drop(file);
        assert_eq!(
            (read(&path).as_str(), read(&partial_of(&path)).as_str()),
            ("before\n", "one\n")
        );
        let again = Box::new(DurableFile::create(&path).unwrap());
        again.finish().unwrap();
        assert_eq!(read(&path), "");
    }

    #[test]
    fn what_the_same_run_has_completed_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        fs::write(&path, "before the run\n").unwrap();
        let began = EventTime(flowrun_engine::clock::wall().0 + 1);
        // What was there before is replaced, what comes from here on is kept.
        while flowrun_engine::clock::wall().0 - began.0 < 20_000_000 {
            std::thread::yield_now();
        }
        for text in ["first\n", "second\n", "third\n"] {
            let mut file = Box::new(DurableFile::create(&path).unwrap().keeping(began));
            file.write(text.as_bytes()).unwrap();
            file.finish().unwrap();
        }
        let beside = |name: &str| read(&folder.path().join(name));
        assert_eq!(read(&path), "third\n");
        assert_eq!(
            (beside("rows.1.jsonl"), beside("rows.2.jsonl")),
            ("first\n".into(), "second\n".into())
        );
    }

    #[test]
    fn a_full_disk_leaves_whole_lines_and_no_result() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let partial = partial_of(&path);
        let mut file = DurableFile::create(&path).unwrap();
        let room = 10;
        file.medium = Box::new(Full {
            file: OpenOptions::new().write(true).open(&partial).unwrap(),
            room,
        });
        file.write(b"1234\n").unwrap();
        let error = file.write(b"56789\nabc\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(
            file.write(b"more\n").unwrap_err().kind(),
            io::ErrorKind::StorageFull,
            "stays broken"
        );
        assert!(Box::new(file).finish().is_err());
        assert_eq!(read(&partial), "1234\n");
        assert!(!path.exists());
    }

    #[test]
    fn a_device_without_room_is_an_error_and_no_panic() {
        let Ok(device) = OpenOptions::new().write(true).open("/dev/full") else {
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let mut file = DurableFile::create(&folder.path().join("rows.jsonl")).unwrap();
        file.medium = Box::new(device);
        assert_eq!(file.write(b"one\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn two_writers_of_one_file_are_told_apart_from_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let first = DurableFile::create(&path).unwrap();
        let error = DurableFile::create(&path).err().expect("the file is taken");
        assert!(error.cause.contains("another run"), "{error}");
        drop(first);
        assert!(DurableFile::create(&path).is_ok());
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), Path::new("/dev/null")] {
            let error = DurableFile::create(path).err().expect("no file");
            assert!(error.remedy.is_some());
        }
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DurableFile::create(&file.join("rows.jsonl")).err().expect("no folder");
        assert!(error.remedy.is_some(), "{error}");
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let mut file = Box::new(DurableFile::create(&link).unwrap());
        file.write(b"new\n").unwrap();
        file.finish().unwrap();
        assert_eq!(read(&target), "new\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
