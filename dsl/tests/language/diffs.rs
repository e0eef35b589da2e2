//! What edits change.

use std::collections::{BTreeMap, BTreeSet};

use flowrun_dsl::plan::{Action, PartKind, PlanDiff, diff, explain_diff};
use insta::assert_snapshot;
use proptest::prelude::*;

use crate::{JUNCTION, catalogue, compile, source};

fn difference(old: &str, new: &str) -> PlanDiff {
    let plan = |text: &str| match compile(text) {
        Ok(compiled) => compiled.plan,
        Err(found) => panic!("{}", found.to_text(&source(text))),
    };
    diff(&plan(old), &plan(new), &*catalogue::CATALOGUE)
}

/// The difference without the hashes, which have tests of their own.
fn explained(old: &str, new: &str) -> String {
    let text = explain_diff(&difference(old, new));
    text.lines().skip(1).map(|line| format!("{line}\n")).collect()
}

/// The junction with edits, each of which must be possible.
fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(JUNCTION.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

fn of_junction(edits: &[(&str, &str)]) -> String {
    explained(JUNCTION, &edited(edits))
}

#[test]
fn a_live_parameter_changes_in_place_also_for_one_camera() {
    assert_snapshot!(of_junction(&[("min-score=0.25", "min-score=0.3"), ("for north min-score=0.4", "for north min-score=0.5")]), @r"
    live     node    vehicles.detect  `min-score` is now 0.3, was 0.25
                                      `min-score` for north is now 0.5, was 0.4
    12 parts are kept
    ");
    assert_snapshot!(of_junction(&[("for north min-score=0.4;", "for east iou=0.5;")]), @r"
    live     node    vehicles.detect  `iou` for east is now 0.5, was 0.45
                                      `min-score` for north is now 0.25, was 0.4
    12 parts are kept
    ");
}

#[test]
fn parameters_change_as_they_are_declared_to() {
    assert_snapshot!(of_junction(&[("track  bytetrack", "track  botsort lost=\"2s\""), ("visit  zones=box", "visit  zones=box grace=\"1s\"")]), @r"
    reset    node    vehicles.tracks  `method` is now botsort, was bytetrack
                                      `lost` is now 2s, was 1s
    live     node    vehicles.visits  `grace` is now 1s, was 800ms
    11 parts are kept
    ");
}

#[test]
fn a_query_that_asks_otherwise_starts_anew() {
    assert_snapshot!(of_junction(&[("dwell > '5s'", "dwell > '6s'"), ("every=\"1s\"", "every=\"2s\"")]), @r"
    reset    node    waiting  its query changed: filter, window
    12 parts are kept
    ");
}

#[test]
fn an_input_is_compared_by_name_port_and_alignment() {
    let graph = |draw: &str| {
        format!(
            "cameras g {{ synthetic a; }}\nflow f from=g {{ truth; track; }}\nflow w from=g {{ truth; track as=t; draw from=g {draw}; }}"
        )
    };
    assert_snapshot!(explained(&graph("tracks=f.track"), &graph("tracks=t align=latest")), @r"
    rebuilt  node    w.draw  `tracks` reads w.t now, not f.track
                             `tracks` is the latest now
    5 parts are kept
    ");
    assert_snapshot!(explained(&graph("tracks=f.track"), &graph("tracks=f.track detections=f.truth")), @r"
    rebuilt  node    w.draw  `detections` reads f.truth now
    5 parts are kept
    ");
    assert_snapshot!(explained(&graph("tracks=f.track detections=f.truth"), &graph("tracks=f.track on-error=stop")), @r"
    rebuilt  node    w.draw  nothing feeds `detections` any longer
                             `on-error` is now stop, was skip
    5 parts are kept
    ");
}

#[test]
fn another_model_is_another_epoch() {
    assert_snapshot!(of_junction(&[("yolo11n.onnx", "yolo11s.onnx")]), @r"
    reset    model   yolo11n          its file is now models/yolo11s.onnx, was models/yolo11n.onnx
    reset    node    vehicles.detect  model `yolo11n` changed: a new detector epoch
    11 parts are kept
    ");
    assert_snapshot!(of_junction(&[("model yolo11n", "model small"), ("detect yolo11n", "detect small")]), @r"
    added    model   small
    rebuilt  node    vehicles.detect  `model` is now small, was yolo11n
    removed  model   yolo11n
    11 parts are kept
    ");
    assert_snapshot!(of_junction(&[("model yolo11n", "model other \"other.onnx\"\nmodel yolo11n"), ("detect yolo11n", "detect other")]), @r"
    added    model   other
    reset    node    vehicles.detect  model `other` is another one: a new detector epoch
                                      `model` is now other, was yolo11n
    12 parts are kept
    ");
}

#[test]
fn a_moved_zone_is_live_where_it_is_seen() {
    assert_snapshot!(of_junction(&[("0.08 0.98", "0.07 0.98"), ("0.30 0.90", "0.31 0.90")]), @r"
    live     zone    box                 zone `box` moved
    live     zone    stop                line `stop` moved
    live     node    vehicles.visits     zone `box` moved
    live     node    vehicles.crossings  line `stop` moved
    9 parts are kept
    ");
    assert_snapshot!(of_junction(&[("zones camera=north", "zones cameras=junction")]), @r"
    live     zone    box                 zone `box` lies on east, south too
    live     zone    stop                line `stop` lies on east, south too
    live     node    vehicles.visits     zone `box` lies on east, south too
    live     node    vehicles.crossings  line `stop` lies on east, south too
    9 parts are kept
    ");
    let other = "zones camera=east { polygon box 0 0 1 0 1 1; polygon new 0 0 1 0 1 1; }\n\nflow vehicles";
    assert_snapshot!(of_junction(&[("flow vehicles", other), ("zones=box", "zones=\"box,new\"")]), @r"
    live     zone    box              zone `box` lies on east too
    added    zone    new
    rebuilt  node    vehicles.visits  `zones` is now box,new, was box
                                      zone `box` lies on east too
    11 parts are kept
    ");
}

#[test]
fn cameras_join_leave_and_are_opened_anew_where_they_must() {
    assert_snapshot!(of_junction(&[
        ("10.0.0.11", "10.0.0.12"),
        (" priority=high", ""),
        ("synthetic east", "synthetic west"),
        ("at-end=loop", "at-end=loop priority=low"),
    ]), @r"
    rebuilt  camera  north               `url` is now rtsp://10.0.0.12/main, was rtsp://10.0.0.11/main
                                         `priority` is now normal, was high
    live     camera  south               `priority` is now low, was normal
    added    camera  west
    live     node    vehicles.detect     camera `west` joins
                                         camera `east` leaves
    live     node    vehicles.tracks     camera `west` joins
                                         camera `east` leaves
    live     node    vehicles.visits     camera `west` joins
                                         camera `east` leaves
    live     node    vehicles.crossings  camera `west` joins
                                         camera `east` leaves
    live     node    waiting             camera `west` joins
                                         camera `east` leaves
    live     node    write.jsonl         camera `west` joins
                                         camera `east` leaves
    live     node    write.jsonl.2       camera `west` joins
                                         camera `east` leaves
    removed  camera  east
    3 parts are kept
    ");
    let graph = |first: &str, second: &str| {
        format!(
            "cameras g {{ synthetic a; {first} }}\ncameras h {{ synthetic z; {second} }}\nflow f from=g {{ truth; }}\nflow e from=h {{ truth; }}"
        )
    };
    assert_snapshot!(explained(&graph("synthetic b;", ""), &graph("", "synthetic b;")), @r"
    rebuilt  camera  b        it left the group `g` for `h`: its source is opened anew
    live     node    f.truth  camera `b` leaves
    live     node    e.truth  camera `b` joins
    2 parts are kept
    ");
    let many: String = (0..7).map(|number| format!("synthetic c{number};")).collect();
    assert_snapshot!(explained(&graph("", ""), &graph(&many, "")), @r"
    added    camera  c0
    added    camera  c1
    added    camera  c2
    added    camera  c3
    added    camera  c4
    added    camera  c5
    added    camera  c6
    live     node    f.truth  7 cameras join
    3 parts are kept
    ");
}

#[test]
fn sinks_that_end_say_whom_it_meets() {
    let graph =
        |sinks: &str| format!("server\ncameras g {{ synthetic a; }}\nflow f from=g {{ truth; track; {sinks} }}");
    let old =
        graph("publish { sse \"/live/{camera}\"; }; write { jsonl \"out/a.jsonl\" as=file; jsonl \"out/b.jsonl\"; };");
    let new = graph("publish { sse \"/live/all\"; }; write { jsonl \"out/a.jsonl\" as=file from=f.truth; };");
    assert_snapshot!(explained(&old, &new), @r"
    rebuilt  node    f.sse    `path` is now /live/all, was /live/{camera}
                              clients of /live/{camera} are disconnected
    rebuilt  node    f.file   `rows` reads f.truth now, not f.track
                              `rows` has detections now, not tracks
                              out/a.jsonl is finished
    removed  node    f.jsonl  out/b.jsonl is finished
    4 parts are kept
    ");
    assert_snapshot!(explained(&old, &old.replace("server", "server connections=4")), @r"
    rebuilt  server  server  `connections` is now 4, was 512
    6 parts are kept
    ");
    assert_snapshot!(explained(&old, &old.replace("server", "")), @r"
    removed  server  server
    6 parts are kept
    ");
}

#[test]
fn inserting_a_line_above_renames_nothing_that_matters() {
    let graph = |flow: &str| {
        format!("cameras g {{ synthetic a; }}\nzones camera=a {{ polygon z 0 0 1 0 1 1; }}\nflow f from=g {{ {flow} }}")
    };
    let old = graph("truth; track; visit zones=z; write { jsonl \"a\"; };");
    let new = graph(
        "truth; track lost=\"5s\"; visit from=track zones=z anchor=centre; track from=truth; visit zones=z; write { jsonl \"b\" from=truth; jsonl \"a\"; };",
    );
    assert_snapshot!(explained(&old, &new), @r"
    added    node    f.track
    added    node    f.visit
    kept     node    f.track.2  its name was `f.track`
    kept     node    f.visit.2  its name was `f.visit`
    added    node    f.jsonl
    kept     node    f.jsonl.2  its name was `f.jsonl`
    3 parts are kept
    ");
    // And back: what remains is what it was.
    assert_snapshot!(explained(&new, &old), @r"
    kept     node    f.track  its name was `f.track.2`
    kept     node    f.visit  its name was `f.visit.2`
    kept     node    f.jsonl  its name was `f.jsonl.2`
    removed  node    f.track
    removed  node    f.visit
    removed  node    f.jsonl  b is finished
    3 parts are kept
    ");
}

#[test]
fn a_chain_of_one_kind_is_followed_by_what_it_is_made_of() {
    let graph = |flow: &str| {
        format!("cameras g {{ synthetic a; }}\nflow p from=g {{ truth; track as=t; }}\nflow f from=g {{ {flow} }}")
    };
    let old = graph("draw tracks=p.t label=\"one\"; draw tracks=p.t label=\"two\";");
    let new = graph("draw tracks=p.t label=\"new\"; draw tracks=p.t label=\"one\"; draw tracks=p.t label=\"two\";");
    assert_snapshot!(explained(&old, &new), @r"
    added    node    f.draw
    rebuilt  node    f.draw.2  `frames` reads f.draw now, not g
                               its name was `f.draw`
    kept     node    f.draw.3  its name was `f.draw.2`
    3 parts are kept
    ");
}

#[test]
fn a_kind_under_the_same_name_starts_from_nothing() {
    let graph = |step: &str| {
        format!(
            "cameras g {{ synthetic a; }}\nzones camera=a {{ polygon z 0 0 1 0 1 1; line l 0 0 1 1; }}\nflow f from=g {{ truth; track; {step} as=x; write {{ jsonl \"a\"; }}; }}"
        )
    };
    assert_snapshot!(explained(&graph("visit zones=z"), &graph("cross lines=l")), @r"
    reset    node    f.x      it is `cross` now, was `visit`
                              it emits crossings now, not visits
    rebuilt  node    f.jsonl  `rows` has crossings now, not visits
                              a is finished
    5 parts are kept
    ");
}

#[test]
fn the_form_for_programs() {
    let changes = difference(
        JUNCTION,
        &edited(&[
            ("iou=0.45", "iou=0.5"),
            ("jsonl \"out/errors.jsonl\" from=\"*.errors\";", ""),
        ]),
    );
    let form = serde_json::to_value(&changes).unwrap();
    assert_eq!(form["from"], compile(JUNCTION).unwrap().plan.hash.as_str());
    let interesting: Vec<String> = form["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["action"] != "kept")
        .map(ToString::to_string)
        .collect();
    assert_snapshot!(interesting.join("\n"), @r#"
    {"action":"live","node":"vehicles.detect","part":"node","why":"`iou` is now 0.5, was 0.45"}
    {"action":"removed","node":"write.jsonl.2","part":"node","why":"out/errors.jsonl is finished"}
    "#);
}

#[test]
fn every_part_is_listed_once_in_the_order_of_the_new_plan() {
    let new = edited(&[
        (
            "    track  bytetrack as=tracks\n",
            "    track  bytetrack as=tracks\n    truth  from=junction\n    track  as=others\n",
        ),
        ("cross  lines=stop from=tracks as=crossings", ""),
        ("jsonl \"out/crossings.jsonl\" from=vehicles.crossings;", ""),
    ]);
    let listed: Vec<String> = difference(JUNCTION, &new)
        .changes
        .iter()
        .map(|change| format!("{} {} {}", change.part.name(), change.name, change.action.name()))
        .collect();
    assert_snapshot!(listed.join("\n"), @r"
    camera north kept
    camera south kept
    camera east kept
    model yolo11n kept
    zone box kept
    zone stop kept
    node vehicles.detect kept
    node vehicles.tracks kept
    node vehicles.truth added
    node vehicles.others added
    node vehicles.visits rebuilt
    node waiting kept
    node write.jsonl kept
    node vehicles.crossings removed
    node write.jsonl removed
    ");
}

/// Edits of the junction, each with what it touches: parts of the form `kind name`.
const EDITS: [(&str, &str, &[&str]); 14] = [
    ("password=env.CAM_PASSWORD", "", &["camera north"]),
    ("seed=7", "seed=8", &["camera east"]),
    ("priority=high", "priority=low", &["camera north"]),
    ("names=\"coco.yaml\"", "", &["model yolo11n", "node vehicles.detect"]),
    ("0.42 0.50", "0.42 0.51", &["zone box", "node vehicles.visits"]),
    ("forward=out", "forward=away", &["zone stop", "node vehicles.crossings"]),
    ("iou=0.45", "iou=0.46", &["node vehicles.detect"]),
    ("for north min-score=0.4;", "", &["node vehicles.detect"]),
    ("track  bytetrack", "track  botsort", &["node vehicles.tracks"]),
    ("zones=box as", "zones=box grace=\"1s\" as", &["node vehicles.visits"]),
    (
        "from=tracks as=crossings",
        "from=tracks on-error=restart as=crossings",
        &["node vehicles.crossings"],
    ),
    ("dwell > '5s'", "dwell > '7s'", &["node waiting"]),
    ("out/crossings.jsonl", "out/other.jsonl", &["node write.jsonl"]),
    (
        "cameras junction {",
        "cameras junction {\n    synthetic west",
        &[
            "camera west",
            "node vehicles.detect",
            "node vehicles.tracks",
            "node vehicles.visits",
            "node vehicles.crossings",
            "node waiting",
            "node write.jsonl",
            "node write.jsonl.2",
        ],
    ),
];

/// Ways to write the same.
const REWRITINGS: [(&str, &str); 6] = [
    ("fps=15 lateness=\"150ms\"", "lateness=\"0.15s\" fps=15.0"),
    ("iou=", "max=100 /* the box */ iou="),
    ("every=\"1s\"", "retain=\"60m\" every=\"1000ms\""),
    ("seed=7 {", "seed=0x7 {"),
    ("classes car bus truck;", "classes \"car\" bus   truck\n"),
    ("\n\n", "\n// nothing\n\n\n"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The difference lists what was touched and nothing else, whatever else is edited and however it is written.
    #[test]
    fn exactly_what_was_touched_is_listed(
        edits in prop::collection::btree_set(0..EDITS.len(), 0..6),
        writing in prop::collection::btree_set(0..REWRITINGS.len(), 0..6),
    ) {
        let mut text = JUNCTION.replacen(" max=100", if writing.contains(&1) { "" } else { " max=100" }, 1);
        for index in &edits {
            prop_assert!(text.contains(EDITS[*index].0));
            text = text.replacen(EDITS[*index].0, EDITS[*index].1, 1);
        }
        for index in &writing {
            text = text.replacen(REWRITINGS[*index].0, REWRITINGS[*index].1, 1);
        }
        let touched: BTreeSet<&str> = edits.iter().flat_map(|index| EDITS[*index].2).copied().collect();
        let changes = difference(JUNCTION, &text);
        let told: BTreeSet<String> = changes.changes.iter()
            .filter(|change| change.action != Action::Kept)
            .map(|change| format!("{} {}", change.part.name(), change.name))
            .collect();
        prop_assert_eq!(told.iter().map(String::as_str).collect::<BTreeSet<_>>(), touched);
        prop_assert_eq!(changes.is_empty(), edits.is_empty());
        let mut listed = BTreeSet::new();
        for change in &changes.changes {
            prop_assert!(listed.insert((change.part, &change.name)), "{:?} twice", change);
            prop_assert!(change.renamed_from.is_none());
            prop_assert!(change.why.is_empty() == (change.action == Action::Kept || change.action == Action::Added), "{:?}", change);
        }
    }
}

/// A flow of generated lines below a group: each line is a tracker or an analysis with parameters that tell it apart.
fn lines() -> impl Strategy<Value = Vec<(usize, u32)>> {
    prop::collection::vec((0..3usize, 1..40u32), 1..8)
}

fn graph_of(lines: &[(usize, u32)]) -> String {
    let mut text = "cameras g { synthetic a; synthetic b; }\nzones cameras=g { polygon z 0 0 1 0 1 1; line l 0 0 1 1; }\nflow p from=g { truth; track as=t; }\nflow f from=p.t {\n".to_owned();
    for (kind, number) in lines {
        text += &match kind {
            0 => format!("    visit zones=z grace=\"{number}s\" from=p.t\n"),
            1 => format!("    track lost=\"{number}ms\" from=p.truth\n"),
            _ => format!("    write {{ jsonl \"out/{number}\" from=p.t; }}\n"),
        };
    }
    text + "}\n"
}

/// Lines of one kind and number would be the same node twice, or two sinks on one file.
fn distinct(mut lines: Vec<(usize, u32)>) -> Vec<(usize, u32)> {
    let mut seen = BTreeSet::new();
    lines.retain(|line| seen.insert(*line));
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_plan_does_not_differ_from_itself(lines in lines()) {
        let text = graph_of(&distinct(lines));
        prop_assert!(difference(&text, &text).is_empty());
    }

    /// Lines that are put in, taken out and moved leave the others what they were, under whichever name.
    #[test]
    fn lines_that_stay_are_kept(old in lines(), new in lines(), shared in lines(), at in any::<prop::sample::Index>()) {
        let with = |own: Vec<(usize, u32)>, at: usize| {
            let mut all = shared.clone();
            let at = at.min(all.len());
            all.splice(at..at, own.into_iter().map(|(kind, number)| (kind, number + 100)));
            distinct(all)
        };
        let (old, new) = (with(old, at.index(9)), with(new, 0));
        let changes = difference(&graph_of(&old), &graph_of(&new));
        // Each kind has as many kept nodes as lines that stand in both, and what is beyond is paired, added or removed.
        for (kind, name) in ["visit", "track", "jsonl"].into_iter().enumerate() {
            let of = |lines: &[(usize, u32)]| lines.iter().filter(|line| line.0 == kind).copied().collect::<BTreeSet<_>>();
            let (old, new) = (of(&old), of(&new));
            let mut count = BTreeMap::new();
            for change in changes.changes.iter().filter(|change| change.part == PartKind::Node) {
                if change.name.starts_with(&format!("f.{name}")) {
                    *count.entry(change.action.name()).or_insert(0) += 1;
                }
            }
            let get = |action: Action| count.get(action.name()).copied().unwrap_or(0);
            prop_assert_eq!(get(Action::Kept), old.intersection(&new).count(), "{}", explain_diff(&changes));
            prop_assert_eq!(get(Action::Added), new.len().saturating_sub(old.len()));
            prop_assert_eq!(get(Action::Removed), old.len().saturating_sub(new.len()));
        }
        // No state is handed to two.
        let mut heirs = BTreeSet::new();
        for change in &changes.changes {
            if matches!(change.action, Action::Kept | Action::Live | Action::Rebuilt | Action::Reset) {
                prop_assert!(heirs.insert((change.part, change.renamed_from.as_ref().unwrap_or(&change.name).clone())));
            }
        }
    }
}

#[test]
fn thousands_of_cameras_are_compared_soon() {
    let graph = |moved: usize| {
        let cameras: String = (0..2_000).map(|number| format!("    synthetic c{number}\n")).collect();
        let zones: String = (0..2_000)
            .map(|number| {
                let left = if number == moved { 0.2 } else { 0.1 };
                format!("zones camera=c{number} {{ polygon z {left} 0 1 0 1 1; }}\n")
            })
            .collect();
        let text = format!("cameras g {{\n{cameras}}}\n{zones}flow f from=g {{ truth; track; visit zones=z; }}");
        compile(&text).unwrap().plan
    };
    let (old, new) = (graph(0), graph(1_999));
    let start = std::time::Instant::now();
    let changes = diff(&old, &new, &*catalogue::CATALOGUE);
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    let moved = changes.of(PartKind::Node, "f.visit").unwrap();
    assert_eq!(
        (moved.action, moved.why.join("")),
        (Action::Live, "zone `z` moved on c0, c1999".into())
    );
}

#[test]
fn an_edit_of_a_template_changes_each_node_that_it_made() {
    let graph = |score: &str| {
        format!(
            "cameras g {{ synthetic a; }}\ncameras h {{ synthetic b; }}\nmodel m \"m.onnx\"\ndefine seen {{ detect m min-score={score}; track as=tracks; }}\nuse seen as=one from=g\nuse seen as=two from=h"
        )
    };
    assert_snapshot!(explained(&graph("0.2"), &graph("0.3")), @r"
    live     node    one.detect  `min-score` is now 0.3, was 0.2
    live     node    two.detect  `min-score` is now 0.3, was 0.2
    5 parts are kept
    ");
}
