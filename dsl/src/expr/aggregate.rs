//! What `select` computes: an aggregate of an expression.

use sqlparser::ast::{self, DuplicateTreatment, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::parse::{Lower, parse_sql};
use super::typed::{Typed, mistyped, noun};
use super::{Aggregate, Quoted};
use crate::diagnostic::{Diagnostic, code};
use crate::schema::{Column, ColumnType};
use crate::suggest;

const NAMES: [&str; 5] = ["count", "sum", "min", "max", "avg"];

/// Reads an aggregate over rows with these columns, with the type of its result.
///
/// # Errors
/// Says what is wrong and where.
pub fn parse_aggregate(quoted: &Quoted, columns: &[Column]) -> Result<(Aggregate, ColumnType), Diagnostic> {
    let sql = parse_sql(quoted)?;
    let refused = |message: String| Diagnostic::error(code::EXPRESSION, message).label(quoted.whole(), "");
    let ast::Expr::Function(call) = &sql else {
        return Err(refused("`select` takes one aggregate".into())
            .help("there are count(*), count(distinct X), sum(X), min(X), max(X) and avg(X)"));
    };
    let name = call.name.to_string().to_lowercase();
    if !NAMES.contains(&name.as_str()) {
        return Err(
            refused(format!("there is no aggregate `{name}`")).maybe_help(suggest::help(&name, "aggregates", NAMES)),
        );
    }
    let plain =
        call.filter.is_none() && call.over.is_none() && call.within_group.is_empty() && call.null_treatment.is_none();
    let FunctionArguments::List(list) = &call.args else {
        return Err(refused(format!("`{name}` has no argument")));
    };
    if !plain || !list.clauses.is_empty() || !matches!(call.parameters, FunctionArguments::None) {
        return Err(
            refused(format!("`{name}` takes an expression and nothing else")).help("rows are left out by `where`")
        );
    }
    let [FunctionArg::Unnamed(argument)] = list.args.as_slice() else {
        return Err(refused(format!("`{name}` takes one argument, not {}", list.args.len())));
    };
    let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    let expr = match argument {
        FunctionArgExpr::Wildcard if name == "count" && !distinct => return Ok((Aggregate::Count, ColumnType::Int)),
        FunctionArgExpr::Expr(expr) => expr,
        _ => return Err(refused(format!("`{name}` takes an expression, not `*`")).help("only count(*) counts rows")),
    };
    if distinct != (name == "count") {
        let help = if distinct {
            "only count has distinct"
        } else {
            "write count(*) for all rows, or count(distinct X)"
        };
        return Err(refused(format!("there is no such form of `{name}`")).help(help));
    }
    typed(&name, Lower { quoted, columns }.lower(expr, 0)?)
}

fn typed(name: &str, argument: Typed) -> Result<(Aggregate, ColumnType), Diagnostic> {
    use ColumnType::{Bool, Duration, Float, Int};
    let Typed { expr, ty, span } = argument;
    let unfit = || Err(mistyped(span, format!("`{name}` does not go with {}", noun(ty))));
    let Some(ty) = ty else { return unfit() };
    Ok(match (name, ty) {
        ("count", _) => (Aggregate::CountDistinct(expr), Int),
        ("sum", Int | Float | Duration) => (Aggregate::Sum(expr), ty),
        ("avg", Int | Float) => (Aggregate::Average(expr), Float),
        ("avg", Duration) => (Aggregate::Average(expr), Duration),
        ("min" | "max", Bool) | ("sum" | "avg", _) => return unfit(),
        ("min", _) => (Aggregate::Min(expr), ty),
        _ => (Aggregate::Max(expr), ty),
    })
}
