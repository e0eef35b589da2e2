//! The schema as the manual states it, and what is read back.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use flowrun_dsl::plan::{Align, InputPlan, Origin, Plan, Shape, Units, ZonePlan};
use flowrun_dsl::port::RowKind;
use flowrun_dsl::schema::{Cell, Column, ColumnType, Schema};
use flowrun_dsl::value::Value;
use flowrun_engine::audience::Audience;
use flowrun_engine::batch::Batch;
use flowrun_engine::names::Names;
use flowrun_engine::operator::{Next, Source};
use flowrun_engine::rows::{
    At, ClassId, Crossing, Detection, Direction, ErrorRow, Phase, Rect, Size, Table, Track, TrackId, Visit, ZoneId,
};
use flowrun_engine::time::EventTime;
use proptest::prelude::*;

use super::*;
use crate::source::rows::RowsSource;
use crate::testing::{node, params, plan_of_north, source_setup};

const MANUAL: &str = include_str!("../../../../tests/spec/rows.md");

/// The lines of a block of the manual.
fn example(kind: &str) -> String {
    let start = format!("```json {kind}\n");
    let (_, rest) = MANUAL.split_once(&start).expect("the manual has an example");
    rest.split_once("```").expect("the block ends").0.to_owned()
}

fn plan(root: &Path) -> Plan {
    let mut plan = plan_of_north(root);
    let zone = |name: &str, shape| ZonePlan {
        name: name.into(),
        cameras: vec![0],
        shape,
        units: Units::Ratio,
    };
    plan.zones = vec![
        zone("box", Shape::Polygon(vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])),
        zone(
            "stop",
            Shape::Line {
                ends: [[0.0, 0.0], [1.0, 1.0]],
                forward: "out".into(),
                backward: "in".into(),
            },
        ),
    ];
    plan.nodes = vec![node("counts", Role::Query, Vec::new())];
    plan
}

fn sink(plan: &Plan, names: &Arc<Names>, path: &str, origin: Origin) -> Jsonl {
    let input = InputPlan {
        port: "rows".into(),
        origin,
        align: Align::Frame,
        rows: RowKind::Detection,
    };
    let node = node("jsonl", Role::Write, vec![input]);
    let setup = NodeSetup {
        plan,
        node: &node,
        names,
        audience: &Arc::new(Audience::default()),
        devices: &flowrun_engine::device::Devices::default(),
    };
    Jsonl::new(params(&[("path", Value::Text(path.into()))]), &setup).unwrap()
}

fn answer(batch: Batch) -> Answer {
    Answer {
        at: At {
            frame: 12,
            event_time: EventTime(480_000_000),
            size: Size { width: 64, height: 48 },
            ..At::default()
        },
        batch,
        number: 0,
        admitted_us: 0,
        failed: false,
    }
}

fn encoded(sink: &Jsonl, batch: Batch) -> String {
    let mut out = Vec::new();
    sink.encode(&answer(batch), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

const BOX: Rect = Rect {
    x1: 10.5,
    y1: 20.0,
    x2: 110.25,
    y2: 80.0,
};

#[test]
fn the_manual_shows_what_is_written() {
    let plan = plan(Path::new("."));
    let names = Arc::new(Names::of(&plan));
    let class = names.intern("car").unwrap();
    let sink = sink(&plan, &names, "x", Origin::AllErrors);
    let detection = Detection {
        class,
        score: 0.9,
        bbox: BOX,
    };
    let track = Track {
        id: TrackId(7),
        class,
        score: 0.9,
        bbox: BOX,
    };
    let visit = Visit {
        track: TrackId(7),
        class,
        zone: ZoneId(0),
        phase: Phase::Dwell,
        entered: EventTime(80_000_000),
        dwell: 400_000_000,
    };
    let crossing = Crossing {
        track: TrackId(7),
        class,
        line: ZoneId(1),
        direction: Direction::Forward,
        point: (60.25, 48.0),
    };
    let error = ErrorRow {
        node: "vehicles.detect".into(),
        cause: "the model answered NaN".into(),
    };
    for (kind, batch) in [
        ("detection", Batch::Detections(vec![detection].into())),
        ("track", Batch::Tracks(vec![track].into())),
        ("visit", Batch::Visits(vec![visit].into())),
        ("crossing", Batch::Crossings(vec![crossing].into())),
        ("error", Batch::Errors(vec![error].into())),
        ("table", table()),
    ] {
        assert_eq!(encoded(&sink, batch), example(kind), "{kind}");
    }
}

fn table_of(columns: &[(&str, ColumnType)], cells: Vec<Cell>) -> Batch {
    let columns = columns.iter().map(|(name, ty)| Column {
        name: (*name).into(),
        ty: *ty,
    });
    Batch::Table(Table {
        schema: Arc::new(Schema {
            name: "test".into(),
            columns: columns.collect(),
        }),
        rows: vec![cells.into()].into(),
    })
}

fn table() -> Batch {
    table_of(
        &[
            ("cell", ColumnType::Int),
            ("load", ColumnType::Float),
            ("busy", ColumnType::Bool),
            ("label", ColumnType::Text),
            ("since", ColumnType::Time),
            ("held", ColumnType::Duration),
        ],
        vec![
            Cell::Int(3),
            Cell::Float(0.25),
            Cell::Bool(true),
            Cell::Text("a \"b\"".into()),
            Cell::Time(80_000_000),
            Cell::Null,
        ],
    )
}

#[test]
fn rows_of_a_query_belong_to_no_frame() {
    let plan = plan(Path::new("."));
    let names = Arc::new(Names::of(&plan));
    let sink = sink(&plan, &names, "x", Origin::Node(0));
    let columns = [("vehicles", ColumnType::Int), ("longest", ColumnType::Duration)];
    let batch = table_of(&columns, vec![Cell::Int(3), Cell::Duration(9_000_000_000)]);
    assert_eq!(encoded(&sink, batch), example("query"));
    let error = ErrorRow {
        node: "counts".into(),
        cause: "too late".into(),
    };
    let text = encoded(&sink, Batch::Errors(vec![error].into()));
    assert_eq!(text, "{\"node\":\"counts\",\"cause\":\"too late\"}\n");
}

#[test]
fn a_column_takes_the_place_of_the_common_one() {
    let plan = plan(Path::new("."));
    let names = Arc::new(Names::of(&plan));
    let sink = sink(&plan, &names, "x", Origin::AllErrors);
    let columns = [
        ("time", ColumnType::Time),
        ("camera", ColumnType::Text),
        ("o\"dd", ColumnType::Float),
    ];
    let batch = table_of(
        &columns,
        vec![Cell::Time(5), Cell::Text("east".into()), Cell::Float(f64::NAN)],
    );
    assert_eq!(
        encoded(&sink, batch),
        "{\"frame\":12,\"time_ns\":5,\"camera\":\"east\",\"o\\\"dd\":null}\n"
    );
}

#[test]
fn what_is_no_number_is_null() {
    let plan = plan(Path::new("."));
    let names = Arc::new(Names::of(&plan));
    let sink = sink(&plan, &names, "x", Origin::AllErrors);
    let row = Detection {
        class: ClassId(9),
        score: f32::NAN,
        bbox: Rect {
            x1: f32::INFINITY,
            ..BOX
        },
    };
    let text = encoded(&sink, Batch::Detections(vec![row].into()));
    assert!(
        text.ends_with("\"class\":\"?\",\"score\":null,\"box\":[null,20.0,110.25,80.0]}\n"),
        "{text}"
    );
    assert!(
        sink.encode(&answer(Batch::Frames(Default::default())), &mut Vec::new())
            .is_err()
    );
}

#[test]
fn the_manual_shows_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rows.jsonl"), example("read")).unwrap();
    let names = Arc::new(Names::of(&plan(folder.path())));
    let items = items(folder.path(), &names, "detection");
    let counts: Vec<_> = items.iter().map(|item| item.batch.len()).collect();
    assert_eq!(counts, [1, 0, 1]);
    assert_eq!(
        items[2].size,
        Size {
            width: 640,
            height: 360
        }
    );
}

fn items(root: &Path, names: &Arc<Names>, kind: &str) -> Vec<flowrun_engine::operator::Item> {
    let given = [
        ("path", Value::Text("rows.jsonl".into())),
        ("type", Value::Text(kind.into())),
    ];
    let mut source = RowsSource::open(params(&given), &source_setup(root, names)).unwrap();
    let mut items = Vec::new();
    loop {
        match source.next().unwrap() {
            Next::Item(item) => items.push(item),
            Next::Fault(cause) => panic!("{cause}"),
            Next::End => return items,
        }
    }
}

fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        -2000f32..4000f32,
        any::<u32>()
            .prop_map(f32::from_bits)
            .prop_filter("finite", |number| number.is_finite())
    ]
}

fn track() -> impl Strategy<Value = (u64, String, f32, [f32; 4])> {
    let corners = [number(), number(), number(), number()];
    let class = prop_oneof!["car|bus", ".{0,12}"];
    (any::<u64>(), class, 0f32..=1.0, corners)
}

proptest! {
    /// Rows written and read back are the same rows, floats to the bit, empty frames included.
    #[test]
    fn rows_come_back_as_they_were(frames in prop::collection::vec(prop::collection::vec(track(), 0..4), 1..12)) {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(folder.path());
        let names = Arc::new(Names::of(&plan));
        let sink = sink(&plan, &names, "rows.jsonl", Origin::AllErrors);
        let mut written = Vec::new();
        let mut bytes = Vec::new();
        for (frame, rows) in frames.iter().enumerate() {
            let rows: Vec<Track> = rows.iter().map(|(id, class, score, [x, y, z, w])| Track {
                id: TrackId(*id),
                class: names.intern(class).unwrap(),
                score: *score,
                bbox: Rect { x1: x.min(*z), y1: y.min(*w), x2: x.max(*z), y2: y.max(*w) },
            }).collect();
            let mut answer = answer(Batch::Tracks(rows.clone().into()));
            answer.at.frame = frame as u64;
            answer.at.event_time = EventTime(frame as i64 * 40_000_000 + 17);
            sink.encode(&answer, &mut bytes).unwrap();
            written.push(rows);
        }
        let mut writer = sink.open().unwrap();
        writer.write(&bytes).unwrap();
        writer.finish().unwrap();
        let read = items(folder.path(), &names, "track");
        while written.last().is_some_and(|rows| rows.is_empty()) {
            written.pop();
        }
        prop_assert_eq!(read.len(), written.len());
        for (item, rows) in read.iter().zip(&written) {
            let Batch::Tracks(tracks) = &item.batch else { panic!("tracks") };
            prop_assert_eq!(&tracks[..], &rows[..]);
            prop_assert_eq!(item.media_time, item.frame as i64 * 40_000_000 + 17);
        }
    }
}
