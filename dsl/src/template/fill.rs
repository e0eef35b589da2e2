//! Values in the places of `$parameter`.

use std::collections::BTreeMap;

use super::places::Places;
use super::text_of;
use crate::document::{Entry, Literal, Node, Property};
use crate::source::{Named, SourceFile, Span};

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    /// As it stands.
    Plain(&'t str),
    /// `$name` or `${name}`: the name.
    Param(&'t str),
}

/// The parts of a text. `$$` is a `$`, and so is one that no name follows.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let (mut pieces, mut plain, mut at) = (Vec::new(), 0, 0);
    while let Some(found) = text[at..].find('$').map(|found| at + found) {
        let rest = &text[found + 1..];
        let (name, length) = if rest.starts_with('$') {
            pieces.push(Piece::Plain(&text[plain..=found]));
            (plain, at) = (found + 2, found + 2);
            continue;
        } else if let Some((name, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            (name, name.len() + 2)
        } else {
            // A name has dashes within it, and what ends with one goes on with something else.
            let length = rest.find(|next| !letter(next)).unwrap_or(rest.len());
            let name = rest[..length].trim_end_matches('-');
            (name, name.len())
        };
        if name.is_empty() || !name.chars().all(letter) {
            at = found + 1;
            continue;
        }
        if plain < found {
            pieces.push(Piece::Plain(&text[plain..found]));
        }
        pieces.push(Piece::Param(name));
        (plain, at) = (found + 1 + length, found + 1 + length);
    }
    if plain < text.len() {
        pieces.push(Piece::Plain(&text[plain..]));
    }
    pieces
}

/// A value.
struct Filler {
    entry: Entry,
    /// As it stands inside other text.
    text: String,
    /// Whether it is the template's default.
    by_default: bool,
}

/// The values of a template's parameters in one use.
#[derive(Default)]
pub struct Values {
    values: BTreeMap<String, Filler>,
}

impl Values {
    /// Takes one.
    pub fn insert(&mut self, name: &str, entry: &Entry, source: &SourceFile, by_default: bool) {
        let filler = Filler {
            entry: entry.clone(),
            text: text_of(entry, source),
            by_default,
        };
        self.values.insert(name.to_owned(), filler);
    }

    /// A line with the values in it; `moved` says where its places lie in this use.
    pub fn fill(&self, line: &Node, moved: &impl Fn(Span) -> Span, places: &mut Places) -> Node {
        let name = |name: &Named| Named::new(name.value.clone(), moved(name.span));
        let mut entry = |entry: &Entry| self.entry(entry, moved(entry.span), places);
        let args = line.args.iter().map(&mut entry).collect();
        let props = line.props.iter().map(|property| Property {
            name: name(&property.name),
            entry: entry(&property.entry),
        });
        Node {
            name: name(&line.name),
            args,
            props: props.collect(),
            span: moved(line.span),
            children: line
                .children
                .iter()
                .map(|child| self.fill(child, moved, places))
                .collect(),
        }
    }

    fn entry(&self, entry: &Entry, span: Span, places: &mut Places) -> Entry {
        let text = match &entry.value {
            Literal::Text(text) if text.contains('$') => text,
            _ => return Entry { span, ..entry.clone() },
        };
        let pieces = pieces(text);
        let value = |name: &str| self.values.get(name);
        // A number stays a number, and `env.NAME` a name, where nothing stands beside it.
        if let ([Piece::Param(name)], true) = (pieces.as_slice(), entry.bare)
            && let Some(Filler { entry, by_default, .. }) = value(name)
        {
            places.taken(span, entry.span, *by_default);
            return Entry { span, ..entry.clone() };
        }
        let mut filled = String::new();
        for piece in pieces {
            match piece {
                Piece::Plain(text) => filled.push_str(text),
                Piece::Param(name) => match value(name) {
                    Some(filler) => {
                        places.held(span, filler.entry.span);
                        filled.push_str(&filler.text);
                    }
                    None => filled.push_str(name),
                },
            }
        }
        Entry {
            value: Literal::Text(filled),
            span,
            bare: entry.bare,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fall_into_what_stands_and_what_is_filled_in() {
        use Piece::{Param, Plain};
        assert_eq!(pieces("$a"), [Param("a")]);
        assert_eq!(
            pieces("/live/$a-b/${c}d/{camera}"),
            [
                Plain("/live/"),
                Param("a-b"),
                Plain("/"),
                Param("c"),
                Plain("d/{camera}")
            ]
        );
        assert_eq!(pieces("$a-$b"), [Param("a"), Plain("-"), Param("b")]);
        assert_eq!(pieces("$$a$"), [Plain("$"), Plain("a$")]);
        assert_eq!(pieces("5 $ or ${ or ${} or $é"), [Plain("5 $ or ${ or ${} or $é")]);
        assert_eq!(pieces(""), []);
    }
}
