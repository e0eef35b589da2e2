//! One run of a plan: prepare all that can fail, start, wait, report.

pub mod context;
mod intake;
mod prepare;
mod report;

use std::sync::Arc;
use std::thread::JoinHandle;

pub use prepare::{Options, PreparedRun, prepare};
pub use report::{CameraReport, NodeReport, Report};

use crate::dataflow::{Installation, NodeParts, run_workers};
use context::Context;

/// A run under way.
pub struct Running {
    context: Arc<Context>,
    installation: Arc<Installation>,
    workers: JoinHandle<Result<(), String>>,
    cameras: Vec<JoinHandle<()>>,
}

impl PreparedRun {
    /// What the run's parts share; whoever watches the run may look at it before it starts.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(self) -> std::io::Result<Running> {
        let PreparedRun {
            context,
            installation,
            cameras,
            workers,
        } = self;
        context.clock.begin();
        let shared = installation.clone();
        let run = move || run_workers(shared, workers);
        let workers = std::thread::Builder::new().name("workers".into()).spawn(run)?;
        let cameras = intake::start(cameras, &context).inspect_err(|_| context.stop.ask())?;
        Ok(Running {
            context,
            installation,
            workers,
            cameras,
        })
    }
}

impl Running {
    /// What the run's parts share: metrics, the ledger, names.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Whether everything has been answered and every source has ended.
    pub fn is_finished(&self) -> bool {
        self.workers.is_finished()
    }

    /// Lets every source end; what was admitted is still answered and written.
    pub fn stop(&self) {
        self.context.end();
    }

    /// Waits for the end and closes everything.
    pub fn wait(self) -> Report {
        let Running {
            context,
            installation,
            workers,
            cameras,
        } = self;
        let ended = workers
            .join()
            .unwrap_or_else(|_| Err("the workers' thread panicked".into()));
        if let Err(cause) = ended {
            context.fail(cause);
        }
        context.end();
        for camera in cameras {
            // A source's panics are caught; one that escaped has been answered by the ledger's count.
            let _ = camera.join();
        }
        for node in &installation.nodes {
            if let NodeParts::Sink(_, writer) = node {
                writer.join();
            }
        }
        Report::of(&context)
    }
}
