//! What is recorded plays, also when nobody said that it was over.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowrun_dsl::plan::Plan;
use flowrun_dsl::port::Role;
use flowrun_engine::audience::Audience;
use flowrun_engine::names::Names;
use flowrun_engine::packet::Packet;
use flowrun_engine::rows::{At, Rows};
use flowrun_engine::time::EventTime;

use super::*;
use crate::testing::video::{decoded, packets};
use crate::testing::{node, plan_of_north};

struct Recording {
    sink: Mp4,
    writer: Box<dyn SinkWriter>,
}

fn sink(folder: &Path, path: &str, segment: Option<Duration>, cameras: &[usize]) -> Result<Mp4> {
    let mut plan: Plan = plan_of_north(folder);
    while plan.cameras.len() <= cameras.iter().copied().max().unwrap_or(0) {
        let mut other = plan.cameras[0].clone();
        other.name = format!("c{}", plan.cameras.len());
        plan.cameras.push(other);
    }
    plan.nodes.push(node("mp4", Role::Write, Vec::new()));
    plan.nodes[0].cameras = cameras.to_vec();
    let audience = Arc::new(Audience::default());
    let setup = NodeSetup {
        plan: &plan,
        node: &plan.nodes[0],
        names: &Arc::new(Names::of(&plan)),
        audience: &audience,
        devices: &flowrun_engine::device::Devices::default(),
    };
    let path = PathBuf::from(path);
    Mp4::new(Mp4Params { path, segment }, &setup)
}

impl Recording {
    fn new(folder: &Path, path: &str, segment: Option<u64>) -> Self {
        let sink = sink(folder, path, segment.map(Duration::from_secs), &[0]).unwrap();
        let writer = sink.open().unwrap();
        Recording { sink, writer }
    }

    fn push(&mut self, packets: &[Packet]) {
        for packet in packets {
            let answer = Answer {
                at: At {
                    event_time: EventTime(packet.presented),
                    ..At::default()
                },
                batch: Batch::Packets(Rows::from(vec![packet.clone()])),
                number: 0,
                admitted_us: 0,
                failed: false,
            };
            let mut out = Vec::new();
            self.sink.encode(&answer, &mut out).unwrap();
            self.writer.write(&out).unwrap();
        }
    }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn pictures(path: &Path) -> usize {
    decoded(&std::fs::read(path).unwrap()).len()
}

#[test]
fn a_recording_has_every_picture_and_plays_before_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let mut recording = Recording::new(folder.path(), "rec-{camera}.mp4", None);
    let packets = packets("320x180", 47, 10.0, &[]);
    recording.push(&packets);
    assert_eq!(files(folder.path()), ["rec-north.mp4.partial"]);
    let partial = folder.path().join("rec-north.mp4.partial");
    assert_eq!(pictures(&partial), 40, "whole fragments of two seconds");
    // Cut off anywhere, as a process that was killed leaves it, what came before still plays.
    let bytes = std::fs::read(&partial).unwrap();
    assert!(decoded(&bytes[..bytes.len() - 100]).len() >= 20);
    recording.writer.finish().unwrap();
    assert_eq!(files(folder.path()), ["rec-north.mp4"]);
    let back = decoded(&std::fs::read(folder.path().join("rec-north.mp4")).unwrap());
    assert_eq!(back.len(), 47);
    for (index, (time, _)) in back.iter().enumerate() {
        assert!((time - index as i64 * 100_000_000).abs() < 20_000, "{index} {time}");
    }
}

#[test]
fn files_follow_each_other_at_keyframes() {
    let folder = tempfile::tempdir().unwrap();
    let mut recording = Recording::new(folder.path(), "deep/{camera}/{time}.mp4", Some(3));
    recording.push(&packets("320x180", 100, 10.0, &[]));
    recording.writer.finish().unwrap();
    let inside = folder.path().join("deep/north");
    let names = files(&inside);
    assert_eq!(
        names,
        ["19700101T000000Z.mp4", "19700101T000004Z.mp4", "19700101T000008Z.mp4"]
    );
    let counts: Vec<usize> = names.iter().map(|name| pictures(&inside.join(name))).collect();
    assert_eq!(counts, [40, 40, 20]);
}

#[test]
fn pictures_of_another_size_go_into_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut recording = Recording::new(folder.path(), "rec.mp4", None);
    recording.push(&packets("320x180", 10, 10.0, &[]));
    let mut large = packets("480x270", 10, 10.0, &[]);
    for packet in &mut large {
        packet.presented += 1_000_000_000;
        packet.decoded += 1_000_000_000;
    }
    recording.push(&large);
    recording.writer.finish().unwrap();
    assert_eq!(files(folder.path()), ["rec.2.mp4", "rec.mp4"]);
    assert_eq!(pictures(&folder.path().join("rec.mp4")), 10);
    assert_eq!(
        decoded(&std::fs::read(folder.path().join("rec.2.mp4")).unwrap())[0]
            .1
            .layout()
            .size
            .width,
        480
    );
}

#[test]
fn a_camera_without_pictures_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let recording = Recording::new(folder.path(), "rec.mp4", None);
    recording.writer.finish().unwrap();
    assert!(files(folder.path()).is_empty());
}

#[test]
fn paths_that_cannot_be_are_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &str, segment: Option<u64>, cameras: &[usize]| {
        let refused = sink(folder.path(), path, segment.map(Duration::from_secs), cameras).err();
        assert!(refused.unwrap().remedy.is_some(), "{path}");
    };
    refused("rec-{place}.mp4", None, &[0]);
    refused("rec.mp4", None, &[0, 1]);
    refused("{camera}.mp4", Some(60), &[0]);
    refused("{camera}.mkv", None, &[0]);
    assert!(sink(folder.path(), "rec-{camera}.mp4", None, &[0, 1]).is_ok());
    std::fs::write(folder.path().join("taken"), "a file").unwrap();
    for path in ["taken/{camera}.mp4", "taken/{time}.mp4"] {
        let error = sink(folder.path(), path, None, &[0]).unwrap().open().err().unwrap();
        assert!(error.remedy.is_some(), "{error}");
    }
    assert_eq!(files(folder.path()), ["taken"]);
}
