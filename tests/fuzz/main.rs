//! What comes from outside, made up and damaged: graphs, expressions, recorded rows, requests. Nothing may panic,
//! hang, or accept without end.
//!
//! Each target takes bytes; the tests feed it a fixed number of mutations from fixed seeds, so that a
//! failure comes back. `FLOWRUN_FUZZ_ROUNDS` sets the number, for a longer hunt.

mod mutate;
mod rtsp;
mod server;

use std::path::Path;
use std::sync::Arc;

use flowrun::dsl::params::Params;
use flowrun::dsl::{Diagnostics, SourceFile};
use flowrun::engine::names::Names;
use flowrun::engine::operator::{Next, Source, SourceSetup};
use flowrun::engine::rows::CameraId;
use flowrun::operators::source::rows::{RowsParams, RowsSource};
use flowrun::prelude::*;

/// A graph either compiles or has at least one finding, all of which can be shown.
fn language(bytes: &[u8]) {
    let Ok(source) = SourceFile::new("fuzz.kdl", bytes) else {
        return;
    };
    match flowrun::dsl::compile(&source, Path::new("."), &Registry::builtin()) {
        Ok(compiled) => assert!(!compiled.plan.hash.is_empty()),
        Err(found) => shown(&found, &source),
    }
}

fn shown(found: &Diagnostics, source: &SourceFile) {
    assert!(found.has_errors());
    assert!(!found.to_text(source).is_empty());
    assert!(found.to_json(source).is_array() || found.to_json(source).is_object());
}

/// A condition of a query.
fn expression(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).replace(['"', '\\', '\n', '\r'], " ");
    let graph = format!(
        "cameras c {{ synthetic a; }}\nflow f from=c {{ truth-tracks; }}\nquery q from=f {{\n    where \"{text}\"\n    window \"1s\"\n    select n=\"count(*)\"\n}}\n"
    );
    language(graph.as_bytes());
}

/// A file of rows is read to its end, in a bounded number of steps.
fn rows(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("rows.jsonl"), bytes).expect("written");
    let declared = RowsParams::schema().params.into_iter();
    let mut values: flowrun::dsl::params::ParamValues = declared
        .filter_map(|param| Some((param.name, param.default?)))
        .collect();
    let text = |text: &str| flowrun::dsl::value::Value::Text(text.into());
    values.extend([
        ("path".to_owned(), text("rows.jsonl")),
        ("type".to_owned(), text("track")),
    ]);
    let params = RowsParams::from_values(&values).expect("the parameters are complete");
    let names = Arc::new(Names::default());
    let setup = SourceSetup::new(folder.path(), &names, CameraId(0));
    let Ok(mut source) = RowsSource::open(params, &setup) else {
        return;
    };
    let mut last = None;
    // A line may name a frame a million after the last: that many empty ones come before it.
    for _ in 0..50_000_000u64 {
        match source.next() {
            Ok(Next::Item(item)) => {
                assert!(last.is_none_or(|last| item.frame > last), "frames go forward");
                last = Some(item.frame);
            }
            Ok(Next::Fault(cause)) => assert!(cause.len() < 4_096, "a message is short"),
            Ok(Next::End) | Err(_) => return,
        }
    }
    panic!("a file of {} bytes never ended", bytes.len());
}

fn rounds(usual: u64) -> u64 {
    std::env::var("FLOWRUN_FUZZ_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

#[test]
fn graphs() {
    let seeds: Vec<Vec<u8>> = ["junction", "count-only", "people-waiting", "offline"]
        .map(|name| {
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("graphs/{name}.kdl")))
                .expect("it is there")
        })
        .into();
    (0..rounds(1_500)).for_each(|round| language(&mutate::mutated(&seeds, round)));
}

#[test]
fn expressions() {
    let seeds: Vec<Vec<u8>> = [
        "zone = 'box' and dwell > '5s'",
        "class in ('car', 'bus') or not (score between 0.2 and 0.9)",
        "case when x1 < 10 then 'left' else 'right' end like 'l%'",
        "(x2 - x1) * (y2 - y1) / 2 >= -100 and track is not null",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    (0..rounds(3_000)).for_each(|round| expression(&mutate::mutated(&seeds, round)));
}

#[test]
fn recorded_rows() {
    let seeds: Vec<Vec<u8>> = [
        "{\"camera\":\"a\",\"frame\":0,\"time_ns\":0,\"track\":1,\"class\":\"car\",\"score\":0.5,\"box\":[1,2,3,4]}\n{\"frame\":3,\"track\":2,\"box\":[1.5,2,3e1,40]}\n",
        "{\"frame\":1,\"track\":2,\"box\":[0,0,0,0],\"width\":640,\"height\":360}\n\n{\"frame\":2,\"track\":2,\"class\":\"bus\",\"box\":[1,2,3,4]}\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    (0..rounds(1_000)).for_each(|round| rows(&mutate::mutated(&seeds, round)));
}

/// The SQL parser's time doubles with each level of brackets: found by round 2951 above.
#[test]
fn brackets_without_end_are_refused_at_once() {
    for depth in [13, 30, 1_000] {
        expression("x1 > 0 or not (".repeat(depth).as_bytes());
        expression("(".repeat(depth).as_bytes());
    }
}
