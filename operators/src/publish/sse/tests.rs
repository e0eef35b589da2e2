//! What is published where, and in which form.

use std::path::Path;

use flowrun_dsl::plan::{Align, InputPlan, Origin, Plan};
use flowrun_dsl::value::Value;
use flowrun_engine::batch::Batch;
use flowrun_engine::rows::{At, Rect, Size, Track, TrackId};
use flowrun_engine::site::{Body, Request};
use flowrun_engine::time::EventTime;
use futures_util::{FutureExt, StreamExt};

use super::*;
use crate::testing::{node, params, plan_of_north};

/// Two cameras and a query.
fn plan() -> Plan {
    let mut plan = plan_of_north(Path::new("."));
    let south = flowrun_dsl::plan::CameraPlan {
        name: "south".into(),
        ..plan.cameras[0].clone()
    };
    plan.cameras.push(south);
    plan.nodes = vec![node("counts", Role::Query, Vec::new())];
    plan
}

struct Place {
    sse: Result<Sse>,
    audience: Arc<Audience>,
}

fn place(path: &str, group: &str, origin: Origin) -> Place {
    let plan = plan();
    let names = Arc::new(Names::of(&plan));
    names.intern("car").unwrap();
    let audience = Arc::new(Audience::default());
    let input = InputPlan {
        port: "rows".into(),
        origin,
        align: Align::Frame,
        rows: RowKind::Track,
    };
    let mut node = node("publish.sse", Role::Publish, vec![input]);
    node.cameras = vec![0, 1];
    let setup = NodeSetup {
        plan: &plan,
        node: &node,
        names: &names,
        audience: &audience,
        devices: &flowrun_engine::device::Devices::default(),
    };
    let given = [("path", Value::Text(path.into())), ("group", Value::Text(group.into()))];
    Place {
        sse: Sse::new(params(&given), &setup),
        audience,
    }
}

fn answer(camera: u32, tracks: usize) -> Answer {
    let track = Track {
        id: TrackId(7),
        class: Default::default(),
        score: 0.5,
        bbox: Rect::default(),
    };
    Answer {
        at: At {
            camera: CameraId(camera),
            frame: 3,
            event_time: EventTime(9),
            size: Size { width: 64, height: 48 },
        },
        batch: Batch::Tracks(vec![track; tracks].into()),
        number: 0,
        admitted_us: 0,
        failed: false,
    }
}

/// What a client gets that has been there from the start.
fn published(place: &Place, path: &str, answers: &[Answer]) -> Vec<String> {
    let sse = place.sse.as_ref().unwrap();
    let mut writer = sse.open().unwrap();
    let (resource, rest) = place.audience.site.find(path).unwrap();
    let request = Request {
        rest,
        query: None,
        headers: Default::default(),
    };
    let response = resource.get(request).now_or_never().unwrap();
    let mut bytes = Vec::new();
    answers
        .iter()
        .for_each(|answer| sse.encode(answer, &mut bytes).unwrap());
    writer.write(&bytes).unwrap();
    writer.finish().unwrap();
    let Body::Pieces(pieces) = response.into_body() else {
        panic!("no stream")
    };
    let pieces: Vec<_> = pieces.collect().now_or_never().expect("the stream has ended");
    let text = String::from_utf8(pieces.concat()).unwrap();
    let events = text.split_terminator("\n\n").skip(1);
    // Numbers start with the run.
    events
        .map(|event| event.split_once('\n').unwrap().1.to_owned())
        .collect()
}

const ROW: &str =
    r#"{"camera":"north","frame":3,"time_ns":9,"track":7,"class":"car","score":0.5,"box":[0.0,0.0,0.0,0.0]}"#;

#[test]
fn a_row_is_an_event_with_the_line_that_files_have() {
    let place = place("/events/tracks", "row", Origin::Group("junction".into()));
    let events = published(&place, "/events/tracks", &[answer(0, 2), answer(0, 0), answer(1, 1)]);
    let event = format!("event: track\ndata: {ROW}");
    assert_eq!(events, [event.clone(), event.clone(), event.replace("north", "south")]);
}

#[test]
fn a_frame_is_an_event_with_or_without_rows() {
    let place = place("/events/{camera}/tracks", "frame", Origin::Group("junction".into()));
    let answers = [answer(0, 2), answer(1, 1), answer(0, 0)];
    let events = published(&place, "/events/north/tracks", &answers);
    let row = r#"{"track":7,"class":"car","score":0.5,"box":[0.0,0.0,0.0,0.0]}"#;
    let frame = |rows: &str| {
        format!(
            "event: frame\ndata: {{\"camera\":\"north\",\"frame\":3,\"time_ns\":9,\"size\":[64,48],\"rows\":[{rows}]}}"
        )
    };
    assert_eq!(events, [frame(&format!("{row},{row}")), frame("")]);
    let site = place.audience.site.list();
    let of: Vec<_> = site
        .iter()
        .map(|mount| {
            (
                mount.path.as_str(),
                mount.about.camera.as_deref(),
                mount.about.event.as_deref(),
            )
        })
        .collect();
    let expected = [
        ("/events/north/tracks", Some("north"), Some("frame")),
        ("/events/south/tracks", Some("south"), Some("frame")),
    ];
    assert_eq!(of, expected);
}

#[test]
fn the_manual_shows_what_is_sent() {
    let manual = include_str!("../../../../tests/spec/server.md");
    let example = manual
        .split_once("```json frame\n")
        .unwrap()
        .1
        .split_once('\n')
        .unwrap()
        .0;
    let track = Track {
        id: TrackId(7),
        class: Default::default(),
        score: 0.9,
        bbox: Rect {
            x1: 10.5,
            y1: 20.0,
            x2: 110.25,
            y2: 80.0,
        },
    };
    let at = At {
        camera: CameraId(0),
        frame: 12,
        event_time: EventTime(480_000_000),
        size: Size {
            width: 640,
            height: 360,
        },
    };
    let answer = Answer {
        at,
        batch: Batch::Tracks(vec![track].into()),
        ..answer(0, 0)
    };
    let place = place("/events", "frame", Origin::Group("junction".into()));
    let events = published(&place, "/events", &[answer]);
    assert_eq!(events, [format!("event: frame\ndata: {example}")]);
}

#[test]
fn a_query_belongs_to_no_camera_and_no_frame() {
    let refused = |path, group| place(path, group, Origin::Node(0)).sse.err().expect("refused").cause;
    assert!(refused("/q/{camera}", "row").contains("no camera"));
    assert!(refused("/q", "frame").contains("no frame"));
    assert!(place("/q", "row", Origin::Node(0)).sse.is_ok());
}

#[test]
fn two_cannot_have_one_path() {
    let place = place("/events", "row", Origin::Group("junction".into()));
    let sse = place.sse.as_ref().unwrap();
    let first = sse.open().unwrap();
    assert!(sse.open().err().expect("refused").cause.contains("cannot both"));
    drop(first);
}
