//! Expressions: what they mean, and that nothing makes them fail.

use flowrun_dsl::expr::{Aggregate, Expr, Quoted, columns_seen, parse_aggregate, parse_filter};
use flowrun_dsl::port::RowKind;
use flowrun_dsl::schema::{Cell, Column, ColumnType, Schema};
use proptest::prelude::*;

fn visits() -> Vec<Column> {
    columns_seen(&RowKind::Visit)
}

/// camera, frame, time, track, class, zone, phase, entered, dwell
fn visit() -> Vec<Cell> {
    let text = |text: &str| Cell::Text(text.into());
    vec![
        text("north"),
        Cell::Int(10),
        Cell::Time(1_709_204_400_000_000_000),
        Cell::Int(7),
        text("car"),
        text("box"),
        Cell::Null,
        Cell::Time(1_709_204_390_000_000_000),
        Cell::Duration(10_000_000_000),
    ]
}

fn filter(text: &str) -> Expr {
    parse_filter(&Quoted::alone(text), &visits()).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn eval(text: &str) -> Cell {
    filter(text).eval(&visit())
}

#[test]
fn conditions_hold_or_not_or_are_unknown() {
    for text in [
        "zone = 'box' and dwell > '5s'",
        "dwell = '10s' and dwell between '1s' and '1m'",
        "not (class = 'bus' or class in ('truck', 'van'))",
        "time - entered = dwell",
        "entered + dwell = time and dwell + entered = time and time - dwell = entered",
        "time > '2024-02-29T10:00:00Z' and time < '2024-02-29T11:00:01Z'",
        "dwell / '4s' = 2.5 and dwell / 4 = '2500ms' and 2 * dwell = '20s' and dwell * 0.5 = '5s' and -dwell < '0s'",
        "track / 2 = 3.5 and track * 2 - 4 = 10 and -track < 0 and +track = 7.0",
        "class like 'c%' and class not like '_' and class ilike 'CAR'",
        "phase is null and class is not null",
        "case when dwell > '5s' then 'long' else 'short' end = 'long'",
        "case when track = 7 then 1 else 0.5 end = 1.0",
        "phase = 'open' or true",
        "track not in (1, 2.5)",
        "dwell > time - entered - '1s'",
        "\"class\" = 'car'",
    ] {
        assert_eq!(eval(text), Cell::Bool(true), "{text}");
    }
    for text in [
        "phase = 'open' and false",
        "zone <> 'box'",
        "dwell not between '1s' and '1m'",
        "null is not null",
    ] {
        assert_eq!(eval(text), Cell::Bool(false), "{text}");
    }
    for text in [
        "phase = 'open'",
        "phase in ('open')",
        "not (phase = 'open')",
        "track in (1, null)",
        "track / 0 = 1",
        "dwell / 0 = '1s'",
        "dwell / '0s' = 1",
        "track * 9223372036854775807 > 0",
        "dwell * 9223372036854775807 > '0s'",
        "case when false then true end",
        "phase like 'o%'",
        "null",
    ] {
        assert_eq!(eval(text), Cell::Null, "{text}");
    }
}

#[test]
fn every_column_may_be_named() {
    let schema = Schema {
        name: "of-mine".into(),
        columns: vec![Column {
            name: "Speed".into(),
            ty: ColumnType::Float,
        }],
    };
    let kinds = [
        RowKind::Detection,
        RowKind::Track,
        RowKind::Visit,
        RowKind::Crossing,
        RowKind::Error,
        RowKind::Table(schema),
    ];
    for kind in kinds {
        let columns = columns_seen(&kind);
        for (index, column) in columns.iter().enumerate() {
            let text = format!("{} is null or {} = {}", column.name, column.name, column.name);
            let parsed =
                parse_filter(&Quoted::alone(&text), &columns).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            let Expr::Any(parts) = parsed else { panic!("{text}") };
            assert_eq!(
                parts[0],
                Expr::IsNull {
                    value: Box::new(Expr::Column(index)),
                    negated: false
                }
            );
        }
    }
}

#[test]
fn own_columns_hide_common_ones() {
    let schema = Schema {
        name: "q".into(),
        columns: vec![Column {
            name: "camera".into(),
            ty: ColumnType::Text,
        }],
    };
    let columns = columns_seen(&RowKind::Table(schema));
    let parsed = parse_filter(&Quoted::alone("camera is null"), &columns).unwrap();
    assert_eq!(
        parsed,
        Expr::IsNull {
            value: Box::new(Expr::Column(3)),
            negated: false
        }
    );
}

#[test]
fn aggregates_have_the_type_of_their_argument() {
    let of = |text: &str| {
        parse_aggregate(&Quoted::alone(text), &visits()).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    };
    assert_eq!(of("count(*)"), (Aggregate::Count, ColumnType::Int));
    assert_eq!(
        of("COUNT(DISTINCT track)"),
        (Aggregate::CountDistinct(Expr::Column(3)), ColumnType::Int)
    );
    assert_eq!(
        of("max(dwell)"),
        (Aggregate::Max(Expr::Column(8)), ColumnType::Duration)
    );
    assert_eq!(of("min(entered)").1, ColumnType::Time);
    assert_eq!(of("avg(track)").1, ColumnType::Float);
    assert_eq!(of("avg(dwell)").1, ColumnType::Duration);
    assert_eq!(of("sum(case when class = 'car' then 1 else 0 end)").1, ColumnType::Int);
}

#[test]
fn long_chains_are_flat_and_deep_nesting_is_refused() {
    let chain = vec!["track = 7"; 200].join(" and ");
    assert_eq!(eval(&chain), Cell::Bool(true));
    for deep in [
        format!("{}true{}", "(".repeat(500), ")".repeat(500)),
        format!("{}true", "not ".repeat(500)),
        vec!["1"; 500].join("+") + " > 1",
    ] {
        assert!(parse_filter(&Quoted::alone(&deep), &visits()).is_err());
    }
    let long = format!("class = '{}'", "x".repeat(5_000));
    assert!(
        parse_filter(&Quoted::alone(&long), &visits())
            .unwrap_err()
            .message
            .contains("at most")
    );
}

#[test]
fn what_is_printed_reads_back_the_same() {
    for text in [
        "zone = 'box' and (class = 'a' or class = 'b') and not dwell > '5s'",
        "case when track > 1 then 'it''s' else class end like '%x'",
        "track between 1 and 2 + 3 * 4 and class not in ('a', 'b') and phase is not null",
    ] {
        let expr = filter(text);
        assert_eq!(filter(&expr.to_sql(&visits())), expr, "{text}");
    }
}

fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "class",
        "dwell",
        "track",
        "time",
        "entered",
        "zone",
        "score",
        "and",
        "or",
        "not",
        "(",
        ")",
        "=",
        "<>",
        "<",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "in",
        "between",
        "is",
        "null",
        "like",
        "'5s'",
        "'a%'",
        "5",
        "2.5",
        "9223372036854775807",
        "1e300",
        "case",
        "when",
        "then",
        "else",
        "end",
        ",",
        "true",
        "count",
        "distinct",
        "max",
        "--",
        "/*",
        "'",
        "\"",
        "é",
        "::",
        "[",
        "{",
        "$1",
        "@x",
        "interval",
        "date '2020-01-01'",
        "select",
        "x'ab'",
        ";",
    ]);
    prop::collection::vec(word, 0..14).prop_map(|words| words.join(" "))
}

fn cell() -> impl Strategy<Value = Cell> {
    prop_oneof![
        Just(Cell::Null),
        any::<bool>().prop_map(Cell::Bool),
        any::<i64>().prop_map(Cell::Int),
        any::<f64>().prop_map(Cell::Float),
        ".{0,6}".prop_map(|text| Cell::Text(text.as_str().into())),
        any::<i64>().prop_map(Cell::Time),
        any::<i64>().prop_map(Cell::Duration),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_fails_to_be_read_or_refused(text in words(), row in prop::collection::vec(cell(), 0..10)) {
        if let Ok(expr) = parse_filter(&Quoted::alone(&text), &visits()) {
            expr.eval(&row);
            // A row as the plan promises it gives a truth or nothing.
            prop_assert!(matches!(expr.eval(&visit()), Cell::Bool(_) | Cell::Null));
        }
        let _ = parse_aggregate(&Quoted::alone(&text), &visits());
    }

    #[test]
    fn no_letters_fail(text in "\\PC{0,40}") {
        let _ = parse_filter(&Quoted::alone(&text), &visits());
    }

    #[test]
    fn no_row_makes_evaluation_fail(row in prop::collection::vec(cell(), 0..10)) {
        for text in [
            "track * track + track - track > 0 or -track < 1",
            "dwell * track > dwell / track and entered + dwell - dwell > time - dwell",
            "dwell / dwell > track / track",
            "case when track > 1 then dwell else -dwell end between dwell and dwell * 2.5",
            "class like '%a_' or zone in (class, phase) or phase is null",
        ] {
            filter(text).eval(&row);
        }
    }
}
