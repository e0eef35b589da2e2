//! Where frames and rows enter the graph.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flowrun_dsl::params::{Choice, Params};
use flowrun_dsl::port::RowKind;

use crate::batch::Batch;
use crate::clock::WallClock;
use crate::device::Decoders;
use crate::errors::Result;
use crate::network::Network;
use crate::rows::{CameraId, Size};

/// How fast a recorded or synthetic source runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Pace {
    /// As it was filmed.
    Media,
    /// As fast as it can be answered; the whole run is then offline, in the medium's own time.
    Max,
}

/// What becomes of a frame when too many of its camera are still unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// It waits, and the source with it.
    Wait,
    /// It is shed before admission and counted.
    Shed,
}

/// What the times of a source's items are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Media time: the engine paces the items by it and makes event time of it.
    Media,
    /// Event time: the source hears of each picture as it is taken, so an item is due when it is there. Must increase.
    Event,
}

/// What the engine must know of an opened source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTraits {
    /// Whether it ends by itself.
    pub finite: bool,
    /// How fast it runs.
    pub pace: Pace,
    /// What its items' times are.
    pub times: Times,
    /// What happens to frames that come too fast.
    pub overload: Overload,
}

/// One frame or row set of a source.
#[derive(Debug)]
pub struct Item {
    /// Index in the source, from 0, counted before decimation; increasing, across loops too.
    pub frame: u64,
    /// Nanoseconds since the medium's start, increasing across loops but for rows that come late; or event time, as
    /// [`SourceTraits::times`] says.
    pub media_time: i64,
    /// The picture's size.
    pub size: Size,
    /// A frame, or rows of the source's kind.
    pub batch: Batch,
}

/// What a source has.
#[derive(Debug)]
pub enum Next {
    /// A frame or rows.
    Item(Item),
    /// Something it could not read; it goes on. Becomes an error row.
    Fault(String),
    /// It has ended.
    End,
}

/// Tells a source that the run is ending, or its own part in it.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    own: Arc<AtomicBool>,
    run: Option<Arc<AtomicBool>>,
}

impl Stop {
    /// Asks all who look at it to end.
    pub fn ask(&self) {
        self.own.store(true, Ordering::Relaxed);
    }
    /// Whether it, or the one it comes from, has been asked.
    pub fn asked(&self) -> bool {
        let asked = |stop: &Arc<AtomicBool>| stop.load(Ordering::Relaxed);
        asked(&self.own) || self.run.as_ref().is_some_and(asked)
    }
    /// One for a part of the run, which may end earlier.
    pub fn part(&self) -> Self {
        Stop {
            own: Arc::default(),
            run: Some(self.run.clone().unwrap_or_else(|| self.own.clone())),
        }
    }
}

/// A camera's place in the graph.
pub struct SourceSetup<'a> {
    /// The graph file's folder: relative paths start there.
    pub root: &'a std::path::Path,
    /// The run's names.
    pub names: &'a Arc<crate::names::Names>,
    /// The camera.
    pub camera: CameraId,
    /// When the run is to end; a source that waits looks at it at least every 100 ms.
    pub stop: Stop,
    /// For sources whose items carry event times.
    pub wall: WallClock,
    /// Where a source that hears from the network waits for it.
    pub network: Network,
    /// What sources that decode on a device share.
    pub decoders: Decoders,
}

impl<'a> SourceSetup<'a> {
    /// A camera's place in a run of its own.
    pub fn new(root: &'a std::path::Path, names: &'a Arc<crate::names::Names>, camera: CameraId) -> Self {
        SourceSetup {
            root,
            names,
            camera,
            stop: Stop::default(),
            wall: WallClock::default(),
            network: Network::default(),
            decoders: Decoders::default(),
        }
    }
}

/// Where a source's [`Source::next`] is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// On a thread of the camera's own: it may wait or decode.
    Own,
    /// On one thread for all such sources: it never waits and answers in microseconds.
    Shared,
}

/// A camera, a file, rows.
pub trait Source: Sized + Send + 'static {
    /// The node's name in a graph.
    const KIND: &'static str;
    /// Where it runs.
    const THREAD: Thread = Thread::Own;
    /// The parameters.
    type Params: Params;

    /// What it emits; for a source whose parameters decide, the parameter and the kind for each of its values.
    fn output() -> SourceOutput;

    /// Opens it: a missing file is found here, before anything runs.
    ///
    /// # Errors
    /// What is wrong, and what mends it.
    fn open(params: Self::Params, setup: &SourceSetup<'_>) -> Result<Self>;

    /// What kind of source it turned out to be.
    fn traits(&self) -> SourceTraits;

    /// The next frame; may wait for it.
    ///
    /// # Errors
    /// When it cannot go on: the camera ends with an error row.
    fn next(&mut self) -> Result<Next>;
}

/// What a source emits.
pub enum SourceOutput {
    /// Always this.
    Always(RowKind),
    /// What the value of a parameter says.
    ByParam(&'static str, Vec<(&'static str, RowKind)>),
}
