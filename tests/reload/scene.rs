//! A live run that is edited, and what it wrote.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowrun::engine::admission::CameraCounts;
use flowrun::engine::infer::EngineBuilder;
use flowrun::engine::operator::{BatchPolicy, Job, NodeSetup, Offload, PerCamera};
use flowrun::engine::reload::{Editor, Outcome, Receipt, ReloadError};
use flowrun::engine::run::{Options, PreparedRun, Report, Running};
use flowrun::prelude::*;
use flowrun::serve::{GraphText, Limits, Server, Settings};
use serde_json::Value;

use crate::pair::Pair;
use crate::stamp::{Stamp, link};

/// Longer than any machine takes.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The built-in operators and those of these tests.
pub fn registry() -> Registry {
    Registry::builtin()
        .with::<Stamp>()
        .with::<Pair>()
        .with_offload::<Linger>()
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
    /// A run with a server, which lets anybody on this machine look.
    pub fn served(graph: &str, workers: usize) -> (Self, Server) {
        let settings = Settings {
            listen: "127.0.0.1:0".parse().expect("an address"),
            token: None,
            allow_host: Vec::new(),
            limits: Limits::default(),
            graph: GraphText::of("live.kdl", graph),
        };
        let server = Server::start(settings).unwrap_or_else(|error| panic!("{error}"));
        let run = Edited::prepared(graph, workers, |prepared| server.attach(prepared.context()));
        (run, server)
    }

    pub fn start(graph: &str, workers: usize) -> Self {
        Edited::prepared(graph, workers, |_| {})
    }

    /// A run whose engines somebody builds.
    pub fn built_by(graph: &str, builder: Arc<dyn EngineBuilder>) -> Self {
        Edited::prepared(graph, 1, |prepared| prepared.context().builds.build_by(builder))
    }

    fn prepared(graph: &str, workers: usize, look: impl FnOnce(&PreparedRun)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let registry = registry();
        let (source, compiled) = flowrun::compile_text("live.kdl", graph, folder.path(), &registry)
            .unwrap_or_else(|error| panic!("{error}"));
        let prepared = flowrun::prepare_compiled(&source, compiled, &registry, &Options { workers })
            .unwrap_or_else(|error| panic!("{error}"));
        look(&prepared);
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
        self.running().stop();
        self.finish()
    }

    /// Waits until its cameras have ended.
    pub fn finish(&mut self) -> Report {
        let running = self.running.take().expect("ended once");
        let report = running.wait();
        assert_eq!(report.failure, None);
        for camera in &report.cameras {
            let counts = camera.counts;
            assert_eq!(counts.admitted, counts.answered, "{}: {counts:?}", camera.name);
            assert_eq!((counts.doubled, counts.lost), (0, 0), "{}: {counts:?}", camera.name);
        }
        report
    }

    /// What has become of a camera's frames so far.
    pub fn counts(&self, camera: &str) -> CameraCounts {
        let report = Report::of(self.running().context());
        let found = report.cameras.iter().find(|known| known.name == camera);
        found.unwrap_or_else(|| panic!("no camera `{camera}`")).counts
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

/// A hash of each camera's rows by frame, times left out: a live run's begin at its own.
pub fn by_frame(path: &Path) -> BTreeMap<(String, u64), u64> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut hashes: BTreeMap<(String, u64), DefaultHasher> = BTreeMap::new();
    for line in BufReader::new(file).lines() {
        let line = line.expect("text");
        let mut row: Value = serde_json::from_str(&line).expect("an object");
        let object = row.as_object_mut().expect("an object");
        object.remove("time_ns");
        let camera = object["camera"].as_str().expect("a camera").to_owned();
        let frame = object["frame"].as_u64().expect("a frame");
        row.to_string().hash(hashes.entry((camera, frame)).or_default());
    }
    hashes.into_iter().map(|(frame, hash)| (frame, hash.finish())).collect()
}

/// Rows of a run are those of another that nobody edited, frame by frame, as far as the first went; gives how many frames.
pub fn assert_same_rows(
    camera: &str,
    edited: &BTreeMap<(String, u64), u64>,
    never: &BTreeMap<(String, u64), u64>,
) -> usize {
    let of = |rows: &BTreeMap<(String, u64), u64>| -> Vec<(u64, u64)> {
        let rows = rows.range((camera.to_owned(), 0)..=(camera.to_owned(), u64::MAX));
        rows.map(|((_, frame), hash)| (*frame, *hash)).collect()
    };
    let (edited, mut never) = (of(edited), of(never));
    let last = edited.last().map_or(0, |(frame, _)| *frame);
    assert!(
        never.iter().any(|(frame, _)| *frame > last),
        "{camera}: the other run is longer"
    );
    never.retain(|(frame, _)| *frame <= last);
    assert_eq!(edited, never, "{camera}: rows by frame");
    edited.len()
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
