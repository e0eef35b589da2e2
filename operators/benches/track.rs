//! How much of a core does tracking take: 1,000 cameras at 30 frames a second, ten objects each?
//!
//! `thousand_cameras` steps each of 1,000 trackers once, so that none finds its state in a near cache: its time per
//! item is what a frame costs in a busy process; times 30,000 it is the share of a core. `one_camera` is the same
//! frame with everything near, `crowd` one of 200 objects.

use divan::Bencher;
use divan::counter::ItemsCount;
use flowrun_engine::rows::{ClassId, Detection, Rect};
use flowrun_operators::track::{Algorithm, ByteTrack, OnModelChange, TrackParams};

fn main() {
    divan::main();
}

fn defaults() -> TrackParams {
    TrackParams {
        algorithm: Algorithm::Bytetrack,
        track_high_thresh: 0.25,
        track_low_thresh: 0.1,
        new_track_thresh: 0.25,
        track_buffer: 30,
        match_thresh: 0.8,
        fuse_score: true,
        on_model_change: OnModelChange::Bridge,
    }
}

/// One step of a linear congruential generator, as a part of one.
fn random(state: &mut u64) -> f32 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as f32 / (1_u64 << 24) as f32
}

/// Objects that drive across a 1920x1080 picture and begin again at the other side; the detector shakes by a pixel,
/// wavers in score and misses one in twenty.
fn traffic(objects: usize, frames: usize, mut seed: u64) -> Vec<Vec<Detection>> {
    let random = &mut || random(&mut seed);
    let start: Vec<_> = (0..objects)
        .map(|_| {
            (
                random() * 1920.0,
                random() * 1000.0,
                2.0 + 8.0 * random(),
                40.0 + 80.0 * random(),
            )
        })
        .collect();
    let mut frame = |number: usize| {
        let seen = start.iter().filter_map(|(x, y, speed, size)| {
            let (x, y) = ((x + speed * number as f32) % 1920.0 + random(), y + random());
            let score = 0.15 + 0.8 * random();
            let bbox = Rect {
                x1: x,
                y1: y,
                x2: x + 1.4 * size,
                y2: y + size,
            };
            let class = ClassId(2);
            (random() > 0.05).then_some(Detection { class, score, bbox })
        });
        seen.collect()
    };
    (0..frames).map(&mut frame).collect()
}

const FRAMES: usize = 300;

fn run(bencher: Bencher<'_, '_>, cameras: usize, objects: usize) {
    let params = defaults();
    let clips: Vec<_> = (0..8).map(|seed| traffic(objects, FRAMES, seed)).collect();
    let mut trackers = vec![ByteTrack::default(); cameras];
    let mut number = 0;
    let mut round = || {
        number += 1;
        let mut told = 0;
        for (camera, tracker) in trackers.iter_mut().enumerate() {
            let frame = &clips[camera % clips.len()][(number + camera) % FRAMES];
            told += tracker.step(frame, &params).count();
        }
        told
    };
    // Past the first second every tracker also has lost tracks to look through.
    for _ in 0..60 {
        round();
    }
    bencher.counter(ItemsCount::new(cameras)).bench_local(round);
}

#[divan::bench]
fn thousand_cameras(bencher: Bencher<'_, '_>) {
    run(bencher, 1_000, 10);
}

#[divan::bench]
fn one_camera(bencher: Bencher<'_, '_>) {
    run(bencher, 1, 10);
}

#[divan::bench]
fn crowd(bencher: Bencher<'_, '_>) {
    run(bencher, 1, 200);
}
