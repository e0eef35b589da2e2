//! A query's expressions, typed by the columns that it reads.

use std::collections::HashSet;

use crate::diagnostic::{Diagnostic, code};
use crate::expr::{QueryPlan, Quoted, WindowPlan, columns_seen, find_column, parse_aggregate, parse_filter};
use crate::graph::Reader;
use crate::graph::query::Query;
use crate::port::RowKind;
use crate::schema::{Column, ColumnType, Schema};
use crate::source::{Named, Span};
use crate::suggest;

/// Compiles a query over these rows; reports all that is wrong with it.
pub fn compile(reader: &mut Reader, query: &Query, rows: &RowKind) -> Option<QueryPlan> {
    let columns = columns_seen(rows);
    let before = reader.diagnostics.len();
    let filter = query.filter.as_ref().and_then(|entry| {
        let quoted = Quoted::of(reader.source, entry)?;
        parse_filter(&quoted, &columns)
            .map_err(|error| reader.report(error))
            .ok()
    });
    let mut schema = Schema {
        name: query.name.value.clone(),
        columns: Vec::new(),
    };
    for name in ["window_start", "window_end"] {
        schema.columns.push(Column {
            name: name.into(),
            ty: ColumnType::Time,
        });
    }
    let (mut group_by, mut group_columns) = (Vec::new(), Vec::new());
    for name in &query.group_by {
        match find_column(&columns, &name.value) {
            Some((index, ty)) => {
                group_by.push(Column {
                    name: name.value.clone(),
                    ty,
                });
                group_columns.push(index);
            }
            None => unknown_column(reader, name, &columns),
        }
    }
    schema.columns.extend(group_by.iter().cloned());
    let mut select = Vec::new();
    for property in &query.select {
        let Some(quoted) = Quoted::of(reader.source, &property.entry) else {
            continue;
        };
        match parse_aggregate(&quoted, &columns) {
            Ok((aggregate, ty)) => {
                schema.columns.push(Column {
                    name: property.name.value.clone(),
                    ty,
                });
                select.push((property.name.value.clone(), aggregate));
            }
            Err(error) => reader.report(error),
        }
    }
    schema.columns.push(Column {
        name: "complete_through".into(),
        ty: ColumnType::Time,
    });
    schema.columns.push(Column {
        name: "missing".into(),
        ty: ColumnType::Text,
    });
    schema.columns.push(Column {
        name: "revision".into(),
        ty: ColumnType::Int,
    });
    clashes(reader, query, &schema);
    let window = WindowPlan {
        size: query.window.size,
        every: query.window.every,
    };
    let plan = QueryPlan {
        filter,
        window,
        group_by,
        group_columns,
        select,
        retain: query.window.retain,
        schema,
    };
    (reader.diagnostics.len() == before).then_some(plan)
}

fn unknown_column(reader: &mut Reader, name: &Named, columns: &[Column]) {
    let names = columns.iter().map(|column| column.name.as_str());
    reader.report(
        Diagnostic::error(code::UNKNOWN_COLUMN, format!("there is no column `{}`", name.value))
            .label(name.span, "unknown")
            .maybe_help(suggest::help(&name.value, "columns", names)),
    );
}

/// Two columns of the output must not have one name.
fn clashes(reader: &mut Reader, query: &Query, schema: &Schema) {
    let mut seen = HashSet::new();
    for column in &schema.columns {
        if !seen.insert(column.name.as_str()) {
            let selected = query
                .select
                .iter()
                .find(|property| property.name.value == column.name)
                .map(|property| property.name.span);
            let grouped = query
                .group_by
                .iter()
                .find(|name| name.value == column.name)
                .map(|name| name.span);
            let span: Span = selected.or(grouped).unwrap_or(query.name.span);
            reader.report(
                Diagnostic::error(
                    code::DUPLICATE_NAME,
                    format!("the rows of `{}` have two columns `{}`", query.name.value, column.name),
                )
                .label(span, "name it otherwise")
                .help("besides the groups, rows have window_start, window_end, complete_through, missing and revision"),
            );
        }
    }
}
