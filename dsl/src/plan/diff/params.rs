//! Parameters compared key by key; what a difference means stands in the schema.

use std::collections::BTreeSet;

use super::{Action, Verdict};
use crate::params::{Change, ParamValues, ParamsSchema};
use crate::value::Value;

/// Longer values are not shown: a list of a thousand names explains nothing.
const SHOWN_AT_MOST: usize = 80;

/// What an edit of a parameter asks for. One that no schema knows is treated as the careful case.
fn action_of(schema: Option<&ParamsSchema>, name: &str) -> Action {
    match schema.and_then(|schema| schema.get(name)).map(|spec| spec.change) {
        Some(Change::Live) => Action::Live,
        Some(Change::Kept) | None => Action::Rebuilt,
        Some(Change::Reset) => Action::Reset,
    }
}

/// The names under which two sets of values differ.
pub fn differing<'v>(old: &'v ParamValues, new: &'v ParamValues) -> BTreeSet<&'v str> {
    let names = old.keys().chain(new.keys()).map(String::as_str);
    names.filter(|name| old.get(*name) != new.get(*name)).collect()
}

/// Notes every difference between two sets of values; `place` says for whom they hold, and may be empty.
pub fn compare(
    verdict: &mut Verdict,
    schema: Option<&ParamsSchema>,
    old: &ParamValues,
    new: &ParamValues,
    place: &str,
) {
    for name in differing(old, new) {
        verdict.note(
            action_of(schema, name),
            sentence(name, old.get(name), new.get(name), place),
        );
    }
}

/// "`min-score` is now 0.4, was 0.25".
pub fn sentence(name: &str, old: Option<&Value>, new: Option<&Value>, place: &str) -> String {
    let text = |value: &Value| match value.to_string() {
        text if text.chars().count() > SHOWN_AT_MOST => None,
        text if text.is_empty() => Some("empty".to_owned()),
        text => Some(text),
    };
    match (old, new) {
        (None, Some(new)) => match text(new) {
            Some(new) => format!("`{name}`{place} is now {new}"),
            None => format!("`{name}`{place} is given now"),
        },
        (Some(old), None) => match text(old) {
            Some(old) => format!("`{name}`{place} is no longer given, was {old}"),
            None => format!("`{name}`{place} is no longer given"),
        },
        (Some(old), Some(new)) => match (text(old), text(new)) {
            (Some(old), Some(new)) => format!("`{name}`{place} is now {new}, was {old}"),
            _ => format!("`{name}`{place} changed"),
        },
        (None, None) => format!("`{name}`{place} is as it was"),
    }
}
