//! A file's encoded pictures, for whoever passes them on as they are.

use std::sync::Arc;

use bytes::Bytes;
use ffmpeg_next as ff;
use flowrun_engine::packet::{Codec, CodecConfig, Packet};
use flowrun_engine::rows::Rows;

use super::file::brings_configuration;
use super::nal::access_unit;
use super::packets::{Unit, Waiting};
use super::timeline::Clock;

/// The packets of one file since its last frame.
pub(super) struct Encoded {
    config: Arc<CodecConfig>,
    length_bytes: usize,
    clock: Clock,
    sequence: u64,
    waiting: Waiting,
}

impl Encoded {
    pub fn new(config: CodecConfig, length_bytes: usize, clock: Clock) -> Self {
        Encoded {
            config: Arc::new(config),
            length_bytes,
            clock,
            sequence: 0,
            waiting: Waiting::default(),
        }
    }

    /// How many bytes the length of a NAL unit takes in the file, where it is H.264.
    pub fn h264_length_bytes(&self) -> Option<usize> {
        (self.config.codec == Codec::H264).then_some(self.length_bytes)
    }

    /// A packet that the decoder got. One without times, or whose NAL units do not add up, is missing for good.
    pub fn add(&mut self, packet: &ff::Packet) {
        let sequence = self.sequence;
        self.sequence += 1;
        if brings_configuration(packet) {
            return;
        }
        let (Some(presented), Some(decoded)) = (packet.pts(), packet.dts()) else {
            return;
        };
        let data = Bytes::copy_from_slice(packet.data().unwrap_or_default());
        let Ok(data) = access_unit(self.config.codec, data, self.length_bytes) else {
            return;
        };
        if data.is_empty() {
            return;
        }
        self.waiting.add(Unit {
            config: self.config.clone(),
            data,
            keyframe: packet.is_key(),
            presented: self.nanoseconds(presented.max(decoded)),
            decoded: self.nanoseconds(decoded),
            sequence,
        });
    }

    /// What rides on a frame with this timestamp and media time.
    pub fn ride(&mut self, timestamp: Option<i64>, media_time: i64) -> Rows<Packet> {
        let own = timestamp.map_or(media_time, |timestamp| self.nanoseconds(timestamp));
        self.waiting.ride(own, media_time)
    }

    /// The file begins again.
    pub fn restart(&mut self) {
        self.sequence += 1;
    }

    fn nanoseconds(&self, units: i64) -> i64 {
        i64::try_from(self.clock.nanoseconds(units)).unwrap_or(0)
    }
}
