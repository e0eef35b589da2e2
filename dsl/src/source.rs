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

    /// The same bytes, so many further on.
    pub(crate) fn shifted(self, by: usize) -> Span {
        Span {
            start: self.start + by,
            end: self.end + by,
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

/// The text of a graph and its name, with the files that it includes behind it: a span says of itself in which it lies.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// All texts, each behind the end of a line.
    text: String,
    /// The offset of each line's first byte.
    lines: Vec<usize>,
    /// The graph's own file, then the included ones.
    parts: Vec<Part>,
    /// Which part stands in the place of an `include` node.
    includes: Vec<(Span, usize)>,
}

/// One file of a graph.
#[derive(Clone, Debug)]
struct Part {
    name: String,
    /// Its bytes among all.
    span: Span,
}

/// One file of a graph as a place in it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartText<'a> {
    /// How messages call it.
    pub name: &'a str,
    /// All of it.
    pub text: &'a str,
    /// Where it begins among all texts: spans less this are places in it.
    pub start: usize,
}

impl SourceFile {
    /// Takes a file's content.
    ///
    /// # Errors
    /// When it is larger than [`MAX_BYTES`] or not UTF-8.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Result<Self, Diagnostic> {
        let mut file = SourceFile {
            text: String::new(),
            lines: Vec::new(),
            parts: Vec::new(),
            includes: Vec::new(),
        };
        file.append(name.into(), bytes.into())?;
        Ok(file)
    }

    /// Adds an included file behind the others, in the place of the node at `place`.
    pub(crate) fn include(&mut self, place: Span, name: String, bytes: Vec<u8>) -> Result<usize, Diagnostic> {
        let part = self.append(name, bytes)?;
        self.includes.push((place, part));
        Ok(part)
    }

    fn append(&mut self, name: String, bytes: Vec<u8>) -> Result<usize, Diagnostic> {
        if self.text.len() + bytes.len() > MAX_BYTES {
            let all = if self.parts.is_empty() {
                ""
            } else {
                " with all that it includes"
            };
            let message = format!("`{name}` has more than {MAX_BYTES} bytes, the most that a graph{all} may have");
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
        if !self.parts.is_empty() {
            self.text.push('\n');
        }
        let start = self.text.len();
        let ends = text.match_indices('\n').map(|(at, _)| start + at + 1);
        self.lines.extend(std::iter::once(start).chain(ends));
        self.text.push_str(&text);
        self.parts.push(Part {
            name,
            span: Span::new(start, start + text.len()),
        });
        Ok(self.parts.len() - 1)
    }

    /// How messages call the graph's own file.
    pub fn name(&self) -> &str {
        &self.parts[0].name
    }

    /// How messages call the included files; one that is included twice is named twice.
    pub fn included_names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().skip(1).map(|part| part.name.as_str())
    }

    /// All of it, included files behind.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The file in which a byte lies.
    pub fn part_at(&self, offset: usize) -> PartText<'_> {
        let index = self.parts.partition_point(|part| part.span.start <= offset);
        self.part(index.saturating_sub(1))
    }

    fn part(&self, index: usize) -> PartText<'_> {
        let Part { name, span } = &self.parts[index];
        PartText {
            name,
            text: self.slice(*span),
            start: span.start,
        }
    }

    /// A part as a file of its own, and how far its places lie before those in the whole.
    pub(crate) fn alone(&self, index: usize) -> (SourceFile, usize) {
        let PartText { name, text, start } = self.part(index);
        let file = SourceFile::new(name, text.as_bytes()).expect("it was taken as a part of this size and in UTF-8");
        (file, start)
    }

    /// Writes a copy of a piece of text behind all files, and says where it begins. It belongs to no file: who copies
    /// maps places in it back before they are shown.
    pub(crate) fn copy(&mut self, span: Span) -> usize {
        self.text.push('\n');
        let start = self.text.len();
        let copy = self.slice(span).to_owned();
        self.text.push_str(&copy);
        start
    }

    /// The part that stands in the place of an `include` node.
    pub(crate) fn included(&self, place: Span) -> Option<usize> {
        self.includes.iter().find(|(at, _)| *at == place).map(|(_, part)| *part)
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

    /// The line and column of a byte in its file.
    pub fn position(&self, offset: usize) -> Position {
        let part = self.part_at(offset).start;
        let before = self.lines.partition_point(|start| *start < part);
        let line = self.lines.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.lines[line];
        let column = self.text[start..]
            .char_indices()
            .take_while(|(at, _)| start + at < offset)
            .count()
            + 1;
        Position {
            line: line + 1 - before,
            column,
        }
    }

    /// The line in which a byte lies, without its end.
    pub fn line_at(&self, offset: usize) -> &str {
        let line = self.lines.partition_point(|start| *start <= offset).saturating_sub(1);
        self.text[self.lines[line]..].lines().next().unwrap_or("")
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
        assert_eq!(
            (source.line_at(7), source.line_at(0), source.line_at(99)),
            ("  b", "näm e", "")
        );
    }

    #[test]
    fn places_in_included_files_are_their_own() {
        let mut source = SourceFile::new("a.kdl", "a\nb").expect("a graph");
        let part = source
            .include(Span::new(0, 1), "c.kdl".into(), b"c\n d".to_vec())
            .expect("a graph");
        let at = source.text().find('d').expect("it is there");
        assert_eq!(source.position(at), Position { line: 2, column: 2 });
        assert_eq!(
            (source.part_at(at).name, source.part_at(2).name, source.line_at(at)),
            ("c.kdl", "a.kdl", " d")
        );
        assert_eq!(
            (source.included(Span::new(0, 1)), source.included(Span::new(2, 3))),
            (Some(part), None)
        );
        assert_eq!((source.alone(part).0.text(), source.name()), ("c\n d", "a.kdl"));
    }

    #[test]
    fn what_is_no_text_is_refused_with_one_diagnostic() {
        let refused = SourceFile::new("video.mp4", vec![b' '; 100_000_000]).expect_err("too large");
        assert_eq!(refused.code, code::FILE_TOO_LARGE);
        let refused = SourceFile::new("a.kdl", vec![b'a', 0xff]).expect_err("not UTF-8");
        assert_eq!(refused.message, "`a.kdl` is not UTF-8: byte 1 begins no character");
    }
}
