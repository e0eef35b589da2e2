//! What laying out changes, and what it never does.

use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use proptest::prelude::*;

use super::format;
use super::tokens::{Kind, tokens};
use crate::document::{same_meaning, well_formed};
use crate::source::SourceFile;

fn source(text: &str) -> SourceFile {
    SourceFile::new("test.kdl", text).unwrap()
}

fn formatted(text: &str) -> String {
    let laid_out = format(&source(text)).unwrap_or_else(|found| panic!("{}", found.to_text(&source(text))));
    assert_eq!(whole(text, &laid_out), Ok(()));
    laid_out
}

/// All that is written, without what only divides it.
fn pieces(text: &str) -> Vec<&str> {
    let dividing = |kind: Kind| matches!(kind, Kind::Newline | Kind::Semicolon);
    let tokens = tokens(text).into_iter();
    let written = tokens.filter(|token| !dividing(token.kind));
    written
        .map(|token| token.text)
        .filter(|text| !text.is_empty())
        .collect()
}

/// Nothing is lost, nothing means something else, and what is laid out stays as it is.
fn whole(text: &str, laid_out: &str) -> Result<(), String> {
    if pieces(text) != pieces(laid_out) {
        return Err(format!("{text:?} lost pieces: {laid_out:?}"));
    }
    if !same_meaning(text, laid_out) {
        return Err(format!("{text:?} means something else: {laid_out:?}"));
    }
    let again = format(&source(laid_out)).map_err(|found| format!("{laid_out:?} is refused: {found}"))?;
    if again != laid_out {
        return Err(format!("{text:?} is not at rest: {laid_out:?}, {again:?}"));
    }
    let tidy = laid_out.is_empty() || (laid_out.ends_with('\n') && !laid_out.ends_with("\n\n"));
    let tidy = tidy && !laid_out.starts_with('\n') && !laid_out.contains("\n\n\n");
    // Comments and texts over several lines may hold anything.
    let plain = tokens(text)
        .iter()
        .all(|token| token.kind == Kind::Newline || !token.text.contains(['\n', '\r', '\u{85}']));
    if plain && (!tidy || laid_out.lines().any(|line| line.ends_with(' '))) {
        return Err(format!("{text:?} is not tidy: {laid_out:?}"));
    }
    Ok(())
}

#[test]
fn a_graph_is_laid_out() {
    let text = "\n\n// why\n\n\n\n   cameras   g{\n\tdefaults  fps = 15\n // of the gate\n\n\n   synthetic a; synthetic b seed=0x0F{override fps=1_0.50}  // last\n\n}\nzones camera=a {\n  polygon left   0.10 0.20  +0.30 4e-1  .. \n}\nflow f from=g { truth;track as=\"t\" }; query q { }\n\n\n";
    assert_snapshot!(formatted(text), @r#"
    // why

    cameras   g {
        defaults  fps=15
        // of the gate

        synthetic a
        synthetic b seed=0x0F { override fps=1_0.50; }  // last
    }
    zones camera=a {
        polygon left   0.10 0.20  +0.30 4e-1  ..
    }
    flow f from=g { truth; track as="t"; }
    query q {}
    "#);
}

#[test]
fn comments_stay_where_they_are() {
    let text = "/* head */ a /* in */ b=/* of */1 // behind\na { // opens\n\n  // first\n  b; /* after */ c // last\n  /* alone\n     on lines */\n  // end\n}\nd {\n    // only\n}\n// foot";
    assert_snapshot!(formatted(text), @r"
    /* head */ a /* in */ b= /* of */ 1 // behind
    a { // opens
        // first
        b /* after */
        c // last
        /* alone
         on lines */
        // end
    }
    d {
        // only
    }
    // foot
    ");
}

#[test]
fn what_is_commented_out_stays_so() {
    let text =
        "/- a b { c; }\n/-\n\n  d\na /- b /-c=1  /-(t) e {f} /-{ g }\n/- // why\n\nh\ni { /-j; k /-{} /-\n{} }\n";
    assert_snapshot!(formatted(text), @r"
    /-a b { c; }
    /-d
    a /-b /-c=1  /-(t)e { f; } /-{ g; }
    /- // why
        h
    i {
        /-j
        k /-{} /-{}
    }
    ");
}

#[test]
fn a_node_over_several_lines_keeps_them() {
    let text =
        "a b \\\n  c=1 \\ // why\n\\\n  d {\n   e \\ /* x */\n \\\n}\n\\\nf \\\n\ng; \\ // lost\nh \\\n/* i */ j\nk \\";
    assert_snapshot!(formatted(text), @r"
    a b \
        c=1 \ // why
        d {
        e /* x */
    }
    f
    g // lost
    h \
        /* i */ j
    k
    ");
}

#[test]
fn texts_are_as_they_were() {
    let text = "a \"\"\"\n    x\n  y\n  \"\"\" #\"\"\"\n  z\n  \"\"\"# #\"raw \"quoted\"\"# \"\\u{1F600} \\\n   on\" \"b\"=\"c\" {\n\"d\" \"\"\"\n\n\"\"\"; e }";
    assert_snapshot!(formatted(text), @r##"
    a """
        x
      y
      """ #"""
      z
      """# #"raw "quoted""# "\u{1F600} \
       on" "b"="c" {
        "d" """

    """
        e
    }
    "##);
}

#[test]
fn what_is_no_kdl_is_refused_and_what_is_no_graph_is_not() {
    let refused = format(&source("a {\nb 5s")).unwrap_err();
    assert!(refused.has_errors());
    assert_eq!(formatted("nonsense (type)1 a=1 a=2"), "nonsense (type)1 a=1 a=2\n");
    assert_eq!(formatted(""), "");
    assert_eq!(formatted("\u{feff}\r\n \r\na\r\n\r\n\r\nb\r\n"), "a\n\nb\n");
}

/// Files with this ending below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|ending| ending == "kdl") {
            files.push(path);
        }
    }
    files
}

#[test]
fn every_graph_of_the_house_is_laid_out_already() {
    let graphs = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../graphs"));
    assert!(graphs.len() > 5, "{graphs:?}");
    for path in graphs {
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(formatted(&text), text, "{}", path.display());
    }
}

#[test]
fn the_inputs_of_the_specification_keep_their_meaning() {
    let given = std::env::var_os("FLOWRUN_DATA").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let inputs = files(&given.unwrap_or_else(beside).join("kdl/kdl-org/tests/test_cases/input"));
    if inputs.is_empty() {
        println!("skipped: no reference data");
        return;
    }
    let mut count = 0;
    for path in inputs {
        let bytes = std::fs::read(&path).unwrap();
        let Ok(source) = SourceFile::new("suite.kdl", bytes) else {
            continue;
        };
        if well_formed(&source).is_ok() {
            count += 1;
            formatted(source.text());
        }
    }
    assert!(count > 150, "only {count} cases");
}

const PARTS: [&str; 44] = [
    "a",
    "b",
    "c=1",
    "d = 2",
    "(t)e",
    "( t ) f",
    "5",
    "\"x\"",
    "\"\"\"\n  y\n  \"\"\"",
    "#\"r\"#",
    "#true",
    "{",
    "}",
    "{",
    "}",
    "{\n",
    "\n}",
    "{}",
    ";",
    "; ",
    "\n",
    "\n",
    "\n\n",
    "\n\n\n",
    " ",
    "  ",
    "\t",
    "// why\n",
    "// why",
    "/* in */",
    "/* in\n  lines */",
    "/-",
    "/- ",
    "/-\n",
    "/- // c\n",
    "\\\n",
    "\\ // c\n",
    "\\ /* c */ \n",
    "\r\n",
    "=",
    "é",
    "\u{85}",
    "g h ",
    " i=\"j\" ",
];

#[test]
fn whatever_is_kdl_is_laid_out_whole_and_once() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(30_000));
    let soup = prop::collection::vec(prop::sample::select(&PARTS[..]), 0..14).prop_map(|parts| parts.concat());
    let well = std::cell::Cell::new(0);
    let answered = runner.run(&soup, |text| {
        if well_formed(&source(&text)).is_ok() {
            well.set(well.get() + 1);
            let laid_out = format(&source(&text)).map_err(|found| TestCaseError::fail(format!("{text:?}: {found}")))?;
            whole(&text, &laid_out).map_err(TestCaseError::fail)?;
        }
        Ok(())
    });
    answered.unwrap();
    assert!(well.get() > 1_000, "only {} of the texts are KDL", well.get());
}
