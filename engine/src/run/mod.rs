//! One run of a graph: prepare all that can fail, start, edit, wait, report.

pub mod context;
pub(crate) mod intake;
pub(crate) mod prepare;
mod report;

use std::sync::Arc;

pub use prepare::{Options, PreparedRun, prepare};
pub use report::{CameraReport, NodeReport, Report};

use crate::dataflow::{Command, Workers};
use crate::reload::Editor;
use context::Context;
use intake::Intake;

/// A run under way.
pub struct Running {
    editor: Editor,
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
            registry,
            network,
        } = self;
        let installation = Arc::new(installation);
        let mut workers = Workers::start(workers)?;
        let gone = |_| std::io::Error::other("a worker of the dataflow could not be started");
        context.clock.begin();
        Intake::announce(&cameras);
        if context.clock.is_offline() {
            // No camera joins an offline run: each group may end with its last.
            close_all(&installation.groups);
        }
        workers.ask(&Command::Install(installation.clone())).map_err(gone)?;
        workers.ask(&Command::Begin).map_err(gone)?;
        let intake = Intake::new(context.clone());
        intake.start(cameras).inspect_err(|_| context.end())?;
        let editor = Editor::new(context, intake, workers, installation, registry, network);
        crate::reload::look(&editor);
        Ok(Running { editor })
    }
}

/// Lets the fragments of groups end with their cameras.
fn close_all(groups: &[crate::dataflow::Group]) {
    let inboxes = groups.iter().flat_map(|group| &group.inboxes);
    inboxes.for_each(|inbox| inbox.close());
}

impl Running {
    /// What the run's parts share: the version of the graph that is at work, the ledger, names.
    pub fn context(&self) -> &Arc<Context> {
        self.editor.context()
    }

    /// What edits the graph while it runs.
    pub fn editor(&self) -> &Editor {
        &self.editor
    }

    /// Whether every source has ended; what they sent may still be under way until [`Running::wait`].
    pub fn is_finished(&self) -> bool {
        self.editor.is_over()
    }

    /// Lets every source end; what was admitted is still answered and written.
    pub fn stop(&self) {
        self.context().end();
    }

    /// Waits for the end and closes everything.
    pub fn wait(self) -> Report {
        let context = self.context().clone();
        self.editor.finish();
        Report::of(&context)
    }
}
