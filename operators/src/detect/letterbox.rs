//! Pictures made to fit a model's input: scaled, centred on grey, turned into planes of red, green and blue.
//!
//! Geometry and sampling are those of Ultralytics' `LetterBox(auto=False)` over OpenCV's `INTER_LINEAR`:
//! half-pixel centres, two taps each way, no smoothing when a picture shrinks. The planes of a picture are
//! sampled as they are, and colours are computed for the pixels of the model's input only: a full-size
//! RGB picture never exists. Both steps are linear, so their order shows only in rounding.

use flowrun_engine::device::Fit;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::{Matrix, Picture, PictureLayout, PictureMemory, PixelFormat, Range};
use flowrun_engine::rows::{Rect, Size};
use half::f16;
use half::slice::HalfFloatSliceExt;

/// The grey around the picture, of 255.
const GREY: f32 = 114.0;

/// Where a source picture lies in the model's input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    source: Size,
    target: Size,
    /// Size of the picture inside the target.
    inner: Size,
    left: u32,
    top: u32,
    gain: f32,
}

impl Geometry {
    /// Fits `source` into `target`, neither empty, keeping its aspect.
    pub fn new(source: Size, target: Size) -> Self {
        let wide = f64::from(target.width) / f64::from(source.width);
        let high = f64::from(target.height) / f64::from(source.height);
        let gain = wide.min(high);
        // Python rounds halves to even, and LetterBox leans odd margins by a tenth of a pixel.
        let fit = |length: u32, room: u32| ((f64::from(length) * gain).round_ties_even() as u32).clamp(1, room);
        let inner = Size {
            width: fit(source.width, target.width),
            height: fit(source.height, target.height),
        };
        let margin = |room: u32, length: u32| (f64::from(room - length) / 2.0 - 0.1).round_ties_even().max(0.0) as u32;
        Geometry {
            source,
            target,
            inner,
            left: margin(target.width, inner.width),
            top: margin(target.height, inner.height),
            gain: gain as f32,
        }
    }

    /// A box of the model's input on the source picture, clipped to it.
    pub fn to_source(&self, bbox: &Rect) -> Rect {
        let across = |x: f32| ((x - self.left as f32) / self.gain).clamp(0.0, self.source.width as f32);
        let down = |y: f32| ((y - self.top as f32) / self.gain).clamp(0.0, self.source.height as f32);
        Rect {
            x1: across(bbox.x1),
            y1: down(bbox.y1),
            x2: across(bbox.x2),
            y2: down(bbox.y2),
        }
    }

    /// A box of the source picture on the model's input.
    pub fn to_input(&self, bbox: &Rect) -> Rect {
        let (left, top) = (self.left as f32, self.top as f32);
        Rect {
            x1: bbox.x1 * self.gain + left,
            y1: bbox.y1 * self.gain + top,
            x2: bbox.x2 * self.gain + left,
            y2: bbox.y2 * self.gain + top,
        }
    }
}

/// Where a picture of a layout comes to lie, and how a device is to put it there.
///
/// # Errors
/// For pictures without pixels, and for sides of more than 65,536 pixels.
pub fn fit(layout: PictureLayout, target: Size) -> Result<(Geometry, Fit)> {
    scalable(layout.size)?;
    let geometry = Geometry::new(layout.size, target);
    let colours = Colours::new(layout.matrix, layout.range);
    let fit = Fit {
        inner: [geometry.inner.width, geometry.inner.height],
        margins: [geometry.left, geometry.top],
        luma: [colours.black, colours.luma],
        chroma: [
            colours.red_by_v,
            colours.green_by_u,
            colours.green_by_v,
            colours.blue_by_u,
        ],
    };
    Ok((geometry, fit))
}

fn scalable(Size { width, height }: Size) -> Result<()> {
    if width == 0 || height == 0 || width > 65_536 || height > 65_536 {
        let cause = format!("a picture of {width}x{height} pixels cannot be scaled");
        return Err(OperatorError::new(cause));
    }
    Ok(())
}

/// What a tensor of pictures is made of.
pub trait Sample: Copy + 'static {
    /// From 0 to 1.
    fn of(value: f32) -> Self;
    /// Lets `compute` write three rows of numbers from 0 to 1; `wide` is scratch of three rows.
    fn rows(rows: [&mut [Self]; 3], wide: &mut [f32], compute: impl FnOnce([&mut [f32]; 3]));
}

impl Sample for f32 {
    fn of(value: f32) -> f32 {
        value
    }
    fn rows(rows: [&mut [f32]; 3], _: &mut [f32], compute: impl FnOnce([&mut [f32]; 3])) {
        compute(rows);
    }
}

impl Sample for f16 {
    fn of(value: f32) -> f16 {
        f16::from_f32(value)
    }
    fn rows(rows: [&mut [f16]; 3], wide: &mut [f32], compute: impl FnOnce([&mut [f32]; 3])) {
        let (red, rest) = wide.split_at_mut(rows[0].len());
        let (green, blue) = rest.split_at_mut(rows[1].len());
        compute([red, green, blue]);
        let [to_red, to_green, to_blue] = rows;
        for (to, from) in [(to_red, red), (to_green, green), (to_blue, blue)] {
            to.convert_from_f32_slice(from);
        }
    }
}

/// Everything that depends on a picture's layout and the target's size, worked out once.
#[derive(Debug)]
pub struct Letterbox {
    layout: PictureLayout,
    geometry: Geometry,
    planes: Vec<Plane>,
    colours: Colours,
}

/// Scratch memory of one thread, for any number of letterboxes.
#[derive(Debug, Default)]
pub struct LetterboxScratch {
    planes: [PlaneScratch; 3],
    wide: Vec<f32>,
}

impl Letterbox {
    /// Prepares for pictures of a layout.
    ///
    /// # Errors
    /// For pictures without pixels, and for sides of more than 65,536 pixels.
    pub fn new(layout: PictureLayout, target: Size) -> Result<Self> {
        scalable(layout.size)?;
        let geometry = Geometry::new(layout.size, target);
        let plane = |index, channels, across, down| Plane::new(index, channels, geometry, across, down);
        let planes = match layout.format {
            PixelFormat::Yuv420 => vec![plane(0, 1, 1, 1), plane(1, 1, 2, 2), plane(2, 1, 2, 2)],
            PixelFormat::Yuv422 => vec![plane(0, 1, 1, 1), plane(1, 1, 2, 1), plane(2, 1, 2, 1)],
            PixelFormat::Yuv444 => vec![plane(0, 1, 1, 1), plane(1, 1, 1, 1), plane(2, 1, 1, 1)],
            PixelFormat::Nv12 => vec![plane(0, 1, 1, 1), plane(1, 2, 2, 2)],
            PixelFormat::Gray => vec![plane(0, 1, 1, 1)],
            PixelFormat::Rgb => vec![plane(0, 3, 1, 1)],
        };
        Ok(Letterbox {
            layout,
            geometry,
            planes,
            colours: Colours::new(layout.matrix, layout.range),
        })
    }

    /// What it was prepared for.
    pub fn layout(&self) -> PictureLayout {
        self.layout
    }

    /// Where pictures come to lie.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Fills the margins of a `[3, height, width]` tensor with grey.
    pub fn fill_margins<T: Sample>(&self, tensor: &mut [T]) {
        let Geometry {
            target,
            inner,
            left,
            top,
            ..
        } = self.geometry;
        let (width, height) = (target.width as usize, target.height as usize);
        let (left, right) = (left as usize, (left + inner.width) as usize);
        let (top, bottom) = (top as usize, (top + inner.height) as usize);
        let grey = T::of(GREY / 255.0);
        for plane in tensor.chunks_exact_mut(width * height) {
            plane[..top * width].fill(grey);
            plane[bottom * width..].fill(grey);
            for row in plane[top * width..bottom * width].chunks_exact_mut(width) {
                row[..left].fill(grey);
                row[right..].fill(grey);
            }
        }
    }

    /// Writes a picture into a `[3, height, width]` tensor of numbers from 0 to 1; the margins stay as they are.
    ///
    /// # Errors
    /// When the picture has another layout, or less memory than its layout needs.
    pub fn write<T: Sample>(&self, picture: &Picture, scratch: &mut LetterboxScratch, tensor: &mut [T]) -> Result<()> {
        let memory = picture.memory();
        memory.fetch()?;
        if picture.layout() != self.layout || !self.planes.iter().all(|plane| plane.fits(memory)) {
            let Size { width, height } = picture.layout().size;
            let format = picture.layout().format;
            return Err(OperatorError::new(format!(
                "a {format:?} picture of {width}x{height} has too few bytes"
            )));
        }
        let Geometry {
            target,
            inner,
            left,
            top,
            ..
        } = self.geometry;
        let (width, inner_width) = (target.width as usize, inner.width as usize);
        for (plane, scratch) in self.planes.iter().zip(&mut scratch.planes) {
            plane.begin(scratch);
        }
        scratch.wide.resize(3 * inner_width, 0.0);
        let (red, rest) = tensor.split_at_mut(width * target.height as usize);
        let (green, blue) = rest.split_at_mut(width * target.height as usize);
        for row in 0..inner.height as usize {
            for (plane, scratch) in self.planes.iter().zip(&mut scratch.planes) {
                plane.sample_row(row, memory.plane(plane.index), memory.stride(plane.index), scratch);
            }
            let first = (top as usize + row) * width + left as usize;
            let span = first..first + inner_width;
            let rows = [&mut red[span.clone()], &mut green[span.clone()], &mut blue[span]];
            let planes = &scratch.planes;
            T::rows(rows, &mut scratch.wide, |rows| match self.layout.format {
                PixelFormat::Rgb => {
                    for (row, samples) in rows.into_iter().zip(planes[0].sampled.chunks_exact(inner_width)) {
                        unit_row(samples, row);
                    }
                }
                PixelFormat::Gray => self.colours.grey_rows(&planes[0].sampled, rows),
                PixelFormat::Nv12 => {
                    let (u, v) = planes[1].sampled.split_at(inner_width);
                    self.colours.rows(&planes[0].sampled, u, v, rows);
                }
                PixelFormat::Yuv420 | PixelFormat::Yuv422 | PixelFormat::Yuv444 => {
                    self.colours
                        .rows(&planes[0].sampled, &planes[1].sampled, &planes[2].sampled, rows);
                }
            });
        }
        Ok(())
    }
}

/// Where each output sample lies between two input samples.
#[derive(Debug)]
struct Axis {
    /// The input sample before it, counted in numbers of a row.
    before: Vec<u32>,
    /// Its share of the input sample after that one.
    share: Vec<f32>,
}

impl Axis {
    /// `length` samples of the picture onto `outputs`; the plane has one sample for `subsampling` of the picture's,
    /// in their middle. `step` is the distance of neighbours in a row.
    ///
    /// H.264 puts chroma over the left of each pair unless the stream says otherwise, JPEG in the middle. The
    /// difference is a quarter of a pixel of colour, a layout does not carry it, and peers ignore it too.
    fn new(length: u32, outputs: u32, subsampling: u32, step: u32) -> Self {
        let scale = f64::from(length) / f64::from(outputs);
        let samples = length.div_ceil(subsampling);
        let place = |output: u32| {
            let at = ((f64::from(output) + 0.5) * scale - 0.5).clamp(0.0, f64::from(length - 1));
            let at = (at + 0.5) / f64::from(subsampling) - 0.5;
            at.clamp(0.0, f64::from(samples - 1))
        };
        Axis {
            before: (0..outputs).map(|output| place(output) as u32 * step).collect(),
            share: (0..outputs).map(|output| place(output).fract() as f32).collect(),
        }
    }
}

/// How one plane of the picture is sampled.
#[derive(Debug)]
struct Plane {
    index: usize,
    /// Interleaved samples.
    channels: usize,
    width: usize,
    height: usize,
    across: Axis,
    down: Axis,
    outputs: usize,
    /// A plane that shrinks is blended down before it is sampled across, one that grows the other way round:
    /// sampling across is the costly part, since it cannot be vectorised.
    shrinks: bool,
}

#[derive(Debug, Default)]
struct PlaneScratch {
    /// A row of the plane in floats, with a neighbour for its last sample.
    wide: Vec<f32>,
    /// Two rows of the plane sampled across, and which they are.
    across: [Vec<f32>; 2],
    held: [Option<usize>; 2],
    /// The row asked for, one channel behind the other.
    sampled: Vec<f32>,
}

impl Plane {
    fn new(index: usize, channels: u32, geometry: Geometry, across: u32, down: u32) -> Self {
        let Geometry { source, inner, .. } = geometry;
        Plane {
            index,
            channels: channels as usize,
            width: source.width.div_ceil(across) as usize,
            height: source.height.div_ceil(down) as usize,
            across: Axis::new(source.width, inner.width, across, channels),
            down: Axis::new(source.height, inner.height, down, 1),
            outputs: inner.width as usize,
            shrinks: source.height.div_ceil(down) > inner.height,
        }
    }

    fn fits(&self, memory: &dyn PictureMemory) -> bool {
        let (stride, row) = (memory.stride(self.index), self.width * self.channels);
        let needed = stride
            .checked_mul(self.height - 1)
            .and_then(|rows| rows.checked_add(row));
        stride >= row && needed.is_some_and(|needed| needed <= memory.plane(self.index).len())
    }

    fn begin(&self, scratch: &mut PlaneScratch) {
        scratch.wide.clear();
        scratch.wide.resize((self.width + 1) * self.channels, 0.0);
        scratch.held = [None, None];
        for row in scratch.across.iter_mut().chain([&mut scratch.sampled]) {
            row.clear();
            row.resize(self.outputs * self.channels, 0.0);
        }
    }

    fn sample_row(&self, output: usize, bytes: &[u8], stride: usize, scratch: &mut PlaneScratch) {
        let (upper, share) = (self.down.before[output] as usize, self.down.share[output]);
        let lower = (upper + 1).min(self.height - 1);
        let row = |line: usize| &bytes[line * stride..][..self.width * self.channels];
        if self.shrinks {
            for ((wide, above), below) in scratch.wide.iter_mut().zip(row(upper)).zip(row(lower)) {
                let (above, below) = (f32::from(*above), f32::from(*below));
                *wide = above + (below - above) * share;
            }
            self.sample_across(&mut scratch.wide, &mut scratch.sampled);
            return;
        }
        for line in [upper, lower] {
            // Rows are asked for from top to bottom, so the parity of a row tells which place it has.
            if scratch.held[line % 2] != Some(line) {
                for (wide, sample) in scratch.wide.iter_mut().zip(row(line)) {
                    *wide = f32::from(*sample);
                }
                self.sample_across(&mut scratch.wide, &mut scratch.across[line % 2]);
                scratch.held[line % 2] = Some(line);
            }
        }
        let (above, below) = (&scratch.across[upper % 2], &scratch.across[lower % 2]);
        for ((sampled, above), below) in scratch.sampled.iter_mut().zip(above).zip(below) {
            *sampled = above + (below - above) * share;
        }
    }

    fn sample_across(&self, wide: &mut [f32], sampled: &mut [f32]) {
        let last = (self.width - 1) * self.channels;
        wide.copy_within(last..last + self.channels, last + self.channels);
        for (channel, sampled) in sampled.chunks_exact_mut(self.outputs).enumerate() {
            let from = &wide[channel..];
            for ((sampled, before), share) in sampled.iter_mut().zip(&self.across.before).zip(&self.across.share) {
                let before = *before as usize;
                let (left, right) = (from[before], from[before + self.channels]);
                *sampled = left + (right - left) * share;
            }
        }
    }
}

/// Coefficients from YCbCr of 0 to 255 to RGB of 0 to 255: ITU-R BT.601-7 2.5, BT.709-6 3, BT.2020-2 table 4.
#[derive(Clone, Copy, Debug)]
struct Colours {
    black: f32,
    luma: f32,
    red_by_v: f32,
    green_by_u: f32,
    green_by_v: f32,
    blue_by_u: f32,
}

impl Colours {
    fn new(matrix: Matrix, range: Range) -> Self {
        let (red, blue) = match matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
        };
        let green = 1.0 - red - blue;
        let (black, luma, chroma) = match range {
            Range::Limited => (16.0, 255.0 / 219.0, 255.0 / 224.0),
            Range::Full => (0.0, 1.0, 1.0),
        };
        Colours {
            black,
            luma,
            red_by_v: 2.0 * (1.0 - red) * chroma,
            green_by_u: 2.0 * (1.0 - blue) * blue / green * chroma,
            green_by_v: 2.0 * (1.0 - red) * red / green * chroma,
            blue_by_u: 2.0 * (1.0 - blue) * chroma,
        }
    }

    fn rows(&self, y: &[f32], u: &[f32], v: &[f32], [red, green, blue]: [&mut [f32]; 3]) {
        let colours = *self;
        let samples = y.iter().zip(u).zip(v);
        let pixels = red.iter_mut().zip(green).zip(blue);
        for (((y, u), v), ((red, green), blue)) in samples.zip(pixels) {
            let (y, u, v) = ((y - colours.black) * colours.luma, u - 128.0, v - 128.0);
            *red = unit(y + colours.red_by_v * v);
            *green = unit(y - colours.green_by_u * u - colours.green_by_v * v);
            *blue = unit(y + colours.blue_by_u * u);
        }
    }

    fn grey_rows(&self, y: &[f32], [red, green, blue]: [&mut [f32]; 3]) {
        for (red, y) in red.iter_mut().zip(y) {
            *red = unit((y - self.black) * self.luma);
        }
        green.copy_from_slice(red);
        blue.copy_from_slice(red);
    }
}

fn unit_row(samples: &[f32], row: &mut [f32]) {
    for (row, sample) in row.iter_mut().zip(samples) {
        *row = unit(*sample);
    }
}

/// A level from 0 to 255 as the nearest of 256, over 255. Written so that it needs SSE2 only: `f32::clamp`
/// and `f32::round` are several times slower there.
fn unit(level: f32) -> f32 {
    // Adding 2^23 leaves no bits for a fraction.
    const WHOLE: f32 = 8_388_608.0;
    let level = if level > 0.0 { level } else { 0.0 };
    let level = if level < 255.0 { level } else { 255.0 };
    (level + WHOLE - WHOLE) * (1.0 / 255.0)
}
