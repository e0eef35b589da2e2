//! Where rows leave the graph.

use std::io;

use flowrun_dsl::params::Params;
use flowrun_dsl::port::{PortRows, Role};

use crate::batch::Answer;
use crate::errors::Result;
use crate::operator::setup::NodeSetup;

/// In which order a sink's answers reach its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkOrder {
    /// By tick, camera and frame: the same bytes whatever the workers do. Each answer waits for the slowest camera.
    Tick,
    /// Each camera's by frame, and each as soon as it is there: for those who watch live.
    Camera,
}

/// What a sink wants of the nodes that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkWants {
    /// All they can make, for the whole run.
    Always,
    /// What its viewers ask for: it watches [`NodeSetup::demands_on_inputs`] while it has some.
    WhenWatched,
}

/// Turns answers into bytes on the worker that has them; the engine puts the bytes of all workers
/// in order and hands them to one [`SinkWriter`] on a thread of its own.
pub trait Sink: Sized + Send + Sync + 'static {
    /// The node's name in a graph.
    const KIND: &'static str;
    /// `write` or `publish`.
    const ROLE: Role;
    /// In which order answers reach the writer.
    const ORDER: SinkOrder = SinkOrder::Tick;
    /// Whether it takes all it can get.
    const WANTS: SinkWants = SinkWants::Always;
    /// The parameters.
    type Params: Params;

    /// What it takes.
    fn takes() -> PortRows;

    /// Checks all that can be checked without opening anything.
    ///
    /// # Errors
    /// What is wrong, and what mends it.
    fn new(params: Self::Params, setup: &NodeSetup<'_>) -> Result<Self>;

    /// Opens what is written to. Called once, before the first frame is admitted.
    ///
    /// # Errors
    /// What is wrong, and what mends it.
    fn open(&self) -> Result<Box<dyn SinkWriter>>;

    /// Appends an answer's rows. Called for every answer; one without rows may append nothing.
    ///
    /// # Errors
    /// Becomes an error row.
    fn encode(&self, answer: &Answer, out: &mut Vec<u8>) -> Result<()>;

    /// The same sink after an edit of the graph that changes what it reads, for other cameras, or with new values of `live`
    /// parameters: it goes on with the writer that is open, so its clients and files stay. Answers come to it when the one
    /// before has had its last. None where it has to be opened anew.
    ///
    /// # Errors
    /// What is wrong, and what mends it: the edit is refused.
    fn revise(&self, params: Self::Params, setup: &NodeSetup<'_>) -> Result<Option<Self>> {
        let _ = (params, setup);
        Ok(None)
    }
}

/// What a sink writes to.
pub trait SinkWriter: Send {
    /// Takes bytes of one or more whole answers.
    ///
    /// # Errors
    /// As the system reports it: the run ends with it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Completes what was written: after this it is all there, before it nothing claims to be.
    ///
    /// # Errors
    /// As the system reports it.
    fn finish(self: Box<Self>) -> io::Result<()>;
}
