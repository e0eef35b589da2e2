//! Faults of flows, and of what their nodes read and write.

use insta::assert_snapshot;

use super::with_cameras;
use crate::findings;

#[test]
fn flow_without_input() {
    assert_snapshot!(with_cameras(r#"flow f { truth; }
flow e from=g
write { jsonl "a"; }
write"#), @r#"
    error[flowrun::no-input]: `truth` reads nothing
       2 | flow f { truth; }
         |          ^^^^^ nothing feeds this
         = write `flow f from=g`
    error[flowrun::empty]: the flow `e` does nothing
       3 | flow e from=g
         |      ^ empty
    error[flowrun::no-input]: `jsonl` reads nothing
       4 | write { jsonl "a"; }
         |         ^^^^^ nothing feeds this
         = name what it reads: from=FLOW, from=FLOW.NODE or from="*.errors"
    error[flowrun::empty]: `write` has no lines
       5 | write
         | ^^^^^ empty
    "#);
}

#[test]
fn unknown_operator() {
    assert_snapshot!(with_cameras(r#"flow f from=g { detct; visits; jsonl "a"; }"#), @r#"
    error[flowrun::unknown-node]: `detct` is no node in a flow
       2 | flow f from=g { detct; visits; jsonl "a"; }
         |                 ^^^^^ unknown here
         = did you mean `detect`?
    error[flowrun::unknown-node]: `visits` is no node in a flow
       2 | flow f from=g { detct; visits; jsonl "a"; }
         |                        ^^^^^^ unknown here
         = did you mean `visit`?
    error[flowrun::unknown-node]: `jsonl` is no node in a flow
       2 | flow f from=g { detct; visits; jsonl "a"; }
         |                                ^^^^^ unknown here
         = nodes here: detect, truth, track, visit, cross, draw, write, publish, use
    "#);
}

#[test]
fn unknown_references() {
    assert_snapshot!(with_cameras(r#"flow f from=gg { truth; track as=t; }
flow h from=f.tt { cross lines=l; }
flow i from=a { truth; }
flow j from=nothing.like.it { truth; }
flow k from=5 { truth; }"#), @r"
    error[flowrun::unknown-name]: there is nothing named `gg`
       2 | flow f from=gg { truth; track as=t; }
         |             ^^ unknown
         = did you mean `g`?
    error[flowrun::unknown-name]: there is nothing named `f.tt`
       3 | flow h from=f.tt { cross lines=l; }
         |             ^^^^ unknown
         = did you mean `f.t`?
    error[flowrun::unknown-name]: there is no line `l`
       3 | flow h from=f.tt { cross lines=l; }
         |                                ^ unknown
         = declare it in a `zones` block
    error[flowrun::unknown-name]: `a` is a camera, from which nothing can be read
       4 | flow i from=a { truth; }
         |             ^ not a source of rows
         = flows read groups: `g`
    error[flowrun::unknown-name]: there is nothing named `nothing.like.it`
       5 | flow j from=nothing.like.it { truth; }
         |             ^^^^^^^^^^^^^^^ unknown
         = sources of rows here: f, g, h, i, j, k, f.truth, f.t, h.cross, i.truth, j.truth, k.truth
    error[flowrun::wrong-type]: `from` names something, but is a whole number
       6 | flow k from=5 { truth; }
         |             ^ not a name
    ");
}

#[test]
fn wrong_rows() {
    assert_snapshot!(with_cameras(r#"flow f from=g { track; }
flow h from=g { truth; visit zones=z; }
write { jsonl "a" from=g; }"#), @r#"
    error[flowrun::wrong-rows]: `track` reads detections, but `g` emits frames
       2 | flow f from=g { track; }
         |             ^ detections are needed here
       1 | cameras g { synthetic a; synthetic b; }
         |         ^ frames come from here
         = detections come from h.truth
    error[flowrun::wrong-rows]: `visit` reads tracks, but `h.truth` emits detections
       3 | flow h from=g { truth; visit zones=z; }
         |                        ^^^^^ tracks are needed here
       3 | flow h from=g { truth; visit zones=z; }
         |                 ^^^^^ detections come from here
         = tracks come from f.track
    error[flowrun::unknown-name]: there is no polygon `z`
       3 | flow h from=g { truth; visit zones=z; }
         |                                    ^ unknown
         = declare it in a `zones` block
    error[flowrun::wrong-rows]: `jsonl` reads rows with columns, but `g` emits frames
       4 | write { jsonl "a" from=g; }
         |                        ^ rows with columns are needed here
       1 | cameras g { synthetic a; synthetic b; }
         |         ^ frames come from here
         = rows with columns come from f.track, h.truth, h.visit
    "#);
}

#[test]
fn missing_second_input() {
    assert_snapshot!(with_cameras(r#"flow f from=g { draw align=latest; }"#), @r"
    error[flowrun::no-input]: `draw` needs `tracks`
       2 | flow f from=g { draw align=latest; }
         |                 ^^^^^^^^^^^^^^^^^ one of its inputs is missing
         = name what it reads: tracks=FLOW.NODE
    ");
}

#[test]
fn second_input_of_other_cameras() {
    assert_snapshot!(with_cameras(r#"cameras h { synthetic c; }
flow f from=h { truth; track; }
flow d from=g { draw tracks=f.track align=sometimes; }"#), @r"
    error[flowrun::cameras-differ]: `tracks` has nothing from the camera `a`
       4 | flow d from=g { draw tracks=f.track align=sometimes; }
         |                             ^^^^^^^ does not cover all cameras of the first input
         = inputs are matched frame by frame, camera by camera: let both begin at the same group
    error[flowrun::unknown-choice]: `sometimes` is no choice for `align`
       4 | flow d from=g { draw tracks=f.track align=sometimes; }
         |                                           ^^^^^^^^^ unknown
         = choices here: frame, latest
    ");
}

#[test]
fn mixed_group() {
    assert_snapshot!(findings(r#"cameras r { rows x "x.jsonl"; rows y "y.jsonl" type=track; }
flow f from=r { track; }"#), @r#"
    error[flowrun::mixed-group]: the cameras of `r` emit different rows: `x` detections, `y` tracks
       2 | flow f from=r { track; }
         |             ^ read here
       1 | cameras r { rows x "x.jsonl"; rows y "y.jsonl" type=track; }
         |                  ^ detections
       1 | cameras r { rows x "x.jsonl"; rows y "y.jsonl" type=track; }
         |                                    ^ tracks
         = put them into groups of their own
    "#);
}

#[test]
fn unknown_model() {
    assert_snapshot!(with_cameras(r#"model yolo "y.onnx"
flow f from=g { detect yollo; detect g as=two from=g; }"#), @r"
    error[flowrun::unknown-name]: there is no model `yollo`
       3 | flow f from=g { detect yollo; detect g as=two from=g; }
         |                        ^^^^^ unknown
         = did you mean `yolo`?
    error[flowrun::unknown-name]: there is no model `g`
       3 | flow f from=g { detect yollo; detect g as=two from=g; }
         |                                      ^ unknown
         = it is a group of cameras
    ");
}

#[test]
fn no_model_at_all() {
    assert_snapshot!(with_cameras(r#"flow f from=g { detect yolo; }"#), @r#"
    error[flowrun::unknown-name]: there is no model `yolo`
       2 | flow f from=g { detect yolo; }
         |                        ^^^^ unknown
         = declare it: `model yolo "path.onnx"`
    "#);
}

#[test]
fn overrides_of_unknown_cameras() {
    assert_snapshot!(with_cameras(r#"cameras h { synthetic c; }
model m "m.onnx"
flow f from=g { detect m { for aa min-score=0.5; for c min-score=0.5; for a min-score=2; for b; for b; for; }; }"#), @r"
    error[flowrun::unknown-name]: there is no camera `aa`
       4 | flow f from=g { detect m { for aa min-score=0.5; for c min-score=0.5; for a min-score=2; for b; for b; for; }; }
         |                                ^^ unknown
         = did you mean `a`?
    error[flowrun::unknown-name]: `f.detect` does not see the camera `c`
       4 | flow f from=g { detect m { for aa min-score=0.5; for c min-score=0.5; for a min-score=2; for b; for b; for; }; }
         |                                                      ^ not among its cameras
    error[flowrun::out-of-range]: `min-score` is from 0 to 1, not 2
       4 | flow f from=g { detect m { for aa min-score=0.5; for c min-score=0.5; for a min-score=2; for b; for b; for; }; }
         |                                                                                       ^ too large
    error[flowrun::duplicate-property]: `for b` is given twice
       4 | flow f from=g { detect m { for aa min-score=0.5; for c min-score=0.5; for a min-score=2; for b; for b; for; }; }
         |                                                                                                     ^ again
       4 | flow f from=g { detect m { for aa min-score=0.5; for c min-score=0.5; for a min-score=2; for b; for b; for; }; }
         |                                                                                              ^ first
    error[flowrun::missing-name]: `for` names a camera
       4 | flow f from=g { detect m { for aa min-score=0.5; for c min-score=0.5; for a min-score=2; for b; for b; for; }; }
         |                                                                                                        ^^^ no camera
         = write `for CAMERA NAME=VALUE ...`
    ");
}

#[test]
fn parameters_as_children() {
    assert_snapshot!(with_cameras(r#"model m "m.onnx"
flow f from=g { detect m { classes; max 1 2; iou 0.5 x=1; clases car; }; }"#), @r"
    error[flowrun::missing-parameter]: `classes` has no value
       3 | flow f from=g { detect m { classes; max 1 2; iou 0.5 x=1; clases car; }; }
         |                            ^^^^^^^ should be a list, each text
    error[flowrun::extra-argument]: `max` takes one value, not 2
       3 | flow f from=g { detect m { classes; max 1 2; iou 0.5 x=1; clases car; }; }
         |                                           ^ one too many
    error[flowrun::unknown-parameter]: `iou` is a parameter and has none itself
       3 | flow f from=g { detect m { classes; max 1 2; iou 0.5 x=1; clases car; }; }
         |                                                      ^ cannot stand here
    error[flowrun::unknown-parameter]: `detect` has no parameter `clases`
       3 | flow f from=g { detect m { classes; max 1 2; iou 0.5 x=1; clases car; }; }
         |                                                           ^^^^^^ unknown
         = did you mean `classes`?
    ");
}

#[test]
fn circle_of_nodes() {
    assert_snapshot!(with_cameras(r#"flow f from=h.track { visit zones=z; }
flow h from=g { truth; track from=f.visit; }"#), @r"
    error[flowrun::cycle]: nodes feed each other in a circle: `h.track` -> `f.visit` -> `h.track`
       3 | flow h from=g { truth; track from=f.visit; }
         |                                   ^^^^^^^ `h.track` reads `f.visit`
       2 | flow f from=h.track { visit zones=z; }
         |             ^^^^^^^ `f.visit` reads `h.track`
         = rows flow one way; break the circle at one of these
    ");
}

#[test]
fn circle_within_a_flow() {
    assert_snapshot!(with_cameras(r#"flow f from=g { draw tracks=t; truth; track as=t; }"#), @r"
    error[flowrun::cycle]: nodes feed each other in a circle: `f.truth` -> `f.t` -> `f.draw` -> `f.truth`
       2 | flow f from=g { draw tracks=t; truth; track as=t; }
         |                                ^^^^^ `f.truth` reads `f.draw`
       2 | flow f from=g { draw tracks=t; truth; track as=t; }
         |                                       ^^^^^ `f.t` reads `f.truth`
       2 | flow f from=g { draw tracks=t; truth; track as=t; }
         |                             ^ `f.draw` reads `f.t`
         = rows flow one way; break the circle at one of these
    ");
}

#[test]
fn circle_of_flows() {
    assert_snapshot!(with_cameras(r#"flow f from=g { truth as=boxes; visit zones=z from=h.tracks; }
flow h from=f.boxes { track as=tracks; }
zones cameras=g { polygon z 0 0 1 0 1 1; }"#), @r"
    error[flowrun::cycle]: flows read each other in a circle: `h` -> `f` -> `h`
       3 | flow h from=f.boxes { track as=tracks; }
         |             ^^^^^^^ `h` reads `f`
       2 | flow f from=g { truth as=boxes; visit zones=z from=h.tracks; }
         |                                                    ^^^^^^^^ `f` reads `h`
         = a flow is installed and replaced as a whole; move what the others read into a flow of its own
    ");
}

#[test]
fn two_points_of_one_name() {
    assert_snapshot!(with_cameras(r#"flow f from=g { truth as=x; track as=x; }
flow y from=g { truth as=g; }"#), @r"
    error[flowrun::duplicate-name]: there are two points `f.x`
       2 | flow f from=g { truth as=x; track as=x; }
         |                                      ^ again
       2 | flow f from=g { truth as=x; track as=x; }
         |                          ^ first
    error[flowrun::duplicate-name]: `g` is already the name of a group of cameras
       3 | flow y from=g { truth as=g; }
         |                          ^ inside the flow both would be meant
    ");
}

#[test]
fn two_sinks_of_one_path() {
    assert_snapshot!(with_cameras(r#"flow f from=g { truth; write { jsonl "out/a.jsonl"; }; }
write { jsonl "./out/a.jsonl" from=f; jsonl "b" from=write.jsonl; }"#), @r#"
    error[flowrun::same-target]: two sinks write to `./out/a.jsonl`
       3 | write { jsonl "./out/a.jsonl" from=f; jsonl "b" from=write.jsonl; }
         |               ^^^^^^^^^^^^^^^ again
       2 | flow f from=g { truth; write { jsonl "out/a.jsonl"; }; }
         |                                      ^^^^^^^^^^^^^ first
    error[flowrun::wrong-rows]: `write.jsonl` is a sink and emits nothing
       3 | write { jsonl "./out/a.jsonl" from=f; jsonl "b" from=write.jsonl; }
         |                                                      ^^^^^^^^^^^ a sink
         = its errors are `write.jsonl.errors`
    "#);
}

#[test]
fn unknown_sink() {
    assert_snapshot!(with_cameras(r#"flow f from=g { truth; write { json "a"; }; publish { hls "b"; }; }"#), @r#"
    error[flowrun::unknown-node]: `json` is no node in `write`
       2 | flow f from=g { truth; write { json "a"; }; publish { hls "b"; }; }
         |                                ^^^^ unknown here
         = did you mean `jsonl`?
    error[flowrun::unknown-node]: `hls` is no node in `publish`
       2 | flow f from=g { truth; write { json "a"; }; publish { hls "b"; }; }
         |                                                       ^^^ unknown here
         = nodes here: sse
    "#);
}

#[test]
fn policies() {
    assert_snapshot!(with_cameras(r#"flow f from=g { truth on-error=ignore as="a.b"; }"#), @r#"
    error[flowrun::unknown-choice]: `ignore` is no choice for `on-error`
       2 | flow f from=g { truth on-error=ignore as="a.b"; }
         |                                ^^^^^^ unknown
         = choices here: skip, restart, stop
    error[flowrun::bad-name]: `a.b` cannot name a point of a flow
       2 | flow f from=g { truth on-error=ignore as="a.b"; }
         |                                          ^^^^^ not a name
         = names have letters, digits, `_` and `-`
    "#);
}

#[test]
fn unread_from() {
    assert_snapshot!(with_cameras(r#"flow f from=g { truth from=g; }"#), @r"
    a plan, and
    warning[flowrun::unused-from]: nothing reads `g`
       2 | flow f from=g { truth from=g; }
         |             ^ the flow's
       2 | flow f from=g { truth from=g; }
         |                            ^ its first line reads this instead
    ");
}
