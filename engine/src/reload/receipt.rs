//! What an edit did, for those who made it and those who come to look.

use flowrun_dsl::plan::PlanDiff;
use serde::Serialize;

use crate::time::Tick;

/// Why a graph was edited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Somebody edited it.
    Edit,
    /// Somebody took the last edit back.
    Rollback,
    /// The last edit was on probation, and this went wrong.
    Automatic(String),
    /// Nobody edited it: an engine that a model lacked is there now, which this says.
    Engine(String),
}

/// A camera's first frame of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FirstFrame {
    /// Its name.
    pub camera: String,
    /// The frame's index in its source.
    pub frame: u64,
}

/// Frames that a version which is at work again never saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// The camera's name.
    pub camera: String,
    /// The first of them.
    pub from: u64,
    /// The first that it sees again.
    pub until: u64,
}

/// An edit that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// The version of the graph that began: counts from 1, which is the one that the run began with.
    pub version: u64,
    /// Why.
    pub cause: Cause,
    /// When the cut was made: nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// The tick from which on frames go through the new version.
    pub tick: Tick,
    /// Of each camera that has sent one since, the first such frame.
    pub frames: Vec<FirstFrame>,
    /// What became of every part: hashes of both plans, and each part with action and cause.
    #[serde(flatten)]
    pub diff: PlanDiff,
    /// After a rollback: what went through the version in between alone.
    pub unseen: Vec<Unseen>,
    /// Microseconds to make everything ready beside the version at work.
    pub prepare_us: u64,
    /// Microseconds for which frames were held back to agree on the tick.
    pub hold_us: u64,
    /// Microseconds from then until the old version had answered its last frame.
    pub drain_us: u64,
    /// Microseconds from the request to the cut.
    pub applied_us: u64,
    /// The longest pause between two answers of one camera at one end of the graph, from the cut to the first answers after
    /// it, in microseconds.
    pub longest_gap_us: u64,
    /// Frames that had been admitted by then.
    pub admitted: u64,
    /// Those that had been answered.
    pub answered: u64,
    /// Frames that an end of the graph never answered: nought.
    pub lost: u64,
    /// Answers that came twice or out of order: nought.
    pub doubled: u64,
}
