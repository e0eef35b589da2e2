//! Expressions as text again, for the printed plan.

use super::{Aggregate, Expr};
use crate::schema::{Cell, Column};
use crate::value::format_duration;

impl Expr {
    /// As SQL over these columns.
    pub fn to_sql(&self, columns: &[Column]) -> String {
        let part = |expr: &Expr| match expr {
            Expr::Column(_) | Expr::Literal(_) | Expr::Case { .. } => expr.to_sql(columns),
            _ => format!("({})", expr.to_sql(columns)),
        };
        let list = |parts: &[Expr], between: &str| parts.iter().map(part).collect::<Vec<_>>().join(between);
        // What `and` and `or` join needs brackets only where it is itself joined by them.
        let joined = |parts: &[Expr], between: &str| {
            let part = |expr: &Expr| match expr {
                Expr::All(_) | Expr::Any(_) => format!("({})", expr.to_sql(columns)),
                _ => expr.to_sql(columns),
            };
            parts.iter().map(part).collect::<Vec<_>>().join(between)
        };
        let not = |negated: bool| if negated { "not " } else { "" };
        match self {
            Expr::Column(index) => columns
                .get(*index)
                .map_or_else(|| format!("column {index}"), |column| column.name.clone()),
            Expr::Literal(cell) => literal(cell),
            Expr::Not(inner) => format!("not {}", part(inner)),
            Expr::Negate(inner) => format!("-{}", part(inner)),
            Expr::Binary { op, left, right } => format!("{} {} {}", part(left), op.symbol(), part(right)),
            Expr::All(parts) => joined(parts, " and "),
            Expr::Any(parts) => joined(parts, " or "),
            Expr::In {
                value,
                list: items,
                negated,
            } => format!("{} {}in ({})", part(value), not(*negated), list(items, ", ")),
            Expr::Between {
                value,
                low,
                high,
                negated,
            } => {
                format!(
                    "{} {}between {} and {}",
                    part(value),
                    not(*negated),
                    part(low),
                    part(high)
                )
            }
            Expr::IsNull { value, negated } => format!("{} is {}null", part(value), not(*negated)),
            Expr::Like {
                value,
                pattern,
                ignore_case,
                negated,
            } => {
                let word = if *ignore_case { "ilike" } else { "like" };
                format!(
                    "{} {}{word} '{}'",
                    part(value),
                    not(*negated),
                    pattern.replace('\'', "''")
                )
            }
            Expr::Case { branches, otherwise } => {
                let when = |(condition, result): &(Expr, Expr)| {
                    format!("when {} then {}", condition.to_sql(columns), part(result))
                };
                let branches = branches.iter().map(when).collect::<Vec<_>>().join(" ");
                let otherwise = otherwise
                    .as_ref()
                    .map(|expr| format!(" else {}", part(expr)))
                    .unwrap_or_default();
                format!("case {branches}{otherwise} end")
            }
        }
    }
}

impl Aggregate {
    /// As SQL over these columns.
    pub fn to_sql(&self, columns: &[Column]) -> String {
        let (name, expr) = match self {
            Aggregate::Count => return "count(*)".into(),
            Aggregate::CountDistinct(expr) => ("count(distinct ", expr),
            Aggregate::Sum(expr) => ("sum(", expr),
            Aggregate::Min(expr) => ("min(", expr),
            Aggregate::Max(expr) => ("max(", expr),
            Aggregate::Average(expr) => ("avg(", expr),
        };
        format!("{name}{})", expr.to_sql(columns))
    }
}

fn literal(cell: &Cell) -> String {
    match cell {
        Cell::Null => "null".into(),
        Cell::Bool(flag) => flag.to_string(),
        Cell::Int(number) => number.to_string(),
        Cell::Float(number) => number.to_string(),
        Cell::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Cell::Time(nanos) => format!("time({nanos})"),
        Cell::Duration(nanos) => {
            let sign = if *nanos < 0 { "-" } else { "" };
            format!(
                "'{sign}{}'",
                format_duration(std::time::Duration::from_nanos(nanos.unsigned_abs()))
            )
        }
    }
}
