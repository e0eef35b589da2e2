//! What becomes of one camera's frames: left out, passed on, or encoded.

use std::time::Duration;

use flowrun_engine::demand::Demand;
use flowrun_engine::errors::Result;
use flowrun_engine::frame::Frame;
use flowrun_engine::packet::Packet;
use flowrun_engine::rows::At;
use flowrun_engine::time::{EventTime, nanos};

use super::EncodeParams;
use super::copy::Copying;
use super::h264::{H264, USUAL_FPS, Want};

/// How long an encoder that nobody wants is kept: opening one takes a few milliseconds and a keyframe.
const KEPT: Duration = Duration::from_secs(5);
/// After a longer pause of the camera, readers begin anew and need a keyframe.
const PAUSE: Duration = Duration::from_secs(1);
/// The weight of the newest interval in the mean of them.
const NEWEST: f64 = 0.1;

/// One camera's encoder and what it needs to know of the frames before.
#[derive(Default)]
pub(super) struct CameraEncoder {
    encoder: Option<H264>,
    copying: Copying,
    /// Whether the last frame was wanted.
    wanted: bool,
    /// When one last was.
    last_wanted: EventTime,
    last_keyframe: EventTime,
    /// The last frame that came, and the mean time from one to the next, in nanoseconds.
    last: Option<EventTime>,
    interval: Option<f64>,
    /// When the next frame may be encoded under a limit to the rate.
    due: EventTime,
    sequence: u64,
}

impl CameraEncoder {
    /// Forgets the encoder: after a failure, or when nobody wants it.
    pub fn close(&mut self) {
        self.encoder = None;
    }

    /// Answers a frame: with its packets, or with none where it is not wanted or too much.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn answer(&mut self, params: &EncodeParams, demand: &Demand, at: &At, frame: &Frame) -> Result<Vec<Packet>> {
        let was_wanted = std::mem::replace(&mut self.wanted, demand.wanted());
        let step = self.last.map(|last| at.event_time.0.saturating_sub(last.0));
        self.last = Some(at.event_time);
        let copies = self.copying.takes(params, at, frame);
        self.copying.saw(at, frame);
        let paused = step.is_some_and(|step| !(0..=nanos(PAUSE)).contains(&step));
        self.measure(step.filter(|_| !paused));
        if !self.wanted {
            self.copying.rest();
            if at.event_time.since(self.last_wanted) > KEPT {
                self.close();
            }
            return Ok(Vec::new());
        }
        self.last_wanted = at.event_time;
        if copies {
            self.close();
            return Ok(self.copying.packets(at, frame));
        }
        self.copying.rest();
        if paused || !was_wanted {
            self.due = at.event_time;
        }
        if !self.is_due(params, at.event_time) {
            return Ok(Vec::new());
        }
        let since_keyframe = at.event_time.0.saturating_sub(self.last_keyframe.0);
        let overdue = since_keyframe >= nanos(params.keyframe_every) || since_keyframe < 0;
        self.encode(params, at, frame, paused || overdue || !was_wanted)
    }

    /// Takes the time since the last frame into the mean.
    fn measure(&mut self, step: Option<i64>) {
        if let Some(step) = step.map(|step| step as f64).filter(|step| *step > 0.0) {
            self.interval = Some(self.interval.map_or(step, |mean| mean + (step - mean) * NEWEST));
        }
    }

    /// Pictures a second that are encoded; none before the second one.
    fn fps(&self, params: &EncodeParams) -> Option<f64> {
        let own = self.interval.map(|interval| 1e9 / interval);
        own.map(|own| params.fps.map_or(own, |most| own.min(most)))
    }

    /// Whether a frame is encoded under the limit to the rate.
    fn is_due(&mut self, params: &EncodeParams, now: EventTime) -> bool {
        let Some(fps) = params.fps else { return true };
        let interval = (1e9 / fps) as i64;
        // Frames do not come to the nanosecond.
        if now.0 < self.due.0.saturating_sub(interval / 20) {
            return false;
        }
        let next = self.due.0.saturating_add(interval);
        self.due = EventTime(if next > now.0 {
            next
        } else {
            now.0.saturating_add(interval)
        });
        true
    }

    fn encode(&mut self, params: &EncodeParams, at: &At, frame: &Frame, keyframe: bool) -> Result<Vec<Packet>> {
        let (layout, fps) = (frame.picture.layout(), self.fps(params));
        if self.encoder.as_ref().is_none_or(|encoder| !encoder.fits(&layout)) {
            let usual = fps.or(params.fps).unwrap_or(USUAL_FPS);
            self.encoder = Some(H264::open(params, layout, usual)?);
        }
        let encoder = self.encoder.as_mut().expect("opened above");
        encoder.set_bitrate(params.bitrate.0);
        if let Some(fps) = fps {
            encoder.set_rate(fps);
        }
        // An encoder's first picture is a keyframe whatever it is asked for.
        let want = if keyframe { Want::Keyframe } else { Want::Any };
        let mut packets = Vec::with_capacity(1);
        // Of a clip there are many, which need not all be in memory.
        let picture = frame.picture.passing();
        for encoded in encoder.encode(&picture, want)? {
            if encoded.keyframe {
                self.last_keyframe = at.event_time;
            }
            packets.push(Packet {
                config: encoder.config().clone(),
                data: encoded.data,
                presented: at.event_time.0,
                decoded: at.event_time.0,
                keyframe: encoded.keyframe,
                sequence: self.sequence,
            });
            self.sequence += 1;
        }
        Ok(packets)
    }
}
