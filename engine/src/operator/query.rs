//! Aggregates over all cameras, kept as differential collections.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use flowrun_dsl::params::Params;
use flowrun_dsl::schema::{Cell, Schema};
use serde::{Deserialize, Serialize};

use crate::batch::Answer;
use crate::errors::Result;
use crate::operator::setup::NodeSetup;

/// A value of a collection: a [`Cell`] with a total order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Datum {
    /// No value.
    Null,
    /// A flag.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number, ordered by IEEE 754 `totalOrder`.
    Float(TotalFloat),
    /// Text.
    Text(Arc<str>),
    /// Nanoseconds since the Unix epoch.
    Time(i64),
    /// Nanoseconds.
    Duration(i64),
}

/// A float ordered by IEEE 754 `totalOrder`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TotalFloat(pub f64);

impl PartialEq for TotalFloat {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}
impl Eq for TotalFloat {}
impl PartialOrd for TotalFloat {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for TotalFloat {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
impl std::hash::Hash for TotalFloat {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl From<&Cell> for Datum {
    fn from(cell: &Cell) -> Self {
        match cell {
            Cell::Null => Datum::Null,
            Cell::Bool(flag) => Datum::Bool(*flag),
            Cell::Int(number) => Datum::Int(*number),
            Cell::Float(number) => Datum::Float(TotalFloat(*number)),
            Cell::Text(text) => Datum::Text(text.clone()),
            Cell::Time(nanos) => Datum::Time(*nanos),
            Cell::Duration(nanos) => Datum::Duration(*nanos),
        }
    }
}

impl From<&Datum> for Cell {
    fn from(datum: &Datum) -> Self {
        match datum {
            Datum::Null => Cell::Null,
            Datum::Bool(flag) => Cell::Bool(*flag),
            Datum::Int(number) => Cell::Int(*number),
            Datum::Float(number) => Cell::Float(number.0),
            Datum::Text(text) => Cell::Text(text.clone()),
            Datum::Time(nanos) => Cell::Time(*nanos),
            Datum::Duration(nanos) => Cell::Duration(*nanos),
        }
    }
}

/// How a query cuts event time, and for how long it corrects what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Length.
    pub size: Duration,
    /// Distance of starts.
    pub every: Duration,
    /// How long after its end a window still takes late rows.
    pub retain: Duration,
}

/// A windowed aggregate. The engine keeps rows by (group, window) in a differential collection,
/// corrects results when rows come late, and adds what each is complete through.
pub trait Query: Sized + Send + Sync + 'static {
    /// The node's name in a graph.
    const KIND: &'static str;
    /// The parameters.
    type Params: Params;

    /// Builds it for the node's query.
    ///
    /// # Errors
    /// What is wrong, and what mends it.
    fn new(params: Self::Params, setup: &NodeSetup<'_>) -> Result<Self>;

    /// How event time is cut.
    fn window(&self) -> Window;

    /// Columns of a result: `window_start`, `window_end`, the group's, the aggregates',
    /// `complete_through`, `missing`, `revision`.
    fn schema(&self) -> Arc<Schema>;

    /// The rows of an answer that count: group and value of each.
    fn rows(&self, answer: &Answer, out: &mut Vec<(Vec<Datum>, Vec<Datum>)>);

    /// The aggregates of a group's values in one window, each value with how often it occurs (at least once).
    fn fold(&self, values: &[(&Vec<Datum>, isize)]) -> Vec<Datum>;
}
