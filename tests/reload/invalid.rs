//! Edits that cannot be made: what ran before runs on as if nobody had tried.

use std::sync::Arc;

use flowrun::dsl::system::Confined;
use flowrun::engine::reload::Probation;
use flowrun::live::{By, EditError, History, Live, Rules};

use crate::mutate::mutated;
use crate::scene::{Edited, assert_same_rows, by_frame, registry};

/// Damaged texts that are tried.
const ROUNDS: u64 = 300;

fn graph(pace: &str) -> String {
    format!(
        r#"cameras live {{
    defaults size="160x90" fps=50 {pace}
    synthetic north seed=1
    synthetic south seed=2
}}
zones cameras=live {{ polygon box 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9; }}
flow seen from=live {{
    truth as=truth
    linger
    stamp as=stamps
}}
flow paths from=seen.truth {{
    track as=tracks
    visit zones=box as=visits
}}
query busy from=paths.visits {{ window "1s"; group-by camera; select n="count(*)"; }}
write {{
    jsonl "stamps.jsonl" from=seen.stamps
    jsonl "tracks.jsonl" from=paths.tracks
}}
"#
    )
}

/// A graph at work, whose text may be edited by anybody.
fn live(run: &Edited, graph: &str) -> Arc<Live> {
    let (source, _) = flowrun::compile_text("live.kdl", graph, run.path(), &registry()).expect("it runs");
    let rules = Rules {
        system: Confined::to(vec![run.path().canonicalize().expect("the test's folder")]),
        allow_paths: true,
        probation: Some(Probation::default()),
    };
    let path = run.path().join("live.kdl");
    Live::new(&path, source, &registry(), run.editor().clone(), rules, History::none())
}

/// Texts that are well written, of which this run cannot become one.
fn unfit(graph: &str, folder: &std::path::Path) -> Vec<(&'static str, String)> {
    std::fs::write(folder.join("noise.onnx"), b"no model").expect("a file");
    std::fs::write(folder.join("noise.mp4"), b"no film").expect("a file");
    std::fs::create_dir(folder.join("taken.jsonl")).expect("a folder");
    let with = |more: &str| format!("{graph}\n{more}\n");
    vec![
        (
            "an operator that refuses",
            graph.replace("    stamp as", "    stamp refused=#true as"),
        ),
        (
            "a model that is none",
            with("model noise \"noise.onnx\"\nflow found from=live { detect noise; }"),
        ),
        (
            "a film that is none",
            with("cameras film { file film \"noise.mp4\" pace=media; }"),
        ),
        (
            "a folder for a file",
            with("write { jsonl \"taken.jsonl\" from=paths.visits; }"),
        ),
        (
            "a camera without an end to its pace",
            with("cameras fast { synthetic fast pace=max; }"),
        ),
        ("another server", with("server listen=\"127.0.0.1:9\"")),
        (
            "many things at once",
            with(
                "cameras fast { synthetic fast pace=max; }\nwrite { jsonl \"new.jsonl\" from=paths.visits; jsonl \"taken.jsonl\" from=paths.visits; }",
            ),
        ),
    ]
}

#[test]
fn edits_that_cannot_be_made_leave_no_trace() {
    let graph = self::graph("");
    let mut run = Edited::start(&graph, 2);
    let live = live(&run, &graph);
    run.frames(3);
    let hash = run.editor().context().generation().plan.hash.clone();
    let seeds = [graph.clone().into_bytes()];
    let (mut refused, mut fit) = (0, 0);
    for round in 0..ROUNDS {
        let bytes = mutated(&seeds, round);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if live.diff(bytes.clone()).is_ok() {
            // Damage that hurts nothing, or makes another graph.
            fit += 1;
            continue;
        }
        let outcome = live.apply(bytes, None, By::File);
        assert!(
            matches!(outcome, Err(EditError::Graph(_))),
            "round {round}: {outcome:?}\n{text}"
        );
        refused += 1;
    }
    assert!(refused > ROUNDS / 2, "{refused} refused, {fit} fit");
    for (what, text) in unfit(&graph, run.path()) {
        let outcome = live.apply(text.into_bytes(), None, By::Api);
        assert!(matches!(outcome, Err(EditError::Graph(_))), "{what}: {outcome:?}");
        assert!(live.refused().is_some(), "{what} is told");
    }
    run.frames(10);
    let generation = run.editor().context().generation();
    assert_eq!((generation.number, &generation.plan.hash), (1, &hash));
    assert!(run.editor().receipts(0).is_empty());
    let admitted = run.counts("north").admitted;
    let report = run.end();
    assert_eq!(report.cameras.len(), 2);
    let left: Vec<_> = std::fs::read_dir(run.path())
        .expect("the folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".partial") || name.starts_with("new"))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    let mut never = Edited::start(&self::graph(&format!("pace=max frames={}", admitted + 500)), 2);
    never.finish();
    for file in ["stamps.jsonl", "tracks.jsonl"] {
        let (edited, never) = (by_frame(&run.path().join(file)), by_frame(&never.path().join(file)));
        if report.cameras.iter().any(|camera| camera.counts.shed() > 0) {
            println!("not compared with a run without edits: frames were shed");
            continue;
        }
        for camera in ["north", "south"] {
            assert!(assert_same_rows(camera, &edited, &never) > 10);
        }
    }
}
