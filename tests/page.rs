//! The page of a run in headless Chromium: pictures play with boxes over them, counts change, the graph is drawn, nothing
//! complains. Needs Chromium, Node and what `tools/setup.sh tests` puts under `tests/browser/`.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use support::{Folder, flowrun, root};

/// A junction that knows its truth, so that no model is needed. Windows are short: counts change soon.
const GRAPH: &str = r#"
cameras junction {
    defaults fps=10 size="320x180" density=2
    synthetic north seed=7
    synthetic south seed=8
}
zones cameras=junction {
    polygon arm   0.50 0.00  0.66 0.00  0.65 0.30  0.42 0.30
}
flow vehicles from=junction {
    truth min-visible=0.3
    track as=tracks
    visit zones=arm as=visits
}
query waiting from=vehicles.visits {
    window   "10s" every="1s"
    group-by camera class
    select   vehicles="count(distinct track)" longest="max(dwell)"
}
flow wall from=junction {
    draw zones=arm
    encode h264 preset=ultrafast as=video
    publish { hls "/live/{camera}"; }
}
publish {
    sse "/events/tracks" from=vehicles.tracks group=frame
    sse "/events/waiting" from=waiting
}
"#;

#[test]
fn shows_a_run() {
    let browser = root().join("tests/browser");
    let chromium = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
    ];
    let chromium =
        std::env::var_os("CHROMIUM").is_some() || chromium.iter().any(|path| std::path::Path::new(path).exists());
    if !chromium || !browser.join("node_modules/playwright-core").exists() {
        println!("skipped: no Chromium, or no tests/browser/node_modules: tools/setup.sh tests");
        return;
    }
    let folder = Folder::new();
    let graph = folder.write("graph.kdl", GRAPH);
    let mut command = flowrun();
    command
        .args(["run", "--listen", "127.0.0.1:0", "--for", "5m"])
        .arg(graph);
    let mut run = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut lines = BufReader::new(run.stderr.take().expect("piped"))
        .lines()
        .map_while(Result::ok);
    let url = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
    let url = url.expect("it says where it listens");
    // What it says later must not fill the pipe.
    let rest = std::thread::spawn(move || lines.for_each(drop));
    let looked = Command::new("node")
        .arg(browser.join("page.mjs"))
        .arg(url)
        .arg(folder.path(""))
        .output();
    // It ends at the test's end, whatever was seen.
    let _ = run.kill();
    let _ = run.wait();
    let _ = rest.join();
    let looked = looked.expect("node starts");
    assert!(
        looked.status.success(),
        "{}{}",
        String::from_utf8_lossy(&looked.stdout),
        String::from_utf8_lossy(&looked.stderr)
    );
}
