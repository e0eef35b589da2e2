//! Edits of a running graph: the epoch cut (ARCHITECTURE.md, law 4).
//!
//! ```text
//! prepare   all that can fail, beside the version at work           edit
//! cut       one tick for all workers and cameras                    editor, dataflow/site
//! retire    the old version answers its last frame, state crosses   dataflow/site, dataflow/instances
//! receipt   what was done, and that nothing was lost or doubled     receipt
//! engines   what a model lacked is built beside the run: a cut without an edit
//! probation is it worse than before? then back to the old version   probation
//! ```

mod edit;
mod editor;
mod engines;
mod probation;
mod receipt;

pub(crate) use engines::look;

pub use editor::{Editor, Outcome, ReloadError};
pub use probation::Probation;
pub use receipt::{Cause, FirstFrame, Receipt, Unseen};
