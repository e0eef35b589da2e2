//! Models whose engine is not built: the run begins without, and goes over to it between two frames.
//!
//! The CPU twin plays the provider with engines, and the binary under test builds them, in the user's own cache.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flowrun::engine::infer::{BuildStage, EngineBuilder, EngineWanted, runtime};
use flowrun::engine::reload::{Cause, Outcome, Probation, Receipt};
use flowrun::engines::ChildBuilder;
use flowrun::prelude::*;

use crate::scene::{DEADLINE, Edited, assert_whole, stamps};

/// A model of its own for a test, since its engine lies where all look for it.
struct Model {
    folder: tempfile::TempDir,
}

impl Model {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/operators/fixtures/dynamic.onnx");
        let mut bytes = std::fs::read(fixture).expect("a fixture");
        // Field 6 of a model is a text about it, of which the last counts.
        let about = folder.path().display().to_string();
        bytes.extend([0x32, u8::try_from(about.len()).expect("a short path")]);
        bytes.extend(about.as_bytes());
        std::fs::write(folder.path().join("net.onnx"), bytes).expect("a model");
        Model { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("net.onnx")
    }

    /// Two cameras through the model, with more parameters of it, through a tracker, stamped.
    fn graph(&self, more: &str, stamp: &str) -> String {
        format!(
            r#"cameras live {{
    defaults size="160x90" fps=30
    synthetic north seed=1
    synthetic south seed=2
}}
model net "{}" provider=twin engine=background {more}
flow seen from=live {{
    detect net as=boxes
    stamp {stamp} as=stamps
    track from=boxes as=tracks
}}
write {{ jsonl "stamps.jsonl" from=seen.stamps; jsonl "tracks.jsonl" from=seen.tracks; }}
"#,
            self.path().display()
        )
    }
}

/// Builds when it is let, and takes away what it built.
#[derive(Default)]
struct Builder {
    open: AtomicBool,
    fails: AtomicBool,
    calls: AtomicUsize,
    given_up: AtomicUsize,
    built: Mutex<Vec<PathBuf>>,
}

impl EngineBuilder for Builder {
    fn build(&self, wanted: &EngineWanted, is_vain: &dyn Fn() -> bool) -> Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.built.lock().expect("no panic").push(wanted.folder.clone());
        if self.fails.load(Ordering::SeqCst) {
            return Err("there is no room for it".into());
        }
        while !self.open.load(Ordering::SeqCst) {
            if is_vain() {
                self.given_up.fetch_add(1, Ordering::SeqCst);
                return Err("nobody waits".into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        ChildBuilder::new(env!("CARGO_BIN_EXE_flowrun")).build(wanted, is_vain)
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        for folder in self.built.lock().expect("no panic").drain(..) {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Whether models can be run here.
fn has_runtime() -> bool {
    let found = runtime().is_ok();
    if !found {
        eprintln!("skipped: no ONNX Runtime");
    }
    found
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "{what} never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What computes the detector, and which others do not.
fn serving(run: &Edited) -> (String, Vec<String>) {
    let generation = run.running().context().generation();
    let place = generation.plan.nodes.iter().position(|node| node.name == "seen.boxes");
    let state = generation.node(place.expect("a detector")).compute();
    let serves = state.providers.iter().find(|rung| rung.serves);
    let serves = serves.expect("one serves").provider.to_string();
    (serves, state.refusals.iter().map(ToString::to_string).collect())
}

fn stages(run: &Edited) -> Vec<BuildStage> {
    let builds = run.running().context().builds.list();
    builds.into_iter().map(|build| build.stage).collect()
}

/// Waits for the cut that an engine makes.
fn cut(run: &Edited) -> Arc<Receipt> {
    let mut found = None;
    until("a cut for an engine", || {
        let receipts = run.editor().receipts(0);
        found = receipts
            .into_iter()
            .find(|receipt| matches!(receipt.cause, Cause::Engine(_)));
        found.is_some()
    });
    found.expect("it was found")
}

fn action_of(receipt: &Receipt, node: &str) -> (String, String) {
    let change = receipt.diff.changes.iter().find(|change| change.name == node);
    let change = change.unwrap_or_else(|| panic!("no {node} in {receipt:?}"));
    (change.action.name().to_owned(), change.why.join("; "))
}

/// All frames were answered once and in order, by stamps that remember all before.
fn assert_nothing_lost(run: &mut Edited) {
    let report = run.end();
    let rows = stamps(&run.rows("stamps.jsonl"));
    for camera in &report.cameras {
        let rows = &rows[&camera.name];
        assert_eq!(rows.len() as u64, camera.counts.admitted, "{}", camera.name);
        assert_whole(&camera.name, rows);
    }
}

#[test]
fn a_run_goes_over_to_an_engine_when_it_is_built() {
    if !has_runtime() {
        return;
    }
    let (model, builder) = (Model::new(), Arc::new(Builder::default()));
    let mut run = Edited::built_by(&model.graph("", ""), builder.clone());
    run.frames(10);
    let (serves, refused) = serving(&run);
    assert_eq!(serves, "CPU", "it begins at once");
    assert!(
        refused[0].starts_with("CPU twin: no CPU twin engine is built"),
        "{refused:?}"
    );
    assert_eq!(stages(&run), [BuildStage::Building]);
    builder.open.store(true, Ordering::SeqCst);
    let receipt = cut(&run);
    assert_eq!((receipt.lost, receipt.doubled), (0, 0), "{receipt:#?}");
    assert_eq!(
        receipt.cause,
        Cause::Engine("CPU twin engine for model `net` is ready".into())
    );
    assert_eq!(receipt.diff.from, receipt.diff.to, "the graph is the same");
    let why = "CPU twin computes it now, was CPU; CPU twin engine for model `net` is ready";
    assert_eq!(action_of(&receipt, "seen.boxes"), ("rebuilt".into(), why.into()));
    let others = receipt.diff.changes.iter().filter(|change| change.name != "seen.boxes");
    assert!(
        others.into_iter().all(|change| change.action.name() == "kept"),
        "{receipt:#?}"
    );
    until("the last word", || stages(&run) == [BuildStage::Ready]);
    run.frames(10);
    assert_eq!(serving(&run), ("CPU twin".to_owned(), Vec::new()));
    assert!(run.editor().rollback().is_err(), "nobody has edited anything");
    assert_nothing_lost(&mut run);
    let before = |row: &serde_json::Value| {
        let firsts = receipt.frames.iter();
        let first = firsts.clone().find(|first| row["camera"] == first.camera.as_str());
        row["frame"].as_u64().expect("a frame") < first.expect("each camera has come").frame
    };
    let tracks = run.rows("tracks.jsonl");
    let (old, new): (Vec<_>, Vec<_>) = tracks.iter().partition(|row| before(row));
    assert!(!old.is_empty() && !new.is_empty());
    let known: Vec<_> = old.iter().map(|row| (&row["camera"], &row["track"])).collect();
    let goes_on = new.iter().all(|row| known.contains(&(&row["camera"], &row["track"])));
    assert!(goes_on, "the weights are the same, and so are the tracks");
    assert_eq!(builder.calls.load(Ordering::SeqCst), 1);
}

#[test]
fn a_build_that_fails_is_told_once_and_the_run_goes_on() {
    if !has_runtime() {
        return;
    }
    let (model, builder) = (Model::new(), Arc::new(Builder::default()));
    builder.fails.store(true, Ordering::SeqCst);
    let mut run = Edited::built_by(&model.graph("", "version=1"), builder.clone());
    let failed = [BuildStage::Failed("there is no room for it".into())];
    until("a failure", || stages(&run) == failed);
    for version in 2..4 {
        run.edit(&model.graph("", &format!("version={version}")));
        run.frames(3);
    }
    assert_eq!(
        (stages(&run).as_slice(), serving(&run).0.as_str()),
        (&failed[..], "CPU")
    );
    assert_nothing_lost(&mut run);
    assert_eq!(builder.calls.load(Ordering::SeqCst), 1, "it is not tried again");
}

#[test]
fn an_engine_that_an_edit_makes_vain_is_given_up() {
    if !has_runtime() {
        return;
    }
    let (model, builder) = (Model::new(), Arc::new(Builder::default()));
    let mut run = Edited::built_by(&model.graph("", ""), builder.clone());
    until("a build", || builder.calls.load(Ordering::SeqCst) == 1);
    let without = model.graph("", "").replace("engine=background", "engine=ready");
    run.edit(&without);
    until("its end", || {
        builder.given_up.load(Ordering::SeqCst) == 1 && stages(&run).is_empty()
    });
    run.edit(&model.graph("", ""));
    until("another build", || builder.calls.load(Ordering::SeqCst) == 2);
    assert_nothing_lost(&mut run);
    assert_eq!(
        builder.given_up.load(Ordering::SeqCst),
        2,
        "the run's end makes it vain too"
    );
}

#[test]
fn a_rollback_after_an_engine_takes_back_the_last_edit() {
    if !has_runtime() {
        return;
    }
    let (model, builder) = (Model::new(), Arc::new(Builder::default()));
    let mut run = Edited::built_by(&model.graph("", "version=1"), builder.clone());
    run.frames(3);
    let probation = Probation {
        time: Duration::from_millis(300),
        frames: 1,
        ..Probation::default()
    };
    let edited = run.plan(&model.graph("", "version=2"));
    let Ok(Outcome::Made(edit)) = run.editor().reload(edited, None, Some(probation)) else {
        panic!("the edit is refused");
    };
    builder.open.store(true, Ordering::SeqCst);
    let receipt = cut(&run);
    assert!(receipt.version > edit.version, "the edit was there first");
    run.frames(3);
    let Ok(Outcome::Made(back)) = run.editor().rollback() else {
        panic!("the edit can be taken back");
    };
    assert_eq!((back.cause.clone(), back.lost, back.doubled), (Cause::Rollback, 0, 0));
    assert_eq!(action_of(&back, "seen.stamps").0, "rebuilt");
    assert_eq!(action_of(&back, "seen.boxes").0, "kept", "what was gained stays");
    run.frames(3);
    assert_eq!(serving(&run).0, "CPU twin");
    run.end();
}

#[test]
fn nothing_is_built_beside_a_run_in_its_medias_time() {
    if !has_runtime() {
        return;
    }
    let (model, builder) = (Model::new(), Arc::new(Builder::default()));
    let graph = model.graph("", "").replace("fps=30", "fps=30 frames=20 pace=max");
    let mut run = Edited::built_by(&graph, builder.clone());
    let [BuildStage::Left(cause)] = &stages(&run)[..] else {
        panic!("{:?}", stages(&run));
    };
    assert!(cause.contains("pace=max"), "{cause}");
    // Looking for it made its folder.
    let wanted = run.running().context().builds.list().remove(0).wanted;
    builder.built.lock().expect("no panic").push(wanted.folder);
    run.finish();
    assert_eq!(builder.calls.load(Ordering::SeqCst), 0);
}

#[test]
fn a_shadow_comes_and_goes_and_no_row_knows() {
    if !has_runtime() {
        return;
    }
    let (model, builder) = (Model::new(), Arc::new(Builder::default()));
    let plain = model.graph("", "").replace("engine=background", "");
    let shadowed = |share: &str| {
        let other = format!("model other \"{}\" provider=cpu\nflow seen", model.path().display());
        let line = format!("detect net shadow=other shadow-share={share}");
        plain.replace("flow seen", &other).replace("detect net", &line)
    };
    let mut run = Edited::built_by(&plain, builder);
    run.frames(3);
    for graph in [shadowed("1.0"), shadowed("0.5")] {
        let receipt = run.edit(&graph);
        assert_eq!(action_of(&receipt, "seen.boxes").0, "live");
        assert_eq!(action_of(&receipt, "seen.tracks").0, "kept");
        let agreed = || {
            let generation = run.running().context().generation();
            let place = generation.plan.nodes.iter().position(|node| node.name == "seen.boxes");
            generation
                .node(place.expect("a detector"))
                .compute()
                .shadow
                .filter(|shadow| shadow.compared > 5)
        };
        until("a comparison", || agreed().is_some());
        let shadow = agreed().expect("it was there");
        assert_eq!(
            (shadow.share(), shadow.score_drift, shadow.failed),
            (1.0, [0.0, 0.0], 0),
            "{shadow:?}"
        );
    }
    assert_eq!(action_of(&run.edit(&plain), "seen.boxes").0, "live");
    run.frames(3);
    assert_nothing_lost(&mut run);
}
