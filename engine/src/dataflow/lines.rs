//! What waits for the lanes of an offloaded node, gathered into batches.
//!
//! After an edit frames of two versions wait at once. Each version has a line of its own, so that a batch is of one
//! version; the line whose first frame is due first goes first, so that neither holds up the other.

use std::sync::Arc;
use std::time::Duration;

use crate::infer::{Batcher, Decision, Urgency};

/// Lines of `T`, one a version `V`.
pub struct Lines<V: ?Sized, T> {
    lines: Vec<Line<V, T>>,
    closed: bool,
}

struct Line<V: ?Sized, T> {
    version: Arc<V>,
    batcher: Batcher<T>,
}

impl<V: ?Sized, T> Default for Lines<V, T> {
    fn default() -> Self {
        Lines {
            lines: Vec::new(),
            closed: false,
        }
    }
}

impl<V: ?Sized, T> Lines<V, T> {
    /// Adds one of a version; `batcher` makes that version's when it is the first.
    pub fn push(
        &mut self,
        version: &Arc<V>,
        batcher: impl FnOnce() -> Batcher<T>,
        item: T,
        urgency: Urgency,
        now: Duration,
    ) {
        // The newest is the last, and mostly the only one.
        let known = self.lines.iter().rposition(|line| Arc::ptr_eq(&line.version, version));
        let place = known.unwrap_or_else(|| {
            self.lines.retain(|line| !line.batcher.is_empty());
            self.lines.push(Line {
                version: version.clone(),
                batcher: batcher(),
            });
            self.lines.len() - 1
        });
        self.lines[place].batcher.push(item, urgency, now);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lines.iter().map(|line| line.batcher.len()).sum()
    }

    /// Whether no more will come.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// No more will come.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Whether none will come and none waits.
    pub fn is_over(&self) -> bool {
        self.closed && self.lines.iter().all(|line| line.batcher.is_empty())
    }

    /// When a batch can be taken at the latest: at once, or when the first is due; none where none waits.
    pub fn ready(&self, now: Duration) -> Option<Duration> {
        self.lines.iter().filter_map(|line| line.batcher.ready(now)).min()
    }

    /// What to do at this moment: see [`Batcher::decide`].
    pub fn decide(&mut self, now: Duration) -> Decision<T> {
        let mut left: Option<Duration> = None;
        let mut places: Vec<(Duration, usize)> = Vec::with_capacity(self.lines.len());
        let lines = self.lines.iter().enumerate();
        places.extend(lines.filter_map(|(place, line)| Some((line.batcher.due()?, place))));
        places.sort_unstable();
        for (_, place) in places {
            match self.lines[place].batcher.decide(now, self.closed) {
                Decision::Batch(batch) => return Decision::Batch(batch),
                Decision::Wait(wait) => left = Some(left.map_or(wait, |left| left.min(wait))),
                Decision::Idle => {}
            }
        }
        left.map_or(Decision::Idle, Decision::Wait)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    const DEADLINE: Duration = Duration::from_millis(10);
    const SIZES: [usize; 3] = [1, 4, 8];

    /// A frame: its version, its camera, and its place among all.
    type Item = (usize, usize, usize);

    fn ms(time: usize) -> Duration {
        Duration::from_millis(time as u64)
    }

    fn urgency(camera: usize) -> Urgency {
        [Urgency::Emergency, Urgency::High, Urgency::Normal, Urgency::Low][camera % 4]
    }

    fn push(lines: &mut Lines<usize, Item>, versions: &[Arc<usize>], item: Item, now: Duration) {
        let batcher = || Batcher::new(&SIZES, DEADLINE);
        lines.push(&versions[item.0], batcher, item, urgency(item.1), now);
    }

    #[test]
    fn it_ends_when_all_were_taken() {
        let versions = [Arc::new(0)];
        let mut lines = Lines::default();
        assert_eq!(lines.decide(ms(0)), Decision::Idle);
        push(&mut lines, &versions, (0, 2, 0), ms(0));
        assert_eq!(lines.decide(ms(1)), Decision::Wait(ms(9)));
        lines.close();
        assert!(!lines.is_over());
        assert_eq!(lines.decide(ms(1)), Decision::Batch(vec![(0, 2, 0)]));
        assert!(lines.is_over());
    }

    #[test]
    fn a_version_that_is_through_is_forgotten() {
        let versions = [Arc::new(0), Arc::new(1)];
        let mut lines = Lines::default();
        for (place, version) in [0, 1].into_iter().enumerate() {
            push(&mut lines, &versions, (version, 0, place), ms(place));
            assert!(matches!(lines.decide(ms(place)), Decision::Batch(_)));
        }
        assert_eq!((lines.lines.len(), Arc::strong_count(&versions[0])), (1, 1));
    }

    proptest! {
        /// Cameras of all priorities, one of which may send most of the frames, through an edit at some point; a batch is
        /// taken after every so many arrivals.
        #[test]
        fn batches_are_of_one_version_cameras_stay_in_order_and_nobody_starves(
            cameras in proptest::collection::vec(0usize..12, 1..300),
            flood in 0usize..12,
            cut in 0usize..300,
            every in 1usize..12,
        ) {
            let versions = [Arc::new(0), Arc::new(1)];
            let mut lines = Lines::default();
            let mut taken: Vec<(Item, Duration)> = Vec::new();
            let mut take = |lines: &mut Lines<usize, Item>, now: Duration| {
                let Decision::Batch(batch) = lines.decide(now) else { return false };
                assert!(!batch.is_empty() && batch.len() <= 8);
                assert!(batch.iter().all(|item| item.0 == batch[0].0), "a batch is of one version: {batch:?}");
                taken.extend(batch.into_iter().map(|item| (item, now)));
                true
            };
            for (place, camera) in cameras.iter().enumerate() {
                let camera = if place % 3 == 0 { *camera } else { flood };
                let item = (usize::from(place >= cut), camera, place);
                push(&mut lines, &versions, item, ms(place));
                if place % every == 0 {
                    take(&mut lines, ms(place));
                }
            }
            lines.close();
            while take(&mut lines, ms(cameras.len())) {}
            prop_assert!(lines.is_over());
            let mut places: Vec<usize> = taken.iter().map(|(item, _)| item.2).collect();
            let order: BTreeMap<usize, usize> = places.iter().enumerate().map(|(at, place)| (*place, at)).collect();
            places.sort_unstable();
            prop_assert_eq!(&places, &(0..cameras.len()).collect::<Vec<_>>(), "each is taken once");
            let mut last: BTreeMap<(usize, usize), usize> = BTreeMap::new();
            for ((version, camera, place), _) in &taken {
                let before = last.insert((*version, *camera), *place);
                prop_assert!(before.is_none_or(|before| before < *place), "camera {camera} is out of order");
            }
            // What arrives after a frame's time has come goes before it only as part of another batch's filling.
            for ((version, camera, place), _) in &taken {
                let due = ms(*place) + urgency(*camera).of(DEADLINE);
                for ((other_version, _, later), _) in &taken {
                    if version == other_version && ms(*later) > due {
                        prop_assert!(order[place] < order[later], "{later} went before {place}");
                    }
                }
            }
        }

        /// While batches are taken as fast as frames come, nobody waits longer than the deadline lets it.
        #[test]
        fn whoever_is_due_goes_before_who_is_not(first in 0usize..2, cameras in proptest::collection::vec(0usize..4, 1..40)) {
            let versions = [Arc::new(0), Arc::new(1)];
            let mut lines = Lines::default();
            for (place, camera) in cameras.iter().enumerate() {
                push(&mut lines, &versions, ((first + place) % 2, *camera, place), ms(place));
            }
            let now = ms(cameras.len());
            let Decision::Batch(batch) = lines.decide(now) else { return Ok(()) };
            let due = |place: usize| ms(place) + urgency(cameras[place]).of(DEADLINE);
            let earliest = (0..cameras.len()).map(due).min();
            prop_assert!(batch.iter().any(|item| Some(due(item.2)) == earliest) || earliest > Some(now));
        }
    }
}
