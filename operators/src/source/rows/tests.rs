//! Files as they should be, as they are, and as nobody should write them.

use std::fs;

use flowrun_dsl::value::Value;
use flowrun_engine::batch::Batch;
use flowrun_engine::operator::Item;
use flowrun_engine::rows::{Rect, TrackId};

use super::lines::MAX_LINE_BYTES;
use super::*;
use crate::testing::{names_of_north, params, source_setup};

/// Everything a file gives: items and faults in order.
fn read(bytes: &[u8], given: &[(&str, Value)]) -> (Vec<Item>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rows.jsonl"), bytes).unwrap();
    let names = names_of_north();
    let mut given = given.to_vec();
    given.push(("path", Value::Text("rows.jsonl".into())));
    if !given.iter().any(|(name, _)| *name == "type") {
        given.push(("type", Value::Text("detection".into())));
    }
    let mut source = RowsSource::open(params(&given), &source_setup(folder.path(), &names)).unwrap();
    let (mut items, mut faults) = (Vec::new(), Vec::new());
    loop {
        match source.next().unwrap() {
            Next::Item(item) => items.push(item),
            Next::Fault(cause) => faults.push(cause),
            Next::End => return (items, faults),
        }
    }
}

fn shape(items: &[Item]) -> Vec<(u64, usize)> {
    items.iter().map(|item| (item.frame, item.batch.len())).collect()
}
fn times(items: &[Item]) -> Vec<i64> {
    items.iter().map(|item| item.media_time).collect()
}
fn at(frame: u64) -> String {
    format!("{{\"frame\":{frame},\"box\":[1,2,3,4]}}\n")
}

#[test]
fn frames_without_lines_are_empty_frames() {
    let text = [at(2), at(2), at(4)].concat();
    let (items, faults) = read(text.as_bytes(), &[]);
    assert_eq!(shape(&items), [(0, 0), (1, 0), (2, 2), (3, 0), (4, 1)]);
    assert_eq!(times(&items), [0, 40_000_000, 80_000_000, 120_000_000, 160_000_000]);
    assert!(faults.is_empty());
    assert!(read(b"", &[]).0.is_empty());
    assert_eq!(
        shape(&read(b"\n \r\n", &[("frames", Value::Int(2))]).0),
        [(0, 0), (1, 0)]
    );
}

#[test]
fn frame_counts_do_not_depend_on_the_rate() {
    let text = [at(0), at(7)].concat();
    for fps in [0.1, 10.0, 1000.0] {
        assert_eq!(read(text.as_bytes(), &[("fps", Value::Float(fps))]).0.len(), 8);
    }
}

#[test]
fn frames_pads_and_cuts() {
    let text = [at(0), at(3), at(9)].concat();
    let frames = |count| shape(&read(text.as_bytes(), &[("frames", Value::Int(count))]).0);
    assert_eq!(frames(4), [(0, 1), (1, 0), (2, 0), (3, 1)]);
    assert_eq!(frames(6).len(), 6);
    assert_eq!(frames(12).len(), 12);
    assert!(frames(0).is_empty());
}

#[test]
fn given_times_hold_and_those_between_are_spread() {
    let text = concat!(
        "{\"frame\":1,\"box\":[1,2,3,4],\"time_ns\":1000}\n",
        "{\"frame\":3,\"box\":[1,2,3,4],\"time_ns\":2000}\n",
        "{\"frame\":4,\"box\":[1,2,3,4]}\n",
    );
    let (items, faults) = read(text.as_bytes(), &[("fps", Value::Float(1000.0))]);
    assert_eq!(times(&items), [1000 - 1_000_000, 1000, 1500, 2000, 1_002_000]);
    assert!(faults.is_empty());
}

#[test]
fn a_frame_that_comes_late_keeps_its_time() {
    let text = concat!(
        "{\"frame\":0,\"box\":[1,2,3,4],\"time_ns\":1000}\n",
        "{\"frame\":1,\"box\":[1,2,3,4],\"time_ns\":400}\n",
        "{\"frame\":5,\"box\":[1,2,3,4],\"time_ns\":40001003}\n",
    );
    let (items, faults) = read(text.as_bytes(), &[]);
    assert_eq!(items.len(), 6);
    assert!(faults.is_empty(), "{faults:?}");
    let times = times(&items);
    assert_eq!([times[0], times[1], times[5]], [1000, 400, 40_001_003]);
    assert!(
        times[1..].is_sorted_by(|a, b| a < b),
        "times in between go forward: {times:?}"
    );
}

#[test]
fn only_lines_of_the_camera_count() {
    let line = |camera: &str, frame: u64| format!("{{\"camera\":\"{camera}\",\"frame\":{frame},\"box\":[0,0,1,1]}}\n");
    let text = [
        line("north", 0),
        line("south", 0),
        line("south", 1),
        at(1),
        line("north", 2),
    ]
    .concat();
    assert_eq!(shape(&read(text.as_bytes(), &[]).0), [(0, 1), (1, 1), (2, 1)]);
    let south = read(text.as_bytes(), &[("camera", Value::Text("south".into()))]);
    assert_eq!(shape(&south.0), [(0, 1), (1, 2)]);
}

#[test]
fn sizes_stick() {
    let text = [
        at(0),
        "{\"frame\":1,\"box\":[0,0,1,1],\"width\":64,\"height\":48}\n".into(),
        at(3),
    ]
    .concat();
    let (items, _) = read(text.as_bytes(), &[]);
    let widths: Vec<_> = items.iter().map(|item| item.size.width).collect();
    assert_eq!(widths, [1920, 64, 64, 64]);
}

#[test]
fn tracks_carry_identities_and_lines_without_one_are_faults() {
    let text = "{\"frame\":0,\"track\":9,\"class\":\"car\",\"score\":0.5,\"box\":[1.5,2,3,4]}\n{\"frame\":0,\"box\":[1,2,3,4]}\n";
    let (items, faults) = read(text.as_bytes(), &[("type", Value::Text("track".into()))]);
    let Batch::Tracks(rows) = &items[0].batch else {
        panic!("tracks")
    };
    assert_eq!((rows[0].id, rows[0].score), (TrackId(9), 0.5));
    assert_eq!(
        rows[0].bbox,
        Rect {
            x1: 1.5,
            y1: 2.0,
            x2: 3.0,
            y2: 4.0
        }
    );
    assert_eq!(faults, ["line 2: it has no `track`"]);
}

#[test]
fn lines_that_cannot_be_read_are_faults_and_reading_goes_on() {
    let long_class = format!("{{\"frame\":1,\"box\":[1,2,3,4],\"class\":\"{}\"}}", "x".repeat(300));
    let long_text = format!("{{\"frame\":\"{}\"}}", "x".repeat(5000));
    let bad = [
        "{",
        "[]",
        "null",
        "{\"frame\":1}",
        "{\"box\":[1,2,3,4]}",
        "{\"frame\":-1,\"box\":[1,2,3,4]}",
        "{\"frame\":1.5,\"box\":[1,2,3,4]}",
        "{\"frame\":1,\"box\":[1,2,3]}",
        "{\"frame\":1,\"box\":[1,2,3,4,5]}",
        "{\"frame\":1,\"box\":[1,2,3,null]}",
        "{\"frame\":1,\"box\":[1,2,3,NaN]}",
        "{\"frame\":1,\"box\":[1,2,3,1e39]}",
        "{\"frame\":1,\"box\":[1,2,3,1e999]}",
        "{\"frame\":1,\"box\":[3,2,1,4]}",
        "{\"frame\":1,\"box\":[1,2,3,4],\"score\":1.5}",
        "{\"frame\":1,\"box\":[1,2,3,4],\"time_ns\":9223372036854775807}",
        "{\"frame\":1,\"box\":[1,2,3,4],\"width\":0,\"height\":1}",
        "{\"frame\":0,\"box\":[1,2,3,4]}{}",
        "{\"frame\":2000000,\"box\":[1,2,3,4]}",
        "{\"frame\":18446744073709551615,\"box\":[1,2,3,4]}",
        &long_class,
        &long_text,
    ];
    for line in bad {
        let text = [at(1), line.into(), "\n".into(), at(2)].concat();
        let (items, faults) = read(text.as_bytes(), &[]);
        assert_eq!(shape(&items), [(0, 0), (1, 1), (2, 1)], "{line}");
        assert_eq!(faults.len(), 1, "{line}: {faults:?}");
        assert!(
            faults[0].starts_with("line 2: ") && faults[0].len() < 300,
            "{}",
            faults[0]
        );
    }
}

#[test]
fn late_lines_are_faults_that_are_counted() {
    let text = [at(5), at(3), at(4), at(6)].concat();
    let (items, faults) = read(text.as_bytes(), &[]);
    assert_eq!(items.len(), 7);
    assert_eq!(items.iter().map(|item| item.batch.len()).sum::<usize>(), 2);
    assert!(faults[1].contains("late line number 2"), "{faults:?}");
}

#[test]
fn lines_that_never_end_are_refused() {
    let mut text = at(0).into_bytes();
    text.resize(text.len() + 3 * MAX_LINE_BYTES, b'[');
    text.push(b'\n');
    text.extend(at(1).bytes());
    text.resize(text.len() + MAX_LINE_BYTES + 1, b'{');
    let (items, faults) = read(&text, &[]);
    assert_eq!(items.len(), 2);
    assert!(faults.len() == 2 && faults[0].contains("3145728 bytes"), "{faults:?}");
}

#[test]
fn a_missing_file_is_found_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let names = names_of_north();
    for path in ["missing.jsonl", "."] {
        let given = [
            ("path", Value::Text(path.into())),
            ("type", Value::Text("track".into())),
        ];
        let error = RowsSource::open(params(&given), &source_setup(folder.path(), &names))
            .err()
            .unwrap();
        assert!(error.remedy.is_some(), "{error}");
    }
}

/// Nothing that a file holds may panic, hang, go back in time or skip a frame.
#[test]
fn random_and_mutated_files_are_survived() {
    let mut state = 7u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let valid = concat!(
        "{\"camera\":\"north\",\"frame\":0,\"time_ns\":0,\"class\":\"car\",\"score\":0.9,\"box\":[1,2,3,4]}\n",
        "{\"camera\":\"north\",\"frame\":3,\"time_ns\":120000000,\"track\":3,\"box\":[1.25,2e1,30,40.5]}\n",
        "{\"frame\":4,\"box\":[0,0,1,1],\"width\":64,\"height\":48,\"x\":{\"y\":[null,true]}}\n",
    );
    for round in 0..1000 {
        let mut bytes = match round % 3 {
            0 => (0..random(200)).map(|_| random(256) as u8).collect(),
            _ => valid.as_bytes().to_vec(),
        };
        for _ in 0..random(8) {
            if bytes.is_empty() {
                break;
            }
            let place = random(bytes.len());
            match random(4) {
                0 => bytes[place] = random(256) as u8,
                1 => bytes.truncate(place),
                2 => bytes.insert(place, b"0123456789{}[]\",:-e.\n"[random(21)]),
                _ => bytes.copy_within(place.., place / 2),
            }
        }
        let kind = if round % 2 == 0 { "track" } else { "detection" };
        let (items, _) = read(&bytes, &[("type", Value::Text(kind.into()))]);
        assert!(items.iter().enumerate().all(|(index, item)| item.frame == index as u64));
        assert!(items.is_sorted_by(|a, b| a.media_time < b.media_time));
    }
}
