//! Law 3 on live cameras: what comes too fast is shed at the door and counted, and what was let in is
//! answered to the last frame although the run is told to stop.

use std::time::Duration;

use flowrun::engine::run::{Options, Report};

use crate::scene::{Scene, registry};

fn run_for(graph: &str, workers: usize, enough: impl Fn(&Report) -> bool) -> Report {
    let scene = Scene::new();
    let (source, compiled) =
        flowrun::compile_text("live.kdl", graph, scene.path(), &registry()).unwrap_or_else(|error| panic!("{error}"));
    let prepared = flowrun::prepare_compiled(&source, compiled, &registry(), &Options { workers })
        .unwrap_or_else(|error| panic!("{error}"));
    let running = prepared.start().expect("threads");
    while !enough(&Report::of(running.context())) {
        assert!(!running.is_finished(), "a live run does not end by itself");
        std::thread::sleep(Duration::from_millis(10));
    }
    running.stop();
    let report = running.wait();
    assert_eq!(report.failure, None);
    let text = String::from_utf8(scene.bytes("tracks.jsonl")).expect("UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "the file ends on a whole line");
    report
}

fn graph(cameras: &str, wander: &str) -> String {
    format!(
        "cameras live {{\n{cameras}}}\nflow seen from=live {{\n    truth\n    wander {wander}\n    track\n}}\nwrite {{ jsonl \"tracks.jsonl\" from=seen; }}\n"
    )
}

#[test]
fn a_camera_that_is_too_fast_sheds_and_loses_nothing_it_let_in() {
    let graph = graph(
        "    synthetic fast fps=200 in-flight=3\n",
        "lanes=1 size=1 longest-us=60000",
    );
    let report = run_for(&graph, 1, |report| {
        report.cameras[0].counts.shed() >= 20 && report.cameras[0].counts.answered >= 10
    });
    let counts = report.cameras[0].counts;
    assert!(counts.shed_in_flight >= 20, "{counts:?}");
    assert_eq!((counts.admitted, counts.doubled), (counts.answered, 0), "{counts:?}");
}

#[test]
fn a_camera_that_waits_too_long_sheds_long_before_it_has_all_that_it_may_have_in_flight() {
    let graph = graph(
        "    synthetic fast fps=200 in-flight=1024 max-delay=\"20ms\"\n",
        "lanes=1 size=1 longest-us=60000",
    );
    let report = run_for(&graph, 1, |report| {
        report.cameras[0].counts.shed() >= 20 && report.cameras[0].counts.answered >= 10
    });
    let counts = report.cameras[0].counts;
    assert!(counts.shed_delay >= 20 && counts.shed_in_flight == 0, "{counts:?}");
    assert_eq!((counts.admitted, counts.doubled), (counts.answered, 0), "{counts:?}");
}

#[test]
fn cameras_at_their_own_rates_are_all_answered() {
    let graph = graph(
        "    synthetic slow fps=2\n    synthetic quick fps=50\n    synthetic middle fps=10\n",
        "lanes=2 longest-us=500",
    );
    let report = run_for(&graph, 2, |report| {
        report.cameras.iter().all(|camera| camera.counts.answered >= 3)
    });
    for camera in &report.cameras {
        assert_eq!(
            (camera.counts.admitted, camera.counts.doubled),
            (camera.counts.answered, 0),
            "{}",
            camera.name
        );
    }
}

#[test]
fn a_poisoned_camera_delays_nobody() {
    let cameras = "    synthetic dead fps=20\n    synthetic well fps=20\n";
    let graph = format!(
        "cameras live {{\n{cameras}}}\nflow seen from=live {{\n    truth\n    track\n    stumble panic-at=2 only=dead\n}}\nwrite {{ jsonl \"tracks.jsonl\" from=seen; }}\n"
    );
    let report = run_for(&graph, 2, |report| {
        report.cameras.iter().all(|camera| camera.counts.answered >= 10)
    });
    let errors = report.nodes.iter().map(|node| node.errors).max().unwrap_or(0);
    assert!(errors >= 8, "the dead camera is answered with errors: {errors}");
    for camera in &report.cameras {
        assert_eq!(
            (camera.counts.admitted, camera.counts.shed()),
            (camera.counts.answered, 0),
            "{}",
            camera.name
        );
    }
}
