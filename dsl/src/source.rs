//! The text of a graph, and places in it.
//!
//! Everything that the language says about a graph points into its text, so a span is carried from
//! the first token to the last check. What cannot be a graph at all (too large, not UTF-8) is
//! refused here, before anything walks it.

use serde::Serialize;

use crate::diagnostic::{Diagnostic, code};

/// The largest graph that is read. Five thousand cameras take less than a third of it.
pub const MAX_BYTES: usize = 1 << 20;

/// A range of bytes in a [`SourceFile`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// From `start` to before `end`.
    pub fn new(start: usize, end: usize) -> Self {
        Span {
            start,
            end: end.max(start),
        }
    }

    /// How many bytes.
    pub fn len(self) -> usize {
        self.end - self.start
    }

    /// Whether it covers nothing.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Span {
        Span {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}

/// Something with its place in the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spanned<T> {
    /// The thing.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Puts a place to a thing.
    pub fn new(value: T, span: Span) -> Self {
        Spanned { value, span }
    }
}

/// A name as it stands in the text.
pub type Named = Spanned<String>;

/// Line and column as editors count them: from one, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// The text of a graph and its name.
#[derive(Clone, Debug)]
pub struct SourceFile {
    name: String,
    text: String,
    /// The offset of each line's first byte.
    lines: Vec<usize>,
}

impl SourceFile {
    /// Takes a file's content.
    ///
    /// # Errors
    /// When it is larger than [`MAX_BYTES`] or not UTF-8.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Result<Self, Diagnostic> {
        let (name, bytes) = (name.into(), bytes.into());
        if bytes.len() > MAX_BYTES {
            let message = format!("`{name}` has more than {MAX_BYTES} bytes, the most that a graph may have");
            return Err(Diagnostic::error(code::FILE_TOO_LARGE, message).help("is this the graph, or a video?"));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Diagnostic::error(
                code::NOT_UTF8,
                format!("`{name}` is not UTF-8: byte {at} begins no character"),
            )
            .help("save the graph as UTF-8 text")
        })?;
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Ok(SourceFile { name, text, lines })
    }

    /// How messages call the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same file with stars where these spans are, for showing it without what they hold.
    #[must_use]
    pub fn blotted(&self, spans: impl IntoIterator<Item = Span>) -> SourceFile {
        let mut file = self.clone();
        for span in spans {
            let stars: String = self
                .slice(span)
                .bytes()
                .map(|byte| if byte == b'\n' { '\n' } else { '*' })
                .collect();
            if stars.len() == span.len() {
                file.text.replace_range(span.start..span.end, &stars);
            }
        }
        file
    }

    /// The text of a span; empty where it lies outside.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or("")
    }

    /// The line and column of a byte.
    pub fn position(&self, offset: usize) -> Position {
        let line = self.lines.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.lines[line];
        let column = self.text[start..]
            .char_indices()
            .take_while(|(at, _)| start + at < offset)
            .count()
            + 1;
        Position { line: line + 1, column }
    }

    /// A line by its number from one, without its end; empty where there is none.
    pub fn line(&self, number: usize) -> &str {
        let Some(start) = number.checked_sub(1).and_then(|index| self.lines.get(index)) else {
            return "";
        };
        self.text[*start..].lines().next().unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = SourceFile::new("a.kdl", "näm e\n  b\n").expect("a graph");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(3), Position { line: 1, column: 3 });
        assert_eq!(source.position(9), Position { line: 2, column: 3 });
        assert_eq!(source.position(1000), Position { line: 3, column: 1 });
        assert_eq!((source.line(2), source.line(0), source.line(9)), ("  b", "", ""));
    }

    #[test]
    fn what_is_no_text_is_refused_with_one_diagnostic() {
        let refused = SourceFile::new("video.mp4", vec![b' '; 100_000_000]).expect_err("too large");
        assert_eq!(refused.code, code::FILE_TOO_LARGE);
        let refused = SourceFile::new("a.kdl", vec![b'a', 0xff]).expect_err("not UTF-8");
        assert_eq!(refused.message, "`a.kdl` is not UTF-8: byte 1 begins no character");
    }
}
