//! Law 8: counts equal a naive recomputation from the rows, whatever order rows come in.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::scene::Scene;

/// One recorded detection.
#[derive(Clone, Debug)]
struct Seen {
    camera: usize,
    frame: u64,
    late_ms: i64,
    class: &'static str,
    track: u64,
}

fn seen() -> impl Strategy<Value = Vec<Seen>> {
    let row = (
        0..3usize,
        0..60u64,
        prop_oneof![3 => Just(0), 1 => 0..4_000i64],
        prop::sample::select(vec!["car", "bus", "person"]),
        1..9u64,
    );
    prop::collection::vec(
        row.prop_map(|(camera, frame, late_ms, class, track)| Seen {
            camera,
            frame,
            late_ms,
            class,
            track,
        }),
        1..120,
    )
}

/// Nanoseconds of a row: all rows of a frame have the frame's time, which may lie in the past.
fn times(rows: &[Seen]) -> BTreeMap<(usize, u64), i64> {
    let mut times = BTreeMap::new();
    for row in rows {
        let at = row.frame as i64 * 100_000_000 - row.late_ms * 1_000_000;
        times.entry((row.camera, row.frame)).or_insert(at.max(0));
    }
    times
}

/// By (window, camera, class): rows and distinct tracks.
fn naive(rows: &[Seen], size: i64, every: i64) -> BTreeMap<(i64, String, String), (i64, i64)> {
    let times = times(rows);
    let mut groups: BTreeMap<(i64, String, String), (i64, BTreeSet<u64>)> = BTreeMap::new();
    for row in rows {
        let at = times[&(row.camera, row.frame)];
        let mut start = at.div_euclid(every) * every;
        while start > at - size {
            let group = groups
                .entry((start, format!("c{}", row.camera), row.class.to_owned()))
                .or_default();
            group.0 += 1;
            group.1.insert(row.track);
            start -= every;
        }
    }
    groups
        .into_iter()
        .map(|(key, (count, tracks))| (key, (count, tracks.len() as i64)))
        .collect()
}

/// The last row of each window and group.
fn last(rows: &[Value]) -> BTreeMap<(i64, String, String), (i64, i64)> {
    let mut last = BTreeMap::new();
    let mut revisions = BTreeMap::new();
    for row in rows {
        let text = |name: &str| row[name].as_str().expect("text").to_owned();
        let number = |name: &str| row[name].as_i64().expect("a number");
        let key = (number("window_start_ns"), text("camera"), text("class"));
        let revision = number("revision");
        assert_eq!(
            revisions.insert(key.clone(), revision),
            (revision > 0).then(|| revision - 1),
            "revisions count up"
        );
        last.insert(key, (number("rows"), number("tracks")));
    }
    last
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn corrected_counts_equal_a_recomputation(mut rows in seen(), every in prop::sample::select(vec![500i64, 1000]), panes in 1..4i64, workers in 1..4usize) {
        rows.sort_by_key(|row| (row.camera, row.frame));
        let scene = Scene::new();
        let times = times(&rows);
        let line = |row: &Seen| {
            let time = times[&(row.camera, row.frame)];
            json!({"camera": format!("c{}", row.camera), "frame": row.frame, "time_ns": time, "track": row.track, "class": row.class, "score": 0.9, "box": [1, 2, 3, 4]}).to_string() + "\n"
        };
        std::fs::write(scene.path().join("rows.jsonl"), rows.iter().map(line).collect::<String>()).expect("written");
        let cameras: String = (0..3).map(|index| format!("    rows c{index} \"rows.jsonl\" type=track fps=10 frames=60\n")).collect();
        let graph = format!(
            "cameras recorded {{\n{cameras}}}\nquery seen from=recorded {{\n    window \"{}ms\" every=\"{every}ms\"\n    group-by camera class\n    select rows=\"count(*)\" tracks=\"count(distinct track)\"\n}}\nwrite {{ jsonl \"seen.jsonl\" from=seen; }}\n",
            every * panes
        );
        scene.run(&graph, workers);
        let expected = naive(&rows, every * panes * 1_000_000, every * 1_000_000);
        prop_assert_eq!(last(&scene.rows("seen.jsonl")), expected);
    }
}
