//! `like`: one walk with one place to come back to, so no pattern takes more than its length times the text's.

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Letter(char),
    AnyLetter,
    AnyText,
}

/// Whether the text has the form of the pattern.
pub fn matches(pattern: &str, text: &str, ignore_case: bool) -> bool {
    let fold = |text: &str| {
        if ignore_case {
            text.to_lowercase()
        } else {
            text.to_owned()
        }
    };
    let (pattern, text) = (parts(&fold(pattern)), fold(text).chars().collect::<Vec<_>>());
    let (mut at, mut place) = (0, 0);
    // After the last `%`: the place behind it, and how much text it has taken.
    let mut back: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(place) {
            Some(Part::AnyText) => {
                place += 1;
                back = Some((place, at));
            }
            Some(Part::AnyLetter) => (at, place) = (at + 1, place + 1),
            Some(Part::Letter(letter)) if *letter == text[at] => (at, place) = (at + 1, place + 1),
            _ => match back {
                Some((behind, taken)) => {
                    (at, place) = (taken + 1, behind);
                    back = Some((behind, taken + 1));
                }
                None => return false,
            },
        }
    }
    pattern[place..].iter().all(|part| *part == Part::AnyText)
}

fn parts(pattern: &str) -> Vec<Part> {
    let mut letters = pattern.chars();
    let mut parts = Vec::new();
    while let Some(letter) = letters.next() {
        parts.push(match letter {
            '%' => Part::AnyText,
            '_' => Part::AnyLetter,
            '\\' => Part::Letter(letters.next().unwrap_or('\\')),
            other => Part::Letter(other),
        });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_sql() {
        for (pattern, text) in [
            ("b%", "box"),
            ("%x", "box"),
            ("b_x", "box"),
            ("%", ""),
            ("%o%o%", "foo-bo"),
            ("50\\%", "50%"),
        ] {
            assert!(matches(pattern, text, false), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("b", "box"),
            ("_", ""),
            ("BOX", "box"),
            ("%a%b%c", "aabbcd"),
            ("50\\%", "500"),
        ] {
            assert!(!matches(pattern, text, false), "{pattern} {text}");
        }
        assert!(matches("BO%", "box", true));
        assert!(!matches(&"%a".repeat(500), &"a".repeat(499), false));
    }
}
