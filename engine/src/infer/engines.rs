//! Engines that a provider needs and that are not built yet: what is wanted, who builds it, and what has come of it.
//!
//! The run goes on meanwhile on the next provider; `reload/engines` has what is built used.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use super::provider::Provider;
use super::tensorrt::Precision;
use crate::errors::Result;

/// An engine that is not there, with all that it takes to build it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineWanted {
    /// What needs it.
    pub provider: Provider,
    /// What the graph calls the model.
    pub name: String,
    /// The model's file.
    pub model: PathBuf,
    /// Which of several GPUs, in the driver's order.
    pub device: usize,
    /// The largest batch, where the graph says one.
    pub batch: Option<usize>,
    /// How hard TensorRT looks for fast kernels, where the graph says so.
    pub effort: Option<usize>,
    /// The numbers that it computes in.
    pub precision: Precision,
    /// The table of ranges, where the graph names one.
    pub calibration: Option<PathBuf>,
    /// Where it is looked for, as [`EngineCache::folder`](super::EngineCache::folder): two that have it alike are one.
    pub folder: PathBuf,
}

impl std::fmt::Display for EngineWanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} engine for model `{}`", self.provider, self.name)
    }
}

/// Builds engines beside a run, away from all that it waits for.
pub trait EngineBuilder: Send + Sync {
    /// Builds an engine and leaves it where it is looked for; returns when it is there. Gives up soon after `is_vain`
    /// says yes: nobody waits for it any more, or the run ends.
    ///
    /// # Errors
    /// One sentence: why there is none.
    fn build(&self, wanted: &EngineWanted, is_vain: &dyn Fn() -> bool) -> Result<()>;
}

/// How far a build has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildStage {
    /// Others are built first.
    Waiting,
    /// It is being built.
    Building,
    /// It is built, and the run uses it.
    Ready,
    /// It could not be built or used: one sentence. It is not tried again in this run.
    Failed(String),
    /// Nobody builds it in this run, and why.
    Left(String),
}

impl BuildStage {
    /// As metrics and the status write it.
    pub fn word(&self) -> &'static str {
        match self {
            BuildStage::Waiting => "waiting",
            BuildStage::Building => "building",
            BuildStage::Ready => "ready",
            BuildStage::Failed(_) => "failed",
            BuildStage::Left(_) => "left",
        }
    }

    /// Why there is no engine, where that is settled.
    pub fn cause(&self) -> Option<&str> {
        match self {
            BuildStage::Failed(cause) | BuildStage::Left(cause) => Some(cause),
            BuildStage::Waiting | BuildStage::Building | BuildStage::Ready => None,
        }
    }
}

/// An engine that a run wants or wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Which.
    pub wanted: EngineWanted,
    /// How far it has come.
    pub stage: BuildStage,
}

/// The engines that a run has wanted, each once. There are as many as texts that named one; those of texts that are
/// gone stay, so that a failed build is not tried again when they come back.
#[derive(Default)]
pub struct Builds {
    builder: OnceLock<Arc<dyn EngineBuilder>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    list: Vec<Build>,
    /// Whether a thread works through the list.
    at_work: bool,
    thread: Option<JoinHandle<()>>,
}

/// More than any run names; beyond it nothing more is built.
const MOST: usize = 256;

impl Builds {
    /// Has engines built by `builder`; the first that is given stays.
    pub fn build_by(&self, builder: Arc<dyn EngineBuilder>) {
        let _ = self.builder.set(builder);
    }

    /// Who builds them; none where nobody does.
    pub fn builder(&self) -> Option<&Arc<dyn EngineBuilder>> {
        self.builder.get()
    }

    /// All of them, in the order in which they were first wanted.
    pub fn list(&self) -> Vec<Build> {
        self.lock().list.clone()
    }

    /// Notes an engine, unless it was before; whether it is new.
    pub(crate) fn note(&self, wanted: EngineWanted, stage: BuildStage) -> bool {
        let list = &mut self.lock().list;
        let is_new = list.len() < MOST && list.iter().all(|known| known.wanted.folder != wanted.folder);
        if is_new {
            list.push(Build { wanted, stage });
        }
        is_new
    }

    /// Takes the first that waits. Where none does, the work is over: whoever asked goes home.
    pub(crate) fn begin(&self) -> Option<EngineWanted> {
        let mut inner = self.lock();
        let first = inner.list.iter_mut().find(|build| build.stage == BuildStage::Waiting);
        let Some(first) = first else {
            inner.at_work = false;
            return None;
        };
        first.stage = BuildStage::Building;
        Some(first.wanted.clone())
    }

    /// Notes what came of one.
    pub(crate) fn settle(&self, wanted: &EngineWanted, stage: BuildStage) {
        let list = &mut self.lock().list;
        if let Some(build) = list.iter_mut().find(|build| build.wanted.folder == wanted.folder) {
            build.stage = stage;
        }
    }

    /// Lets a thread work through what waits, unless nothing does or one is at it.
    pub(crate) fn at_work(&self, work: impl FnOnce() + Send + 'static) {
        let mut inner = self.lock();
        let waits = inner.list.iter().any(|build| build.stage == BuildStage::Waiting);
        if !waits || inner.at_work {
            return;
        }
        match std::thread::Builder::new().name("engines".into()).spawn(work) {
            Ok(thread) => {
                inner.at_work = true;
                inner.thread = Some(thread);
            }
            Err(error) => tracing::warn!("no thread to build engines: {error}"),
        }
    }

    /// Waits until no thread is at work any more.
    pub(crate) fn join(&self) {
        let thread = self.lock().thread.take();
        if let Some(thread) = thread {
            // A panic was told by whoever panicked.
            let _ = thread.join();
        }
    }

    /// Forgets one that nobody waits for any more: it may be wanted again.
    pub(crate) fn forget(&self, wanted: &EngineWanted) {
        self.lock().list.retain(|build| build.wanted.folder != wanted.folder);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(folder: &str) -> EngineWanted {
        EngineWanted {
            provider: Provider::TensorRt,
            name: "m".into(),
            model: "m.onnx".into(),
            device: 0,
            batch: None,
            effort: None,
            precision: Precision::Fp16,
            calibration: None,
            folder: folder.into(),
        }
    }

    #[test]
    fn an_engine_is_taken_once_and_a_failure_is_remembered() {
        let builds = Builds::default();
        assert!(builds.note(wanted("a"), BuildStage::Waiting) && builds.note(wanted("b"), BuildStage::Waiting));
        assert!(!builds.note(wanted("a"), BuildStage::Waiting), "it waits already");
        let first = builds.begin().unwrap();
        assert_eq!(first, wanted("a"));
        builds.settle(&first, BuildStage::Failed("no memory".into()));
        assert!(!builds.note(wanted("a"), BuildStage::Waiting), "nobody tries again");
        assert_eq!(builds.begin(), Some(wanted("b")));
        assert_eq!(builds.begin(), None);
        builds.forget(&wanted("b"));
        assert!(builds.note(wanted("b"), BuildStage::Waiting), "it may be wanted again");
        assert_eq!(builds.list()[0].stage.cause(), Some("no memory"));
    }
}
