//! Many cameras under random edits, with viewers: every frame once, by the ledger, by an operator that remembers all frames
//! before, and by a run that nobody edited.
//!
//! Some seconds among the other tests; `make soak-reload` makes it ten minutes (`FLOWRUN_SOAK_SECONDS`) and prints what it cost.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use flowrun::engine::admission::CameraCounts;
use flowrun::engine::reload::Outcome;

use crate::scene::{Edited, Row, assert_same_rows, assert_whole, by_frame, stamps};
use crate::viewer::Viewer;

const CAMERAS: usize = 64;
/// Of those, how many are watched.
const WATCHED: usize = 4;
/// The last ones come and go.
const LASTING: usize = 60;
const FPS: u64 = 10;

fn camera(index: usize) -> String {
    format!("    synthetic c{index} seed={}\n", index + 1)
}

/// What an edit may touch: cameras at the end, the zone, the stamp's versions, and nodes beside.
#[derive(Clone, Copy, Default)]
struct Shape {
    random: u64,
    version: u64,
    live: u64,
}

fn graph(shape: Shape, folder: &Path) -> String {
    let Shape { random, version, live } = shape;
    let cameras: String = (0..CAMERAS)
        .filter(|index| *index < LASTING || random >> index & 1 == 0)
        .map(camera)
        .collect();
    let edge = 0.6 + (random % 30) as f64 / 100.0;
    let more = match random % 5 {
        0 => "query busy from=seen.visits { window \"5s\" every=\"1s\"; group-by camera; select n=\"count(*)\"; }\n",
        1 => "flow beside from=all { truth; track; }\n",
        2 => "flow watched from=gallery { truth; }\n",
        _ => "",
    };
    let watched: String = (0..WATCHED)
        .map(|index| camera(index).replace(" c", " w").replace("seed=", "seed=9"))
        .collect();
    let folder = folder.display();
    format!(
        r#"cameras all {{
    defaults size="160x90" fps={FPS}
{cameras}}}
cameras gallery {{
    defaults size="160x90" fps={FPS}
{watched}}}
zones cameras=all {{ polygon box 0.1 0.1 {edge:.2} 0.1 0.9 0.9 0.1 0.9; }}
flow seen from=all {{
    truth as=truth
    track as=tracks
    visit zones=box as=visits
}}
flow stamped from=seen.truth {{ stamp version={version} live={live} as=stamps; }}
flow wall from=gallery {{
    draw clock=utc
    encode h264 preset=ultrafast keyframe-every="1s" as=video
    publish {{ hls "/live/{{camera}}" segment="1s"; }}
}}
write {{
    jsonl "{folder}/tracks.jsonl" from=seen.tracks
    jsonl "{folder}/stamps.jsonl" from=stamped.stamps
}}
{more}"#
    )
}

/// The tracks of the lasting cameras, from their own beginning to a frame, at the pace of the machine and never edited.
fn offline(frames: u64, folder: &Path) -> String {
    let cameras: String = (0..LASTING).map(camera).collect();
    format!(
        r#"cameras all {{
    defaults size="160x90" fps={FPS} pace=max frames={frames}
{cameras}}}
flow seen from=all {{ truth; track as=tracks; }}
write {{ jsonl "{}/offline.jsonl" from=seen.tracks; }}
"#,
        folder.display()
    )
}

/// Marsaglia's xorshift, 2003.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

struct Cost(Vec<f64>);

impl Cost {
    fn told(&mut self, what: &str) {
        self.0.sort_by(f64::total_cmp);
        let quantile = |share: f64| self.0[((self.0.len() - 1) as f64 * share).round() as usize];
        println!(
            "{what:<50} median {:>7.2} ms, p90 {:>7.2} ms, worst {:>7.2} ms",
            quantile(0.5),
            quantile(0.9),
            quantile(1.0)
        );
    }
}

#[test]
fn random_edits_of_many_watched_cameras_cost_no_frame() {
    let asked = std::env::var("FLOWRUN_SOAK_SECONDS").ok();
    let asked = asked.map(|text| text.parse().expect("FLOWRUN_SOAK_SECONDS is a number of seconds"));
    let seconds: u64 = asked.unwrap_or(6);
    let folder = tempfile::tempdir().expect("a folder");
    let mut shape = Shape::default();
    let (mut run, server) = Edited::served(&graph(shape, folder.path()), 2);
    let viewers: Vec<Viewer> = (0..WATCHED)
        .map(|index| Viewer::open(server.address(), &format!("/live/w{index}/stream.mp4")))
        .collect();
    let (began, mut random) = (Instant::now(), 88_172_645_463_325_252);
    let (mut applied, mut gaps) = (Cost(Vec::new()), Cost(Vec::new()));
    while began.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_secs(1));
        shape.random = next(&mut random);
        match shape.random >> 20 & 3 {
            0 => shape.version += 1,
            1 => shape.live += 1,
            _ => {}
        }
        match run.try_edit(&graph(shape, folder.path())) {
            Ok(Outcome::Made(receipt)) => {
                assert_eq!((receipt.lost, receipt.doubled), (0, 0), "{receipt:#?}");
                applied.0.push(receipt.applied_us as f64 / 1e3);
                gaps.0.push(receipt.longest_gap_us as f64 / 1e3);
            }
            Ok(Outcome::Unchanged) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let fragments: Vec<u64> = viewers.into_iter().map(Viewer::fragments).collect();
    let report = run.end();
    server.close();
    let sum = |of: fn(&CameraCounts) -> u64| -> u64 { report.cameras.iter().map(|camera| of(&camera.counts)).sum() };
    let (admitted, shed) = (sum(|counts| counts.admitted), sum(|counts| counts.shed()));
    println!(
        "{CAMERAS} + {WATCHED} cameras of {FPS} fps, 2 workers, {seconds} s: {} edits, {admitted} frames, {shed} shed, \
         fragments seen by each viewer {fragments:?}",
        applied.0.len()
    );
    applied.told("  asked until it holds");
    gaps.told("  longest pause at an edit (interval 100)");
    assert!(
        fragments.iter().all(|seen| *seen >= seconds),
        "viewers saw every fragment: {fragments:?}"
    );
    let written = std::fs::read_to_string(folder.path().join("stamps.jsonl")).expect("stamps");
    let rows: Vec<_> = written
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    let rows: BTreeMap<String, Vec<Row>> = stamps(&rows);
    for (name, rows) in &rows {
        // One that was taken away and comes back is another camera, which begins at its first frame.
        let lives: Vec<&[Row]> = rows.chunk_by(|_, after| after.frame > 0).collect();
        let comes_and_goes = (LASTING..CAMERAS).any(|index| *name == format!("c{index}"));
        assert!(lives.len() == 1 || comes_and_goes, "{name} began {} times", lives.len());
        lives.into_iter().for_each(|rows| assert_whole(name, rows));
    }
    for index in 0..LASTING {
        let name = format!("c{index}");
        let counts = report.cameras.iter().find(|camera| camera.name == name);
        let counts = counts.expect("it is there at the end").counts;
        assert_eq!(rows[&name].len() as u64, counts.admitted, "{name}");
    }
    if shed > 0 {
        // A machine that cannot keep up leaves frames out at the door; the rest then sees another film.
        println!("not compared with a run that nobody edited: {shed} frames were shed");
        return;
    }
    compare(&folder, admitted / CAMERAS as u64);
}

/// Zones, flows, queries and cameras came and went around the trackers, and nothing of that is in their rows.
fn compare(folder: &tempfile::TempDir, frames: u64) {
    let mut alone = Edited::start(&offline(frames + 10 * FPS, folder.path()), 2);
    alone.finish();
    let (edited, never) = (
        by_frame(&folder.path().join("tracks.jsonl")),
        by_frame(&folder.path().join("offline.jsonl")),
    );
    let cameras = (0..LASTING).map(|index| assert_same_rows(&format!("c{index}"), &edited, &never));
    let compared: usize = cameras.sum();
    println!("  {compared} frames' tracks are those of a run that nobody edited");
}
