//! Colours that tell things apart, the same for the same thing over a whole run, as samples of any picture.

use flowrun_engine::frame::{Matrix, PictureLayout, Range};

/// Red, green and blue, 0 to 1.
pub(super) type Rgb = [f32; 3];

pub(super) const BLACK: Rgb = [0.0; 3];
pub(super) const WHITE: Rgb = [1.0; 3];

/// A colour as the samples of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Samples {
    pub y: u8,
    pub u: u8,
    pub v: u8,
}

/// The colour with this number: neighbours are far apart on the wheel, and none is dark or pale.
pub(super) fn colour_of(number: u64) -> Rgb {
    // The golden ratio spreads any run of numbers evenly; the product wraps, so that its upper bits are the fraction.
    let turn = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let hue = turn as f32 / (1 << 24) as f32 * 6.0;
    let part = |shift: f32| {
        let at = (hue + shift).rem_euclid(6.0);
        ((at - 3.0).abs() - 1.0).clamp(0.0, 1.0)
    };
    // Saturation 0.85 at full value.
    [part(0.0), part(4.0), part(2.0)].map(|part| 0.15 + 0.85 * part)
}

/// Weights of red and blue in luma: ITU-R BT.601, BT.709 and BT.2020.
pub(super) fn weights(matrix: Matrix) -> (f32, f32) {
    match matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
        Matrix::Bt2020 => (0.2627, 0.0593),
    }
}

impl Samples {
    /// A colour on pictures of this layout.
    pub fn of([r, g, b]: Rgb, layout: &PictureLayout) -> Self {
        let (red, blue) = weights(layout.matrix);
        let y = red * r + (1.0 - red - blue) * g + blue * b;
        let (u, v) = ((b - y) / (2.0 * (1.0 - blue)), (r - y) / (2.0 * (1.0 - red)));
        let (foot, luma, chroma) = match layout.range {
            Range::Limited => (16.0, 219.0, 224.0),
            Range::Full => (0.0, 255.0, 255.0),
        };
        // The conversion saturates.
        let sample = |value: f32| value.round() as u8;
        Samples {
            y: sample(foot + luma * y),
            u: sample(128.0 + chroma * u),
            v: sample(128.0 + chroma * v),
        }
    }

    /// Black or white, whichever is easier to read on this.
    pub fn readable(self, layout: &PictureLayout) -> u8 {
        let (black, white) = (Samples::of(BLACK, layout).y, Samples::of(WHITE, layout).y);
        if self.y > 110 { black } else { white }
    }
}

#[cfg(test)]
mod tests {
    use flowrun_engine::frame::PixelFormat;
    use flowrun_engine::rows::Size;

    use super::*;

    fn layout(matrix: Matrix, range: Range) -> PictureLayout {
        PictureLayout {
            size: Size { width: 2, height: 2 },
            format: PixelFormat::Yuv420,
            matrix,
            range,
        }
    }

    #[test]
    fn primaries_are_those_of_the_standards() {
        let samples = |rgb, matrix, range| {
            let Samples { y, u, v } = Samples::of(rgb, &layout(matrix, range));
            [y, u, v]
        };
        assert_eq!(samples(WHITE, Matrix::Bt601, Range::Limited), [235, 128, 128]);
        assert_eq!(samples([1.0, 0.0, 0.0], Matrix::Bt601, Range::Limited), [81, 90, 240]);
        assert_eq!(samples([1.0, 0.0, 0.0], Matrix::Bt709, Range::Limited), [63, 102, 240]);
        assert_eq!(samples([0.0, 0.0, 1.0], Matrix::Bt601, Range::Full), [29, 255, 107]);
    }

    #[test]
    fn neighbours_are_told_apart() {
        let far = |a: Rgb, b: Rgb| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        for number in 0..1_000 {
            for next in 1..4 {
                assert!(
                    far(colour_of(number), colour_of(number + next)) > 0.3,
                    "{number} {next}"
                );
            }
        }
    }
}
