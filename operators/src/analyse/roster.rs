//! What an analysis remembers of tracks: when each was last seen, what it is, and something of the analysis' own.
//!
//! Time here is event time alone. A track has vanished when it was absent from a frame and its last sight is further
//! away than the analysis remembers. One that is in every frame never vanishes, however slow the camera; and a clock
//! that is set back by more than that ends what lies in its future, so nothing is kept for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use flowrun_engine::rows::{ClassId, Track, TrackId};
use flowrun_engine::time::{EventTime, nanos};
use serde::{Deserialize, Serialize};

/// Absent tracks that are remembered: those seen last. Only a clock that stands still gets there.
const MOST_ABSENT: usize = 10_000;
/// Classes counted for a track; a detector wavers between two or three.
const MOST_CLASSES: usize = 16;

/// What a track has been taken for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Votes(Vec<(ClassId, u32)>);

impl Votes {
    fn add(&mut self, class: ClassId) {
        if let Some((_, count)) = self.0.iter_mut().find(|(of, _)| *of == class) {
            *count = count.saturating_add(1);
        } else if self.0.len() < MOST_CLASSES {
            self.0.push((class, 1));
        }
    }

    /// The most frequent one; of equally frequent ones the one seen first.
    fn winner(&self) -> ClassId {
        let best = self.0.iter().rev().max_by_key(|(_, count)| *count);
        best.map_or_else(ClassId::default, |(class, _)| *class)
    }
}

/// What is remembered of one track.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry<T> {
    votes: Votes,
    seen: EventTime,
    seen_in: u64,
    /// What the analysis knows.
    pub about: T,
}

impl<T> Entry<T> {
    /// What it has been taken for most often; of equals, what it was taken for first.
    pub fn class(&self) -> ClassId {
        self.votes.winner()
    }

    fn is_further_than(&self, memory: Duration, now: EventTime) -> bool {
        now.0.abs_diff(self.seen.0) > nanos(memory).unsigned_abs()
    }
}

/// The tracks of one camera.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Roster<T> {
    tracks: BTreeMap<TrackId, Entry<T>>,
    /// Frames answered.
    frames: u64,
}

impl<T: Default> Roster<T> {
    /// A new frame begins.
    pub fn begin_frame(&mut self) {
        self.frames += 1;
    }

    /// A track is in this frame. Gives what is known of it, and before that what was known of a track of this number
    /// that had vanished meanwhile.
    pub fn see(&mut self, track: &Track, now: EventTime, memory: Duration) -> (Option<Entry<T>>, &mut Entry<T>) {
        let frames = self.frames;
        let has_vanished = |entry: &Entry<T>| entry.seen_in + 1 < frames && entry.is_further_than(memory, now);
        let before = if self.tracks.get(&track.id).is_some_and(has_vanished) {
            self.tracks.remove(&track.id)
        } else {
            None
        };
        let entry = self.tracks.entry(track.id).or_default();
        entry.votes.add(track.class);
        entry.seen = now;
        entry.seen_in = frames;
        (before, entry)
    }

    /// After all tracks of the frame were seen: takes out those that have vanished, by number.
    pub fn vanished(&mut self, now: EventTime, memory: Duration) -> Vec<(TrackId, Entry<T>)> {
        let frames = self.frames;
        let mut gone: Vec<TrackId> = Vec::new();
        let mut absent = 0;
        for (id, entry) in self.tracks.iter().filter(|(_, entry)| entry.seen_in < frames) {
            if entry.is_further_than(memory, now) {
                gone.push(*id);
            } else {
                absent += 1;
            }
        }
        if absent > MOST_ABSENT {
            let kept = self
                .tracks
                .iter()
                .filter(|(_, entry)| entry.seen_in < frames && !entry.is_further_than(memory, now));
            let mut oldest: Vec<_> = kept.map(|(id, entry)| (entry.seen_in, *id)).collect();
            oldest.sort_unstable();
            gone.extend(oldest.iter().take(absent - MOST_ABSENT).map(|(_, id)| *id));
            gone.sort_unstable();
        }
        gone.into_iter()
            .filter_map(|id| Some((id, self.tracks.remove(&id)?)))
            .collect()
    }

    /// What is known of each track.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.tracks.values_mut().map(|entry| &mut entry.about)
    }
}

#[cfg(test)]
mod tests {
    use flowrun_engine::rows::Rect;

    use super::*;

    fn track(id: u64, class: u16) -> Track {
        Track {
            id: TrackId(id),
            class: ClassId(class),
            score: 1.0,
            bbox: Rect::default(),
        }
    }

    #[test]
    fn the_most_frequent_class_wins_and_of_equals_the_earlier() {
        let mut votes = Votes::default();
        let mut winners = Vec::new();
        for class in [3, 5, 5, 3, 3] {
            votes.add(ClassId(class));
            winners.push(votes.winner().0);
        }
        assert_eq!(winners, [3, 3, 5, 3, 3]);
        (0..1000).for_each(|class| votes.add(ClassId(class)));
        assert_eq!(votes.0.len(), MOST_CLASSES);
    }

    #[test]
    fn a_clock_that_stands_still_fills_no_memory() {
        let mut roster = Roster::<()>::default();
        let mut gone = 0;
        for frame in 0..100 {
            roster.begin_frame();
            for id in 0..200 {
                roster.see(&track(200 * frame + id, 0), EventTime(0), Duration::from_secs(1));
            }
            gone += roster.vanished(EventTime(0), Duration::from_secs(1)).len();
        }
        assert_eq!(roster.tracks.len(), MOST_ABSENT + 200);
        assert_eq!(gone, 20_000 - 200 - MOST_ABSENT);
        assert!(!roster.tracks.contains_key(&TrackId(0)), "the longest absent go first");
    }

    #[test]
    fn a_clock_set_back_ends_what_lies_in_its_future() {
        let mut roster = Roster::<()>::default();
        let memory = Duration::from_secs(1);
        roster.begin_frame();
        roster.see(&track(1, 0), EventTime(3_600_000_000_000), memory);
        roster.begin_frame();
        assert_eq!(roster.vanished(EventTime(0), memory).len(), 1);
        roster.begin_frame();
        roster.see(&track(1, 0), EventTime(i64::MAX), memory);
        roster.begin_frame();
        assert_eq!(roster.vanished(EventTime(i64::MIN), memory).len(), 1);
    }
}
