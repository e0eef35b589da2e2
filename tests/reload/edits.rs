//! What becomes of frames and states when nodes change.

use std::collections::BTreeMap;

use flowrun::engine::reload::{Cause, Outcome, ReloadError};
use proptest::prelude::*;

use crate::scene::{Edited, assert_whole, stamps};

/// Cameras whose frames are stamped by a given line.
fn graph(stamp: &str) -> String {
    graph_with(stamp, "")
}

fn graph_with(stamp: &str, more: &str) -> String {
    format!(
        r#"cameras live {{
    defaults size="160x90" fps=50
    synthetic north seed=1
    synthetic south seed=2
    synthetic west seed=3
}}
zones cameras=live {{
    polygon box 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9
}}
flow seen from=live {{
    truth
    linger
    stamp {stamp} as=stamps
}}
{more}
write {{ jsonl "stamps.jsonl" from=seen.stamps; }}
"#
    )
}

#[test]
fn a_new_version_goes_on_from_the_state_of_the_old_one() {
    for workers in [1, 2] {
        let mut run = Edited::start(&graph("version=1"), workers);
        run.frames(5);
        let mut firsts = BTreeMap::new();
        for version in 2..=4 {
            let receipt = run.edit(&graph(&format!("version={version}")));
            firsts.insert(version, receipt.frames.clone());
            run.frames(3);
        }
        let report = run.end();
        let rows = stamps(&run.rows("stamps.jsonl"));
        for camera in &report.cameras {
            let rows = &rows[&camera.name];
            assert_eq!(rows.len() as u64, camera.counts.admitted, "{}", camera.name);
            assert_whole(&camera.name, rows);
            for (version, firsts) in &firsts {
                let first = firsts.iter().find(|first| first.camera == camera.name);
                let first = first.expect("each camera has had a frame").frame;
                let row = rows.iter().find(|row| row.version == *version).expect("a row");
                assert_eq!(
                    row.frame, first,
                    "the receipt tells the first frame of version {version}"
                );
            }
        }
    }
}

#[test]
fn a_live_parameter_changes_at_one_frame_and_a_reset_one_begins_from_nothing() {
    let mut run = Edited::start(&graph("live=1"), 2);
    run.frames(5);
    let receipt = run.edit(&graph("live=2"));
    let change = receipt.diff.changes.iter().find(|change| change.name == "seen.stamps");
    assert_eq!(change.map(|change| change.action.name()), Some("live"));
    run.frames(5);
    run.edit(&graph("live=2 epoch=1"));
    run.frames(5);
    run.end();
    for (camera, rows) in stamps(&run.rows("stamps.jsonl")) {
        let (before, after): (Vec<_>, Vec<_>) = rows.iter().cloned().partition(|row| row.live == 1);
        assert!(!before.is_empty() && !after.is_empty());
        let begins = rows.iter().skip(1).position(|row| row.count == 1).expect("begins anew") + 1;
        assert_whole(&camera, &rows[..begins]);
        assert_whole(&camera, &rows[begins..]);
        assert!(rows[begins - 1].live == 2, "the live edit came first");
    }
}

#[test]
fn nodes_come_and_go_beside_what_stays() {
    let query = r#"
query busy from=seen.stamps {
    where "count > 0"
    window "1s"
    group-by camera
    select frames="count(*)"
}
flow paths from=live {
    truth
    track
    visit zones=box as=visits
}
write { jsonl "busy.jsonl" from=busy; jsonl "visits.jsonl" from=paths.visits; jsonl "errors.jsonl" from="*.errors"; }
"#;
    let mut run = Edited::start(&graph(""), 2);
    run.frames(3);
    let receipt = run.edit(&graph_with("", query));
    let kept = receipt.diff.changes.iter().find(|change| change.name == "seen.stamps");
    assert_eq!(kept.map(|change| change.action.name()), Some("kept"));
    run.frames(60);
    run.edit(&graph(""));
    assert!(
        run.path().join("visits.jsonl").exists(),
        "a file whose sink is gone is whole"
    );
    run.frames(3);
    run.edit(&graph_with(
        "version=2",
        &query
            .replace("busy.jsonl", "again.jsonl")
            .replace("visits.jsonl", "v2.jsonl")
            .replace("errors.jsonl", "e2.jsonl"),
    ));
    run.frames(60);
    run.end();
    assert!(!run.rows("busy.jsonl").is_empty() && !run.rows("again.jsonl").is_empty());
    for (camera, rows) in stamps(&run.rows("stamps.jsonl")) {
        assert_whole(&camera, &rows);
    }
}

/// Frames that are on their way to where an edit cuts belong to one version like all others, and the books say so.
#[test]
fn what_comes_and_goes_behind_a_slow_node_owes_no_frame_that_is_under_way() {
    // A frame in every tick, and always some on their way.
    let slow = |more: &str| {
        let graph = graph_with("", more).replace("linger\n", "linger time=\"60ms\"\n");
        graph.replace("fps=50", "fps=200")
    };
    let query = "query busy from=seen.stamps { window \"1s\"; select n=\"count(*)\"; }\n";
    let mut run = Edited::start(&slow(""), 2);
    run.frames(3);
    for _ in 0..8 {
        run.edit(&slow(query));
        run.frames(2);
        let receipt = run.edit(&slow(""));
        assert_eq!(receipt.frames.len(), 3, "each camera has sent a frame: {receipt:#?}");
        run.frames(2);
    }
    run.end();
}

#[test]
fn an_edit_that_cannot_be_made_leaves_everything_as_it_is() {
    let mut run = Edited::start(&graph("version=1"), 2);
    run.frames(3);
    let running = run.running().context().generation().plan.hash.clone();
    match run.try_edit(&graph("version=2 refused=#true")) {
        Err(ReloadError::Refused(errors)) => {
            assert_eq!(errors[0].place, "seen.stamps");
            assert!(errors[0].cause.contains("refused on purpose"));
        }
        other => panic!("{other:?}"),
    }
    let conflict = run
        .editor()
        .reload(run.plan(&graph("version=2")), Some("another"), None);
    assert!(matches!(conflict, Err(ReloadError::Conflict { running: hash }) if hash == running));
    assert!(matches!(run.try_edit(&graph("version=1")), Ok(Outcome::Unchanged)));
    assert_eq!(run.running().context().generation().plan.hash, running);
    run.frames(3);
    run.end();
    for (camera, rows) in stamps(&run.rows("stamps.jsonl")) {
        assert_whole(&camera, &rows);
        assert!(rows.iter().all(|row| row.version == 1));
    }
}

#[test]
fn a_rollback_goes_on_from_the_states_at_the_cut_and_tells_what_was_not_seen() {
    let mut run = Edited::start(&graph("version=1"), 2);
    run.frames(5);
    let receipt = run.edit(&graph("version=2"));
    run.frames(5);
    let Ok(Outcome::Made(back)) = run.editor().rollback() else {
        panic!("nothing was taken back")
    };
    assert_eq!((back.lost, back.doubled), (0, 0));
    let back = run.editor().receipts(receipt.version).pop().expect("kept");
    assert_eq!(back.cause, Cause::Rollback);
    run.frames(5);
    assert!(
        matches!(run.editor().rollback(), Ok(Outcome::Made(_))),
        "and forward again"
    );
    run.end();
    for (camera, rows) in stamps(&run.rows("stamps.jsonl")) {
        let first = |version: i64| rows.iter().position(|row| row.version == version).expect("rows");
        let old: Vec<_> = rows[..first(2)].to_vec();
        let again = rows[first(2)..]
            .iter()
            .find(|row| row.version == 1)
            .expect("back again");
        assert_eq!(again.count, old.last().expect("rows").count + 1, "{camera}");
        let unseen = back.unseen.iter().find(|unseen| unseen.camera == camera).expect("told");
        assert_eq!(
            (unseen.from, unseen.until),
            (rows[first(2)].frame, again.frame),
            "{camera}"
        );
    }
}

#[test]
fn a_file_whose_sink_comes_back_keeps_what_it_had() {
    let mut run = Edited::start(&graph(""), 2);
    run.frames(5);
    let without = graph("").replace("write {", "flow other from=live { truth; }\n/-write {");
    run.edit(&without);
    run.frames(5);
    let before = run.rows("stamps.jsonl");
    assert!(matches!(run.editor().rollback(), Ok(Outcome::Made(_))));
    run.frames(5);
    run.end();
    assert_eq!(run.rows("stamps.1.jsonl"), before, "the first part is whole");
    let (first, second) = (stamps(&before), stamps(&run.rows("stamps.jsonl")));
    for (camera, rows) in &second {
        assert!(rows[0].frame > first[camera].last().expect("rows").frame);
        assert_whole(camera, rows);
    }
}

#[test]
fn a_rollback_that_is_refused_may_be_asked_for_again() {
    let mut run = Edited::start(&graph(""), 2);
    run.frames(3);
    let without = graph("").replace("write {", "flow other from=live { truth; }\n/-write {");
    run.edit(&without);
    let taken = run.path().join("stamps.jsonl.partial");
    std::fs::create_dir(&taken).expect("a folder where the file would be");
    match run.editor().rollback() {
        Err(ReloadError::Refused(errors)) => assert!(errors[0].cause.contains("stamps.jsonl"), "{errors:?}"),
        other => panic!("{other:?}"),
    }
    std::fs::remove_dir(&taken).expect("it is ours");
    assert!(
        matches!(run.editor().rollback(), Ok(Outcome::Made(_))),
        "the version before is not forgotten"
    );
    run.frames(3);
    run.end();
}

#[test]
fn an_edit_on_probation_that_fails_is_taken_back_by_itself() {
    let mut run = Edited::start(&graph("version=1"), 2);
    run.frames(25);
    let plan = run.plan(&graph("version=2 fail-every=2"));
    let outcome = run.editor().reload(plan, None, Some(Default::default()));
    assert!(matches!(outcome, Ok(Outcome::Made(_))));
    run.until("the old version", |_| {
        let receipts = run.editor().receipts(2);
        receipts
            .iter()
            .any(|receipt| matches!(&receipt.cause, Cause::Automatic(cause) if cause.contains("seen.stamps")))
    });
    run.frames(3);
    run.end();
    let rows = stamps(&run.rows("stamps.jsonl"));
    assert!(rows.values().all(|rows| rows.last().expect("rows").version == 1));
}

#[test]
fn panics_and_errors_around_a_cut_cost_what_they_always_cost() {
    let mut run = Edited::start(&graph("version=1 fail-every=3"), 2);
    run.frames(4);
    run.edit(&graph("version=2 fail-every=2"));
    run.frames(4);
    run.edit(&graph("version=3 panic-every=7"));
    run.frames(8);
    // A poisoned instance does not hand its state on: the next version begins from nothing.
    run.edit(&graph("version=4"));
    run.frames(4);
    run.end();
    for (camera, rows) in stamps(&run.rows("stamps.jsonl")) {
        let fresh: Vec<_> = rows.iter().filter(|row| row.version == 4).cloned().collect();
        assert_eq!(fresh.first().map(|row| row.count), Some(1), "{camera}");
        assert_whole(&camera, &fresh);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random edits one upon the other, at random distances.
    #[test]
    fn any_series_of_edits_answers_every_frame_once(
        workers in 1..4_usize,
        edits in prop::collection::vec((0..4_u8, 0..4_u8, 0..6_u64), 3..8),
    ) {
        let mut run = Edited::start(&graph("version=1"), workers);
        run.frames(1);
        let (mut version, mut live) = (1, 0);
        for (index, (what, extra, pause)) in edits.into_iter().enumerate() {
            match what {
                0 => version += 1,
                1 => live += 1,
                _ => {}
            }
            let more = match extra {
                0 => String::new(),
                1 => format!("write {{ jsonl \"more{index}.jsonl\" from=seen.stamps; }}"),
                2 => format!("flow other{index} from=live {{ truth; track as=tracks; }}"),
                _ => format!("query q{index} from=seen.stamps {{ window \"1s\"; select n=\"count(*)\"; }}\nwrite {{ jsonl \"q{index}.jsonl\" from=q{index}; }}"),
            };
            match run.try_edit(&graph_with(&format!("version={version} live={live}"), &more)) {
                Ok(Outcome::Made(receipt)) => prop_assert_eq!((receipt.lost, receipt.doubled), (0, 0)),
                Ok(Outcome::Unchanged) => {}
                Err(error) => panic!("{error}"),
            }
            if pause > 0 {
                run.frames(pause);
            }
        }
        let report = run.end();
        let rows = stamps(&run.rows("stamps.jsonl"));
        for camera in &report.cameras {
            let rows = &rows[&camera.name];
            prop_assert_eq!(rows.len() as u64, camera.counts.admitted);
            assert_whole(&camera.name, rows);
        }
    }
}

/// An operator with several inputs on lanes of its own, which keeps pictures from frame to frame.
#[test]
fn clips_answer_every_frame_over_edits() {
    let clip = |params: &str| {
        graph_with(
            "version=1",
            &format!(
                "flow kept from=live {{ clip on=seen.truth {params}; encode h264 preset=ultrafast; write {{ mp4 \"{{camera}}.mp4\"; }}; }}"
            ),
        )
    };
    let mut run = Edited::start(&clip("before=\"1s\""), 2);
    run.frames(5);
    // In place, built anew, and left alone.
    run.edit(&clip("before=\"2s\""));
    run.frames(5);
    run.edit(&clip("before=\"2s\" cold=\"8MiB\""));
    run.frames(5);
    run.edit(&clip("before=\"2s\" cold=\"8MiB\"").replace("version=1", "version=2"));
    run.frames(5);
    let report = run.end();
    let admitted: u64 = report.cameras.iter().map(|camera| camera.counts.admitted).sum();
    let clip = report
        .nodes
        .iter()
        .find(|node| node.name == "kept.clip")
        .expect("a clip");
    assert_eq!(clip.errors, 0);
    assert!(clip.rows > 0 && clip.rows <= admitted, "{} of {admitted}", clip.rows);
}
