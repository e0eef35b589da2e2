//! How many lanes of a group work: more where work waits and all have some, fewer once they were not all needed for a while.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::metrics::LaneState;

/// A lane that was not needed this long stops.
pub const REST: Duration = Duration::from_secs(5);

/// The lanes of a group by their place: the first so many work, the others rest.
#[derive(Debug)]
pub struct Scale {
    bounds: RangeInclusive<usize>,
    /// How many may work.
    open: usize,
    /// How many have a batch.
    busy: usize,
    /// When all that may work last had a batch at once.
    needed: Duration,
}

impl Scale {
    /// Begins with the fewest.
    pub fn new(bounds: RangeInclusive<usize>) -> Self {
        let most = (*bounds.end()).max(1);
        let least = (*bounds.start()).clamp(1, most);
        Scale {
            bounds: least..=most,
            open: least,
            busy: 0,
            needed: Duration::ZERO,
        }
    }

    /// As those who watch are told.
    pub fn state(&self) -> LaneState {
        LaneState {
            least: *self.bounds.start(),
            most: *self.bounds.end(),
            open: self.open,
            busy: self.busy,
        }
    }

    /// Whether a lane may take a batch.
    pub fn has(&self, lane: usize) -> bool {
        lane < self.open
    }

    /// A lane takes a batch.
    pub fn takes(&mut self, now: Duration) {
        self.busy += 1;
        if self.busy >= self.open {
            self.needed = now;
        }
    }

    /// A lane is through with its batch. The last one stops where the others were enough for a while.
    pub fn gives(&mut self, now: Duration) {
        if self.busy >= self.open {
            self.needed = now;
        }
        self.busy = self.busy.saturating_sub(1);
        if self.open > *self.bounds.start() && now.saturating_sub(self.needed) >= REST {
            self.open -= 1;
            self.needed = now;
        }
    }

    /// Whether all that may work have a batch, and one more is there.
    pub fn is_short(&self) -> bool {
        self.busy >= self.open && self.open < *self.bounds.end()
    }

    /// Whether a lane is the one to come next where they are short.
    pub fn is_next(&self, lane: usize) -> bool {
        lane == self.open && self.is_short()
    }

    /// A lane more may work from here on.
    pub fn grows(&mut self, now: Duration) {
        self.open += 1;
        self.needed = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn lanes_come_while_all_are_busy_and_go_when_they_were_not() {
        let mut scale = Scale::new(1..=3);
        assert!(!scale.is_short(), "one is free");
        scale.takes(second(0));
        assert!(scale.is_next(1) && !scale.is_next(2));
        scale.grows(second(0));
        assert!(
            scale.has(1) && !scale.has(2) && !scale.is_short(),
            "the second is free now"
        );
        scale.takes(second(1));
        assert!(scale.is_next(2));
        scale.grows(second(1));
        scale.takes(second(1));
        assert!(!scale.is_short(), "there is no fourth");
        for at in [2, 3, 4] {
            scale.gives(second(at));
        }
        assert_eq!(scale.open, 3, "all were needed two seconds ago");
        let mut open = Vec::new();
        for at in 5..20 {
            scale.takes(second(at));
            scale.gives(second(at));
            open.push(scale.open);
        }
        assert!(
            open.is_sorted_by(|before, after| before >= after) && open.last() == Some(&1),
            "{open:?}"
        );
        assert_eq!(
            open.iter().filter(|open| **open == 2).count(),
            5,
            "one at a time: {open:?}"
        );
    }

    proptest! {
        #[test]
        fn bounds_hold_and_somebody_may_always_work(
            least in 0usize..5, most in 0usize..9, steps in proptest::collection::vec((0u8..3, 0u64..4), 0..200)
        ) {
            let mut scale = Scale::new(least..=most);
            let (mut now, mut busy) = (Duration::ZERO, 0);
            for (step, passes) in steps {
                now += second(passes);
                match step {
                    0 if busy < scale.open => {
                        busy += 1;
                        scale.takes(now);
                    }
                    1 if busy > 0 => {
                        busy -= 1;
                        scale.gives(now);
                    }
                    2 if scale.is_short() => {
                        prop_assert!(busy >= scale.open, "nobody is added beside one that is free");
                        scale.grows(now);
                    }
                    _ => {}
                }
                prop_assert!(scale.has(0) && scale.open >= least.min(most.max(1)) && scale.open <= most.max(1));
            }
        }
    }
}
