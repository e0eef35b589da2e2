//! Graphs that compile, and what becomes of them.

use std::path::Path;

use flowrun_dsl::plan::{Align, Origin};
use flowrun_dsl::system::System;
use flowrun_dsl::value::Value;
use flowrun_dsl::{Span, compile_with};
use insta::assert_snapshot;

use crate::{JUNCTION, catalogue, compile, explained, findings, source};

#[test]
fn the_junction() {
    assert_snapshot!(findings(JUNCTION), @r"
    a plan, and
    warning[flowrun::zone-not-everywhere]: the polygon `box` does not lie on every picture
      19 |     visit  zones=box as=visits
         |                  ^^^ not on south, east
         = for these cameras `vehicles.visits` never sees it
    warning[flowrun::zone-not-everywhere]: the line `stop` does not lie on every picture
      20 |     cross  lines=stop from=tracks as=crossings
         |                  ^^^^ not on south, east
         = for these cameras `vehicles.crossings` never sees it
    ");
    assert_snapshot!(explained(JUNCTION), @r"
    cameras
      junction.north = rtsp url=rtsp://10.0.0.11/main user=env.CAM_USER password=env.CAM_PASSWORD fps=15 lateness=150ms priority=high -> frames
      junction.south = file path=clips/south.mp4 at-end=loop fps=15 lateness=150ms -> frames
      junction.east = synthetic scene=junction seed=7 fps=10 lateness=150ms -> frames
    models
      yolo11n = models/yolo11n.onnx names=coco.yaml
    zones
      box = polygon of 4 corners on north
      stop = line out/in on north
    vehicles
      vehicles.detect = detect(frames: junction) model=yolo11n max=100 classes=car,bus,truck -> detections for north, south, east
        for north: min-score=0.4
      vehicles.tracks = track(detections: vehicles.detect) -> tracks for north, south, east
      vehicles.visits = visit(tracks: vehicles.tracks) zones=box -> visits for north, south, east
      vehicles.crossings = cross(tracks: vehicles.tracks) lines=stop -> crossings for north, south, east
    waiting
      waiting = query(rows: vehicles.visits) -> table rows for north, south, east
        where zone = 'box' and dwell > '5s'
        window 1m every 1s, retained 1h
        group by camera
        vehicles = count(distinct track)
        longest = max(dwell)
    write.jsonl
      write.jsonl = jsonl(rows: vehicles.crossings) path=out/crossings.jsonl for north, south, east
    write.jsonl.2
      write.jsonl.2 = jsonl(rows: *.errors) path=out/errors.jsonl for north, south, east
    ");
}

/// Behind a group of two cameras with a polygon `z` and a line `l`.
fn scene(text: &str) -> String {
    format!(
        "cameras g {{ synthetic a; synthetic b; }}\nmodel m \"m.onnx\"\nzones cameras=g {{ polygon z 0 0 1 0 1 1; line l 0 0 1 1; }}\n{text}"
    )
}

#[test]
fn values_come_from_the_camera_its_group_or_the_schema() {
    let text = r#"cameras g {
        defaults fps=5 lateness="1s" at-end=loop
        synthetic a
        synthetic b fps=6 { override lateness="2s" priority=low; }
        file c "c.mp4" at-end=stop fps=7
    }"#;
    assert_snapshot!(explained(text), @r"
    cameras
      g.a = synthetic fps=5 lateness=1s -> frames
      g.b = synthetic fps=6 lateness=2s priority=low -> frames
      g.c = file path=c.mp4 fps=7 lateness=1s -> frames
    ");
}

#[test]
fn points_are_named_by_kind_number_or_as() {
    let text = scene(
        r#"flow f from=g { truth; track; visit zones=z; visit zones=z from=track; cross lines=l from=f.track as=crossings; write { jsonl "a"; jsonl "b" from=f.visit.2; }; publish { sse "/c" as=live; }; }
        write { jsonl "d" from=f; jsonl "e" from=f.visit.errors; jsonl "f" from=f.errors; }"#,
    );
    assert_snapshot!(explained(&text), @r"
    cameras
      g.a = synthetic -> frames
      g.b = synthetic -> frames
    models
      m = m.onnx
    zones
      z = polygon of 3 corners on a, b
      l = line forward/backward on a, b
    f
      f.truth = truth(frames: g) -> detections for a, b
      f.track = track(detections: f.truth) -> tracks for a, b
      f.visit = visit(tracks: f.track) zones=z -> visits for a, b
      f.visit.2 = visit(tracks: f.track) zones=z -> visits for a, b
      f.crossings = cross(tracks: f.track) lines=l -> crossings for a, b
      f.jsonl = jsonl(rows: f.crossings) path=a for a, b
      f.jsonl.2 = jsonl(rows: f.visit.2) path=b for a, b
      f.live = sse(rows: f.crossings) path=/c for a, b
    write.jsonl
      write.jsonl = jsonl(rows: f.crossings) path=d for a, b
    write.jsonl.2
      write.jsonl.2 = jsonl(rows: f.visit.errors) path=e for a, b
    write.jsonl.3
      write.jsonl.3 = jsonl(rows: f.crossings.errors) path=f for a, b
    ");
}

#[test]
fn flows_may_come_before_what_they_read() {
    let text = scene(
        "flow wall from=g { draw tracks=people.track align=latest as=picture; }\nquery q from=early { window \"1m\"; select n=\"count(*)\"; }\nflow early from=people { visit zones=z; }\nflow people from=g { detect m { for b min-score=0.5 { classes bus; }; }; track; }",
    );
    assert_snapshot!(explained(&text), @r"
    cameras
      g.a = synthetic -> frames
      g.b = synthetic -> frames
    models
      m = m.onnx
    zones
      z = polygon of 3 corners on a, b
      l = line forward/backward on a, b
    people
      people.detect = detect(frames: g) model=m -> detections for a, b
        for b: classes=bus min-score=0.5
      people.track = track(detections: people.detect) -> tracks for a, b
    wall
      wall.picture = draw(frames: g, tracks: people.track latest) -> frames for a, b
    early
      early.visit = visit(tracks: people.track) zones=z -> visits for a, b
    q
      q = query(rows: early.visit) -> table rows for a, b
        window 1m every 1m, retained 1h
        n = count(*)
    ");
    let plan = compile(&text).unwrap().plan;
    for (index, node) in plan.nodes.iter().enumerate() {
        assert!(plan.fragments[node.fragment].nodes.contains(&index));
        for input in &node.inputs {
            if let Origin::Node(from) | Origin::ErrorsOf(from) = input.origin {
                assert!(from < index && plan.nodes[from].fragment <= node.fragment);
            }
        }
    }
    let draw = plan.nodes.iter().find(|node| node.kind == "draw").unwrap();
    assert_eq!(
        (draw.inputs[0].align, draw.inputs[1].align),
        (Align::Frame, Align::Latest)
    );
}

#[test]
fn ports_that_are_not_required_may_be_left_out_and_shapes_are_named_together() {
    let graph = |inputs: &str| {
        format!(
            "cameras g {{ synthetic a; }}\nzones camera=a {{ polygon box 0.1 0.1 0.9 0.1 0.9 0.9; line stop 0.1 0.5 0.9 0.5; }}\nflow f from=g {{ truth as=seen; track as=t; }}\nflow d from=g {{ draw {inputs} shapes=\"box,stop\"; }}"
        )
    };
    let ports = |inputs: &str| {
        let plan = compile(&graph(inputs)).unwrap().plan;
        let draw = plan.nodes.into_iter().find(|node| node.kind == "draw").unwrap();
        draw.inputs.into_iter().map(|input| input.port).collect::<Vec<_>>()
    };
    assert_eq!(ports("tracks=f.t"), ["frames", "tracks"]);
    assert_eq!(
        ports("detections=f.seen tracks=f.t"),
        ["frames", "tracks", "detections"]
    );
}

#[test]
fn overrides_are_complete() {
    let plan = compile(JUNCTION).unwrap().plan;
    let detect = &plan.nodes[0];
    let north = &detect.overrides["north"];
    assert_eq!(
        (&detect.params["min-score"], &north["min-score"]),
        (&Value::Float(0.25), &Value::Float(0.4))
    );
    assert_eq!(north.len(), detect.params.len());
    assert_eq!(
        (&north["classes"], detect.overrides.len()),
        (&detect.params["classes"], 1)
    );
}

#[test]
fn queries_read_queries() {
    let text = scene(
        r#"flow f from=g { truth; track; visit zones=z; }
        query p from=f { window "1m" every="10s"; group-by camera zone; select n="count(distinct track)" longest="max(dwell)"; }
        query q from=p { where "n > 5 and longest > '1m' and camera like 'n%'"; window "1h"; select worst="max(n)" mean="avg(longest)"; }"#,
    );
    assert_snapshot!(explained(&text), @r"
    cameras
      g.a = synthetic -> frames
      g.b = synthetic -> frames
    models
      m = m.onnx
    zones
      z = polygon of 3 corners on a, b
      l = line forward/backward on a, b
    f
      f.truth = truth(frames: g) -> detections for a, b
      f.track = track(detections: f.truth) -> tracks for a, b
      f.visit = visit(tracks: f.track) zones=z -> visits for a, b
    p
      p = query(rows: f.visit) -> table rows for a, b
        window 1m every 10s, retained 1h
        group by camera, zone
        n = count(distinct track)
        longest = max(dwell)
    q
      q = query(rows: p) -> table rows for a, b
        where n > 5 and longest > '1m' and camera like 'n%'
        window 1h every 1h, retained 1h
        worst = max(n)
        mean = avg(longest)
    ");
    let plan = compile(&text).unwrap().plan;
    let columns = |name: &str| {
        let node = plan.nodes.iter().find(|node| node.name == name).unwrap();
        let schema = &node.query.as_ref().unwrap().schema;
        schema
            .columns
            .iter()
            .map(|column| format!("{} {:?}", column.name, column.ty))
            .collect::<Vec<_>>()
            .join(", ")
    };
    assert_snapshot!(columns("p"), @"window_start Time, window_end Time, camera Text, zone Text, n Int, longest Duration, complete_through Time, missing Text, revision Int");
    assert_snapshot!(columns("q"), @"window_start Time, window_end Time, worst Int, mean Duration, complete_through Time, missing Text, revision Int");
}

#[test]
fn fingerprints_are_local() {
    let (before, after) = (
        compile(JUNCTION).unwrap().plan,
        compile(&JUNCTION.replace("max=100", "max=50")).unwrap().plan,
    );
    let changed: Vec<&str> = before
        .nodes
        .iter()
        .zip(&after.nodes)
        .filter(|(a, b)| a.fingerprint != b.fingerprint)
        .map(|(a, _)| a.name.as_str())
        .collect();
    assert_eq!(changed, ["vehicles.detect"]);
    assert_eq!(before.cameras, after.cameras);
    // Another file of the model is another detector; another camera or zone is not.
    let after = compile(&JUNCTION.replace("yolo11n.onnx", "other.onnx")).unwrap().plan;
    assert_ne!(before.nodes[0].fingerprint, after.nodes[0].fingerprint);
    let after = compile(
        &JUNCTION
            .replace("synthetic east", "synthetic west")
            .replace("0.08 0.98", "0.07 0.98"),
    )
    .unwrap()
    .plan;
    assert!(
        before
            .nodes
            .iter()
            .zip(&after.nodes)
            .all(|(a, b)| a.fingerprint == b.fingerprint)
    );
}

#[test]
fn names_have_places() {
    let compiled = compile(JUNCTION).unwrap();
    let text = |span: Span| &JUNCTION[span.start..span.end];
    let spans = &compiled.spans;
    assert_eq!(text(spans.cameras["south"].name), "south");
    assert_eq!(text(spans.cameras["south"].param("path")), "\"clips/south.mp4\"");
    assert_eq!(text(spans.cameras["south"].param("buffer")), "south");
    assert_eq!(text(spans.models["yolo11n"].param("path")), "\"models/yolo11n.onnx\"");
    assert_eq!(text(spans.nodes["vehicles.tracks"].name), "tracks");
    assert_eq!(text(spans.nodes["vehicles.detect"].name), "detect");
    assert_eq!(text(spans.nodes["vehicles.detect"].param("classes")), "car bus truck");
    assert_eq!(text(spans.nodes["waiting"].name), "waiting");
    assert_eq!(
        spans.zones.iter().map(|span| text(*span)).collect::<Vec<_>>(),
        ["box", "stop"]
    );
}

struct Nothing;

impl System for Nothing {
    fn exists(&self, _: &Path) -> bool {
        false
    }
    fn allows(&self, _: &Path) -> bool {
        true
    }
}

#[test]
fn files_of_cameras_and_models_must_exist() {
    let source = source(JUNCTION);
    let missing = compile_with(&source, Path::new("/graphs"), &*catalogue::CATALOGUE, &Nothing).unwrap_err();
    assert_snapshot!(missing.to_text(&source), @r#"
    error[flowrun::missing-file]: there is no file `clips/south.mp4`
       5 |     file south "clips/south.mp4" at-end=loop
         |                ^^^^^^^^^^^^^^^^^ not found
         = paths are relative to the folder of the graph
    error[flowrun::missing-file]: there is no file `models/yolo11n.onnx`
       9 | model yolo11n "models/yolo11n.onnx" names="coco.yaml"
         |               ^^^^^^^^^^^^^^^^^^^^^ not found
         = paths are relative to the folder of the graph
    error[flowrun::missing-file]: there is no file `coco.yaml`
       9 | model yolo11n "models/yolo11n.onnx" names="coco.yaml"
         |                                           ^^^^^^^^^^^ not found
         = paths are relative to the folder of the graph
    warning[flowrun::zone-not-everywhere]: the polygon `box` does not lie on every picture
      19 |     visit  zones=box as=visits
         |                  ^^^ not on south, east
         = for these cameras `vehicles.visits` never sees it
    warning[flowrun::zone-not-everywhere]: the line `stop` does not lie on every picture
      20 |     cross  lines=stop from=tracks as=crossings
         |                  ^^^^ not on south, east
         = for these cameras `vehicles.crossings` never sees it
    "#);
}

#[test]
fn a_plan_is_json() {
    let plan = compile(&scene("flow f from=g { truth; track; visit zones=z; }\nquery q from=f { where \"dwell > '5s'\"; window \"1m\"; select n=\"count(*)\"; }")).unwrap().plan;
    let mut json = serde_json::to_value(&plan).unwrap();
    json["nodes"] = json["nodes"].as_array().unwrap()[2..].into();
    json["cameras"] = json["cameras"].as_array().unwrap()[..1].into();
    assert_snapshot!(serde_json::to_string_pretty(&json).unwrap(), @r#"
    {
      "cameras": [
        {
          "common": {
            "buffer": "1048576B",
            "lateness": "100ms",
            "priority": "normal"
          },
          "fingerprint": "44593d952572a52f6055808cc2932fb8252434711cb1f5dee3615f08a64dd124",
          "group": "g",
          "kind": "synthetic",
          "name": "a",
          "output": "frame",
          "params": {
            "fps": 25.0,
            "scene": "corridor",
            "seed": 1
          }
        }
      ],
      "fragments": [
        {
          "name": "f",
          "nodes": [
            0,
            1,
            2
          ]
        },
        {
          "name": "q",
          "nodes": [
            3
          ]
        }
      ],
      "hash": "ebf23de838363e89b96aacc8e90d7d960b72fb3256b9a371c1dc158013caf43e",
      "models": {
        "m": {
          "params": {
            "batch": 1
          },
          "path": "m.onnx"
        }
      },
      "nodes": [
        {
          "cameras": [
            0,
            1
          ],
          "fingerprint": "9528143b2e3a999f423cf0c51f2ffa69440026842a49c1709b11d56020296c52",
          "fragment": 0,
          "inputs": [
            {
              "align": "frame",
              "origin": {
                "node": 1
              },
              "port": "tracks",
              "rows": "track"
            }
          ],
          "kind": "visit",
          "name": "f.visit",
          "on_error": "skip",
          "output": "visit",
          "overrides": {},
          "params": {
            "anchor": "feet",
            "grace": "800ms",
            "zones": [
              "z"
            ]
          },
          "query": null,
          "role": "operator"
        },
        {
          "cameras": [
            0,
            1
          ],
          "fingerprint": "885f1501da8cd19198f68f830b82b12d591f97bc295c847f5b1b26715f4c2021",
          "fragment": 1,
          "inputs": [
            {
              "align": "frame",
              "origin": {
                "node": 2
              },
              "port": "rows",
              "rows": "visit"
            }
          ],
          "kind": "query",
          "name": "q",
          "on_error": "skip",
          "output": {
            "table": {
              "columns": [
                {
                  "name": "window_start",
                  "type": "time"
                },
                {
                  "name": "window_end",
                  "type": "time"
                },
                {
                  "name": "n",
                  "type": "int"
                },
                {
                  "name": "complete_through",
                  "type": "time"
                },
                {
                  "name": "missing",
                  "type": "text"
                },
                {
                  "name": "revision",
                  "type": "int"
                }
              ],
              "name": "q"
            }
          },
          "overrides": {},
          "params": {},
          "query": {
            "filter": {
              "binary": {
                "left": {
                  "column": 8
                },
                "op": "greater",
                "right": {
                  "literal": {
                    "duration": 5000000000
                  }
                }
              }
            },
            "group_by": [],
            "group_columns": [],
            "retain": "1h",
            "schema": {
              "columns": [
                {
                  "name": "window_start",
                  "type": "time"
                },
                {
                  "name": "window_end",
                  "type": "time"
                },
                {
                  "name": "n",
                  "type": "int"
                },
                {
                  "name": "complete_through",
                  "type": "time"
                },
                {
                  "name": "missing",
                  "type": "text"
                },
                {
                  "name": "revision",
                  "type": "int"
                }
              ],
              "name": "q"
            },
            "select": [
              [
                "n",
                "count"
              ]
            ],
            "window": {
              "every": "1m",
              "size": "1m"
            }
          },
          "role": "query"
        }
      ],
      "version": 1,
      "zones": [
        {
          "cameras": [
            0,
            1
          ],
          "name": "z",
          "shape": {
            "polygon": [
              [
                0.0,
                0.0
              ],
              [
                1.0,
                0.0
              ],
              [
                1.0,
                1.0
              ]
            ]
          },
          "units": "ratio"
        },
        {
          "cameras": [
            0,
            1
          ],
          "name": "l",
          "shape": {
            "line": {
              "backward": "backward",
              "ends": [
                [
                  0.0,
                  0.0
                ],
                [
                  1.0,
                  1.0
                ]
              ],
              "forward": "forward"
            }
          },
          "units": "ratio"
        }
      ]
    }
    "#);
}

#[test]
fn findings_are_json() {
    let found = compile("flwo a\nfolw b").unwrap_err();
    assert_snapshot!(found.to_string(), @r"
    [flowrun::unknown-node] `flwo` is no node at top level
    [flowrun::unknown-node] `folw` is no node at top level
    ");
    let text = "flwo a";
    let found = compile(text).unwrap_err().to_json(&source(text));
    assert_snapshot!(serde_json::to_string_pretty(&found).unwrap(), @r#"
    {
      "diagnostics": [
        {
          "code": "flowrun::unknown-node",
          "help": "did you mean `flow`?",
          "labels": [
            {
              "end": 4,
              "file": "test.kdl",
              "from": {
                "column": 1,
                "line": 1
              },
              "start": 0,
              "text": "unknown here",
              "to": {
                "column": 5,
                "line": 1
              }
            }
          ],
          "message": "`flwo` is no node at top level",
          "severity": "error"
        }
      ],
      "file": "test.kdl",
      "version": 1
    }
    "#);
}

#[test]
fn an_empty_graph_is_a_plan_of_nothing() {
    assert_snapshot!(explained("// soon\n"), @"cameras");
}

#[test]
fn a_server_is_part_of_the_plan() {
    let text = scene(
        r#"server listen="0.0.0.0:8443+" token=env.T { allow-host cam.example.org other.example; }
        publish { sse "/a" from=f; }
        flow f from=g { truth; }"#,
    );
    assert_snapshot!(findings(&text), @"a plan, and");
    let line = explained(&text);
    let line = line.lines().find(|line| line.starts_with("server"));
    assert_eq!(
        line,
        Some("server listen=0.0.0.0:8443+ token=env.T allow-host=cam.example.org,other.example")
    );
}

#[test]
fn what_nothing_serves_is_a_warning() {
    let text = scene("flow f from=g { truth; publish { sse \"/a\"; }; }\npublish { sse \"/b\" from=f; }");
    assert_snapshot!(findings(&text), @r#"
    a plan, and
    warning[flowrun::no-server]: nothing serves what this graph publishes
       4 | flow f from=g { truth; publish { sse "/a"; }; }
         |                                  ^^^ nobody can reach this
         = add `server listen="127.0.0.1:8080"`, or run it with --listen 127.0.0.1:8080
    "#);
}
