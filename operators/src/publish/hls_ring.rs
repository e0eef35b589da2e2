//! The newest segments of one camera, cut into parts as they come: what playlists list and requests fetch.
//!
//! Memory is bounded by count and by bytes; a reader holds counted references and keeps nothing else alive. Numbers of
//! segments begin where event time stands, so that a name means one segment, also after the process began anew.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use flowrun_engine::errors::Result;
use flowrun_engine::time::EventTime;

use super::cmaf::{self, Place, Sample, Step, Stretch, TIMESCALE};

/// Frames do not come to the tick: so much over or under a wanted duration is meant.
const SLACK: u64 = TIMESCALE as u64 / 100;

/// A client stays so many parts behind the newest (8216bis asks for three).
pub(super) const CUSHION_PARTS: usize = 3;

/// How a camera's packets are cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// The least duration of a segment, in units of media time; it ends at the next keyframe.
    pub segment: u64,
    /// The most of a part, unless one picture is longer.
    pub part: u64,
    /// Segments that a playlist lists.
    pub window: usize,
    /// Bytes that are kept at most.
    pub memory: usize,
}

/// What decodes segments.
#[derive(Debug)]
pub(super) struct Init {
    /// The number of the first segment that needs it.
    pub number: u64,
    pub bytes: Bytes,
    /// As `codecs=` has it.
    pub codec: String,
}

/// Some pictures of a segment, that can be fetched before the segment is whole.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub bytes: Bytes,
    pub duration: u64,
    /// Whether it begins with a keyframe.
    pub independent: bool,
}

/// Pictures from a keyframe on.
#[derive(Debug)]
pub(super) struct Segment {
    pub number: u64,
    /// When its first picture was taken.
    pub begins: EventTime,
    pub init: Arc<Init>,
    /// Counts stretches: segments of one have a continuous timeline.
    pub stretch: u64,
    /// The event time at media time nought.
    pub origin: EventTime,
    pub parts: Vec<Part>,
    pub duration: u64,
    /// All parts, once it is whole.
    pub whole: Option<Bytes>,
    size: usize,
}

/// A place between parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub segment: u64,
    pub part: usize,
}

/// What a reader that goes from part to part finds.
pub(super) enum Ahead {
    /// The next part, and where it goes on.
    Part(Bytes, Position),
    /// It has all there is.
    Nothing,
    /// What it would read next is gone, or belongs to another timeline.
    Gone,
}

/// The stretch that is being cut.
struct Current {
    init: Arc<Init>,
    number: u64,
    origin: EventTime,
    config: Arc<flowrun_engine::packet::CodecConfig>,
}

/// The segments of one camera.
pub(super) struct Ring {
    cut: Cut,
    whole: VecDeque<Segment>,
    open: Option<Segment>,
    samples: Vec<Sample>,
    current: Option<Current>,
    next_number: Option<u64>,
    chunks: u32,
    size: usize,
    longest_part: u64,
    longest_segment: u64,
    ended: bool,
}

impl Ring {
    pub fn new(cut: Cut) -> Self {
        Ring {
            longest_part: cut.part,
            longest_segment: cut.segment,
            cut,
            whole: VecDeque::new(),
            open: None,
            samples: Vec::new(),
            current: None,
            next_number: None,
            chunks: 0,
            size: 0,
            ended: false,
        }
    }

    /// Takes what a packet brought about.
    ///
    /// # Errors
    /// When the description of the codec cannot be read; what needs it is left out.
    pub fn push(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Begin(stretch) => self.begin(&stretch),
            Step::Sample(sample) => {
                self.take(sample);
                Ok(())
            }
        }
    }

    fn begin(&mut self, stretch: &Stretch) -> Result<()> {
        self.close_segment();
        let before = self.current.take();
        let number = before.as_ref().map_or(0, |before| before.number + 1);
        let same = before.filter(|before| before.config == stretch.config);
        let init = match same {
            Some(before) => before.init,
            None => Arc::new(Init {
                number: self.next_number.unwrap_or_else(|| self.first_number(stretch.origin)),
                bytes: cmaf::init(&stretch.config)?,
                codec: cmaf::codec_string(&stretch.config),
            }),
        };
        self.current = Some(Current {
            init,
            number,
            origin: stretch.origin,
            config: stretch.config.clone(),
        });
        Ok(())
    }

    /// Segments since the epoch: later runs begin with higher numbers.
    fn first_number(&self, origin: EventTime) -> u64 {
        let segment_ns = i128::from(self.cut.segment) * 1_000_000_000 / i128::from(TIMESCALE);
        u64::try_from(i128::from(origin.0) / segment_ns.max(1)).unwrap_or(0)
    }

    fn take(&mut self, sample: Sample) {
        let Some(current) = &self.current else { return };
        let cut = match &self.open {
            None => sample.keyframe,
            Some(open) => sample.keyframe && open.duration + self.pending() + SLACK >= self.cut.segment,
        };
        if cut {
            let (init, stretch, origin) = (current.init.clone(), current.number, current.origin);
            self.close_segment();
            let number = self.next_number.unwrap_or(init.number);
            self.next_number = Some(number + 1);
            // A pause that is longer than all that is listed leaves nothing that belongs to what comes now.
            let listed = self.cut.window as u64 * self.longest_segment;
            let listed_ns = i128::from(listed) * 1_000_000_000 / i128::from(TIMESCALE);
            let behind = |last: &Segment| i128::from(sample.presented.0) - i128::from(last.begins.0) > 2 * listed_ns;
            if self.whole.back().is_some_and(behind) {
                self.whole.clear();
                self.size = 0;
            }
            self.open = Some(Segment {
                number,
                begins: sample.presented,
                init,
                stretch,
                origin,
                parts: Vec::new(),
                duration: 0,
                whole: None,
                size: 0,
            });
        }
        let Some(open) = &self.open else { return };
        let held: usize = self.samples.iter().map(|sample| sample.data.len()).sum();
        if open.size + held + sample.data.len() > self.cut.memory / 2 {
            // One group of pictures that is larger than half of the memory: what is left of it is of no use.
            self.samples.clear();
            self.close_segment();
            self.current = self.current.take().map(|current| Current {
                number: current.number + 1,
                ..current
            });
            return;
        }
        let usual = u64::from(sample.duration);
        self.samples.push(sample);
        if self.pending() + usual > self.cut.part + SLACK {
            self.close_part();
        }
    }

    /// The duration of samples that are in no part yet.
    fn pending(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.duration)).sum()
    }

    fn close_part(&mut self) {
        let duration = self.pending();
        let samples = std::mem::take(&mut self.samples);
        let (Some(open), Some(first)) = (&mut self.open, samples.first()) else {
            return;
        };
        let place = if open.parts.is_empty() {
            Place::First
        } else {
            Place::Later
        };
        self.chunks = self.chunks.wrapping_add(1);
        let bytes = cmaf::chunk(self.chunks, place, &samples);
        open.size += bytes.len();
        open.duration += duration;
        open.parts.push(Part {
            independent: first.keyframe,
            bytes,
            duration,
        });
        self.longest_part = self.longest_part.max(duration);
    }

    fn close_segment(&mut self) {
        self.close_part();
        let Some(mut segment) = self.open.take().filter(|segment| !segment.parts.is_empty()) else {
            return;
        };
        let mut joined = BytesMut::with_capacity(segment.size);
        segment
            .parts
            .iter()
            .for_each(|part| joined.extend_from_slice(&part.bytes));
        let whole = joined.freeze();
        // Parts become views of the whole, which then is held once.
        let mut at = 0;
        for part in &mut segment.parts {
            let end = at + part.bytes.len();
            part.bytes = whole.slice(at..end);
            at = end;
        }
        segment.whole = Some(whole);
        self.size += segment.size;
        self.longest_segment = self.longest_segment.max(segment.duration);
        self.whole.push_back(segment);
        // Clients may still fetch for a while what playlists no longer list (RFC 8216, 6.2.2).
        while self.whole.len() > 2 * self.cut.window || (self.size > self.cut.memory && self.whole.len() > 1) {
            self.size -= self.whole.pop_front().map_or(0, |oldest| oldest.size);
        }
    }

    /// Forgets all segments; numbers go on.
    pub fn clear(&mut self) {
        if self.whole.is_empty() && self.open.is_none() {
            return;
        }
        self.samples.clear();
        self.open = None;
        self.whole.clear();
        self.size = 0;
        if let Some(current) = &mut self.current {
            current.number += 1;
        }
    }

    /// Nothing follows.
    pub fn end(&mut self) {
        self.close_segment();
        self.ended = true;
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The segments that a playlist lists.
    pub fn listed(&self) -> impl Iterator<Item = &Segment> {
        self.whole.iter().skip(self.whole.len().saturating_sub(self.cut.window))
    }

    /// Whether a player that begins now has a whole segment, and as many parts as it stays behind the newest.
    pub fn has_cushion(&self) -> bool {
        let parts = self.open.as_ref().map_or(0, |open| open.parts.len());
        self.whole.len() > 1 || (self.whole.len() == 1 && parts >= CUSHION_PARTS)
    }

    /// The segment that is being cut.
    pub fn open(&self) -> Option<&Segment> {
        self.open.as_ref()
    }

    /// The longest part and the longest segment so far, which only grow.
    pub fn longest(&self) -> (u64, u64) {
        (self.longest_part, self.longest_segment)
    }

    /// The place behind the newest part; none before the first.
    pub fn newest(&self) -> Option<Position> {
        let last = |segment: &Segment| Position {
            segment: segment.number,
            part: segment.parts.len(),
        };
        let open = self.open.as_ref().filter(|open| !open.parts.is_empty());
        open.or(self.whole.back()).map(last)
    }

    /// Where the next part will be: in the open segment, or, where that is as long as the last was, in the next.
    pub fn expected(&self) -> Option<Position> {
        let next = Position {
            segment: self.next_number?,
            part: 0,
        };
        let Some(open) = &self.open else { return Some(next) };
        let usual = self
            .whole
            .back()
            .map_or(self.cut.segment, |last| last.duration.max(self.cut.segment));
        let here = Position {
            segment: open.number,
            part: open.parts.len(),
        };
        Some(if open.duration + SLACK >= usual { next } else { here })
    }

    /// A segment by its number.
    pub fn segment(&self, number: u64) -> Option<&Segment> {
        let mut all = self.whole.iter().chain(&self.open);
        all.find(|segment| segment.number == number)
    }

    /// A header by its number.
    pub fn init(&self, number: u64) -> Option<&Arc<Init>> {
        let current = self.current.as_ref().map(|current| &current.init);
        let mut all = self.whole.iter().map(|segment| &segment.init).chain(current);
        all.find(|init| init.number == number)
    }

    /// The newest segment with a part: where a reader begins that goes from part to part.
    pub fn entrance(&self) -> Option<&Segment> {
        let open = self.open.as_ref().filter(|open| !open.parts.is_empty());
        open.or(self.whole.back())
    }

    /// What a reader of one stretch finds at a place.
    pub fn ahead(&self, at: Position, stretch: u64) -> Ahead {
        let Some(segment) = self.segment(at.segment).filter(|segment| segment.stretch == stretch) else {
            let ahead = self.next_number.is_none_or(|next| at.segment >= next);
            let goes_on = self.current.as_ref().is_some_and(|current| current.number == stretch);
            return if ahead && goes_on && !self.ended {
                Ahead::Nothing
            } else {
                Ahead::Gone
            };
        };
        match segment.parts.get(at.part) {
            Some(part) => Ahead::Part(
                part.bytes.clone(),
                Position {
                    part: at.part + 1,
                    ..at
                },
            ),
            None if segment.whole.is_some() => self.ahead(
                Position {
                    segment: at.segment + 1,
                    part: 0,
                },
                stretch,
            ),
            None => Ahead::Nothing,
        }
    }

    /// How far a place lies behind the newest part, in units of media time.
    pub fn lag(&self, at: Position) -> u64 {
        let newer = self
            .whole
            .iter()
            .chain(&self.open)
            .filter(|segment| segment.number >= at.segment);
        let parts = newer.flat_map(|segment| {
            let skipped = if segment.number == at.segment { at.part } else { 0 };
            segment.parts.iter().skip(skipped)
        });
        parts.map(|part| part.duration).sum()
    }
}
