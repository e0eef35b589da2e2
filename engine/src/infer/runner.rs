//! Where a model's runs are made: on the thread that asks, or on one of its own.
//!
//! ONNX Runtime keeps a recorded run with the thread that made it (1.31): on another it would begin again with plain runs,
//! and record anew while others work. So what records has a thread for life.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use ort::session::{IoBinding, RunOptions};
use ort::value::{DynValueTypeMarker, ValueRefMut};

use super::session::{Model, guarded};
use crate::device::{Fault, is_out_of_memory, working};

/// ONNX Runtime's option for which of a session's recordings a run is, and its word for none: since [`PLAIN_RUNS`].
const RECORDING: &str = "gpu_graph_id";
const NONE: &str = "-1";
/// The first version of ONNX Runtime whose runs need not be recorded in a session that records.
pub(super) const PLAIN_RUNS: [u32; 2] = [1, 18];

/// Memory of a buffer as ONNX Runtime sees it.
pub(super) type EndValue = ValueRefMut<'static, DynValueTypeMarker>;

/// A model with both ends bound.
pub(super) struct Binding {
    /// What ONNX Runtime is given.
    pub binding: IoBinding,
    /// Kept while they are bound.
    pub _ends: [EndValue; 2],
}

/// A model that is bound for some sizes.
pub(super) struct Opened {
    // Before the session that they belong to.
    pub bindings: BTreeMap<usize, Binding>,
    pub model: Model,
}

// SAFETY: values hold pointers to ONNX Runtime's objects, which any thread may use, one at a time; nothing of them is
// reached but through the one `Runner` that owns them.
unsafe impl Send for Opened {}

/// Makes runs.
pub(super) enum Runner {
    /// On the thread that asks.
    Here(Vec<Opened>),
    /// On its own.
    Apart(Apart),
}

/// A run over so many pictures.
#[derive(Clone, Copy)]
struct Asked {
    size: usize,
    /// Whether it is neither recorded nor replayed.
    plain: bool,
}

/// A thread that makes runs.
pub(super) struct Apart {
    asked: Option<SyncSender<Asked>>,
    answers: Receiver<Result<(), Fault>>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// Runs on the thread that asks, or with `apart` on one of its own.
    pub fn new(mut opened: Vec<Opened>, apart: bool) -> std::io::Result<Self> {
        if !apart {
            return Ok(Runner::Here(opened));
        }
        let (asked, asks) = sync_channel::<Asked>(1);
        let (answer, answers) = sync_channel(1);
        let thread = std::thread::Builder::new().name("inference".into()).spawn(move || {
            while let Ok(asked) = asks.recv() {
                if answer.send(run(&mut opened, asked)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Runner::Apart(Apart {
            asked: Some(asked),
            answers,
            thread: Some(thread),
        }))
    }

    /// Makes a run over so many pictures.
    pub fn run(&mut self, size: usize) -> Result<(), Fault> {
        self.ask(Asked { size, plain: false })
    }

    /// As [`Runner::run`], neither recorded nor replayed.
    pub fn run_plainly(&mut self, size: usize) -> Result<(), Fault> {
        self.ask(Asked { size, plain: true })
    }

    fn ask(&mut self, ask: Asked) -> Result<(), Fault> {
        let gone = || Fault::Other("the thread of the model has ended".into());
        match self {
            Runner::Here(opened) => run(opened, ask),
            Runner::Apart(apart) => {
                let asked = apart.asked.as_ref().ok_or_else(gone)?;
                asked.send(ask).map_err(|_| gone())?;
                apart.answers.recv().map_err(|_| gone())?
            }
        }
    }
}

fn run(opened: &mut [Opened], Asked { size, plain }: Asked) -> Result<(), Fault> {
    let found = opened.iter_mut().find_map(|opened| {
        let binding = opened.bindings.get(&size)?;
        Some((opened.model.session_mut(), &binding.binding))
    });
    let (session, binding) =
        found.ok_or_else(|| Fault::Unfit(format!("the model was not bound for {size} pictures")))?;
    let made = guarded(|| {
        if !plain {
            return session.run_binding(binding).map(drop);
        }
        let mut options = RunOptions::new()?;
        options.set(RECORDING, NONE)?;
        session.run_binding_with_options(binding, &options).map(drop)
    });
    made.map_err(|cause| match is_out_of_memory(&cause) {
        true => Fault::OutOfMemory(0),
        false => Fault::Other(format!("inference failed: {cause}")),
    })
}

impl Drop for Apart {
    fn drop(&mut self) {
        // Its session gives memory back, which must not fall into another's recording.
        let _working = working();
        self.asked = None;
        if let Some(thread) = self.thread.take() {
            // Its runs are guarded; nothing is left to clean up after a panic.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Runner::Here(_) => "Runner::Here",
            Runner::Apart(_) => "Runner::Apart",
        })
    }
}
