//! Real connections through edits that do not concern them: a camera's RTSP sessions, a player in Chromium, a client of events.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Events;
use crate::rtsp::Server;
use crate::scene::Edited;

const EDITS: u64 = 50;
/// For how long the player plays: edits come all through it.
const PLAYED: u64 = 12;

fn graph(cameras: &[String], edit: u64) -> String {
    let edge = 0.5 + edit as f64 / 200.0;
    let more = match edit % 5 {
        1 => "flow beside from=street { truth; track; }\n",
        2 => "query busy from=walk.visits { window \"2s\"; select n=\"count(*)\"; }\n",
        _ => "",
    };
    let another = match edit % 7 {
        3 => "    synthetic guest seed=9\n",
        _ => "",
    };
    format!(
        r#"cameras gates {{
{}}}
cameras street {{
    defaults size="320x180" fps=10
    synthetic north seed=1
{another}}}
cameras stage {{ synthetic shown seed=2 size="320x180" fps=10; }}
zones cameras=street {{ polygon box 0.1 0.1 {edge:.3} 0.1 0.9 0.9 0.1 0.9; }}
flow walk from=street {{
    truth min-visible={}
    track as=tracks
    visit zones=box as=visits
}}
flow steady from=stage {{ truth; track as=tracks; }}
flow wall from=stage {{
    draw clock=utc
    encode h264 preset=ultrafast keyframe-every="1s" as=video
    publish {{ hls "/live/{{camera}}" segment="1s"; }}
}}
flow doors from=gates {{
    encode h264 preset=ultrafast as=video
    publish {{ hls "/doors/{{camera}}" segment="1s"; }}
}}
publish {{ sse "/events" from=steady.tracks group=frame; }}
{more}"#,
        cameras.concat(),
        (edit % 10) as f64 / 10.0,
    )
}

/// A player in Chromium, which says how it went; none where the machine lacks it.
fn player(address: std::net::SocketAddr) -> Option<std::process::Child> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let browser = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
    ];
    let there = browser.iter().any(|path| Path::new(path).exists()) || std::env::var_os("CHROMIUM").is_some();
    if !there || !tests.join("node_modules/playwright-core").is_dir() {
        println!("skipped in part: no Chromium, or no packages in tests/browser (make setup-tests)");
        return None;
    }
    let played = Command::new("node")
        .arg(tests.join("play.mjs"))
        .args([&format!("http://{address}/live/shown"), &PLAYED.to_string(), "hls"])
        .stdout(Stdio::piped())
        .spawn();
    played.ok()
}

#[test]
fn sessions_players_and_clients_stay_through_fifty_edits() {
    let mut camera = Server::start(&["--mounts", "2"]);
    let cameras: Vec<String> = camera
        .iter()
        .flat_map(|server| {
            (0..2).map(|mount| format!("    rtsp gate{mount} \"{}\" transport=tcp\n", server.url(mount)))
        })
        .collect();
    let cameras = match cameras.is_empty() {
        true => vec!["    synthetic gate0 seed=5 size=\"160x90\"\n".to_owned()],
        false => cameras,
    };
    let (mut run, server) = Edited::served(&graph(&cameras, 0), 2);
    run.frames(10);
    let sessions = camera.as_mut().map(Server::sessions);
    assert!(
        sessions.as_ref().is_none_or(|sessions| sessions.len() == 2),
        "{sessions:?}"
    );
    let mut events = Events::open(server.address(), "/events", None);
    let first = events.next().expect("an event");
    let player = player(server.address());
    let began = Instant::now();
    let apart = Duration::from_secs(PLAYED + 4) / EDITS as u32;
    for edit in 1..=EDITS {
        let receipt = run.edit(&graph(&cameras, edit));
        let touched = receipt.diff.changes.iter().filter(|change| {
            ["wall", "doors", "steady", "gate", "shown", "sse"]
                .iter()
                .any(|part| change.name.contains(part))
                && change.action != flowrun::dsl::plan::Action::Kept
        });
        assert_eq!(touched.count(), 0, "{:#?}", receipt.diff);
        std::thread::sleep((apart * edit as u32).saturating_sub(began.elapsed()));
    }
    if let Some(player) = player {
        let played = player.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&played.stdout).into_owned();
        println!("{said}");
        let result: serde_json::Value = serde_json::from_str(said.trim()).expect("the player says how it went");
        // How smoothly is a matter of the machine; that it plays on without a complaint is ours.
        assert!(result["errors"].as_array().is_some_and(Vec::is_empty), "{said}");
        assert!(
            result["played"]
                .as_f64()
                .is_some_and(|played| played > PLAYED as f64 / 2.0),
            "{said}"
        );
    }
    assert_eq!(
        camera.as_mut().map(Server::sessions),
        sessions,
        "the sessions are those of the beginning"
    );
    let shown = run.counts("shown").admitted;
    let mut before = (first.id, first.data["frame"].as_u64().expect("a frame"));
    while before.1 + 1 < shown {
        let event = events.next().expect("the stream goes on");
        let now = (event.id, event.data["frame"].as_u64().expect("a frame"));
        assert_eq!(now, (before.0 + 1, before.1 + 1), "events follow each other");
        before = now;
    }
    println!(
        "{EDITS} edits in {:.1} s, {} events without a gap",
        began.elapsed().as_secs_f64(),
        before.0 - first.id
    );
    assert!(before.0 - first.id > 50);
    drop(events);
    run.end();
    server.close();
}
