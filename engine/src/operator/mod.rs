//! What a researcher writes against.
//!
//! | trait | runs | for |
//! |---|---|---|
//! | [`Operator`] | on the timely worker, one instance a camera | analytics: rows in, rows out, state in between |
//! | [`Offload`] | on threads of its own, batched over cameras | what waits or computes long: inference |
//! | [`Source`] | on a thread a camera | cameras and files |
//! | [`Query`] | as a differential collection over all cameras | windowed aggregates that correct themselves |
//! | [`Sink`] | encodes on the worker, writes on a thread of its own | files and servers |
//!
//! Each is registered by one line: `&Def::<MyOperator>::new()`, `&OffloadDef::<..>::new()` and so on.

mod keyed;
mod offload;
mod query;
mod setup;
mod sink;
mod source;

pub use keyed::{Operator, Output, State};
pub use offload::{BatchPolicy, Job, LaneChoice, Offload};
pub use query::{Datum, Query, TotalFloat, Window};
pub use setup::{LineShape, NodeSetup, PerCamera, PolygonShape, Setup};
pub use sink::{Sink, SinkOrder, SinkWants, SinkWriter};
pub use source::{Item, Next, Overload, Pace, Source, SourceOutput, SourceSetup, SourceTraits, Stop, Thread, Times};
