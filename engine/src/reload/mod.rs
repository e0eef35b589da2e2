//! Edits of a running graph: the epoch cut (ARCHITECTURE.md, law 4).
//!
//! ```text
//! prepare   all that can fail, beside the version at work           edit
//! cut       one tick for all workers and cameras                    editor, dataflow/site
//! retire    the old version answers its last frame, state crosses   dataflow/site, dataflow/instances
//! receipt   what was done, and that nothing was lost or doubled     receipt
//! probation is it worse than before? then back to the old version   probation
//! ```

mod edit;
mod editor;
mod probation;
mod receipt;

pub use editor::{Editor, Outcome, ReloadError};
pub use probation::Probation;
pub use receipt::{Cause, FirstFrame, Receipt, Unseen};
