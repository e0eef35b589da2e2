//! Filling polygons in a planar YUV picture.
//!
//! Edges are softened by how much of their pixel a row covers, so that slow movement does not jump
//! from pixel to pixel; which pixels a thing owns is decided by middles all the same ([`Hull`]).

use super::hull::{self, Hull};
use super::random::Random;

/// A colour: red, green and blue, 0 to 1.
pub(super) type Colour = [f32; 3];

/// Luma and chroma of a colour: ITU-R BT.601, section 2.5, limited range.
pub(super) fn yuv([r, g, b]: Colour) -> [f32; 3] {
    [
        16.0 + 65.481 * r + 128.553 * g + 24.966 * b,
        128.0 - 37.797 * r - 74.203 * g + 112.0 * b,
        128.0 + 112.0 * r - 93.786 * g - 18.214 * b,
    ]
}

/// A colour times a brightness.
pub(super) fn lit(colour: Colour, light: f32) -> Colour {
    colour.map(|part| (part * light).clamp(0.0, 1.0))
}

/// Samples of fixed noise, roughly bell-shaped, that textures and the sensor read at random places.
#[derive(Debug)]
pub(super) struct Noise(Vec<i8>);

/// Places at which a run of noise may begin.
const STARTS: usize = 1 << 16;
/// The longest run: the widest picture.
const LONGEST: usize = 1 << 14;

impl Noise {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, 3);
        let sample = |_| {
            let bits = random.bits().to_le_bytes();
            let sum: i32 = bits.iter().map(|byte| i32::from(*byte) - 128).sum();
            (sum / 5).clamp(-127, 127) as i8
        };
        Noise((0..STARTS + LONGEST).map(sample).collect())
    }
    /// So many samples; the same for the same bits.
    pub fn run(&self, bits: u64, count: usize) -> &[i8] {
        let start = bits as usize % STARTS;
        &self.0[start..start + count]
    }
}

/// What a polygon is filled with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    pub colour: Colour,
    /// Brightness at the bottom relative to the top.
    pub fade: f32,
    /// How rough the surface looks, in 128ths of the noise.
    pub grain: i32,
    /// Where its texture begins, so that it moves with the thing.
    pub salt: u64,
}

impl Paint {
    pub fn plain(colour: Colour) -> Self {
        Paint {
            colour,
            fade: 1.0,
            grain: 0,
            salt: 0,
        }
    }
}

/// A picture that is being painted: planar, chroma halved both ways.
pub(super) struct Canvas<'a> {
    pub width: usize,
    pub height: usize,
    pub luma: Vec<u8>,
    pub chroma: [Vec<u8>; 2],
    pub noise: &'a Noise,
}

impl Canvas<'_> {
    /// Fills a polygon.
    pub fn fill(&mut self, hull: &Hull, paint: &Paint) {
        let [luma, u, v] = yuv(paint.colour);
        let low = (luma - 16.0) * paint.fade + 16.0;
        let [_, top, _, bottom] = hull.bounds;
        let noise = self.noise;
        self.rows(hull, |row, pixels| {
            let part = ((row as f32 + 0.5 - top) / (bottom - top).max(1.0)).clamp(0.0, 1.0);
            let base = (luma + (low - luma) * part) as i32;
            if paint.grain == 0 {
                pixels.fill(base.clamp(0, 255) as u8);
                return;
            }
            let start = paint.salt.wrapping_add(((row as f32 - top) as u64).wrapping_mul(7919));
            let texture = noise.run(start, pixels.len());
            for (pixel, grain) in pixels.iter_mut().zip(texture) {
                *pixel = (base + ((i32::from(*grain) * paint.grain) >> 7)).clamp(0, 255) as u8;
            }
        });
        let (width, height) = (self.width / 2, self.height / 2);
        for row in hull::rows(0.5 * hull.bounds[1], 0.5 * bottom, height as i32) {
            // The middle of a chroma sample is a corner that four pixels share.
            let Some((left, right)) = hull.span(2.0 * row as f32 + 1.0) else {
                continue;
            };
            let cells = hull::rows(0.5 * left, 0.5 * right, width as i32);
            let cells = row as usize * width + cells.start as usize..row as usize * width + cells.end as usize;
            self.chroma[0][cells.clone()].fill(u as u8);
            self.chroma[1][cells].fill(v as u8);
        }
    }

    /// Takes light away from what is there already: 256 leaves all of it.
    pub fn shade(&mut self, hull: &Hull, keep: u16) {
        self.rows(hull, |_, pixels| {
            for pixel in pixels {
                *pixel = (16 + ((u16::from(pixel.saturating_sub(16)) * keep) >> 8)) as u8;
            }
        });
    }

    /// Adds light to what is there already.
    pub fn glow(&mut self, hull: &Hull, light: u8) {
        self.rows(hull, |_, pixels| {
            for pixel in pixels {
                // A dark surface gives back less of it.
                *pixel = pixel
                    .saturating_add(light / 3)
                    .saturating_add(((u16::from(*pixel) * u16::from(light)) >> 8) as u8);
            }
        });
    }

    /// Calls with the pixels of each row, and softens both ends of what was done to them.
    fn rows(&mut self, hull: &Hull, mut paint: impl FnMut(i32, &mut [u8])) {
        let width = self.width as f32;
        for row in hull::rows(hull.bounds[1], hull.bounds[3], self.height as i32) {
            let Some((left, right)) = hull.span(row as f32 + 0.5) else {
                continue;
            };
            let (left, right) = (left.max(0.0), right.min(width));
            if left >= right {
                continue;
            }
            let (first, end) = (left as usize, (right.ceil() as usize).min(self.width));
            let line = &mut self.luma[row as usize * self.width..][..self.width];
            let (before, after) = (line[first], line[end - 1]);
            paint(row, &mut line[first..end]);
            if end - first == 1 {
                line[first] = mixed(before, line[first], right - left);
            } else {
                line[first] = mixed(before, line[first], first as f32 + 1.0 - left);
                line[end - 1] = mixed(after, line[end - 1], right - (end - 1) as f32);
            }
        }
    }
}

fn mixed(under: u8, over: u8, part: f32) -> u8 {
    (f32::from(under) + (f32::from(over) - f32::from(under)) * part) as u8
}
