//! Expressions and queries.

use serde::Serialize;

use crate::schema::{Column, Schema};
use std::time::Duration;

/// A compiled `query` block.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryPlan {
    /// Rows that do not satisfy it are left out.
    pub filter: Option<Expr>,
    /// How event time is cut.
    pub window: WindowPlan,
    /// What counts apart.
    pub group_by: Vec<Column>,
    /// Output columns in order: name and aggregate.
    pub select: Vec<(String, Aggregate)>,
    /// How long a window can still be corrected after it closed.
    pub retain: Duration,
    /// The output's columns: `window_start`, `window_end`, the groups, the aggregates, `complete_through`, `missing`.
    pub schema: Schema,
}

/// Windows of event time: `[k * every, k * every + size)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WindowPlan {
    /// How long a window is.
    pub size: Duration,
    /// How far apart windows start; equal to `size` for windows that do not overlap.
    pub every: Duration,
}

/// An aggregate over the rows of one window and group.
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
}
