//! Operators that fold a camera's frames one after the other.

use flowrun_dsl::params::Params;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::batch::{Input, RowType};
use crate::errors::Result;
use crate::operator::setup::Setup;
use crate::rows::At;

/// What survives an edit of the graph.
pub trait State: Clone + Serialize + DeserializeOwned + Send + 'static {}
impl<T: Clone + Serialize + DeserializeOwned + Send + 'static> State for T {}

/// A deterministic fold over one camera's frames. The engine makes one instance a camera, calls it
/// for every admitted frame in order, and catches its panics.
pub trait Operator: Sized + Send + 'static {
    /// The node's name in a graph.
    const KIND: &'static str;
    /// Names of the ports, in the order of `Input`; the first is fed by the line above.
    const PORTS: &'static [&'static str] = &["rows"];
    /// Those of them that a graph may leave unfed: then they are empty on every frame. Never the first.
    const OPTIONAL_PORTS: &'static [&'static str] = &[];
    /// The parameters.
    type Params: Params;
    /// What it reads: a row type or a tuple of them.
    type Input: Input;
    /// What it emits.
    type Output: RowType;
    /// What it remembers from frame to frame.
    type State: State;

    /// Builds an instance for one camera; all that can fail belongs here.
    ///
    /// # Errors
    /// What is wrong with the parameters or the machine.
    fn new(params: Self::Params, setup: &Setup<'_>) -> Result<Self>;

    /// Answers one frame; called with empty rows too, so that time passes.
    ///
    /// # Errors
    /// Becomes an error row; the frame is answered with no rows.
    fn process(
        &mut self,
        at: &At,
        input: <Self::Input as Input>::View<'_>,
        out: &mut Output<Self::Output>,
    ) -> Result<()>;

    /// Takes new values of `live` parameters.
    fn update(&mut self, params: Self::Params);

    /// What to hand to a successor.
    fn snapshot(&self) -> Self::State;

    /// Goes on from a predecessor's state.
    fn restore(&mut self, before: Self::State);

    /// An edit of the graph has put another model before it: what it reads from the next frame on comes from that.
    fn renew(&mut self) {}
}

/// Where an operator puts its rows.
#[derive(Debug)]
pub struct Output<T> {
    rows: Vec<T>,
}

impl<T> Default for Output<T> {
    fn default() -> Self {
        Output { rows: Vec::new() }
    }
}

impl<T> Output<T> {
    /// Adds a row.
    pub fn push(&mut self, row: T) {
        self.rows.push(row);
    }
    /// Adds rows.
    pub fn extend(&mut self, rows: impl IntoIterator<Item = T>) {
        self.rows.extend(rows);
    }
    /// What was put in.
    pub fn into_rows(self) -> Vec<T> {
        self.rows
    }
}
