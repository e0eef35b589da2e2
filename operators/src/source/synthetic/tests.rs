//! The laws of synthetic cameras.

use std::path::Path;

use flowrun_dsl::value::Value;
use flowrun_engine::batch::Batch;
use flowrun_engine::rows::Size;

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

fn text(word: &str) -> Value {
    Value::Text(word.into())
}

#[test]
fn the_same_seed_gives_the_same_bytes_in_any_order_of_looking() {
    for light in ["day", "night", "cycle"] {
        let given = [
            ("light", text(light)),
            ("size", text("320x180")),
            ("fps", Value::Float(0.3)),
        ];
        let (mut one, mut other) = (camera(&given), camera(&given));
        let ones: Vec<_> = (0..50).map(|_| frame(&mut one)).collect();
        let others: Vec<_> = (0..50).map(|_| frame(&mut other)).collect();
        let in_order: Vec<_> = ones.iter().map(bytes).collect();
        for index in (0..50).map(|index| (index * 37 + 11) % 50) {
            assert_eq!(ones[index].truth, others[index].truth);
            assert!(in_order[index] == bytes(&others[index]), "{light}, frame {index}");
        }
    }
    let given = [("seed", Value::Int(2)), ("size", text("320x180"))];
    assert_ne!(
        bytes(&frame(&mut camera(&given))),
        bytes(&frame(&mut camera(&[("size", text("320x180"))])))
    );
}

/// Which thing each pixel belongs to, painted by outlines, nearest last.
fn mask(scene: &Scene, size: Size, only: Option<usize>) -> Vec<usize> {
    let mut mask = vec![usize::MAX; (size.width * size.height) as usize];
    for (index, placed) in scene.things.iter().enumerate() {
        if only.is_some_and(|only| only != index) {
            continue;
        }
        for row in 0..size.height as i32 {
            for hull in placed.outline.iter() {
                for column in hull.pixels(row, size.width as i32) {
                    mask[row as usize * size.width as usize + column as usize] = index;
                }
            }
        }
    }
    mask
}

#[test]
fn boxes_are_tight_and_visibility_is_what_is_painted() {
    for (width, height) in [(640, 360), (1280, 720)] {
        let size = Size { width, height };
        let stage = Stage::new(size, 1);
        let mut world = World::new(3, 1.5);
        let classes = std::array::from_fn(|index| ClassId(index as u16));
        let (mut compared, mut hidden) = (0, 0);
        for sample in 0..12 {
            let (bodies, _) = world.at(f64::from(sample) * 11.0);
            let scene = Scene::new(&bodies, &stage.fixtures, &stage.camera, size);
            let truth = scene.truth(&classes, size);
            let painted = mask(&scene, size, None);
            for (index, placed) in scene.things.iter().enumerate() {
                let scene::Thing::Body(body) = placed.thing else {
                    continue;
                };
                let alone = mask(&scene, size, Some(index));
                let own: Vec<usize> = (0..alone.len()).filter(|pixel| alone[*pixel] == index).collect();
                let told = truth.iter().find(|object| object.id.0 == body.id);
                assert_eq!(
                    told.is_some(),
                    !own.is_empty(),
                    "every thing with a pixel is in the truth, and no other"
                );
                let Some(told) = told else { continue };
                let columns = own.iter().map(|pixel| (pixel % width as usize) as f32);
                let rows = own.iter().map(|pixel| (pixel / width as usize) as f32);
                let tight = [
                    columns.clone().fold(f32::INFINITY, f32::min) - told.bbox.x1,
                    rows.clone().fold(f32::INFINITY, f32::min) - told.bbox.y1,
                    told.bbox.x2 - 1.0 - columns.fold(0.0, f32::max),
                    told.bbox.y2 - 1.0 - rows.fold(0.0, f32::max),
                ];
                assert!(
                    tight.iter().all(|side| side.abs() <= 1.0),
                    "{body:?}: {tight:?} of {:?}",
                    told.bbox
                );
                let seen = own.iter().filter(|pixel| painted[**pixel] == index).count();
                let seen = seen as f32 / own.len() as f32;
                assert!(
                    (seen - told.visible).abs() <= 0.05,
                    "{body:?}: {seen} painted, {} told",
                    told.visible
                );
                compared += 1;
                hidden += usize::from(seen < 0.9);
            }
        }
        assert!(
            compared > 300 && hidden > 30,
            "{compared} things, {hidden} of them partly hidden"
        );
    }
}

#[test]
fn identities_are_continuous_and_never_come_back() {
    let mut source = camera(&[]);
    let mut last: std::collections::BTreeMap<flowrun_engine::rows::TrackId, (ClassId, f32, f32, bool)> =
        Default::default();
    let mut gone: std::collections::BTreeSet<_> = Default::default();
    for _ in 0..3000 {
        let frame = frame(&mut source);
        let mut now = std::collections::BTreeMap::new();
        for object in frame.truth.as_deref().unwrap() {
            // At the picture's edge somebody may swing a leg across it and back.
            let rect = object.bbox;
            let at_edge = rect.x1 <= 0.0 || rect.y1 <= 0.0 || rect.x2 >= 640.0 || rect.y2 >= 360.0;
            assert!(!gone.remove(&object.id) || at_edge, "{object:?} is back");
            let (x, y) = object.bbox.centre();
            if let Some((class, before_x, before_y, was_at_edge)) = last.get(&object.id) {
                assert_eq!(*class, object.class);
                let moved = f32::hypot(x - before_x, y - before_y);
                assert!(
                    moved < 24.0 || at_edge || *was_at_edge,
                    "{object:?} moved by {moved} pixels in 100 ms"
                );
            }
            let twice = now.insert(object.id, (object.class, x, y, at_edge)).is_some();
            assert!(!twice, "{object:?} is there twice");
        }
        gone.extend(last.keys().copied().filter(|id| !now.contains_key(id)));
        last = now;
    }
    assert!(gone.len() > 100);
}

#[test]
fn vehicles_stop_for_others_and_for_signals() {
    let mut source = camera(&[("fps", Value::Float(2.0))]);
    let mut still: std::collections::BTreeMap<_, (f32, f32, u32)> = Default::default();
    let mut longest = 0;
    for _ in 0..400 {
        for object in frame(&mut source).truth.as_deref().unwrap() {
            let (x, y) = object.bbox.centre();
            let entry = still.entry(object.id).or_insert((x, y, 0));
            let stands = f32::hypot(entry.0 - x, entry.1 - y) < 0.5;
            *entry = (x, y, if stands { entry.2 + 1 } else { 0 });
            longest = longest.max(entry.2);
        }
    }
    assert!(
        longest > 40,
        "somebody waits for more than 20 s: {longest} half seconds"
    );
}

#[test]
fn state_is_bounded_in_a_long_run() {
    let mut world = World::new(1, 1.0);
    let mut most = 0;
    for step in 0..100_000 {
        most = most.max(world.at(f64::from(step) * 0.1).0.len());
    }
    assert!(most < 250, "{most}");
    assert!(world.vehicles_so_far() > 2000, "{}", world.vehicles_so_far());
    let mut crowded = World::new(1, 20.0);
    let most = (0..3000).map(|second| crowded.at(f64::from(second)).0.len()).max();
    assert!(most.is_some_and(|most| most < 350), "{most:?}");
}

#[test]
fn traffic_does_not_depend_on_the_frame_rate() {
    let (mut slow, mut fast) = (World::new(5, 1.0), World::new(5, 1.0));
    for second in 0..60 {
        let (bodies, _) = slow.at(f64::from(second));
        for part in 0..30 {
            let (same, _) = fast.at(f64::from(second) + f64::from(part) / 30.0);
            if part == 0 {
                assert_eq!(format!("{bodies:?}"), format!("{same:?}"));
            }
        }
    }
}

#[test]
fn a_camera_ends_only_when_told_to() {
    let mut source = camera(&[("frames", Value::Int(3)), ("fps", Value::Float(25.0))]);
    assert_eq!(source.traits().overload, Overload::Wait);
    assert!(source.traits().finite);
    for index in 0..3 {
        let Next::Item(item) = source.next().unwrap() else {
            panic!("frame {index}")
        };
        assert_eq!((item.frame, item.media_time), (index, index as i64 * 40_000_000));
    }
    assert!(matches!(source.next().unwrap(), Next::End));
    assert_eq!(camera(&[]).traits().overload, Overload::Shed);
    assert_eq!(camera(&[("pace", text("max"))]).traits().overload, Overload::Wait);
}

#[test]
fn sizes_that_cannot_be_drawn_are_refused() {
    let names = names_of_north();
    for size in ["641x360", "640x361", "32x32", "16384x100", "big"] {
        let given = params(&[("size", text(size))]);
        let error = Synthetic::open(given, &source_setup(Path::new("."), &names))
            .err()
            .unwrap();
        assert!(error.remedy.is_some(), "{size}");
    }
    for size in ["64x64", "64x480", "720x66"] {
        let mut source = camera(&[("size", text(size)), ("light", text("night"))]);
        bytes(&frame(&mut source));
    }
}
