//! What stands above a box: a template, checked once and filled in for each box.

use flowrun_dsl::params::Template;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::names::Names;
use flowrun_engine::rows::{ClassId, TrackId};

/// Longer labels are cut: a class's name may come from a file, and a label must not cover the picture.
const LONGEST: usize = 40;

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Class,
    Track,
    Score,
}

/// A template in parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Label(Vec<Part>);

/// What a label tells of.
pub(super) struct Subject {
    pub class: ClassId,
    /// None for a detection.
    pub track: Option<TrackId>,
    pub score: f32,
}

impl Label {
    /// Reads a template.
    ///
    /// # Errors
    /// When it has a place that there is not, or a brace without its other.
    pub fn parse(template: &Template) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = template.0.as_str();
        while let Some(open) = rest.find(['{', '}']) {
            let (text, behind) = rest.split_at(open);
            if !text.is_empty() {
                parts.push(Part::Text(text.into()));
            }
            let field = behind.strip_prefix('{').and_then(|behind| behind.split_once('}'));
            let part = field.and_then(|(name, after)| {
                rest = after;
                Some(match name {
                    "class" => Part::Class,
                    "track" => Part::Track,
                    "score" => Part::Score,
                    _ => return None,
                })
            });
            let known = part.ok_or_else(|| {
                let cause = format!("the label `{}` has a place that cannot be filled in", template.0);
                OperatorError::new(cause).help("it may have {class}, {track} and {score}: label=\"{class} {track}\"")
            })?;
            parts.push(known);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Label(parts))
    }

    /// The label of a box; empty where the template is.
    pub fn of(&self, subject: &Subject, names: &Names) -> String {
        let mut label = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => label.push_str(text),
                Part::Class => label.push_str(&names.class(subject.class)),
                Part::Track => label.extend(subject.track.map(|track| track.0.to_string())),
                Part::Score => label.push_str(&format!("{:.2}", subject.score)),
            }
        }
        label.trim().chars().take(LONGEST).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(template: &str) -> Result<String> {
        let names = Names::default();
        let class = names.intern("car").unwrap();
        let subject = Subject {
            class,
            track: Some(TrackId(7)),
            score: 0.876,
        };
        Ok(Label::parse(&Template(template.into()))?.of(&subject, &names))
    }

    #[test]
    fn places_are_filled_in() {
        assert_eq!(label("{class} {track}").unwrap(), "car 7");
        assert_eq!(label("#{track}: {score}!").unwrap(), "#7: 0.88!");
        assert_eq!(label("").unwrap(), "");
    }

    #[test]
    fn a_place_that_there_is_not_is_refused() {
        for template in ["{colour}", "{class", "class}", "{}", "{class}{"] {
            assert!(label(template).unwrap_err().remedy.is_some(), "{template}");
        }
    }
}
