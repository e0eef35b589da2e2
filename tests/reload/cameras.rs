//! Cameras join, leave and are pointed elsewhere while the others go on.

use crate::scene::{Edited, assert_whole, stamps};

fn graph(cameras: &str) -> String {
    format!(
        r#"cameras live {{
    defaults size="160x90" fps=50
    synthetic first seed=1
{cameras}}}
flow seen from=live {{
    truth
    linger
    stamp as=stamps
}}
query all from=seen.stamps {{
    window "1s"
    select frames="count(*)"
}}
write {{
    jsonl "stamps.jsonl" from=seen.stamps
    jsonl "all.jsonl" from=all
}}
"#
    )
}

#[test]
fn cameras_join_and_leave_and_the_others_do_not_notice() {
    for workers in [1, 2] {
        let mut run = Edited::start(&graph("    synthetic gone seed=2\n"), workers);
        run.frames(5);
        let receipt = run.edit(&graph("    synthetic gone seed=2\n    synthetic late seed=3\n"));
        let kept = receipt.diff.changes.iter().find(|change| change.name == "all");
        assert_eq!(
            kept.map(|change| change.action.name()),
            Some("live"),
            "a query goes on for more cameras"
        );
        run.frames(5);
        run.edit(&graph("    synthetic late seed=3\n"));
        run.frames(5);
        run.edit(&graph(
            "    synthetic late seed=3\n    synthetic gone seed=2\n    synthetic more seed=4\n",
        ));
        run.frames(70);
        let report = run.end();
        let names: Vec<&str> = report.cameras.iter().map(|camera| camera.name.as_str()).collect();
        assert_eq!(names, ["first", "late", "gone", "more"]);
        let rows = stamps(&run.rows("stamps.jsonl"));
        assert_whole("first", &rows["first"]);
        assert_whole("late", &rows["late"]);
        assert_whole("more", &rows["more"]);
        let counts = |name: &str| {
            report
                .cameras
                .iter()
                .find(|camera| camera.name == name)
                .map(|camera| camera.counts)
        };
        assert_eq!(rows["first"].len() as u64, counts("first").expect("there").admitted);
        assert!(!run.rows("all.jsonl").is_empty());
    }
}

#[test]
fn a_camera_pointed_elsewhere_goes_on_counting() {
    let mut run = Edited::start(&graph("    synthetic other seed=2\n"), 2);
    run.frames(5);
    let receipt = run.edit(&graph("    synthetic other seed=9\n"));
    let change = receipt.diff.changes.iter().find(|change| change.name == "other");
    assert_eq!(change.map(|change| change.action.name()), Some("rebuilt"));
    run.frames(5);
    let report = run.end();
    let rows = stamps(&run.rows("stamps.jsonl"));
    for camera in &report.cameras {
        assert_whole(&camera.name, &rows[&camera.name]);
        assert_eq!(rows[&camera.name].len() as u64, camera.counts.admitted);
    }
}

#[test]
fn what_holds_for_a_camera_alone_changes_in_place() {
    let mut run = Edited::start(&graph("    synthetic other seed=2\n"), 1);
    run.frames(2);
    run.edit(&graph("    synthetic other seed=2 priority=high in-flight=3\n"));
    let context = run.running().context().clone();
    let other = context
        .generation()
        .cameras()
        .find(|(_, camera)| camera.name == "other")
        .map(|(id, _)| id)
        .expect("there");
    assert_eq!(context.ledger.params(other).map(|params| params.in_flight), Some(3));
    run.frames(2);
    run.end();
    for (camera, rows) in stamps(&run.rows("stamps.jsonl")) {
        assert_whole(&camera, &rows);
    }
}

#[test]
fn a_group_of_cameras_may_come_and_go() {
    let more = |cameras: &str| format!("{}\n{cameras}", graph(""));
    let second = r#"
cameras annex { synthetic door seed=5 size="160x90" fps=50; }
flow inside from=annex { truth; stamp as=stamps; }
write { jsonl "inside.jsonl" from=inside.stamps; }
"#;
    let mut run = Edited::start(&more(""), 2);
    run.frames(3);
    run.edit(&more(second));
    run.frames(5);
    run.edit(&more(""));
    run.frames(3);
    run.edit(&more(&second.replace("inside.jsonl", "again.jsonl")));
    run.frames(5);
    run.end();
    for file in ["inside.jsonl", "again.jsonl", "stamps.jsonl"] {
        for (camera, rows) in stamps(&run.rows(file)) {
            assert!(rows.len() >= 3, "{file}");
            assert_whole(&camera, &rows);
        }
    }
}
