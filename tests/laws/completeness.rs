//! Law 7: a result says what it is complete through, and who is missing from it.

use crate::scene::{Scene, cameras};

fn graph(stumble: &str) -> String {
    format!(
        "{}flow vehicles from=junction {{\n    truth\n    track bytetrack\n    stumble {stumble}\n}}\nquery busy from=vehicles {{\n    window \"1s\"\n    group-by camera\n    select rows=\"count(*)\"\n}}\nwrite {{ jsonl \"busy.jsonl\" from=busy; jsonl \"tracks.jsonl\" from=vehicles; }}\n",
        cameras(2, 60, 10)
    )
}

#[test]
fn the_last_row_of_a_window_is_complete_through_its_end() {
    let scene = Scene::new();
    scene.run(&graph(""), 2);
    let rows = scene.rows("busy.jsonl");
    let mut last = std::collections::BTreeMap::new();
    for row in &rows {
        let before = last.insert((row["window_start_ns"].as_i64(), row["camera"].to_string()), row);
        let through = |row: &serde_json::Value| row["complete_through_ns"].as_i64().unwrap_or(i64::MIN);
        assert!(
            before.is_none_or(|before| through(before) <= through(row)),
            "completeness never goes back"
        );
        assert_eq!(row["missing"], "");
    }
    assert_eq!(last.len(), 12, "six windows of two cameras");
    for row in last.values() {
        assert_eq!(row["complete_through_ns"], row["window_end_ns"], "{row}");
    }
}

#[test]
fn a_camera_that_fails_is_missing_from_then_on() {
    let scene = Scene::new();
    scene.run(&graph("panic-at=30 only=c1"), 1);
    let rows = scene.rows("busy.jsonl");
    let missing_from = rows
        .iter()
        .filter(|row| row["missing"] == "c1")
        .filter_map(|row| row["window_start_ns"].as_i64())
        .min();
    assert!(
        missing_from.is_some_and(|start| start <= 3_000_000_000),
        "{missing_from:?}"
    );
    let late = rows
        .iter()
        .filter(|row| row["window_start_ns"].as_i64() >= Some(4_000_000_000));
    assert!(late.clone().count() > 0 && late.clone().all(|row| row["missing"] == "c1"));
}
