//! Values with their units, as they stand in a graph and as operators receive them.
//!
//! KDL 2 cannot write `10s` or `4M` bare, so quantities are quoted text that this module parses.
//! A [`Value`] is canonical: two texts that mean the same (`"1s"`, `"1000ms"`) give equal values,
//! which is what fingerprints and `plan --diff` compare.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// A checked parameter value.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Value {
    /// `#true` or `#false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text, a choice, a name, a template or a path: the parameter's type says which.
    Text(String),
    /// A span of time.
    Duration(Duration),
    /// Bits per second.
    Bitrate(u64),
    /// A count of bytes.
    Bytes(u64),
    /// The name of an environment variable that holds a secret. The secret itself is never a value.
    Secret(String),
    /// Several values of one type.
    List(Vec<Value>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "#{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Text(value) => write!(f, "{value}"),
            Value::Duration(value) => f.write_str(&format_duration(*value)),
            Value::Bitrate(value) => write!(f, "{}", format_scaled(*value)),
            Value::Bytes(value) => write!(f, "{}B", value),
            Value::Secret(name) => write!(f, "env.{name}"),
            Value::List(values) => {
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    write!(f, "{value}")?;
                }
                Ok(())
            }
        }
    }
}

/// Numbers and flags stay what they are in JSON; everything with a unit is written as text with it.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::List(values) => serializer.collect_seq(values),
            other => serializer.collect_str(other),
        }
    }
}

/// The text form of a duration that [`parse_duration`] reads back to the same value.
pub fn format_duration(value: Duration) -> String {
    let nanos = value.as_nanos();
    const UNITS: [(u128, &str); 6] = [
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    if nanos == 0 {
        return "0s".into();
    }
    let (scale, unit) = UNITS
        .iter()
        .find(|(scale, _)| nanos.is_multiple_of(*scale))
        .expect("every count of nanoseconds is a multiple of one");
    format!("{}{unit}", nanos / scale)
}

fn format_scaled(value: u64) -> String {
    match value {
        v if v > 0 && v.is_multiple_of(1_000_000) => format!("{}M", v / 1_000_000),
        v if v > 0 && v.is_multiple_of(1_000) => format!("{}k", v / 1_000),
        v => v.to_string(),
    }
}

/// Splits `"1.5s"` into its number and unit.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let number = text[..end].parse::<f64>().ok()?;
    Some((number, text[end..].trim()))
}

/// Reads `"800ms"`, `"5s"`, `"1.5m"`, `"2h"`, `"1d"`.
///
/// # Errors
/// Says what was expected, for a text that is no number with a unit of time.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("`{text}` is no duration: write a number and a unit, as in \"800ms\", \"5s\", \"1m\", \"2h\"");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let scale = match unit {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3_600e9,
        "d" => 86_400e9,
        _ => return Err(wrong()),
    };
    let nanos = number * scale;
    // Ten years: beyond any window, and far inside what i64 nanoseconds hold.
    if nanos > 315_360_000e9 {
        return Err(format!("`{text}` is longer than ten years"));
    }
    Ok(Duration::from_nanos(nanos.round() as u64))
}

/// Reads `"4M"`, `"800k"`, `"2.5M"` as bits per second.
///
/// # Errors
/// Says what was expected.
pub fn parse_bitrate(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no bitrate: write bits per second, as in \"800k\" or \"4M\"");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let scale = match unit.trim_end_matches("bps") {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        _ => return Err(wrong()),
    };
    Ok((number * scale).round() as u64)
}

/// Reads `"512MiB"`, `"2GB"`, `"64KiB"`.
///
/// # Errors
/// Says what was expected.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size: write a number and a unit, as in \"64MiB\" or \"2GB\"");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let scale = match unit {
        "" | "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    Ok((number * scale).round() as u64)
}

/// Reads `"2026-03-01T08:30:00Z"`, with an optional fraction and `Z` or an offset, as nanoseconds since the Unix epoch.
///
/// # Errors
/// Says what was expected.
pub fn parse_time(text: &str) -> Result<i64, String> {
    read_time(text.trim()).ok_or_else(|| format!("`{text}` is no time: write \"2026-03-01T08:30:00Z\""))
}

fn read_time(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut parts = date.split('-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (clock, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) if rest[at..].eq_ignore_ascii_case("z") => (&rest[..at], 0),
        Some(at) => {
            let (hours, minutes) = rest[at + 1..].split_once(':')?;
            let seconds = digits(hours)? * 3_600 + digits(minutes)? * 60;
            (
                &rest[..at],
                if rest[at..].starts_with('-') { -seconds } else { seconds },
            )
        }
        None => return None,
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut units = clock.split(':').map(digits);
    let (hour, minute, second) = (units.next()??, units.next()??, units.next()??);
    let known = (1970..=2261).contains(&year) && (1..=12).contains(&month) && day >= 1 && day <= days_in(year, month);
    if !known || parts.next().is_some() || units.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let nanos = digits(&format!("{:0<9}", fraction.get(..9).unwrap_or(fraction)))?;
    let years = (1970..year)
        .map(|year| if is_leap(year) { 366 } else { 365 })
        .sum::<i64>();
    let months = (1..month).map(|month| days_in(year, month)).sum::<i64>();
    let seconds = (years + months + day - 1) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn digits(text: &str) -> Option<i64> {
    let plain = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_nanoseconds_since_the_epoch() {
        assert_eq!(parse_time("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(parse_time("2024-02-29T12:00:00.5+01:00"), Ok(1_709_204_400_500_000_000));
        for text in [
            "",
            "2024",
            "2023-02-29T00:00:00Z",
            "2024-01-01T00:00:00",
            "9999-01-01T00:00:00Z",
            "1970-01-01T00:00:00+é:00",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn equal_quantities_are_equal_values() {
        assert_eq!(parse_duration("1s"), parse_duration("1000ms"));
        assert_eq!(parse_bitrate("4M"), parse_bitrate("4000k"));
        assert_eq!(parse_bytes("1KiB"), Ok(1024));
    }

    #[test]
    fn durations_print_as_they_read() {
        for text in ["800ms", "5s", "90s", "2h", "1ns", "0s"] {
            let value = parse_duration(text).expect("valid");
            assert_eq!(parse_duration(&format_duration(value)), Ok(value));
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_remedy() {
        for text in ["", "s", "5", "5 parsecs", "-1s", "1e999s", "99999999d", "NaNs"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
