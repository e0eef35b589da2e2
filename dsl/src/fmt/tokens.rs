//! The text in pieces, nothing of it left out but spaces.
//!
//! The text is known to be well formed, so there is nothing to check.

use crate::document::lexical::{end_of_quoted, end_of_raw, is_newline, is_space};

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The end of a line.
    Newline,
    /// `// ...`
    LineComment,
    /// `/* ... */`
    BlockComment,
    /// `/-`
    Slashdash,
    /// `\` and what stands behind it on the line: the node goes on below.
    Continue,
    /// `{`
    Open,
    /// `}`
    Close,
    /// `;`
    Semicolon,
    /// `(`
    TypeOpen,
    /// `)`
    TypeClose,
    /// `=`
    Equals,
    /// A name or value, quoted or bare.
    Word,
}

/// A piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    pub kind: Kind,
    /// As it is written; of a continued line what stands behind the `\`.
    pub text: &'t str,
    /// Spaces before it on its line; one where there are tabs among them.
    pub gap: usize,
}

/// All pieces in order.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = if text.starts_with('\u{feff}') { 3 } else { 0 };
    loop {
        let spaces = text[at..].find(|letter| !is_space(letter)).unwrap_or(text.len() - at);
        let space = &text[at..at + spaces];
        let gap = if space.contains('\t') { 1 } else { space.chars().count() };
        at += spaces;
        if at == text.len() {
            return tokens;
        }
        let (kind, length) = piece(text, at);
        let mut written = &text[at..at + length];
        if kind == Kind::Continue {
            written = written[1..].trim_matches(|letter| is_space(letter) || is_newline(letter));
        } else if kind == Kind::LineComment {
            written = written.trim_end_matches(is_space);
        }
        tokens.push(Token {
            kind,
            text: written,
            gap,
        });
        at += length;
    }
}

/// The kind and length of what begins at a place.
fn piece(text: &str, at: usize) -> (Kind, usize) {
    let rest = &text[at..];
    let line = || rest.find(is_newline).unwrap_or(rest.len());
    let first = rest.chars().next().unwrap_or_default();
    match first {
        '{' => (Kind::Open, 1),
        '}' => (Kind::Close, 1),
        '(' => (Kind::TypeOpen, 1),
        ')' => (Kind::TypeClose, 1),
        '=' => (Kind::Equals, 1),
        ';' => (Kind::Semicolon, 1),
        '\r' if rest.starts_with("\r\n") => (Kind::Newline, 2),
        newline if is_newline(newline) => (Kind::Newline, newline.len_utf8()),
        '/' if rest.starts_with("//") => (Kind::LineComment, line()),
        '/' if rest.starts_with("/*") => (Kind::BlockComment, end_of_comment(rest)),
        '/' if rest.starts_with("/-") => (Kind::Slashdash, 2),
        '\\' => (Kind::Continue, end_of_continued(rest)),
        '"' => (Kind::Word, end_of_quoted(text, at).map_or(rest.len(), |end| end - at)),
        _ => match end_of_raw(text, at) {
            Some(end) => (Kind::Word, end.map_or(rest.len(), |end| end - at)),
            None => (Kind::Word, end_of_word(rest)),
        },
    }
}

fn end_of_word(rest: &str) -> usize {
    let ends = |letter: char| is_space(letter) || is_newline(letter) || "={}();\"/\\".contains(letter);
    let letters = rest.char_indices().skip(1);
    letters
        .into_iter()
        .find(|(_, letter)| ends(*letter))
        .map_or(rest.len(), |(at, _)| at)
}

/// Comments may stand inside one another.
fn end_of_comment(rest: &str) -> usize {
    let (mut at, mut open) = (0, 0usize);
    let bytes = rest.as_bytes();
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (open, at) = (open + 1, at + 2),
            [b'*', b'/', ..] => (open, at) = (open.saturating_sub(1), at + 2),
            _ => at += 1,
        }
        if open == 0 {
            return at;
        }
    }
    rest.len()
}

/// From a `\` past the end of its line, with the comments between.
fn end_of_continued(rest: &str) -> usize {
    let mut at = 1;
    while let Some(letter) = rest[at..].chars().next() {
        if rest[at..].starts_with("/*") {
            at += end_of_comment(&rest[at..]);
        } else if rest[at..].starts_with("//") {
            at += rest[at..].find(is_newline).unwrap_or(rest.len() - at);
        } else if rest[at..].starts_with("\r\n") {
            return at + 2;
        } else if is_newline(letter) {
            return at + letter.len_utf8();
        } else {
            at += letter.len_utf8();
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_spaces_is_left_out() {
        let text = "a  b=\"x y\" #\"r\"# /-(t)c /* d /* e */ */ { f; } \\ // on\n  g\t// h \n";
        let pieces: Vec<(Kind, &str, usize)> = tokens(text)
            .into_iter()
            .map(|token| (token.kind, token.text, token.gap))
            .collect();
        use Kind::*;
        assert_eq!(
            pieces,
            [
                (Word, "a", 0),
                (Word, "b", 2),
                (Equals, "=", 0),
                (Word, "\"x y\"", 0),
                (Word, "#\"r\"#", 1),
                (Slashdash, "/-", 1),
                (TypeOpen, "(", 0),
                (Word, "t", 0),
                (TypeClose, ")", 0),
                (Word, "c", 0),
                (BlockComment, "/* d /* e */ */", 1),
                (Open, "{", 1),
                (Word, "f", 1),
                (Semicolon, ";", 0),
                (Close, "}", 1),
                (Continue, "// on", 1),
                (Word, "g", 2),
                (LineComment, "// h", 1),
                (Newline, "\n", 0),
            ]
        );
    }
}
