//! libx264 by way of libavcodec, set for pictures that somebody is waiting for: each goes in and comes out again before
//! the next, and keyframes stand where the caller puts them.
//!
//! Time stays outside: pictures are numbered, since libx264's rate control would take a fine time base for a frame rate.
//! It is opened for the frame rate that is known by then, else for [`USUAL_FPS`], and told a bit rate that comes to the
//! wanted one at the rate that pictures really have.

use std::sync::Arc;

use bytes::Bytes;
use ff::codec::threading;
use ff::{Dictionary, color, picture};
use ffmpeg_next as ff;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::{Matrix, Picture, PictureLayout, Range};
use flowrun_engine::packet::{Codec, CodecConfig};

use super::convert::{Converter, encoded_range, encoded_size};
use super::{EncodeParams, Preset, annexb};
use crate::decode;

/// The frame rate that an encoder is opened for while the true one is not known.
pub(super) const USUAL_FPS: f64 = 25.0;

/// The name of libavcodec's wrapper.
const NAME: &str = "libx264";

/// Whether a picture can be decoded by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// It must.
    Keyframe,
    /// It need not.
    Any,
}

/// One encoded picture, not yet with a time.
pub(super) struct Encoded {
    pub data: Bytes,
    pub keyframe: bool,
}

/// An encoder of one camera's pictures, of one size.
pub(super) struct H264 {
    context: ff::encoder::video::Encoder,
    converter: Converter,
    config: Arc<CodecConfig>,
    /// Pictures so far.
    count: i64,
    bitrate: u64,
    /// Pictures a second that it was opened for.
    nominal: f64,
    /// The bits a second that it was told.
    told: i64,
    packet: ff::Packet,
}

fn preset(preset: Preset) -> &'static str {
    match preset {
        Preset::Ultrafast => "ultrafast",
        Preset::Superfast => "superfast",
        Preset::Veryfast => "veryfast",
        Preset::Faster => "faster",
        Preset::Fast => "fast",
        Preset::Medium => "medium",
    }
}

fn lacking() -> OperatorError {
    OperatorError::new("this system's FFmpeg has no libx264, which encodes H.264")
        .help("install one that has it: apt-get install --yes libavcodec-extra; `flowrun doctor` lists its encoders")
}

impl H264 {
    /// Opens an encoder for pictures of a layout, about so many a second.
    ///
    /// # Errors
    /// When the system's FFmpeg has none, or it refuses the pictures.
    pub fn open(params: &EncodeParams, layout: PictureLayout, fps: f64) -> Result<Self> {
        // A whole number: whoever measures again finds the same.
        let nominal = fps.round().clamp(1.0, 240.0);
        decode::init();
        let codec = ff::encoder::find_by_name(NAME).ok_or_else(lacking)?;
        let size = encoded_size(layout.size, params.height);
        let failed = |error: ff::Error| {
            let cause = format!(
                "{NAME} does not encode pictures of {}x{}: {error}",
                size.width, size.height
            );
            OperatorError::new(decode::with_complaint(cause))
        };
        let mut context = ff::codec::Context::new_with_codec(codec)
            .encoder()
            .video()
            .map_err(failed)?;
        context.set_width(size.width);
        context.set_height(size.height);
        context.set_format(ff::format::Pixel::YUV420P);
        context.set_time_base(ff::Rational::new(1, nominal as i32));
        context.set_max_b_frames(0);
        // Parameter sets stand in the stream's description alone.
        context.set_flags(ff::codec::Flags::GLOBAL_HEADER);
        context.set_threading(threading::Config {
            count: params.threads,
            ..threading::Config::kind(threading::Type::Slice)
        });
        signal_colours(&mut context, &layout);
        let mut options = Dictionary::new();
        options.set("preset", preset(params.preset));
        options.set("tune", "zerolatency");
        options.set("crf", &params.crf.to_string());
        options.set("maxrate", &params.bitrate.0.to_string());
        // A second of it: what a player buffers at least.
        options.set("bufsize", &params.bitrate.0.to_string());
        options.set("forced-idr", "1");
        options.set("x264-params", "keyint=infinite:scenecut=0");
        let context = context.open_with(options).map_err(failed)?;
        let record = annexb::record(description(&context))
            .ok_or_else(|| OperatorError::new(format!("{NAME} gave no parameter sets")))?;
        Ok(H264 {
            context,
            converter: Converter::new(layout, size)?,
            config: Arc::new(CodecConfig {
                codec: Codec::H264,
                size,
                record,
            }),
            count: 0,
            bitrate: params.bitrate.0,
            nominal,
            told: i64::try_from(params.bitrate.0).unwrap_or(i64::MAX),
            packet: ff::Packet::empty(),
        })
    }

    /// What decodes its packets.
    pub fn config(&self) -> &Arc<CodecConfig> {
        &self.config
    }

    /// Whether it takes pictures of this layout.
    pub fn fits(&self, layout: &PictureLayout) -> bool {
        self.converter.fits(layout)
    }

    /// Holds another bit rate from the next picture on.
    pub fn set_bitrate(&mut self, bitrate: u64) {
        if bitrate == self.bitrate {
            return;
        }
        let own = |rate: u64| i64::try_from(rate).unwrap_or(i64::MAX).max(1);
        // What the encoder was told follows the rate of pictures too.
        self.told = (self.told as f64 * bitrate as f64 / self.bitrate.max(1) as f64) as i64;
        self.bitrate = bitrate;
        // SAFETY: as in `set_rate`; the buffer is the other field that the wrapper compares before each picture.
        unsafe {
            let context = self.context.as_mut_ptr();
            (*context).rc_max_rate = self.told.max(1);
            (*context).rc_buffer_size = i32::try_from(own(bitrate)).unwrap_or(i32::MAX);
        }
    }

    /// Says how many pictures a second come, so that the bit rate holds; small changes are passed over.
    pub fn set_rate(&mut self, fps: f64) {
        let rate = (self.bitrate as f64 * self.nominal / fps.clamp(0.1, 1_000.0)) as i64;
        if (rate - self.told).abs() * 10 < self.told {
            return;
        }
        self.told = rate;
        // SAFETY: the context is open and owned; libx264's wrapper reads this plain field before each picture and
        // changes the encoder's rate when it differs.
        unsafe { (*self.context.as_mut_ptr()).rc_max_rate = rate };
    }

    /// Encodes a picture.
    ///
    /// # Errors
    /// As libav reports it; the encoder is of no use after that.
    pub fn encode(&mut self, picture: &Picture, want: Want) -> Result<Vec<Encoded>> {
        let failed = |error: ff::Error| {
            OperatorError::new(decode::with_complaint(format!(
                "a picture could not be encoded: {error}"
            )))
        };
        let frame = self.converter.convert(picture)?;
        frame.set_pts(Some(self.count));
        frame.set_kind(match want {
            Want::Keyframe => picture::Type::I,
            Want::Any => picture::Type::None,
        });
        self.count += 1;
        self.context.send_frame(frame).map_err(failed)?;
        let mut encoded = Vec::with_capacity(1);
        loop {
            match self.context.receive_packet(&mut self.packet) {
                Ok(()) => encoded.push(Encoded {
                    data: annexb::sample(self.packet.data().unwrap_or_default()),
                    keyframe: self.packet.is_key(),
                }),
                Err(ff::Error::Other {
                    errno: ff::error::EAGAIN,
                })
                | Err(ff::Error::Eof) => return Ok(encoded),
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// The parameter sets of an open encoder.
fn description(context: &ff::encoder::video::Encoder) -> &[u8] {
    // SAFETY: the context is open; libavcodec keeps `extradata_size` bytes at `extradata` for as long as it lives,
    // writes them once while opening, and the slice does not outlive the borrow of the context.
    unsafe {
        let raw = context.as_ptr();
        match ((*raw).extradata, usize::try_from((*raw).extradata_size)) {
            (data, Ok(length)) if !data.is_null() => std::slice::from_raw_parts(data, length),
            _ => &[],
        }
    }
}

/// Writes into the stream what its samples mean.
fn signal_colours(context: &mut ff::encoder::video::Video, layout: &PictureLayout) {
    let (space, primaries, transfer) = match layout.matrix {
        Matrix::Bt601 => (
            color::Space::SMPTE170M,
            color::Primaries::SMPTE170M,
            color::TransferCharacteristic::SMPTE170M,
        ),
        Matrix::Bt709 => (
            color::Space::BT709,
            color::Primaries::BT709,
            color::TransferCharacteristic::BT709,
        ),
        Matrix::Bt2020 => (
            color::Space::BT2020NCL,
            color::Primaries::BT2020,
            color::TransferCharacteristic::BT2020_10,
        ),
    };
    context.set_colorspace(space);
    context.set_color_primaries(primaries);
    context.set_color_transfer_characteristic(transfer);
    context.set_color_range(match encoded_range(layout) {
        Range::Limited => color::Range::MPEG,
        Range::Full => color::Range::JPEG,
    });
}
