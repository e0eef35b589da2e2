//! What the tests of the binary share: graphs in folders of their own, and the process with what it said.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder that goes away with the test.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Folder(tempfile::tempdir().expect("a folder for the test"))
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        std::fs::write(&path, bytes).expect("a file");
        path
    }
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect(name)
    }
    /// Everything in it, by name.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![self.0.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
                let path = entry.path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        let name = path.strip_prefix(self.0.path()).expect("below the folder");
                        names.push(name.display().to_string());
                    }
                }
            }
        }
        names.sort();
        names
    }
}

/// The binary under test.
pub fn flowrun() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowrun"));
    command.env_remove("FLOWRUN_LOG").env("NO_COLOR", "1");
    command
}

/// What a process said, and how it ended.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn said(output: Output) -> Said {
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text on standard output"),
        err: String::from_utf8(output.stderr).expect("text on standard error"),
    }
}

/// Runs `flowrun COMMAND... FILE`.
pub fn on_file(command: &[&str], file: &Path) -> Said {
    said(flowrun().args(command).arg(file).output().expect("the binary starts"))
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether models can be run here.
pub fn has_onnx_runtime() -> bool {
    flowrun::engine::infer::runtime().is_ok()
}
