//! Law 6: whatever the number of workers, the interleaving, and the order in which other threads
//! answer, what is written is the same to the byte.

use crate::scene::{Scene, ZONES, cameras};

fn graph(count: usize, frames: usize, seed: u64) -> String {
    format!(
        r#"{}{ZONES}
flow vehicles from=junction {{
    truth min-visible=0.05
    wander seed={seed} longest-us=900 lanes=4 size=3
    track bytetrack as=tracks
    visit zones=box as=visits
    cross lines="across,upright" from=tracks as=crossings
}}
query busy from=vehicles.tracks {{
    window "2s" every="1s"
    group-by camera class
    select vehicles="count(distinct track)" mean="avg(score)" rows="count(*)"
}}
query passed from=vehicles.crossings {{
    window "5s"
    group-by line direction
    select count="count(*)"
}}
write {{
    jsonl "tracks.jsonl" from=vehicles.tracks
    jsonl "visits.jsonl" from=vehicles.visits
    jsonl "crossings.jsonl" from=vehicles.crossings
    jsonl "busy.jsonl" from=busy
    jsonl "passed.jsonl" from=passed
    jsonl "errors.jsonl" from="*.errors"
}}
"#,
        cameras(count, frames, 10)
    )
}

const FILES: [&str; 6] = [
    "tracks.jsonl",
    "visits.jsonl",
    "crossings.jsonl",
    "busy.jsonl",
    "passed.jsonl",
    "errors.jsonl",
];

#[test]
fn any_worker_count_and_result_order_write_the_same_bytes() {
    let reference = Scene::new();
    reference.run(&graph(6, 150, 1), 1);
    for file in &FILES[..5] {
        assert!(!reference.bytes(file).is_empty(), "{file} has rows to compare");
    }
    for (workers, seed) in [(1, 2), (2, 3), (4, 4), (2, 5), (4, 6)] {
        let other = Scene::new();
        other.run(&graph(6, 150, seed), workers);
        for file in FILES {
            assert!(
                other.bytes(file) == reference.bytes(file),
                "{file} differs with {workers} workers, seed {seed}"
            );
        }
    }
}

#[test]
fn rows_come_in_the_order_of_tick_camera_frame() {
    let scene = Scene::new();
    scene.run(&graph(5, 60, 7), 2);
    let place = |row: &serde_json::Value| {
        // Ticks are 5 ms of media time in an offline run; cameras are named in their order.
        let tick = row["time_ns"].as_i64().expect("a time") / 5_000_000;
        (
            tick,
            row["camera"].as_str().expect("a camera").to_owned(),
            row["frame"].as_u64().expect("a frame"),
        )
    };
    let places: Vec<_> = scene.rows("tracks.jsonl").iter().map(place).collect();
    assert!(places.len() > 500 && places.is_sorted());
}

#[test]
fn recorded_rows_give_what_the_cameras_gave() {
    let first = Scene::new();
    let record = |scene: &Scene, cameras: &str, detect: &str| {
        let graph = format!(
            "{cameras}flow vehicles from=junction {{\n{detect}    track bytetrack as=tracks\n}}\nwrite {{ jsonl \"tracks.jsonl\" from=vehicles.tracks; }}\n"
        );
        scene.run(&graph, 2);
    };
    let live = cameras(3, 80, 10);
    let graph = format!(
        "{live}flow seen from=junction {{ truth min-visible=0.05; }}\nwrite {{ jsonl \"detections.jsonl\" from=seen; }}\n"
    );
    first.run(&graph, 1);
    record(&first, &live, "    truth min-visible=0.05\n");
    let second = Scene::new();
    std::fs::copy(
        first.path().join("detections.jsonl"),
        second.path().join("detections.jsonl"),
    )
    .expect("copied");
    let row_camera = |index: usize| {
        format!("    rows c{index} \"detections.jsonl\" type=detection fps=10 frames=80 size=\"640x360\"\n")
    };
    let recorded = format!(
        "cameras junction {{\n{}}}\n",
        (0..3).map(row_camera).collect::<String>()
    );
    record(&second, &recorded, "");
    assert!(!first.bytes("tracks.jsonl").is_empty());
    assert!(
        first.bytes("tracks.jsonl") == second.bytes("tracks.jsonl"),
        "tracks of recorded detections differ"
    );
}
