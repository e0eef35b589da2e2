//! libav frames as the engine's pictures, without copying them.
//!
//! The frame itself moves into the picture: its buffers are counted references into the decoder's
//! pool and go back there when the last reader drops the picture. Pixel formats that the engine
//! does not know (10 bit, BGR, palettes, pictures stored bottom up) are converted once by swscale
//! into pooled memory; [`PictureMaker::converted`] counts them.
//!
//! A video that does not name its matrix is read as BT.601, which is what swscale and with it
//! OpenCV assume. Gray and RGB pictures use the full range.

use std::ptr;

use engine::errors::{OperatorError, Result};
use engine::frame::{Matrix, Picture, PictureLayout, PictureMemory, PixelFormat, Range};
use engine::rows::Size;
use ff::ffi;
use ff::format::Pixel;
use ff::frame::Video;
use ffmpeg_next as ff;
use flowrun_engine as engine;

use super::decoder::MAX_SIDE;
use super::hardware::Hardware;

/// Rows of pooled pictures start at multiples of this, so that any SIMD loop may read them.
const ALIGN_BYTES: i32 = 64;

/// Makes pictures of one source's frames.
pub struct PictureMaker {
    scaler: Option<Scaler>,
    converted: u64,
    hardware: Hardware,
}

impl Default for PictureMaker {
    fn default() -> Self {
        PictureMaker::new(Hardware::host())
    }
}

impl PictureMaker {
    /// For frames that are decoded there.
    pub fn new(hardware: Hardware) -> Self {
        PictureMaker {
            scaler: None,
            converted: 0,
            hardware,
        }
    }

    /// Where its frames are decoded, for [`Decoder::open`](super::Decoder::open).
    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }
    /// How many pictures had to be converted.
    pub fn converted(&self) -> u64 {
        self.converted
    }
    /// Something about where frames are decoded that whoever runs this should know; once.
    pub fn take_notice(&mut self) -> Option<String> {
        self.hardware.take_notice()
    }
    /// Decoders that are opened from here on are the processor's.
    pub fn give_device_up(&mut self, cause: &str) {
        self.hardware.give_up(cause);
    }
    /// Decoders that are opened from here on are on the camera's device, where that has become another.
    pub fn follow_device(&mut self) {
        self.hardware.follow();
    }
    /// A frame that nobody wants.
    pub fn leave_out(&mut self, frame: Video) {
        self.hardware.leave_out(frame);
    }

    /// The picture of a frame.
    ///
    /// # Errors
    /// When it is too large, or has no pixels that can be read.
    pub fn picture(&mut self, frame: Video) -> Result<Picture> {
        if frame.format() != Pixel::CUDA {
            let picture = self.on_host(frame)?;
            return self.hardware.pass(picture);
        }
        match self.hardware.keep(frame) {
            Ok(picture) => Ok(picture),
            Err(frame) => {
                let frame = self.hardware.bring_down(frame)?;
                self.on_host(frame)
            }
        }
    }

    /// The picture of a frame in the host's memory.
    fn on_host(&mut self, frame: Video) -> Result<Picture> {
        let size = Size {
            width: frame.width(),
            height: frame.height(),
        };
        if size.width == 0 || size.height == 0 || size.width > MAX_SIDE || size.height > MAX_SIDE {
            return Err(OperatorError::new(format!(
                "a picture of {}x{} is outside 1x1 to {MAX_SIDE}x{MAX_SIDE}",
                size.width, size.height
            )));
        }
        let (matrix, range) = (matrix_of(&frame), range_of(&frame));
        if let Some(format) = direct(frame.format()) {
            let layout = PictureLayout {
                size,
                format,
                matrix,
                range,
            };
            if let Some(lengths) = plane_lengths(&frame, &layout) {
                return Ok(Picture::new(layout, Box::new(LibavMemory { frame, lengths })));
            }
        }
        let layout = PictureLayout {
            size,
            format: nearest(frame.format())?,
            matrix,
            range,
        };
        let frame = Scaler::fitting(&mut self.scaler, &frame, &layout)?.convert(&frame)?;
        let lengths = plane_lengths(&frame, &layout).ok_or("swscale wrote a picture without planes")?;
        self.converted += 1;
        Ok(Picture::new(layout, Box::new(LibavMemory { frame, lengths })))
    }
}

/// A frame of libav, held for as long as somebody reads its planes.
struct LibavMemory {
    frame: Video,
    /// Bytes that may be read from each plane's start; `plane_lengths` is the only source of them.
    lengths: [usize; 3],
}

impl PictureMemory for LibavMemory {
    /// The last row ends with its last pixel: what libav keeps behind that is not ours to read.
    fn plane(&self, index: usize) -> &[u8] {
        let length = self.lengths[index];
        // SAFETY: `plane_lengths` found the plane's pointer set and its stride no shorter than a row, so libav's
        // buffer holds `length` bytes from it; the frame holds a reference to that buffer, nobody
        // writes to a picture that a decoder has put out, and the slice does not outlive `self`.
        unsafe { std::slice::from_raw_parts((*self.frame.as_ptr()).data[index], length) }
    }

    fn stride(&self, index: usize) -> usize {
        // SAFETY: the frame is owned and was not null when it was filled. `plane_lengths` found the stride positive.
        unsafe { (*self.frame.as_ptr()).linesize[index] as usize }
    }
}

/// Bytes across and rows down of each plane.
fn plane_shapes(layout: &PictureLayout) -> [Option<(usize, usize)>; 3] {
    let (width, height) = (layout.size.width as usize, layout.size.height as usize);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let luma = Some((width, height));
    match layout.format {
        PixelFormat::Yuv420 => [luma, Some((half_width, half_height)), Some((half_width, half_height))],
        PixelFormat::Yuv422 => [luma, Some((half_width, height)), Some((half_width, height))],
        PixelFormat::Yuv444 => [luma, luma, luma],
        PixelFormat::Nv12 => [luma, Some((2 * half_width, half_height)), None],
        PixelFormat::Gray => [luma, None, None],
        PixelFormat::Rgb => [Some((3 * width, height)), None, None],
    }
}

/// How many bytes each plane has, from its first pixel to its last; none for planes that are missing or stored
/// bottom up (negative stride).
fn plane_lengths(frame: &Video, layout: &PictureLayout) -> Option<[usize; 3]> {
    let mut lengths = [0; 3];
    for (index, shape) in plane_shapes(layout).into_iter().enumerate() {
        let Some((row_bytes, rows)) = shape else { continue };
        // SAFETY: the frame was filled by libav and is not null; these are plain fields.
        let (data, stride) = unsafe { ((*frame.as_ptr()).data[index], (*frame.as_ptr()).linesize[index]) };
        let stride = usize::try_from(stride).ok()?;
        if data.is_null() || stride < row_bytes {
            return None;
        }
        lengths[index] = stride * (rows - 1) + row_bytes;
    }
    Some(lengths)
}

/// The engine's format with the same planes; an alpha plane behind them is not looked at.
fn direct(pixel: Pixel) -> Option<PixelFormat> {
    Some(match pixel {
        Pixel::YUV420P | Pixel::YUVJ420P | Pixel::YUVA420P => PixelFormat::Yuv420,
        Pixel::YUV422P | Pixel::YUVJ422P | Pixel::YUVA422P => PixelFormat::Yuv422,
        Pixel::YUV444P | Pixel::YUVJ444P | Pixel::YUVA444P => PixelFormat::Yuv444,
        Pixel::NV12 => PixelFormat::Nv12,
        Pixel::GRAY8 => PixelFormat::Gray,
        Pixel::RGB24 => PixelFormat::Rgb,
        _ => return None,
    })
}

fn descriptor(pixel: Pixel) -> Option<ffi::AVPixFmtDescriptor> {
    // SAFETY: returns null or a pointer into a constant table.
    unsafe { ffi::av_pix_fmt_desc_get(pixel.into()).as_ref() }.copied()
}

fn has_colours_of_rgb(descriptor: &ffi::AVPixFmtDescriptor) -> bool {
    let flags = ffi::AV_PIX_FMT_FLAG_RGB | ffi::AV_PIX_FMT_FLAG_PAL;
    descriptor.flags & flags as u64 != 0
}

/// The engine's format that keeps most of a picture: RGB stays RGB, chroma is kept as it is where the
/// engine has a format for it and doubled where not.
fn nearest(pixel: Pixel) -> Result<PixelFormat> {
    let unknown = || OperatorError::new(format!("pictures in the pixel format {pixel:?} cannot be read"));
    let descriptor = descriptor(pixel).ok_or_else(unknown)?;
    if descriptor.flags & ffi::AV_PIX_FMT_FLAG_HWACCEL as u64 != 0 {
        return Err(unknown());
    }
    Ok(if has_colours_of_rgb(&descriptor) {
        PixelFormat::Rgb
    } else if descriptor.nb_components < 3 {
        PixelFormat::Gray
    } else {
        match (descriptor.log2_chroma_w, descriptor.log2_chroma_h) {
            (1, 1) => PixelFormat::Yuv420,
            (1, 0) => PixelFormat::Yuv422,
            _ => PixelFormat::Yuv444,
        }
    })
}

/// libav's name for the format that is converted to.
fn target(format: PixelFormat) -> Pixel {
    match format {
        PixelFormat::Yuv420 => Pixel::YUV420P,
        PixelFormat::Yuv422 => Pixel::YUV422P,
        PixelFormat::Yuv444 => Pixel::YUV444P,
        PixelFormat::Nv12 => Pixel::NV12,
        PixelFormat::Gray => Pixel::GRAY8,
        PixelFormat::Rgb => Pixel::RGB24,
    }
}

pub(super) fn matrix_of(frame: &Video) -> Matrix {
    match frame.color_space() {
        ff::color::Space::BT709 => Matrix::Bt709,
        ff::color::Space::BT2020NCL | ff::color::Space::BT2020CL => Matrix::Bt2020,
        _ => Matrix::Bt601,
    }
}

fn range_of(frame: &Video) -> Range {
    let pixel = frame.format();
    let always_full = match pixel {
        Pixel::YUVJ411P | Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ440P | Pixel::YUVJ444P => true,
        _ => {
            descriptor(pixel).is_some_and(|descriptor| descriptor.nb_components < 3 || has_colours_of_rgb(&descriptor))
        }
    };
    if always_full || frame.color_range() == ff::color::Range::JPEG {
        Range::Full
    } else {
        Range::Limited
    }
}

/// Converts pictures of one size and format to another format of the same size.
struct Scaler {
    from: (Pixel, Size),
    layout: PictureLayout,
    context: *mut ffi::SwsContext,
    pool: *mut ffi::AVBufferPool,
}

// SAFETY: both pointers are owned and libswscale and libavutil do not bind them to a thread; `&Scaler` offers nothing.
unsafe impl Send for Scaler {}

impl Scaler {
    /// The scaler in the slot if it fits, otherwise a new one.
    fn fitting<'a>(slot: &'a mut Option<Scaler>, frame: &Video, layout: &PictureLayout) -> Result<&'a mut Scaler> {
        let from = (frame.format(), layout.size);
        if slot
            .as_ref()
            .is_none_or(|scaler| scaler.from != from || scaler.layout != *layout)
        {
            *slot = None;
            *slot = Some(Scaler::new(from, layout)?);
        }
        Ok(slot.as_mut().expect("the slot was just filled"))
    }

    fn new(from: (Pixel, Size), layout: &PictureLayout) -> Result<Self> {
        let (width, height) = (from.1.width as i32, from.1.height as i32);
        let target = target(layout.format).into();
        let flags = (ff::software::scaling::Flags::BILINEAR | ff::software::scaling::Flags::ACCURATE_RND).bits();
        tracing::debug!(from = ?from.0, to = ?layout.format, width, height, "pictures are converted");
        // SAFETY: the sizes were checked to be 1 to 16384, the null arguments mean "none"; a null result is handled.
        let context = unsafe {
            ffi::sws_getContext(
                width,
                height,
                from.0.into(),
                width,
                height,
                target,
                flags,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null(),
            )
        };
        // SAFETY: a pure computation on numbers.
        let bytes = unsafe { ffi::av_image_get_buffer_size(target, width, height, ALIGN_BYTES) };
        // SAFETY: no custom allocator; the pool is freed in `drop`.
        let pool = unsafe { ffi::av_buffer_pool_init(bytes.max(1) as _, None) };
        let scaler = Scaler {
            from,
            layout: *layout,
            context,
            pool,
        };
        if context.is_null() || pool.is_null() || bytes <= 0 {
            return Err(OperatorError::new(format!(
                "pictures in the pixel format {:?} cannot be converted",
                from.0
            )));
        }
        let full = i32::from(layout.range == Range::Full);
        // SAFETY: the context is not null; the tables are constants of the library. The same range on both sides keeps
        // the levels as they are. A failure means that the formats have no levels to keep.
        unsafe {
            let table = ffi::sws_getCoefficients(ffi::SWS_CS_ITU601);
            ffi::sws_setColorspaceDetails(context, table, full, table, full, 0, 1 << 16, 1 << 16);
        }
        Ok(scaler)
    }

    /// The same picture in the layout's format.
    fn convert(&mut self, frame: &Video) -> Result<Video> {
        let (width, height) = (self.from.1.width as i32, self.from.1.height as i32);
        let target = target(self.layout.format).into();
        let mut made = Video::empty();
        // SAFETY: pool and context are not null and live as long as `self`. The buffer is as large as
        // `av_image_get_buffer_size` wants for just this format, size and alignment, so the planes that
        // `av_image_fill_arrays` lays out lie within it; it belongs to `made` before it is written. `frame` has the
        // format and size that the context was made for.
        let written = unsafe {
            let raw = made.as_mut_ptr();
            let buffer = if raw.is_null() {
                ptr::null_mut()
            } else {
                ffi::av_buffer_pool_get(self.pool)
            };
            if buffer.is_null() {
                return Err(OperatorError::new("no memory for a converted picture"));
            }
            (*raw).buf[0] = buffer;
            (*raw).width = width;
            (*raw).height = height;
            made.set_format(crate::decode::picture::target(self.layout.format));
            let (data, strides) = ((*raw).data.as_mut_ptr(), (*raw).linesize.as_mut_ptr());
            let laid = ffi::av_image_fill_arrays(data, strides, (*buffer).data, target, width, height, ALIGN_BYTES);
            if laid < 0 {
                laid
            } else {
                let from = frame.as_ptr();
                let source = (*from).data.as_ptr().cast::<*const u8>();
                ffi::sws_scale(
                    self.context,
                    source,
                    (*from).linesize.as_ptr(),
                    0,
                    height,
                    data,
                    strides,
                )
            }
        };
        if written < 0 {
            let error = ff::Error::from(written);
            return Err(OperatorError::new(format!("a picture could not be converted: {error}")));
        }
        Ok(made)
    }
}

impl Drop for Scaler {
    fn drop(&mut self) {
        // SAFETY: both are owned and freed once; null is allowed. Pictures still out keep the pool's memory alive.
        unsafe {
            ffi::sws_freeContext(self.context);
            ffi::av_buffer_pool_uninit(&mut self.pool);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gray frame whose rows hold their own number.
    fn rows(width: u32, height: u32) -> Video {
        let mut frame = Video::new(Pixel::GRAY8, width, height);
        let stride = frame.stride(0);
        for (row, bytes) in frame.data_mut(0).chunks_mut(stride).enumerate() {
            bytes.fill(row as u8);
        }
        frame
    }

    #[test]
    fn a_frame_is_not_copied() {
        let frame = rows(33, 5);
        let address = frame.data(0).as_ptr();
        let mut maker = PictureMaker::default();
        let picture = maker.picture(frame).unwrap();
        assert_eq!(picture.memory().plane(0).as_ptr(), address);
        assert_eq!(picture.memory().plane(0).len(), 4 * picture.memory().stride(0) + 33);
        assert_eq!(maker.converted(), 0);
    }

    #[test]
    fn a_picture_stored_bottom_up_is_turned() {
        let mut frame = rows(32, 6);
        // SAFETY: the pointer moves to the start of the last row, from where a negative stride walks back.
        unsafe {
            let raw = frame.as_mut_ptr();
            (*raw).data[0] = (*raw).data[0].offset(5 * (*raw).linesize[0] as isize);
            (*raw).linesize[0] = -(*raw).linesize[0];
        }
        let mut maker = PictureMaker::default();
        let picture = maker.picture(frame).unwrap();
        let memory = picture.memory();
        let column: Vec<u8> = (0..6).map(|row| memory.plane(0)[row * memory.stride(0)]).collect();
        assert_eq!((column, maker.converted()), (vec![5, 4, 3, 2, 1, 0], 1));
    }

    #[test]
    fn other_formats_become_the_nearest_and_keep_their_levels() {
        for (pixel, format, range, sample) in [
            (Pixel::YUV420P10LE, PixelFormat::Yuv420, Range::Limited, 200u16),
            (Pixel::YUV422P10LE, PixelFormat::Yuv422, Range::Limited, 200u16),
            (Pixel::YUV444P12LE, PixelFormat::Yuv444, Range::Limited, 200u16),
            (Pixel::GRAY16LE, PixelFormat::Gray, Range::Full, 200),
        ] {
            let mut frame = Video::new(pixel, 34, 7);
            let depth = descriptor(pixel).unwrap().comp[0].depth;
            for plane in 0..frame.planes() {
                for pair in frame.data_mut(plane).chunks_exact_mut(2) {
                    pair.copy_from_slice(&(sample << (depth - 8)).to_le_bytes());
                }
            }
            let picture = PictureMaker::default().picture(frame).unwrap();
            let layout = picture.layout();
            assert_eq!((layout.format, layout.range), (format, range), "{pixel:?}");
            let memory = picture.memory();
            // Converting 16 bits to 8 rounds by dithering.
            assert!(
                memory.plane(0)[..34].iter().all(|byte| byte.abs_diff(200) <= 1),
                "{pixel:?} {:?}",
                &memory.plane(0)[..34]
            );
        }
        let mut frame = Video::new(Pixel::BGRA, 2, 1);
        frame.data_mut(0)[..8].copy_from_slice(&[1, 2, 3, 255, 4, 5, 6, 255]);
        let picture = PictureMaker::default().picture(frame).unwrap();
        assert_eq!(picture.layout().format, PixelFormat::Rgb);
        assert_eq!(picture.memory().plane(0)[..6], [3, 2, 1, 6, 5, 4]);
    }

    #[test]
    fn what_cannot_be_a_picture_is_refused() {
        assert!(PictureMaker::default().picture(Video::empty()).is_err());
        let mut frame = Video::empty();
        frame.set_width(16);
        frame.set_height(16);
        frame.set_format(Pixel::CUDA);
        assert!(PictureMaker::default().picture(frame).is_err());
    }
}
