//! One camera's pictures, by hand and against the definition.

use flowrun_dsl::value::Value;
use flowrun_engine::frame::{Matrix, Picture, PictureLayout, PixelFormat, PlainMemory, Range};
use flowrun_engine::rows::{At, Size};
use flowrun_engine::time::EventTime;
use proptest::prelude::*;

use super::*;
use crate::testing::params;

const SIZE: Size = Size { width: 8, height: 4 };
const BYTES: i64 = 32;
const MS: i64 = 1_000_000;

/// A picture whose every byte is its number.
fn frame(number: u64) -> Frame {
    let layout = PictureLayout {
        size: SIZE,
        format: PixelFormat::Gray,
        matrix: Matrix::Bt601,
        range: Range::Full,
    };
    Frame {
        picture: Arc::new(Picture::new(
            layout,
            Box::new(PlainMemory::new([(8, vec![number as u8; 32])])),
        )),
        truth: None,
        packets: Rows::default(),
        taken: None,
    }
}

/// One camera, fed by hand.
struct Run {
    params: ClipParams,
    tiers: Arc<Tiers>,
    camera: CameraClip,
    frames: u64,
    /// What went out: the time in milliseconds and the picture's number; and the most with one frame.
    out: Vec<(i64, u8)>,
    most: usize,
    errors: Vec<OperatorError>,
}

impl Run {
    fn new(before_ms: u64, after_ms: u64, given: &[(&str, Value)]) -> Self {
        let spans = [("before", before_ms), ("after", after_ms)]
            .map(|(name, ms)| (name, Value::Duration(Duration::from_millis(ms))));
        let given: Vec<(&str, Value)> = spans.into_iter().chain(given.iter().cloned()).collect();
        let params: ClipParams = params(&given);
        let budgets = TierBudgets {
            cold: params.cold.0 as usize,
            ..TierBudgets::default()
        };
        Run {
            tiers: Tiers::new(&budgets).unwrap(),
            params,
            camera: CameraClip::default(),
            frames: 0,
            out: Vec::new(),
            most: 0,
            errors: Vec::new(),
        }
    }

    fn frame(&mut self, ms: i64, happened: bool) {
        let at = At {
            frame: self.frames,
            event_time: EventTime(ms * MS),
            size: SIZE,
            ..At::default()
        };
        let frames = [frame(self.frames)];
        self.frames += 1;
        match self.camera.answer(&self.params, &self.tiers, &at, &frames, happened) {
            Ok(frames) => {
                self.most = self.most.max(frames.len());
                for frame in frames {
                    let memory = frame.picture.memory();
                    memory.fetch().unwrap();
                    let taken = frame.taken.expect("a picture that was kept back").0;
                    self.out.push((taken / MS, memory.plane(0)[0]));
                }
            }
            Err(error) => self.errors.push(error),
        }
    }

    fn times(&self) -> Vec<i64> {
        self.out.iter().map(|(ms, _)| *ms).collect()
    }
}

#[test]
fn a_clip_has_the_pictures_before_and_after_its_event() {
    let mut run = Run::new(300, 200, &[]);
    (0..20).for_each(|number| run.frame(number * 100, number == 8));
    let expected: Vec<(i64, u8)> = (5..=10).map(|number| (number * 100, number as u8)).collect();
    assert_eq!(run.out, expected);
    assert_eq!(run.tiers.state().tiers[2].pictures, 4, "what may still be wanted waits");
    assert!(run.errors.is_empty());
}

#[test]
fn a_clip_catches_up_as_fast_as_it_may() {
    for (catch_up, most) in [(1, 1), (2, 2), (100, 6)] {
        let mut run = Run::new(500, 10_000, &[("catch-up", Value::Int(catch_up))]);
        (0..30).for_each(|number| run.frame(number * 100, number == 10));
        assert_eq!(run.most, most, "{catch_up}");
        assert!(
            run.times().windows(2).all(|pair| pair[1] - pair[0] == 100),
            "{catch_up}"
        );
        assert_eq!(run.out.first().unwrap().0, 500);
        // One by one it stays as far behind as it began.
        let last = if catch_up == 1 { 2_400 } else { 2_900 };
        assert_eq!(run.out.last().unwrap().0, last, "{catch_up}");
    }
}

#[test]
fn pictures_for_which_there_was_no_room_are_an_error_and_the_rest_follows() {
    let mut run = Run::new(1_000, 0, &[("cold", Value::Bytes(4 * BYTES as u64))]);
    (0..12).for_each(|number| run.frame(number * 100, number == 10));
    assert_eq!(run.errors.len(), 1);
    let error = &run.errors[0];
    assert!(error.cause.starts_with("7 pictures"), "{error:?}");
    assert!(error.remedy.as_ref().unwrap().contains("cold="));
    assert_eq!(
        run.times(),
        [700, 800, 900, 1_000],
        "pictures go before what is told of others"
    );
}

#[test]
fn a_clock_that_is_set_back_begins_anew() {
    let mut run = Run::new(300, 500, &[]);
    (0..5).for_each(|number| run.frame(10_000 + number * 100, number == 2));
    (0..5).for_each(|number| run.frame(number * 100, false));
    run.frame(500, true);
    let expected = [10_000, 10_100, 10_200, 10_300, 10_400, 200, 300, 400, 500];
    assert_eq!(run.times(), expected);
}

proptest! {
    /// Against the definition: a picture goes out if an event lies within reach, once, in order.
    #[test]
    fn just_the_pictures_within_reach_go_out(
        steps in proptest::collection::vec((1i64..400, proptest::bool::weighted(0.06)), 1..150),
        before in 0u64..2_000,
        after in 0u64..2_000,
        catch_up in 1i64..9,
    ) {
        let mut run = Run::new(before, after, &[("catch-up", Value::Int(catch_up))]);
        let (mut now, mut frames) = (0, Vec::new());
        for (step, happened) in steps {
            now += step;
            frames.push((now, happened));
        }
        frames.iter().for_each(|(ms, happened)| run.frame(*ms, *happened));
        prop_assert!(run.most <= catch_up as usize);
        // What is behind at the end goes out with later frames.
        (0..frames.len() as i64).for_each(|number| run.frame(now + 10_000 + number, false));
        let reached = |ms: i64| {
            let mut events = frames.iter().filter(|(_, happened)| *happened);
            events.any(|(event, _)| event - before as i64 <= ms && ms <= event + after as i64)
        };
        let expected: Vec<i64> = frames.iter().map(|(ms, _)| *ms).filter(|ms| reached(*ms)).collect();
        prop_assert_eq!(run.times(), expected);
        prop_assert!(run.errors.is_empty());
    }
}
