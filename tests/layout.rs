//! The house keeps its shape: imports run one way, each outside library has one importer, `unsafe` stays
//! where it is allowed, files stay small, and every operator is registered.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use flowrun::dsl::port::Catalogue;
use flowrun::prelude::*;
use serde_json::Value;

/// From the bottom to the top; a crate may import those before it.
const CRATES: [&str; 5] = [
    "flowrun-derive",
    "flowrun-dsl",
    "flowrun-engine",
    "flowrun-operators",
    "flowrun",
];

/// The one folder or file that may name an outside library.
const IMPORTERS: [(&str, &[&str]); 13] = [
    // The fuzz target makes requests for it, and the command line asks other runs.
    ("axum", &["src/serve/", "src/cmd/remote.rs", "tests/fuzz/server.rs"]),
    ("hyper", &["src/serve/", "src/cmd/remote.rs"]),
    ("timely", &["engine/src/dataflow/"]),
    ("differential_dataflow", &["engine/src/dataflow/"]),
    ("kdl", &["dsl/src/document/"]),
    ("sqlparser", &["dsl/src/expr/"]),
    ("ort", &["engine/src/infer/"]),
    ("flatbuffers", &["engine/src/infer/ranges.rs"]),
    ("cudarc", &["engine/src/device/"]),
    (
        "ffmpeg_next",
        &[
            "operators/src/decode/",
            "operators/src/encode/",
            "operators/src/source/",
            "operators/src/detect/tests/",
        ],
    ),
    ("retina", &["operators/src/source/rtsp/"]),
    ("serde_yaml", &["operators/src/detect/labels.rs"]),
    ("miette", &["src/cmd/"]),
];

/// Where `unsafe` may stand: wrappers of libraries written in C, and benches that ask the system what a run cost.
const UNSAFE: [&str; 8] = [
    "engine/src/device/",
    "engine/src/infer/",
    "operators/src/decode/",
    "operators/src/encode/convert.rs",
    "operators/src/encode/h264.rs",
    "operators/src/source/demux.rs",
    "operators/src/detect/tests/golden.rs",
    "benches/",
];

/// Where operators live, which see event time alone (law 6).
const CLOCKLESS: [&str; 1] = ["operators/src/"];

/// Where a clock is read all the same: how long ago a viewer asked decides whether pictures are wanted, and no row.
const CLOCKS: [&str; 1] = ["operators/src/publish/hls_clock.rs"];

const LINES_AT_MOST: usize = 700;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

struct Source {
    /// Relative to the root, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    /// Lines without comments, numbered from one.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
    }
    fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

/// Every Rust file of the workspace but this one, whose lists name everything.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders: Vec<PathBuf> = ["src", "dsl", "engine", "operators", "tests", "examples", "benches"]
        .map(|folder| root().join(folder))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                let text = std::fs::read_to_string(&path).unwrap();
                sources.push(Source { path: relative, text });
            }
        }
    }
    sources.retain(|source| source.path != "tests/layout.rs");
    assert!(sources.len() > 50, "the scan finds the sources");
    sources
}

/// Whether a line has this word as a whole.
fn has_word(line: &str, word: &str) -> bool {
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_letter) && !line[at + word.len()..].starts_with(is_letter))
}

/// Whether a line names a crate: `use x`, `x::`, `extern crate x`.
fn names_crate(line: &str, name: &str) -> bool {
    let line = line.trim_start().trim_start_matches("pub ");
    let imported = ["use ", "use ::", "extern crate "]
        .iter()
        .filter_map(|keyword| line.strip_prefix(keyword))
        .any(|rest| has_word(rest.split([':', ';', ' ']).next().unwrap_or_default(), name));
    let path = format!("{name}::");
    imported
        || line.match_indices(&path).any(|(at, _)| {
            !line[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':')
        })
}

#[track_caller]
fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn imports_run_one_way() {
    let place = |name: &str| CRATES.iter().position(|known| *known == name);
    let packages = packages();
    assert_eq!(packages.len(), CRATES.len());
    let mut faults = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let own = place(name).unwrap_or_else(|| panic!("`{name}` has no place in the order of crates"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let of = dependency["name"].as_str().unwrap();
            if place(of).is_some_and(|place| place >= own) {
                faults.push(format!("{name} imports {of}"));
            }
        }
    }
    none(faults);
}

#[test]
fn the_language_knows_no_machine() {
    for package in packages().iter().filter(|package| package["name"] == "flowrun-dsl") {
        let names: Vec<_> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|of| of["name"].clone())
            .collect();
        for machine in ["timely", "differential-dataflow", "ffmpeg-next", "ort", "cudarc"] {
            assert!(
                !names.iter().any(|name| name == machine),
                "flowrun-dsl imports {machine}"
            );
        }
    }
}

#[test]
fn outside_libraries_have_one_importer_each() {
    let sources = sources();
    let mut faults = Vec::new();
    for (library, places) in IMPORTERS {
        for source in sources.iter().filter(|source| !source.is_in(places)) {
            for (number, line) in source.code().filter(|(_, line)| names_crate(line, library)) {
                faults.push(format!("{}:{number} names {library}: {}", source.path, line.trim()));
            }
        }
        let importer =
            |source: &&Source| source.is_in(places) && source.code().any(|(_, line)| names_crate(line, library));
        assert!(
            sources.iter().any(|source| importer(&source)),
            "nobody imports {library} any more"
        );
    }
    none(faults);
}

#[test]
fn what_stands_outside_imports_the_facade_only() {
    let outside = ["tests/", "examples/", "benches/"];
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.is_in(&outside)) {
        for (number, line) in source.code() {
            if CRATES[..4]
                .iter()
                .any(|inner| names_crate(line, &inner.replace('-', "_")))
            {
                faults.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none(faults);
}

#[test]
fn unsafe_stays_in_the_wrappers_and_says_why() {
    let mut faults = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        // Content security policies know the word too.
        let code = source
            .code()
            .filter(|(_, line)| has_word(line, "unsafe") && !line.contains("\"unsafe"));
        for (number, line) in code {
            if !source.is_in(&UNSAFE) {
                faults.push(format!("{}:{number} is no wrapper: {}", source.path, line.trim()));
            }
            // `unsafe extern` in a type, `unsafe fn` and `unsafe trait` state a contract; a block or an impl uses one.
            let states = ["unsafe extern", "unsafe fn", "unsafe trait"]
                .iter()
                .any(|contract| line.contains(contract));
            let above = &lines[number.saturating_sub(7)..number];
            if !states && !above.iter().any(|line| line.contains("SAFETY:")) {
                faults.push(format!(
                    "{}:{number} without `// SAFETY:`: {}",
                    source.path,
                    line.trim()
                ));
            }
        }
    }
    none(faults);
}

#[test]
fn operators_read_no_wall_clock() {
    let mut faults = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| source.is_in(&CLOCKLESS) && !source.is_in(&CLOCKS) && !source.is_test())
    {
        for (number, line) in source.code() {
            // The engine's wall clock is for sources that hear live cameras.
            let hears = source.is_in(&["operators/src/source/rtsp/"]);
            let clocks = ["SystemTime", "Instant", "WallClock"];
            let clocks = if hears { &clocks[..2] } else { &clocks[..] };
            if clocks.iter().any(|clock| has_word(line, clock)) {
                faults.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none(faults);
}

#[test]
fn files_say_why_they_exist_and_hold_one_idea() {
    let mut faults = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//!") {
            faults.push(format!("{} does not open with `//!`", source.path));
        }
        let lines = source.text.lines().count();
        // Inline snapshots are data.
        if lines > LINES_AT_MOST && !source.text.contains("assert_snapshot!") {
            faults.push(format!("{} has {lines} lines, more than {LINES_AT_MOST}", source.path));
        }
    }
    none(faults);
}

#[test]
fn every_operator_is_registered() {
    let registry = Registry::builtin();
    let known: Vec<&str> = registry.operators().iter().map(|spec| spec.kind.as_str()).collect();
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for source in sources()
        .iter()
        .filter(|source| source.is_in(&["operators/src/"]) && !source.is_test())
    {
        for (_, line) in source.code() {
            if let Some(rest) = line.trim().strip_prefix("const KIND: &'static str = \"") {
                let kind = rest.split('"').next().unwrap_or_default();
                found.insert(kind.into(), source.path.clone());
            }
        }
    }
    let faults = found
        .iter()
        .filter(|(kind, _)| !known.contains(&kind.as_str()))
        .map(|(kind, path)| format!("`{kind}` of {path} is not in BUILTIN"));
    none(faults.collect());
    assert_eq!(found.len(), known.len(), "the scan finds what BUILTIN has");
}
