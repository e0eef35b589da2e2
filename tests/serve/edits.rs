//! Edits over HTTP: who may make them, what is said of them, and that those who watch do not notice.

use flowrun::prelude::*;
use serde_json::json;

use crate::client::{Answer, Events, ask, get, send, until};
use crate::served::{JUNCTION, SECRET, Served, settings, with_token};

fn bearer() -> String {
    format!("Bearer {SECRET}")
}

fn put(served: &Served, graph: &str, more: &[(&str, &str)]) -> Answer {
    let bearer = bearer();
    let headers: Vec<(&str, &str)> = [("Authorization", bearer.as_str())]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    send(served.address, "PUT", "/api/graph", &headers, graph)
}

fn look(served: &Served, target: &str) -> Answer {
    ask(served.address, "GET", target, &[("Authorization", &bearer())])
}

/// The junction with another line to cross.
fn edited(y: &str) -> String {
    JUNCTION
        .replace("0.0 0.55  1.0 0.55", &format!("0.0 {y}  1.0 {y}"))
        .replace("0.0 0.55 1.0 0.55", &format!("0.0 {y} 1.0 {y}"))
}

#[test]
fn an_edit_is_made_and_told_of() {
    let served = Served::of(JUNCTION, with_token());
    let before = look(&served, "/api/graph.kdl");
    assert_eq!(before.body, JUNCTION);
    let tag = before.header("etag").unwrap().to_owned();
    let would = send(
        served.address,
        "POST",
        "/api/graph/diff",
        &[("Authorization", &bearer())],
        &edited("0.5"),
    );
    assert_eq!(would.status, 200);
    let changed = |document: &serde_json::Value| -> Vec<(String, String)> {
        let changes = document["changes"].as_array().unwrap().iter();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        changes
            .filter(|change| change["action"] != "kept")
            .map(|change| (text(&change["node"]), text(&change["action"])))
            .collect()
    };
    let expected = [
        ("across".to_owned(), "live".to_owned()),
        ("vehicles.crossings".to_owned(), "live".to_owned()),
    ];
    assert_eq!(changed(&would.json()), expected);
    let made = put(&served, &edited("0.5"), &[("If-Match", &tag)]);
    assert_eq!(made.status, 200, "{made:?}");
    let receipt = &made.json()["receipt"];
    assert_eq!(
        (&receipt["version"], &receipt["lost"], &receipt["doubled"]),
        (&json!(2), &json!(0), &json!(0))
    );
    assert_eq!(changed(receipt), expected);
    assert_eq!(look(&served, "/api/graph.kdl").body, edited("0.5"));
    let reloads = look(&served, "/api/reloads").json();
    assert_eq!(
        (&reloads["version"], &reloads["receipts"][0]["version"]),
        (&json!(2), &json!(2))
    );
    // Whoever edits the text from before gets told, with what would change now.
    let late = put(&served, &edited("0.6"), &[("If-Match", &tag)]);
    assert_eq!(late.status, 412);
    assert_eq!(changed(&late.json()["diff"]), expected);
    let back = ask(served.address, "POST", "/api/rollback", &[("Authorization", &bearer())]);
    assert_eq!(back.status, 200, "{back:?}");
    assert_eq!(back.json()["receipt"]["cause"], "rollback");
    assert_eq!(look(&served, "/api/graph.kdl").body, JUNCTION);
}

#[test]
fn nobody_edits_without_the_token() {
    let open = Served::junction();
    assert_eq!(send(open.address, "PUT", "/api/graph", &[], &edited("0.5")).status, 403);
    let closed = Served::of(JUNCTION, with_token());
    for (method, target) in [
        ("PUT", "/api/graph"),
        ("POST", "/api/rollback"),
        ("POST", "/api/graph/diff"),
    ] {
        assert_eq!(
            send(closed.address, method, target, &[], &edited("0.5")).status,
            401,
            "{target}"
        );
    }
    let wrong = [("Authorization", "Bearer wrong-wrong-wrong-wrong")];
    assert_eq!(
        send(closed.address, "PUT", "/api/graph", &wrong, &edited("0.5")).status,
        401
    );
    assert_eq!(look(&closed, "/api/reloads").json()["version"], 1);
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_changes_nothing() {
    let served = Served::of(JUNCTION, with_token());
    let wrong = put(&served, &JUNCTION.replace("lines=across", "lines=nowhere"), &[]);
    assert_eq!(wrong.status, 422);
    let findings = &wrong.json()["findings"];
    assert!(findings.to_string().contains("nowhere"), "{findings}");
    let reloads = look(&served, "/api/reloads").json();
    assert_eq!(reloads["version"], 1);
    assert!(reloads["refused"]["error"].as_str().unwrap().contains("nowhere"));
    for (more, named) in [
        ("write { jsonl \"stolen.jsonl\" from=vehicles.tracks; }", "stolen.jsonl"),
        (
            "cameras more { rtsp spy \"rtsp://127.0.0.1/x\" user=env.HOME; }",
            "HOME",
        ),
    ] {
        let beyond = put(&served, &format!("{JUNCTION}\n{more}\n"), &[]);
        assert_eq!(beyond.status, 403, "{beyond:?}");
        assert!(beyond.body.contains(named), "{beyond:?}");
    }
    let with_secret = "cameras far { rtsp gate \"rtsp://127.0.0.1:9/a\" user=env.PATH password=env.PATH; }";
    let elsewhere = format!("{JUNCTION}\n{}\n", with_secret.replace("127.0.0.1", "192.0.2.7"));
    let secretive = Served::of(&format!("{JUNCTION}\n{with_secret}\n"), with_token());
    let sent = put(&secretive, &elsewhere, &[]);
    assert_eq!(sent.status, 403, "{sent:?}");
    assert!(sent.body.contains("192.0.2.7"), "{sent:?}");
    let large = put(&served, &format!("// {}", "x".repeat(3 << 20)), &[]);
    assert!([413, 422].contains(&large.status), "{}", large.status);
    assert_eq!(put(&served, &edited("0.5"), &[]).status, 200);
    assert_eq!(look(&served, "/api/reloads").json()["refused"], json!(null));
}

#[test]
fn those_who_watch_something_else_notice_nothing() {
    let served = Served::of(JUNCTION, settings());
    let mut tracks = Events::open(served.address, "/events/tracks/north", None);
    let mut receipts = Events::open(served.address, "/api/reloads/events", None);
    let first = tracks.next().unwrap();
    let editor = served.editor();
    let compile = |graph: &str| {
        let registry = <Registry as Builtin>::builtin();
        flowrun::compile_text("graph.kdl", graph, std::path::Path::new("."), &registry)
            .unwrap()
            .1
            .plan
    };
    for index in 0..50 {
        let made = editor.reload(compile(&edited(&format!("0.{}", 300 + index))), None, None);
        assert!(
            matches!(made, Ok(flowrun::engine::reload::Outcome::Made(_))),
            "{made:?}"
        );
    }
    let last = editor.context().ledger.total().admitted;
    let mut before = (first.id, first.data["frame"].as_u64().unwrap());
    for event in tracks.by_ref().take(50) {
        let now = (event.id, event.data["frame"].as_u64().unwrap());
        assert_eq!((event.event.as_str(), now), ("frame", (before.0 + 1, before.1 + 1)));
        before = now;
    }
    for version in 2..=51 {
        let receipt = receipts.next().unwrap();
        assert_eq!((receipt.id, receipt.event.as_str()), (version, "receipt"));
        assert_eq!(
            (&receipt.data["lost"], &receipt.data["doubled"]),
            (&json!(0), &json!(0))
        );
    }
    until("more frames", || {
        (editor.context().ledger.total().admitted > last).then_some(())
    });
    assert_eq!(get(served.address, "/readyz").status, 200);
}
