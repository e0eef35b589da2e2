//! libav's decoder behind the four things that can happen to it.
//!
//! What libav reports as corrupt costs pictures and never the decoder: after any failure the next
//! packet may be fed. Cropping is applied by libav; rotation metadata is ignored.

use std::mem::ManuallyDrop;

use engine::device::{Admitted, Working, admitted, working};
use engine::errors::{OperatorError, Result};
use ff::ffi;
use ff::frame::Video;
use ffmpeg_next as ff;
use flowrun_engine as engine;

use super::hardware::{Attachment, Hardware};

/// The longest side of a picture that is decoded.
pub const MAX_SIDE: u32 = 16_384;
/// The most pixels of a picture that is decoded.
pub const MAX_PIXELS: i64 = MAX_SIDE as i64 * MAX_SIDE as i64;

/// How to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderOptions {
    /// Threads of this decoder; each beyond the first adds a picture of delay.
    pub threads: u32,
    /// Whether only packets marked as key are decoded, each by itself; the others cost nothing.
    pub keyframes_only: bool,
}

/// What a decoder has to say.
pub enum Decoded {
    /// A picture.
    Picture(Video),
    /// It needs another packet.
    Hungry,
    /// It was told that no more come, and has given all it had.
    Drained,
    /// It could not decode something; it goes on with the next packet.
    Failed(ff::Error),
}

/// What became of a packet.
pub enum Fed {
    /// It was taken.
    Taken,
    /// Pictures have to be taken out first.
    Full,
    /// It was taken and is damaged.
    Damaged(ff::Error),
}

/// A decoder of one video stream.
pub struct Decoder {
    /// There until the drop.
    context: ManuallyDrop<ff::decoder::Video>,
    keyframes_only: bool,
    /// A key picture is being drained out; the stream has not ended.
    alone: bool,
    /// Where a device may decode.
    attachment: Option<Attachment>,
    /// It has given a picture; libav opens the device's session on the way to the first one.
    has_begun: bool,
}

impl Decoder {
    /// Opens the decoder that the system's FFmpeg prefers for a stream; `time_base` is that of its packets.
    ///
    /// # Errors
    /// When there is none, the pictures are too large, or it does not open.
    pub fn open(
        parameters: ff::codec::Parameters,
        time_base: ff::Rational,
        options: DecoderOptions,
        hardware: &Hardware,
    ) -> Result<Self> {
        super::init();
        let codec_name = parameters.id().name();
        let codec = ff::decoder::find(parameters.id()).ok_or_else(|| no_decoder(codec_name))?;
        let failed = |error: ff::Error| OperatorError::new(format!("the {codec_name} decoder does not open: {error}"));
        let mut context = ff::codec::Context::from_parameters(parameters).map_err(failed)?;
        // SAFETY: the context was allocated by the line above and is not open yet, which is when these
        // plain fields may be set.
        let attachment = unsafe {
            let raw = context.as_mut_ptr();
            if raw.is_null() {
                return Err(OperatorError::new("no memory for a decoder"));
            }
            check_size((*raw).width, (*raw).height)?;
            (*raw).max_pixels = MAX_PIXELS;
            // Else libav crops to the left only as far as rows stay aligned: pictures of a device are cropped as the stream says.
            (*raw).flags |= ffi::AV_CODEC_FLAG_UNALIGNED as i32;
            (*raw).thread_count = i32::try_from(options.threads).unwrap_or(1);
            hardware.attach(raw)
        };
        let mut decoder = context.decoder();
        decoder.set_packet_time_base(time_base);
        let context = decoder
            .open_as(codec)
            .and_then(|opened| opened.video())
            .map_err(failed)?;
        Ok(Decoder {
            context: ManuallyDrop::new(context),
            keyframes_only: options.keyframes_only,
            alone: false,
            attachment,
            has_begun: false,
        })
    }

    /// Held while libav is called, which may open or close the device's session on the way.
    fn turn(&self, is_session_at_stake: bool) -> (Option<Admitted>, Option<Working>) {
        let is_on_device = self.is_on_device();
        // In this order: who waits to be admitted keeps nobody from recording.
        let admitted = (is_on_device && is_session_at_stake).then(admitted);
        (admitted, is_on_device.then(working))
    }

    /// Whether a device may decode for it.
    pub fn is_on_device(&self) -> bool {
        self.attachment.is_some()
    }

    /// Gives it a packet; none says that no more come.
    pub fn feed(&mut self, packet: Option<&ff::Packet>) -> Fed {
        let _turn = self.turn(!self.has_begun);
        let result = match packet {
            // To libav a packet without payload means the end, which a damaged file must not be able to say.
            Some(packet) if packet.size() == 0 => Ok(()),
            Some(packet) if self.keyframes_only => self.send_alone(packet),
            Some(packet) => self.context.send_packet(packet),
            None => self.context.send_eof(),
        };
        match result {
            Ok(()) | Err(ff::Error::Eof) => Fed::Taken,
            Err(error) if again(error) => Fed::Full,
            Err(error) => Fed::Damaged(error),
        }
    }

    /// Sends a key picture as a stream of its own. libav's `skip_frame` would leave the reordering of the left out
    /// pictures in place: H.264 with B-frames then gives its key pictures backwards.
    fn send_alone(&mut self, packet: &ff::Packet) -> Result<(), ff::Error> {
        if !packet.is_key() {
            return Ok(());
        }
        if self.alone {
            return Err(ff::Error::Other {
                errno: ff::error::EAGAIN,
            });
        }
        let sent = self.context.send_packet(packet);
        self.alone = true;
        sent.and(self.context.send_eof())
    }

    /// Takes out what it has.
    pub fn take(&mut self) -> Decoded {
        let _turn = self.turn(!self.has_begun);
        let mut frame = Video::empty();
        // SAFETY: only the pointer is looked at.
        if unsafe { frame.as_ptr() }.is_null() {
            return Decoded::Failed(ff::Error::Other {
                errno: ff::error::ENOMEM,
            });
        }
        match self.context.receive_frame(&mut frame) {
            Ok(()) => {
                self.has_begun = true;
                Decoded::Picture(frame)
            }
            Err(ff::Error::Eof) if self.alone => {
                self.flush();
                Decoded::Hungry
            }
            Err(ff::Error::Eof) => Decoded::Drained,
            Err(error) if again(error) => Decoded::Hungry,
            Err(error) => Decoded::Failed(error),
        }
    }

    /// Forgets all it was fed, so that another part of the stream may follow.
    pub fn reset(&mut self) {
        let _working = self.is_on_device().then(working);
        self.flush();
    }

    fn flush(&mut self) {
        self.alone = false;
        self.context.flush();
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        let _turn = self.turn(true);
        // SAFETY: it is dropped once, here, and before what it is attached to.
        unsafe { ManuallyDrop::drop(&mut self.context) };
    }
}

/// Whether libav asks to be called again.
fn again(error: ff::Error) -> bool {
    error
        == ff::Error::Other {
            errno: ff::error::EAGAIN,
        }
}

fn check_size(width: i32, height: i32) -> Result<()> {
    let limit = i32::try_from(MAX_SIDE).expect("the limit is a small number");
    if width > limit || height > limit {
        return Err(OperatorError::new(format!(
            "pictures of {width}x{height} are larger than {MAX_SIDE}x{MAX_SIDE}"
        ))
        .help("scale the video down, for example with `ffmpeg -i in -vf scale=3840:-2 out.mp4`"));
    }
    Ok(())
}

fn no_decoder(codec: &str) -> OperatorError {
    // SAFETY: returns a constant text of the library.
    let version = unsafe { std::ffi::CStr::from_ptr(ffi::av_version_info()) }.to_string_lossy();
    OperatorError::new(format!("FFmpeg {version} of this system has no decoder for {codec}"))
        .help("install an FFmpeg that has it (Debian: libavcodec-extra), or convert the video to H.264")
}
