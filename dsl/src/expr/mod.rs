//! Expressions and queries.
//!
//! The text of an expression is SQL; what it means is ours. The `sqlparser` crate reads it, [`parse`]
//! lets through a closed list of its nodes and types them with units, and what remains is an [`Expr`]
//! whose evaluation cannot fail: what has no value is NULL.

mod aggregate;
mod eval;
mod like;
mod literal;
mod parse;
mod place;
mod print;
mod typed;

use std::time::Duration;

use serde::Serialize;

use crate::port::RowKind;
use crate::schema::{Cell, Column, ColumnType, Schema, columns_of, common_columns};

pub use aggregate::parse_aggregate;
pub use parse::parse_filter;
pub use place::Quoted;

/// A compiled `query` block.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryPlan {
    /// Rows that do not satisfy it are left out.
    pub filter: Option<Expr>,
    /// How event time is cut.
    pub window: WindowPlan,
    /// What counts apart.
    pub group_by: Vec<Column>,
    /// The same as indices into the input's columns, as [`Expr::Column`] has them.
    pub group_columns: Vec<usize>,
    /// Output columns in order: name and aggregate.
    pub select: Vec<(String, Aggregate)>,
    /// How long a window can still be corrected after it closed.
    #[serde(serialize_with = "literal::serialize_duration")]
    pub retain: Duration,
    /// The output's columns: `window_start`, `window_end`, the groups, the aggregates, `complete_through`,
    /// `missing` (camera names with commas between) and `revision` (0 for a window's first row, one more with each
    /// row that replaces it).
    pub schema: Schema,
}

/// Windows of event time: `[k * every, k * every + size)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WindowPlan {
    /// How long a window is.
    #[serde(serialize_with = "literal::serialize_duration")]
    pub size: Duration,
    /// How far apart windows start; equal to `size` for windows that do not overlap.
    #[serde(serialize_with = "literal::serialize_duration")]
    pub every: Duration,
}

/// An aggregate over the rows of one window and group. NULLs are left out by all but `count(*)`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    /// `count(*)`.
    Count,
    /// `count(distinct X)`.
    CountDistinct(Expr),
    /// `sum(X)`.
    Sum(Expr),
    /// `min(X)`.
    Min(Expr),
    /// `max(X)`.
    Max(Expr),
    /// `avg(X)`.
    Average(Expr),
}

/// A typed expression over a row's columns.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expr {
    /// The column at this index of [`crate::schema::common_columns`] followed by [`crate::schema::columns_of`].
    Column(usize),
    /// A constant.
    Literal(#[serde(serialize_with = "literal::serialize")] Cell),
    /// `not X`.
    Not(Box<Expr>),
    /// `-X`.
    Negate(Box<Expr>),
    /// Two operands of fitting types.
    Binary {
        /// What is done with them.
        op: BinaryOp,
        /// The left one.
        left: Box<Expr>,
        /// The right one.
        right: Box<Expr>,
    },
    /// All of them: `A and B and ...`.
    All(Vec<Expr>),
    /// One of them: `A or B or ...`.
    Any(Vec<Expr>),
    /// `X in (A, B, ...)`.
    In {
        /// What is looked for.
        value: Box<Expr>,
        /// Among these.
        list: Vec<Expr>,
        /// `not in`.
        negated: bool,
    },
    /// `X between A and B`, both included.
    Between {
        /// What is compared.
        value: Box<Expr>,
        /// With at least this.
        low: Box<Expr>,
        /// And at most this.
        high: Box<Expr>,
        /// `not between`.
        negated: bool,
    },
    /// `X is null`.
    IsNull {
        /// What may be missing.
        value: Box<Expr>,
        /// `is not null`.
        negated: bool,
    },
    /// `X like 'a%'`: `%` is any text, `_` any letter, a backslash takes the next letter as it is.
    Like {
        /// What is compared.
        value: Box<Expr>,
        /// With this pattern.
        pattern: String,
        /// `ilike`: upper and lower case are one.
        ignore_case: bool,
        /// `not like`.
        negated: bool,
    },
    /// `case when A then X when B then Y else Z end`.
    Case {
        /// Conditions with their results; the first that is true counts.
        branches: Vec<(Expr, Expr)>,
        /// The result when none is; NULL where it is left out.
        otherwise: Option<Box<Expr>>,
    },
}

/// What is done with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BinaryOp {
    /// `=`
    Equal,
    /// `<>`
    Differs,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`; of whole numbers too it gives a number with its fraction.
    Divide,
}

impl BinaryOp {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Equal => "=",
            BinaryOp::Differs => "<>",
            BinaryOp::Less => "<",
            BinaryOp::AtMost => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::AtLeast => ">=",
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
        }
    }
}

/// The columns that expressions over these rows see: the common ones, then their own. Where two have
/// one name (the camera that a query groups by), the own one is meant.
pub fn columns_seen(rows: &RowKind) -> Vec<Column> {
    common_columns().into_iter().chain(columns_of(rows)).collect()
}

/// The index and type of a column by name.
pub fn find_column(columns: &[Column], name: &str) -> Option<(usize, ColumnType)> {
    columns
        .iter()
        .rposition(|column| column.name == name)
        .map(|index| (index, columns[index].ty))
}
