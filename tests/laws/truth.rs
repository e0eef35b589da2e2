//! Analytics on synthetic truth, against what the truth itself says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::scene::{Scene, ZONES, cameras};

const FPS: usize = 10;

fn run() -> Scene {
    let scene = Scene::new();
    let graph = format!(
        r#"{}{ZONES}
flow vehicles from=junction {{
    truth-tracks as=tracks
    cross lines="across,upright" as=crossings
    visit zones=box from=tracks as=visits
}}
write {{
    jsonl "tracks.jsonl" from=vehicles.tracks
    jsonl "crossings.jsonl" from=vehicles.crossings
    jsonl "visits.jsonl" from=vehicles.visits
}}
"#,
        cameras(6, 5_000, FPS)
    );
    scene.run(&graph, 2);
    scene
}

type Path = Vec<(u64, f64, f64)>;

/// Each track's feet by frame.
fn paths(tracks: &[Value]) -> BTreeMap<(String, u64), Path> {
    let mut paths: BTreeMap<(String, u64), Path> = BTreeMap::new();
    for row in tracks {
        let corner = |index: usize| row["box"][index].as_f64().expect("a corner");
        let key = (
            row["camera"].as_str().expect("a camera").to_owned(),
            row["track"].as_u64().expect("a track"),
        );
        let feet = (
            row["frame"].as_u64().expect("a frame"),
            0.5 * (corner(0) + corner(2)),
            corner(3),
        );
        paths.entry(key).or_default().push(feet);
    }
    paths
}

/// How often the path's side of a level or upright line changes within the line's ends, by direction.
fn passes(path: &Path, side: impl Fn(f64, f64) -> bool) -> (usize, usize) {
    let (mut there, mut back) = (0, 0);
    for pair in path.windows(2) {
        let (before, after) = (side(pair[0].1, pair[0].2), side(pair[1].1, pair[1].2));
        there += usize::from(!before && after);
        back += usize::from(before && !after);
    }
    (there, back)
}

#[test]
fn crossings_and_visits_are_those_of_the_truth() {
    let scene = run();
    let (tracks, crossings, visits) = (
        scene.rows("tracks.jsonl"),
        scene.rows("crossings.jsonl"),
        scene.rows("visits.jsonl"),
    );
    let paths = paths(&tracks);
    assert!(paths.len() >= 2_000, "only {} things passed", paths.len());
    // `across` spans the whole picture at 0.55 of 360 lines; its right side, as seen going right, is below.
    let below = |_: f64, y: f64| y >= 0.55 * 360.0;
    let expected = paths
        .values()
        .map(|path| passes(path, below))
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let counted = |direction: &str| {
        crossings
            .iter()
            .filter(|row| row["line"] == "across" && row["direction"] == direction)
            .count()
    };
    assert_eq!((counted("forward"), counted("backward")), expected);
    assert!(expected.0 + expected.1 > 500, "{expected:?}");
    dwell_is_within_a_frame(&paths, &visits);
}

/// Sums, by track, how long its feet were inside, frame by frame, and compares with the visits.
fn dwell_is_within_a_frame(paths: &BTreeMap<(String, u64), Path>, visits: &[Value]) {
    let corners = [(0.25, 0.35), (0.75, 0.35), (0.80, 0.80), (0.20, 0.80)].map(|(x, y)| (x * 640.0, y * 360.0));
    let inside = |x: f64, y: f64| {
        let sides = (0..4).map(|index| {
            let ((ax, ay), (bx, by)) = (corners[index], corners[(index + 1) % 4]);
            (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        });
        sides.into_iter().all(|side| side >= 0.0)
    };
    let frame_ns = 1_000_000_000 / FPS as i64;
    let mut compared = 0;
    for (key, path) in paths {
        let own = |row: &&Value| row["camera"] == key.0.as_str() && row["track"] == key.1 && row["phase"] == "leave";
        let leaves: Vec<&Value> = visits.iter().filter(own).collect();
        let frames: BTreeSet<u64> = path
            .iter()
            .filter(|(_, x, y)| inside(x.clamp(0.0, 640.0), y.clamp(0.0, 360.0)))
            .map(|(frame, ..)| *frame)
            .collect();
        let mut stays: Vec<(u64, u64)> = Vec::new();
        for frame in frames {
            match stays.last_mut() {
                Some(stay) if stay.1 + 1 == frame => stay.1 = frame,
                _ => stays.push((frame, frame)),
            }
        }
        // Stays that the end of the run cuts off have no `leave`.
        let ended: Vec<&(u64, u64)> = stays.iter().filter(|stay| stay.1 < 4_980).collect();
        let matched = ended.iter().filter(|stay| {
            leaves.iter().any(|row| {
                let (entered, dwell) = (
                    row["entered_ns"].as_i64().expect("a time"),
                    row["dwell_ns"].as_i64().expect("a span"),
                );
                let (first, last) = (stay.0 as i64 * frame_ns, stay.1 as i64 * frame_ns);
                (entered - first).abs() <= frame_ns && (dwell - (last - first)).abs() <= frame_ns
            })
        });
        assert_eq!(
            matched.count(),
            ended.len(),
            "{key:?}: stays {ended:?}, visits {leaves:?}"
        );
        compared += ended.len();
    }
    assert!(compared > 500, "only {compared} visits were compared");
}
