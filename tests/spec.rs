//! The manual means what it says: every block of it that is a graph is compiled, and what it calls wrong is
//! refused for the reason that it gives.
//!
//! Behind `kdl` stand `name=NAME` (others may build on it), `with=NAME,NAME` (those blocks before this one),
//! `must-fail=CODE,CODE` (these findings and no others) and `warns=CODE,CODE`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use flowrun::dsl::diagnostic::code;
use flowrun::dsl::system::Anything;
use flowrun::dsl::{SourceFile, compile_with, fmt};
use flowrun::prelude::*;

/// Chapters of the language; what rows and the server are is tested where they are made.
const CHAPTERS: [&str; 5] = ["clips.md", "language.md", "query.md", "reload.md", "time.md"];

fn chapter(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec").join(name)).unwrap()
}

struct Block {
    /// Where its text begins.
    place: String,
    info: BTreeMap<String, Vec<String>>,
    text: String,
}

impl Block {
    fn list(&self, key: &str) -> BTreeSet<&str> {
        self.info.get(key).into_iter().flatten().map(String::as_str).collect()
    }
}

/// The blocks that are graphs.
fn blocks(chapter: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut other = false;
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(""), Some(_)) => blocks.extend(open.take()),
            (Some(""), None) => other = false,
            (Some(info), None) if !other && info.split(' ').next() == Some("kdl") => {
                let words = info.split(' ').skip(1).map(|word| {
                    let (key, list) = word.split_once('=').unwrap_or_else(|| panic!("{chapter}: `{word}`"));
                    assert!(
                        ["name", "with", "must-fail", "warns"].contains(&key),
                        "{chapter}: `{word}`"
                    );
                    (key.to_owned(), list.split(',').map(str::to_owned).collect())
                });
                open = Some(Block {
                    place: format!("{chapter}:{}", index + 2),
                    info: words.collect(),
                    text: String::new(),
                });
            }
            (Some(_), None) => other = true,
            (_, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{chapter}: a block without its end");
    blocks
}

/// The codes of what is found, and all of it as text.
fn findings(text: &str) -> (BTreeSet<&'static str>, BTreeSet<&'static str>, String) {
    let source = SourceFile::new("graph.kdl", text).unwrap();
    let registry = Registry::builtin();
    let mut found = flowrun::dsl::Diagnostics::default();
    match compile_with(&source, Path::new("/graphs"), &registry, &Anything) {
        Ok(compiled) => compiled.warnings.into_iter().for_each(|warning| found.push(warning)),
        Err(refused) => found = refused,
    }
    let of = |severity| {
        let wanted = found.iter().filter(|finding| finding.severity == severity);
        wanted
            .map(|finding| finding.code.trim_start_matches("flowrun::"))
            .collect()
    };
    use flowrun::dsl::diagnostic::Severity;
    (of(Severity::Error), of(Severity::Warning), found.to_text(&source))
}

#[test]
fn every_graph_in_the_manual_is_what_it_is_called() {
    let mut count = 0;
    for name in CHAPTERS {
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        for block in blocks(name, &chapter(name)) {
            let mut text = String::new();
            for before in block.info.get("with").into_iter().flatten() {
                text += named
                    .get(before)
                    .unwrap_or_else(|| panic!("{}: no block `{before}`", block.place));
            }
            text += &block.text;
            if let Some(own) = block.info.get("name") {
                named.insert(own[0].clone(), block.text.clone());
            }
            let (errors, warnings, found) = findings(&text);
            assert_eq!(errors, block.list("must-fail"), "{}:\n{found}", block.place);
            if errors.is_empty() {
                assert_eq!(warnings, block.list("warns"), "{}:\n{found}", block.place);
            }
            count += 1;
        }
    }
    assert!(count > 40, "only {count} blocks");
}

#[test]
fn the_manual_is_laid_out_as_it_tells_others_to() {
    for name in CHAPTERS {
        for block in blocks(name, &chapter(name)) {
            let source = SourceFile::new(block.place.as_str(), block.text.as_str()).unwrap();
            if let Ok(text) = fmt::format(&source) {
                assert_eq!(text, block.text, "{}", block.place);
            }
        }
    }
}

#[test]
fn every_finding_there_is_stands_in_the_manual() {
    let rows: Vec<String> = code::ALL
        .iter()
        .map(|(code, meaning)| format!("| `{}` | {} |", code.trim_start_matches("flowrun::"), meaning.trim()))
        .collect();
    let table = format!("| code | meaning |\n|---|---|\n{}\n", rows.join("\n"));
    assert!(
        chapter("language.md").ends_with(&table),
        "the table should be:\n{table}"
    );
}

/// However a graph is written down, laying it out gives the plan that it was, and the same text.
#[test]
fn laying_out_changes_no_plan() {
    let registry = Registry::builtin();
    let hash = |text: &str| {
        let source = SourceFile::new("graph.kdl", text).unwrap();
        let compiled = compile_with(&source, Path::new("/graphs"), &registry, &Anything);
        compiled
            .unwrap_or_else(|found| panic!("{}", found.to_text(&source)))
            .plan
            .hash
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("graphs");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().extension().is_none_or(|ending| ending != "kdl") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let untidy: String = text.lines().map(|line| format!("\t{}  \n\n\n", line.trim())).collect();
        let laid_out = fmt::format(&SourceFile::new("graph.kdl", untidy.as_str()).unwrap()).unwrap();
        assert_eq!(hash(&laid_out), hash(&text), "{}", entry.path().display());
        let lines = |text: &str| {
            text.lines()
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(&laid_out), lines(&text), "{}", entry.path().display());
        count += 1;
    }
    assert!(count > 5, "only {count} graphs");
}
