//! Recorded video and still pictures as cameras.

use std::path::PathBuf;

use dsl::params::{Choice, Params};
use dsl::port::RowKind;
use engine::batch::RowType;
use engine::errors::{OperatorError, Result};
use engine::frame::Frame;
use engine::operator::{Item, Next, Overload, Pace, Source, SourceOutput, SourceSetup, SourceTraits, Stop, Times};
use engine::rows::Rows;
use ffmpeg_next as ff;
use flowrun_dsl as dsl;
use flowrun_engine as engine;

use super::damage::Damage;
use super::demux::{Demuxer, Read};
use super::encoded::Encoded;
use super::nal::has_idr;
use super::timeline::{Grid, Timeline};
use crate::decode::{
    Decoded, Decoder, DecoderChoice, DecoderOptions, Fed, Hardware, PictureMaker, take_complaint, with_complaint,
};
use seam::Seam;

/// How many packets in a row may fail before a file counts as noise and ends.
const FAILURES_AT_MOST: u32 = 10_000;
/// How many in a row before a device is given up.
const DEVICE_FAILURES_AT_MOST: u32 = 30;
/// How many key pictures a camera that is to go to another device waits for one that no later picture looks behind.
const KEYS_AT_MOST: u32 = 8;

/// What happens after the last picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum AtEnd {
    /// The camera ends.
    Stop,
    /// It starts again; frame numbers and times go on growing.
    Loop,
}

/// Which pictures are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum DecodeWhich {
    /// Every one.
    All,
    /// Those that need no other: a picture every second or so, at a small part of the cost.
    Keyframes,
}

/// A video file or still picture as a camera: any container and codec that the system's FFmpeg reads from disk.
///
/// Frames are numbered as they are decoded, from 0 and before `fps` thins them. Times are the file's own
/// timestamps relative to its first picture; missing and misplaced ones are repaired from the frame rate. Size and
/// format may change on the way. H.264 and H.265 of MP4 and Matroska can also be passed on as they are. Damage costs pictures, never the run: it becomes error rows, and pictures that the
/// decoder patched up are kept, with an error row before them. Rotation metadata is ignored. Playlists are refused.
/// 8-bit planar YUV, NV12, gray and RGB24 pictures are not copied; others (10 bit, say) are converted once.
#[derive(Params, Clone, Debug)]
pub struct FileParams {
    /// The file.
    #[param(positional)]
    pub path: PathBuf,
    /// `media`: as fast as it was filmed; `max`: as fast as it can be answered.
    #[param(default = "media")]
    pub pace: Pace,
    /// What happens after the last picture.
    #[param(name = "at-end", default = "stop")]
    pub at_end: AtEnd,
    /// At most this many pictures a second: the first at or after each instant k/fps. All when absent.
    #[param(min = 0.001, max = 1000.0)]
    pub fps: Option<f64>,
    /// Which pictures are decoded.
    #[param(default = "all")]
    pub decode: DecodeWhich,
    /// Threads of the processor that decode this file.
    #[param(name = "decode-threads", default = "1", min = 1, max = 16)]
    pub decode_threads: u32,
    /// What decodes. On a device pictures stay there until somebody needs them on the host.
    #[param(default = "auto")]
    pub decoder: DecoderChoice,
}

/// Where in the file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading,
    /// All packets are in the decoder.
    Draining,
    /// All packets before one that needs none of them are in the decoder; the next is opened on another device.
    Moving,
    Ended,
}

/// What became of the pictures since the file's start.
#[derive(Clone, Copy, Debug, Default)]
struct Pass {
    decoded: u64,
    given: u64,
    unusable: u64,
}

/// The `file` source.
pub struct FileSource {
    params: FileParams,
    options: DecoderOptions,
    demuxer: Demuxer,
    decoder: Decoder,
    maker: PictureMaker,
    timeline: Timeline,
    grid: Option<Grid>,
    damage: Damage,
    stop: Stop,
    phase: Phase,
    /// The file's packets, where they can be passed on.
    encoded: Option<Encoded>,
    /// A packet the decoder had no room for.
    pending: Option<ff::Packet>,
    /// Where the next pass is being fed already.
    seam: Option<Seam>,
    /// An item whose fault goes first.
    ready: Option<Item>,
    /// Index of the next decoded picture.
    frame: u64,
    pass: Pass,
    failures_in_a_row: u32,
    /// Key pictures that were no place to go to another device.
    keys_waited: u32,
    /// The size of the last picture, and whether the stream has come to need another decoder since the file's start.
    size: (u32, u32),
    changed: bool,
}

impl Source for FileSource {
    const KIND: &'static str = "file";
    type Params = FileParams;

    fn output() -> SourceOutput {
        SourceOutput::Always(RowKind::Frame)
    }

    fn open(params: FileParams, setup: &SourceSetup<'_>) -> Result<Self> {
        if let Some(fps) = params.fps.filter(|fps| !(*fps > 0.0 && *fps <= 1000.0)) {
            return Err(OperatorError::new(format!("fps={fps} is not above 0 and at most 1000")));
        }
        let demuxer = Demuxer::open(&setup.root.join(&params.path), &setup.stop)?;
        let options = DecoderOptions {
            threads: params.decode_threads.clamp(1, 16),
            keyframes_only: params.decode == DecodeWhich::Keyframes,
        };
        let clock = demuxer.clock();
        let parameters = demuxer.parameters();
        let maker = PictureMaker::new(Hardware::new(
            params.decoder,
            parameters.id(),
            options,
            &setup.decoders,
            setup.camera,
        ));
        let encoded = demuxer
            .config()
            .map(|(config, length_bytes)| Encoded::new(config, length_bytes, clock));
        Ok(FileSource {
            encoded,
            decoder: Decoder::open(parameters, demuxer.time_base(), options, maker.hardware())?,
            maker,
            timeline: Timeline::new(clock),
            grid: params.fps.map(|fps| Grid::new(fps, clock.nominal)),
            damage: Damage::default(),
            stop: setup.stop.clone(),
            phase: Phase::Reading,
            pending: None,
            seam: None,
            ready: None,
            frame: 0,
            pass: Pass::default(),
            failures_in_a_row: 0,
            keys_waited: 0,
            size: (0, 0),
            changed: false,
            demuxer,
            options,
            params,
        })
    }

    fn traits(&self) -> SourceTraits {
        SourceTraits {
            finite: self.params.at_end == AtEnd::Stop,
            pace: self.params.pace,
            times: Times::Media,
            overload: Overload::Wait,
        }
    }

    fn next(&mut self) -> Result<Next> {
        loop {
            if self.stop.asked() {
                return Ok(Next::End);
            }
            if let Some(item) = self.ready.take() {
                return Ok(Next::Item(item));
            }
            if self.phase == Phase::Ended {
                return Ok(Next::End);
            }
            if let Some(notice) = self.maker.take_notice() {
                return Ok(Next::Fault(notice));
            }
            let next = match self.decoder.take() {
                Decoded::Picture(frame) => self.picture(frame),
                Decoded::Hungry => self.feed(),
                Decoded::Drained if self.phase == Phase::Moving => self.move_over()?,
                Decoded::Drained => self.end_of_pass()?,
                Decoded::Failed(error) => self.failed(|| format!("a picture could not be decoded: {error}")),
            };
            if let Some(next) = next {
                return Ok(next);
            }
        }
    }
}

impl FileSource {
    /// How many pictures had to be converted, and so copied, because the engine does not know their pixel format.
    pub fn converted(&self) -> u64 {
        self.maker.converted()
    }

    fn picture(&mut self, frame: ff::frame::Video) -> Option<Next> {
        self.failures_in_a_row = 0;
        let crossed = self.seam.take_if(|seam| seam.is_crossed_by(&frame));
        let told = crossed.and_then(|seam| self.cross(seam));
        let size = (frame.width(), frame.height());
        self.changed |= self.pass.decoded > 0 && size != self.size;
        self.size = size;
        self.pass.decoded += 1;
        let index = self.frame;
        self.frame += 1;
        let timestamp = frame.timestamp();
        let media_time = self.timeline.place(timestamp, frame.packet().duration);
        let complaint = take_complaint();
        let patched = frame.is_corrupt() || frame.has_decode_errors() || complaint.is_some();
        let mut fault = match patched {
            true => self
                .damage
                .add(|| format!("frame {index} was decoded from damaged data")),
            false => self.damage.end_stretch(),
        };
        if self.grid.as_mut().is_none_or(|grid| grid.takes(media_time)) {
            match self.maker.picture(frame) {
                Ok(picture) => {
                    self.pass.given += 1;
                    self.ready = Some(Item {
                        frame: index,
                        media_time,
                        size: picture.layout().size,
                        batch: Frame::into_batch(vec![Frame {
                            picture: picture.into(),
                            truth: None,
                            packets: self
                                .encoded
                                .as_mut()
                                .map_or_else(Rows::default, |encoded| encoded.ride(timestamp, media_time)),
                            taken: None,
                        }]),
                    });
                }
                Err(error) => {
                    self.pass.unusable += 1;
                    let unreadable = self.damage.add(|| format!("frame {index} cannot be used: {error}"));
                    fault = fault.or(unreadable);
                }
            }
        } else {
            self.maker.leave_out(frame);
        }
        told.or(fault).map(Next::Fault)
    }

    /// Gives the decoder its next packet.
    fn feed(&mut self) -> Option<Next> {
        if self.phase != Phase::Reading {
            // A decoder that is draining has no business to be hungry.
            return self.give_up();
        }
        let packet = match self.pending.take().map_or_else(|| self.demuxer.read(), Read::Packet) {
            Read::Packet(packet) => packet,
            Read::End => {
                let complaint = take_complaint();
                if complaint.is_none()
                    && let Some(packet) = self.run_on()
                {
                    self.pending = Some(packet);
                    return None;
                }
                self.drain();
                let early = |complaint| self.damage.add(|| format!("the file ends early ({complaint})"));
                return complaint.and_then(early).map(Next::Fault);
            }
            Read::Failed(cause) => {
                self.drain();
                return self.damage.add(|| cause).map(Next::Fault);
            }
        };
        self.changed |= brings_configuration(&packet);
        if self.is_to_move(&packet) {
            return self.leave(packet);
        }
        let fed = self.decoder.feed(Some(&packet));
        if let (Some(encoded), Fed::Taken | Fed::Damaged(_)) = (&mut self.encoded, &fed) {
            match &mut self.seam {
                Some(seam) => seam.feed(&packet),
                None => encoded.add(&packet),
            }
        }
        match fed {
            Fed::Taken => {
                let complaint = take_complaint();
                if !packet.is_corrupt() && complaint.is_none() {
                    return None;
                }
                let cause = || complaint.unwrap_or_else(|| "the file marks it so".into());
                let fault = self.damage.add(|| format!("a packet is damaged ({})", cause()));
                fault.map(Next::Fault)
            }
            Fed::Full => {
                self.pending = Some(packet);
                self.failed(|| "the decoder takes no packet and gives no picture".into())
            }
            Fed::Damaged(error) => self.failed(|| format!("a packet could not be decoded: {error}")),
        }
    }

    /// Whether the camera is on another device by now, and this packet may be the first there. A device that works is left
    /// where no later picture refers to an earlier one; where there is no such place, pictures are lost at some key picture.
    fn is_to_move(&mut self, packet: &ff::Packet) -> bool {
        let hardware = self.maker.hardware();
        if !packet.is_key() || self.changed || self.seam.is_some() || !hardware.has_moved() {
            return false;
        }
        let length_bytes = self.encoded.as_ref().and_then(Encoded::h264_length_bytes);
        let is_clean = length_bytes.is_none_or(|length| has_idr(packet.data().unwrap_or_default(), length));
        self.keys_waited += 1;
        is_clean || hardware.is_lost() || self.keys_waited > KEYS_AT_MOST
    }

    /// Lets the decoder give up what it holds, before another is opened for this packet on the camera's new device.
    fn leave(&mut self, packet: ff::Packet) -> Option<Next> {
        self.pending = Some(packet);
        self.phase = Phase::Moving;
        if matches!(self.decoder.feed(None), Fed::Taken) {
            return None;
        }
        // What is lost with a device is not to be had.
        self.move_over().unwrap_or_else(|error| Some(Next::Fault(error.cause)))
    }

    /// The decoder has given up all it held: the camera's new device goes on.
    fn move_over(&mut self) -> Result<Option<Next>> {
        self.maker.follow_device();
        self.decoder = self.open_decoder()?;
        self.keys_waited = 0;
        self.phase = Phase::Reading;
        Ok(None)
    }

    fn drain(&mut self) {
        self.phase = Phase::Draining;
        // What it still holds comes out by `take`; a failure here means that it holds nothing.
        if !matches!(self.decoder.feed(None), Fed::Taken) {
            self.failures_in_a_row = FAILURES_AT_MOST;
        }
    }

    fn failed(&mut self, cause: impl FnOnce() -> String) -> Option<Next> {
        self.failures_in_a_row += 1;
        let fault = self.damage.add(|| with_complaint(cause())).map(Next::Fault);
        if self.failures_in_a_row >= FAILURES_AT_MOST {
            return fault.or_else(|| self.give_up());
        }
        if self.failures_in_a_row == DEVICE_FAILURES_AT_MOST && self.decoder.is_on_device() {
            self.maker.give_device_up("it keeps failing");
            // It was open on the device: the processor takes the stream too.
            if let Ok(decoder) = self.open_decoder() {
                self.decoder = decoder;
            }
        }
        fault
    }

    fn open_decoder(&self) -> Result<Decoder> {
        let (parameters, time_base) = (self.demuxer.parameters(), self.demuxer.time_base());
        Decoder::open(parameters, time_base, self.options, self.maker.hardware())
    }

    fn give_up(&mut self) -> Option<Next> {
        self.phase = Phase::Ended;
        let untold = self.damage.end_stretch();
        Some(Next::Fault(
            untold.unwrap_or_else(|| "the decoder is stuck; the file ends here".into()),
        ))
    }

    /// The first packet of the next pass, where it may follow this one's last into the open decoder.
    fn run_on(&mut self) -> Option<ff::Packet> {
        let may = self.params.at_end == AtEnd::Loop
            && !self.changed
            && self.seam.is_none()
            && !self.options.keyframes_only
            && self.pass.given > 0
            && self.pass.decoded >= Seam::PICTURES_AT_LEAST
            && self.maker.hardware().is_device()
            && !self.maker.hardware().has_moved();
        let length_bytes = self.encoded.as_ref()?.h264_length_bytes()?;
        // A file that cannot be read again is told when this pass has come out.
        if !may || self.demuxer.rewind().is_err() {
            return None;
        }
        let Read::Packet(packet) = self.demuxer.read() else {
            return None;
        };
        self.seam = Some(Seam::at(&packet, length_bytes)?);
        Some(packet)
    }

    /// The next pass's first picture has come.
    fn cross(&mut self, seam: Seam) -> Option<String> {
        let untold = self.damage.end_stretch();
        self.timeline.restart();
        if let Some(encoded) = &mut self.encoded {
            encoded.restart();
            seam.into_fed().iter().for_each(|packet| encoded.add(packet));
        }
        self.pass = Pass::default();
        untold
    }

    /// The last picture is out: ends, or starts again.
    fn end_of_pass(&mut self) -> Result<Option<Next>> {
        let fault = self.damage.end_stretch().map(Next::Fault);
        let path = self.params.path.display();
        if self.params.at_end == AtEnd::Stop {
            self.phase = Phase::Ended;
            let nothing = || Next::Fault(format!("{path} has no picture that can be decoded"));
            return Ok(fault.or_else(|| (self.frame == 0).then(nothing)));
        }
        // Another pass would give no more than this one did.
        if self.pass.decoded == 0 || (self.pass.given == 0 && self.pass.unusable > 0) {
            return Err(OperatorError::new(format!(
                "{path} has no picture that can be decoded and used, so it cannot be looped"
            ))
            .help("`ffprobe` says what is wrong with it"));
        }
        self.demuxer.rewind()?;
        // A device takes longer to open a decoder than to decode many pictures: it goes on with the one it has.
        if self.decoder.is_on_device() && !self.changed && !self.maker.hardware().has_moved() {
            self.decoder.reset();
        } else {
            self.move_over()?;
            self.changed = false;
        }
        self.timeline.restart();
        if let Some(encoded) = &mut self.encoded {
            encoded.restart();
        }
        self.pass = Pass::default();
        self.seam = None;
        self.phase = Phase::Reading;
        Ok(fault)
    }
}

/// Whether what comes from here on needs another configuration than the file's.
pub(super) fn brings_configuration(packet: &ff::Packet) -> bool {
    packet
        .side_data()
        .any(|data| data.kind() == ff::packet::side_data::Type::NewExtraData)
}

mod seam;
#[cfg(test)]
mod tests;
