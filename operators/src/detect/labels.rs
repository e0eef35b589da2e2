//! Names of a model's classes: from its own metadata, or from an Ultralytics `data.yaml`.
//!
//! Both are files from outside. They are read without recursion and into bounded memory: aliases of a
//! YAML file cannot multiply, because nothing but a flat list of short names is ever built.

use std::fmt;
use std::io::Read;
use std::path::Path;

use flowrun_engine::errors::{OperatorError, Result};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A class is 16 bits in a row.
const MOST_NAMES: usize = 65_536;
/// Longer than any name a person would read.
const LONGEST_NAME: usize = 256;
/// The largest known `data.yaml` (Objects365, with its download script) has 10 KB.
const LARGEST_FILE: u64 = 1 << 20;

/// Reads the Python expression that Ultralytics writes into a model's metadata: `{0: 'person', 1: 'bicycle'}`,
/// or a list of names.
///
/// # Errors
/// Says where it stops being one, or which number has no name.
pub fn from_metadata(text: &str) -> Result<Vec<String>, String> {
    let mut parser = Python { text, at: 0 };
    let names = match parser.next_sign() {
        Some('{') => parser.items('}', |parser| {
            let number = parser.number()?;
            parser.expect(':')?;
            Ok((Some(number), parser.name()?))
        })?,
        Some('[') => parser.items(']', |parser| Ok((None, parser.name()?)))?,
        _ => return Err(parser.unexpected("`{` or `[`")),
    };
    match parser.next_sign() {
        None => in_order(names),
        Some(_) => Err(parser.unexpected("the end")),
    }
}

/// Reads `names` of an Ultralytics `data.yaml`: a list, or a map from numbers to names.
///
/// # Errors
/// When the file cannot be read, is larger than 1 MiB, is no YAML, or has no usable `names`.
pub fn from_yaml_file(path: &Path) -> Result<Vec<String>> {
    let shown = path.display();
    let failed = |cause: String| {
        OperatorError::new(format!("labels `{shown}`: {cause}"))
            .help("give an Ultralytics data.yaml, with lines such as `names:` and `  0: person`")
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(LARGEST_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(failed("is larger than 1 MiB".into()));
    }
    from_yaml(&text).map_err(failed)
}

fn from_yaml(text: &str) -> Result<Vec<String>, String> {
    #[derive(serde::Deserialize)]
    struct DataYaml {
        names: Names,
    }
    let data: DataYaml = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    in_order(data.names.0)
}

/// At most this many known names that a mistyped one may have meant, the nearest first.
pub fn near<'a>(wrong: &str, known: &'a [String]) -> Vec<&'a str> {
    let wrong = wrong.to_lowercase();
    let mut near: Vec<_> = known
        .iter()
        .map(|name| (distance(&wrong, &name.to_lowercase()), name.as_str()))
        .filter(|(distance, name)| *distance <= 1 + wrong.chars().count() / 3 || name.to_lowercase().contains(&wrong))
        .collect();
    near.sort();
    near.truncate(3);
    near.into_iter().map(|(_, name)| name).collect()
}

/// Levenshtein's distance: insertions, deletions and replacements of letters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

/// Names with their numbers where those were written: every number from 0 must have exactly one.
fn in_order(mut names: Vec<(Option<usize>, String)>) -> Result<Vec<String>, String> {
    names.sort_by_key(|(number, _)| *number);
    for (place, (number, _)) in names.iter().enumerate() {
        if number.is_some_and(|number| number != place) {
            return Err(format!("class {place} has no name, or a number has two"));
        }
    }
    Ok(names.into_iter().map(|(_, name)| name).collect())
}

fn fitting_name(name: &str) -> Result<(), String> {
    if name.len() > LONGEST_NAME {
        return Err(format!("a name is longer than {LONGEST_NAME} bytes"));
    }
    Ok(())
}

fn fitting_count(count: usize) -> Result<(), String> {
    if count > MOST_NAMES {
        return Err(format!("there are more than {MOST_NAMES} names"));
    }
    Ok(())
}

struct Python<'a> {
    text: &'a str,
    at: usize,
}

impl Python<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }
    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }
    fn take(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }
    /// The next character that is no blank, not taken.
    fn next_sign(&mut self) -> Option<char> {
        self.at += self.rest().len() - self.rest().trim_start().len();
        self.peek()
    }
    fn unexpected(&self, wanted: &str) -> String {
        match self.peek() {
            Some(found) => format!(
                "expected {wanted} at byte {}, found `{}`",
                self.at,
                found.escape_default()
            ),
            None => format!("expected {wanted}, found the end"),
        }
    }
    fn expect(&mut self, sign: char) -> Result<(), String> {
        if self.next_sign() != Some(sign) {
            return Err(self.unexpected(&format!("`{sign}`")));
        }
        self.take();
        Ok(())
    }

    /// What stands between an opening bracket, which is next, and `close`; a comma may follow the last item.
    fn items<T>(&mut self, close: char, item: impl Fn(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        self.take();
        let mut items = Vec::new();
        loop {
            if self.next_sign() == Some(close) {
                break;
            }
            items.push(item(self)?);
            fitting_count(items.len())?;
            match self.next_sign() {
                Some(',') => drop(self.take()),
                Some(sign) if sign == close => break,
                _ => return Err(self.unexpected(&format!("`,` or `{close}`"))),
            }
        }
        self.take();
        Ok(items)
    }

    /// A class's number: bare, or in quotes as JSON has it.
    fn number(&mut self) -> Result<usize, String> {
        let quote = self.next_sign().filter(|sign| matches!(sign, '\'' | '"'));
        if quote.is_some() {
            self.take();
        }
        let digits: String = self.rest().chars().take(6).take_while(char::is_ascii_digit).collect();
        let number = digits.parse().map_err(|_| self.unexpected("a class's number"))?;
        self.at += digits.len();
        match quote {
            Some(quote) => self.expect(quote).map(|()| number),
            None => Ok(number),
        }
    }

    fn name(&mut self) -> Result<String, String> {
        let quote = match self.next_sign() {
            Some(quote @ ('\'' | '"')) => quote,
            _ => return Err(self.unexpected("a name in quotes")),
        };
        self.take();
        let mut name = String::new();
        loop {
            match self.take().ok_or("a name has no closing quote")? {
                sign if sign == quote => return Ok(name),
                '\\' => name.push(self.escape()?),
                sign => name.push(sign),
            }
            fitting_name(&name)?;
        }
    }

    /// What `repr` of a Python string writes after a backslash.
    fn escape(&mut self) -> Result<char, String> {
        let digits = match self.take() {
            Some('n') => return Ok('\n'),
            Some('t') => return Ok('\t'),
            Some('r') => return Ok('\r'),
            Some(sign @ ('\\' | '\'' | '"')) => return Ok(sign),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => return Err("a name has an unknown escape".into()),
        };
        let code = self
            .rest()
            .get(..digits)
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let letter = code.and_then(char::from_u32).ok_or("a name has a wrong escape")?;
        self.at += digits;
        Ok(letter)
    }
}

/// A flat list or map of names; anything nested in it is an error before it is built.
struct Names(Vec<(Option<usize>, String)>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Names;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of names, or a map from numbers to names")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(Name(name)) = items.next_element()? {
                    names.push((None, name));
                    fitting_count(names.len()).map_err(Error::custom)?;
                }
                Ok(Names(names))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((number, Name(name))) = items.next_entry::<usize, Name>()? {
                    names.push((Some(number), name));
                    fitting_count(names.len()).map_err(Error::custom)?;
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

/// A name that YAML may have taken for a number or a flag: `- 0`, `- no`.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
                fitting_name(name).map_err(E::custom)?;
                Ok(Name(name.to_owned()))
            }
            fn visit_bool<E: Error>(self, name: bool) -> Result<Name, E> {
                Ok(Name(name.to_string()))
            }
            fn visit_i64<E: Error>(self, name: i64) -> Result<Name, E> {
                Ok(Name(name.to_string()))
            }
            fn visit_u64<E: Error>(self, name: u64) -> Result<Name, E> {
                Ok(Name(name.to_string()))
            }
            fn visit_f64<E: Error>(self, name: f64) -> Result<Name, E> {
                Ok(Name(name.to_string()))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn python_dicts_and_lists_are_read() {
        for text in [
            "{0: 'person', 1: \"driver's car\"}",
            " { 1 : \"driver's car\" , 0:'person', } ",
            r#"{"0": "person", "1": "driver\x27s car"}"#,
            r"['person', 'driver\'s c\u0061r']",
        ] {
            assert_eq!(from_metadata(text).unwrap(), ["person", "driver's car"], "{text}");
        }
        assert_eq!(from_metadata("{}").unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_dict_of_names_is_refused() {
        for text in [
            "",
            "{",
            "{0}",
            "{0:}",
            "{0: 'a'",
            "{0: 'a'} x",
            "{0: 'a', 0: 'b'}",
            "{1: 'a'}",
            "{0: 'a', 2: 'b'}",
            "[0]",
            "{-1: 'a'}",
            "{99999999999: 'a'}",
            "['a\\",
            "['\\u12",
            "['\\ud800']",
            "['\\xé']",
            "{0: {0: 'a'}}",
        ] {
            assert!(from_metadata(text).is_err(), "{text}");
        }
        assert!(from_metadata(&format!("['{}']", "x".repeat(300))).is_err());
        assert!(from_metadata(&format!("[{}]", "'x',".repeat(MOST_NAMES + 1))).is_err());
    }

    #[test]
    fn data_yaml_is_read() {
        let list = "path: x\nnames: [person, no, 3]\nnc: 3\n";
        let map = "train: [a, b]\nnames:\n  0: person\n  2: 3\n  1: false\ndownload: |\n  import x\n";
        for text in [list, map] {
            let names = from_yaml(text).unwrap();
            assert_eq!(
                (names[0].as_str(), names[2].as_str(), names.len()),
                ("person", "3", 3),
                "{text}"
            );
        }
        for text in [
            "",
            "names: person",
            "names: {a: b}",
            "names: [[a]]",
            "names: {0: {1: a}}",
            "nc: 3",
            "names: {1: a}",
            "[",
        ] {
            assert!(from_yaml(text).is_err(), "{text}");
        }
    }

    #[test]
    fn aliases_do_not_multiply() {
        let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
        for level in b'b'..=b'z' {
            let (name, inner) = (level as char, (level - 1) as char);
            bomb += &format!("{name}: &{name} [{}]\n", vec![format!("*{inner}"); 10].join(", "));
        }
        assert!(from_yaml(&(bomb + "names: *z\n")).is_err());
        let long = format!(
            "a: &a {}\nnames: [{}]\n",
            "x".repeat(LONGEST_NAME + 1),
            vec!["*a"; 1000].join(", ")
        );
        assert!(from_yaml(&long).is_err());
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.yaml");
        std::fs::write(&path, format!("names: [a]\n{}", "#".repeat(LARGEST_FILE as usize))).unwrap();
        assert!(from_yaml_file(&path).unwrap_err().cause.contains("larger"));
        assert!(from_yaml_file(folder.path()).is_err());
    }

    #[test]
    fn near_names_are_found() {
        let known = ["person", "car", "motorcycle", "truck", "traffic light"].map(String::from);
        assert_eq!(near("motorcicle", &known), ["motorcycle"]);
        assert_eq!(near("Persn", &known), ["person"]);
        assert_eq!(near("light", &known), ["traffic light"]);
        assert!(near("zebra crossing", &known).is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "[{\\[]?([ {}\\[\\]'\",:0-9a-zé\\\\&*!|>\n-]{0,60})") {
            let _ = from_metadata(&text);
            let _ = from_yaml(&text);
            let _ = from_yaml(&format!("names: {text}"));
        }
        #[test]
        fn what_python_would_write_is_read_back(names in proptest::collection::vec("[ -~é]{0,20}", 0..8)) {
            let quoted = |name: &String| format!("'{}'", name.replace('\\', "\\\\").replace('\'', "\\'"));
            let items: Vec<_> = names.iter().enumerate().map(|(number, name)| format!("{number}: {}", quoted(name))).collect();
            prop_assert_eq!(from_metadata(&format!("{{{}}}", items.join(", "))).unwrap(), names);
        }
    }
}
