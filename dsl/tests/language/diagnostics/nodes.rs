//! Faults of nodes and their parameters.

use insta::assert_snapshot;

use super::with_cameras;
use crate::findings;

#[test]
fn nothing_known_at_top_level() {
    assert_snapshot!(findings(r#"socket listen="127.0.0.1:8080"
flwo a"#), @r#"
    error[flowrun::unknown-node]: `socket` is no node at top level
       1 | socket listen="127.0.0.1:8080"
         | ^^^^^^ unknown here
         = nodes here: cameras, model, zones, flow, define, use, query, write, publish, server, include
    error[flowrun::unknown-node]: `flwo` is no node at top level
       2 | flwo a
         | ^^^^ unknown here
         = did you mean `flow`?
    "#);
}

#[test]
fn servers() {
    assert_snapshot!(findings(r#"cameras g { synthetic a; }
server listen="8080" token="hunter2"
server
"#), @r#"
    error[flowrun::wrong-type]: `8080` is no address with a port: write it as in "127.0.0.1:8080", "[::1]:8080" or "0.0.0.0:8080"
       2 | server listen="8080" token=*********
         |               ^^^^^^ not an address
    error[flowrun::secret]: `token` is a secret and stands in the graph
       2 | server listen="8080" token=*********
         |                            ^^^^^^^^^ readable by everyone who reads the file
         = write env.NAME, and set that environment variable
    error[flowrun::duplicate-name]: there are two servers
       3 | server
         | ^^^^^^ again
       2 | server listen="8080" token=*********
         | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ first
         = one server serves all that a graph publishes
    "#);
    assert_snapshot!(findings(r#"cameras g { synthetic a; }
server listen=localhost:80 allow-host="http://a" port=80 connections=0"#), @r#"
    error[flowrun::wrong-type]: `http://a` is no host's name
       2 | server listen=localhost:80 allow-host="http://a" port=80 connections=0
         |                                       ^^^^^^^^^^ should be names
         = a name without scheme and port, as in allow-host="cam.example.org"
    error[flowrun::unknown-parameter]: `server` has no parameter `port`
       2 | server listen=localhost:80 allow-host="http://a" port=80 connections=0
         |                                                  ^^^^ unknown
         = parameters here: listen, token, allow-host, connections, connections-per-address
    error[flowrun::out-of-range]: `connections` is from 1 to 65536, not 0
       2 | server listen=localhost:80 allow-host="http://a" port=80 connections=0
         |                                                                      ^ too small
    "#);
}

#[test]
fn group_without_name() {
    assert_snapshot!(findings(r#"cameras { synthetic a; }"#), @r"
    error[flowrun::missing-name]: a group of cameras has no name
       1 | cameras { synthetic a; }
         | ^^^^^^^ the name is missing behind this
         = write `cameras NAME ...`
    ");
}

#[test]
fn group_without_cameras() {
    assert_snapshot!(findings(r#"cameras a { defaults fps=5; }"#), @r"
    error[flowrun::empty]: the group `a` has no cameras
       1 | cameras a { defaults fps=5; }
         |         ^ empty
         = a camera is a line `KIND NAME ...`, as in `rtsp north`; kinds: rtsp, file, synthetic, rows
    ");
}

#[test]
fn unknown_source() {
    assert_snapshot!(findings(r#"cameras a { rstp b "rtsp://c"; defalts fps=3; }"#), @r#"
    error[flowrun::unknown-node]: `rstp` is no node in `cameras`
       1 | cameras a { rstp b "rtsp://c"; defalts fps=3; }
         |             ^^^^ unknown here
         = did you mean `rtsp`?
    error[flowrun::unknown-node]: `defalts` is no node in `cameras`
       1 | cameras a { rstp b "rtsp://c"; defalts fps=3; }
         |                                ^^^^^^^ unknown here
         = did you mean `defaults`?
    "#);
}

#[test]
fn bad_names() {
    assert_snapshot!(findings(r#"cameras "a b" { synthetic "north.1"; synthetic errors; synthetic 5; }"#), @r#"
    error[flowrun::bad-name]: `a b` cannot name a group of cameras
       1 | cameras "a b" { synthetic "north.1"; synthetic errors; synthetic 5; }
         |         ^^^^^ not a name
         = names have letters, digits, `_` and `-`
    error[flowrun::bad-name]: `north.1` cannot name a camera
       1 | cameras "a b" { synthetic "north.1"; synthetic errors; synthetic 5; }
         |                           ^^^^^^^^^ not a name
         = names have letters, digits, `_` and `-`
    error[flowrun::bad-name]: `errors` cannot name a camera
       1 | cameras "a b" { synthetic "north.1"; synthetic errors; synthetic 5; }
         |                                                ^^^^^^ not a name
         = `errors`, `write`, `publish` and `env` are reserved: names of points begin or end with them
    error[flowrun::bad-name]: a camera is named by a word, not by a whole number
       1 | cameras "a b" { synthetic "north.1"; synthetic errors; synthetic 5; }
         |                                                                  ^ not a name
    "#);
}

#[test]
fn unknown_parameters() {
    assert_snapshot!(findings(r#"cameras a { synthetic b sed=5 zzz=1 { override fsp=5; }; }"#), @r"
    error[flowrun::unknown-parameter]: `synthetic` has no parameter `sed`
       1 | cameras a { synthetic b sed=5 zzz=1 { override fsp=5; }; }
         |                         ^^^ unknown
         = did you mean `seed`?
    error[flowrun::unknown-parameter]: `synthetic` has no parameter `zzz`
       1 | cameras a { synthetic b sed=5 zzz=1 { override fsp=5; }; }
         |                               ^^^ unknown
         = parameters here: scene, seed, fps, lateness, priority, buffer
    error[flowrun::unknown-parameter]: `override` has no parameter `fsp`
       1 | cameras a { synthetic b sed=5 zzz=1 { override fsp=5; }; }
         |                                                ^^^ unknown
         = did you mean `fps`?
    ");
}

#[test]
fn defaults_for_nobody() {
    assert_snapshot!(findings(r#"cameras a { defaults at-end=loop latenes="1s" fps=300; synthetic b; }"#), @r#"
    error[flowrun::unknown-parameter]: `defaults` has no parameter `at-end`
       1 | cameras a { defaults at-end=loop latenes="1s" fps=300; synthetic b; }
         |                      ^^^^^^ unknown
         = parameters here: buffer, fps, lateness, priority, scene, seed
    error[flowrun::unknown-parameter]: `defaults` has no parameter `latenes`
       1 | cameras a { defaults at-end=loop latenes="1s" fps=300; synthetic b; }
         |                                  ^^^^^^^ unknown
         = did you mean `lateness`?
    error[flowrun::out-of-range]: `fps` is from 1 to 240, not 300
       1 | cameras a { defaults at-end=loop latenes="1s" fps=300; synthetic b; }
         |                                                   ^^^ too large
    "#);
}

#[test]
fn given_twice() {
    assert_snapshot!(findings(r#"cameras a { defaults fps=5; defaults fps=6; synthetic b seed=1 { override seed=2; }; file c "d" path="e"; }"#), @r#"
    error[flowrun::duplicate-property]: `fps` is given twice
       1 | cameras a { defaults fps=5; defaults fps=6; synthetic b seed=1 { override seed=2; }; file c "d" path="e"; }
         |                                      ^^^ again
       1 | cameras a { defaults fps=5; defaults fps=6; synthetic b seed=1 { override seed=2; }; file c "d" path="e"; }
         |                      ^^^ first
    error[flowrun::duplicate-property]: `seed` is given twice
       1 | cameras a { defaults fps=5; defaults fps=6; synthetic b seed=1 { override seed=2; }; file c "d" path="e"; }
         |                                                                                ^ again
       1 | cameras a { defaults fps=5; defaults fps=6; synthetic b seed=1 { override seed=2; }; file c "d" path="e"; }
         |                                                              ^ first
    error[flowrun::duplicate-property]: `path` is given twice
       1 | cameras a { defaults fps=5; defaults fps=6; synthetic b seed=1 { override seed=2; }; file c "d" path="e"; }
         |                                                                                                      ^^^ again
       1 | cameras a { defaults fps=5; defaults fps=6; synthetic b seed=1 { override seed=2; }; file c "d" path="e"; }
         |                                                                                             ^^^ first
    "#);
}

#[test]
fn too_many_arguments() {
    assert_snapshot!(findings(r#"cameras a { synthetic b c; file d "e" "f"; }"#), @r#"
    error[flowrun::extra-argument]: `synthetic` has no place for this argument
       1 | cameras a { synthetic b c; file d "e" "f"; }
         |                         ^ one too many
         = its arguments: `synthetic NAME`; other parameters are written NAME=VALUE
    error[flowrun::extra-argument]: `file` has no place for this argument
       1 | cameras a { synthetic b c; file d "e" "f"; }
         |                                       ^^^ one too many
         = its arguments: `file NAME PATH`; other parameters are written NAME=VALUE
    "#);
}

#[test]
fn missing_parameters() {
    assert_snapshot!(findings(r#"cameras a { rtsp b; }
model c"#), @r#"
    error[flowrun::missing-parameter]: `b` needs `url`
       1 | cameras a { rtsp b; }
         |                  ^ without a URL
         = it is an argument: Where it is.
    error[flowrun::missing-parameter]: a model needs its file
       2 | model c
         | ^^^^^^^ without a path
         = write `model NAME "path.onnx"`
    "#);
}

#[test]
fn wrong_types() {
    assert_snapshot!(findings(r#"cameras a {
    defaults lateness=150 buffer=5
    synthetic b seed=1.5 fps="15"
    synthetic c seed=fast fps=#true scene=5 lateness="5 parsecs"
    file d 5
}"#), @r#"
    error[flowrun::wrong-type]: `lateness` should be a duration, not a whole number
       2 |     defaults lateness=150 buffer=5
         |                       ^^^ should be a duration
         = quantities carry their unit, in quotes: "150s" or "150ms"
    error[flowrun::wrong-type]: `buffer` should be a size, not a whole number
       2 |     defaults lateness=150 buffer=5
         |                                  ^ should be a size
         = quantities carry their unit, in quotes: "64MiB"
    error[flowrun::wrong-type]: `seed` should be a whole number, not a number
       3 |     synthetic b seed=1.5 fps="15"
         |                      ^^^ should be a whole number
    error[flowrun::wrong-type]: `fps` should be a number, not text
       3 |     synthetic b seed=1.5 fps="15"
         |                              ^^^^ should be a number
         = write 15 without quotes
    error[flowrun::wrong-type]: `seed` should be a whole number, not text
       4 |     synthetic c seed=fast fps=#true scene=5 lateness="5 parsecs"
         |                      ^^^^ should be a whole number
    error[flowrun::wrong-type]: `fps` should be a number, not a flag
       4 |     synthetic c seed=fast fps=#true scene=5 lateness="5 parsecs"
         |                               ^^^^^ should be a number
    error[flowrun::wrong-type]: `scene` should be one of junction, corridor, not a whole number
       4 |     synthetic c seed=fast fps=#true scene=5 lateness="5 parsecs"
         |                                           ^ should be one of junction, corridor
    error[flowrun::wrong-type]: `lateness`: `5 parsecs` is no duration: write a number and a unit, as in "800ms", "5s", "1m", "2h"
       4 |     synthetic c seed=fast fps=#true scene=5 lateness="5 parsecs"
         |                                                      ^^^^^^^^^^^ should be a duration
    error[flowrun::wrong-type]: `path` should be a path, not a whole number
       5 |     file d 5
         |            ^ should be a path
         = put it in quotes
    "#);
}

#[test]
fn out_of_range() {
    assert_snapshot!(findings(r#"cameras a { synthetic b fps=0; synthetic c fps=1000.5; synthetic d seed=1 fps=#inf; }"#), @r"
    error[flowrun::out-of-range]: `fps` is from 1 to 240, not 0
       1 | cameras a { synthetic b fps=0; synthetic c fps=1000.5; synthetic d seed=1 fps=#inf; }
         |                             ^ too small
    error[flowrun::out-of-range]: `fps` is from 1 to 240, not 1000.5
       1 | cameras a { synthetic b fps=0; synthetic c fps=1000.5; synthetic d seed=1 fps=#inf; }
         |                                                ^^^^^^ too large
    error[flowrun::wrong-type]: `fps` should be finite
       1 | cameras a { synthetic b fps=0; synthetic c fps=1000.5; synthetic d seed=1 fps=#inf; }
         |                                                                               ^^^^ not a finite number
    ");
}

#[test]
fn unknown_choice() {
    assert_snapshot!(findings(r#"cameras a { file b "c" at-end=lop priority=urgent; }"#), @r#"
    error[flowrun::unknown-choice]: `lop` is no choice for `at-end`
       1 | cameras a { file b "c" at-end=lop priority=urgent; }
         |                               ^^^ unknown
         = did you mean `loop`? The choices: stop, loop
    error[flowrun::unknown-choice]: `urgent` is no choice for `priority`
       1 | cameras a { file b "c" at-end=lop priority=urgent; }
         |                                            ^^^^^^ unknown
         = the choices: low, normal, high
    "#);
}

/// What should not be readable is not made more so.

#[test]
fn secrets() {
    assert_snapshot!(findings(r#"cameras a { rtsp b "rtsp://c" user=admin password="env.PASS WORD"; rtsp c env.URL; }"#), @r#"
    error[flowrun::secret]: `user` is a secret and stands in the graph
       1 | cameras a { rtsp b "rtsp://c" user=***** password="env.PASS WORD"; rtsp c env.URL; }
         |                                    ^^^^^ readable by everyone who reads the file
         = write env.NAME, and set that environment variable
    error[flowrun::secret]: `password` is a secret and stands in the graph
       1 | cameras a { rtsp b "rtsp://c" user=***** password="env.PASS WORD"; rtsp c env.URL; }
         |                                                   ^^^^^^^^^^^^^^^ readable by everyone who reads the file
         = write env.NAME, and set that environment variable
    error[flowrun::secret]: `url` is no secret, so `env.URL` would be taken literally
       1 | cameras a { rtsp b "rtsp://c" user=***** password="env.PASS WORD"; rtsp c env.URL; }
         |                                                                           ^^^^^^^ from the environment
         = only secrets come from the environment; a text that begins so is quoted
    "#);
}

#[test]
fn urls() {
    assert_snapshot!(findings(r#"cameras a { rtsp b "rtsp://me:pä55@c:554/main"; rtsp d "10.0.0.1/main"; rtsp e "rtsp://f/a@b:c"; }"#), @r#"
    error[flowrun::secret]: the URL of `url` holds a user name or a password
       1 | cameras a { rtsp b ****************************; rtsp d "10.0.0.1/main"; rtsp e "rtsp://f/a@b:c"; }
         |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ readable by everyone who reads the file
         = leave out what stands before the `@`, and write user=env.NAME password=env.NAME; set those environment variables
    error[flowrun::wrong-type]: `url`: a URL is written as in "rtsp://10.0.0.11/main"
       1 | cameras a { rtsp b ****************************; rtsp d "10.0.0.1/main"; rtsp e "rtsp://f/a@b:c"; }
         |                                                         ^^^^^^^^^^^^^^^ should be a URL
    "#);
}

#[test]
fn duplicate_names() {
    assert_snapshot!(findings(r#"cameras a { synthetic b; synthetic a; }
model b "c.onnx"
flow a from=a { truth; }"#), @r#"
    error[flowrun::duplicate-name]: `a` is already the name of a group of cameras
       1 | cameras a { synthetic b; synthetic a; }
         |                                    ^ a camera of the same name
       1 | cameras a { synthetic b; synthetic a; }
         |         ^ first
         = groups, cameras, models, flows and queries share one namespace
    error[flowrun::duplicate-name]: `b` is already the name of a camera
       2 | model b "c.onnx"
         |       ^ a model of the same name
       1 | cameras a { synthetic b; synthetic a; }
         |                       ^ first
         = groups, cameras, models, flows and queries share one namespace
    error[flowrun::duplicate-name]: `a` is already the name of a group of cameras
       3 | flow a from=a { truth; }
         |      ^ a flow of the same name
       1 | cameras a { synthetic b; synthetic a; }
         |         ^ first
         = groups, cameras, models, flows and queries share one namespace
    "#);
}

#[test]
fn model_faults() {
    assert_snapshot!(findings(r#"model m 5
model n "n.onnx" "extra" batch=0 nam="x""#), @r#"
    error[flowrun::wrong-type]: a model's path is text, not a whole number
       1 | model m 5
         |         ^ should be a path
    error[flowrun::extra-argument]: `model` has no place for this argument
       2 | model n "n.onnx" "extra" batch=0 nam="x"
         |                  ^^^^^^^ one too many
         = its arguments: `model NAME PATH`; other parameters are written NAME=VALUE
    error[flowrun::out-of-range]: `batch` is from 1 to 64, not 0
       2 | model n "n.onnx" "extra" batch=0 nam="x"
         |                                ^ too small
    error[flowrun::unknown-parameter]: `model` has no parameter `nam`
       2 | model n "n.onnx" "extra" batch=0 nam="x"
         |                                  ^^^ unknown
         = parameters here: names, batch
    "#);
}

#[test]
fn lists_with_holes() {
    assert_snapshot!(with_cameras(r#"model m "m.onnx"
flow f from=g { detect m classes="car,,bus"; track as=t from=detect lost="2m"; }"#), @r#"
    error[flowrun::wrong-type]: `classes`: `car,,bus` has nothing between two commas
       3 | flow f from=g { detect m classes="car,,bus"; track as=t from=detect lost="2m"; }
         |                                  ^^^^^^^^^^ should be a list, each text
    error[flowrun::out-of-range]: `lost` is at most 1m, not 2m
       3 | flow f from=g { detect m classes="car,,bus"; track as=t from=detect lost="2m"; }
         |                                                                          ^^^^ too large
    "#);
}
