//! The letters of KDL 2: which are spaces, which end lines, and what words may be.

use crate::diagnostic::{Diagnostic, code};
use crate::source::Span;

pub fn is_newline(letter: char) -> bool {
    matches!(
        letter,
        '\n' | '\r' | '\u{85}' | '\u{b}' | '\u{c}' | '\u{2028}' | '\u{2029}'
    )
}

pub fn is_space(letter: char) -> bool {
    matches!(
        letter,
        '\t' | ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

/// Letters that the KDL specification bans from documents: controls, and what turns the direction of writing.
pub fn is_banned(letter: char) -> bool {
    matches!(letter, '\0'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Whether a word is a number as KDL writes it.
fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix(['+', '-']).unwrap_or(word);
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find(|(prefix, _)| digits.starts_with(prefix));
    if let Some((prefix, radix)) = radix {
        return run_of(&digits[prefix.len()..], radix).is_some_and(str::is_empty);
    }
    let Some(mut rest) = run_of(digits, 10) else {
        return false;
    };
    if let Some(fraction) = rest.strip_prefix('.') {
        let Some(after) = run_of(fraction, 10) else {
            return false;
        };
        rest = after;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let Some(after) = run_of(exponent.strip_prefix(['+', '-']).unwrap_or(exponent), 10) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

/// What follows a digit and further digits or underscores.
fn run_of(text: &str, radix: u32) -> Option<&str> {
    text.chars().next().filter(|first| first.is_digit(radix))?;
    Some(text.trim_start_matches(|letter: char| letter.is_digit(radix) || letter == '_'))
}

/// Where a word stands: only a value may be a number or a keyword.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Name,
    Value,
}

/// Says what is wrong with a bare word, if something is.
pub fn check_word(word: &str, span: Span, place: Place) -> Option<Diagnostic> {
    let starts_number = {
        let digits = word.strip_prefix(['+', '-']).unwrap_or(word);
        digits
            .strip_prefix('.')
            .unwrap_or(digits)
            .starts_with(|letter: char| letter.is_ascii_digit())
    };
    let quote = || format!("quote it: {}", quoted(word));
    if word.starts_with('#') {
        let keyword = matches!(word, "#true" | "#false" | "#null" | "#inf" | "#-inf" | "#nan");
        return match place {
            Place::Value if keyword => None,
            Place::Value => Some(
                syntax(span, format!("`{word}` is no keyword"), "unknown keyword")
                    .help("keywords are #true, #false and #null; other words are written without #, or quoted"),
            ),
            Place::Name => Some(syntax(span, format!("`{word}` cannot be a name"), "not a name").help(quote())),
        };
    }
    if starts_number {
        return match place {
            Place::Value if is_number(word) => None,
            Place::Value => Some(
                Diagnostic::error(code::UNQUOTED, format!("`{word}` is neither a number nor a bare word"))
                    .label(span, "begins like a number")
                    .help(format!("quantities are quoted: {}", quoted(word))),
            ),
            Place::Name => {
                Some(syntax(span, format!("`{word}` cannot be a name"), "begins like a number").help(quote()))
            }
        };
    }
    if matches!(word, "true" | "false" | "null" | "inf" | "-inf" | "nan") {
        return Some(
            Diagnostic::error(code::KDL_1, format!("bare `{word}` is KDL 1"))
                .label(span, "a keyword of KDL 1")
                .help(format!(
                    "in KDL 2 it is written `#{word}`, and the word itself \"{word}\""
                )),
        );
    }
    let bad = word
        .chars()
        .find(|letter| matches!(letter, '\\' | '/' | '[' | ']' | '"' | '#'))?;
    Some(
        Diagnostic::error(code::UNQUOTED, format!("a bare word has no `{bad}`"))
            .label(span, "")
            .help(quote()),
    )
}

fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

pub fn syntax(span: Span, message: impl Into<String>, label: &str) -> Diagnostic {
    Diagnostic::error(code::SYNTAX, message).label(span, label)
}

/// The end of the quoted text that begins at `start`, or what is wrong with it.
pub fn end_of_quoted(text: &str, start: usize) -> Result<usize, Diagnostic> {
    let multiline = text[start..].starts_with("\"\"\"");
    let mut at = start + if multiline { 3 } else { 1 };
    while let Some(letter) = text[at..].chars().next() {
        if multiline && text[at..].starts_with("\"\"\"") {
            return block_of_lines(text, start + 3, at, true).map(|()| at + 3);
        }
        match letter {
            '"' if !multiline => return Ok(at + 1),
            '\\' => at = end_of_escape(text, at)?,
            newline if !multiline && is_newline(newline) => break,
            other => at += other.len_utf8(),
        }
    }
    let marks = if multiline { "\"\"\"" } else { "\"" };
    let help = if multiline {
        "close it with \"\"\" on a line of its own"
    } else {
        "text over several lines stands between \"\"\" and \"\"\""
    };
    Err(syntax(
        Span::new(start, start + marks.len()),
        "text without its closing quote",
        "opened here",
    )
    .help(help))
}

/// The text between triple quotes: it begins on the line after them, they close it on a line of their own, and what stands
/// before them there stands before all its lines. With `escapes` a backslash takes away the spaces and line ends behind it.
fn block_of_lines(text: &str, start: usize, end: usize, escapes: bool) -> Result<(), Diagnostic> {
    let inner = &text[start..end];
    let wrong = |span, message: &str, label: &str| {
        let help =
            "the text stands on lines of its own between \"\"\" and \"\"\", indented at least as far as the last";
        Err(syntax(span, message, label).help(help))
    };
    if !inner.starts_with(is_newline) {
        return wrong(
            Span::new(start - 3, start),
            "text behind \"\"\" begins on the next line",
            "no line end behind this",
        );
    }
    let lines = lines_of(inner, escapes);
    let indent = lines.last().map_or("", |(_, line)| line);
    let closing = Span::new(end, end + 3);
    if !indent.chars().all(is_space) {
        return wrong(
            closing,
            "closing \"\"\" stand on a line of their own",
            "text before this",
        );
    }
    let ragged = |line: &str| !line.starts_with(indent) && !line.chars().all(is_space);
    match lines.iter().find(|(_, line)| ragged(line)) {
        Some((at, _)) => wrong(
            Span::new(start + at, start + at),
            "a line begins before the \"\"\" that close the text",
            "this line",
        ),
        None => Ok(()),
    }
}

/// The lines of a text with what escapes take away taken away, and where each begins.
fn lines_of(inner: &str, escapes: bool) -> Vec<(usize, String)> {
    let mut lines = vec![(0, String::new())];
    let mut letters = inner.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if is_newline(letter) {
            let long = letter == '\r' && letters.next_if(|(_, next)| *next == '\n').is_some();
            lines.push((at + letter.len_utf8() + usize::from(long), String::new()));
            continue;
        }
        let line = &mut lines.last_mut().expect("there is a first").1;
        let taken = |letter: char| is_space(letter) || is_newline(letter);
        match letters.peek() {
            Some((_, next)) if escapes && letter == '\\' && taken(*next) => {
                while letters.next_if(|(_, next)| taken(*next)).is_some() {}
            }
            Some((_, next)) if escapes && letter == '\\' => {
                line.extend([letter, *next]);
                letters.next();
            }
            _ => line.push(letter),
        }
    }
    lines
}

fn end_of_escape(text: &str, at: usize) -> Result<usize, Diagnostic> {
    let rest = &text[at + 1..];
    let bad = |length: usize| {
        syntax(Span::new(at, at + length), "no such escape", "unknown escape")
            .help("escapes are \\n \\r \\t \\\\ \\\" \\b \\f \\s and \\u{1F600}; a backslash itself is \\\\")
    };
    match rest.chars().next() {
        Some('n' | 'r' | 't' | '\\' | '"' | 'b' | 'f' | 's') => Ok(at + 2),
        Some('u') => {
            let digits = rest[1..]
                .strip_prefix('{')
                .and_then(|inner| inner.split_once('}'))
                .map(|(digits, _)| digits);
            let digits = digits
                .filter(|digits| (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit()));
            let known = digits.filter(|digits| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).is_some());
            known.map(|digits| at + 4 + digits.len()).ok_or_else(|| bad(2))
        }
        Some(letter) if is_space(letter) || is_newline(letter) => {
            let skipped = rest
                .find(|letter: char| !is_space(letter) && !is_newline(letter))
                .unwrap_or(rest.len());
            Ok(at + 1 + skipped)
        }
        Some(letter) => Err(bad(1 + letter.len_utf8())),
        None => Err(bad(1)),
    }
}

/// The end of the raw text that begins at `start`; none when no raw text begins there.
pub fn end_of_raw(text: &str, start: usize) -> Option<Result<usize, Diagnostic>> {
    let rest = &text[start..];
    let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
    let quotes = if rest[hashes..].starts_with("\"\"\"") {
        "\"\"\""
    } else {
        "\""
    };
    if hashes == 0 || !rest[hashes..].starts_with('"') {
        return None;
    }
    let close = format!("{quotes}{}", "#".repeat(hashes));
    let inner = &rest[hashes + quotes.len()..];
    let line_end = if quotes.len() == 1 {
        inner.find(is_newline).unwrap_or(inner.len())
    } else {
        inner.len()
    };
    Some(match inner[..line_end].find(&close) {
        Some(found) if quotes.len() > 1 => {
            let start = start + hashes + quotes.len();
            block_of_lines(text, start, start + found, false).map(|()| start + found + close.len())
        }
        Some(found) => Ok(start + hashes + quotes.len() + found + close.len()),
        None => Err(syntax(
            Span::new(start, start + hashes + quotes.len()),
            "raw text without its closing quote",
            "opened here",
        )
        .help(format!("close it with {close}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What text over several lines may hold.
    const PIECES: [&str; 11] = ["\"\"\"", "\"", "\n", "\r\n", " ", "\\", "\\\\", "\\f", "x", "{", "#"];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn text_over_lines_is_what_the_parser_says_it_is(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..9)) {
            let text = format!("\"\"\"\n{}\"\"\"", pieces.concat());
            // What follows the text is others' business.
            let Ok(end) = end_of_quoted(&text, 0) else {
                let whole = kdl::KdlDocument::parse_v2(&format!("a {text}"));
                prop_assert!(whole.is_err(), "{:?}", text);
                return Ok(());
            };
            let parsed = kdl::KdlDocument::parse_v2(&format!("a {}", &text[..end]));
            prop_assert!(parsed.is_ok(), "{:?} in {:?}: {:?}", &text[..end], text, parsed);
        }
    }
}
