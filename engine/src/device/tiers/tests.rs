//! The tiers on the twin: who goes where, what fails, and that nothing is left behind.

use std::fs::OpenOptions;
use std::path::Path;

use proptest::prelude::*;

use super::super::{CudaStream, Device, ResidentPool, Twin};
use super::*;
use crate::frame::{Matrix, PixelFormat, PlainMemory, Range};
use crate::rows::Size;

const FORMATS: [PixelFormat; 6] = [
    PixelFormat::Yuv420,
    PixelFormat::Yuv422,
    PixelFormat::Yuv444,
    PixelFormat::Nv12,
    PixelFormat::Gray,
    PixelFormat::Rgb,
];

fn layout(width: u32, height: u32, format: PixelFormat) -> PictureLayout {
    PictureLayout {
        size: Size { width, height },
        format,
        matrix: Matrix::Bt709,
        range: Range::Limited,
    }
}

/// Planes whose every byte tells its place, with padding behind the rows.
fn pixels(layout: PictureLayout, seed: usize) -> PlainMemory {
    let (shapes, count) = planes(layout);
    PlainMemory::new(shapes.into_iter().take(count).enumerate().map(|(plane, [rows, row])| {
        let stride = row + 3;
        let byte = |at: usize| (seed * 13 + 31 * plane + at * 7 + at / stride) as u8;
        (stride, (0..rows * stride).map(byte).collect())
    }))
}

fn is_same(layout: PictureLayout, one: &dyn PictureMemory, other: &dyn PictureMemory) -> bool {
    let (shapes, count) = planes(layout);
    let rows = |memory: &dyn PictureMemory, plane: usize, line: usize, row: usize| {
        memory.plane(plane)[line * memory.stride(plane)..][..row].to_vec()
    };
    (0..count).all(|plane| {
        let [lines, row] = shapes[plane];
        (0..lines).all(|line| rows(one, plane, line, row) == rows(other, plane, line, row))
    })
}

/// A device with pictures on it, and a store beside it.
struct Bench {
    twin: Arc<Twin>,
    pool: Arc<ResidentPool>,
    stream: Arc<CudaStream>,
    tiers: Arc<Tiers>,
    budgets: TierBudgets,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new([hot, warm, cold, archive]: [usize; 4]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let budgets = TierBudgets {
            hot,
            warm,
            cold,
            archive: archive as u64,
            folder: folder.path().into(),
        };
        let twin = Twin::new(64 << 20);
        let device: Arc<dyn Device> = twin.clone();
        Bench {
            pool: ResidentPool::new(&device),
            stream: Arc::new(CudaStream::open(&device).unwrap()),
            tiers: Tiers::new(&budgets).unwrap(),
            twin,
            budgets,
            _folder: folder,
        }
    }

    fn on_device(&self, layout: PictureLayout, seed: usize) -> Picture {
        let sent = self.pool.send(&self.stream, layout, &pixels(layout, seed)).unwrap();
        self.pool.picture(sent, &self.stream)
    }

    fn on_host(&self, layout: PictureLayout, seed: usize) -> Picture {
        Picture::new(layout, Box::new(pixels(layout, seed)))
    }

    fn pictures(&self, tier: Tier) -> u64 {
        self.tiers.state().of(tier).pictures
    }

    /// That no tier holds more than its budget, by its own account and by the device's.
    fn assert_within_budgets(&self) {
        let state = self.tiers.state();
        for tier in Tier::ALL {
            let of = state.of(tier);
            assert!(of.most_bytes <= of.budget_bytes, "{tier:?}: {of:?}");
        }
        let others = self.pool.state().reserved_bytes + self.pool.staging().reserved_bytes;
        let own = self.twin.taken_bytes() - others;
        assert!(own <= self.budgets.hot + self.budgets.warm, "{own} bytes taken");
    }

    /// That nothing stays behind.
    fn end(self) {
        let Bench {
            twin,
            pool,
            stream,
            tiers,
            ..
        } = self;
        let state = tiers.state();
        assert!(
            state.tiers.iter().all(|tier| (tier.bytes, tier.pictures) == (0, 0)),
            "{state:?}"
        );
        drop((tiers, pool, stream));
        assert_eq!((twin.taken_bytes(), twin.open_handles()), (0, 0));
    }
}

/// Bytes of the picture that most tests keep.
const BYTES: usize = 96;

fn small() -> PictureLayout {
    let layout = layout(8, 8, PixelFormat::Nv12);
    assert_eq!(packed(layout).1, BYTES);
    layout
}

#[test]
fn the_oldest_go_down_tier_by_tier_and_are_forgotten_at_last() {
    let bench = Bench::new([2 * BYTES, 2 * BYTES, 2 * BYTES, 2 * BYTES]);
    let kept: Vec<Retained> = (0..10)
        .map(|seed| bench.tiers.keep(&bench.on_device(small(), seed)).unwrap())
        .collect();
    let state = bench.tiers.state();
    assert_eq!(state.tiers.map(|tier| tier.pictures), [2, 2, 2, 2]);
    assert_eq!(state.tiers.map(|tier| tier.demoted), [8, 6, 4, 0]);
    assert_eq!((state.forgotten, state.failed), (2, 0));
    let lost: Vec<bool> = kept.iter().map(Retained::is_lost).collect();
    assert_eq!(lost[..3], [true, true, false]);
    assert!(kept[0].read().err().unwrap().remedy.is_some(), "it says what to raise");
    for (seed, kept) in kept.iter().enumerate().skip(2) {
        assert!(
            is_same(small(), kept.read().unwrap().as_ref(), &pixels(small(), seed)),
            "{seed}"
        );
    }
    assert_eq!(bench.tiers.state().forgotten, 2, "reading costs no other picture");
    bench.assert_within_budgets();
    drop(kept);
    bench.end();
}

#[test]
fn pictures_of_a_processor_begin_in_pageable_memory() {
    let bench = Bench::new([10 * BYTES, 10 * BYTES, BYTES, 10 * BYTES]);
    let kept: Vec<Retained> = (0..3)
        .map(|seed| bench.tiers.keep(&bench.on_host(small(), seed)).unwrap())
        .collect();
    assert_eq!(bench.tiers.state().tiers.map(|tier| tier.pictures), [0, 0, 1, 2]);
    drop(kept);
    bench.end();
}

#[test]
fn what_is_read_from_the_archive_comes_back_and_keeps_its_age() {
    let bench = Bench::new([0, 0, 2 * BYTES, 4 * BYTES]);
    let keep = |seed| bench.tiers.keep(&bench.on_host(small(), seed)).unwrap();
    let kept: Vec<Retained> = (0..4).map(keep).collect();
    assert_eq!([Tier::Cold, Tier::Archive].map(|tier| bench.pictures(tier)), [2, 2]);
    let reader = kept[0].read().unwrap();
    let state = bench.tiers.state();
    assert_eq!(
        (state.of(Tier::Archive).promoted, state.of(Tier::Cold).pictures),
        (1, 2)
    );
    assert!(is_same(small(), reader.as_ref(), &pixels(small(), 0)));
    // While it is read it stays; then it is the oldest, and the first to go.
    let fifth = keep(4);
    assert!(matches!(bench.tiers.lock().read(0, BYTES), Ok(Lent::Cold(_))));
    drop(reader);
    let sixth = keep(5);
    let first = bench.tiers.lock().entry_tier(0);
    assert_eq!(first, Some(Tier::Archive));
    bench.assert_within_budgets();
    drop((kept, fifth, sixth));
    bench.end();
}

#[test]
fn a_picture_that_no_tier_takes_is_refused_with_what_to_raise() {
    let bench = Bench::new([0, 0, BYTES - 1, 0]);
    let error = bench.tiers.keep(&bench.on_host(small(), 0)).unwrap_err();
    assert!(error.cause.contains("96 bytes") && error.remedy.unwrap().contains("cold="));
    let error = bench.tiers.keep(&bench.on_device(small(), 0)).unwrap_err();
    assert!(error.cause.contains("96 bytes"));
    bench.end();
}

#[test]
fn a_lost_device_costs_its_pictures_and_nothing_else() {
    let bench = Bench::new([2 * BYTES, 0, 10 * BYTES, 0]);
    let keep = |seed| bench.tiers.keep(&bench.on_device(small(), seed));
    let mut kept: Vec<Retained> = (0..4).map(|seed| keep(seed).unwrap()).collect();
    assert_eq!([Tier::Hot, Tier::Cold].map(|tier| bench.pictures(tier)), [2, 2]);
    let picture = bench.on_device(small(), 4);
    bench.twin.lose();
    let error = bench.tiers.keep(&picture).unwrap_err();
    assert!(error.cause.contains("lost") && error.remedy.is_some(), "{error:?}");
    assert!(kept[3].read().err().unwrap().cause.contains("lost"));
    // Room was made for the one that could not be kept, and the other was read.
    let state = bench.tiers.state();
    assert_eq!((state.failed, state.forgotten, state.of(Tier::Hot).pictures), (2, 0, 0));
    assert!([2, 3].iter().all(|seed| kept[*seed].is_lost()));
    for (seed, kept) in kept.iter().enumerate().take(2) {
        assert!(is_same(small(), kept.read().unwrap().as_ref(), &pixels(small(), seed)));
    }
    bench.twin.find();
    kept.push(keep(5).unwrap());
    assert_eq!(bench.pictures(Tier::Hot), 1);
    drop((kept, picture));
    bench.end();
}

#[test]
fn a_full_device_sends_pictures_to_the_host() {
    let twin = Twin::new(4000);
    let device: Arc<dyn Device> = twin.clone();
    let pool = ResidentPool::new(&device);
    let stream = Arc::new(CudaStream::open(&device).unwrap());
    let budgets = TierBudgets {
        hot: 1 << 20,
        warm: 1 << 20,
        cold: 1 << 20,
        ..TierBudgets::default()
    };
    let tiers = Tiers::new(&budgets).unwrap();
    let large = layout(16, 16, PixelFormat::Gray);
    let sent = pool.send(&stream, large, &pixels(large, 1)).unwrap();
    let picture = pool.picture(sent, &stream);
    let kept: Vec<Retained> = (0..20).map(|_| tiers.keep(&picture).unwrap()).collect();
    let state = tiers.state();
    assert!(state.of(Tier::Cold).pictures > 10, "{state:?}");
    assert_eq!((state.forgotten, state.failed), (0, 0));
    assert!(
        kept.iter()
            .all(|kept| is_same(large, kept.read().unwrap().as_ref(), &pixels(large, 1)))
    );
}

#[test]
fn a_full_disk_costs_what_it_has_no_room_for() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let budgets = TierBudgets {
        cold: 2 * BYTES,
        archive: 10 * BYTES as u64,
        ..TierBudgets::default()
    };
    let gauges = Arc::new(Gauges::of(&budgets));
    let archive = Archive::of(full, Path::new("clips"), budgets.archive);
    let tiers = Arc::new(Tiers {
        store: Mutex::new(Store::new(&budgets, Some(archive), &gauges)),
        dropped: Mutex::default(),
        gauges,
    });
    let picture = |seed| Picture::new(small(), Box::new(pixels(small(), seed)));
    let kept: Vec<Retained> = (0..5).map(|seed| tiers.keep(&picture(seed)).unwrap()).collect();
    let state = tiers.state();
    assert_eq!((state.failed, state.of(Tier::Cold).pictures), (3, 2));
    let lost: Vec<bool> = kept.iter().map(Retained::is_lost).collect();
    assert_eq!(lost, [true, true, true, false, false]);
}

#[test]
fn a_broken_picture_is_refused_and_takes_no_room() {
    let bench = Bench::new([0, 0, 10 * BYTES, 0]);
    let broken = Picture::new(small(), Box::new(PlainMemory::new([(8, vec![1; 8]), (8, vec![1; 8])])));
    assert!(bench.tiers.keep(&broken).unwrap_err().cause.contains("too few bytes"));
    bench.end();
}

#[test]
fn a_picture_can_be_read_again_and_again_without_being_held() {
    let bench = Bench::new([0, 0, 10 * BYTES, 0]);
    let kept = bench.tiers.keep(&bench.on_host(small(), 7)).unwrap();
    let picture = Arc::new(kept.into_picture());
    for _ in 0..3 {
        let passing = picture.passing();
        passing.memory().fetch().unwrap();
        assert!(is_same(small(), passing.memory(), &pixels(small(), 7)));
        drop(passing);
        assert!(!bench.tiers.lock().is_held(0), "its reader has let go of it");
    }
    drop(picture);
    bench.end();
}

#[test]
fn wanted_pictures_are_not_forgotten_for_others() {
    let bench = Bench::new([0, 0, BYTES, 2 * BYTES]);
    let keep = |seed| bench.tiers.keep(&bench.on_host(small(), seed));
    let wanted: Vec<Retained> = (0..2).map(|seed| keep(seed).unwrap()).collect();
    wanted.iter().for_each(Retained::want);
    // There is room for one more, which makes way for the next.
    let third = keep(2).unwrap();
    let fourth = keep(3).unwrap();
    assert!(third.is_lost() && wanted.iter().all(|wanted| !wanted.is_lost()));
    fourth.want();
    assert!(keep(4).unwrap_err().cause.contains("no tier has room"));
    for (seed, wanted) in wanted.iter().enumerate() {
        assert!(is_same(
            small(),
            wanted.read().unwrap().as_ref(),
            &pixels(small(), seed)
        ));
    }
    bench.assert_within_budgets();
    drop((wanted, third, fourth));
    bench.end();
}

#[test]
fn memory_stays_within_budgets_however_long_it_goes_on() {
    let bench = Bench::new([8 * BYTES, 4 * BYTES, 8 * BYTES, 16 * BYTES]);
    let mut kept = std::collections::VecDeque::new();
    for seed in 0..20_000 {
        let picture = match seed % 3 {
            0 => bench.on_host(small(), seed),
            _ => bench.on_device(small(), seed),
        };
        kept.push_back((seed, bench.tiers.keep(&picture).unwrap()));
        if kept.len() > 30 {
            kept.pop_front();
        }
        if seed % 7 == 0
            && let Some((seed, kept)) = kept.iter().find(|(_, kept)| !kept.is_lost())
        {
            assert!(is_same(small(), kept.read().unwrap().as_ref(), &pixels(small(), *seed)));
        }
        if seed % 100 == 0 {
            bench.assert_within_budgets();
        }
    }
    let state = bench.tiers.state();
    assert!(state.of(Tier::Archive).promoted > 100 && state.failed == 0, "{state:?}");
    kept.clear();
    bench.end();
}

/// What may happen to a store.
#[derive(Clone, Debug)]
enum Step {
    Keep {
        size: (u32, u32),
        format: usize,
        device: bool,
    },
    Read {
        which: usize,
        hold: bool,
    },
    Drop {
        which: usize,
    },
    LetGo,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keep = ((1u32..24, 1u32..24), 0..FORMATS.len(), any::<bool>()).prop_map(|(size, format, device)| Step::Keep {
        size,
        format,
        device,
    });
    let read = (any::<usize>(), any::<bool>()).prop_map(|(which, hold)| Step::Read { which, hold });
    let gone = any::<usize>().prop_map(|which| Step::Drop { which });
    let step = prop_oneof![5 => keep, 4 => read, 1 => gone, 1 => Just(Step::LetGo)];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn pictures_are_the_same_bytes_whatever_way_they_went(
        budgets in proptest::array::uniform4(0usize..4000),
        steps in steps(),
    ) {
        let bench = Bench::new(budgets);
        let mut kept: Vec<(Retained, usize)> = Vec::new();
        let mut readers: Vec<Box<dyn PictureMemory>> = Vec::new();
        let mut lost = 0;
        for (seed, step) in steps.into_iter().enumerate() {
            match step {
                Step::Keep { size: (width, height), format, device } => {
                    let layout = layout(width, height, FORMATS[format]);
                    let picture = if device { bench.on_device(layout, seed) } else { bench.on_host(layout, seed) };
                    // One that no tier takes is refused.
                    kept.extend(bench.tiers.keep(&picture).ok().map(|kept| (kept, seed)));
                }
                Step::Read { which, hold } if !kept.is_empty() => {
                    let (kept, seed) = &kept[which % kept.len()];
                    prop_assert_eq!(kept.read().is_err(), kept.is_lost());
                    if let Ok(memory) = kept.read() {
                        prop_assert!(is_same(kept.layout, memory.as_ref(), &pixels(kept.layout, *seed)));
                        readers.extend(hold.then_some(memory));
                    }
                }
                Step::Drop { which } if !kept.is_empty() => {
                    let which = which % kept.len();
                    lost += u64::from(kept.swap_remove(which).0.is_lost());
                }
                Step::Read { .. } | Step::Drop { .. } => {}
                Step::LetGo => readers.clear(),
            }
            bench.assert_within_budgets();
        }
        let state = bench.tiers.state();
        prop_assert_eq!(state.failed, 0);
        lost += kept.iter().filter(|(kept, _)| kept.is_lost()).count() as u64;
        prop_assert_eq!(state.forgotten, lost, "none is forgotten silently");
        let there = state.tiers.iter().map(|tier| tier.pictures).sum::<u64>();
        prop_assert_eq!(there, kept.iter().filter(|(kept, _)| !kept.is_lost()).count() as u64);
        drop((kept, readers));
        bench.end();
    }
}
