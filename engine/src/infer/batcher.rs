//! Which pictures are inferred together: by deadline, by what waits, by how urgent their cameras are.
//!
//! Each picture has a due time, given when it arrives: its arrival and what its urgency lets it wait. Those due first go
//! first. An urgent picture so overtakes a patient one, but only until that one's time has come: nothing that arrives
//! later than a picture's due time goes before it, whatever its urgency and whichever camera sends how much.
//!
//! It reads no clock: whoever calls says what time it is.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::admission::Priority;

/// How long a picture may wait, as a share of the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Not at all.
    Emergency,
    /// Half of it.
    High,
    /// All of it.
    Normal,
    /// Twice as long.
    Low,
}

impl From<Priority> for Urgency {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Emergency => Urgency::Emergency,
            Priority::High => Urgency::High,
            Priority::Normal => Urgency::Normal,
            Priority::Low => Urgency::Low,
        }
    }
}

impl Urgency {
    /// What it makes of a deadline.
    pub fn of(self, deadline: Duration) -> Duration {
        match self {
            Urgency::Emergency => Duration::ZERO,
            Urgency::High => deadline / 2,
            Urgency::Normal => deadline,
            Urgency::Low => deadline.saturating_mul(2),
        }
    }
}

/// Pictures that wait.
#[derive(Debug)]
pub struct Batcher<T> {
    waiting: BinaryHeap<Reverse<Waiting<T>>>,
    deadline: Duration,
    sizes: Vec<usize>,
    arrived: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    due: Duration,
    /// Its place in the order of arrival: equals go in that order.
    number: u64,
    item: T,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision<T> {
    /// Nothing waits.
    Idle,
    /// Look again by then at the latest, and whenever a picture arrives.
    Wait(Duration),
    /// Infer these together, the most urgent first.
    Batch(Vec<T>),
}

impl<T> Batcher<T> {
    /// A batcher for sizes that are pooled; the largest is the most that goes together.
    pub fn new(sizes: &[usize], deadline: Duration) -> Self {
        let mut sizes: Vec<usize> = sizes.iter().copied().filter(|size| *size > 0).collect();
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.is_empty() {
            sizes.push(1);
        }
        Batcher {
            waiting: BinaryHeap::new(),
            deadline,
            sizes,
            arrived: 0,
        }
    }

    /// A picture arrives.
    pub fn push(&mut self, item: T, urgency: Urgency, now: Duration) {
        self.waiting.push(Reverse(Waiting {
            due: now.saturating_add(urgency.of(self.deadline)),
            number: self.arrived,
            item,
        }));
        self.arrived += 1;
    }

    /// When the next one is due; none where none waits.
    pub fn due(&self) -> Option<Duration> {
        self.waiting.peek().map(|Reverse(first)| first.due)
    }
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }
    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When a batch can be taken at the latest: at once where one is full, else when the first is due; none where none waits.
    pub fn ready(&self, now: Duration) -> Option<Duration> {
        let most = *self.sizes.last().expect("there is a size");
        let is_full = self.waiting.len() >= most;
        self.due().map(|due| if is_full { now } else { due.max(now) })
    }

    /// What to do at this moment. With `closing` no more will arrive, so that waiting gains nothing.
    pub fn decide(&mut self, now: Duration, closing: bool) -> Decision<T> {
        let Some(Reverse(first)) = self.waiting.peek() else {
            return Decision::Idle;
        };
        let most = *self.sizes.last().expect("there is a size");
        let count = if self.waiting.len() >= most {
            most
        } else if first.due <= now || closing {
            snap(self.waiting.len(), &self.sizes)
        } else {
            return Decision::Wait(first.due - now);
        };
        let taken = std::iter::from_fn(|| self.waiting.pop()).take(count);
        Decision::Batch(taken.map(|Reverse(waiting)| waiting.item).collect())
    }
}

/// How many of `waiting` go together. A run is as long as its pooled size, whether its places are needed or not: so all
/// go where they fill more than half of the step to the next size, else as many as fill the one below, and the rest at once
/// after them.
pub fn snap(waiting: usize, sizes: &[usize]) -> usize {
    let below = sizes.iter().copied().filter(|size| *size <= waiting).max();
    let above = sizes.iter().copied().filter(|size| *size >= waiting).min();
    match (below, above) {
        (Some(below), Some(above)) if 2 * (waiting - below) < above - below => below,
        (Some(below), None) => below,
        _ => waiting,
    }
}

impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}
impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl<T> Eq for Waiting<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEADLINE: Duration = Duration::from_millis(10);
    const SIZES: [usize; 5] = [1, 4, 8, 16, 32];

    fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    #[test]
    fn a_full_batch_goes_at_once_and_a_part_when_its_time_has_come() {
        let mut batcher = Batcher::new(&SIZES, DEADLINE);
        assert_eq!(batcher.decide(ms(0), false), Decision::Idle);
        (0..3).for_each(|item| batcher.push(item, Urgency::Normal, ms(item)));
        assert_eq!(batcher.decide(ms(4), false), Decision::Wait(ms(6)));
        assert_eq!(batcher.decide(ms(10), false), Decision::Batch(vec![0, 1, 2]));
        (0..40).for_each(|item| batcher.push(item, Urgency::Normal, ms(20)));
        assert_eq!(batcher.decide(ms(20), false), Decision::Batch((0..32).collect()));
        assert_eq!(batcher.decide(ms(20), true), Decision::Batch((32..40).collect()));
    }

    #[test]
    fn urgent_pictures_overtake_until_a_patient_ones_time_has_come() {
        let mut batcher = Batcher::new(&[1], DEADLINE);
        batcher.push("low", Urgency::Low, ms(0));
        batcher.push("normal", Urgency::Normal, ms(0));
        batcher.push("high", Urgency::High, ms(0));
        batcher.push("emergency", Urgency::Emergency, ms(0));
        let mut order = Vec::new();
        while let Decision::Batch(batch) = batcher.decide(ms(0), true) {
            order.extend(batch);
        }
        assert_eq!(order, ["emergency", "high", "normal", "low"]);
        batcher.push("patient", Urgency::Low, ms(0));
        batcher.push("late", Urgency::Emergency, ms(21));
        assert_eq!(batcher.decide(ms(21), false), Decision::Batch(vec!["patient"]));
    }

    #[test]
    fn sizes_snap_to_those_that_are_pooled() {
        for (waiting, taken) in [
            (1, 1),
            (2, 1),
            (3, 3),
            (4, 4),
            (5, 4),
            (6, 6),
            (9, 8),
            (12, 12),
            (17, 16),
            (24, 24),
            (30, 30),
            (33, 32),
        ] {
            assert_eq!(snap(waiting, &SIZES), taken, "{waiting}");
        }
        assert_eq!((snap(3, &[8]), snap(9, &[8])), (3, 8));
    }

    fn urgency() -> impl Strategy<Value = Urgency> {
        prop_oneof![
            Just(Urgency::Emergency),
            Just(Urgency::High),
            Just(Urgency::Normal),
            Just(Urgency::Low)
        ]
    }

    proptest! {
        /// Each arrival a millisecond after the one before, one batch taken after every so many.
        #[test]
        fn each_is_taken_once_and_nobody_waits_for_who_came_after_its_time(
            arrivals in proptest::collection::vec(urgency(), 1..200),
            every in 1usize..9,
        ) {
            let mut batcher = Batcher::new(&[1, 4], DEADLINE);
            let mut order = Vec::new();
            for (index, urgency) in arrivals.iter().enumerate() {
                batcher.push(index, *urgency, ms(index as u64));
                if index % every == 0 && let Decision::Batch(batch) = batcher.decide(ms(index as u64), false) {
                    prop_assert!(!batch.is_empty() && batch.len() <= 4);
                    order.extend(batch);
                }
            }
            while let Decision::Batch(batch) = batcher.decide(ms(10_000), true) {
                order.extend(batch);
            }
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..arrivals.len()).collect::<Vec<_>>());
            let place = |item: usize| order.iter().position(|other| *other == item).unwrap();
            for (index, urgency) in arrivals.iter().enumerate() {
                let due = ms(index as u64) + urgency.of(DEADLINE);
                for later in index + 1..arrivals.len() {
                    if ms(later as u64) > due {
                        prop_assert!(place(index) < place(later), "{later} went before {index}");
                    }
                }
            }
        }

        #[test]
        fn what_waits_goes_when_its_time_has_come(urgency in urgency(), others in 0usize..3) {
            let mut batcher = Batcher::new(&SIZES, DEADLINE);
            batcher.push(0, urgency, ms(0));
            (0..others).for_each(|item| batcher.push(item + 1, Urgency::Low, ms(0)));
            let mut now = Duration::ZERO;
            while let Decision::Wait(left) = batcher.decide(now, false) {
                prop_assert!(left > Duration::ZERO);
                now += left;
            }
            prop_assert!(now <= urgency.of(DEADLINE));
        }
    }
}
