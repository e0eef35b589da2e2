//! A live run that is edited, and what it wrote.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowrun::engine::operator::{BatchPolicy, Job, NodeSetup, Offload, PerCamera};
use flowrun::engine::reload::{Editor, Outcome, Receipt, ReloadError};
use flowrun::engine::run::{Options, Report, Running};
use flowrun::prelude::*;
use serde_json::Value;

use crate::stamp::{Stamp, link};

/// Longer than any machine takes.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The built-in operators and those of these tests.
pub fn registry() -> Registry {
    Registry::builtin().with::<Stamp>().with_offload::<Linger>()
}

/// Hands detections on after a while, from several threads.
pub struct Linger(LingerParams);

/// Hands detections on after a while.
#[derive(Clone, Debug, Params)]
pub struct LingerParams {
    /// How long a frame takes.
    #[param(default = "2ms")]
    time: Duration,
}

impl Offload for Linger {
    const KIND: &'static str = "linger";
    type Params = LingerParams;
    type Input = Detection;
    type Output = Detection;
    type Lane = ();

    fn new(params: PerCamera<LingerParams>, _: &NodeSetup<'_>) -> Result<Self> {
        Ok(Linger(params.base().clone()))
    }
    fn revise(&self, params: PerCamera<LingerParams>, _: &NodeSetup<'_>) -> Result<Option<Self>> {
        Ok(Some(Linger(params.base().clone())))
    }
    fn policy(&self) -> BatchPolicy {
        BatchPolicy {
            lanes: 3,
            size: 4,
            deadline: Duration::from_micros(300),
        }
    }
    fn lane(&self) -> Result<()> {
        Ok(())
    }
    fn process(&self, (): &mut (), jobs: &mut [Job<Detection, Detection>]) {
        std::thread::sleep(self.0.time);
        for job in jobs {
            job.result = Some(Ok(job.input.to_vec()));
        }
    }
}

/// A run under way in a folder of its own.
pub struct Edited {
    folder: tempfile::TempDir,
    running: Option<Running>,
}

impl Edited {
    pub fn start(graph: &str, workers: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let registry = registry();
        let (source, compiled) = flowrun::compile_text("live.kdl", graph, folder.path(), &registry)
            .unwrap_or_else(|error| panic!("{error}"));
        let prepared = flowrun::prepare_compiled(&source, compiled, &registry, &Options { workers })
            .unwrap_or_else(|error| panic!("{error}"));
        Edited {
            folder,
            running: Some(prepared.start().expect("threads")),
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("not ended yet")
    }

    pub fn editor(&self) -> &Editor {
        self.running().editor()
    }

    pub fn plan(&self, graph: &str) -> flowrun::dsl::plan::Plan {
        let (_, compiled) = flowrun::compile_text("live.kdl", graph, self.path(), &registry())
            .unwrap_or_else(|error| panic!("{error}\n{graph}"));
        compiled.plan
    }

    pub fn try_edit(&self, graph: &str) -> Result<Outcome, ReloadError> {
        self.editor().reload(self.plan(graph), None, None)
    }

    /// Makes an edit, whose receipt must say that nothing was lost or doubled.
    pub fn edit(&self, graph: &str) -> Arc<Receipt> {
        match self.try_edit(graph).unwrap_or_else(|error| panic!("{error}\n{graph}")) {
            Outcome::Made(receipt) => {
                assert_eq!((receipt.lost, receipt.doubled), (0, 0), "{receipt:#?}");
                receipt
            }
            Outcome::Unchanged => panic!("the edit changes nothing:\n{graph}"),
        }
    }

    /// Waits for something.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Report) -> bool) {
        let began = Instant::now();
        while !holds(&Report::of(self.running().context())) {
            assert!(began.elapsed() < DEADLINE, "{what} never came");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until every camera has had this many more frames answered.
    pub fn frames(&self, more: u64) {
        let before: BTreeMap<String, u64> = Report::of(self.running().context())
            .cameras
            .iter()
            .map(|camera| (camera.name.clone(), camera.counts.answered))
            .collect();
        self.until("a frame", |report| {
            let cameras = report.cameras.iter();
            cameras.into_iter().all(|camera| {
                let before = before.get(&camera.name).copied().unwrap_or(0);
                camera.counts.answered >= before + more
            })
        });
    }

    /// Ends the run in good order.
    pub fn end(&mut self) -> Report {
        let running = self.running.take().expect("ended once");
        running.stop();
        let report = running.wait();
        assert_eq!(report.failure, None);
        for camera in &report.cameras {
            let counts = camera.counts;
            assert_eq!(counts.admitted, counts.answered, "{}: {counts:?}", camera.name);
            assert_eq!((counts.doubled, counts.lost), (0, 0), "{}: {counts:?}", camera.name);
        }
        report
    }

    pub fn rows(&self, file: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a line is an object"))
            .collect()
    }
}

/// One row of the operator `stamp`.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub frame: u64,
    pub version: i64,
    pub live: i64,
    pub count: i64,
    pub chain: i64,
}

/// Rows of `stamp` by camera, in the order in which they were written.
pub fn stamps(rows: &[Value]) -> BTreeMap<String, Vec<Row>> {
    let mut cameras: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows {
        let number = |key: &str| row[key].as_i64().unwrap_or_else(|| panic!("{key} in {row}"));
        let camera = row["camera"].as_str().expect("a camera").to_owned();
        cameras.entry(camera).or_default().push(Row {
            frame: number("frame") as u64,
            version: number("version"),
            live: number("live"),
            count: number("count"),
            chain: number("chain"),
        });
    }
    cameras
}

/// Every frame from `first` on is there once and in order, versions only grow, and what is remembered goes on from row
/// to row.
pub fn assert_whole(camera: &str, rows: &[Row]) {
    for pair in rows.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert!(after.frame > before.frame, "{camera}: {before:?} {after:?}");
        assert!(after.version >= before.version, "{camera}: {before:?} {after:?}");
        assert_eq!(after.count, before.count + 1, "{camera}: {before:?} {after:?}");
        assert_eq!(
            after.chain,
            link(before.chain, after.frame),
            "{camera}: {before:?} {after:?}"
        );
    }
}
