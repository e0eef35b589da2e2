//! The camera's own thread: access units to frames.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use engine::batch::RowType;
use engine::clock::WallClock;
use engine::device::Decoders;
use engine::errors::{OperatorError, Result};
use engine::frame::Frame;
use engine::network::Network;
use engine::operator::{Item, Next, Overload, Pace, Source, SourceOutput, SourceSetup, SourceTraits, Stop, Times};
use engine::packet::{Codec, CodecConfig};
use engine::rows::CameraId;
use ffmpeg_next as ff;
use flowrun_dsl::port::RowKind;
use flowrun_engine as engine;
use tokio::sync::oneshot;

use super::params::{Address, RtspParams};
use super::queue::{Event, Queue};
use super::session::{Camera, LEAVE_WITHIN, attend};
use super::stream::Taken;
use crate::decode::{
    Decoded, Decoder, DecoderOptions, Fed, Hardware, PictureMaker, parameters_of, take_complaint, with_complaint,
};
use crate::source::DecodeWhich;
use crate::source::damage::Damage;
use crate::source::packets::Waiting;
use crate::source::timeline::Grid;

/// How often a waiting thread looks whether the run is to end.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// Failures in a row after which the decoder is made anew, and a device given up.
const FAILURES_AT_MOST: u32 = 100;
/// Timestamps are event time.
const NANOSECONDS: ff::Rational = ff::Rational(1, 1_000_000_000);
/// A picture's duration where nothing says it.
const USUAL_NANOSECONDS: i64 = 40_000_000;

/// The `rtsp` source.
pub struct RtspSource {
    params: RtspParams,
    address: Address,
    wall: WallClock,
    network: Network,
    stop: Stop,
    queue: Arc<Queue>,
    /// Dropping it ends the task; none before the first call.
    task: Option<oneshot::Sender<()>>,
    decoder: Option<(Arc<CodecConfig>, Decoder)>,
    /// A configuration that no decoder takes; told once.
    refused: Option<Arc<CodecConfig>>,
    /// What waits until the decoder has given up what it holds.
    next: Option<Change>,
    maker: PictureMaker,
    decoders: Decoders,
    camera: CameraId,
    /// The codec that `maker` is for.
    codec: Option<Codec>,
    grid: Option<Grid>,
    damage: Damage,
    ready: Option<Item>,
    packets: Waiting,
    frame: u64,
    first: Option<i64>,
    last: i64,
    failures_in_a_row: u32,
}

/// Why the decoder is being emptied.
enum Change {
    /// A new session.
    Session,
    /// A unit of another configuration.
    Config(Taken),
}

impl Source for RtspSource {
    const KIND: &'static str = "rtsp";
    type Params = RtspParams;

    fn output() -> SourceOutput {
        SourceOutput::Always(RowKind::Frame)
    }

    fn open(params: RtspParams, setup: &SourceSetup<'_>) -> Result<Self> {
        if let Some(fps) = params.fps.filter(|fps| !(*fps > 0.0 && *fps <= 1000.0)) {
            return Err(OperatorError::new(format!("fps={fps} is not above 0 and at most 1000")));
        }
        Ok(RtspSource {
            address: Address::of(&params)?,
            wall: setup.wall.clone(),
            network: setup.network.clone(),
            stop: setup.stop.clone(),
            queue: Arc::default(),
            task: None,
            decoder: None,
            refused: None,
            next: None,
            maker: PictureMaker::default(),
            decoders: setup.decoders.clone(),
            camera: setup.camera,
            codec: None,
            grid: params.fps.map(|fps| Grid::new(fps, USUAL_NANOSECONDS)),
            damage: Damage::default(),
            ready: None,
            packets: Waiting::default(),
            frame: 0,
            first: None,
            last: i64::MIN,
            failures_in_a_row: 0,
            params,
        })
    }

    fn traits(&self) -> SourceTraits {
        SourceTraits {
            finite: false,
            pace: Pace::Media,
            times: Times::Event,
            overload: Overload::Shed,
        }
    }

    fn next(&mut self) -> Result<Next> {
        if self.task.is_none() {
            self.begin()?;
        }
        loop {
            if self.stop.asked() {
                return Ok(Next::End);
            }
            if let Some(item) = self.ready.take() {
                return Ok(Next::Item(item));
            }
            if let Some(notice) = self.maker.take_notice() {
                return Ok(Next::Fault(notice));
            }
            let decoded = self
                .decoder
                .as_mut()
                .map_or(Decoded::Drained, |(_, decoder)| decoder.take());
            let next = match decoded {
                Decoded::Picture(frame) => self.picture(frame),
                Decoded::Hungry => self.listen(),
                Decoded::Drained => self.drained(),
                Decoded::Failed(error) => self.failed(|| format!("a picture could not be decoded: {error}")),
            };
            if let Some(next) = next {
                return Ok(next);
            }
        }
    }
}

impl Drop for RtspSource {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            drop(task);
            // The task takes leave of the camera, which might refuse the next session otherwise.
            self.queue.wait_finished(2 * LEAVE_WITHIN);
        }
    }
}

impl RtspSource {
    fn begin(&mut self) -> Result<()> {
        let (task, cancelled) = oneshot::channel();
        let camera = Camera {
            address: self.address.clone(),
            wall: self.wall.clone(),
            queue: self.queue.clone(),
        };
        self.network.handle()?.spawn(attend(camera, cancelled));
        self.task = Some(task);
        Ok(())
    }

    /// Waits for what the camera sends.
    fn listen(&mut self) -> Option<Next> {
        match self.queue.take(LOOK_AROUND)? {
            Event::Fault(cause) => Some(Next::Fault(cause)),
            Event::Begin => {
                self.empty(Change::Session);
                None
            }
            Event::Unit(taken) => match &self.decoder {
                Some((config, _)) if *config == taken.unit.config && !self.is_to_move(&taken) => self.feed(taken),
                _ => {
                    self.empty(Change::Config(taken));
                    None
                }
            },
        }
    }

    /// Whether the camera is on another device by now, and this unit may be the first there.
    fn is_to_move(&self, taken: &Taken) -> bool {
        taken.unit.keyframe && self.maker.hardware().has_moved()
    }

    /// Lets the decoder give up what it holds.
    fn empty(&mut self, change: Change) {
        self.next = Some(change);
        if let Some((_, decoder)) = &mut self.decoder
            && !matches!(decoder.feed(None), Fed::Taken)
        {
            self.decoder = None;
        }
    }

    /// The decoder has given up all it held, or there is none.
    fn drained(&mut self) -> Option<Next> {
        match self.next.take() {
            None if self.decoder.is_none() => self.listen(),
            None | Some(Change::Session) => {
                if let Some((_, decoder)) = &mut self.decoder {
                    decoder.reset();
                }
                None
            }
            Some(Change::Config(taken)) => self.open(taken),
        }
    }

    /// A decoder for a configuration, and its first unit.
    fn open(&mut self, taken: Taken) -> Option<Next> {
        self.decoder = None;
        let config = taken.unit.config.clone();
        if self.refused.as_ref() == Some(&config) {
            self.packets.add(taken.unit);
            return None;
        }
        let options = DecoderOptions {
            threads: 1,
            keyframes_only: self.params.decode == DecodeWhich::Keyframes,
        };
        let opened = parameters_of(&config).and_then(|parameters| {
            if self.codec != Some(config.codec) {
                let (choice, camera) = (self.params.decoder, self.camera);
                let hardware = Hardware::new(choice, parameters.id(), options, &self.decoders, camera);
                self.maker = PictureMaker::new(hardware);
                self.codec = Some(config.codec);
            }
            self.maker.follow_device();
            Decoder::open(parameters, NANOSECONDS, options, self.maker.hardware())
        });
        match opened {
            Ok(decoder) => {
                self.refused = None;
                self.decoder = Some((config, decoder));
                self.feed(taken)
            }
            Err(error) => {
                self.refused = Some(config);
                let remedy = error.remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
                Some(Next::Fault(format!("{}{remedy}", error.cause)))
            }
        }
    }

    fn feed(&mut self, Taken { unit, taken }: Taken) -> Option<Next> {
        let (_, decoder) = self.decoder.as_mut()?;
        let mut packet = ff::Packet::copy(&unit.data);
        packet.set_pts(Some(taken));
        if unit.keyframe {
            packet.set_flags(ff::packet::Flags::KEY);
        }
        let fed = decoder.feed(Some(&packet));
        self.packets.add(unit);
        match fed {
            Fed::Taken => {
                let complaint = take_complaint()?;
                self.damage
                    .add(|| format!("a packet is damaged ({complaint})"))
                    .map(Next::Fault)
            }
            Fed::Full => self.failed(|| "the decoder takes no packet and gives no picture".into()),
            Fed::Damaged(error) => self.failed(|| format!("a packet could not be decoded: {error}")),
        }
    }

    fn picture(&mut self, frame: ff::frame::Video) -> Option<Next> {
        self.failures_in_a_row = 0;
        let index = self.frame;
        self.frame += 1;
        // Increasing, whatever reordering, a new session or a camera's clock may say.
        let taken = frame.pts().unwrap_or(self.last).max(self.last.saturating_add(1));
        self.last = taken;
        let first = *self.first.get_or_insert(taken);
        let complaint = take_complaint();
        let patched = frame.is_corrupt() || frame.has_decode_errors() || complaint.is_some();
        let mut fault = match patched {
            true => self
                .damage
                .add(|| format!("frame {index} was decoded from damaged data")),
            false => self.damage.end_stretch(),
        };
        if self.grid.as_mut().is_none_or(|grid| grid.takes(taken - first)) {
            match self.maker.picture(frame) {
                Ok(picture) => {
                    self.ready = Some(Item {
                        frame: index,
                        media_time: taken,
                        size: picture.layout().size,
                        batch: Frame::into_batch(vec![Frame {
                            picture: picture.into(),
                            truth: None,
                            packets: self.packets.ride(taken, taken),
                            taken: None,
                        }]),
                    });
                }
                Err(error) => {
                    let unreadable = self.damage.add(|| format!("frame {index} cannot be used: {error}"));
                    fault = fault.or(unreadable);
                }
            }
        } else {
            self.maker.leave_out(frame);
        }
        fault.map(Next::Fault)
    }

    fn failed(&mut self, cause: impl FnOnce() -> String) -> Option<Next> {
        self.failures_in_a_row += 1;
        if self.failures_in_a_row >= FAILURES_AT_MOST {
            // The next unit opens another.
            self.failures_in_a_row = 0;
            let given_up = self.decoder.take().is_some_and(|(_, decoder)| decoder.is_on_device());
            if given_up {
                self.maker.give_device_up("it keeps failing");
            }
        }
        self.damage.add(|| with_complaint(cause())).map(Next::Fault)
    }
}
