//! Pictures into a tensor: the reference of `letterbox.cu`.

use half::f16;

use super::{Shape, host, host_mut};
use crate::frame::PixelFormat;

/// In [`Placed::format`], a place of the batch that no picture needs.
pub const ABSENT: u32 = u32::MAX;

/// A picture, where it is and where it goes. The layout is the kernel's.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Placed {
    /// Where its planes are.
    pub planes: [u64; 3],
    /// Bytes from one row of each to the next.
    pub strides: [u32; 3],
    /// As [`format_number`] counts, or [`ABSENT`].
    pub format: u32,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Pixels across in the tensor.
    pub inner_width: u32,
    /// Pixels down in the tensor.
    pub inner_height: u32,
    /// Grey pixels to the left of it.
    pub left: u32,
    /// Grey pixels above it.
    pub top: u32,
    /// Luma of black.
    pub black: f32,
    /// What luma above black is multiplied by.
    pub luma: f32,
    /// How much V makes red.
    pub red_by_v: f32,
    /// How much U takes from green.
    pub green_by_u: f32,
    /// How much V takes from green.
    pub green_by_v: f32,
    /// How much U makes blue.
    pub blue_by_u: f32,
}

impl Default for Placed {
    fn default() -> Self {
        Placed {
            planes: [0; 3],
            strides: [0; 3],
            format: ABSENT,
            width: 0,
            height: 0,
            inner_width: 0,
            inner_height: 0,
            left: 0,
            top: 0,
            black: 0.0,
            luma: 0.0,
            red_by_v: 0.0,
            green_by_u: 0.0,
            green_by_v: 0.0,
            blue_by_u: 0.0,
        }
    }
}

/// A layout's number in the kernel.
pub fn format_number(format: PixelFormat) -> u32 {
    match format {
        PixelFormat::Yuv420 => 0,
        PixelFormat::Yuv422 => 1,
        PixelFormat::Yuv444 => 2,
        PixelFormat::Nv12 => 3,
        PixelFormat::Gray => 4,
        PixelFormat::Rgb => 5,
    }
}

/// Fills the places of a tensor `[places, 3, height, width]`.
#[derive(Clone, Copy, Debug)]
pub struct Letterbox {
    /// Where one [`Placed`] a place lies.
    pub pictures: u64,
    /// The tensor.
    pub tensor: u64,
    /// Whether it is of fp16 rather than fp32.
    pub half: bool,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Pictures.
    pub places: u32,
}

impl Letterbox {
    pub(super) fn shape(&self) -> Shape {
        // A block does 32 columns and 32 rows, so that what it finds out about them serves many pixels.
        Shape {
            grid: [self.width.div_ceil(32), self.height.div_ceil(32), self.places],
            block: [32, 8, 1],
        }
    }

    pub(super) fn arguments(&self) -> [u64; 4] {
        [self.pictures, self.tensor, self.width.into(), self.height.into()]
    }

    pub(super) unsafe fn on_host(&self) {
        let plane = self.width as usize * self.height as usize;
        let places = self.places as usize;
        // SAFETY: as the caller of `Work::on_host` promises.
        let pictures: &[Placed] = unsafe { host(self.pictures, places) };
        for (place, picture) in pictures
            .iter()
            .enumerate()
            .filter(|(_, picture)| picture.format != ABSENT)
        {
            for y in 0..self.height {
                for x in 0..self.width {
                    // SAFETY: the caller promises that the planes hold a picture of this size.
                    let pixel = unsafe { picture.pixel(x, y) };
                    for (channel, value) in pixel.into_iter().enumerate() {
                        let at = (3 * place + channel) * plane + (y * self.width + x) as usize;
                        // SAFETY: the caller promises a tensor of `places` pictures.
                        unsafe {
                            if self.half {
                                host_mut::<f16>(self.tensor, 3 * places * plane)[at] = f16::from_f32(value);
                            } else {
                                host_mut::<f32>(self.tensor, 3 * places * plane)[at] = value;
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Placed {
    /// Samples of the picture for one of chroma, across and down.
    fn subsampling(&self) -> [u32; 2] {
        match self.format {
            0 | 3 => [2, 2],
            1 => [2, 1],
            _ => [1, 1],
        }
    }

    /// Red, green and blue at a place of the tensor, from 0 to 1.
    unsafe fn pixel(&self, x: u32, y: u32) -> [f32; 3] {
        let inside = (self.left..self.left + self.inner_width).contains(&x)
            && (self.top..self.top + self.inner_height).contains(&y);
        if !inside {
            return [114.0 / 255.0; 3];
        }
        let (x, y) = (x - self.left, y - self.top);
        // SAFETY: as the caller promises.
        let sample =
            |plane, channels, channel, subsampling| unsafe { self.sample(plane, channels, channel, subsampling, x, y) };
        if self.format == 5 {
            return [0, 1, 2].map(|channel| unit(sample(0, 3, channel, [1, 1])));
        }
        let level = (sample(0, 1, 0, [1, 1]) - self.black) * self.luma;
        if self.format == 4 {
            return [unit(level); 3];
        }
        let chroma = self.subsampling();
        let (u, v) = if self.format == 3 {
            (sample(1, 2, 0, chroma), sample(1, 2, 1, chroma))
        } else {
            (sample(1, 1, 0, chroma), sample(2, 1, 0, chroma))
        };
        let (u, v) = (u - 128.0, v - 128.0);
        [
            unit(level + self.red_by_v * v),
            unit(level - self.green_by_u * u - self.green_by_v * v),
            unit(level + self.blue_by_u * u),
        ]
    }

    unsafe fn sample(
        &self,
        plane: usize,
        channels: u32,
        channel: u32,
        [across, down]: [u32; 2],
        x: u32,
        y: u32,
    ) -> f32 {
        let (width, height) = (self.width.div_ceil(across), self.height.div_ceil(down));
        let (x, x_share) = place_on_axis(x, self.width, self.inner_width, across);
        let (y, y_share) = place_on_axis(y, self.height, self.inner_height, down);
        let (right, lower) = ((x + 1).min(width - 1), (y + 1).min(height - 1));
        let stride = self.strides[plane] as usize;
        let at = |x: u32, y: u32| {
            let offset = y as usize * stride + (x * channels + channel) as usize;
            // SAFETY: the caller promises that the plane holds `height` rows, `stride` apart, of `width` samples.
            f32::from(unsafe { host::<u8>(self.planes[plane], offset + 1) }[offset])
        };
        // In the order of the letterbox on the host, which blends down first where a plane shrinks.
        if height > self.inner_height {
            let left = blend(at(x, y), at(x, lower), y_share);
            return blend(left, blend(at(right, y), at(right, lower), y_share), x_share);
        }
        let upper = blend(at(x, y), at(right, y), x_share);
        blend(upper, blend(at(x, lower), at(right, lower), x_share), y_share)
    }
}

/// The sample before an output sample, and its share of the one after.
fn place_on_axis(output: u32, length: u32, outputs: u32, subsampling: u32) -> (u32, f32) {
    let scale = f64::from(length) / f64::from(outputs);
    let samples = length.div_ceil(subsampling);
    let at = ((f64::from(output) + 0.5) * scale - 0.5).clamp(0.0, f64::from(length - 1));
    let at = ((at + 0.5) / f64::from(subsampling) - 0.5).clamp(0.0, f64::from(samples - 1));
    (at as u32, at.fract() as f32)
}

fn blend(from: f32, to: f32, share: f32) -> f32 {
    from + (to - from) * share
}

/// A level from 0 to 255 as the nearest of 256, over 255.
fn unit(level: f32) -> f32 {
    const WHOLE: f32 = 8_388_608.0;
    (level.clamp(0.0, 255.0) + WHOLE - WHOLE) * (1.0 / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(size_of::<Placed>(), 88);
        assert_eq!(std::mem::offset_of!(Placed, format), 36);
        assert_eq!(std::mem::offset_of!(Placed, black), 64);
    }
}
