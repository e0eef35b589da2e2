//! A medium's timestamps as media time that strictly increases.
//!
//! Timestamps of real files are missing, repeat, run backwards and jump. The law here: a picture's
//! media time is its timestamp relative to the first picture's wherever the timestamps allow it,
//! and always later than the time of the picture before.

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;
/// A step backwards that is longer than this is a new clock rather than a misplaced picture.
const MISPLACED_AT_MOST: i64 = SECOND;
/// No picture stays longer than this for the sake of its own duration field.
const LONGEST_DURATION: i64 = 10 * SECOND;

/// What is known of a stream's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clock {
    /// Seconds of one unit of the timestamps, as a fraction.
    pub unit: (i32, i32),
    /// Nanoseconds of a picture by the frame rate.
    pub nominal: i64,
    /// Nanoseconds that a picture may lie after the one before; a longer step is a new clock.
    pub longest_step: i64,
}

impl Clock {
    /// Nanoseconds of so many units.
    pub fn nanoseconds(&self, units: i64) -> i128 {
        let (numerator, denominator) = self.unit;
        i128::from(units) * i128::from(numerator) * i128::from(SECOND) / i128::from(denominator.max(1))
    }
}

/// Places pictures in media time.
#[derive(Debug)]
pub(crate) struct Timeline {
    clock: Clock,
    /// What is added to a timestamp; none until the first one after a start.
    offset: Option<i128>,
    last: Option<i64>,
    duration: i64,
}

impl Timeline {
    pub fn new(clock: Clock) -> Self {
        Timeline {
            clock,
            offset: None,
            last: None,
            duration: 0,
        }
    }

    /// The medium begins anew: its first picture follows the last one by that one's duration.
    pub fn restart(&mut self) {
        self.offset = None;
    }

    /// The media time of the next picture, in nanoseconds, from its timestamp and duration in the stream's units.
    pub fn place(&mut self, timestamp: Option<i64>, duration: i64) -> i64 {
        let expected = self.last.map_or(0, |last| last.saturating_add(self.duration));
        let time = match (timestamp.map(|units| self.nanoseconds(units)), self.offset) {
            (None, _) => expected,
            (Some(own), None) => self.begin_clock(own, expected),
            (Some(own), Some(offset)) => {
                let wanted = own + offset;
                let last = i128::from(self.last.unwrap_or(-1));
                let step = wanted - last;
                if step < -i128::from(MISPLACED_AT_MOST) || step > i128::from(self.clock.longest_step) {
                    self.begin_clock(own, expected)
                } else if step <= 0 {
                    expected
                } else {
                    i64::try_from(wanted).unwrap_or(expected)
                }
            }
        };
        self.last = Some(time);
        let own = i64::try_from(self.nanoseconds(duration)).unwrap_or(0);
        self.duration = if (1..=LONGEST_DURATION).contains(&own) {
            own
        } else {
            self.clock.nominal
        };
        time
    }

    fn begin_clock(&mut self, own: i128, expected: i64) -> i64 {
        self.offset = Some(i128::from(expected) - own);
        expected
    }

    fn nanoseconds(&self, units: i64) -> i128 {
        self.clock.nanoseconds(units)
    }
}

/// Chooses the first picture at or after each instant k/fps of media time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    fps: f64,
    next: u64,
    early: i64,
}

impl Grid {
    /// Containers round timestamps, Matroska to a millisecond: a picture this early, and never
    /// more than a quarter of a picture, counts as in time.
    const EARLY_AT_MOST: i64 = 1_000_000;

    /// A grid of `fps` instants a second, 0 < fps <= 1000, over pictures of this nominal duration.
    pub fn new(fps: f64, nominal: i64) -> Self {
        Grid {
            fps,
            next: 0,
            early: Self::EARLY_AT_MOST.min(nominal / 4),
        }
    }

    /// Whether a picture is chosen; asked for each in turn.
    pub fn takes(&mut self, media_time: i64) -> bool {
        let time = media_time.saturating_add(self.early) as f64;
        if time < self.instant(self.next) {
            return false;
        }
        self.next = self.next.max((time * self.fps / SECOND as f64) as u64);
        while self.instant(self.next) <= time {
            self.next += 1;
        }
        true
    }

    fn instant(&self, index: u64) -> f64 {
        index as f64 * SECOND as f64 / self.fps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLOCK: Clock = Clock {
        unit: (1, 1000),
        nominal: 40 * MILLISECOND,
        longest_step: 10 * SECOND,
    };
    const MILLISECOND: i64 = 1_000_000;

    fn placed(timestamps: &[Option<i64>]) -> Vec<i64> {
        let mut timeline = Timeline::new(CLOCK);
        timestamps
            .iter()
            .map(|timestamp| timeline.place(*timestamp, 0) / MILLISECOND)
            .collect()
    }

    #[test]
    fn timestamps_are_respected_relative_to_the_first() {
        assert_eq!(
            placed(&[Some(500), Some(510), Some(600), Some(2000)]),
            [0, 10, 100, 1500]
        );
    }

    #[test]
    fn missing_and_misplaced_ones_are_repaired_from_the_frame_rate() {
        assert_eq!(placed(&[None, None, Some(900), Some(940)]), [0, 40, 80, 120]);
        assert_eq!(placed(&[Some(0), Some(40), Some(20), Some(120)]), [0, 40, 80, 120]);
        assert_eq!(placed(&[Some(0), Some(0), Some(0)]), [0, 40, 80]);
    }

    #[test]
    fn a_jump_of_the_clock_is_not_waited_for() {
        assert_eq!(
            placed(&[Some(0), Some(40), Some(95_000_000), Some(95_000_040)]),
            [0, 40, 80, 120]
        );
        assert_eq!(
            placed(&[Some(90_000), Some(90_040), Some(0), Some(40)]),
            [0, 40, 80, 120]
        );
    }

    #[test]
    fn a_loop_goes_on_after_the_last_picture() {
        let mut timeline = Timeline::new(CLOCK);
        assert_eq!(timeline.place(Some(100), 0), 0);
        assert_eq!(timeline.place(Some(140), 100), 40 * MILLISECOND);
        timeline.restart();
        assert_eq!(timeline.place(Some(100), 0), 140 * MILLISECOND);
    }

    proptest! {
        #[test]
        fn media_time_strictly_increases(
            pictures in proptest::collection::vec((any::<Option<i64>>(), any::<i64>(), any::<bool>()), 1..50),
            unit in (1..=i32::MAX, 1..=i32::MAX),
        ) {
            let mut timeline = Timeline::new(Clock { unit, ..CLOCK });
            let mut last = -1;
            for (timestamp, duration, restart) in pictures {
                if restart { timeline.restart(); }
                let time = timeline.place(timestamp, duration);
                prop_assert!(time > last);
                prop_assert!(time <= last + 1 + 10 * SECOND);
                last = time;
            }
        }

        #[test]
        fn each_chosen_picture_is_the_first_of_its_instant(
            steps in proptest::collection::vec(1_000_000i64..200_000_000, 1..200),
            fps in 0.1f64..120.0,
        ) {
            let mut grid = Grid::new(fps, 40 * MILLISECOND);
            let early = grid.early;
            let (mut time, mut before) = (0i64, None::<i64>);
            for step in steps {
                // The index of the last instant that has come by a time.
                let instant = |time: i64| ((time + early) as f64 * fps / SECOND as f64 + 1e-9).floor();
                let first = before.is_none_or(|before| instant(time) > instant(before));
                prop_assert_eq!(grid.takes(time), first);
                before = Some(time);
                time += step;
            }
        }
    }
}
