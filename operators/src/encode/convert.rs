//! Pictures as the encoder reads them: planar YUV 4:2:0 of even size, in libav's padded memory.
//!
//! A picture of that form is copied row by row; any other goes through swscale, by way of a padded copy, since swscale
//! reads beyond the end of rows and a picture's memory may end with its last pixel.

use ff::ffi;
use ff::format::Pixel;
use ff::frame::Video;
use ff::software::scaling;
use ffmpeg_next as ff;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::{Matrix, Picture, PictureLayout, PixelFormat, Range};
use flowrun_engine::rows::Size;

/// The size in which a picture is encoded: even, and no higher than wanted.
pub(super) fn encoded_size(source: Size, height: Option<u32>) -> Size {
    let even = |side: u32| (side & !1).max(2);
    match height.filter(|height| *height < source.height) {
        None => Size {
            width: even(source.width),
            height: even(source.height),
        },
        Some(height) => Size {
            width: even((u64::from(source.width) * u64::from(height) / u64::from(source.height)) as u32),
            height: even(height),
        },
    }
}

/// The levels of the encoded picture: what was RGB becomes video of limited range, the rest keeps its own.
pub(super) fn encoded_range(layout: &PictureLayout) -> Range {
    match layout.format {
        PixelFormat::Rgb => Range::Limited,
        _ => layout.range,
    }
}

fn pixel(format: PixelFormat) -> Pixel {
    match format {
        PixelFormat::Yuv420 => Pixel::YUV420P,
        PixelFormat::Yuv422 => Pixel::YUV422P,
        PixelFormat::Yuv444 => Pixel::YUV444P,
        PixelFormat::Nv12 => Pixel::NV12,
        PixelFormat::Gray => Pixel::GRAY8,
        PixelFormat::Rgb => Pixel::RGB24,
    }
}

/// Bytes across and rows down of a plane.
fn plane_shape(format: PixelFormat, plane: usize, size: Size) -> (usize, usize) {
    let (width, height) = (size.width as usize, size.height as usize);
    let (half, low) = (width.div_ceil(2), height.div_ceil(2));
    match (format, plane) {
        (PixelFormat::Rgb, _) => (3 * width, height),
        (_, 0) | (PixelFormat::Yuv444, _) => (width, height),
        (PixelFormat::Yuv422, _) => (half, height),
        (PixelFormat::Nv12, _) => (2 * half, low),
        _ => (half, low),
    }
}

fn copy_planes(picture: &Picture, size: Size, frame: &mut Video) {
    let (format, memory) = (picture.layout().format, picture.memory());
    let planes = match format {
        PixelFormat::Gray | PixelFormat::Rgb => 1,
        PixelFormat::Nv12 => 2,
        _ => 3,
    };
    for plane in 0..planes {
        let (width, height) = plane_shape(format, plane, size);
        let (from, stride) = (memory.plane(plane), memory.stride(plane));
        let own = frame.stride(plane);
        let rows = frame
            .data_mut(plane)
            .chunks_mut(own)
            .zip(from.chunks(stride))
            .take(height);
        rows.for_each(|(to, from)| to[..width].copy_from_slice(&from[..width]));
    }
}

/// Brings pictures of one layout into one form.
pub(super) struct Converter {
    layout: PictureLayout,
    /// What the encoder reads.
    frame: Video,
    size: Size,
    scaled: Option<Scaled>,
}

/// The way by swscale.
struct Scaled {
    padded: Video,
    scaler: Scaler,
}

/// swscale's context.
struct Scaler(scaling::Context);

// SAFETY: the context is owned by this value alone and libswscale does not bind it to a thread; `&Scaler` offers nothing.
unsafe impl Send for Scaler {}

impl Converter {
    /// For pictures of a layout, encoded in this size.
    ///
    /// # Errors
    /// When there is no memory, or swscale cannot convert them.
    pub fn new(layout: PictureLayout, size: Size) -> Result<Self> {
        let cropped = Size {
            width: layout.size.width & !1,
            height: layout.size.height & !1,
        };
        let straight = matches!(layout.format, PixelFormat::Yuv420 | PixelFormat::Gray) && size == cropped;
        let mut frame = writable(Pixel::YUV420P, size)?;
        if straight && layout.format == PixelFormat::Gray {
            (1..3).for_each(|plane| frame.data_mut(plane).fill(128));
        }
        let scaled = if straight {
            None
        } else {
            Some(Scaled::new(&layout, size)?)
        };
        Ok(Converter {
            layout,
            frame,
            size,
            scaled,
        })
    }

    /// Whether it is for pictures of this layout.
    pub fn fits(&self, layout: &PictureLayout) -> bool {
        self.layout == *layout
    }

    /// The picture as the encoder reads it.
    ///
    /// # Errors
    /// When there is no memory, the picture cannot be brought to the host, or swscale fails.
    pub fn convert(&mut self, picture: &Picture) -> Result<&mut Video> {
        picture.memory().fetch()?;
        make_writable(&mut self.frame)?;
        match &mut self.scaled {
            None => copy_planes(picture, self.size, &mut self.frame),
            Some(Scaled { padded, scaler }) => {
                copy_planes(picture, self.layout.size, padded);
                let run = scaler.0.run(padded, &mut self.frame);
                run.map_err(|error| OperatorError::new(format!("a picture could not be converted: {error}")))?;
            }
        }
        Ok(&mut self.frame)
    }
}

impl Scaled {
    fn new(layout: &PictureLayout, size: Size) -> Result<Self> {
        let Size { width, height } = layout.size;
        let from = pixel(layout.format);
        let flags = scaling::Flags::BILINEAR | scaling::Flags::ACCURATE_RND;
        let context = scaling::Context::get(from, width, height, Pixel::YUV420P, size.width, size.height, flags);
        let mut context = context.map_err(|error| {
            OperatorError::new(format!(
                "pictures of {width}x{height} cannot be scaled to {}x{}: {error}",
                size.width, size.height
            ))
        })?;
        let table = match layout.matrix {
            Matrix::Bt601 => ffi::SWS_CS_ITU601,
            Matrix::Bt709 => ffi::SWS_CS_ITU709,
            Matrix::Bt2020 => ffi::SWS_CS_BT2020,
        };
        let full = |range: Range| i32::from(range == Range::Full);
        // SAFETY: the context is owned and not null; the table is a constant of the library. A failure means that the
        // formats have no levels to convert.
        unsafe {
            let table = ffi::sws_getCoefficients(table);
            let (from, to) = (full(layout.range), full(encoded_range(layout)));
            ffi::sws_setColorspaceDetails(context.as_mut_ptr(), table, from, table, to, 0, 1 << 16, 1 << 16);
        }
        Ok(Scaled {
            padded: writable(from, layout.size)?,
            scaler: Scaler(context),
        })
    }
}

/// A frame with memory of its own.
fn writable(format: Pixel, size: Size) -> Result<Video> {
    let frame = Video::new(format, size.width, size.height);
    // SAFETY: only pointers are looked at; the frame's own is null when it could not be allocated.
    let allocated = unsafe { frame.as_ptr().as_ref() }.is_some_and(|raw| !raw.data[0].is_null());
    if allocated {
        Ok(frame)
    } else {
        Err(OperatorError::new("no memory for a picture"))
    }
}

/// Makes sure that nobody else holds the frame's memory: an encoder may keep what it was given.
fn make_writable(frame: &mut Video) -> Result<()> {
    // SAFETY: the frame is owned and was allocated by `writable`; libav replaces its buffers where they are shared.
    let made = unsafe { ffi::av_frame_make_writable(frame.as_mut_ptr()) };
    if made < 0 {
        return Err(OperatorError::new(format!(
            "no memory for a picture: {}",
            ff::Error::from(made)
        )));
    }
    Ok(())
}
