//! What is published plays in a real browser: `play.mjs` drives headless Chromium, where it and Node's packages are
//! installed (`make setup-tests`); elsewhere this says so and passes.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::{Folder, flowrun, root};

const WALL: &str = r#"
server listen="127.0.0.1:0"
cameras junction { synthetic north fps=10 size="320x180"; }
flow vehicles from=junction { truth; track as=tracks; }
flow wall from=junction {
    draw tracks=vehicles.tracks clock=utc align=latest
    encode h264 preset=ultrafast keyframe-every="1s" as=video
    publish { hls "/live/{camera}" segment="1s"; }
}
"#;

/// A server that ends with the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn installed() -> bool {
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).status();
    let browser = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
    ]
    .iter()
    .any(|path| Path::new(path).exists());
    let found = node.is_ok_and(|status| status.success())
        && (browser || std::env::var_os("CHROMIUM").is_some())
        && root().join("tests/browser/node_modules/playwright-core").is_dir();
    if !found {
        println!("skipped: no Node, Chromium, or packages in tests/browser (make setup-tests)");
    }
    found
}

#[test]
fn streams_and_playlists_play_in_chromium() {
    if !installed() {
        return;
    }
    let folder = Folder::new();
    let graph = folder.write("wall.kdl", WALL);
    let mut child = flowrun()
        .args(["run", "--quiet"])
        .arg(graph)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = child.stderr.take().unwrap();
    let _served = Served(child);
    let mut lines = BufReader::new(said).lines().map_while(Result::ok);
    let address = lines.find_map(|line| {
        line.split_once("http://")
            .map(|(_, rest)| rest.trim_end_matches('/').to_owned())
    });
    let base = format!(
        "http://{}/live/north",
        address.expect("the server says where it listens")
    );
    let played = Command::new("node")
        .arg(root().join("tests/browser/play.mjs"))
        .args([&base, "4", "stream", "hls", "boxes"])
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&played.stdout).into_owned();
    println!("{report}{}", String::from_utf8_lossy(&played.stderr));
    assert_eq!(report.lines().count(), 3);
    for line in report.lines() {
        let result: serde_json::Value = serde_json::from_str(line).unwrap();
        // How smoothly is a matter of the machine; that it plays, and is read without a complaint, is ours.
        assert!(result["errors"].as_array().is_none_or(Vec::is_empty), "{line}");
        match result["mode"].as_str() {
            Some("boxes") => assert_eq!(result["ok"], true, "{line}"),
            _ => assert!(result["played"].as_f64().is_some_and(|played| played > 1.0), "{line}"),
        }
    }
}
