//! A camera's own packets passed on: nothing is encoded, and nothing of a packet changes but its clock.

use flowrun_engine::frame::Frame;
use flowrun_engine::packet::{Codec, Packet};
use flowrun_engine::rows::At;
use flowrun_engine::time::EventTime;

use super::{Copy, EncodeParams};

/// How long a camera that sends packets may give frames without any: pictures that a decoder held back.
const LATE_PICTURES_NS: i64 = 1_000_000_000;

/// What is known of one camera's packets.
#[derive(Default)]
pub(super) struct Copying {
    /// The next sequence number, once packets are passed on; what is not it came after a loss.
    expected: Option<u64>,
    /// When packets last came.
    last: Option<EventTime>,
    /// The last packet's decoding time, which only grows.
    decoded: Option<i64>,
}

impl Copying {
    /// Whether this frame is answered with packets, not with an encoded picture.
    pub fn takes(&self, params: &EncodeParams, at: &At, frame: &Frame) -> bool {
        let untouched = params.copy == Copy::Auto && params.height.is_none() && params.fps.is_none();
        let fits = frame.packets.iter().all(|packet| packet.config.codec == Codec::H264);
        let recent = |last: EventTime| at.event_time.0.saturating_sub(last.0) < LATE_PICTURES_NS;
        untouched && fits && (!frame.packets.is_empty() || self.last.is_some_and(recent))
    }

    /// Forgets what was passed on: the next packet has to be a keyframe.
    pub fn rest(&mut self) {
        self.expected = None;
    }

    /// Notes that packets come, wanted or not.
    pub fn saw(&mut self, at: &At, frame: &Frame) {
        if !frame.packets.is_empty() {
            self.last = Some(at.event_time);
        }
    }

    /// The frame's packets in event time. After a loss nothing is passed on before the next keyframe.
    pub fn packets(&mut self, at: &At, frame: &Frame) -> Vec<Packet> {
        let mut passed = Vec::with_capacity(frame.packets.len());
        for packet in frame.packets.iter() {
            if self.expected != Some(packet.sequence) && !packet.keyframe {
                self.expected = None;
                continue;
            }
            self.expected = Some(packet.sequence.wrapping_add(1));
            let time = |after: i64| at.event_time.0.saturating_add(after);
            let earliest = self.decoded.map_or(i64::MIN, |last| last.saturating_add(1));
            let mut decoded = time(packet.decoded);
            // A camera's clock that was set back by more is told as it is: readers begin anew there.
            if decoded < earliest && earliest - decoded < LATE_PICTURES_NS {
                decoded = earliest;
            }
            self.decoded = Some(decoded);
            passed.push(Packet {
                presented: time(packet.presented).max(decoded),
                decoded,
                ..packet.clone()
            });
        }
        passed
    }
}
