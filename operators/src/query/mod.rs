//! `query`: windowed aggregates over all cameras, kept as a differential collection by the engine.

mod aggregate;

use std::sync::Arc;

use flowrun_dsl::expr::{Aggregate, Expr, QueryPlan};
use flowrun_dsl::schema::Schema;
use flowrun_engine::batch::Answer;
use flowrun_engine::cells::for_each_row;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::names::Names;
use flowrun_engine::operator::{Datum, NodeSetup, Query, Window};

/// A `query` block at work.
pub struct WindowedQuery {
    plan: QueryPlan,
    schema: Arc<Schema>,
    names: Arc<Names>,
}

/// What an aggregate is taken of; `count(*)` needs nothing.
fn operand(aggregate: &Aggregate) -> Option<&Expr> {
    match aggregate {
        Aggregate::Count => None,
        Aggregate::CountDistinct(of)
        | Aggregate::Sum(of)
        | Aggregate::Min(of)
        | Aggregate::Max(of)
        | Aggregate::Average(of) => Some(of),
    }
}

impl Query for WindowedQuery {
    const KIND: &'static str = "query";
    type Params = QueryParams;

    fn new(_: QueryParams, setup: &NodeSetup<'_>) -> Result<Self> {
        let plan = setup
            .node
            .query
            .clone()
            .ok_or_else(|| OperatorError::new("a query node without its query"))?;
        Ok(WindowedQuery {
            schema: Arc::new(plan.schema.clone()),
            plan,
            names: setup.names.clone(),
        })
    }

    fn window(&self) -> Window {
        Window {
            size: self.plan.window.size,
            every: self.plan.window.every,
            retain: self.plan.retain,
        }
    }

    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }

    fn rows(&self, answer: &Answer, out: &mut Vec<(Vec<Datum>, Vec<Datum>)>) {
        for_each_row(answer, &self.names, |cells| {
            if self.plan.filter.as_ref().is_some_and(|filter| !filter.holds(cells)) {
                return;
            }
            let group = self
                .plan
                .group_columns
                .iter()
                .map(|column| cells.get(*column).map_or(Datum::Null, Datum::from));
            let values = self
                .plan
                .select
                .iter()
                .map(|(_, aggregate)| operand(aggregate).map_or(Datum::Null, |of| Datum::from(&of.eval(cells))));
            out.push((group.collect(), values.collect()));
        });
    }

    fn fold(&self, values: &[(&Vec<Datum>, isize)]) -> Vec<Datum> {
        let columns = self.plan.select.iter().enumerate();
        columns
            .map(|(index, (_, aggregate))| {
                aggregate::fold(aggregate, values.iter().map(|(row, count)| (&row[index], *count)))
            })
            .collect()
    }
}

/// Aggregates rows of all cameras over windows of event time. What it computes is written in its block:
/// `where`, `window`, `group-by`, `select`.
#[derive(Clone, Debug, flowrun_dsl::params::Params)]
pub struct QueryParams {}
