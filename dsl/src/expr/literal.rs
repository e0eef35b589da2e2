//! Constants: their JSON form, and text that becomes a time or a duration.

use std::time::Duration;

use serde::ser::{SerializeMap, Serializer};

use crate::schema::{Cell, ColumnType};
use crate::value;

/// `null`, or the type's name with the value; times and durations in nanoseconds.
pub fn serialize<S: Serializer>(cell: &Cell, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = match cell {
        Cell::Null => return serializer.serialize_unit(),
        _ => serializer.serialize_map(Some(1))?,
    };
    match cell {
        Cell::Null => {}
        Cell::Bool(flag) => map.serialize_entry("bool", flag)?,
        Cell::Int(number) => map.serialize_entry("int", number)?,
        Cell::Float(number) => map.serialize_entry("float", number)?,
        Cell::Text(text) => map.serialize_entry("text", &**text)?,
        Cell::Time(nanos) => map.serialize_entry("time", nanos)?,
        Cell::Duration(nanos) => map.serialize_entry("duration", nanos)?,
    }
    map.end()
}

/// As it is written: `"1m"`.
pub fn serialize_duration<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value::format_duration(*span))
}

/// A text as the type that stands opposite to it.
pub fn typed(text: &str, ty: ColumnType) -> Result<Cell, String> {
    match ty {
        ColumnType::Duration => {
            let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
            let nanos = value::parse_duration(text)?.as_nanos();
            Ok(Cell::Duration(
                sign * i64::try_from(nanos).expect("a duration is shorter than ten years"),
            ))
        }
        ColumnType::Time => value::parse_time(text).map(Cell::Time),
        _ => Ok(Cell::Text(text.into())),
    }
}
