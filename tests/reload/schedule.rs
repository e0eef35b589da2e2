//! Edits of what remembers. Rows of a run that is edited are those of the same operators stepped by hand through the same
//! frames, without a runtime, and changed at the frames that the receipts name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use flowrun::dsl::plan::{Shape as ZoneShape, Units, ZonePlan};
use flowrun::engine::reload::{Outcome, Receipt};
use flowrun::engine::rows::ClassId;
use flowrun::operators::analyse::VisitZones;
use flowrun::operators::track::TrackObjects;
use flowrun::prelude::*;
use serde_json::Value;

use crate::scene::{Edited, by_frame};

const CAMERAS: usize = 5;
const WIDTH: u32 = 320;
const HEIGHT: u32 = 180;
const EDITS: u64 = 16;

const MIN_VISIBLE: [&str; 2] = ["0.1", "0.7"];

/// What is edited, as it is written in the graph.
#[derive(Clone, Debug, PartialEq)]
struct Settings {
    min_visible: &'static str,
    match_thresh: &'static str,
    track_buffer: &'static str,
    edge: String,
    grace: &'static str,
    bucket: &'static str,
    anchor: &'static str,
}

impl Settings {
    /// One thing changed, or two.
    fn edited(&self, edit: u64) -> Settings {
        let mut after = self.clone();
        let wider = |edge: &str| format!("0.{}", 5 + (edge[2..].parse::<u32>().expect("a digit") + 1) % 4);
        let other = |now: &str, [first, second]: [&'static str; 2]| if now == first { second } else { first };
        match edit % 8 {
            0 => after.match_thresh = other(self.match_thresh, ["0.8", "0.3"]),
            1 => after.edge = wider(&self.edge),
            2 => after.min_visible = other(self.min_visible, MIN_VISIBLE),
            3 => after.grace = other(self.grace, ["800ms", "40ms"]),
            4 => after.anchor = other(self.anchor, ["feet", "centre"]),
            5 => after.track_buffer = other(self.track_buffer, ["30", "2"]),
            6 => after.bucket = other(self.bucket, ["1s", "200ms"]),
            _ => {
                after.edge = wider(&self.edge);
                after.match_thresh = other(self.match_thresh, ["0.8", "0.3"]);
            }
        }
        after
    }

    fn graph(&self, cameras: &str) -> String {
        let Settings {
            min_visible,
            match_thresh,
            track_buffer,
            edge,
            grace,
            bucket,
            anchor,
        } = self;
        format!(
            r#"cameras all {{
    defaults size="{WIDTH}x{HEIGHT}" fps=25 {cameras}
{}}}
zones cameras=all {{ polygon box 0.1 0.1 {edge} 0.1 {edge} 0.9 0.1 0.9; }}
flow seen from=all {{
    truth min-visible={min_visible} as=truth
    track match-thresh={match_thresh} track-buffer={track_buffer} as=tracks
    visit zones=box grace="{grace}" bucket="{bucket}" anchor={anchor} as=visits
}}
flow stamped from=seen.truth {{ stamp as=stamps; }}
write {{
    jsonl "truth.jsonl" from=seen.truth
    jsonl "tracks.jsonl" from=seen.tracks
    jsonl "visits.jsonl" from=seen.visits
    jsonl "stamps.jsonl" from=stamped.stamps
}}
"#,
            (0..CAMERAS)
                .map(|index| format!("    synthetic c{index} seed={}\n", index + 21))
                .collect::<String>()
        )
    }

    fn zone(&self) -> ZonePlan {
        let edge: f64 = self.edge.parse().expect("a number");
        ZonePlan {
            name: "box".to_owned(),
            cameras: vec![0],
            shape: ZoneShape::Polygon(vec![[0.1, 0.1], [edge, 0.1], [edge, 0.9], [0.1, 0.9]]),
            units: Units::Ratio,
        }
    }

    fn tracker(&self) -> Harness<TrackObjects> {
        Harness::new()
            .size(WIDTH, HEIGHT)
            .param("match-thresh", self.match_thresh)
            .param("track-buffer", self.track_buffer)
    }

    fn visits(&self) -> Harness<VisitZones> {
        Harness::new()
            .size(WIDTH, HEIGHT)
            .zone(self.zone())
            .param("zones", "box")
            .param("grace", self.grace)
            .param("bucket", self.bucket)
            .param("anchor", self.anchor)
    }
}

/// What was written of one camera.
struct Written {
    /// Each frame that was admitted, with its event time.
    frames: Vec<(u64, EventTime)>,
    detections: BTreeMap<u64, Vec<Detection>>,
    tracks: Vec<(u64, u64, ClassId, f32, Rect)>,
    visits: Vec<(u64, u64, String, i64, i64)>,
    classes: Vec<String>,
}

impl Written {
    fn of(camera: &str, run: &Edited) -> Self {
        let rows = |file: &str| -> Vec<Value> {
            let mut rows = run.rows(file);
            rows.retain(|row| row["camera"] == camera);
            rows
        };
        let text = |row: &Value, key: &str| row[key].as_str().expect("text").to_owned();
        let whole = |row: &Value, key: &str| row[key].as_i64().expect("a whole number");
        let real = |value: &Value| value.as_f64().expect("a number") as f32;
        let (truth, tracks) = (rows("truth.jsonl"), rows("tracks.jsonl"));
        let classes: BTreeSet<String> = truth.iter().map(|row| text(row, "class")).collect();
        let classes: Vec<String> = classes.into_iter().collect();
        let class = |row: &Value| {
            let at = classes.iter().position(|class| *class == row["class"]);
            ClassId(at.expect("classes are those of the truth") as u16)
        };
        let bbox = |row: &Value| Rect {
            x1: real(&row["box"][0]),
            y1: real(&row["box"][1]),
            x2: real(&row["box"][2]),
            y2: real(&row["box"][3]),
        };
        let mut detections: BTreeMap<u64, Vec<Detection>> = BTreeMap::new();
        for row in &truth {
            let frame = whole(row, "frame") as u64;
            detections.entry(frame).or_default().push(Detection {
                class: class(row),
                score: real(&row["score"]),
                bbox: bbox(row),
            });
        }
        let track = |row: &Value| {
            let (frame, track) = (whole(row, "frame") as u64, whole(row, "track") as u64);
            (frame, track, class(row), real(&row["score"]), bbox(row))
        };
        let visit = |row: &Value| {
            let (frame, track) = (whole(row, "frame") as u64, whole(row, "track") as u64);
            (
                frame,
                track,
                text(row, "phase"),
                whole(row, "entered_ns"),
                whole(row, "dwell_ns"),
            )
        };
        let frame = |row: &Value| (whole(row, "frame") as u64, EventTime(whole(row, "time_ns")));
        Written {
            frames: rows("stamps.jsonl").iter().map(frame).collect(),
            tracks: tracks.iter().map(track).collect(),
            visits: rows("visits.jsonl").iter().map(visit).collect(),
            detections,
            classes,
        }
    }

    /// The same by hand: what each operator gives, changed at the frames at which the run was.
    fn compare(&self, camera: &str, schedule: &[(u64, Settings)]) {
        let begin = |classes: &mut dyn FnMut(&str) -> ClassId| {
            for (number, class) in self.classes.iter().enumerate() {
                assert_eq!(classes(class), ClassId(number as u16));
            }
        };
        let mut settings = schedule[0].1.clone();
        let mut tracker = settings.tracker();
        let mut visits = settings.visits();
        begin(&mut |class| tracker.class(class));
        begin(&mut |class| visits.class(class));
        let mut visited: Vec<(u64, Visit)> = Vec::new();
        let mut schedule = schedule[1..].iter().peekable();
        for (frame, time) in &self.frames {
            while let Some((_, after)) = schedule.next_if(|(first, _)| first <= frame) {
                tracker = tracker
                    .live("match-thresh", after.match_thresh)
                    .live("track-buffer", after.track_buffer);
                if after.anchor != settings.anchor {
                    visited.extend_from_slice(visits.rows());
                    visits = after.visits();
                    begin(&mut |class| visits.class(class));
                } else {
                    visits = visits.live("grace", after.grace).live("bucket", after.bucket);
                    if after.edge != settings.edge {
                        visits = visits.replace_zones(vec![after.zone()]).restart();
                    }
                }
                settings = after.clone();
            }
            let detections = self.detections.get(frame).cloned().unwrap_or_default();
            tracker = tracker.frame_at(*frame, *time, detections);
            visits = visits.frame_at(*frame, *time, tracker.rows_of(*frame));
        }
        visited.extend_from_slice(visits.rows());
        let tracks = tracker.rows().iter();
        let tracks = tracks.map(|(frame, track)| (*frame, track.id.0, track.class, track.score, track.bbox));
        assert_eq!(tracks.collect::<Vec<_>>(), self.tracks, "{camera}: tracks");
        let visited = visited.iter().map(|(frame, visit)| {
            let phase = serde_json::to_value(visit.phase).expect("a phase");
            let phase = phase.as_str().expect("text").to_owned();
            (*frame, visit.track.0, phase, visit.entered.0, visit.dwell)
        });
        assert_eq!(visited.collect::<Vec<_>>(), self.visits, "{camera}: visits");
        assert!(
            !self.tracks.is_empty() && !self.visits.is_empty(),
            "{camera}: there is something to compare"
        );
    }
}

#[test]
fn an_edited_run_gives_the_rows_of_the_same_schedule_by_hand() {
    let mut settings = Settings {
        min_visible: MIN_VISIBLE[0],
        match_thresh: "0.8",
        track_buffer: "30",
        edge: "0.6".to_owned(),
        grace: "800ms",
        bucket: "1s",
        anchor: "feet",
    };
    let mut run = Edited::start(&settings.graph(""), 2);
    run.frames(40);
    let mut schedule = vec![(None::<Arc<Receipt>>, settings.clone())];
    for edit in 0..EDITS {
        settings = settings.edited(edit);
        match run.try_edit(&settings.graph("")) {
            Ok(Outcome::Made(receipt)) => {
                assert_eq!((receipt.lost, receipt.doubled), (0, 0), "{receipt:#?}");
                schedule.push((Some(receipt), settings.clone()));
            }
            other => panic!("edit {edit}: {other:?}"),
        }
        run.frames(12);
    }
    run.end();
    let of_camera = |camera: &str| -> Vec<(u64, Settings)> {
        let first = |receipt: &Receipt| {
            let first = receipt.frames.iter().find(|first| first.camera == camera);
            first.expect("each camera has had a frame since").frame
        };
        let step = |(receipt, settings): &(Option<Arc<Receipt>>, Settings)| {
            (receipt.as_deref().map_or(0, first), settings.clone())
        };
        schedule.iter().map(step).collect()
    };
    let written: BTreeMap<String, Written> = (0..CAMERAS)
        .map(|index| format!("c{index}"))
        .map(|camera| (camera.clone(), Written::of(&camera, &run)))
        .collect();
    for (camera, written) in &written {
        written.compare(camera, &of_camera(camera));
    }
    compare_truth(run.path(), &written, &of_camera);
}

/// What has no memory gives at each frame what a run that was never edited gives with the settings of that frame.
fn compare_truth(edited: &Path, written: &BTreeMap<String, Written>, of_camera: &dyn Fn(&str) -> Vec<(u64, Settings)>) {
    let last = written.values().filter_map(|written| written.frames.last());
    let frames = last.map(|(frame, _)| frame + 1).max().expect("frames");
    let never = MIN_VISIBLE.map(|min_visible| {
        let settings = of_camera("c0")[0].1.clone();
        let settings = Settings {
            min_visible,
            ..settings
        };
        let mut run = Edited::start(&settings.graph(&format!("pace=max frames={frames}")), 2);
        run.finish();
        by_frame(&run.path().join("truth.jsonl"))
    });
    let edited = by_frame(&edited.join("truth.jsonl"));
    let mut differ = 0;
    for (camera, written) in written {
        let schedule = of_camera(camera);
        for (frame, _) in &written.frames {
            let at = (camera.clone(), *frame);
            let (_, settings) = schedule
                .iter()
                .rfind(|(first, _)| first <= frame)
                .expect("from the first on");
            let of = MIN_VISIBLE.iter().position(|value| *value == settings.min_visible);
            let rows = never.each_ref().map(|never| never.get(&at));
            assert_eq!(edited.get(&at), rows[of.expect("one of them")], "{at:?} {settings:?}");
            differ += usize::from(rows[0] != rows[1]);
        }
    }
    assert!(differ > 0, "the edits of the truth show");
}
