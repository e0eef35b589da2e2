//! The graphs that come with flowrun: each opens with why, passes the check without a warning, and gives the
//! same bytes whoever runs it, on however many workers (law 6).

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use support::{Folder, on_file, root};

fn graphs() -> Vec<PathBuf> {
    let mut graphs: Vec<PathBuf> = std::fs::read_dir(root().join("graphs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "kdl"))
        .collect();
    graphs.sort();
    assert!(!graphs.is_empty());
    graphs
}

#[test]
fn each_says_why_and_has_nothing_wrong() {
    for graph in graphs() {
        let text = std::fs::read_to_string(&graph).unwrap();
        assert!(
            text.lines().take(2).all(|line| line.starts_with("// ")),
            "{}",
            graph.display()
        );
        let said = on_file(&["check", "--root", root().to_str().unwrap()], &graph);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}", graph.display());
    }
}

/// Everything that a graph writes, by file.
fn written(text: &str, workers: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Folder::new();
    let graph = folder.write("graphs/graph.kdl", text);
    let said = on_file(&["run", "--quiet", "--workers", workers], &graph);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let names = folder
        .names()
        .into_iter()
        .filter(|name| name.starts_with("graphs/out/"));
    names
        .map(|name| (name.clone(), std::fs::read(folder.path(&name)).unwrap()))
        .collect()
}

#[test]
fn finite_ones_give_the_same_bytes_on_any_number_of_workers() {
    for graph in graphs() {
        let text = std::fs::read_to_string(&graph).unwrap();
        if !text.contains("pace=max") {
            continue;
        }
        let alone = written(&text, "1");
        let lines = |file: &Vec<u8>| file.iter().filter(|byte| **byte == b'\n').count();
        assert!(
            alone.values().any(|file| lines(file) > 10),
            "{} says little",
            graph.display()
        );
        for workers in ["2", "3"] {
            assert!(
                written(&text, workers) == alone,
                "{} at {workers} workers",
                graph.display()
            );
        }
    }
}

#[test]
fn endless_ones_run_until_they_are_stopped() {
    for graph in graphs() {
        let text = std::fs::read_to_string(&graph).unwrap();
        // Network cameras of other people's networks are not asked.
        if text.contains("pace=max") || text.contains("rtsp ") {
            continue;
        }
        let detects = text.contains("\nmodel ");
        if detects && !support::has_onnx_runtime() {
            println!("skipped: no ONNX Runtime for {}", graph.display());
            continue;
        }
        let folder = Folder::new();
        let models = root().join("models");
        let text = text.replace("../models", models.to_str().unwrap());
        let graph = folder.write("graphs/graph.kdl", &text);
        let command = [
            "run",
            "--quiet",
            "--listen",
            "127.0.0.1:0",
            "--for",
            "1s",
            "--root",
            models.to_str().unwrap(),
        ];
        let said = on_file(&command, &graph);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(folder.names().iter().all(|name| !name.ends_with(".partial")));
    }
}
