//! Graphs that were applied, on disk: a process that is killed comes back with the last one.
//!
//! A folder `.flowrun/GRAPH` beside the graph has `current.json`, the texts by version and hash, and `receipts.jsonl`.
//! `current.json` is replaced in one step, after the text that it names is on the disk: whenever the process dies, it
//! names a whole text that has run.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flowrun_engine::reload::Receipt;
use serde::{Deserialize, Serialize};

use crate::graph::folder_of;
use crate::serve::GraphText;

/// Texts that are kept.
const KEPT: usize = 100;

/// Where applied graphs are kept.
pub struct History {
    folder: Option<PathBuf>,
}

/// What `current.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Current {
    /// Counts over all runs.
    number: u64,
    /// SHA-256 of the text that was applied last.
    text: String,
    /// SHA-256 of the graph's file at that time.
    file: String,
    /// The file that holds the text, beside this one.
    name: String,
}

/// What a start finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The text that was applied last.
    pub text: String,
    /// Which one, over all runs.
    pub number: u64,
    /// Whether it was applied over another text than the graph's file has: by the API, or by a rollback.
    pub differs: bool,
    /// Whether the graph's file has changed since.
    pub file_changed: bool,
}

impl History {
    /// Of a graph's file.
    pub fn of(graph: &Path) -> Self {
        let name = graph.file_name().unwrap_or_default();
        History {
            folder: Some(folder_of(graph).join(".flowrun").join(name)),
        }
    }

    /// None is kept.
    pub fn none() -> Self {
        History { folder: None }
    }

    fn current(folder: &Path) -> Option<Current> {
        let bytes = fs::read(folder.join("current.json")).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// The last text that was applied.
    pub fn find(&self, graph: &Path) -> Option<Found> {
        let folder = self.folder.as_ref()?;
        let current = Self::current(folder)?;
        let text = fs::read_to_string(folder.join(&current.name)).ok()?;
        // A text that is not what was written is none.
        if hash(&text) != current.text {
            return None;
        }
        let file = fs::read_to_string(graph).map(|text| hash(&text)).unwrap_or_default();
        Some(Found {
            text,
            number: current.number,
            differs: current.text != current.file,
            file_changed: file != current.file,
        })
    }

    /// Notes that a text is at work.
    ///
    /// # Errors
    /// As the system reports it.
    pub fn record(&self, graph: &Path, text: &str, receipt: Option<&Receipt>) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        fs::create_dir_all(folder)?;
        let number = Self::current(folder).map_or(1, |current| current.number + 1);
        let file = fs::read_to_string(graph).map(|text| hash(&text)).unwrap_or_default();
        let hash = hash(text);
        let name = format!("{number:06}-{}.kdl", &hash[..12]);
        whole(&folder.join(&name), text.as_bytes())?;
        if let Some(receipt) = receipt {
            let mut line = serde_json::to_vec(receipt).map_err(io::Error::other)?;
            line.push(b'\n');
            let mut receipts = OpenOptions::new()
                .create(true)
                .append(true)
                .open(folder.join("receipts.jsonl"))?;
            receipts.write_all(&line)?;
        }
        let current = Current {
            number,
            text: hash,
            file,
            name,
        };
        let document = serde_json::to_vec_pretty(&current).map_err(io::Error::other)?;
        whole(&folder.join("current.json"), &document)?;
        forget(folder)
    }
}

fn hash(text: &str) -> String {
    GraphText::of("", text).hash
}

/// Writes a file in one step.
fn whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Takes away the oldest texts.
fn forget(folder: &Path) -> io::Result<()> {
    let entries = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let mut texts: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "kdl"))
        .collect();
    texts.sort();
    let gone = texts.len().saturating_sub(KEPT);
    texts.into_iter().take(gone).try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_text_comes_back_whatever_became_of_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let graph = folder.path().join("graph.kdl");
        fs::write(&graph, "one").expect("a file");
        let history = History::of(&graph);
        assert_eq!(history.find(&graph), None);
        history.record(&graph, "one", None).expect("recorded");
        let found = history.find(&graph).expect("there");
        assert_eq!(
            (found.text.as_str(), found.number, found.differs, found.file_changed),
            ("one", 1, false, false)
        );
        history.record(&graph, "two", None).expect("recorded");
        fs::write(&graph, "three").expect("a file");
        let found = history.find(&graph).expect("there");
        assert_eq!(
            (found.text.as_str(), found.number, found.differs, found.file_changed),
            ("two", 2, true, true)
        );
        for number in 3..=150 {
            history
                .record(&graph, &format!("text {number}"), None)
                .expect("recorded");
        }
        let kept = fs::read_dir(folder.path().join(".flowrun/graph.kdl"))
            .expect("a folder")
            .count();
        assert_eq!(kept, KEPT + 1);
        assert_eq!(history.find(&graph).map(|found| found.number), Some(150));
    }

    #[test]
    fn a_text_that_was_not_written_whole_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let graph = folder.path().join("graph.kdl");
        let history = History::of(&graph);
        history.record(&graph, "one", None).expect("recorded");
        let texts = fs::read_dir(folder.path().join(".flowrun/graph.kdl"))
            .expect("a folder")
            .flatten();
        let text = texts
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|kdl| kdl == "kdl"));
        fs::write(text.expect("a text"), "on").expect("torn");
        assert_eq!(history.find(&graph), None);
    }
}
