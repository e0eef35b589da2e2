//! Packets on a media timeline: what CMAF (ISO/IEC 23000-19) calls samples, with whole durations and no gap between them.
//!
//! A sample's duration is the time to the next one's decoding, so a packet is held until the next comes. Media time is event
//! time since the first packet in units of 1/90000 s. It never goes back: where a camera's clock does, where its decoder
//! needs another description, or after a pause, a new *stretch* begins, later in media time than all before.

use std::sync::Arc;

use bytes::Bytes;
use flowrun_engine::packet::{CodecConfig, Packet};
use flowrun_engine::time::EventTime;

pub use super::cmaf_boxes::{Place, chunk, codec_string, init};

/// Units of media time in a second.
pub const TIMESCALE: u32 = 90_000;

/// A silence at least this long ends a stretch, if the camera is not a slow one.
const PAUSE_NS: i64 = 2_000_000_000;
/// Of a slow camera, so many of its usual intervals.
const PAUSE_INTERVALS: i64 = 4;
/// A clock that steps back by less is jitter.
const BACK_NS: i64 = 1_000_000_000;
/// The duration of a stretch's only sample: a picture at 25 a second.
const LONE: u32 = TIMESCALE / 25;

/// One coded picture on the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// NAL units behind their lengths.
    pub data: Bytes,
    /// Media time of its decoding.
    pub decode: u64,
    /// Media time to the next sample's.
    pub duration: u32,
    /// From its decoding to its presentation.
    pub offset: i32,
    /// Whether decoding can begin here.
    pub keyframe: bool,
    /// When the picture was taken.
    pub presented: EventTime,
}

/// Where samples with one description and a continuous timeline begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// What decodes them.
    pub config: Arc<CodecConfig>,
    /// The event time at media time nought, in nanoseconds: true until the next stretch.
    pub origin: EventTime,
}

/// What a packet brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// What follows belongs to a new stretch.
    Begin(Stretch),
    /// The next sample; the first of a stretch is a keyframe.
    Sample(Sample),
}

/// The packet whose duration is not known yet.
struct Held {
    packet: Packet,
    decode: u64,
}

/// Places one camera's packets.
#[derive(Default)]
pub struct Timeline {
    held: Option<Held>,
    /// The sequence number that follows without a loss; none where a keyframe has to come.
    expected: Option<u64>,
    origin: i64,
    last_duration: Option<u32>,
    /// Where the last stretch ended.
    end: Option<u64>,
}

fn ticks(ns: i64) -> i64 {
    i64::try_from(i128::from(ns) * i128::from(TIMESCALE) / 1_000_000_000).unwrap_or(i64::MAX)
}

fn nanoseconds(ticks: u64) -> i64 {
    i64::try_from(u128::from(ticks) * 1_000_000_000 / u128::from(TIMESCALE)).unwrap_or(i64::MAX)
}

impl Timeline {
    /// Takes a packet in event time; those that cannot be decoded are left out.
    pub fn push(&mut self, packet: &Packet, out: &mut Vec<Step>) {
        let follows = self.expected == Some(packet.sequence);
        if !packet.keyframe && !follows {
            self.expected = None;
            return;
        }
        let usual = self.last_duration.map_or(0, |ticks| nanoseconds(u64::from(ticks)));
        let longest = PAUSE_NS.max(usual.saturating_mul(PAUSE_INTERVALS));
        let ends = match &self.held {
            None => true,
            Some(held) => {
                let step = packet.decoded.saturating_sub(held.packet.decoded);
                let other = packet.config != held.packet.config;
                // A pause within a group of pictures is a long sample: what follows needs what came before.
                let far = step < -BACK_NS || (step > longest && packet.keyframe);
                if (other || step < -BACK_NS) && !packet.keyframe {
                    self.expected = None;
                    return;
                }
                other || far
            }
        };
        self.expected = Some(packet.sequence.wrapping_add(1));
        let decode = if ends {
            self.finish(out);
            self.begin(packet, out)
        } else {
            let decode = u64::try_from(ticks(packet.decoded.saturating_sub(self.origin))).unwrap_or(0);
            let held = self.held.take().expect("a stretch goes on from a held packet");
            let duration = u32::try_from(decode.saturating_sub(held.decode))
                .unwrap_or(u32::MAX)
                .max(1);
            self.last_duration = Some(duration);
            let next = held.decode + u64::from(duration);
            out.push(Step::Sample(sample(held, duration, self.origin)));
            next
        };
        self.held = Some(Held {
            packet: packet.clone(),
            decode,
        });
    }

    /// Gives out the packet that is held, with the duration of the one before: nothing follows it.
    pub fn finish(&mut self, out: &mut Vec<Step>) {
        if let Some(held) = self.held.take() {
            let duration = self.last_duration.unwrap_or(LONE);
            self.end = Some(held.decode + u64::from(duration));
            out.push(Step::Sample(sample(held, duration, self.origin)));
        }
    }

    /// Forgets the packet that is held: what comes next begins a stretch.
    pub fn rest(&mut self) {
        let mut lost = Vec::new();
        self.finish(&mut lost);
        self.expected = None;
    }

    fn begin(&mut self, packet: &Packet, out: &mut Vec<Step>) -> u64 {
        let end = self.end.unwrap_or(0);
        if self.end.is_none() {
            self.origin = packet.decoded;
        }
        let on_the_clock = u64::try_from(ticks(packet.decoded.saturating_sub(self.origin))).unwrap_or(0);
        let decode = on_the_clock.max(end);
        if on_the_clock < end {
            self.origin = packet.decoded.saturating_sub(nanoseconds(end));
        }
        out.push(Step::Begin(Stretch {
            config: packet.config.clone(),
            origin: EventTime(self.origin),
        }));
        decode
    }
}

fn sample(held: Held, duration: u32, origin: i64) -> Sample {
    let Held { packet, decode } = held;
    let shown = ticks(packet.presented.saturating_sub(origin));
    let offset = shown.saturating_sub(i64::try_from(decode).unwrap_or(i64::MAX));
    // Where decoding was moved on by a tick, so that it only grows, showing is too.
    let offset = if packet.presented == packet.decoded { 0 } else { offset };
    Sample {
        offset: offset.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32,
        data: packet.data,
        decode,
        duration,
        keyframe: packet.keyframe,
        presented: EventTime(packet.presented),
    }
}
