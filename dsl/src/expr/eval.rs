//! Evaluation: total, deterministic, with SQL's three-valued logic.
//!
//! Whatever has no value (a NULL operand, an overflow, a division by zero, a comparison with NaN) is
//! NULL, and a row whose condition is NULL is left out.

use std::cmp::Ordering;

use super::{BinaryOp, Expr, like};
use crate::schema::Cell;

impl Expr {
    /// The value for a row: the cells of the common columns and then of its own.
    pub fn eval(&self, row: &[Cell]) -> Cell {
        match self {
            Expr::Column(index) => row.get(*index).cloned().unwrap_or(Cell::Null),
            Expr::Literal(cell) => cell.clone(),
            Expr::Not(inner) => truth(inner.truth(row).map(|truth| !truth)),
            Expr::Negate(inner) => negate(&inner.eval(row)),
            Expr::Binary { op, left, right } => binary(*op, &left.eval(row), &right.eval(row)),
            Expr::All(parts) => truth(all(parts, row)),
            Expr::Any(parts) => truth(any(parts, row)),
            Expr::In { value, list, negated } => {
                truth(contains(&value.eval(row), list, row).map(|found| found != *negated))
            }
            Expr::Between {
                value,
                low,
                high,
                negated,
            } => {
                let value = value.eval(row);
                let from = order(&value, &low.eval(row)).map(Ordering::is_ge);
                let to = order(&value, &high.eval(row)).map(Ordering::is_le);
                truth(both(from, to).map(|inside| inside != *negated))
            }
            Expr::IsNull { value, negated } => Cell::Bool(matches!(value.eval(row), Cell::Null) != *negated),
            Expr::Like {
                value,
                pattern,
                ignore_case,
                negated,
            } => match value.eval(row) {
                Cell::Text(text) => Cell::Bool(like::matches(pattern, &text, *ignore_case) != *negated),
                _ => Cell::Null,
            },
            Expr::Case { branches, otherwise } => {
                let found = branches
                    .iter()
                    .find(|(condition, _)| condition.truth(row) == Some(true));
                match (found, otherwise) {
                    (Some((_, result)), _) => result.eval(row),
                    (None, Some(otherwise)) => otherwise.eval(row),
                    (None, None) => Cell::Null,
                }
            }
        }
    }

    /// Whether a row satisfies this condition; NULL does not.
    pub fn holds(&self, row: &[Cell]) -> bool {
        self.truth(row) == Some(true)
    }

    fn truth(&self, row: &[Cell]) -> Option<bool> {
        match self.eval(row) {
            Cell::Bool(flag) => Some(flag),
            _ => None,
        }
    }
}

fn truth(value: Option<bool>) -> Cell {
    value.map_or(Cell::Null, Cell::Bool)
}

fn both(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn all(parts: &[Expr], row: &[Cell]) -> Option<bool> {
    let mut known = Some(true);
    for part in parts {
        match part.truth(row) {
            Some(false) => return Some(false),
            Some(true) => {}
            None => known = None,
        }
    }
    known
}

fn any(parts: &[Expr], row: &[Cell]) -> Option<bool> {
    let mut known = Some(false);
    for part in parts {
        match part.truth(row) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => known = None,
        }
    }
    known
}

fn contains(value: &Cell, list: &[Expr], row: &[Cell]) -> Option<bool> {
    let mut known = Some(false);
    for item in list {
        match order(value, &item.eval(row)) {
            Some(Ordering::Equal) => return Some(true),
            Some(_) => {}
            None => known = None,
        }
    }
    known
}

/// The order of two cells; none when one has no value or they are of types that do not compare.
fn order(left: &Cell, right: &Cell) -> Option<Ordering> {
    match (left, right) {
        (Cell::Bool(a), Cell::Bool(b)) => Some(a.cmp(b)),
        (Cell::Int(a), Cell::Int(b)) | (Cell::Time(a), Cell::Time(b)) | (Cell::Duration(a), Cell::Duration(b)) => {
            Some(a.cmp(b))
        }
        (Cell::Float(a), Cell::Float(b)) => a.partial_cmp(b),
        (Cell::Int(a), Cell::Float(b)) => (*a as f64).partial_cmp(b),
        (Cell::Float(a), Cell::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Cell::Text(a), Cell::Text(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn negate(cell: &Cell) -> Cell {
    match cell {
        Cell::Int(number) => number.checked_neg().map_or(Cell::Null, Cell::Int),
        Cell::Float(number) => Cell::Float(-number),
        Cell::Duration(nanos) => nanos.checked_neg().map_or(Cell::Null, Cell::Duration),
        _ => Cell::Null,
    }
}

fn binary(op: BinaryOp, left: &Cell, right: &Cell) -> Cell {
    let compared = |test: fn(Ordering) -> bool| truth(order(left, right).map(test));
    match op {
        BinaryOp::Equal => compared(Ordering::is_eq),
        BinaryOp::Differs => compared(Ordering::is_ne),
        BinaryOp::Less => compared(Ordering::is_lt),
        BinaryOp::AtMost => compared(Ordering::is_le),
        BinaryOp::Greater => compared(Ordering::is_gt),
        BinaryOp::AtLeast => compared(Ordering::is_ge),
        BinaryOp::Add | BinaryOp::Subtract => sum(op, left, right),
        BinaryOp::Multiply => product(left, right),
        BinaryOp::Divide => quotient(left, right),
    }
}

fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Int(number) => Some(*number as f64),
        Cell::Float(number) => Some(*number),
        _ => None,
    }
}

fn float(value: f64) -> Cell {
    if value.is_finite() {
        Cell::Float(value)
    } else {
        Cell::Null
    }
}

/// Nanoseconds from a product or quotient.
fn duration(nanos: f64) -> Cell {
    // 2^63 is exact as f64, and the largest i64 is not.
    if nanos.abs() < 9_223_372_036_854_775_808.0 {
        Cell::Duration(nanos.round() as i64)
    } else {
        Cell::Null
    }
}

fn sum(op: BinaryOp, left: &Cell, right: &Cell) -> Cell {
    let whole = |a: &i64, b: &i64| {
        if op == BinaryOp::Add {
            a.checked_add(*b)
        } else {
            a.checked_sub(*b)
        }
    };
    let subtract = op == BinaryOp::Subtract;
    match (left, right) {
        (Cell::Int(a), Cell::Int(b)) => whole(a, b).map_or(Cell::Null, Cell::Int),
        (Cell::Duration(a), Cell::Duration(b)) => whole(a, b).map_or(Cell::Null, Cell::Duration),
        (Cell::Time(a), Cell::Time(b)) if subtract => whole(a, b).map_or(Cell::Null, Cell::Duration),
        (Cell::Time(a), Cell::Duration(b)) => whole(a, b).map_or(Cell::Null, Cell::Time),
        (Cell::Duration(a), Cell::Time(b)) if !subtract => whole(a, b).map_or(Cell::Null, Cell::Time),
        _ => match (number(left), number(right)) {
            (Some(a), Some(b)) => float(if subtract { a - b } else { a + b }),
            _ => Cell::Null,
        },
    }
}

fn product(left: &Cell, right: &Cell) -> Cell {
    match (left, right) {
        (Cell::Int(a), Cell::Int(b)) => a.checked_mul(*b).map_or(Cell::Null, Cell::Int),
        (Cell::Duration(a), Cell::Int(b)) | (Cell::Int(b), Cell::Duration(a)) => {
            a.checked_mul(*b).map_or(Cell::Null, Cell::Duration)
        }
        (Cell::Duration(a), Cell::Float(b)) | (Cell::Float(b), Cell::Duration(a)) => duration(*a as f64 * b),
        _ => match (number(left), number(right)) {
            (Some(a), Some(b)) => float(a * b),
            _ => Cell::Null,
        },
    }
}

fn quotient(left: &Cell, right: &Cell) -> Cell {
    match (left, right) {
        (Cell::Duration(_), Cell::Duration(0)) => Cell::Null,
        (Cell::Duration(a), Cell::Duration(b)) => float(*a as f64 / *b as f64),
        (Cell::Duration(a), divisor) => match number(divisor) {
            Some(divisor) if divisor != 0.0 => duration(*a as f64 / divisor),
            _ => Cell::Null,
        },
        _ => match (number(left), number(right)) {
            (Some(a), Some(b)) if b != 0.0 => float(a / b),
            _ => Cell::Null,
        },
    }
}
