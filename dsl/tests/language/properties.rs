//! What holds for every text.

use std::time::{Duration, Instant};

use flowrun_dsl::{Diagnostics, SourceFile, document};
use proptest::prelude::*;

use crate::{JUNCTION, compile, source};

/// A plan, or at least one finding, each within the text and printable.
fn is_answered(text: &str) -> Result<(), TestCaseError> {
    match compile(text) {
        Ok(compiled) => prop_assert!(!compiled.plan.hash.is_empty()),
        Err(diagnostics) => {
            prop_assert!(diagnostics.has_errors());
            let source = source(text);
            for label in diagnostics.iter().flat_map(|diagnostic| &diagnostic.labels) {
                prop_assert!(
                    label.span.start <= label.span.end && label.span.end <= text.len(),
                    "{:?} in {:?}",
                    label,
                    text
                );
                prop_assert!(
                    text.is_char_boundary(label.span.start) && text.is_char_boundary(label.span.end),
                    "{:?} in {:?}",
                    label,
                    text
                );
            }
            prop_assert!(!diagnostics.to_text(&source).is_empty() && diagnostics.to_json(&source).is_object());
        }
    }
    Ok(())
}

const PARTS: [&str; 53] = [
    "define d x y=1 {",
    "use d as=f x=$x",
    "use d",
    "truth $x",
    "track lost=\"$y\"",
    "flow f from=a {",
    "cameras a { synthetic b; }\n",
    "cameras",
    "flow",
    "a",
    "b",
    "5",
    "5s",
    "-",
    "+1",
    ".5",
    "0x",
    "{",
    "}",
    "(",
    ")",
    "=",
    ";",
    "\n",
    " ",
    "  ",
    "\"",
    "\"x\"",
    "\"\"\"",
    "#\"r\"#",
    "#",
    "#true",
    "true",
    "/-",
    "//",
    "/*",
    "*/",
    "\\",
    "\\\n",
    "é",
    "\u{85}",
    "\u{feff}",
    "env.X",
    "from=",
    "a.b",
    "[",
    "]",
    ",",
    "\"\\u{d800}\"",
    "\"\\s\"",
    "zones camera=a {",
    "polygon p 0 0 1 0 1 1",
    "\r\n",
];

/// Whole nodes with something commented out, and the same without.
const COMMENTED: [(&str, &str); 9] = [
    ("/- a b=1 { c; }; ", ""),
    ("/- a\n", "\n"),
    ("a /-b /- c=1 d\n", "a d\n"),
    ("a /-{ b /-c; } { d; }\n", "a { d; }\n"),
    ("a { /- b /-{ c } \n d; /-e; }\n", "a { d; }\n"),
    ("a \"x\"/-1 /-{}/-{}; ", "a \"x\"; "),
    ("/-\n// why\na /- \n b { c }\n", "\n"),
    ("a /- (t)5 /- k = (t)6 l=7; ", "a l=7; "),
    ("/*/**/é*/a /* ** */ b; ", "a b; "),
];

fn outline(node: &document::Node) -> String {
    let args: Vec<_> = node.args.iter().map(|entry| format!("{:?}", entry.value)).collect();
    let props: Vec<_> = node
        .props
        .iter()
        .map(|property| format!("{}={:?}", property.name.value, property.entry.value))
        .collect();
    let children: String = node.children.iter().map(outline).collect();
    format!("{} {args:?} {props:?} {{{children}}}\n", node.name.value)
}

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PARTS[..]), 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// A commented-out node, argument or block is as if it were not there.
    #[test]
    fn what_is_commented_out_means_nothing(parts in prop::collection::vec(prop::sample::select(&COMMENTED[..]), 1..12)) {
        let (text, plain): (String, String) = parts.iter().copied().unzip();
        let tree = |text: &str| document::parse(&source(text)).map(|nodes| nodes.iter().map(outline).collect::<String>());
        let (with, without) = (tree(&text), tree(&plain));
        prop_assert!(with.is_ok() && with == without, "{:?}: {:?}, {:?}", text, with, without);
    }

    #[test]
    fn any_letters_are_answered(text in "\\PC{0,60}") {
        is_answered(&text)?;
    }

    #[test]
    fn any_tokens_are_answered(text in soup()) {
        is_answered(&text)?;
    }
}

/// Lines of a template with the parameters `x` and `y`, right and wrong.
const LINES: [&str; 12] = [
    "truth",
    "truth as=$x from=$y",
    "track $x lost=\"${y}s\"",
    "track as=\"é$x\" lost=$y $$",
    "visit zones=$x grace=$y { for $x grace=$y; }",
    "visit zones=\"$x,z,$y\"",
    "write { jsonl \"$as/$x\"; }",
    "publish { sse \"$y\" key=$x; }",
    "use e as=$x from=$y",
    "use e as=\"$x-$y\"",
    "use $x",
    "$x $y",
];
const USES: [&str; 7] = [
    "use d as=f from=a x=5",
    "use d as=h from=f x=z y=\"1s\"",
    "use d as=i from=a x=\"é,\" y=env.KEY",
    "use d as=f x=#null",
    "use e as=j from=a",
    "flow g from=a { truth; use d x=z as=k; use e as=l from=truth; }",
    "use d as=m from=a x=\"$x\" y=\"5s\"",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// What stands in a template has places in the text, whatever is wrong with it.
    #[test]
    fn any_templates_are_answered(
        lines in prop::collection::vec(prop::sample::select(&LINES[..]), 0..6),
        uses in prop::collection::vec(prop::sample::select(&USES[..]), 0..5),
    ) {
        let (lines, uses) = (lines.join("\n    "), uses.join("\n"));
        is_answered(&format!(
            "cameras a {{ synthetic b; }}\nzones cameras=a {{ polygon z 0 0 1 0 1 1; }}\ndefine e {{ track as=$as; }}\ndefine d x y=\"2s\" {{\n    {lines}\n}}\n{uses}\n"
        ))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Bytes cut out, doubled or replaced.
    #[test]
    fn any_mutation_is_answered(cuts in prop::collection::vec((0..JUNCTION.len(), 0..20usize, prop::sample::select(&PARTS[..])), 1..4)) {
        let mut text = JUNCTION.to_owned();
        for (at, length, with) in cuts {
            let from = at.min(text.len());
            let to = (from + length).min(text.len());
            text.replace_range(from..to, with.trim_matches('é').trim_matches(|letter: char| !letter.is_ascii()));
        }
        is_answered(&text)?;
    }

    /// The order of properties, spaces, comments and the way of writing quantities mean nothing.
    #[test]
    fn the_hash_is_of_the_meaning(flip in any::<[bool; 6]>()) {
        let pick = |index: usize, one: &'static str, other: &'static str| if flip[index] { other } else { one };
        let text = JUNCTION
            .replace("fps=15 lateness=\"150ms\"", pick(0, "fps=15 lateness=\"150ms\"", "lateness=\"0.15s\" fps=15.0"))
            .replace("min-score=0.25 iou=0.45 max=100", pick(1, "min-score=0.25 iou=0.45 max=100", "max=100 iou=0.450 /* as before */ min-score=0.25"))
            .replace("{ classes car bus truck;", pick(2, "{ classes car bus truck;", "classes=\"car, bus, truck\" {"))
            .replace("seed=7 { override fps=10; }", pick(3, "seed=7 { override fps=10; }", "seed=0x7 fps=10"))
            .replace("every=\"1s\"", pick(4, "every=\"1s\"", "every=\"1000ms\" retain=\"60m\""))
            .replace('\n', pick(5, "\n", "\n\n  // nothing\n"));
        let (plain, written) = (compile(JUNCTION).unwrap().plan, compile(&text).unwrap().plan);
        prop_assert_eq!(&plain.hash, &written.hash);
        prop_assert_eq!(plain.nodes, written.nodes);
    }
}

#[test]
fn what_means_something_else_has_another_hash() {
    let hash = compile(JUNCTION).unwrap().plan.hash;
    for (from, to) in [
        ("fps=15", "fps=16"),
        ("0.98  0.08", "0.97  0.08"),
        ("'5s'", "'6s'"),
        ("priority=high", ""),
        ("yolo11n.onnx", "yolo11s.onnx"),
    ] {
        let other = compile(&JUNCTION.replace(from, to)).unwrap().plan.hash;
        assert_ne!(hash, other, "{from} -> {to}");
    }
}

/// What the scan lets pass, the parser takes: otherwise its recovery, which the scan is there to avoid, would run.
#[test]
fn texts_meant_to_stall_or_overflow_are_answered_at_once() {
    let many = 100_000;
    let texts = [
        "{".repeat(many),
        "}".repeat(many),
        "a {".repeat(many / 2),
        "a {} b\n".repeat(many / 8),
        "a =\n".repeat(many / 4),
        "a )\n".repeat(many / 4),
        "(".repeat(many),
        "/*".repeat(many),
        format!("/{}/", "*".repeat(many)),
        format!("/*{}*/", "/ * ".repeat(many / 4)),
        "/-".repeat(many),
        "a /- {\n".repeat(many / 8),
        "a\n/- a {\n".repeat(many / 10),
        format!("{}{}", "a {/- b {\n".repeat(24), "}}\n".repeat(24)),
        format!("{}{}", "a {/- b /- {\n".repeat(24), "}}\n".repeat(24)),
        format!("{}{}", "a /-{ b } {\n".repeat(40), "}\n".repeat(40)),
        "\"".repeat(many),
        "#".repeat(many),
        format!("{}\"", "#".repeat(many)),
        "#\"".repeat(many / 2),
        "\\\n".repeat(many / 2),
        "a \\".repeat(many / 3),
        "a\n".repeat(many / 2),
        "a ".repeat(many / 2),
        "a=1 ".repeat(many / 4),
        "b a=1 ".repeat(many / 6),
        "1".repeat(many),
        format!("a {}", "1".repeat(many)),
        format!("a \"{}\"", "\\u{1F600}".repeat(many / 9)),
        format!("a \"\"\"\n{}\"\"\"", " x\n".repeat(many / 3)),
        "\"\"\"".repeat(many / 3),
        format!("cameras a {{ {} }}", "synthetic b;".repeat(3_000)),
        format!("flow a {{ {} }}", "truth;".repeat(3_000)),
        "cameras a { synthetic b; }\n".repeat(2_000),
        (0..many / 50).fold(String::new(), |text, number| {
            format!("{text}zones camera=c{number} {{ line l 0 0 1 1; }}\n")
        }),
        (0..many / 50).fold("cameras a { synthetic b; }\n".to_owned(), |text, number| {
            format!("{text}flow f{number} from=g{number} {{ truth; }}\n")
        }),
        (0..many / 10).fold("cameras".to_owned(), |text, number| format!("{text} a{number}=1")),
    ];
    for text in texts {
        let (start, head) = (Instant::now(), text.chars().take(24).collect::<String>());
        let worker = std::thread::Builder::new().stack_size(1 << 20);
        let answered = worker
            .spawn(move || compile(&text).err().is_none_or(|found| found.has_errors()))
            .unwrap()
            .join();
        assert_eq!(answered.ok(), Some(true), "{head:?}");
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{head:?} took {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn of_very_many_findings_the_first_are_listed() {
    let text = "nonsense\n".repeat(5_000);
    let found = compile(&text).unwrap_err();
    assert_eq!((found.len(), found.has_errors()), (201, true));
    assert_eq!(found.iter().last().unwrap().message, "and 4800 more findings");
}

#[test]
fn five_thousand_cameras_compile_soon() {
    let mut text = String::from("cameras all {\n    defaults fps=15\n");
    let mut zones = String::new();
    for number in 0..5_000 {
        text += &format!("    rtsp cam{number} \"rtsp://10.0.0.1/{number}\" user=env.USER password=env.PASSWORD\n");
        zones += &format!("zones camera=cam{number} {{ polygon box 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9; }}\n");
    }
    text += "}\n";
    text += &zones;
    text += "flow f from=all {\n    truth\n    track\n    visit zones=box\n}\n";
    assert!(text.len() < flowrun_dsl::source::MAX_BYTES, "{}", text.len());
    let start = Instant::now();
    let compiled = compile(&text).unwrap();
    assert_eq!((compiled.plan.cameras.len(), compiled.warnings.len()), (5_000, 0));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    println!("5,000 cameras: {:?}", start.elapsed());
}

/// What text over several lines may hold: its ends are many.
const PIECES: [&str; 11] = ["\"\"\"", "\"", "\n", "\r\n", " ", "\\", "\\\\", "\\f", "x", "{", "#"];

fn text_of_lines() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..9)
        .prop_map(|pieces| format!("a \"\"\"\n{}\"\"\"", pieces.concat()))
}

#[test]
fn a_document_that_the_scan_lets_pass_is_parsed() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(20_000));
    let answered = runner.run(&prop_oneof![soup(), text_of_lines()], |text| {
        let source = SourceFile::new("soup.kdl", text.as_str()).unwrap();
        let refused: Diagnostics = document::parse(&source).err().unwrap_or_default();
        // These are the parser's own words; the scan's are others.
        let words = |message: &str| message.starts_with("Expected") || message.starts_with("Found");
        let by_parser = refused.iter().find(|diagnostic| words(&diagnostic.message));
        prop_assert!(by_parser.is_none(), "{:?}: {:?}", text, by_parser);
        Ok(())
    });
    answered.unwrap();
}
