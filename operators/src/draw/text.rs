//! Letters of eight by eight pixels, as large as the picture asks for.

use font8x8::{BASIC_FONTS, LATIN_FONTS, UnicodeFonts};

/// Pixels of a letter across and down, at scale one.
pub(super) const LETTER: i32 = 8;

/// A letter's rows, the leftmost pixel in the lowest bit; a box for one that the font has not.
pub(super) fn letter(of: char) -> [u8; LETTER as usize] {
    let known = BASIC_FONTS.get(of).or_else(|| LATIN_FONTS.get(of));
    known.unwrap_or([0, 0x7e, 0x42, 0x42, 0x42, 0x42, 0x7e, 0])
}
