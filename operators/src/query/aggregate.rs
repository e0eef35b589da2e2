//! Aggregates of a multiset of values. NULLs are left out by all but `count(*)`; without any value left
//! `count` is 0 and the others are NULL, as in SQL.

use flowrun_dsl::expr::Aggregate;
use flowrun_engine::operator::{Datum, TotalFloat};

/// The aggregate of values, each with how often it occurs; values come in ascending order of their rows,
/// so that sums of floats are the same whatever order rows came in.
pub fn fold<'a>(aggregate: &Aggregate, values: impl Iterator<Item = (&'a Datum, isize)>) -> Datum {
    if *aggregate == Aggregate::Count {
        return Datum::Int(values.map(|(_, count)| count as i64).sum());
    }
    let mut present: Vec<(&Datum, isize)> = values.filter(|(value, _)| **value != Datum::Null).collect();
    present.sort();
    match aggregate {
        Aggregate::Count => Datum::Null,
        Aggregate::CountDistinct(_) => {
            present.dedup_by_key(|(value, _)| *value);
            Datum::Int(present.len() as i64)
        }
        Aggregate::Min(_) => present.first().map_or(Datum::Null, |(value, _)| (*value).clone()),
        Aggregate::Max(_) => present.last().map_or(Datum::Null, |(value, _)| (*value).clone()),
        Aggregate::Sum(_) => sum(&present),
        Aggregate::Average(_) => average(&present),
    }
}

/// The kind of the values decides the kind of their sum; a sum beyond 64 bits is NULL.
fn sum(values: &[(&Datum, isize)]) -> Datum {
    let Some((first, _)) = values.first() else {
        return Datum::Null;
    };
    let whole = || {
        let parts = values
            .iter()
            .map(|(value, count)| number(value)?.0.checked_mul(*count as i64));
        parts.into_iter().try_fold(0i64, |total, part| total.checked_add(part?))
    };
    match first {
        Datum::Int(_) => whole().map_or(Datum::Null, Datum::Int),
        Datum::Duration(_) => whole().map_or(Datum::Null, Datum::Duration),
        Datum::Float(_) => Datum::Float(TotalFloat(float_sum(values))),
        _ => Datum::Null,
    }
}

fn average(values: &[(&Datum, isize)]) -> Datum {
    let count: isize = values.iter().map(|(_, count)| count).sum();
    let Some((first, _)) = values.first() else {
        return Datum::Null;
    };
    let mean = float_sum(values) / count as f64;
    match first {
        Datum::Duration(_) => Datum::Duration(mean.round() as i64),
        Datum::Time(_) => Datum::Time(mean.round() as i64),
        _ => Datum::Float(TotalFloat(mean)),
    }
}

fn float_sum(values: &[(&Datum, isize)]) -> f64 {
    values
        .iter()
        .filter_map(|(value, count)| Some(number(value)?.1 * *count as f64))
        .sum()
}

/// A value as a whole number and as a float.
fn number(value: &Datum) -> Option<(i64, f64)> {
    match value {
        Datum::Int(number) | Datum::Time(number) | Datum::Duration(number) => Some((*number, *number as f64)),
        Datum::Float(number) => Some((number.0 as i64, number.0)),
        Datum::Null | Datum::Bool(_) | Datum::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use flowrun_dsl::expr::Expr;
    use proptest::prelude::*;

    use super::*;

    fn of(aggregate: fn(Expr) -> Aggregate, values: &[(Datum, isize)]) -> Datum {
        fold(
            &aggregate(Expr::Column(0)),
            values.iter().map(|(value, count)| (value, *count)),
        )
    }

    #[test]
    fn nothing_is_null_and_counts_nought() {
        let nulls = [(Datum::Null, 3)];
        assert_eq!(
            fold(&Aggregate::Count, nulls.iter().map(|(value, count)| (value, *count))),
            Datum::Int(3)
        );
        assert_eq!(of(Aggregate::CountDistinct, &nulls), Datum::Int(0));
        for aggregate in [Aggregate::Sum, Aggregate::Min, Aggregate::Max, Aggregate::Average] {
            assert_eq!(of(aggregate, &nulls), Datum::Null);
        }
    }

    #[test]
    fn a_sum_beyond_64_bits_is_null() {
        assert_eq!(of(Aggregate::Sum, &[(Datum::Int(i64::MAX), 2)]), Datum::Null);
    }

    proptest! {
        #[test]
        fn aggregates_equal_those_of_the_plain_list(list in prop::collection::vec(-1000i64..1000, 1..50)) {
            let mut counts = std::collections::BTreeMap::new();
            for value in &list { *counts.entry(*value).or_insert(0isize) += 1; }
            let values: Vec<(Datum, isize)> = counts.iter().map(|(value, count)| (Datum::Duration(*value), *count)).collect();
            prop_assert_eq!(of(Aggregate::Sum, &values), Datum::Duration(list.iter().sum()));
            prop_assert_eq!(of(Aggregate::Min, &values), Datum::Duration(*list.iter().min().expect("not empty")));
            prop_assert_eq!(of(Aggregate::Max, &values), Datum::Duration(*list.iter().max().expect("not empty")));
            prop_assert_eq!(of(Aggregate::CountDistinct, &values), Datum::Int(counts.len() as i64));
            let mean = list.iter().sum::<i64>() as f64 / list.len() as f64;
            prop_assert_eq!(of(Aggregate::Average, &values), Datum::Duration(mean.round() as i64));
        }
    }
}
