//! Picture sizes as people write them.

use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::rows::Size;

/// The largest side of a picture: more than any camera has, and a picture of it still fits in memory.
pub const MAX_SIDE: u32 = 16_384;

/// Reads `"1280x720"`.
///
/// # Errors
/// When the text is no such size, or a side is 0 or above [`MAX_SIDE`].
pub fn parse_size(text: &str) -> Result<Size> {
    let side = |part: &str| part.parse().ok().filter(|side| (1..=MAX_SIDE).contains(side));
    text.split_once('x')
        .and_then(|(width, height)| {
            Some(Size {
                width: side(width)?,
                height: side(height)?,
            })
        })
        .ok_or_else(|| {
            OperatorError::new(format!("`{text}` is no size")).help(format!(
                "write width and height in pixels, 1 to {MAX_SIDE}, as in size=\"1280x720\""
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_two_numbers() {
        assert_eq!(
            parse_size("1280x720").unwrap(),
            Size {
                width: 1280,
                height: 720
            }
        );
        for text in [
            "",
            "x",
            "1280",
            "0x1",
            "1280x",
            "-1x2",
            "1x2x3",
            "99999x2",
            "1280 x 720",
            "1280×720",
        ] {
            assert!(parse_size(text).unwrap_err().remedy.is_some(), "{text}");
        }
    }
}
