//! `clip`: the pictures around what happened, those before it included.
//!
//! Pictures are kept back until it is known whether something happens within `before=` of them. They lie in the engine's
//! [tiers](flowrun_engine::device::Tiers), copied, so that decoders get theirs back; all copies and all waiting for disks
//! happen on the node's lanes. `camera` decides which pictures go out.

mod camera;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flowrun_dsl::params::{Bytes, Params};
use flowrun_dsl::plan::{Align, Origin};
use flowrun_dsl::port::{PortRows, Role, RowKind};
use flowrun_engine::batch::{Batch, Input, RowType};
use flowrun_engine::device::{TierBudgets, Tiers};
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::Frame;
use flowrun_engine::metrics::ComputeState;
use flowrun_engine::operator::{BatchPolicy, Job, LaneChoice, NodeSetup, Offload, PerCamera};
use flowrun_engine::rows::{CameraId, Rows};

use camera::CameraClip;

/// Passes on the pictures around events, those before them included.
///
/// Every row of `on` is an event at the event time of its frame: a line passed, a stay, a track. A picture goes out if
/// an event lies at most `before` after it or `after` before it, once and in order, with the event time at which it was
/// taken; so what reads them (`draw`, `encode`) gets the pictures of a clip, and nothing between clips. It goes out as
/// soon as the event is known, several with one frame while a clip catches up with its camera. What waits to go out
/// when a camera ends is left out, and the log says so: `catch-up` says how much that may be.
///
/// Pictures are kept as copies in tiers, all cameras' together, the newest in the quickest: `hot` is a device's memory,
/// `warm` pinned memory, `cold` pageable memory, `archive` a nameless file on disk. Those of a camera that is decoded by
/// the processor begin at `cold`. What no tier has room for is forgotten, counted, and an error where a clip needs it.
/// Clips are encoded anew: a camera's own packets cannot begin anywhere. An edit of anything but `before`, `after` and
/// `catch-up` begins anew, without what was kept. Draw, detect and track before `clip`, since rows belong to their own
/// frame and not to the picture that goes out with it.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct ClipParams {
    /// How long before an event a clip begins.
    #[param(live, default = "5s", min = 0, max = 3600)]
    pub before: Duration,
    /// How long after an event a clip ends; events within it prolong it.
    #[param(live, default = "10s", min = 0, max = 86_400)]
    pub after: Duration,
    /// The most pictures that go out with one frame. Many let a clip catch up at once, also at the end of a recording; few
    /// leave a live camera's encoder time for the newest.
    #[param(live, default = "4", min = 1, max = 10_000)]
    pub catch_up: usize,
    /// The most memory of a device.
    #[param(default = "256MiB")]
    pub hot: Bytes,
    /// The most pinned memory.
    #[param(default = "256MiB")]
    pub warm: Bytes,
    /// The most pageable memory.
    #[param(default = "512MiB")]
    pub cold: Bytes,
    /// The most of a disk; nought uses none.
    #[param(default = "0MiB")]
    pub archive: Bytes,
    /// The folder of the archive; the graph's own where it is not given.
    pub folder: Option<PathBuf>,
    /// Threads that copy pictures, each those of some cameras.
    #[param(default = "2", min = 1, max = 64)]
    pub lanes: usize,
}

impl ClipParams {
    fn budgets(&self, setup: &NodeSetup<'_>) -> TierBudgets {
        let bytes = |bytes: Bytes| usize::try_from(bytes.0).unwrap_or(usize::MAX);
        TierBudgets {
            hot: bytes(self.hot),
            warm: bytes(self.warm),
            cold: bytes(self.cold),
            archive: self.archive.0,
            folder: match &self.folder {
                Some(folder) => setup.path(folder),
                None => setup.plan.root.clone(),
            },
        }
    }

    /// What holds for all cameras together.
    fn shared(&self) -> ([Bytes; 4], &Option<PathBuf>, usize) {
        ([self.hot, self.warm, self.cold, self.archive], &self.folder, self.lanes)
    }
}

/// What `clip` reads: pictures, and rows of any kind, of which there being one is all that counts.
pub struct Watched;

impl Input for Watched {
    type Held = (Rows<Frame>, bool);
    type View<'a> = (&'a [Frame], bool);

    fn ports() -> Vec<PortRows> {
        vec![PortRows::Only(RowKind::Frame), PortRows::AnyRows]
    }
    fn hold(batches: &[Batch]) -> Option<Self::Held> {
        Some((Frame::from_batch(batches.first()?)?, !batches.get(1)?.is_empty()))
    }
    fn view((frames, happened): &Self::Held) -> Self::View<'_> {
        (frames, *happened)
    }
}

/// The operator `clip`.
pub struct Clip {
    params: PerCamera<ClipParams>,
    tiers: Arc<Tiers>,
    cameras: Vec<CameraId>,
    /// Counts the versions of the node: lanes let go of cameras that a newer one no longer has.
    version: u64,
}

/// What one thread keeps: the pictures of its cameras.
#[derive(Default)]
pub struct ClipLane {
    cameras: HashMap<CameraId, CameraClip>,
    version: u64,
}

fn check_shared(params: &PerCamera<ClipParams>) -> Result<()> {
    let base = params.base().shared();
    if params.all().all(|other| other.shared() == base) {
        return Ok(());
    }
    Err(
        OperatorError::new("`hot`, `warm`, `cold`, `archive`, `folder` and `lanes` hold for all cameras")
            .help("take them out of `for`, or give those cameras a flow of their own"),
    )
}

/// Operators that look at one picture an answer and say where things are on it.
const LOOKERS: [&str; 3] = ["detect", "truth", "truth-tracks"];

/// What the language lets through and would not do what it seems to.
fn check_place(setup: &NodeSetup<'_>) -> Result<()> {
    for input in setup.node.inputs.iter().skip(1) {
        let answers_frames = match input.origin {
            Origin::Group(_) => true,
            Origin::Node(node) => setup
                .plan
                .nodes
                .get(node)
                .is_some_and(|node| node.role == Role::Operator),
            Origin::ErrorsOf(_) | Origin::AllErrors => false,
        };
        if !answers_frames {
            return Err(OperatorError::new(
                "`on` needs rows that belong to frames: a query and an error port have others",
            )
            .help("name an operator of a flow: on=vehicles.crossings"));
        }
        if input.align == Align::Latest {
            return Err(
                OperatorError::new("with `align=latest` an event would last until the next answer comes")
                    .help("leave `align=` out: each picture waits for its own rows"),
            );
        }
    }
    let own = setup.plan.nodes.iter().position(|node| node.name == setup.node.name);
    let reads = |node: &&flowrun_dsl::plan::NodePlan| {
        let mut inputs = node.inputs.iter();
        inputs.any(|input| matches!(input.origin, Origin::Node(origin) if Some(origin) == own))
    };
    let mut readers = setup.plan.nodes.iter().filter(reads);
    match readers.find(|reader| LOOKERS.contains(&reader.kind.as_str())) {
        Some(reader) => {
            let cause = format!(
                "`{}` says what is on its own frame's picture, and those of a clip are of other frames",
                reader.kind
            );
            Err(OperatorError::new(cause).help(format!("put `{}` before `clip`", reader.kind)))
        }
        None => Ok(()),
    }
}

impl Offload for Clip {
    const KIND: &'static str = "clip";
    const PORTS: &'static [&'static str] = &["frames", "on"];
    type Params = ClipParams;
    type Input = Watched;
    type Output = Frame;
    type Lane = ClipLane;
    const LANE: LaneChoice = LaneChoice::ByCamera;

    fn new(params: PerCamera<ClipParams>, setup: &NodeSetup<'_>) -> Result<Self> {
        check_shared(&params)?;
        check_place(setup)?;
        Ok(Clip {
            tiers: Tiers::new(&params.base().budgets(setup))?,
            cameras: setup.cameras().collect(),
            params,
            version: 0,
        })
    }

    fn revise(&self, params: PerCamera<ClipParams>, setup: &NodeSetup<'_>) -> Result<Option<Self>> {
        check_shared(&params)?;
        check_place(setup)?;
        if params.base().shared() != self.params.base().shared() {
            return Ok(None);
        }
        Ok(Some(Clip {
            tiers: self.tiers.clone(),
            cameras: setup.cameras().collect(),
            params,
            version: self.version + 1,
        }))
    }

    fn policy(&self) -> BatchPolicy {
        BatchPolicy {
            lanes: self.params.base().lanes,
            // Each picture is answered as soon as it is kept.
            size: 1,
            deadline: Duration::ZERO,
        }
    }

    fn compute(&self) -> ComputeState {
        ComputeState {
            tiers: Some(self.tiers.state()),
            ..ComputeState::default()
        }
    }

    fn lane(&self) -> Result<ClipLane> {
        Ok(ClipLane::default())
    }

    fn process(&self, lane: &mut ClipLane, jobs: &mut [Job<Watched, Frame>]) {
        if lane.version < self.version {
            lane.version = self.version;
            lane.cameras.retain(|camera, _| self.cameras.contains(camera));
        }
        for job in jobs {
            let camera = lane.cameras.entry(job.at.camera).or_default();
            let params = self.params.get(job.at.camera);
            let (frames, happened) = Watched::view(&job.input);
            // A deferred picture is rendered here, by others' code: its panic must not cost a lane with what it keeps.
            let answer = catch_unwind(AssertUnwindSafe(|| {
                camera.answer(params, &self.tiers, &job.at, frames, happened)
            }));
            job.result = Some(answer.unwrap_or_else(|_| Err("the picture's pixels cannot be read".into())));
        }
    }
}
