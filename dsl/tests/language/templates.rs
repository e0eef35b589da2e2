//! `define` and `use`.

use insta::assert_snapshot;

use crate::{compile, explained, findings, source};

const SITE: &str = "cameras gate { synthetic a; synthetic b; }\ncameras yard { synthetic c; }\nzones cameras=gate { polygon z 0 0 1 0 1 1; line l 0 0 1 1; }\nzones cameras=yard { polygon z 0 0 1 0 1 1; polygon y 0 0 1 0 1 1; }\n";

const WATCH: &str = r#"define watch zones grace="800ms" method=bytetrack {
    truth
    track $method
    visit zones=$zones grace=$grace as=visits
    write { jsonl "out/$as/${zones}s.jsonl"; }
}
"#;

fn with(text: &str) -> String {
    format!("{SITE}{WATCH}{text}")
}

fn plan(text: &str) -> flowrun_dsl::plan::Plan {
    match compile(text) {
        Ok(compiled) => compiled.plan,
        Err(found) => panic!("{}", found.to_text(&source(text))),
    }
}

/// The part of an explanation that is about nodes.
fn nodes(text: &str) -> String {
    let explained = explained(text);
    let from = explained.find("\nwest").or(explained.find("\nf\n")).unwrap_or_default();
    explained[from..].trim_start().to_owned()
}

#[test]
fn a_use_is_the_flow_that_its_template_says() {
    let used = with(
        "use watch as=west from=gate zones=z\nuse watch as=east from=yard zones=y grace=\"2s\" method=botsort\nquery q from=west.visits { window \"1m\"; select n=\"count(*)\"; }",
    );
    assert_snapshot!(nodes(&used), @r"
    west
      west.truth = truth(frames: gate) -> detections for a, b
      west.track = track(detections: west.truth) -> tracks for a, b
      west.visits = visit(tracks: west.track) zones=z -> visits for a, b
      west.jsonl = jsonl(rows: west.visits) path=out/west/zs.jsonl for a, b
    east
      east.truth = truth(frames: yard) -> detections for c
      east.track = track(detections: east.truth) method=botsort -> tracks for c
      east.visits = visit(tracks: east.track) zones=y grace=2s -> visits for c
      east.jsonl = jsonl(rows: east.visits) path=out/east/ys.jsonl for c
    q
      q = query(rows: west.visits) -> table rows for a, b
        window 1m every 1m, retained 1h
        n = count(*)
    ");
    // By hand it is the same plan, hash and all.
    let flow = |name: &str, from: &str, zones: &str, rest: &str, method: &str| {
        format!(
            "flow {name} from={from} {{ truth; track {method}; visit zones={zones} {rest} as=visits; write {{ jsonl \"out/{name}/{zones}s.jsonl\"; }}; }}\n"
        )
    };
    let by_hand = format!(
        "{SITE}{}{}query q from=west.visits {{ window \"1m\"; select n=\"count(*)\"; }}",
        flow("west", "gate", "z", "", "bytetrack"),
        flow("east", "yard", "y", "grace=\"2s\"", "botsort")
    );
    assert_eq!(plan(&used).hash, plan(&by_hand).hash);
}

#[test]
fn in_a_flow_the_lines_stand_in_its_place() {
    let text = format!(
        "{SITE}define seen lost=\"1s\" {{ truth; track lost=$lost as=$as; }}\ndefine both {{ use seen as=one; use seen as=two lost=\"2s\" from=gate; }}\nflow f from=gate {{ use both; visit zones=z; use seen as=three from=gate lost=\"3s\"; cross lines=l from=one; }}"
    );
    assert_snapshot!(nodes(&text), @r"
    f
      f.truth = truth(frames: gate) -> detections for a, b
      f.one = track(detections: f.truth) -> tracks for a, b
      f.truth.2 = truth(frames: gate) -> detections for a, b
      f.two = track(detections: f.truth.2) lost=2s -> tracks for a, b
      f.visit = visit(tracks: f.two) zones=z -> visits for a, b
      f.truth.3 = truth(frames: gate) -> detections for a, b
      f.three = track(detections: f.truth.3) lost=3s -> tracks for a, b
      f.cross = cross(tracks: f.one) lines=l -> crossings for a, b
    ");
}

#[test]
fn numbers_stay_numbers_and_text_is_written_into_text() {
    let text = "cameras g { synthetic a; }\nmodel m \"m.onnx\"\ndefine d score max flag name { detect m min-score=$score max=$max raw=$flag; write { jsonl \"$name-$max$$.jsonl\"; }; }\nuse d as=f from=g score=0.50 max=0x10 flag=#true name=\"a b\"";
    assert_snapshot!(nodes(text), @r"
    f
      f.detect = detect(frames: g) model=m min-score=0.5 max=16 raw=#true -> detections for a
      f.jsonl = jsonl(rows: f.detect) path=a b-0x10$.jsonl for a
    ");
    // A dollar outside of templates is a dollar.
    let text = "cameras g { synthetic a; }\nflow f from=g { truth; write { jsonl \"$name.jsonl\"; }; }";
    assert!(nodes(text).contains("path=$name.jsonl"), "{}", nodes(text));
}

#[test]
fn what_is_wrong_with_a_line_names_the_line_and_its_uses() {
    let text =
        format!("{SITE}define bad {{\n    truth\n    trakc\n}}\nuse bad as=west from=gate\nuse bad as=east from=yard");
    assert_snapshot!(findings(&text), @r"
    error[flowrun::unknown-node]: `trakc` is no node in a flow
       7 |     trakc
         |     ^^^^^ unknown here
       9 | use bad as=west from=gate
         |     ^^^ used here
         = did you mean `track`?
    error[flowrun::unknown-node]: `trakc` is no node in a flow
       7 |     trakc
         |     ^^^^^ unknown here
      10 | use bad as=east from=yard
         |     ^^^ used here
         = did you mean `track`?
    ");
    // Through two templates.
    let text = format!(
        "{SITE}define inner zones {{ visit zones=$zones garce=\"1s\"; }}\ndefine outer {{ truth; track; use inner zones=z; }}\nuse outer as=west from=gate"
    );
    assert_snapshot!(findings(&text), @r#"
    error[flowrun::unknown-parameter]: `visit` has no parameter `garce`
       5 | define inner zones { visit zones=$zones garce="1s"; }
         |                                         ^^^^^ unknown
       6 | define outer { truth; track; use inner zones=z; }
         |                                  ^^^^^ used here
       7 | use outer as=west from=gate
         |     ^^^^^ used here
         = did you mean `grace`?
    "#);
}

#[test]
fn what_is_wrong_with_a_value_names_where_it_was_given() {
    assert_snapshot!(findings(&with("use watch as=west from=gate zones=zz grace=5")), @r#"
    error[flowrun::unknown-name]: there is no polygon `zz`
      11 | use watch as=west from=gate zones=zz grace=5
         |                                   ^^ unknown
       8 |     visit zones=$zones grace=$grace as=visits
         |                 ^^^^^^ filled in here
         = did you mean `z`?
    error[flowrun::wrong-type]: `grace` should be a duration, not a whole number
      11 | use watch as=west from=gate zones=zz grace=5
         |                                            ^ should be a duration
       8 |     visit zones=$zones grace=$grace as=visits
         |                              ^^^^^^ filled in here
         = quantities carry their unit, in quotes: "5s" or "5ms"
    "#);
    let text = format!(
        "{SITE}define inner zones {{ visit zones=$zones; }}\ndefine outer area=nowhere {{ truth; track; use inner zones=$area; }}\nuse outer as=west from=gate"
    );
    assert_snapshot!(findings(&text), @r"
    error[flowrun::unknown-name]: there is no polygon `nowhere`
       6 | define outer area=nowhere { truth; track; use inner zones=$area; }
         |                   ^^^^^^^ unknown
       5 | define inner zones { visit zones=$zones; }
         |                                  ^^^^^^ filled in here
       6 | define outer area=nowhere { truth; track; use inner zones=$area; }
         |                                               ^^^^^ used here
       7 | use outer as=west from=gate
         |     ^^^^^ used here
         = polygons here: y, z
    ");
}

#[test]
fn parameters_are_checked_where_they_are_declared_and_used() {
    assert_snapshot!(findings(&with("use watch as=west from=gate zone=z")), @r#"
    error[flowrun::missing-parameter]: `watch` needs `zones`
      11 | use watch as=west from=gate zone=z
         | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ without `zones=`
       5 | define watch zones grace="800ms" method=bytetrack {
         |              ^^^^^ asked for here
         = write zones=VALUE, or give it a default in the template
    error[flowrun::unknown-parameter]: `watch` has no parameter `zone`
      11 | use watch as=west from=gate zone=z
         |                             ^^^^ unknown
         = did you mean `zones`?
    "#);
    assert_snapshot!(findings("cameras g { synthetic a; }\ndefine d unused other=5 { truth; track lost=$lsot; write { jsonl \"$otherr\"; }; }\nuse d as=f from=g unused=1"), @r#"
    warning[flowrun::unused-parameter]: no line reads the parameter `unused`
       2 | define d unused other=5 { truth; track lost=$lsot; write { jsonl "$otherr"; }; }
         |          ^^^^^^ unused
         = a line reads it as `$unused`
    warning[flowrun::unused-parameter]: no line reads the parameter `other`
       2 | define d unused other=5 { truth; track lost=$lsot; write { jsonl "$otherr"; }; }
         |                 ^^^^^ unused
         = a line reads it as `$other`
    error[flowrun::unknown-name]: the template has no parameter `lsot`
       2 | define d unused other=5 { truth; track lost=$lsot; write { jsonl "$otherr"; }; }
         |                                             ^^^^^ reads `$lsot`
         = parameters here: unused, other; a `$` itself is written `$$`
    error[flowrun::unknown-name]: the template has no parameter `otherr`
       2 | define d unused other=5 { truth; track lost=$lsot; write { jsonl "$otherr"; }; }
         |                                                                  ^^^^^^^^^ reads `$otherr`
         = did you mean `other`?; a `$` itself is written `$$`
    "#);
    assert_snapshot!(findings("cameras g { synthetic a; }\ndefine d unused { truth; }\nuse d as=f from=g unused=1"), @r"
    a plan, and
    warning[flowrun::unused-parameter]: no line reads the parameter `unused`
       2 | define d unused { truth; }
         |          ^^^^^^ unused
         = a line reads it as `$unused`
    ");
    assert_snapshot!(findings("define d zone { truth; write { jsonl \"$as-rows/$zone-1.jsonl\"; }; }"), @r#"
    warning[flowrun::unused-parameter]: no line reads the parameter `zone`
       1 | define d zone { truth; write { jsonl "$as-rows/$zone-1.jsonl"; }; }
         |          ^^^^ unused
         = a line reads it as `$zone`
    error[flowrun::unknown-name]: the template has no parameter `as-rows`
       1 | define d zone { truth; write { jsonl "$as-rows/$zone-1.jsonl"; }; }
         |                                      ^^^^^^^^^^^^^^^^^^^^^^^^ reads `$as-rows`
         = where the name ends before a `-`, write "${as}-rows"
    error[flowrun::unknown-name]: the template has no parameter `zone-1`
       1 | define d zone { truth; write { jsonl "$as-rows/$zone-1.jsonl"; }; }
         |                                      ^^^^^^^^^^^^^^^^^^^^^^^^ reads `$zone-1`
         = where the name ends before a `-`, write "${zone}-1"
    "#);
    assert_snapshot!(findings("define d as b b=1 \"a b\" 5 { truth as=$b; }"), @r#"
    error[flowrun::bad-name]: `as` cannot name a parameter of a template
       1 | define d as b b=1 "a b" 5 { truth as=$b; }
         |          ^^ taken
         = `as=` and `from=` are of `use` itself; lines read the former as `$as`
    error[flowrun::duplicate-property]: `b` is given twice
       1 | define d as b b=1 "a b" 5 { truth as=$b; }
         |               ^ again
       1 | define d as b b=1 "a b" 5 { truth as=$b; }
         |             ^ first
    error[flowrun::bad-name]: `a b` cannot name a parameter of a template
       1 | define d as b b=1 "a b" 5 { truth as=$b; }
         |                   ^^^^^ not a name
         = names have letters, digits, `_` and `-`
    error[flowrun::bad-name]: a parameter is named by a word, not by a whole number
       1 | define d as b b=1 "a b" 5 { truth as=$b; }
         |                         ^ not a name
         = write `define NAME PARAMETER OTHER=DEFAULT { ... }`
    "#);
}

#[test]
fn uses_that_cannot_be_are_refused() {
    assert_snapshot!(findings(&with("use wacth as=west from=gate zones=z\nuse\nuse watch from=gate zones=z\nuse watch as=x from=gate zones=z { truth; }")), @r"
    error[flowrun::unknown-name]: there is no template `wacth`
      11 | use wacth as=west from=gate zones=z
         |     ^^^^^ unknown
         = did you mean `watch`?
    error[flowrun::missing-name]: `use` names a template
      12 | use
         | ^^^ no template
         = write `use TEMPLATE NAME=VALUE ...`, and what it stands for with `define TEMPLATE`
    error[flowrun::missing-name]: a flow that is made of a template has no name
      13 | use watch from=gate zones=z
         | ^^^^^^^^^^^^^^^^^^^^^^^^^^^ without `as=`
         = write `use TEMPLATE as=FLOW from=GROUP NAME=VALUE ...`
    error[flowrun::unknown-node]: `use` has no block
      14 | use watch as=x from=gate zones=z { truth; }
         |                                    ^^^^^ cannot stand here
    ");
    assert_snapshot!(findings("cameras g { synthetic a; }\ndefine d { truth from=g; track as=$as; }\ndefine d { truth; }\ndefine e\nflow f from=g { use d from=g as=x; use d; }"), @r"
    error[flowrun::duplicate-name]: there are two templates `d`
       3 | define d { truth; }
         |        ^ again
       2 | define d { truth from=g; track as=$as; }
         |        ^ first
    error[flowrun::empty]: the template `e` has no lines
       4 | define e
         |        ^ empty
    error[flowrun::duplicate-property]: `from` is given twice
       5 | flow f from=g { use d from=g as=x; use d; }
         |                       ^^^^ again
       2 | define d { truth from=g; track as=$as; }
         |                  ^^^^ first
       5 | flow f from=g { use d from=g as=x; use d; }
         |                     ^ used here
    error[flowrun::missing-parameter]: `d` reads `$as`
       5 | flow f from=g { use d from=g as=x; use d; }
         |                                    ^^^^^ without `as=`
         = write as=NAME
    ");
    assert_snapshot!(findings("cameras g { synthetic a; }\ndefine d { truth; }\nflow f from=g { use d as=x; }"), @r"
    error[flowrun::unknown-parameter]: nothing in `d` reads `$as`
       3 | flow f from=g { use d as=x; }
         |                       ^^ names nothing here
         = points are named by their lines in the template, as in `track as=$as`
    ");
    assert_snapshot!(findings("define a { use b; }\ndefine b { use a; }\nuse a as=f"), @r"
    error[flowrun::template]: the template `a` uses itself
       2 | define b { use a; }
         |                ^ used here
       1 | define a { use b; }
         |                ^ used here
       3 | use a as=f
         |     ^ used here
    ");
    assert_snapshot!(findings("use"), @r"
    error[flowrun::missing-name]: `use` names a template
       1 | use
         | ^^^ no template
         = write `use TEMPLATE NAME=VALUE ...`, and what it stands for with `define TEMPLATE`
    ");
}

#[test]
fn what_templates_write_is_bounded() {
    let mut text = String::from("cameras g { synthetic a; }\ndefine t0 { truth from=g; }\n");
    for level in 1..8 {
        let below = level - 1;
        text += &format!("define t{level} {{ {} }}\n", format!("use t{below};").repeat(40));
    }
    text += "flow f from=g { use t7; }";
    let start = std::time::Instant::now();
    assert_snapshot!(findings(&text).lines().filter(|line| line.contains("error") || line.contains("=")).take(3).collect::<Vec<_>>().join("\n"), @r"
    error[flowrun::template]: templates written out take more than 1048576 bytes
      10 | flow f from=g { use t7; }
         = use fewer, or let one flow read a group of many cameras
    ");
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    let chain: String = (0..12)
        .map(|level| format!("define t{level} {{ use t{}; }}\n", level + 1))
        .collect();
    assert_snapshot!(findings(&format!("{chain}define t12 {{ truth; }}\nuse t0 as=f")), @r"
    error[flowrun::template]: templates use each other more than 8 deep
       8 | define t7 { use t8; }
         |                 ^^ used here
       7 | define t6 { use t7; }
         |                 ^^ used here
       6 | define t5 { use t6; }
         |                 ^^ used here
       5 | define t4 { use t5; }
         |                 ^^ used here
       4 | define t3 { use t4; }
         |                 ^^ used here
       3 | define t2 { use t3; }
         |                 ^^ used here
       2 | define t1 { use t2; }
         |                 ^^ used here
       1 | define t0 { use t1; }
         |                 ^^ used here
      14 | use t0 as=f
         |     ^^ used here
    ");
}

#[test]
fn a_secret_given_to_a_template_is_not_shown() {
    let graph = |line: &str, value: &str| {
        format!(
            "server\ncameras g {{ synthetic a; }}\ndefine d key {{ truth; publish {{ sse \"/x\" key={line}; }}; }}\nuse d as=f from=g key={value}"
        )
    };
    assert!(compile(&graph("$key", "env.KEY")).is_ok());
    for (line, value) in [
        ("$key", "\"hunter2\""),
        ("$key", "hunter2"),
        ("\"x$key\"", "\"hunter2\""),
        ("\"x$key\"", "hunter2"),
    ] {
        let shown = findings(&graph(line, value));
        assert!(
            shown.contains("flowrun::secret") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}

#[test]
fn names_of_nodes_lie_in_the_template_and_their_values_where_they_are_given() {
    let text = with("use watch as=west from=gate zones=z");
    let compiled = compile(&text).unwrap();
    let slice = |span: flowrun_dsl::Span| &text[span.start..span.end];
    let place = &compiled.spans.nodes["west.visits"];
    assert_eq!(slice(place.name), "visits");
    assert_eq!(
        (
            slice(place.param("zones")),
            place.param("zones").start > text.find("use watch").unwrap()
        ),
        ("z", true)
    );
    assert_eq!(slice(place.param("grace")), "\"800ms\"");
}
