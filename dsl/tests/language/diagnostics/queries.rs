//! Faults of queries and their expressions.

use insta::assert_snapshot;

use super::with_cameras;

#[test]
fn query_without_anything() {
    assert_snapshot!(with_cameras(r#"query q { }
query
query p from=g"#), @r#"
    error[flowrun::no-input]: the query `q` reads nothing
       2 | query q { }
         | ^^^^^^^ nothing feeds this
         = name what it reads: from=FLOW.NODE
    error[flowrun::missing-parameter]: the query `q` has no window
       2 | query q { }
         |       ^ over which time?
         = add a line `window "1m"`
    error[flowrun::missing-parameter]: the query `q` selects nothing
       2 | query q { }
         |       ^ what is counted?
         = add a line `select n="count(*)"`
    error[flowrun::missing-name]: a query has no name
       3 | query
         | ^^^^^ the name is missing behind this
         = write `query NAME ...`
    error[flowrun::missing-parameter]: the query `p` has no window
       4 | query p from=g
         |       ^ over which time?
         = add a line `window "1m"`
    error[flowrun::missing-parameter]: the query `p` selects nothing
       4 | query p from=g
         |       ^ what is counted?
         = add a line `select n="count(*)"`
    error[flowrun::wrong-rows]: `query` reads rows with columns, but `g` emits frames
       4 | query p from=g
         |              ^ rows with columns are needed here
       1 | cameras g { synthetic a; synthetic b; }
         |         ^ frames come from here
    "#);
}

#[test]
fn query_of_pictures() {
    assert_snapshot!(with_cameras(r#"query q from=g { window "1m"; select n="count(*)"; }"#), @r#"
    error[flowrun::wrong-rows]: `query` reads rows with columns, but `g` emits frames
       2 | query q from=g { window "1m"; select n="count(*)"; }
         |              ^ rows with columns are needed here
       1 | cameras g { synthetic a; synthetic b; }
         |         ^ frames come from here
    "#);
}

#[test]
fn windows() {
    assert_snapshot!(with_cameras(r#"flow f from=g { truth; }
query a from=f { window 60; select n="count(*)"; }
query b from=f { window "1m" every="2m"; select n="count(*)"; }
query c from=f { window "1m" every="7s"; select n="count(*)"; }
query d from=f { window "1d" every="1s"; select n="count(*)"; }
query e from=f { window "0s"; select n="count(*)"; }
query h from=f { window; select n="count(*)"; where; select n="count(*)"; }"#), @r#"
    error[flowrun::duplicate-name]: `a` is already the name of a camera
       3 | query a from=f { window 60; select n="count(*)"; }
         |       ^ a query of the same name
       1 | cameras g { synthetic a; synthetic b; }
         |                       ^ first
         = groups, cameras, models, flows and queries share one namespace
    error[flowrun::wrong-type]: `window`: a duration is text with its unit, not a whole number
       3 | query a from=f { window 60; select n="count(*)"; }
         |                         ^^ should be a duration
         = quantities carry their unit, in quotes: "1m"
    error[flowrun::duplicate-name]: `b` is already the name of a camera
       4 | query b from=f { window "1m" every="2m"; select n="count(*)"; }
         |       ^ a query of the same name
       1 | cameras g { synthetic a; synthetic b; }
         |                                    ^ first
         = groups, cameras, models, flows and queries share one namespace
    error[flowrun::bad-window]: windows of 1m every 2m would leave gaps between them
       4 | query b from=f { window "1m" every="2m"; select n="count(*)"; }
         |                                    ^^^^ here
         = `every` is at most as long as the window
    error[flowrun::bad-window]: 1m is no multiple of 7s
       5 | query c from=f { window "1m" every="7s"; select n="count(*)"; }
         |                                    ^^^^ here
         = windows share their parts: let `every` divide the window
    error[flowrun::bad-window]: every row would be in 86400 windows
       6 | query d from=f { window "1d" every="1s"; select n="count(*)"; }
         |                                    ^^^^ here
         = at most 3600: let `every` be longer
    error[flowrun::bad-window]: a window cannot be empty
       7 | query e from=f { window "0s"; select n="count(*)"; }
         |                         ^^^^ here
         = write a duration longer than zero
    error[flowrun::missing-parameter]: `window` has no length
       8 | query h from=f { window; select n="count(*)"; where; select n="count(*)"; }
         |                  ^^^^^^ should be a duration
         = write `window "1m"`
    error[flowrun::missing-parameter]: `where` has no expression
       8 | query h from=f { window; select n="count(*)"; where; select n="count(*)"; }
         |                                               ^^^^^ should be an expression in quotes
    error[flowrun::duplicate-property]: `select` is given twice
       8 | query h from=f { window; select n="count(*)"; where; select n="count(*)"; }
         |                                                      ^^^^^^ again
       8 | query h from=f { window; select n="count(*)"; where; select n="count(*)"; }
         |                          ^^^^^^ first
    "#);
}

#[test]
fn query_columns() {
    assert_snapshot!(with_cameras(r#"flow f from=g { truth; }
query q from=f {
    where "clas = 'car'"
    group-by zone camera camera 5
    window "1m"
    select missing="count(*)" n="max(speed)" "sum(score)" m=5
}"#), @r#"
    error[flowrun::unknown-column]: there is no column `clas`
       4 |     where "clas = 'car'"
         |            ^^^^ unknown
         = did you mean `class`?
    error[flowrun::unknown-column]: there is no column `zone`
       5 |     group-by zone camera camera 5
         |              ^^^^ unknown
         = columns here: camera, frame, time, class, score, x1, y1, x2, y2
    error[flowrun::duplicate-property]: `camera` is given twice
       5 |     group-by zone camera camera 5
         |                          ^^^^^^ again
       5 |     group-by zone camera camera 5
         |                   ^^^^^^ first
    error[flowrun::wrong-type]: a column is named by a word, not by a whole number
       5 |     group-by zone camera camera 5
         |                                 ^ not a name
    error[flowrun::duplicate-name]: the rows of `q` have two columns `missing`
       7 |     select missing="count(*)" n="max(speed)" "sum(score)" m=5
         |            ^^^^^^^ name it otherwise
         = besides the groups, rows have window_start, window_end, complete_through, missing and revision
    error[flowrun::unknown-column]: there is no column `speed`
       7 |     select missing="count(*)" n="max(speed)" "sum(score)" m=5
         |                                      ^^^^^ unknown
         = columns here: camera, frame, time, class, score, x1, y1, x2, y2
    error[flowrun::extra-argument]: what is selected needs a name
       7 |     select missing="count(*)" n="max(speed)" "sum(score)" m=5
         |                                              ^^^^^^^^^^^^ without a name
         = write NAME="count(*)"
    error[flowrun::wrong-type]: `m` is an aggregate in quotes, not a whole number
       7 |     select missing="count(*)" n="max(speed)" "sum(score)" m=5
         |                                                             ^ should be text
    "#);
}

#[test]
fn expression_types() {
    assert_snapshot!(with_cameras(r#"flow f from=g { truth; track; visit zones=z; }
zones cameras=g { polygon z 0 0 1 0 1 1; }
query q from=f { window "1m"; where "class > 5 and dwell > 5"; select n="count(*)"; }
query r from=f { window "1m"; where "dwell > '5 parsecs'"; select n="sum(class)"; }
query s from=f { window "1m"; where "dwell"; select n="avg(entered)" o="count(track)" p="median(track)" q="track"; }
query t from=f { window "1m"; where "entered + class > time"; select n="sum(distinct track)" o="min(*)" p="count(*) filter (where track > 1)"; }"#), @r#"
    error[flowrun::expression-type]: text cannot be compared with a whole number
       4 | query q from=f { window "1m"; where "class > 5 and dwell > 5"; select n="count(*)"; }
         |                                      ^^^^^ text
       4 | query q from=f { window "1m"; where "class > 5 and dwell > 5"; select n="count(*)"; }
         |                                              ^ a whole number
         = text stands in single quotes: '5'
    error[flowrun::expression-type]: `5 parsecs` is no duration: write a number and a unit, as in "800ms", "5s", "1m", "2h"
       5 | query r from=f { window "1m"; where "dwell > '5 parsecs'"; select n="sum(class)"; }
         |                                              ^^^^^^^^^^^
    error[flowrun::expression-type]: `sum` does not go with text
       5 | query r from=f { window "1m"; where "dwell > '5 parsecs'"; select n="sum(class)"; }
         |                                                                          ^^^^^
    error[flowrun::expression-type]: `where` is a condition, not a duration
       6 | query s from=f { window "1m"; where "dwell"; select n="avg(entered)" o="count(track)" p="median(track)" q="track"; }
         |                                      ^^^^^
         = compare it with something, as in `score > 0.5`
    error[flowrun::expression-type]: `avg` does not go with a time
       6 | query s from=f { window "1m"; where "dwell"; select n="avg(entered)" o="count(track)" p="median(track)" q="track"; }
         |                                                            ^^^^^^^
    error[flowrun::expression]: there is no such form of `count`
       6 | query s from=f { window "1m"; where "dwell"; select n="avg(entered)" o="count(track)" p="median(track)" q="track"; }
         |                                                                        ^^^^^^^^^^^^^^
         = write count(*) for all rows, or count(distinct X)
    error[flowrun::expression]: there is no aggregate `median`
       6 | query s from=f { window "1m"; where "dwell"; select n="avg(entered)" o="count(track)" p="median(track)" q="track"; }
         |                                                                                         ^^^^^^^^^^^^^^^
         = aggregates here: count, sum, min, max, avg
    error[flowrun::expression]: `select` takes one aggregate
       6 | query s from=f { window "1m"; where "dwell"; select n="avg(entered)" o="count(track)" p="median(track)" q="track"; }
         |                                                                                                           ^^^^^^^
         = there are count(*), count(distinct X), sum(X), min(X), max(X) and avg(X)
    error[flowrun::expression-type]: `+` does not go with a time and text
       7 | query t from=f { window "1m"; where "entered + class > time"; select n="sum(distinct track)" o="min(*)" p="count(*) filter (where track > 1)"; }
         |                                      ^^^^^^^ a time
       7 | query t from=f { window "1m"; where "entered + class > time"; select n="sum(distinct track)" o="min(*)" p="count(*) filter (where track > 1)"; }
         |                                                ^^^^^ text
    error[flowrun::expression]: there is no such form of `sum`
       7 | query t from=f { window "1m"; where "entered + class > time"; select n="sum(distinct track)" o="min(*)" p="count(*) filter (where track > 1)"; }
         |                                                                        ^^^^^^^^^^^^^^^^^^^^^
         = only count has distinct
    error[flowrun::expression]: `min` takes an expression, not `*`
       7 | query t from=f { window "1m"; where "entered + class > time"; select n="sum(distinct track)" o="min(*)" p="count(*) filter (where track > 1)"; }
         |                                                                                                ^^^^^^^^
         = only count(*) counts rows
    error[flowrun::expression]: `count` takes an expression and nothing else
       7 | query t from=f { window "1m"; where "entered + class > time"; select n="sum(distinct track)" o="min(*)" p="count(*) filter (where track > 1)"; }
         |                                                                                                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
         = rows are left out by `where`
    "#);
}

#[test]
fn expression_syntax() {
    assert_snapshot!(with_cameras(r#"flow f from=g { truth; }
query q from=f { window "1m"; where "class = "; select n="count(*"; }
query r from=f { window "1m"; where "class = 'car"; select n="count(*) n"; }
query s from=f { window "1m"; where "exists (select 1)"; select n="max(abs(score))"; }
query t from=f { window "1m"; where "class || class = 'a'"; select n="max(case class when 'a' then 1 end)"; }
query u from=f { window "1m"; where ""; select n="max(cast(score as int))"; }"#), @r#"
    error[flowrun::expression]: this is no expression: expected: an expression, found: its end
       3 | query q from=f { window "1m"; where "class = "; select n="count(*"; }
         |                                             ^
    error[flowrun::expression]: this is no expression: expected: ), found: its end
       3 | query q from=f { window "1m"; where "class = "; select n="count(*"; }
         |                                                                 ^
    error[flowrun::expression]: unterminated string literal
       4 | query r from=f { window "1m"; where "class = 'car"; select n="count(*) n"; }
         |                                              ^
         = text stands in single quotes: zone = 'box'
    error[flowrun::expression]: the expression ends before `n`
       4 | query r from=f { window "1m"; where "class = 'car"; select n="count(*) n"; }
         |                                                                        ^
         = join conditions by `and` or `or`
    error[flowrun::expression]: the language has no such expression
       5 | query s from=f { window "1m"; where "exists (select 1)"; select n="max(abs(score))"; }
         |                                              ^^^^^^^^
         = there are: and, or, not, comparisons, + - * /, in (..), between, like, is null, case when, literals and columns
    error[flowrun::expression]: `abs` cannot be called here
       5 | query s from=f { window "1m"; where "exists (select 1)"; select n="max(abs(score))"; }
         |                                                                        ^^^^^^^^^
         = aggregates stand in `select`; there are no other functions
    error[flowrun::expression]: the language has no `||`
       6 | query t from=f { window "1m"; where "class || class = 'a'"; select n="max(case class when 'a' then 1 end)"; }
         |                                      ^^^^^^^^^^^^^^
         = there are = <> < <= > >= + - * / and, or, not
    error[flowrun::expression]: the language has no such expression
       6 | query t from=f { window "1m"; where "class || class = 'a'"; select n="max(case class when 'a' then 1 end)"; }
         |                                                                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
         = there are: and, or, not, comparisons, + - * /, in (..), between, like, is null, case when, literals and columns
    error[flowrun::expression]: the expression is empty
       7 | query u from=f { window "1m"; where ""; select n="max(cast(score as int))"; }
         |                                     ^^
    error[flowrun::expression]: the language has no such expression
       7 | query u from=f { window "1m"; where ""; select n="max(cast(score as int))"; }
         |                                                            ^^^^^
         = there are: and, or, not, comparisons, + - * /, in (..), between, like, is null, case when, literals and columns
    "#);
}

#[test]
fn expressions_in_escaped_text() {
    assert_snapshot!(with_cameras(r##"flow f from=g { truth; }
query q from=f { window "1m"; where #"clas = 'a'"#; select n="count(distinct\n clas)"; }"##), @r##"
    error[flowrun::unknown-column]: there is no column `clas`
       3 | query q from=f { window "1m"; where #"clas = 'a'"#; select n="count(distinct\n clas)"; }
         |                                       ^^^^ unknown
         = did you mean `class`?
    error[flowrun::unknown-column]: there is no column `clas`
       3 | query q from=f { window "1m"; where #"clas = 'a'"#; select n="count(distinct\n clas)"; }
         |                                                              ^^^^^^^^^^^^^^^^^^^^^^^^ unknown
         = did you mean `class`?
    "##);
}
