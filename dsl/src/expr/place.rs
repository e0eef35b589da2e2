//! From a position in an expression to the place in the graph's text.

use sqlparser::tokenizer::{Location, Span as SqlSpan};

use crate::document::Entry;
use crate::source::{SourceFile, Span};

/// An expression's text with its place in the graph.
#[derive(Clone, Debug)]
pub struct Quoted<'a> {
    text: &'a str,
    whole: Span,
    /// Where the text's first byte stands; none when escapes or indentation make the two differ.
    start: Option<usize>,
}

impl<'a> Quoted<'a> {
    /// The text of an entry.
    pub fn of(source: &SourceFile, entry: &'a Entry) -> Option<Self> {
        let text = entry.text()?;
        let written = source.slice(entry.span);
        let opening = written.len() - written.trim_start_matches(['#', '"']).len();
        let start = entry.span.start + opening;
        let same = source.slice(Span::new(start, start + text.len())) == text;
        Some(Quoted {
            text,
            whole: entry.span,
            start: same.then_some(start),
        })
    }

    /// A text that stands alone.
    pub fn alone(text: &'a str) -> Self {
        Quoted {
            text,
            whole: Span::new(0, text.len()),
            start: Some(0),
        }
    }

    /// The text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The whole of it.
    pub fn whole(&self) -> Span {
        self.whole
    }

    /// A part of it, as the SQL parser counts: lines and characters from one.
    pub(super) fn part(&self, part: SqlSpan) -> Span {
        let ends = self.start.zip(self.offset(part.start)).zip(self.offset(part.end));
        match ends {
            Some(((start, from), to)) if from < to => Span::new(start + from, start + to),
            Some(((start, from), _)) => Span::new(start + from, (start + from + 1).min(self.whole.end)),
            None => self.whole,
        }
    }

    /// The letter at a location, or the last one.
    pub(super) fn at(&self, location: Option<Location>) -> Span {
        let end = self.text.char_indices().last().map_or(0, |(at, _)| at);
        match (self.start, location.map_or(Some(end), |location| self.offset(location))) {
            (Some(start), Some(at)) => Span::new(start + at.min(end), (start + at.min(end) + 1).min(self.whole.end)),
            _ => self.whole,
        }
    }

    fn offset(&self, location: Location) -> Option<usize> {
        let (line, column) = (location.line.checked_sub(1)?, location.column.checked_sub(1)?);
        let mut start = 0;
        for _ in 0..line {
            start += self.text[start..].find('\n')? + 1;
        }
        let line = &self.text[start..];
        Some(
            start
                + line
                    .char_indices()
                    .nth(column as usize)
                    .map_or(line.len(), |(at, _)| at),
        )
    }
}
