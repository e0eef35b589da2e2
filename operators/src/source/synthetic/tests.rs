//! The laws of synthetic cameras.

use std::path::Path;

use flowrun_dsl::value::Value;
use flowrun_engine::batch::Batch;

use super::*;
use crate::testing::{names_of_north, params, source_setup};

fn camera(given: &[(&str, Value)]) -> Synthetic {
    let names = names_of_north();
    Synthetic::open(params(given), &source_setup(Path::new("."), &names)).unwrap()
}

fn frame(source: &mut Synthetic) -> Frame {
    match source.next().unwrap() {
        Next::Item(Item {
            batch: Batch::Frames(rows),
            ..
        }) => rows[0].clone(),
        other => panic!("{other:?}"),
    }
}

fn bytes(frame: &Frame) -> Vec<u8> {
    let memory = frame.picture.memory();
    (0..3).flat_map(|plane| memory.plane(plane).to_vec()).collect()
}

/// Writes raw frames to look at: `SYNTHETIC_OUT=folder cargo test -- --ignored look`.
#[test]
#[ignore = "for people who want to look at pictures"]
fn look() {
    let Ok(folder) = std::env::var("SYNTHETIC_OUT") else {
        return;
    };
    for light in ["day", "night", "cycle"] {
        let size = std::env::var("SYNTHETIC_SIZE").unwrap_or_else(|_| "640x360".into());
        let mut source = camera(&[("light", Value::Text(light.into())), ("size", Value::Text(size))]);
        let frames: Vec<_> = (0..1200).map(|_| frame(&mut source)).collect();
        for index in [0, 150, 333, 700, 1100] {
            let start = std::time::Instant::now();
            let bytes = bytes(&frames[index]);
            println!(
                "{light} {index}: {:?}, {} objects",
                start.elapsed(),
                frames[index].truth.as_ref().unwrap().len()
            );
            std::fs::write(format!("{folder}/{light}{index}.yuv"), bytes).unwrap();
        }
    }
}
