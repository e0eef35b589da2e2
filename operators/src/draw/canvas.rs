//! A copy of a picture that may be painted on: planar, chroma halved both ways, whatever the picture was.

use flowrun_engine::frame::{Picture, PictureLayout, PictureMemory, PixelFormat, Range};

use super::colour::{Samples, weights};
use super::text::{LETTER, letter};

/// The layout of a picture that was drawn on: RGB becomes YUV of limited range, which every player reads.
pub(super) fn drawn_layout(source: PictureLayout) -> PictureLayout {
    PictureLayout {
        format: PixelFormat::Yuv420,
        range: match source.format {
            PixelFormat::Rgb => Range::Limited,
            _ => source.range,
        },
        ..source
    }
}

/// The copy.
pub(super) struct Canvas {
    layout: PictureLayout,
    width: usize,
    height: usize,
    luma: Vec<u8>,
    /// U, then V, each half as wide and high, rounded up.
    chroma: [Vec<u8>; 2],
}

impl PictureMemory for Canvas {
    fn plane(&self, index: usize) -> &[u8] {
        match index {
            0 => &self.luma,
            index => &self.chroma[index - 1],
        }
    }
    fn stride(&self, index: usize) -> usize {
        match index {
            0 => self.width,
            _ => self.width.div_ceil(2),
        }
    }
}

/// Rows of a plane, closed up.
fn rows_of(memory: &dyn PictureMemory, plane: usize, width: usize, height: usize) -> Vec<u8> {
    let (bytes, stride) = (memory.plane(plane), memory.stride(plane));
    if stride == width {
        return bytes[..width * height].to_vec();
    }
    let mut closed = Vec::with_capacity(width * height);
    for row in 0..height {
        closed.extend_from_slice(&bytes[row * stride..][..width]);
    }
    closed
}

/// A plane halved both ways: each cell is the mean of the samples that it covers.
fn halved(memory: &dyn PictureMemory, plane: usize, width: usize, height: usize) -> Vec<u8> {
    let (bytes, stride) = (memory.plane(plane), memory.stride(plane));
    let mut cells = Vec::with_capacity(width.div_ceil(2) * height.div_ceil(2));
    for top in (0..height).step_by(2) {
        let below = (top + 1).min(height - 1);
        for left in (0..width).step_by(2) {
            let right = (left + 1).min(width - 1);
            let corners = [(top, left), (top, right), (below, left), (below, right)];
            let sum: u16 = corners
                .map(|(row, column)| u16::from(bytes[row * stride + column]))
                .iter()
                .sum();
            cells.push(((sum + 2) / 4) as u8);
        }
    }
    cells
}

impl Canvas {
    /// A copy of a picture.
    pub fn copy_of(picture: &Picture) -> Self {
        let (layout, memory) = (picture.layout(), picture.memory());
        let (width, height) = (layout.size.width as usize, layout.size.height as usize);
        let (across, down) = (width.div_ceil(2), height.div_ceil(2));
        let luma = || rows_of(memory, 0, width, height);
        let (luma, chroma) = match layout.format {
            PixelFormat::Yuv420 => (luma(), [1, 2].map(|plane| rows_of(memory, plane, across, down))),
            PixelFormat::Nv12 => {
                let pairs = rows_of(memory, 1, 2 * across, down);
                let part = |first| pairs.iter().skip(first).step_by(2).copied().collect();
                (luma(), [part(0), part(1)])
            }
            PixelFormat::Yuv422 => (luma(), [1, 2].map(|plane| pairs_of_rows(memory, plane, across, height))),
            PixelFormat::Yuv444 => (luma(), [1, 2].map(|plane| halved(memory, plane, width, height))),
            PixelFormat::Gray => (luma(), [vec![128; across * down], vec![128; across * down]]),
            PixelFormat::Rgb => from_rgb(memory, &layout),
        };
        Canvas {
            layout: drawn_layout(layout),
            width,
            height,
            luma,
            chroma,
        }
    }

    /// What its samples mean.
    pub fn layout(&self) -> &PictureLayout {
        &self.layout
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (i32, i32) {
        (self.width as i32, self.height as i32)
    }

    /// Fills the pixels from (x1, y1) up to but without (x2, y2), as far as they are on the picture.
    pub fn fill(&mut self, (x1, y1): (i32, i32), (x2, y2): (i32, i32), colour: Samples) {
        let clip = |at: i32, end: usize| usize::try_from(at).unwrap_or(0).min(end);
        let (left, right) = (clip(x1, self.width), clip(x2, self.width));
        let (top, bottom) = (clip(y1, self.height), clip(y2, self.height));
        if left >= right || top >= bottom {
            return;
        }
        for row in top..bottom {
            self.luma[row * self.width..][left..right].fill(colour.y);
        }
        let stride = self.width.div_ceil(2);
        for row in top / 2..bottom.div_ceil(2) {
            self.chroma[0][row * stride..][left / 2..right.div_ceil(2)].fill(colour.u);
            self.chroma[1][row * stride..][left / 2..right.div_ceil(2)].fill(colour.v);
        }
    }

    /// The frame of a rectangle, so many pixels thick, its middle on the rectangle's edge.
    pub fn frame(&mut self, (x1, y1): (i32, i32), (x2, y2): (i32, i32), thick: i32, colour: Samples) {
        let (out, within) = (thick / 2, thick - thick / 2);
        self.fill((x1 - out, y1 - out), (x2 + out, y1 + within), colour);
        self.fill((x1 - out, y2 - within), (x2 + out, y2 + out), colour);
        self.fill((x1 - out, y1 - out), (x1 + within, y2 + out), colour);
        self.fill((x2 - within, y1 - out), (x2 + out, y2 + out), colour);
    }

    /// A straight line, so many pixels thick.
    pub fn line(&mut self, from: [f32; 2], to: [f32; 2], thick: i32, colour: Samples) {
        let bounds = [self.width as f32, self.height as f32];
        let Some(([ax, ay], [bx, by])) = clipped(from, to, bounds, thick as f32) else {
            return;
        };
        let steps = (bx - ax).abs().max((by - ay).abs()).ceil().max(1.0);
        let half = (thick - 1) as f32 / 2.0;
        for step in 0..=steps as i32 {
            let part = step as f32 / steps;
            let (x, y) = (ax + (bx - ax) * part - half, ay + (by - ay) * part - half);
            let (x, y) = (x.round() as i32, y.round() as i32);
            self.fill((x, y), (x + thick, y + thick), colour);
        }
    }

    /// Text on a plate, its upper left corner here as far as the picture has room; letters `scale` times their size.
    pub fn text(&mut self, (x, y): (i32, i32), text: &str, scale: i32, plate: Samples) {
        let (width, height) = text_size(text, scale);
        let (x, y) = (
            x.min(self.width as i32 - width).max(0),
            y.min(self.height as i32 - height).max(0),
        );
        self.fill((x, y), (x + width, y + height), plate);
        let ink = plate.readable(&self.layout);
        for (place, of) in text.chars().enumerate() {
            let left = x + scale + place as i32 * LETTER * scale;
            for (row, bits) in letter(of).into_iter().enumerate() {
                for column in (0..LETTER).filter(|column| bits >> column & 1 == 1) {
                    self.dot(left + column * scale, y + scale + row as i32 * scale, scale, ink);
                }
            }
        }
    }

    /// A square of luma alone: letters keep the colour of their plate.
    fn dot(&mut self, x: i32, y: i32, side: i32, luma: u8) {
        for row in (y..y + side).filter(|row| (0..self.height as i32).contains(row)) {
            for column in (x..x + side).filter(|column| (0..self.width as i32).contains(column)) {
                self.luma[row as usize * self.width + column as usize] = luma;
            }
        }
    }
}

/// Width and height of a text with its plate.
pub(super) fn text_size(text: &str, scale: i32) -> (i32, i32) {
    let letters = text.chars().count() as i32;
    ((letters * LETTER + 2) * scale, (LETTER + 2) * scale)
}

/// Two rows become their mean.
fn pairs_of_rows(memory: &dyn PictureMemory, plane: usize, width: usize, height: usize) -> Vec<u8> {
    let (bytes, stride) = (memory.plane(plane), memory.stride(plane));
    let mut cells = Vec::with_capacity(width * height.div_ceil(2));
    for top in (0..height).step_by(2) {
        let (above, below) = (&bytes[top * stride..], &bytes[(top + 1).min(height - 1) * stride..]);
        let mean = |(a, b): (&u8, &u8)| (u16::from(*a) + u16::from(*b)).div_ceil(2) as u8;
        cells.extend(above[..width].iter().zip(&below[..width]).map(mean));
    }
    cells
}

fn from_rgb(memory: &dyn PictureMemory, layout: &PictureLayout) -> (Vec<u8>, [Vec<u8>; 2]) {
    let (width, height) = (layout.size.width as usize, layout.size.height as usize);
    let (bytes, stride) = (memory.plane(0), memory.stride(0));
    let (red, blue) = weights(layout.matrix);
    // Fixed point, 16 bits of fraction, limited range.
    let fixed = |weight: f32| (weight * 65_536.0).round() as i32;
    let luma = [red, 1.0 - red - blue, blue].map(|weight| fixed(weight * 219.0 / 255.0));
    let (to_u, to_v) = (
        224.0 / 255.0 / (2.0 * (1.0 - blue)),
        224.0 / 255.0 / (2.0 * (1.0 - red)),
    );
    let u = [-red, red + blue - 1.0, 1.0 - blue].map(|weight| fixed(weight * to_u));
    let v = [1.0 - red, red + blue - 1.0, -blue].map(|weight| fixed(weight * to_v));
    let mixed = |weights: [i32; 3], pixel: [i32; 3], foot: i32| {
        let sum: i32 = weights.iter().zip(pixel).map(|(weight, part)| weight * part).sum();
        (((sum + 32_768) >> 16) + foot).clamp(0, 255) as u8
    };
    let pixel = |row: usize, column: usize| {
        let at = row * stride + 3 * column;
        [bytes[at], bytes[at + 1], bytes[at + 2]].map(i32::from)
    };
    let mut planes = (Vec::with_capacity(width * height), [Vec::new(), Vec::new()]);
    for row in 0..height {
        planes
            .0
            .extend((0..width).map(|column| mixed(luma, pixel(row, column), 16)));
    }
    for row in (0..height).step_by(2) {
        let below = (row + 1).min(height - 1);
        for column in (0..width).step_by(2) {
            let right = (column + 1).min(width - 1);
            let corners = [
                pixel(row, column),
                pixel(row, right),
                pixel(below, column),
                pixel(below, right),
            ];
            let mean = [0, 1, 2].map(|part| (corners.iter().map(|corner| corner[part]).sum::<i32>() + 2) / 4);
            planes.1[0].push(mixed(u, mean, 128));
            planes.1[1].push(mixed(v, mean, 128));
        }
    }
    planes
}

/// The part of a line within `margin` of the picture (Liang and Barsky 1984); none where there is none.
fn clipped(from: [f32; 2], to: [f32; 2], bounds: [f32; 2], margin: f32) -> Option<([f32; 2], [f32; 2])> {
    if !from.iter().chain(&to).all(|number| number.is_finite()) {
        return None;
    }
    let (mut enter, mut leave) = (0.0f32, 1.0f32);
    for axis in 0..2 {
        let (start, delta) = (from[axis], to[axis] - from[axis]);
        let (low, high) = (-margin - start, bounds[axis] + margin - start);
        if delta == 0.0 {
            if low > 0.0 || high < 0.0 {
                return None;
            }
            continue;
        }
        let (first, last) = if delta > 0.0 {
            (low / delta, high / delta)
        } else {
            (high / delta, low / delta)
        };
        enter = enter.max(first);
        leave = leave.min(last);
    }
    let at = |part: f32| [0, 1].map(|axis| from[axis] + (to[axis] - from[axis]) * part);
    (enter <= leave).then(|| (at(enter), at(leave)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_to_the_picture() {
        let bounds = [100.0, 50.0];
        let (a, b) = clipped([-1e6, 25.0], [1e6, 25.0], bounds, 2.0).unwrap();
        assert!((a[0] + 2.0).abs() < 0.5 && (b[0] - 102.0).abs() < 0.5, "{a:?} {b:?}");
        assert_eq!(clipped([0.0, -10.0], [100.0, -10.0], bounds, 2.0), None);
        assert_eq!(clipped([f32::NAN, 0.0], [1.0, 1.0], bounds, 2.0), None);
        assert_eq!(
            clipped([1.0, 1.0], [2.0, 2.0], bounds, 2.0),
            Some(([1.0, 1.0], [2.0, 2.0]))
        );
    }
}
