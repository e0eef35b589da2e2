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

mod align;
mod collection;
mod failures;
mod gate;
mod installation;
mod instances;
mod keyed;
mod lines;
mod node;
mod offload;
mod scale;
mod sink;
mod site;
mod source;
mod tap;
mod workers;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::operators::generic::OutputBuilder;

use crate::batch::Answer;
use crate::time::Tick;

pub use collection::QueryCameras;
pub use installation::{Group, Installation, KeyedParts, NodeParts, Wiring, wanted_points, wiring};
pub use instances::{SavedStates, Takeover};
pub use offload::OffloadPool;
pub use sink::Writer;
pub use site::{Command, Reply};
pub use source::{Inbox, Message};
pub use workers::{Workers, run_workers};

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
