//! Decoding on a device: NVDEC by FFmpeg's own hardware path, in this process and in the context that inference uses.
//!
//! FFmpeg's H.264 and H.265 decoders parse the stream as they always do and hand slices to the chip, so that order, times
//! and damage are those of the processor's decoder, and no picture waits for display. Where the chip refuses a session,
//! the same decoder goes on by itself: that is told, and counted. A picture is copied once on the device, since the chip
//! has few to lend, and goes to the host when somebody looks.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use engine::device::{
    CudaStream, DecodedOn, Decoders, DeviceKind, Fault, MoveCause, NVDEC_LIBRARY, PooledFence, ResidentPool, Seat,
    Session, admitted, is_loadable, working,
};
use engine::errors::{OperatorError, Result};
use engine::frame::Picture;
use engine::rows::CameraId;
use ff::ffi;
use ff::format::Pixel;
use ff::frame::Video;
use ffmpeg_next as ff;
use flowrun_dsl::params::Choice;
use flowrun_engine as engine;

use super::complaint::take_complaint;
use super::decoder::DecoderOptions;
use super::surface::{keep, to_host};

/// Pictures that a decoder on a device has beyond those that the stream needs: one that is being copied, one that waits for it.
const EXTRA_PICTURES: i32 = 2;
/// Codecs that `auto` decodes on a device: what cameras send. Others are a file's, and few.
const AUTO: [ff::codec::Id; 2] = [ff::codec::Id::H264, ff::codec::Id::HEVC];

/// In libav's complaint where the chip takes no further session; what a stream is was looked at before.
const NO_SESSION: &str = "cuvidCreateDecoder";

/// What decodes a camera's pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum DecoderChoice {
    /// NVIDIA's decoder for H.264 and H.265 where there is a device, else the processor; key pictures of H.264 alone are
    /// the processor's too.
    Auto,
    /// The processor.
    Cpu,
    /// NVIDIA's decoder; the processor, with an error row, where it cannot.
    Nvdec,
    /// The processor, and the way of a device with all its memory on the host, to test it.
    Twin,
}

/// A device's decoder, shared by the sessions that a source opens one after the other.
pub(super) struct Nvdec {
    pub seat: Seat,
    /// libav's, which refers to the stream.
    context: *mut ffi::AVBufferRef,
    pub stream: Arc<CudaStream>,
    /// Why the last decoder that was to use it does without.
    refusal: Mutex<Option<Refused>>,
}

// SAFETY: libav counts references atomically, and what the buffer holds is not changed once it is made.
unsafe impl Send for Nvdec {}
// SAFETY: as above.
unsafe impl Sync for Nvdec {}

impl Nvdec {
    /// # Errors
    /// When there is no device, no decoder library, or FFmpeg was built without either.
    fn open(codec: ff::codec::Id, seat: &Result<Seat, Fault>) -> Result<Self> {
        if !takes_cuda(codec) {
            let cause = format!("this FFmpeg cannot decode {} on NVIDIA's devices", codec.name());
            return Err(OperatorError::new(cause));
        }
        let seat = seat.clone()?;
        if !is_loadable(Path::new(NVDEC_LIBRARY)) {
            return Err(
                OperatorError::new(format!("{NVDEC_LIBRARY}, NVIDIA's decoder, cannot be loaded"))
                    .help("in a container, ask for the driver's `video` capability"),
            );
        }
        let _admitted = admitted();
        let stream = Arc::new(CudaStream::open(seat.device())?);
        let context = seat.device().context().ok_or("the device has no context")?;
        // SAFETY: the buffer is checked, and what it holds is what its kind says; both handles are the driver's own and
        // outlive it: the context is never released, the stream is dropped after it.
        let context = unsafe {
            let buffer = ffi::av_hwdevice_ctx_alloc(ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_CUDA);
            if buffer.is_null() {
                return Err(OperatorError::new("no memory for a decoder"));
            }
            let device = (*buffer).data.cast::<ffi::AVHWDeviceContext>();
            let cuda = (*device).hwctx.cast::<ffi::AVCUDADeviceContext>();
            (*cuda).cuda_ctx = context as usize as ffi::CUcontext;
            (*cuda).stream = stream.handle() as usize as ffi::CUstream;
            let code = ffi::av_hwdevice_ctx_init(buffer);
            if code < 0 {
                let mut buffer = buffer;
                ffi::av_buffer_unref(&mut buffer);
                let cause = super::with_complaint(format!("FFmpeg cannot use the device: {}", ff::Error::from(code)));
                return Err(OperatorError::new(cause));
            }
            buffer
        };
        Ok(Nvdec {
            seat,
            context,
            stream,
            refusal: Mutex::default(),
        })
    }

    /// A decoder does without it.
    fn refuse(&self, refused: Refused) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
    }

    /// Why a further decoder would be refused, where that is known.
    fn full(&self) -> Option<Refused> {
        let sessions = self.seat.full()?;
        Some(Refused {
            cause: format!(
                "device {} decodes {sessions} cameras, all that it takes",
                self.seat.ordinal()
            ),
            is_of_device: true,
        })
    }
}

impl Drop for Nvdec {
    fn drop(&mut self) {
        // SAFETY: the reference is owned and given back once.
        unsafe { ffi::av_buffer_unref(&mut self.context) };
    }
}

/// Whether the decoder that FFmpeg prefers for a codec has a way over NVIDIA's devices.
fn takes_cuda(codec: ff::codec::Id) -> bool {
    let Some(decoder) = ff::decoder::find(codec) else {
        return false;
    };
    let wanted = ffi::AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX as i32;
    // SAFETY: codecs are constants of the library; a null answer ends the list.
    let configs = (0..).map_while(|index| unsafe { ffi::avcodec_get_hw_config(decoder.as_ptr(), index).as_ref() });
    let mut configs = configs;
    configs
        .any(|config| config.device_type == ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_CUDA && config.methods & wanted != 0)
}

/// Why a decoder does without its device.
struct Refused {
    cause: String,
    /// Whether the device refused, and not the stream is none for it.
    is_of_device: bool,
}

/// What an open decoder needs of its device. Dropped after the decoder.
pub(super) struct Attachment {
    #[allow(
        dead_code,
        reason = "the decoder points to it, and its pictures are in its stream's order"
    )]
    nvdec: Arc<Nvdec>,
}

/// Where a source's pictures are decoded.
pub struct Hardware {
    way: Way,
    /// Whose pictures, and the device that they were last to be decoded on; none where the processor was asked for.
    place: Option<Place>,
    /// Whose sessions are counted; none where nobody counts.
    decoders: Option<Decoders>,
    session: Option<Session>,
    notice: Option<String>,
    /// A decoder's picture whose copy may still be under way.
    held: Option<(Arc<PooledFence>, Video)>,
}

enum Way {
    Host,
    Twin(Arc<ResidentPool>, Arc<CudaStream>),
    Nvdec(Arc<Nvdec>),
}

/// A camera on a device.
struct Place {
    camera: CameraId,
    codec: ff::codec::Id,
    choice: DecoderChoice,
    seat: Option<Seat>,
    is_lost: bool,
}

impl Hardware {
    /// The processor, uncounted.
    pub fn host() -> Self {
        Hardware::counted(None)
    }

    fn counted(decoders: Option<&Decoders>) -> Self {
        Hardware {
            way: Way::Host,
            place: None,
            decoders: decoders.cloned(),
            session: None,
            notice: None,
            held: None,
        }
    }

    /// Whether pictures go to a device, which opening another decoder there would hold up.
    pub fn is_device(&self) -> bool {
        !matches!(self.way, Way::Host)
    }

    /// As a graph wants it, for a camera's codec and how its pictures are read, on the camera's device. What cannot be had is
    /// a notice, not an error.
    pub fn new(
        choice: DecoderChoice,
        codec: ff::codec::Id,
        options: DecoderOptions,
        decoders: &Decoders,
        camera: CameraId,
    ) -> Self {
        let mut hardware = Hardware::counted(Some(decoders));
        // Key pictures are decoded each as a stream of its own, and for H.264 libav opens the chip's session anew each
        // time, one camera after the other: the processor has decoded the picture by then.
        let reopens = options.keyframes_only && codec == ff::codec::Id::H264;
        match choice {
            DecoderChoice::Cpu => return hardware,
            DecoderChoice::Auto if reopens || !AUTO.contains(&codec) => return hardware,
            DecoderChoice::Auto | DecoderChoice::Nvdec | DecoderChoice::Twin => {}
        }
        hardware.place = Some(Place {
            camera,
            codec,
            choice,
            seat: None,
            is_lost: false,
        });
        hardware.settle_down();
        hardware
    }

    /// Opens the way over the device that the camera is on.
    fn settle_down(&mut self) {
        let (Some(place), Some(decoders)) = (&mut self.place, &self.decoders) else {
            return;
        };
        let devices = decoders.devices().of_kind(place.kind());
        let seat = devices.seat(devices.home(place.camera));
        (place.seat, place.is_lost) = (seat.as_ref().ok().cloned(), false);
        let opened = match (place.choice, &seat) {
            (DecoderChoice::Twin, Ok(seat)) => {
                let stream = CudaStream::open(seat.device()).map_err(OperatorError::from);
                stream.map(|stream| Way::Twin(seat.pool().clone(), Arc::new(stream)))
            }
            _ => Nvdec::open(place.codec, &seat).map(|nvdec| Way::Nvdec(Arc::new(nvdec))),
        };
        let is_asked_for = place.choice != DecoderChoice::Auto;
        match opened {
            Ok(way) => self.way = way,
            Err(error) if is_asked_for => self.spill(&error.cause),
            Err(error) => tracing::debug!(cause = error.cause, "the processor decodes"),
        }
    }

    /// Whether the camera's device is another by now: a decoder that is opened after [`Hardware::follow`] is there. A
    /// decoder that is open goes on where it is.
    pub fn has_moved(&self) -> bool {
        let seat = self
            .place
            .as_ref()
            .and_then(|place| Some((place, place.seat.as_ref()?)));
        seat.is_some_and(|(place, seat)| seat.set().home(place.camera) != seat.ordinal())
    }

    /// Whether the device that it was on has gone, with what it holds.
    pub fn is_lost(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.is_lost)
    }

    /// Goes to the camera's device, where that is another by now.
    pub(super) fn follow(&mut self) {
        if self.has_moved() {
            self.release();
            self.session = None;
            self.way = Way::Host;
            self.settle_down();
        }
    }

    /// What a device's failure means for the cameras that are on it.
    fn failed(&mut self, fault: &Fault) {
        let (Fault::Lost(_), Some(place)) = (fault, &mut self.place) else {
            return;
        };
        place.is_lost = true;
        if let Some(seat) = place.seat.as_ref().filter(|seat| seat.is_well()) {
            seat.fail(MoveCause::Lost);
        }
    }

    /// Lets a decoder that is not open yet use the device; what is returned must outlive it.
    ///
    /// # Safety
    /// `context` is libav's of a decoder that is not open.
    pub(super) unsafe fn attach(&self, context: *mut ffi::AVCodecContext) -> Option<Attachment> {
        let Way::Nvdec(nvdec) = &self.way else { return None };
        if let Some(full) = nvdec.full() {
            nvdec.refuse(full);
            return None;
        }
        // SAFETY: these plain fields may be set before the decoder is opened; the reference belongs to the decoder from
        // here on; the callback gets what `opaque` points to, which the attachment keeps alive.
        unsafe {
            (*context).hw_device_ctx = ffi::av_buffer_ref(nvdec.context);
            (*context).get_format = Some(choose_format);
            (*context).opaque = Arc::as_ptr(nvdec).cast_mut().cast();
            (*context).extra_hw_frames = EXTRA_PICTURES;
            // The callback runs on the thread that feeds, and a picture waits for no other.
            (*context).thread_count = 1;
        }
        Some(Attachment { nvdec: nvdec.clone() })
    }

    /// The picture of a frame on the device. The outer error is the frame, which has to go by way of the host.
    pub(super) fn keep(&mut self, frame: Video) -> Result<Picture, Video> {
        self.release();
        let Way::Nvdec(nvdec) = &self.way else {
            return Err(frame);
        };
        let nvdec = nvdec.clone();
        self.settle(DecodedOn::Device);
        match keep(&nvdec, &frame) {
            Ok(surface) => {
                self.held = surface.fence().cloned().map(|fence| (fence, frame));
                Ok(nvdec.seat.pool().picture(surface, &nvdec.stream))
            }
            Err(fault) => {
                self.failed(&fault);
                if matches!(fault, Fault::OutOfMemory(_)) && self.notice.is_none() {
                    self.notice = Some(format!("{fault}; this camera's pictures go to the host"));
                }
                tracing::debug!(%fault, "a picture goes to the host");
                Err(frame)
            }
        }
    }

    /// A frame on the device as one on the host.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn bring_down(&mut self, frame: Video) -> Result<Video> {
        let _working = working();
        to_host(&frame)
    }

    /// A picture that the processor decoded; the twin takes it to its memory.
    pub(super) fn pass(&mut self, picture: Picture) -> Result<Picture> {
        if let Way::Twin(pool, stream) = &self.way {
            match pool.send(stream, picture.layout(), picture.memory()) {
                Ok(surface) => {
                    let picture = pool.picture(surface, stream);
                    self.settle(DecodedOn::Device);
                    return Ok(picture);
                }
                Err(fault @ Fault::Lost(_)) => self.failed(&fault),
                Err(fault) => return Err(fault.into()),
            }
        }
        self.settle(DecodedOn::Host);
        Ok(picture)
    }

    /// A frame that nobody wants.
    pub(super) fn leave_out(&mut self, frame: Video) {
        let _working = matches!(self.way, Way::Nvdec(_)).then(working);
        drop(frame);
    }

    /// Something that whoever runs this should know; once.
    pub(super) fn take_notice(&mut self) -> Option<String> {
        self.notice.take()
    }

    /// Gives the device up: decoders that are opened from here on are the processor's.
    pub(super) fn give_up(&mut self, cause: &str) {
        self.release();
        self.spill(cause);
        self.way = Way::Host;
    }

    /// Where a picture was decoded, as it came.
    fn settle(&mut self, on: DecodedOn) {
        if self.session.as_ref().is_some_and(|session| session.on() == on) {
            return;
        }
        let place = self.place.as_ref();
        let seat = place.and_then(|place| place.seat.as_ref().filter(|_| on == DecodedOn::Device));
        self.session = self.decoders.as_ref().map(|decoders| decoders.session(seat));
        if let (DecodedOn::Host, Way::Nvdec(nvdec)) = (on, &self.way) {
            let refusal = nvdec.refusal.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Another device may have room for its session.
            let is_moved = refusal.as_ref().is_some_and(|refusal| refusal.is_of_device) && self.is_taken_elsewhere();
            if !is_moved {
                let cause = refusal.map(|refusal| refusal.cause);
                self.spill(cause.as_deref().unwrap_or("FFmpeg does not say why"));
            }
        }
    }

    /// Its device has refused the camera's session: whether another takes it.
    fn is_taken_elsewhere(&self) -> bool {
        let place = self.place.as_ref();
        let seat = place.and_then(|place| Some((place.camera, place.seat.as_ref()?)));
        seat.is_some_and(|(camera, seat)| seat.refuse(camera))
    }

    fn spill(&mut self, cause: &str) {
        if let Some(decoders) = &self.decoders {
            decoders.spill();
        }
        self.notice = Some(format!(
            "NVDEC does not decode this camera ({cause}); the processor does"
        ));
    }

    /// Gives a picture back to its decoder once its copy is over, which it is when the next one comes.
    fn release(&mut self) {
        let Some((fence, frame)) = self.held.take() else { return };
        if let Err(fault) = fence.wait() {
            tracing::debug!(%fault, "a picture was not copied");
        }
        self.leave_out(frame);
    }
}

impl Place {
    fn kind(&self) -> DeviceKind {
        match self.choice {
            DecoderChoice::Twin => DeviceKind::Twin,
            DecoderChoice::Auto | DecoderChoice::Cpu | DecoderChoice::Nvdec => DeviceKind::Cuda,
        }
    }
}

impl Drop for Hardware {
    fn drop(&mut self) {
        self.release();
    }
}

/// libav asks which of its formats to decode to; the device's, where that is what the engine reads there.
unsafe extern "C" fn choose_format(
    context: *mut ffi::AVCodecContext,
    formats: *const ffi::AVPixelFormat,
) -> ffi::AVPixelFormat {
    use ffi::AVPixelFormat::{AV_PIX_FMT_CUDA, AV_PIX_FMT_NONE, AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUVJ420P};
    // SAFETY: libav passes its own context, and formats that end with none; `opaque` is what `attach` put there.
    let (offered, software, nvdec) = unsafe {
        let mut count = 0;
        while *formats.add(count) != AV_PIX_FMT_NONE {
            count += 1;
        }
        let nvdec = (*context).opaque.cast::<Nvdec>().as_ref();
        (std::slice::from_raw_parts(formats, count), (*context).sw_pix_fmt, nvdec)
    };
    let offers_device = offered.contains(&AV_PIX_FMT_CUDA);
    let is_fit = matches!(software, AV_PIX_FMT_YUV420P | AV_PIX_FMT_YUVJ420P);
    // Others may have filled it since this decoder was opened.
    let full = nvdec.filter(|_| offers_device && is_fit).and_then(Nvdec::full);
    if offers_device && is_fit && full.is_none() {
        return AV_PIX_FMT_CUDA;
    }
    // The device was tried before, and libav has said what went wrong: that is no damage of the stream.
    let complaint = if offers_device { None } else { take_complaint() };
    let is_filled = complaint
        .as_ref()
        .is_some_and(|complaint| complaint.contains(NO_SESSION));
    nvdec.filter(|_| is_filled).inspect(|nvdec| nvdec.seat.fill());
    let refused = full.unwrap_or_else(|| Refused {
        is_of_device: complaint.is_some(),
        cause: match complaint {
            Some(complaint) => complaint,
            None if offers_device => format!("its pictures are {:?}", Pixel::from(software)),
            None => "the stream's profile has no way over it".into(),
        },
    });
    nvdec.inspect(|nvdec| nvdec.refuse(refused));
    let on_host = |format: &&ffi::AVPixelFormat| {
        // SAFETY: returns null or a pointer into a constant table.
        let descriptor = unsafe { ffi::av_pix_fmt_desc_get(**format).as_ref() };
        descriptor.is_some_and(|descriptor| descriptor.flags & ffi::AV_PIX_FMT_FLAG_HWACCEL as u64 == 0)
    };
    offered.iter().find(on_host).copied().unwrap_or(AV_PIX_FMT_NONE)
}

#[cfg(test)]
mod tests {
    use ffi::AVPixelFormat::{AV_PIX_FMT_CUDA, AV_PIX_FMT_NONE, AV_PIX_FMT_YUV420P};

    use super::*;

    /// A decoder that is not open, by itself.
    struct Bare(*mut ffi::AVCodecContext);

    impl Bare {
        fn new() -> Self {
            // SAFETY: libav answers with a context of its own, or null.
            let context = unsafe { ffi::avcodec_alloc_context3(std::ptr::null()) };
            assert!(!context.is_null());
            Bare(context)
        }

        /// What it decodes to where the device's memory is offered.
        fn format(&self) -> ffi::AVPixelFormat {
            let offered = [AV_PIX_FMT_CUDA, AV_PIX_FMT_YUV420P, AV_PIX_FMT_NONE];
            // SAFETY: the context is there, and the list ends with none.
            unsafe {
                (*self.0).sw_pix_fmt = AV_PIX_FMT_YUV420P;
                choose_format(self.0, offered.as_ptr())
            }
        }
    }

    impl Drop for Bare {
        fn drop(&mut self) {
            // SAFETY: it was allocated by libav and is freed once.
            unsafe { ffi::avcodec_free_context(&mut self.0) };
        }
    }

    #[test]
    fn a_device_without_room_is_not_asked() {
        let decoders = Decoders::default();
        let seat = decoders.devices().of_kind(DeviceKind::Twin).seat(0).unwrap();
        let nvdec = Arc::new(Nvdec {
            stream: Arc::new(CudaStream::open(seat.device()).unwrap()),
            seat: seat.clone(),
            // SAFETY: libav answers with a buffer of its own, which the decoders only refer to.
            context: unsafe { ffi::av_buffer_alloc(1) },
            refusal: Mutex::default(),
        });
        let mut hardware = Hardware::counted(Some(&decoders));
        hardware.way = Way::Nvdec(nvdec);
        // SAFETY: the decoders are not open, and are dropped before what they are attached to.
        let attach = |hardware: &Hardware, bare: &Bare| unsafe { hardware.attach(bare.0) };
        let (before, after) = (Bare::new(), Bare::new());
        let _attached = attach(&hardware, &before).unwrap();
        assert_eq!(before.format(), AV_PIX_FMT_CUDA);

        let session = decoders.session(Some(&seat));
        seat.fill();
        assert_eq!(before.format(), AV_PIX_FMT_YUV420P, "it was filled since");
        assert!(attach(&hardware, &after).is_none());
        hardware.settle(DecodedOn::Host);
        let notice = hardware.take_notice().unwrap();
        assert!(notice.contains("decodes 1 cameras, all that it takes"), "{notice}");
        assert_eq!(decoders.counts().spilled, 1);

        drop(session);
        assert_eq!(before.format(), AV_PIX_FMT_CUDA, "there is room again");
        assert!(attach(&hardware, &after).is_some());
    }
}
