//! Expressions with their types, and which types go together.

use super::{BinaryOp, Expr, literal};
use crate::diagnostic::{Diagnostic, code};
use crate::schema::{Cell, ColumnType};
use crate::source::Span;

/// An expression with its type and place.
#[derive(Clone, Debug)]
pub struct Typed {
    pub expr: Expr,
    /// None for NULL.
    pub ty: Option<ColumnType>,
    pub span: Span,
}

pub fn noun(ty: Option<ColumnType>) -> &'static str {
    match ty {
        None => "null",
        Some(ColumnType::Bool) => "a condition",
        Some(ColumnType::Int) => "a whole number",
        Some(ColumnType::Float) => "a number",
        Some(ColumnType::Text) => "text",
        Some(ColumnType::Time) => "a time",
        Some(ColumnType::Duration) => "a duration",
    }
}

pub fn mistyped(span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(code::EXPRESSION_TYPE, message).label(span, "")
}

impl Typed {
    pub fn new(expr: Expr, ty: ColumnType, span: Span) -> Self {
        Typed {
            expr,
            ty: Some(ty),
            span,
        }
    }

    fn is_number(&self) -> bool {
        matches!(self.ty, Some(ColumnType::Int | ColumnType::Float))
    }

    /// As a condition, or says why it is none.
    pub fn condition(self, what: &str) -> Result<Expr, Diagnostic> {
        match self.ty {
            Some(ColumnType::Bool) | None => Ok(self.expr),
            other => Err(
                mistyped(self.span, format!("{what} is a condition, not {}", noun(other)))
                    .help("compare it with something, as in `score > 0.5`"),
            ),
        }
    }

    /// Text written in the expression becomes the time or duration that it stands opposite to.
    fn adapted(mut self, to: Option<ColumnType>) -> Result<Self, Diagnostic> {
        if let (Expr::Literal(Cell::Text(text)), Some(ty @ (ColumnType::Duration | ColumnType::Time))) =
            (&self.expr, to)
        {
            let cell = literal::typed(text, ty).map_err(|cause| mistyped(self.span, cause))?;
            self = Typed::new(Expr::Literal(cell), ty, self.span);
        }
        Ok(self)
    }
}

/// Whether values of the two types can be compared.
fn comparable(left: Option<ColumnType>, right: Option<ColumnType>) -> bool {
    use ColumnType::{Float, Int};
    left.is_none()
        || right.is_none()
        || left == right
        || matches!((left, right), (Some(Int | Float), Some(Int | Float)))
}

/// Makes two sides comparable, or says why they are not.
pub fn unified(left: Typed, right: Typed, whole: Span) -> Result<(Typed, Typed), Diagnostic> {
    let (left_ty, right_ty) = (left.ty, right.ty);
    let (left, right) = (left.adapted(right_ty)?, right.adapted(left_ty)?);
    if comparable(left.ty, right.ty) {
        return Ok((left, right));
    }
    let message = format!("{} cannot be compared with {}", noun(left.ty), noun(right.ty));
    let mut error = Diagnostic::error(code::EXPRESSION_TYPE, message)
        .label(left.span, noun(left.ty))
        .label(right.span, noun(right.ty));
    error.help = remedy(&left, &right).or_else(|| remedy(&right, &left));
    if left.span == right.span {
        error.labels.truncate(1);
        error.labels[0].span = whole;
    }
    Err(error)
}

fn remedy(side: &Typed, number: &Typed) -> Option<String> {
    let written = match &number.expr {
        Expr::Literal(Cell::Int(number)) => number.to_string(),
        Expr::Literal(Cell::Float(number)) => number.to_string(),
        _ => return None,
    };
    match side.ty {
        Some(ColumnType::Duration) => Some(format!("durations carry their unit: '{written}s'")),
        Some(ColumnType::Time) => Some("times are written '2026-03-01T08:30:00Z'".into()),
        Some(ColumnType::Text) => Some(format!("text stands in single quotes: '{written}'")),
        _ => None,
    }
}

/// A comparison.
pub fn compare(op: BinaryOp, left: Typed, right: Typed) -> Result<Typed, Diagnostic> {
    let span = left.span.to(right.span);
    let (left, right) = unified(left, right, span)?;
    Ok(Typed::new(binary(op, left, right), ColumnType::Bool, span))
}

fn binary(op: BinaryOp, left: Typed, right: Typed) -> Expr {
    Expr::Binary {
        op,
        left: Box::new(left.expr),
        right: Box::new(right.expr),
    }
}

/// An arithmetic operation, with units.
pub fn calculate(op: BinaryOp, left: Typed, right: Typed) -> Result<Typed, Diagnostic> {
    use BinaryOp::{Add, Divide, Multiply, Subtract};
    use ColumnType::{Duration, Float, Int, Time};
    let span = left.span.to(right.span);
    // Beside a time or a duration, a text is a duration; only a whole timestamp is a time.
    let unit = |other: &Typed| matches!(other.ty, Some(Duration | Time)).then_some(Duration);
    let time = |side: &Typed, other: &Typed| matches!(&side.expr, Expr::Literal(Cell::Text(text)) if other.ty == Some(Time) && text.contains(['T', ':']));
    let left_unit = if time(&left, &right) { Some(Time) } else { unit(&right) };
    let right_unit = if time(&right, &left) { Some(Time) } else { unit(&left) };
    let additive = matches!(op, Add | Subtract);
    let (left, right) = if additive || op == Divide {
        (left.adapted(left_unit)?, right.adapted(right_unit)?)
    } else {
        (left, right)
    };
    let ty = match (op, left.ty, right.ty) {
        (_, None, _) | (_, _, None) => None,
        (Divide, _, _) if left.is_number() && right.is_number() => Some(Float),
        (Add | Subtract | Multiply, Some(Int), Some(Int)) => Some(Int),
        (Add | Subtract | Multiply, _, _) if left.is_number() && right.is_number() => Some(Float),
        (Add | Subtract, Some(Duration), Some(Duration)) => Some(Duration),
        (Add | Subtract, Some(Time), Some(Duration)) | (Add, Some(Duration), Some(Time)) => Some(Time),
        (Subtract, Some(Time), Some(Time)) => Some(Duration),
        (Multiply | Divide, Some(Duration), _) if right.is_number() => Some(Duration),
        (Multiply, _, Some(Duration)) if left.is_number() => Some(Duration),
        (Divide, Some(Duration), Some(Duration)) => Some(Float),
        (_, a, b) => {
            let message = format!("`{}` does not go with {} and {}", op.symbol(), noun(a), noun(b));
            return Err(Diagnostic::error(code::EXPRESSION_TYPE, message)
                .label(left.span, noun(a))
                .label(right.span, noun(b)));
        }
    };
    Ok(Typed {
        expr: binary(op, left, right),
        ty,
        span,
    })
}

/// `-X`.
pub fn negate(inner: Typed) -> Result<Typed, Diagnostic> {
    let expr = match inner.expr {
        Expr::Literal(Cell::Int(number)) => Expr::Literal(number.checked_neg().map_or(Cell::Null, Cell::Int)),
        Expr::Literal(Cell::Float(number)) => Expr::Literal(Cell::Float(-number)),
        expr => Expr::Negate(Box::new(expr)),
    };
    match inner.ty {
        Some(ColumnType::Int | ColumnType::Float | ColumnType::Duration) | None => Ok(Typed { expr, ..inner }),
        other => Err(mistyped(inner.span, format!("`-` does not go with {}", noun(other)))),
    }
}
