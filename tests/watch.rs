//! `flowrun run --watch`: saving the graph's file is an edit, whatever the editor does with it, and a process that is
//! killed at any moment comes back with a graph that is whole.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use support::{Folder, flowrun};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn graph(version: usize) -> String {
    format!(
        "cameras c {{ synthetic a fps=50 size=\"160x90\"; }}\nzones camera=a {{ line l 0.{version:02} 0.1 0.9 0.9; }}\nflow f from=c {{\n    truth\n    track as=tracks\n    cross lines=l\n}}\n"
    )
}

/// A run under way, and what it says, line by line.
struct Run {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Run {
    fn start(folder: &Folder) -> Self {
        let mut command = flowrun();
        command.args(["run", "--watch", "--quiet", "--probation", "0s"]);
        let mut child = command
            .arg(folder.path("graph.kdl"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let err = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in err.lines().map_while(std::result::Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Run {
            child,
            lines,
            said: Vec::new(),
        }
    }

    /// Waits for a line with this in it.
    fn hears(&mut self, what: &str) -> String {
        let began = Instant::now();
        loop {
            match self.lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(what) {
                        return line;
                    }
                }
                Err(_) if began.elapsed() < PATIENCE => {}
                Err(_) => panic!("`{what}` was never said, but {:#?}", self.said),
            }
        }
    }

    /// Nothing is said for a while.
    fn is_quiet(&mut self, time: Duration) {
        if let Ok(line) = self.lines.recv_timeout(time) {
            panic!("`{line}` was said");
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Long enough for the run to look at the file several times.
const LOOKS: Duration = Duration::from_millis(500);

#[test]
fn saving_is_an_edit_however_it_is_done() {
    let folder = Folder::new();
    let file = folder.write("graph.kdl", graph(10));
    let mut run = Run::start(&folder);
    std::thread::sleep(Duration::from_secs(1));
    // In place.
    std::fs::write(&file, graph(11)).unwrap();
    let line = run.hears("version 2");
    assert!(line.contains("0 lost, 0 doubled"), "{line}");
    // By renaming another file over it.
    let other = folder.write("graph.kdl~", graph(12));
    std::fs::rename(other, &file).unwrap();
    run.hears("version 3");
    // Cut off first and written later, and away for a while: neither is an edit.
    std::fs::write(&file, "").unwrap();
    run.is_quiet(LOOKS);
    std::fs::remove_file(&file).unwrap();
    run.is_quiet(LOOKS);
    std::fs::write(&file, graph(13)).unwrap();
    run.hears("version 4");
    // What is wrong is said with its place, and what ran runs on.
    std::fs::write(&file, graph(14).replace("lines=l", "lines=nowhere")).unwrap();
    run.hears("nowhere");
    run.hears("what ran before runs on");
    // Another layout changes nothing that runs.
    std::fs::write(&file, format!("// a word\n{}", graph(13))).unwrap();
    run.hears("nothing that runs");
    std::fs::write(&file, graph(15)).unwrap();
    run.hears("version 5");
}

#[test]
fn a_file_that_no_longer_runs_leaves_the_last_graph_that_did() {
    let folder = Folder::new();
    let file = folder.write("graph.kdl", graph(10));
    let mut run = Run::start(&folder);
    std::thread::sleep(Duration::from_secs(1));
    std::fs::write(&file, graph(11)).unwrap();
    run.hears("version 2");
    std::fs::write(&file, "cameras {").unwrap();
    run.hears("what ran before runs on");
    drop(run);
    let mut run = Run::start(&folder);
    run.hears("going on with the graph that was applied last (edit 1)");
    std::fs::write(&file, graph(12)).unwrap();
    run.hears("version 2");
}

#[test]
fn whenever_it_is_killed_it_comes_back_whole_and_says_with_what() {
    let folder = Folder::new();
    let file = folder.write("graph.kdl", graph(10));
    let mut number = 10;
    for round in 0..5_u64 {
        let mut run = Run::start(&folder);
        if round > 0 {
            let line = run.hears("edit");
            assert!(line.starts_with("beginning with the file"), "{line}");
        }
        std::thread::sleep(Duration::from_millis(700));
        for _ in 0..3 {
            number += 1;
            std::fs::write(&file, graph(number)).unwrap();
            run.hears("version");
        }
        // In the middle of the next one, at a moment that differs from round to round.
        number += 1;
        std::fs::write(&file, graph(number)).unwrap();
        std::thread::sleep(Duration::from_millis(60 + round * 17));
        drop(run);
    }
}

/// A save that comes while an edit is being made ready is an edit too.
#[test]
fn saving_while_an_edit_is_made_is_not_overlooked() {
    let folder = Folder::new();
    let file = folder.write("graph.kdl", graph(10));
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo-yolo11n.onnx");
    std::fs::copy(model, folder.path("m.onnx")).unwrap();
    let mut run = Run::start(&folder);
    std::thread::sleep(Duration::from_secs(1));
    for (round, delay) in [140, 180, 220, 280, 360].into_iter().enumerate() {
        // Opening a model takes a while, or fails after one where there is no ONNX Runtime.
        let slow = format!(
            "{}model m \"m.onnx\" failures={}\nflow d from=c {{ detect m; }}\n",
            graph(11),
            20 + round
        );
        std::fs::write(&file, slow).unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        let last = format!("nowhere{round}");
        std::fs::write(&file, graph(12).replace("lines=l", &format!("lines={last}"))).unwrap();
        run.hears(&last);
    }
}
