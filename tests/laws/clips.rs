//! Clips around events: just the pictures within reach of one, each once and in order, whatever tier they waited in.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::scene::{Scene, ZONES};

const FPS: u64 = 10;
const FRAMES: u64 = 600;
const BEFORE: u64 = 20;
const AFTER: u64 = 15;

fn graph(tiers: &str) -> String {
    let cameras: String = [3, 5]
        .map(|seed| format!("    synthetic c{seed} seed={seed} frames={FRAMES} fps={FPS} size=\"320x180\" pace=max\n"))
        .concat();
    format!(
        r#"cameras junction {{
{cameras}}}
{ZONES}
flow vehicles from=junction {{
    truth-tracks as=tracks
    cross lines=across as=crossings
}}
flow evidence from=junction {{
    draw tracks=vehicles.tracks
    clip on=vehicles.crossings before="2s" after="1.5s" {tiers}
    encode h264 preset=ultrafast as=video
    write {{ mp4 "{{camera}}.mp4"; }}
}}
write {{ jsonl "crossings.jsonl" from=vehicles.crossings; }}
"#
    )
}

/// The frames of a camera that lie within reach of a crossing.
fn expected(scene: &Scene, camera: &str) -> BTreeSet<u64> {
    let crossings = scene.rows("crossings.jsonl");
    let own = crossings.iter().filter(|row| row["camera"] == camera);
    let frames = own.map(|row| row["frame"].as_u64().expect("a frame"));
    let reach = |frame: u64| frame.saturating_sub(BEFORE)..=(frame + AFTER).min(FRAMES - 1);
    frames.flat_map(reach).collect()
}

/// When the pictures of a file are shown, in tenths of a second since the first; none without ffprobe.
fn shown(file: &Path) -> Option<Vec<u64>> {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v:0",
            "-show_entries",
            "frame=pts_time",
            "-of",
            "csv=p=0",
        ])
        .arg(file)
        .output()
        .map_err(|_| eprintln!("skipped: no ffprobe"))
        .ok()?;
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("times are text");
    let times = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.trim_end_matches(',').parse::<f64>().expect("a time"));
    let times: Vec<f64> = times.collect();
    Some(
        times
            .iter()
            .map(|time| ((time - times[0]) * FPS as f64).round() as u64)
            .collect(),
    )
}

#[test]
fn clips_hold_the_pictures_around_events_and_no_other() {
    let scene = Scene::new();
    // Most pictures wait on disk.
    let report = scene.run(&graph("catch-up=100 cold=\"1MiB\" archive=\"64MiB\""), 2);
    let mut all = 0;
    for camera in ["c3", "c5"] {
        let frames = expected(&scene, camera);
        let begun: Vec<u64> = frames
            .iter()
            .map(|frame| frame - frames.first().expect("one"))
            .collect();
        assert!(
            (50..FRAMES as usize - 50).contains(&frames.len()),
            "{camera}: {} frames",
            frames.len()
        );
        if let Some(shown) = shown(&scene.path().join(format!("{camera}.mp4"))) {
            assert_eq!(shown, begun, "{camera}");
        }
        all += frames.len() as u64;
    }
    for (name, rows) in [("evidence.clip", all), ("evidence.video", all)] {
        let node = report.nodes.iter().find(|node| node.name == name).expect(name);
        assert_eq!((node.rows, node.errors), (rows, 0), "{name}");
    }
    for camera in &report.cameras {
        assert_eq!((camera.counts.answered, camera.counts.doubled), (FRAMES, 0));
    }
    let left = std::fs::read_dir(scene.path()).expect("a folder").flatten();
    let names: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(
        names.iter().all(|name| !name.to_string_lossy().starts_with('.')),
        "{names:?}"
    );
}

#[test]
fn clips_are_the_same_bytes_in_memory_and_on_disk_on_any_number_of_workers() {
    let record = |tiers: &str, workers: usize| {
        let scene = Scene::new();
        scene.run(&graph(tiers), workers);
        ["c3.mp4", "c5.mp4"].map(|file| scene.bytes(file))
    };
    let in_memory = record("", 1);
    assert!(in_memory.iter().all(|file| file.len() > 10_000));
    for (tiers, workers) in [("cold=\"1MiB\" archive=\"64MiB\" lanes=1", 2), ("lanes=3", 3)] {
        assert!(record(tiers, workers) == in_memory, "{tiers} at {workers} workers");
    }
}

#[test]
fn pictures_for_which_there_is_no_room_are_errors_and_cost_nothing_else() {
    let scene = Scene::new();
    let report = scene.run(&graph("cold=\"200kB\""), 1);
    let node = |name: &str| report.nodes.iter().find(|node| node.name == name).expect("a node");
    assert!(node("evidence.clip").errors > 0);
    assert_eq!(node("evidence.video").errors, 0);
    assert!(node("evidence.video").rows > 0);
    assert!(report.cameras.iter().all(|camera| camera.counts.answered == FRAMES));
}

#[test]
fn what_a_clip_cannot_do_is_refused_before_the_run() {
    let refused = |flow: &str| {
        let scene = Scene::new();
        let graph = format!(
            "cameras junction {{ synthetic c1 frames=10 pace=max; }}\nflow seen from=junction {{ truth; }}\n{flow}\nwrite {{ jsonl \"rows.jsonl\" from=seen; }}\n"
        );
        let registry = crate::scene::registry();
        let run = flowrun::run_text(&graph, scene.path(), &registry, &Default::default());
        run.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let said = refused("flow kept from=junction { clip on=\"seen.truth.errors\"; encode h264; }");
    assert!(said.contains("rows that belong to frames"), "{said}");
    let said = refused("flow kept from=junction { clip on=seen align=latest; encode h264; }");
    assert!(said.contains("align=latest"), "{said}");
    let said = refused("flow kept from=junction { clip on=seen; truth; }");
    assert!(said.contains("own frame"), "{said}");
}
