//! Lanes join in while work waits that all others are too busy for, within their bounds.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use flowrun::engine::operator::{BatchPolicy, Job, NodeSetup, Offload, PerCamera};
use flowrun::engine::run::Options;
use flowrun::prelude::*;

use crate::scene::{Scene, cameras, registry};

/// Longer than any machine takes to wake a thread.
const PATIENCE: Duration = Duration::from_secs(60);

/// Holds its lanes until as many as may are at work at once, then lets all go on.
struct Meet {
    lanes: usize,
    met: Arc<(Mutex<Met>, Condvar)>,
}

/// Holds its lanes until all are at work at once.
#[derive(Clone, Debug, Params)]
struct MeetParams {
    /// The most lanes.
    #[param(default = "1", min = 1)]
    lanes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Met {
    inside: usize,
    most: usize,
    gave_up: bool,
}

/// By the number of lanes: each test has its own.
static MEETINGS: Mutex<Vec<(usize, Met)>> = Mutex::new(Vec::new());

impl Offload for Meet {
    const KIND: &'static str = "meet";
    type Params = MeetParams;
    type Input = Detection;
    type Output = Detection;
    type Lane = ();

    fn new(params: PerCamera<MeetParams>, _: &NodeSetup<'_>) -> Result<Self> {
        Ok(Meet {
            lanes: params.base().lanes,
            met: Arc::default(),
        })
    }
    fn policy(&self) -> BatchPolicy {
        BatchPolicy {
            lanes: self.lanes,
            size: 1,
            deadline: Duration::from_millis(1),
        }
    }
    fn least_lanes(&self) -> usize {
        1
    }
    fn lane(&self) -> Result<()> {
        Ok(())
    }
    fn process(&self, (): &mut (), jobs: &mut [Job<Detection, Detection>]) {
        let (met, more) = &*self.met;
        let mut met = met.lock().unwrap_or_else(PoisonError::into_inner);
        met.inside += 1;
        met.most = met.most.max(met.inside);
        more.notify_all();
        let alone = |met: &mut Met| met.most < self.lanes && !met.gave_up;
        let waited = more.wait_timeout_while(met, PATIENCE, alone);
        let (mut met, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        met.gave_up |= timeout.timed_out();
        met.inside -= 1;
        let mut all = MEETINGS.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(lanes, _)| *lanes != self.lanes);
        all.push((self.lanes, *met));
        drop((all, met));
        for job in jobs {
            job.result = Some(Ok(job.input.to_vec()));
        }
    }
}

#[test]
fn lanes_join_in_while_work_waits() {
    let registry = registry().with_offload::<Meet>();
    let run = |meet: &str| {
        let scene = Scene::new();
        let graph = format!(
            "{}flow seen from=junction {{\n    truth\n{meet}}}\nwrite {{ jsonl \"seen.jsonl\" from=seen; }}\n",
            cameras(5, 40, 10)
        );
        let report = flowrun::run_text(&graph, scene.path(), &registry, &Options { workers: 2 });
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(report.failure, None);
        scene.bytes("seen.jsonl")
    };
    let wanted = run("");
    for lanes in [1, 2, 4] {
        assert!(run(&format!("    meet lanes={lanes}\n")) == wanted, "{lanes} lanes");
        let all = MEETINGS.lock().unwrap_or_else(PoisonError::into_inner);
        let met = all.iter().find(|(known, _)| *known == lanes).map(|(_, met)| *met);
        let all_at_once = Met {
            inside: 0,
            most: lanes,
            gave_up: false,
        };
        assert_eq!(met, Some(all_at_once), "{lanes} lanes");
    }
}
