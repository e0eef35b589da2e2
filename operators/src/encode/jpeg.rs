//! Pictures as JPEG files (ITU-T T.81 in a JFIF shell), for data sets and stills.
//!
//! The planes go in as they are, so nothing is lost to a conversion into RGB: only the levels are
//! stretched from video's limited range to the full one, which is what JFIF means.

use engine::errors::{OperatorError, Result};
use engine::frame::{Picture, PixelFormat, Range};
use engine::rows::Size;
use ff::format::Pixel;
use ff::frame::Video;
use ffmpeg_next as ff;
use flowrun_engine as engine;

/// Encodes planar 4:2:0 pictures of one size.
pub struct JpegEncoder {
    encoder: ff::encoder::video::Encoder,
    frame: Video,
    size: Size,
    pictures: i64,
}

impl JpegEncoder {
    /// Opens the system's encoder for pictures of a size. `quantiser` is FFmpeg's `-q:v`, from 2 for the best to 31.
    ///
    /// # Errors
    /// When FFmpeg was built without one, or does not take the size.
    pub fn new(size: Size, quantiser: u8) -> Result<Self> {
        crate::decode::init();
        let failed = |error: ff::Error| OperatorError::new(format!("FFmpeg's JPEG encoder does not open: {error}"));
        let codec = ff::encoder::find(ff::codec::Id::MJPEG).ok_or_else(|| {
            OperatorError::new("FFmpeg of this system has no JPEG encoder")
                .help("install an FFmpeg that has it (Debian: libavcodec-extra)")
        })?;
        let mut video = ff::codec::Context::new_with_codec(codec)
            .encoder()
            .video()
            .map_err(failed)?;
        video.set_width(size.width);
        video.set_height(size.height);
        video.set_format(Pixel::YUVJ420P);
        video.set_time_base((1, 25));
        // The same file on any machine: slices would follow the number of cores.
        let mut options = ff::Dictionary::new();
        let quantiser = quantiser.clamp(2, 31).to_string();
        for (name, value) in [("qmin", &*quantiser), ("qmax", &*quantiser), ("threads", "1")] {
            options.set(name, value);
        }
        Ok(JpegEncoder {
            encoder: video.open_with(options).map_err(failed)?,
            frame: Video::new(Pixel::YUVJ420P, size.width, size.height),
            size,
            pictures: 0,
        })
    }

    /// The bytes of a file with this picture.
    ///
    /// # Errors
    /// When the picture is of another size or format, and when FFmpeg fails.
    pub fn encode(&mut self, picture: &Picture) -> Result<Vec<u8>> {
        let layout = picture.layout();
        if layout.size != self.size || layout.format != PixelFormat::Yuv420 {
            return Err(OperatorError::new(format!(
                "a JPEG encoder for planar 4:2:0 of {}x{} was given {:?} of {}x{}",
                self.size.width, self.size.height, layout.format, layout.size.width, layout.size.height
            )));
        }
        let memory = picture.memory();
        memory.fetch()?;
        for plane in 0..3 {
            let levels = levels(plane, layout.range);
            let (width, height) = (
                self.frame.plane_width(plane) as usize,
                self.frame.plane_height(plane) as usize,
            );
            let (to_stride, from_stride) = (self.frame.stride(plane), memory.stride(plane));
            let to = self.frame.data_mut(plane).chunks_mut(to_stride);
            for (to, from) in to.zip(memory.plane(plane).chunks(from_stride)).take(height) {
                for (to, from) in to[..width].iter_mut().zip(from) {
                    *to = levels[usize::from(*from)];
                }
            }
        }
        self.frame.set_pts(Some(self.pictures));
        self.pictures += 1;
        let failed = |error: ff::Error| OperatorError::new(format!("FFmpeg cannot encode a picture: {error}"));
        self.encoder.send_frame(&self.frame).map_err(failed)?;
        let mut packet = ff::Packet::empty();
        self.encoder.receive_packet(&mut packet).map_err(failed)?;
        Ok(packet.data().unwrap_or_default().to_vec())
    }
}

/// What each level of a plane becomes in the full range (ITU-T T.871, section 7).
fn levels(plane: usize, range: Range) -> [u8; 256] {
    std::array::from_fn(|level| {
        let level = level as f32;
        match (range, plane) {
            (Range::Full, _) => level as u8,
            (Range::Limited, 0) => ((level - 16.0) * 255.0 / 219.0).round() as u8,
            (Range::Limited, _) => ((level - 128.0) * 255.0 / 224.0 + 128.0).round() as u8,
        }
    })
}

#[cfg(test)]
mod tests {
    use engine::frame::{Matrix, PictureLayout, PlainMemory};

    use super::*;

    fn grey(size: Size, level: u8) -> Picture {
        let layout = PictureLayout {
            size,
            format: PixelFormat::Yuv420,
            matrix: Matrix::Bt601,
            range: Range::Limited,
        };
        let (width, height) = (size.width as usize, size.height as usize);
        let chroma = || (width / 2, vec![128; width * height / 4]);
        let planes = [(width, vec![level; width * height]), chroma(), chroma()];
        Picture::new(layout, Box::new(PlainMemory::new(planes)))
    }

    #[test]
    fn files_hold_the_picture_in_the_full_range() {
        let size = Size { width: 34, height: 18 };
        let mut encoder = JpegEncoder::new(size, 2).unwrap();
        for (limited, full) in [(16, 0), (126, 128), (235, 255)] {
            let bytes = encoder.encode(&grey(size, limited)).unwrap();
            assert_eq!(bytes[..2], [0xff, 0xd8], "a start of image");
            assert_eq!(bytes, encoder.encode(&grey(size, limited)).unwrap(), "the same again");
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("grey.jpg");
            std::fs::write(&path, bytes).unwrap();
            let mut input = ff::format::input(&path).unwrap();
            let parameters = input.streams().next().unwrap().parameters();
            let context = ff::codec::Context::from_parameters(parameters).unwrap();
            let mut decoder = context.decoder().video().unwrap();
            let (_, packet) = input.packets().next().unwrap();
            decoder.send_packet(&packet).unwrap();
            let mut read = Video::empty();
            decoder.receive_frame(&mut read).unwrap();
            let levels = &read.data(0)[..34];
            assert!(levels.iter().all(|level| level.abs_diff(full) <= 1), "{levels:?}");
        }
    }

    #[test]
    fn another_size_is_refused() {
        let (one, other) = (Size { width: 32, height: 32 }, Size { width: 64, height: 32 });
        let mut encoder = JpegEncoder::new(one, 4).unwrap();
        assert!(encoder.encode(&grey(other, 100)).unwrap_err().cause.contains("64x32"));
    }
}
