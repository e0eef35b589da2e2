//! Lines into frames: rows of one index are gathered, indices without rows become empty frames.

use flowrun_engine::batch::{Batch, RowType};
use flowrun_engine::names::Names;
use flowrun_engine::operator::{Item, Next};
use flowrun_engine::rows::{Detection, Size, Track, TrackId};

use super::RowsType;
use super::record::Record;

/// The longest run of empty frames between two lines: five hours at 50 frames a second.
const MAX_GAP_FRAMES: u64 = 1_000_000;

/// The most rows of one frame.
const MAX_ROWS_A_FRAME: usize = 65_536;

/// What a line led to.
pub(super) enum Found {
    /// It belongs to the frame that is being gathered.
    Nothing,
    /// There are frames to take.
    Frames,
}

/// A frame whose rows are known.
struct Gathered {
    frame: u64,
    time_ns: Option<i64>,
    size: Size,
    rows: Gathering,
}

enum Gathering {
    Detections(Vec<Detection>),
    Tracks(Vec<Track>),
}

impl Gathering {
    fn new(rows: RowsType) -> Self {
        match rows {
            RowsType::Detection => Gathering::Detections(Vec::new()),
            RowsType::Track => Gathering::Tracks(Vec::new()),
        }
    }
    fn len(&self) -> usize {
        match self {
            Gathering::Detections(rows) => rows.len(),
            Gathering::Tracks(rows) => rows.len(),
        }
    }
    fn add(&mut self, record: &Record, names: &Names) -> Result<(), String> {
        let class = names.intern(&record.class).map_err(|error| error.to_string())?;
        let (score, bbox) = (record.score, record.bbox);
        match self {
            Gathering::Detections(rows) => rows.push(Detection { class, score, bbox }),
            Gathering::Tracks(rows) => {
                let id = TrackId(record.track.ok_or("it has no `track`")?);
                rows.push(Track { id, class, score, bbox });
            }
        }
        Ok(())
    }
    fn into_batch(self) -> Batch {
        match self {
            Gathering::Detections(rows) => Detection::into_batch(rows),
            Gathering::Tracks(rows) => Track::into_batch(rows),
        }
    }
}

/// Gathers rows into frames, and hands those out one by one.
pub(super) struct Frames {
    rows: RowsType,
    period_ns: f64,
    /// Of the last frame handed out.
    size: Size,
    total: Option<u64>,
    /// The frame whose lines are being read.
    open: Option<Gathered>,
    /// The frame before it, all of its lines read; empty ones that come first are made when they are taken.
    whole: Option<Gathered>,
    /// The index that is handed out next.
    next: u64,
    /// Index and time of the last frame handed out that had a time of its own.
    anchor: Option<(u64, i64)>,
    last_time: Option<i64>,
    late_lines: u64,
    ended: bool,
}

impl Frames {
    pub fn new(rows: RowsType, fps: f64, size: Size, total: Option<u64>) -> Self {
        Frames {
            rows,
            period_ns: 1e9 / fps,
            size,
            total,
            open: None,
            whole: None,
            next: 0,
            anchor: None,
            last_time: None,
            late_lines: 0,
            ended: false,
        }
    }

    /// Adds a line; to be called when [`Frames::take`] has nothing left.
    pub fn add(&mut self, record: &Record, names: &Names) -> Result<Found, String> {
        // The first index that is not settled, and the one that would come without a gap.
        let (floor, expected) = match &self.open {
            Some(open) => (open.frame, open.frame.saturating_add(1)),
            None => (self.next, self.next),
        };
        if record.frame < floor {
            self.late_lines += 1;
            let (frame, late) = (record.frame, self.late_lines);
            return Err(format!(
                "frame {frame} comes after frame {floor}: late line number {late}"
            ));
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.frame == record.frame) {
            if open.rows.len() == MAX_ROWS_A_FRAME {
                return Err(format!("frame {} has more than {MAX_ROWS_A_FRAME} rows", record.frame));
            }
            open.rows.add(record, names)?;
            open.time_ns = open.time_ns.or(record.time_ns);
            return Ok(Found::Nothing);
        }
        if self.total.is_some_and(|total| record.frame >= total) {
            self.end();
            return Ok(Found::Frames);
        }
        if record.frame.saturating_sub(expected) > MAX_GAP_FRAMES {
            let frame = record.frame;
            return Err(format!(
                "frame {frame} comes {} frames after the last one, more than {MAX_GAP_FRAMES}",
                frame - expected + 1
            ));
        }
        let mut opened = Gathered {
            frame: record.frame,
            time_ns: record.time_ns,
            size: record
                .size
                .unwrap_or(self.open.as_ref().map_or(self.size, |open| open.size)),
            rows: Gathering::new(self.rows),
        };
        opened.rows.add(record, names)?;
        let before = self.open.replace(opened);
        self.complete(before);
        Ok(match self.whole {
            Some(_) => Found::Frames,
            None => Found::Nothing,
        })
    }

    /// No more lines come.
    pub fn end(&mut self) {
        self.ended = true;
        let last = self.open.take();
        self.complete(last);
    }

    fn complete(&mut self, frame: Option<Gathered>) {
        if frame.is_some() {
            self.whole = frame;
        }
    }

    /// What there is to hand out; none when more lines are needed.
    pub fn take(&mut self) -> Option<Next> {
        let own_time = match &self.whole {
            Some(whole) if whole.frame == self.next => whole.time_ns,
            _ => None,
        };
        // A frame that says when it was taken is believed, also when that is before its neighbours: it
        // comes late, and corrects what was counted. Times that are made up here only go forward.
        let after_last = self.last_time.map_or(i64::MIN, |last| last.saturating_add(1));
        let time = own_time.unwrap_or_else(|| self.time_between().max(after_last));
        let batch = match self.whole.take_if(|whole| whole.frame == self.next) {
            Some(whole) => {
                self.size = whole.size;
                whole.rows.into_batch()
            }
            None if self.whole.is_some() => Gathering::new(self.rows).into_batch(),
            None if !self.ended => return None,
            None if self.total.is_some_and(|total| self.next < total) => Gathering::new(self.rows).into_batch(),
            None => return Some(Next::End),
        };
        let frame = self.next;
        self.next += 1;
        self.last_time = self.last_time.max(Some(time));
        if own_time.is_some() && self.anchor.is_none_or(|(_, before)| time > before) {
            self.anchor = Some((frame, time));
        }
        Some(Next::Item(Item {
            frame,
            media_time: time,
            size: self.size,
            batch,
        }))
    }

    /// The time of the next frame, from those before and after it that have one.
    fn time_between(&self) -> i64 {
        let periods = |count: u64| (count as f64 * self.period_ns).round() as i64;
        let after = self
            .whole
            .as_ref()
            .and_then(|whole| Some((whole.frame, whole.time_ns?)));
        match (self.anchor, after) {
            (Some((frame_a, time_a)), Some((frame_b, time_b))) if time_b > time_a => {
                let (span, steps) = (i128::from(time_b) - i128::from(time_a), i128::from(frame_b - frame_a));
                let part = span * i128::from(self.next - frame_a) / steps;
                i64::try_from(i128::from(time_a) + part).expect("it lies between two times")
            }
            (None, Some((frame, time))) => time.saturating_sub(periods(frame - self.next)),
            (Some((frame, time)), _) => time.saturating_add(periods(self.next - frame)),
            (None, None) => periods(self.next),
        }
    }
}
