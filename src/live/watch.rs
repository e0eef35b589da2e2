//! Saving the graph's file is an edit.
//!
//! Editors write in many ways: in place, by truncating first, by renaming another file over it, with the file gone for a
//! moment. An edit is a text that is whole and has stayed the same for two looks; a file that is away or empty is none.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use flowrun_engine::reload::Cause;

use super::{Applied, By, EditError, Live, answer};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a watcher tells: an edit that was made, or why one was not.
pub type Tell = Box<dyn Fn(Result<String, &EditError>) + Send>;

/// Watches a graph's files on a thread of its own.
pub struct Watcher {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A file as it looks from outside.
type Look = Vec<Option<(SystemTime, u64)>>;

fn look(files: &[PathBuf]) -> Look {
    let files = files.iter().map(|file| {
        let about = std::fs::metadata(file).ok()?;
        Some((about.modified().ok()?, about.len()))
    });
    files.collect()
}

impl Watcher {
    /// Begins. With what the file held when the run began, saved files are edits; edits that are taken back, and cuts without
    /// an edit, are told in any case.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(live: Arc<Live>, began_with: Option<Vec<u8>>, tell: Tell) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("watch".into())
            .spawn(move || watch(&live, began_with, &tell, &stopped))?;
        Ok(Watcher {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(live: &Live, began_with: Option<Vec<u8>>, tell: &Tell, stop: &AtomicBool) {
    // The file may have been saved since: it is read once more.
    let mut seen = Look::new();
    let watches = began_with.is_some();
    let mut applied = began_with.unwrap_or_default();
    let mut before: Option<Look> = None;
    let mut began = false;
    // Whether the files are looked at once more because an edit named others.
    let mut again = false;
    let mut told = 0;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK_EVERY);
        for receipt in live.editor().receipts(told) {
            told = receipt.version;
            match receipt.cause {
                Cause::Automatic(_) => live.taken_back(&receipt),
                // The text is the same.
                Cause::Engine(_) => {}
                Cause::Edit | Cause::Rollback => continue,
            }
            tell(Ok(answer::line(&receipt)));
        }
        if !watches {
            continue;
        }
        let files = live.files();
        let now = look(&files);
        if now == seen {
            before = None;
            continue;
        }
        // It may still be being written.
        if before.as_ref() != Some(&now) {
            before = Some(now);
            continue;
        }
        let Ok(text) = std::fs::read(&live.path) else { continue };
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        before = None;
        seen = now;
        let included_changed = began && seen.len() > 1;
        began = true;
        if text == applied && !included_changed {
            again = false;
            continue;
        }
        applied.clone_from(&text);
        match live.apply(text, None, By::File) {
            Ok(Applied::Made(receipt)) => {
                told = told.max(receipt.version);
                tell(Ok(answer::line(&receipt)));
            }
            Ok(Applied::Unchanged) if again => {}
            Ok(Applied::Unchanged) => tell(Ok("the text changed, and nothing that runs".into())),
            Err(error) => tell(Err(&error)),
        }
        // What was saved meanwhile looks other than what was seen before the text was read. An edit may include other files,
        // of which nobody knows how they looked then: they are read once more.
        again = live.files() != files;
        if again {
            seen = Look::new();
        }
    }
}
