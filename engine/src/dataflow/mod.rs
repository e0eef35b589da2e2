//! The one importer of timely and differential dataflow.
//!
//! ```text
//! cameras -> Inbox -> source ─┐ tap            a fragment a camera group
//!                             └─> keyed -> offload -> keyed ─┐ tap      a fragment a flow
//!                                                            ├─> query  a fragment a query
//!                                                            └─> sink   encode, exchange, order, write
//! ```
//! One keyed dataflow for all cameras: a camera's rows stay on the worker `camera % workers`, and one
//! message carries the answers of many cameras of one tick.

mod collection;
mod failures;
mod keyed;
mod offload;
mod sink;
mod source;
mod tap;
mod worker;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::operators::generic::OutputBuilder;

use crate::batch::Answer;
use crate::time::Tick;

pub use offload::OffloadPool;
pub use sink::Writer;
pub use source::{Inbox, Message};
pub use worker::{Group, Installation, NodeParts, run_workers};

/// A stream of answers.
type Edge<'scope> = Stream<'scope, Tick, Vec<Answer>>;
/// Where an operator puts containers.
type Out<D> = OutputBuilder<Tick, CapacityContainerBuilder<Vec<D>>>;

/// What a node leaves behind in its dataflow.
struct Rendered<'scope> {
    /// Its answers; none for a sink.
    rows: Option<Edge<'scope>>,
    /// Its error rows, where somebody reads them.
    errors: Option<Edge<'scope>>,
}
