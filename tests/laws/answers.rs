//! Laws 2 and 5: every admitted frame is answered exactly once, in order, whatever fails.

use flowrun::engine::run::{Options, Report};

use crate::scene::{Scene, cameras, registry};

/// No frame is lost, doubled or shed.
fn whole(report: &Report, frames: u64) {
    for camera in &report.cameras {
        let counts = camera.counts;
        assert_eq!(
            (counts.admitted, counts.answered, counts.doubled, counts.shed()),
            (frames, frames, 0, 0),
            "{}",
            camera.name
        );
    }
}

fn node<'a>(report: &'a Report, name: &str) -> &'a flowrun::engine::run::NodeReport {
    report
        .nodes
        .iter()
        .find(|node| node.name == name)
        .expect("the node is there")
}

fn chain(wander: &str, stumble: &str) -> String {
    format!(
        "{}flow vehicles from=junction {{\n    truth\n    wander {wander}\n    track bytetrack\n    stumble {stumble}\n}}\nwrite {{ jsonl \"tracks.jsonl\" from=vehicles; jsonl \"errors.jsonl\" from=\"*.errors\"; }}\n",
        cameras(4, 120, 20)
    )
}

#[test]
fn failing_frames_are_answered_with_error_rows() {
    let scene = Scene::new();
    let report = scene.run(&chain("fail-one-in=7", "fail-one-in=5"), 2);
    whole(&report, 120);
    let (lanes, folds) = (
        node(&report, "vehicles.wander").errors,
        node(&report, "vehicles.stumble").errors,
    );
    assert!(lanes > 20 && folds > 40, "{lanes} and {folds} failures were injected");
    let errors = scene.rows("errors.jsonl");
    assert_eq!(errors.len() as u64, lanes + folds);
    assert!(
        errors
            .iter()
            .all(|row| row["cause"] == "fails on purpose" && row["camera"].is_string() && row["frame"].is_u64())
    );
    assert_eq!(node(&report, "vehicles.stumble").answers, 480);
}

#[test]
fn a_panic_in_a_lane_fails_its_batch_alone() {
    let scene = Scene::new();
    let report = scene.run(&chain("panic-one-in=40 size=4 lanes=3", ""), 2);
    whole(&report, 120);
    let failed = node(&report, "vehicles.wander").errors;
    assert!((3..240).contains(&failed), "{failed} frames failed");
    assert!(scene.rows("errors.jsonl").iter().any(|row| {
        row["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("stumbles on purpose"))
    }));
}

#[test]
fn a_panic_poisons_one_camera() {
    let scene = Scene::new();
    let report = scene.run(&chain("", "panic-at=50 only=c2"), 2);
    whole(&report, 120);
    assert_eq!(
        node(&report, "vehicles.stumble").errors,
        70,
        "frames 50 to 119 of one camera"
    );
    let frames_of = |name: &str| {
        scene
            .rows("tracks.jsonl")
            .iter()
            .filter(|row| row["camera"] == name)
            .filter_map(|row| row["frame"].as_u64())
            .max()
    };
    assert!(frames_of("c2") < Some(50));
    assert!(["c0", "c1", "c3"].iter().all(|name| frames_of(name) > Some(100)));
}

#[test]
fn after_a_panic_restart_starts_from_nothing() {
    let report = Scene::new().run(&chain("", "panic-at=50 on-error=restart"), 2);
    whole(&report, 120);
    assert_eq!(node(&report, "vehicles.stumble").errors, 4, "one frame of each camera");
}

#[test]
fn stop_ends_the_run_and_leaves_no_finished_file() {
    let scene = Scene::new();
    let failure = flowrun::run_text(
        &chain("", "panic-at=50 only=c1 on-error=stop"),
        scene.path(),
        &registry(),
        &Options { workers: 2 },
    );
    let failure = failure.expect_err("the run fails").to_string();
    assert!(
        failure.contains("vehicles.stumble") && failure.contains("c1") && failure.contains("frame 50"),
        "{failure}"
    );
    assert!(!scene.path().join("tracks.jsonl").exists());
}

#[test]
fn a_stall_holds_nothing_back_for_good() {
    let report = Scene::new().run(&chain("longest-us=40000 lanes=2 size=1", ""), 4);
    whole(&report, 120);
}

#[test]
fn a_file_of_nothing_but_faults_is_read_to_its_end_in_rows() {
    let scene = Scene::new();
    std::fs::write(scene.path().join("noise.jsonl"), "no object\n".repeat(20_000)).expect("written");
    let graph = "cameras broken { rows noise \"noise.jsonl\" type=detection; }\nflow seen from=broken { track; }\nwrite { jsonl \"errors.jsonl\" from=\"*.errors\"; jsonl \"tracks.jsonl\" from=seen; }\n";
    let report = scene.run(graph, 2);
    assert_eq!(report.cameras[0].counts.faults, 20_000);
    assert_eq!(scene.rows("errors.jsonl").len(), 20_000);
}
