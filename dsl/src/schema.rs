//! Columns of rows: what expressions may name and what sinks write.

use std::sync::Arc;

use serde::Serialize;

use crate::port::RowKind;

pub use flowrun_derive::Row;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnType {
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// Text or a name.
    Text,
    /// A point in event time, nanoseconds since the Unix epoch.
    Time,
    /// A span of time, nanoseconds.
    Duration,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Column {
    /// As expressions and JSON name it.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: ColumnType,
}

/// The columns of a kind of row, beside those that every row has ([`common_columns`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Schema {
    /// The row type's name.
    pub name: String,
    /// In the order in which they are written.
    pub columns: Vec<Column>,
}

/// One value of a row.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Cell {
    /// No value.
    Null,
    /// A flag.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(Arc<str>),
    /// Nanoseconds since the Unix epoch.
    Time(i64),
    /// Nanoseconds.
    Duration(i64),
}

fn columns(list: &[(&str, ColumnType)]) -> Vec<Column> {
    list.iter()
        .map(|(name, ty)| Column {
            name: (*name).into(),
            ty: *ty,
        })
        .collect()
}

/// Columns that every row has: where and when.
pub fn common_columns() -> Vec<Column> {
    columns(&[
        ("camera", ColumnType::Text),
        ("frame", ColumnType::Int),
        ("time", ColumnType::Time),
    ])
}

/// The columns of a kind of row after the common ones; none for packets and frames.
pub fn columns_of(rows: &RowKind) -> Vec<Column> {
    use ColumnType::{Duration, Float, Int, Text, Time};
    const BOX: [(&str, ColumnType); 4] = [("x1", Float), ("y1", Float), ("x2", Float), ("y2", Float)];
    match rows {
        RowKind::Packet | RowKind::Frame => Vec::new(),
        RowKind::Detection => columns(&[[("class", Text), ("score", Float)].as_slice(), &BOX].concat()),
        RowKind::Track => columns(&[[("track", Int), ("class", Text), ("score", Float)].as_slice(), &BOX].concat()),
        RowKind::Visit => columns(&[
            ("track", Int),
            ("class", Text),
            ("zone", Text),
            ("phase", Text),
            ("entered", Time),
            ("dwell", Duration),
        ]),
        RowKind::Crossing => columns(&[
            ("track", Int),
            ("class", Text),
            ("line", Text),
            ("direction", Text),
            ("x", Float),
            ("y", Float),
        ]),
        RowKind::Table(schema) => schema.columns.clone(),
        RowKind::Error => columns(&[("node", Text), ("cause", Text)]),
    }
}

/// A researcher's own row type. Implemented by `#[derive(Row)]`.
pub trait Row: Sized + Clone + Send + Sync + 'static {
    /// Its columns.
    fn schema() -> Schema;
    /// Its values, in the order of the schema.
    fn to_cells(&self) -> Vec<Cell>;
    /// Reads it back; none when the cells are not of this schema.
    fn from_cells(cells: &[Cell]) -> Option<Self>;
}

/// A field type of a row struct.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a column",
    note = "use a number, bool, String or std::time::Duration"
)]
pub trait CellValue: Sized {
    /// The column's type.
    const TYPE: ColumnType;
    /// As a cell.
    fn to_cell(&self) -> Cell;
    /// From a cell of that type.
    fn from_cell(cell: &Cell) -> Option<Self>;
}

macro_rules! cells {
    ($($ty:ty, $column:ident, $self:ident => $to:expr, $pattern:pat => $from:expr;)*) => { $(
        impl CellValue for $ty {
            const TYPE: ColumnType = ColumnType::$column;
            fn to_cell(&$self) -> Cell { $to }
            fn from_cell(cell: &Cell) -> Option<Self> { match cell { $pattern => $from, _ => None } }
        }
    )* };
}
cells! {
    bool, Bool, self => Cell::Bool(*self), Cell::Bool(flag) => Some(*flag);
    i64, Int, self => Cell::Int(*self), Cell::Int(number) => Some(*number);
    u64, Int, self => Cell::Int(i64::try_from(*self).unwrap_or(i64::MAX)), Cell::Int(number) => u64::try_from(*number).ok();
    u32, Int, self => Cell::Int(i64::from(*self)), Cell::Int(number) => u32::try_from(*number).ok();
    f64, Float, self => Cell::Float(*self), Cell::Float(number) => Some(*number);
    f32, Float, self => Cell::Float(f64::from(*self)), Cell::Float(number) => Some(*number as f32);
    String, Text, self => Cell::Text(self.as_str().into()), Cell::Text(text) => Some(text.to_string());
    std::time::Duration, Duration, self => Cell::Duration(i64::try_from(self.as_nanos()).unwrap_or(i64::MAX)), Cell::Duration(nanos) => u64::try_from(*nanos).ok().map(Self::from_nanos);
}
