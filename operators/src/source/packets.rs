//! Encoded pictures on the way to the frame that they ride on.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use flowrun_engine::packet::{CodecConfig, Packet};
use flowrun_engine::rows::Rows;

/// Bytes that may wait for the next frame: at very few frames a second the oldest packets are left out.
const BYTES_AT_MOST: usize = 16 << 20;

/// One encoded picture as it came.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub config: Arc<CodecConfig>,
    /// NAL units behind their lengths, without parameter sets and delimiters.
    pub data: Bytes,
    pub keyframe: bool,
    /// When it is shown and when it must be decoded, in nanoseconds of the source's own scale.
    pub presented: i64,
    pub decoded: i64,
    pub sequence: u64,
}

/// Access units since the last frame.
#[derive(Default)]
pub(super) struct Waiting {
    units: VecDeque<Unit>,
    bytes: usize,
    /// The last decoding time that has left, in event or media time.
    last: Option<i64>,
}

impl Waiting {
    /// Adds one in decoding order.
    pub fn add(&mut self, unit: Unit) {
        self.bytes += unit.data.len();
        self.units.push_back(unit);
        while self.bytes > BYTES_AT_MOST {
            self.bytes -= self.units.pop_front().map_or(self.bytes, |unit| unit.data.len());
        }
    }

    /// All of them, for a frame that lies at `own` on the source's scale and at `time` in event or media time.
    pub fn ride(&mut self, own: i64, time: i64) -> Rows<Packet> {
        self.bytes = 0;
        let last = &mut self.last;
        let packet = |unit: Unit| {
            // Where times were repaired, decoding times still increase and none is late.
            let earliest = last.map_or(i64::MIN, |last| last.saturating_add(1).saturating_sub(time));
            let decoded = unit.decoded.saturating_sub(own).max(earliest);
            *last = Some(decoded.saturating_add(time));
            Packet {
                config: unit.config,
                data: unit.data,
                presented: unit.presented.saturating_sub(own).max(decoded),
                decoded,
                keyframe: unit.keyframe,
                sequence: unit.sequence,
            }
        };
        self.units.drain(..).map(packet).collect::<Vec<_>>().into()
    }
}

#[cfg(test)]
mod tests {
    use flowrun_engine::packet::Codec;
    use flowrun_engine::rows::Size;

    use super::*;

    fn unit(sequence: u64, presented: i64, decoded: i64, bytes: usize) -> Unit {
        Unit {
            config: Arc::new(CodecConfig {
                codec: Codec::H264,
                size: Size { width: 16, height: 16 },
                record: Bytes::from_static(&[1]),
            }),
            data: vec![0; bytes].into(),
            keyframe: false,
            presented,
            decoded,
            sequence,
        }
    }

    #[test]
    fn times_are_relative_to_the_frame_and_keep_increasing_where_its_time_was_repaired() {
        let mut waiting = Waiting::default();
        waiting.add(unit(0, 1_000, 1_000, 1));
        waiting.add(unit(1, 1_300, 1_100, 1));
        let times = |rows: &Rows<Packet>| {
            rows.iter()
                .map(|packet| (packet.presented, packet.decoded))
                .collect::<Vec<_>>()
        };
        assert_eq!(times(&waiting.ride(1_000, 50)), [(0, 0), (300, 100)]);
        // The medium's clock fell back by 900, the frame's time did not.
        waiting.add(unit(2, 100, 100, 1));
        assert_eq!(times(&waiting.ride(100, 90)), [(61, 61)]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut waiting = Waiting::default();
        (0..100).for_each(|sequence| waiting.add(unit(sequence, 0, 0, 1 << 20)));
        let rows = waiting.ride(0, 0);
        assert_eq!((rows.len(), rows[0].sequence), (16, 84));
    }
}
