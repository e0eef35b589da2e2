//! When access units must be decoded, which RTP does not say.
//!
//! RTP carries presentation times in decoding order. A decoding time that never runs back and is never after the
//! presentation time is what ISO base media files want: the n-th access unit's is the (n - depth)-th smallest of the
//! presentation times, where depth is how many pictures are sent before one that is shown earlier. Most cameras send
//! no such pictures (depth 0); for others the depth is learned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Pictures that a stream may reorder (MaxDpbFrames of ITU-T H.264, A.3.1).
const DEEPEST: usize = 16;
/// What a first picture's decoding time is ahead by, for each picture of depth, in nanoseconds.
const LEAD: i64 = 40_000_000;
/// Times that lie so close are those of pictures to which the camera gave the same time, in nanoseconds.
const SAME: i64 = 1_000_000;

/// Decoding times of one stream.
#[derive(Debug, Default)]
pub(super) struct DecodingOrder {
    depth: usize,
    waiting: BinaryHeap<Reverse<i64>>,
    latest: Option<i64>,
    decoded: Option<i64>,
}

/// An access unit's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub presented: i64,
    pub decoded: i64,
    /// Whether the times before were too late for this one: the stream must be taken up again at a keyframe.
    pub broken: bool,
}

impl DecodingOrder {
    /// A new session: the depth is kept.
    pub fn restart(&mut self) {
        self.waiting.clear();
        (self.latest, self.decoded) = (None, None);
    }

    /// The times of the next access unit in decoding order.
    pub fn place(&mut self, presented: i64) -> Times {
        let presented = match self.latest {
            Some(latest) if (0..SAME).contains(&(latest.saturating_sub(presented))) => latest.saturating_add(1),
            _ => presented,
        };
        self.latest = Some(self.latest.map_or(presented, |latest| latest.max(presented)));
        self.waiting.push(Reverse(presented));
        let wanted = if self.waiting.len() > self.depth {
            self.waiting.pop().map_or(presented, |Reverse(earliest)| earliest)
        } else {
            let ahead = (self.depth + 1 - self.waiting.len()) as i64;
            presented
                .min(self.waiting.peek().map_or(presented, |earliest| earliest.0))
                .saturating_sub(ahead * LEAD)
        };
        let earliest = self.decoded.map_or(wanted, |last| last.saturating_add(1));
        let decoded = wanted.max(earliest);
        let broken = decoded > presented;
        if broken {
            self.depth = (self.depth + 1).min(DEEPEST);
            self.waiting.clear();
        }
        self.decoded = Some(decoded);
        Times {
            // What cannot be right must at least be possible.
            presented: presented.max(decoded),
            decoded,
            broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PICTURE: i64 = 40_000_000;

    #[test]
    fn without_reordering_the_two_are_the_same() {
        let mut order = DecodingOrder::default();
        for index in 0..100 {
            let times = order.place(index * PICTURE);
            assert_eq!(
                (times.presented, times.decoded, times.broken),
                (index * PICTURE, index * PICTURE, false)
            );
        }
    }

    #[test]
    fn reordering_is_learned() {
        let mut order = DecodingOrder::default();
        // I P B B P B B ..., shown as I B B P B B P.
        let shown = |index: i64| match (index % 3, index) {
            (_, 0) => 0,
            (1, _) => index + 2,
            _ => index - 1,
        };
        let times: Vec<Times> = (0..200).map(|index| order.place(shown(index) * PICTURE)).collect();
        assert!(times[40..].iter().all(|times| !times.broken));
        assert!(times.windows(2).all(|pair| pair[0].decoded < pair[1].decoded));
        assert!(times.iter().all(|times| times.decoded <= times.presented));
        assert_eq!(times[150].presented, shown(150) * PICTURE);
    }

    #[test]
    fn equal_times_are_told_apart() {
        let mut order = DecodingOrder::default();
        assert_eq!(order.place(PICTURE).presented, PICTURE);
        let again = order.place(PICTURE);
        assert_eq!((again.presented, again.broken), (PICTURE + 1, false));
    }

    proptest! {
        #[test]
        fn decoding_times_increase_and_never_come_late(times in proptest::collection::vec(any::<i64>(), 1..200)) {
            let (mut order, mut last) = (DecodingOrder::default(), None);
            for presented in times {
                // A clock keeps times near the present.
                let times = order.place(presented / 4);
                prop_assert!(times.decoded <= times.presented);
                prop_assert!(last.is_none_or(|last| times.decoded > last));
                prop_assert!(order.waiting.len() <= DEEPEST + 1);
                last = Some(times.decoded);
            }
        }
    }
}
