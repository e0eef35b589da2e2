//! libav's frames on a device: copied to a surface of the engine's, or to the host.

use engine::device::{Fault, RowsAt, Surface};
use engine::errors::{OperatorError, Result};
use engine::frame::{PictureLayout, PixelFormat, Range};
use engine::rows::Size;
use ff::ffi;
use ff::frame::Video;
use ffmpeg_next as ff;
use flowrun_engine as engine;

use super::hardware::Nvdec;
use super::picture::matrix_of;

/// Copies a frame's picture; the frame must live until the surface's fence is reached.
///
/// # Errors
/// When it is none that the engine reads there, or the device has no memory for it.
pub(super) fn keep(nvdec: &Nvdec, frame: &Video) -> Result<Surface, Fault> {
    let unfit = |cause: &str| Fault::Unfit(cause.into());
    // SAFETY: the frame was filled by libav; its description is checked before it is read.
    let (raw, pool) = unsafe {
        let raw = frame.as_ptr().as_ref().ok_or_else(|| unfit("no frame"))?;
        let pool = raw.hw_frames_ctx.as_ref().map(|buffer| buffer.data);
        (
            raw,
            pool.and_then(|pool| pool.cast::<ffi::AVHWFramesContext>().as_ref()),
        )
    };
    if pool.is_none_or(|pool| pool.sw_format != ffi::AVPixelFormat::AV_PIX_FMT_NV12) {
        return Err(unfit("the device's pictures are not NV12"));
    }
    let side = |side: i32, cropped: usize| u32::try_from(side).ok()?.checked_sub(u32::try_from(cropped).ok()?);
    // libav crops to the right and below; what it leaves in these fields is to the left and above.
    let size = side(raw.width, raw.crop_left).zip(side(raw.height, raw.crop_top));
    let (width, height) = size
        .filter(|(width, height)| *width > 0 && *height > 0)
        .ok_or_else(|| unfit("no picture"))?;
    let row = 2 * width.div_ceil(2) as usize;
    let plane = |index: usize, rows_above: usize, bytes_before: usize| {
        let stride = usize::try_from(raw.linesize[index]).ok()?;
        let start = raw.data[index] as usize as u64;
        (start != 0 && stride >= bytes_before + row).then(|| RowsAt {
            start: start + (rows_above * stride + bytes_before) as u64,
            stride,
        })
    };
    let luma = plane(0, raw.crop_top, raw.crop_left);
    let chroma = plane(1, raw.crop_top / 2, raw.crop_left & !1);
    let (luma, chroma) = luma.zip(chroma).ok_or_else(|| unfit("a plane is missing"))?;
    let layout = PictureLayout {
        size: Size { width, height },
        format: PixelFormat::Nv12,
        matrix: matrix_of(frame),
        range: match frame.color_range() {
            ff::color::Range::JPEG => Range::Full,
            _ => Range::Limited,
        },
    };
    // SAFETY: libav laid out both planes for a picture of at least this size on this device, in the order of this stream,
    // and the caller keeps the frame.
    unsafe { nvdec.seat.pool().keep(&nvdec.stream, layout, [luma, chroma, luma]) }
}

/// The same frame in the host's memory.
///
/// # Errors
/// When the device fails.
pub(super) fn to_host(frame: &Video) -> Result<Video> {
    let mut here = Video::empty();
    // SAFETY: both frames are owned, and that of the device belongs to a pool, which libav does not check; it allocates the
    // planes of an empty one.
    let code = unsafe {
        if frame.as_ptr().as_ref().is_none_or(|raw| raw.hw_frames_ctx.is_null()) {
            return Err(OperatorError::new(
                "a picture is said to be on a device, and is on none",
            ));
        }
        let code = ffi::av_hwframe_transfer_data(here.as_mut_ptr(), frame.as_ptr(), 0);
        match code {
            0.. => ffi::av_frame_copy_props(here.as_mut_ptr(), frame.as_ptr()),
            failed => failed,
        }
    };
    if code < 0 {
        let error = ff::Error::from(code);
        return Err(OperatorError::new(format!(
            "a picture cannot be brought to the host: {error}"
        )));
    }
    Ok(here)
}
