//! What a session sends, as access units that can be decoded and passed on.

use std::sync::Arc;

use bytes::Bytes;
use flowrun_engine::packet::{Codec, CodecConfig};
use flowrun_engine::rows::Size;
use flowrun_engine::time::EventTime;
use retina::codec::{VideoFrame, VideoParameters};

use super::clock::SenderClock;
use super::order::DecodingOrder;
use crate::source::nal::{LENGTH_BYTES, access_unit};
use crate::source::packets::Unit;

/// The largest access unit that is taken: a keyframe of 8K video has a few MiB.
const UNIT_BYTES_AT_MOST: usize = 8 << 20;
/// Access units that are skipped while none is a keyframe. A stream that refreshes itself bit by bit never sends one;
/// its decoder finds its way.
const PATIENCE: u32 = 300;
/// How often losses are told while they go on.
const TELL_EVERY: std::time::Duration = std::time::Duration::from_secs(10);

/// An access unit and when its picture was taken.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub unit: Unit,
    /// Event time in nanoseconds; where it would contradict the decoding times, not that of the unit.
    pub taken: i64,
}

/// What a frame of retina has become.
#[derive(Debug, Default)]
pub(super) struct Assembled {
    pub unit: Option<Taken>,
    pub faults: Vec<String>,
}

/// Makes access units of one camera's sessions.
#[derive(Debug)]
pub(super) struct Assembler {
    clock: SenderClock,
    order: DecodingOrder,
    config: Option<Arc<CodecConfig>>,
    sequence: u64,
    /// Units that were skipped while waiting for a keyframe; none when it has come.
    skipped: Option<u32>,
    lost: Lost,
}

/// RTP packets that did not come.
#[derive(Debug, Default)]
struct Lost {
    untold: u64,
    total: u64,
    told: Option<EventTime>,
}

impl Lost {
    fn add(&mut self, packets: u64, heard: EventTime) -> Option<String> {
        self.untold += packets;
        self.total += packets;
        let due = self.told.is_none_or(|told| heard.since(told) >= TELL_EVERY);
        if self.untold == 0 || !due {
            return None;
        }
        self.told = Some(heard);
        let (count, total) = (std::mem::take(&mut self.untold), self.total);
        Some(format!(
            "{count} RTP packets were lost, {total} since the camera was reached"
        ))
    }
}

impl Assembler {
    pub fn new() -> Self {
        Assembler {
            clock: SenderClock::new(),
            order: DecodingOrder::default(),
            config: None,
            sequence: 0,
            skipped: Some(0),
            lost: Lost::default(),
        }
    }

    /// A new session: its clock, its order and its first keyframe are its own.
    pub fn restart(&mut self) {
        self.clock = SenderClock::new();
        self.order.restart();
        self.skipped = Some(0);
        self.lost = Lost::default();
        // Whoever reads on must see that something is missing.
        self.sequence += 1;
    }

    /// A sender report: NTP time and RTP time.
    pub fn report(&mut self, ntp: u64, rtp: retina::Timestamp, heard: EventTime) -> Option<String> {
        self.clock.report(ntp, nanoseconds(rtp), heard)
    }

    /// A frame of retina with the parameters that are in force for it.
    pub fn frame(&mut self, frame: VideoFrame, parameters: Option<&VideoParameters>, heard: EventTime) -> Assembled {
        let mut faults = Vec::new();
        let lost = u64::from(frame.loss());
        faults.extend(self.lost.add(lost, heard));
        if lost > 0 {
            self.sequence += 1;
        }
        let (taken, told) = self.clock.place(nanoseconds(frame.timestamp()), heard);
        faults.extend(told);
        faults.extend(parameters.and_then(|parameters| self.configure(parameters)));
        let keyframe = frame.is_random_access_point();
        let unit = self.unit(frame.into_data(), keyframe, taken, &mut faults);
        Assembled { unit, faults }
    }

    fn configure(&mut self, parameters: &VideoParameters) -> Option<String> {
        let config = config_of(parameters)?;
        let Some(before) = &self.config else {
            self.config = Some(Arc::new(config));
            return None;
        };
        if **before == config {
            return None;
        }
        let told = format!(
            "the camera now sends {}; before it was {}",
            describe(&config),
            describe(before)
        );
        self.config = Some(Arc::new(config));
        // What came before does not help to decode what comes.
        self.skipped = Some(0);
        Some(told)
    }

    fn unit(&mut self, data: Vec<u8>, keyframe: bool, taken: EventTime, faults: &mut Vec<String>) -> Option<Taken> {
        let config = self.config.clone()?;
        let sequence = self.sequence;
        self.sequence += 1;
        let data = match data.len() {
            0..=UNIT_BYTES_AT_MOST => access_unit(config.codec, data.into(), LENGTH_BYTES),
            length => Err(format!("a picture of {length} bytes is larger than any real one")),
        };
        let data = match data {
            Ok(data) if data.is_empty() => return None,
            Ok(data) => data,
            Err(cause) => {
                faults.push(cause);
                return None;
            }
        };
        if let Some(skipped) = &mut self.skipped {
            if !keyframe && *skipped < PATIENCE {
                *skipped += 1;
                return None;
            }
            self.skipped = None;
        }
        let times = self.order.place(taken.0);
        if times.broken {
            self.sequence += 1;
        }
        Some(Taken {
            unit: Unit {
                config,
                data,
                keyframe,
                presented: times.presented,
                decoded: times.decoded,
                sequence,
            },
            taken: taken.0,
        })
    }
}

/// What a decoder must know; none for what is neither H.264 nor H.265.
fn config_of(parameters: &VideoParameters) -> Option<CodecConfig> {
    // RFC 6381, as ISO/IEC 14496-15 registers the names.
    let codec = match parameters.rfc6381_codec().get(..4)? {
        "avc1" => Codec::H264,
        "hvc1" => Codec::H265,
        _ => return None,
    };
    let (width, height) = parameters.pixel_dimensions();
    Some(CodecConfig {
        codec,
        size: Size { width, height },
        record: Bytes::copy_from_slice(parameters.extra_data()),
    })
}

fn describe(config: &CodecConfig) -> String {
    let codec = match config.codec {
        Codec::H264 => "H.264",
        Codec::H265 => "H.265",
    };
    format!("{codec} of {}x{}", config.size.width, config.size.height)
}

fn nanoseconds(time: retina::Timestamp) -> i64 {
    let elapsed = i128::from(time.elapsed()) * 1_000_000_000 / i128::from(time.clock_rate().get());
    i64::try_from(elapsed).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An access unit of so many bytes.
    pub fn unit(sequence: u64, keyframe: bool, bytes: usize) -> Taken {
        let unit = Unit {
            config: Arc::new(CodecConfig {
                codec: Codec::H264,
                size: Size { width: 16, height: 16 },
                record: Bytes::from_static(&[1]),
            }),
            data: vec![0; bytes].into(),
            keyframe,
            presented: 0,
            decoded: 0,
            sequence,
        };
        Taken { unit, taken: 0 }
    }

    #[test]
    fn losses_are_told_at_once_and_then_now_and_then() {
        let mut lost = Lost::default();
        let at = |seconds: i64| EventTime(seconds * 1_000_000_000);
        assert_eq!(lost.add(0, at(0)), None);
        assert_eq!(
            lost.add(3, at(1)).unwrap(),
            "3 RTP packets were lost, 3 since the camera was reached"
        );
        assert_eq!(lost.add(2, at(2)), None);
        assert_eq!(
            lost.add(0, at(12)).unwrap(),
            "2 RTP packets were lost, 5 since the camera was reached"
        );
    }
}
