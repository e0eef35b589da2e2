//! One value against its parameter's type and range.

use crate::diagnostic::{Diagnostic, code};
use crate::document::{Entry, Literal};
use crate::params::{ParamSpec, ParamType, parse_text, user_info};
use crate::suggest;
use crate::value::{Value, format_duration};

/// Reads a property or argument as a value of `spec`.
pub fn read(spec: &ParamSpec, entry: &Entry) -> Result<Value, Diagnostic> {
    let value = match (&spec.ty, &entry.value) {
        (ParamType::List(_), Literal::Text(text)) => {
            refuse_environment(spec, entry)?;
            parse_text(&spec.ty, text).map_err(|cause| wrong(spec, entry, cause))?
        }
        (ParamType::List(item), _) => Value::List(vec![scalar(spec, item, entry)?]),
        (ty, _) => scalar(spec, ty, entry)?,
    };
    in_range(spec, &value, entry)?;
    Ok(value)
}

/// Reads the arguments of a child node as a value of `spec`.
pub fn read_arguments(spec: &ParamSpec, entries: &[Entry]) -> Result<Value, Diagnostic> {
    match (&spec.ty, entries) {
        (ParamType::List(item), [_, _, ..]) => {
            let values = entries.iter().map(|entry| {
                let value = scalar(spec, item, entry)?;
                in_range(spec, &value, entry)?;
                Ok(value)
            });
            Ok(Value::List(values.collect::<Result<_, Diagnostic>>()?))
        }
        (_, [single]) => read(spec, single),
        (ParamType::List(_), []) => Ok(Value::List(Vec::new())),
        (_, [.., last]) => {
            let message = format!("`{}` takes one value, not {}", spec.name, entries.len());
            Err(Diagnostic::error(code::EXTRA_ARGUMENT, message).label(last.span, "one too many"))
        }
        (_, []) => unreachable!("callers report a child node without a value"),
    }
}

fn wrong(spec: &ParamSpec, entry: &Entry, cause: String) -> Diagnostic {
    Diagnostic::error(code::WRONG_TYPE, format!("`{}`: {cause}", spec.name))
        .label(entry.span, format!("should be {}", noun(&spec.ty)))
}

/// How messages call a type.
pub fn noun(ty: &ParamType) -> String {
    match ty {
        ParamType::Bool => "#true or #false".into(),
        ParamType::Int => "a whole number".into(),
        ParamType::Float => "a number".into(),
        ParamType::Text => "text".into(),
        ParamType::Choice(choices) => format!("one of {}", choices.join(", ")),
        ParamType::Duration => "a duration".into(),
        ParamType::Bitrate => "a bitrate".into(),
        ParamType::Bytes => "a size".into(),
        ParamType::Path => "a path".into(),
        ParamType::Template => "a template".into(),
        ParamType::Url => "a URL".into(),
        ParamType::Secret => "env.NAME".into(),
        ParamType::Ref(kind) => format!("the name of a {}", format!("{kind:?}").to_lowercase()),
        ParamType::List(item) => format!("a list, each {}", noun(item)),
    }
}

/// `env.NAME` without quotes outside of a secret.
fn refuse_environment(spec: &ParamSpec, entry: &Entry) -> Result<(), Diagnostic> {
    let Some(text) = entry.text().filter(|text| entry.bare && text.starts_with("env.")) else {
        return Ok(());
    };
    Err(Diagnostic::error(
        code::SECRET,
        format!("`{}` is no secret, so `{text}` would be taken literally", spec.name),
    )
    .label(entry.span, "from the environment")
    .help("only secrets come from the environment; a text that begins so is quoted"))
}

fn scalar(spec: &ParamSpec, ty: &ParamType, entry: &Entry) -> Result<Value, Diagnostic> {
    let mismatch = |help: Option<String>| {
        let message = format!("`{}` should be {}, not {}", spec.name, noun(ty), entry.value.describe());
        Err(Diagnostic::error(code::WRONG_TYPE, message)
            .label(entry.span, format!("should be {}", noun(ty)))
            .maybe_help(help))
    };
    let unit = |example: &str| Some(format!("quantities carry their unit, in quotes: \"{example}\""));
    match (ty, &entry.value) {
        (ParamType::Float, Literal::Float(number)) if !number.is_finite() => {
            let message = format!("`{}` should be finite", spec.name);
            Err(Diagnostic::error(code::WRONG_TYPE, message).label(entry.span, "not a finite number"))
        }
        (ParamType::Secret, Literal::Text(text)) => match text.strip_prefix("env.") {
            Some(name) if is_variable(name) => Ok(Value::Secret(name.into())),
            _ => Err(Diagnostic::error(
                code::SECRET,
                format!("`{}` is a secret and stands in the graph", spec.name),
            )
            .label(entry.span, "readable by everyone who reads the file")
            .help("write env.NAME, and set that environment variable")),
        },
        (ParamType::Url, Literal::Text(text)) if user_info(text).is_some() => Err(Diagnostic::error(
            code::SECRET,
            format!("the URL of `{}` holds a user name or a password", spec.name),
        )
        .label(entry.span, "readable by everyone who reads the file")
        .help("leave out what stands before the `@`, and write user=env.NAME password=env.NAME; set those environment variables")),
        (ParamType::Bool, Literal::Bool(flag)) => Ok(Value::Bool(*flag)),
        (ParamType::Bool, Literal::Text(text)) if text == "true" || text == "false" => {
            mismatch(Some(format!("write #{text}")))
        }
        (ParamType::Int, Literal::Int(number)) => Ok(Value::Int(*number)),
        (ParamType::Float, Literal::Int(number)) => Ok(Value::Float(*number as f64)),
        (ParamType::Float, Literal::Float(number)) => Ok(Value::Float(*number)),
        (ParamType::Choice(choices), Literal::Text(text)) => {
            if choices.contains(text) {
                return Ok(Value::Text(text.clone()));
            }
            let help = match suggest::nearest(text, choices.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`? The choices: {}", choices.join(", ")),
                None => format!("the choices: {}", choices.join(", ")),
            };
            Err(Diagnostic::error(
                code::UNKNOWN_CHOICE,
                format!("`{text}` is no choice for `{}`", spec.name),
            )
            .label(entry.span, "unknown")
            .help(help))
        }
        (ParamType::Int | ParamType::Float | ParamType::Bool, Literal::Text(text)) => {
            let number = text.parse::<f64>().is_ok();
            mismatch(number.then(|| format!("write {text} without quotes")))
        }
        (ParamType::Duration, Literal::Int(number)) => mismatch(unit(&format!("{number}s\" or \"{number}ms"))),
        (ParamType::Duration, Literal::Float(number)) => mismatch(unit(&format!("{number}s\" or \"{number}ms"))),
        (ParamType::Bitrate, Literal::Int(_) | Literal::Float(_)) => mismatch(unit("4M")),
        (ParamType::Bytes, Literal::Int(_) | Literal::Float(_)) => mismatch(unit("64MiB")),
        (ty, Literal::Text(text)) => {
            refuse_environment(spec, entry)?;
            parse_text(ty, text).map_err(|cause| wrong(spec, entry, cause))
        }
        (ParamType::Text | ParamType::Template | ParamType::Path, Literal::Int(_) | Literal::Float(_)) => {
            mismatch(Some("put it in quotes".into()))
        }
        _ => mismatch(None),
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// Ranges hold for each value of a list; those of durations are in seconds.
fn in_range(spec: &ParamSpec, value: &Value, entry: &Entry) -> Result<(), Diagnostic> {
    let number = match value {
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        Value::Duration(span) => span.as_secs_f64(),
        Value::Bitrate(count) | Value::Bytes(count) => *count as f64,
        Value::List(values) => return values.iter().try_for_each(|value| in_range(spec, value, entry)),
        _ => return Ok(()),
    };
    let too_small = spec.min.is_some_and(|min| number < min);
    if !too_small && !spec.max.is_some_and(|max| number > max) {
        return Ok(());
    }
    let bound = |bound: f64| match value {
        Value::Duration(_) => format_duration(std::time::Duration::from_secs_f64(bound.max(0.0))),
        _ => bound.to_string(),
    };
    let range = match (spec.min, spec.max) {
        (Some(min), Some(max)) => format!("from {} to {}", bound(min), bound(max)),
        (Some(min), None) => format!("at least {}", bound(min)),
        (_, max) => format!("at most {}", max.map(bound).unwrap_or_default()),
    };
    Err(
        Diagnostic::error(code::OUT_OF_RANGE, format!("`{}` is {range}, not {value}", spec.name))
            .label(entry.span, if too_small { "too small" } else { "too large" }),
    )
}
