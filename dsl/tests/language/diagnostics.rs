//! Faults, and what is said about them.

use insta::assert_snapshot;

use crate::findings;

/// Behind two cameras of one group.
fn with_cameras(text: &str) -> String {
    findings(&format!("cameras g {{ synthetic a; synthetic b; }}\n{text}"))
}

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
fn bare_quantities_and_kdl_1() {
    assert_snapshot!(findings(r#"cameras a {
    synthetic b fps=5s seed=true
    synthetic c scene=0.1,0.2 x 720p 4M
}"#), @r#"
    error[flowrun::unquoted]: `5s` is neither a number nor a bare word
       2 |     synthetic b fps=5s seed=true
         |                     ^^ begins like a number
         = quantities are quoted: "5s"
    error[flowrun::kdl-1]: bare `true` is KDL 1
       2 |     synthetic b fps=5s seed=true
         |                             ^^^^ a keyword of KDL 1
         = in KDL 2 it is written `#true`, and the word itself "true"
    error[flowrun::unquoted]: `0.1,0.2` is neither a number nor a bare word
       3 |     synthetic c scene=0.1,0.2 x 720p 4M
         |                       ^^^^^^^ begins like a number
         = quantities are quoted: "0.1,0.2"
    error[flowrun::unquoted]: `720p` is neither a number nor a bare word
       3 |     synthetic c scene=0.1,0.2 x 720p 4M
         |                                 ^^^^ begins like a number
         = quantities are quoted: "720p"
    error[flowrun::unquoted]: `4M` is neither a number nor a bare word
       3 |     synthetic c scene=0.1,0.2 x 720p 4M
         |                                      ^^ begins like a number
         = quantities are quoted: "4M"
    "#);
}

#[test]
fn bare_words_with_letters_that_need_quotes() {
    assert_snapshot!(findings(r#"write { jsonl out/a.jsonl from=a#b; }"#), @r#"
    error[flowrun::unquoted]: a bare word has no `/`
       1 | write { jsonl out/a.jsonl from=a#b; }
         |               ^^^^^^^^^^^
         = quote it: "out/a.jsonl"
    error[flowrun::unquoted]: a bare word has no `#`
       1 | write { jsonl out/a.jsonl from=a#b; }
         |                                ^^^
         = quote it: "a#b"
    "#);
}

#[test]
fn text_without_end() {
    assert_snapshot!(findings(r#"model a "b.onnx
model c "d.onnx""#), @r#"
    error[flowrun::syntax]: text without its closing quote
       1 | model a "b.onnx
         |         ^ opened here
         = text over several lines stands between """ and """
    "#);
}

#[test]
fn block_without_end() {
    assert_snapshot!(findings(r#"cameras a {
    synthetic b {
}
"#), @r"
    error[flowrun::syntax]: a block without its `}`
       1 | cameras a {
         |           ^ opened here
    ");
}

#[test]
fn block_closed_twice() {
    assert_snapshot!(findings(r#"cameras a { synthetic b; }
}"#), @r"
    error[flowrun::syntax]: `}` closes nothing
       2 | }
         | ^ no block is open
    ");
}

#[test]
fn properties_after_the_block() {
    assert_snapshot!(findings(r#"flow a { track } from=b"#), @r"
    error[flowrun::syntax]: nothing may follow a block on its line
       1 | flow a { track } from=b
         |                  ^^^^ after the block
         = arguments and properties come before the block; a next node after `;` or on a new line
    ");
}

#[test]
fn block_without_a_node() {
    assert_snapshot!(findings(r#"cameras a; { synthetic b; }"#), @r"
    error[flowrun::syntax]: a block without a node before it
       1 | cameras a; { synthetic b; }
         |            ^ opened here
         = the `{` stands on the line of its node, with no `;` between
    ");
}

#[test]
fn property_without_value() {
    assert_snapshot!(findings(r#"flow a from=
"#), @r"
    error[flowrun::syntax]: a value is missing
       1 | flow a from=
         |             ^ expected here
    ");
}

#[test]
fn comment_without_end() {
    assert_snapshot!(findings(r#"cameras a /* b"#), @r"
    error[flowrun::syntax]: a comment without its end
       1 | cameras a /* b
         |           ^^ opened here
         = close it with */
    ");
}

#[test]
fn unknown_escape() {
    assert_snapshot!(findings(r#"model a "b\d.onnx""#), @r#"
    error[flowrun::syntax]: no such escape
       1 | model a "b\d.onnx"
         |           ^^ unknown escape
         = escapes are \n \r \t \\ \" \b \f \s and \u{1F600}; a backslash itself is \\
    "#);
}

#[test]
fn brackets() {
    assert_snapshot!(findings(r#"select n=count(x) m=(u8)5"#), @r"
    error[flowrun::syntax]: a space is missing
       1 | select n=count(x) m=(u8)5
         |               ^ before this
         = text with brackets is quoted
    ");
}

#[test]
fn type_annotation() {
    assert_snapshot!(findings(r#"cameras a { synthetic b seed=(u8)5; }"#), @r#"
    error[flowrun::type-annotation]: a type annotation means nothing here
       1 | cameras a { synthetic b seed=(u8)5; }
         |                                  ^ annotated
         = leave out the brackets before it; quantities carry their unit in quotes, as in "5s"
    "#);
}

#[test]
fn duplicate_property() {
    assert_snapshot!(findings(r#"cameras a { synthetic b seed=5 seed=6; }"#), @r"
    error[flowrun::duplicate-property]: `seed` is given twice
       1 | cameras a { synthetic b seed=5 seed=6; }
         |                                ^^^^ again
       1 | cameras a { synthetic b seed=5 seed=6; }
         |                         ^^^^ first
    ");
}

#[test]
fn number_too_large() {
    assert_snapshot!(findings(r#"cameras a { synthetic b seed=99999999999999999999; }"#), @r"
    error[flowrun::out-of-range]: 99999999999999999999 is beyond the range of whole numbers
       1 | cameras a { synthetic b seed=99999999999999999999; }
         |                              ^^^^^^^^^^^^^^^^^^^^ 64 bits at most
    ");
}

#[test]
fn control_character() {
    assert_snapshot!(findings("cameras \u{7}a"), @r"
    error[flowrun::syntax]: the character U+0007 cannot stand in a graph
       1 | cameras a
         |         ^ here
    ");
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
fn zones_of_nobody() {
    assert_snapshot!(with_cameras(r#"zones { polygon a 0 0 1 0 1 1; }
zones camera=a cameras=g { line l 0 0 1 1; }
zones camera=g { line l 0 0 1 1; }
zones cameras=a { line l 0 0 1 1; }
zones camera=c { line l 0 0 1 1; }
zones camera=a"#), @r"
    error[flowrun::missing-parameter]: zones of which camera?
       2 | zones { polygon a 0 0 1 0 1 1; }
         | ^^^^^ without a camera
         = write `zones camera=NAME` or `zones cameras=GROUP`
    error[flowrun::duplicate-property]: zones lie on one camera or on a group, not on both
       3 | zones camera=a cameras=g { line l 0 0 1 1; }
         |                        ^ a group
       3 | zones camera=a cameras=g { line l 0 0 1 1; }
         |              ^ a camera
    error[flowrun::unknown-name]: there is no camera `g`
       4 | zones camera=g { line l 0 0 1 1; }
         |              ^ unknown
         = it is a group: write cameras=g
    error[flowrun::unknown-name]: there is no group of cameras `a`
       5 | zones cameras=a { line l 0 0 1 1; }
         |               ^ unknown
         = it is a camera: write camera=a
    error[flowrun::unknown-name]: there is no camera `c`
       6 | zones camera=c { line l 0 0 1 1; }
         |              ^ unknown
         = cameras here: a, b
    error[flowrun::empty]: `zones` declares none
       7 | zones camera=a
         | ^^^^^ empty
    ");
}

#[test]
fn polygons_that_cross_themselves() {
    assert_snapshot!(with_cameras(r#"zones camera=a { polygon tie 0.1 0.1  0.9 0.9  0.9 0.1  0.1 0.9; }"#), @r"
    error[flowrun::bad-shape]: the polygon `tie` crosses itself: edge 1-2 meets edge 3-4
       2 | zones camera=a { polygon tie 0.1 0.1  0.9 0.9  0.9 0.1  0.1 0.9; }
         |                              ^^^^^^^^^^^^^^^^ edge 1-2
       2 | zones camera=a { polygon tie 0.1 0.1  0.9 0.9  0.9 0.1  0.1 0.9; }
         |                                                ^^^^^^^^^^^^^^^^ edge 3-4
         = name the corners in their order around the polygon
    ");
}

#[test]
fn shapes_that_are_none() {
    assert_snapshot!(with_cameras(r#"zones camera=a {
    polygon two 0.1 0.1 0.2 0.2 0.1 0.1
    polygon flat 0.1 0.1 0.2 0.2 0.3 0.3
    polygon odd 0.1 0.1 0.2
    polygon pixels 10 10 20 10 20 20
    polygon text a b c d e f
    line point 0.5 0.5 0.5 0.5
    line three 0.1 0.1 0.2 0.2 0.3 0.3
    line same 0 0 1 1 forward=x backward=x
    circle c 0.5 0.5
}
zones camera=a units=pixel { line l 0 0 1 1; }"#), @r"
    error[flowrun::bad-shape]: the polygon `two` has 2 distinct corners
       3 |     polygon two 0.1 0.1 0.2 0.2 0.1 0.1
         |                         ^^^^^^^^^^^^^^^ too few
         = a polygon has at least three corners: x y  x y  x y
    error[flowrun::bad-shape]: the polygon `flat` has no area
       4 |     polygon flat 0.1 0.1 0.2 0.2 0.3 0.3
         |                  ^^^^^^^^^^^^^^^^^^^^^^^ all on one line
    error[flowrun::bad-shape]: `odd` ends with half a point
       5 |     polygon odd 0.1 0.1 0.2
         |                         ^^^ an x without its y
    error[flowrun::out-of-range]: 10 is no ratio of the picture
       6 |     polygon pixels 10 10 20 10 20 20
         |                    ^^ not from 0 to 1
         = coordinates are ratios of the picture's width and height; for pixels write units=pixels behind `zones`
    error[flowrun::wrong-type]: a coordinate is a finite number, not text
       7 |     polygon text a b c d e f
         |                  ^ should be a number
         = write the numbers with spaces between: 0.1 0.2
    error[flowrun::bad-shape]: the line `point` begins and ends at one point
       8 |     line point 0.5 0.5 0.5 0.5
         |                ^^^^^^^^^^^^^^^ the same point
    error[flowrun::bad-shape]: the line `three` has 3 points
       9 |     line three 0.1 0.1 0.2 0.2 0.3 0.3
         |                ^^^^^^^^^^^^^^^^^^^^^^^ two are needed
         = write line NAME ax ay  bx by
    error[flowrun::bad-shape]: both directions of the line have one name
      10 |     line same 0 0 1 1 forward=x backward=x
         |                                          ^ the same
      10 |     line same 0 0 1 1 forward=x backward=x
         |                               ^ first
    error[flowrun::unknown-node]: `circle` is no node in `zones`
      11 |     circle c 0.5 0.5
         |     ^^^^^^ unknown here
         = nodes here: polygon, line
    error[flowrun::unknown-choice]: `pixel` is no choice for `units`
      13 | zones camera=a units=pixel { line l 0 0 1 1; }
         |                      ^^^^^ unknown
         = did you mean `pixels`?
    ");
}

#[test]
fn zones_declared_twice() {
    assert_snapshot!(with_cameras(r#"zones camera=a { polygon z 0 0 1 0 1 1; }
zones cameras=g { polygon z 0 0 1 0 1 1; }
zones camera=b { line z 0 0 1 1; }"#), @r"
    error[flowrun::duplicate-name]: the camera `a` already has a zone `z`
       3 | zones cameras=g { polygon z 0 0 1 0 1 1; }
         |                           ^ again
       2 | zones camera=a { polygon z 0 0 1 0 1 1; }
         |                          ^ first
    error[flowrun::duplicate-name]: `z` is already the name of a polygon
       4 | zones camera=b { line z 0 0 1 1; }
         |                       ^ a line of the same name
       2 | zones camera=a { polygon z 0 0 1 0 1 1; }
         |                          ^ first
    error[flowrun::duplicate-name]: the camera `b` already has a zone `z`
       4 | zones camera=b { line z 0 0 1 1; }
         |                       ^ again
       3 | zones cameras=g { polygon z 0 0 1 0 1 1; }
         |                           ^ first
    ");
}

#[test]
fn zones_unknown_to_a_flow() {
    assert_snapshot!(with_cameras(r#"zones camera=c { polygon far 0 0 1 0 1 1; line l 0 0 1 1; }
cameras h { synthetic c; }
flow f from=g { truth; track; visit zones=near; visit zones="far,l" as=again; cross lines=l from=track; }"#), @r#"
    error[flowrun::unknown-name]: there is no polygon `near`
       4 | flow f from=g { truth; track; visit zones=near; visit zones="far,l" as=again; cross lines=l from=track; }
         |                                           ^^^^ unknown
         = polygons here: far
    error[flowrun::wrong-rows]: `visit` reads tracks, but `f.visit` emits visits
       4 | flow f from=g { truth; track; visit zones=near; visit zones="far,l" as=again; cross lines=l from=track; }
         |                                                 ^^^^^ tracks are needed here
       4 | flow f from=g { truth; track; visit zones=near; visit zones="far,l" as=again; cross lines=l from=track; }
         |                               ^^^^^ visits come from here
         = tracks come from f.track
    error[flowrun::unknown-name]: no camera of `f.again` has the polygon `far`
       4 | flow f from=g { truth; track; visit zones=near; visit zones="far,l" as=again; cross lines=l from=track; }
         |                                                              ^^^ on none of its pictures
         = it lies on c; its cameras are a, b
    error[flowrun::unknown-name]: there is no polygon `l`
       4 | flow f from=g { truth; track; visit zones=near; visit zones="far,l" as=again; cross lines=l from=track; }
         |                                                                  ^ unknown
         = it is a line
    error[flowrun::unknown-name]: no camera of `f.cross` has the line `l`
       4 | flow f from=g { truth; track; visit zones=near; visit zones="far,l" as=again; cross lines=l from=track; }
         |                                                                                           ^ on none of its pictures
         = it lies on c; its cameras are a, b
    "#);
}

#[test]
fn zones_of_some_cameras() {
    assert_snapshot!(with_cameras(r#"zones camera=a { polygon z 0 0 1 0 1 1; }
flow f from=g { truth; track; visit zones=z; }"#), @r"
    a plan, and
    warning[flowrun::zone-not-everywhere]: the polygon `z` does not lie on every picture
       3 | flow f from=g { truth; track; visit zones=z; }
         |                                           ^ not on b
         = for these cameras `f.visit` never sees it
    ");
}

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

#[test]
fn query_without_anything() {
    assert_snapshot!(with_cameras(r#"query q { }
query
query p from=g"#), @r#"
    error[flowrun::no-input]: the query `q` reads nothing
       2 | query q { }
         | ^^^^^^^ nothing feeds this
         = name what it reads: from=FLOW.NODE
    error[flowrun::missing-parameter]: the query `q` has no window
       2 | query q { }
         |       ^ over which time?
         = add a line `window "1m"`
    error[flowrun::missing-parameter]: the query `q` selects nothing
       2 | query q { }
         |       ^ what is counted?
         = add a line `select n="count(*)"`
    error[flowrun::missing-name]: a query has no name
       3 | query
         | ^^^^^ the name is missing behind this
         = write `query NAME ...`
    error[flowrun::missing-parameter]: the query `p` has no window
       4 | query p from=g
         |       ^ over which time?
         = add a line `window "1m"`
    error[flowrun::missing-parameter]: the query `p` selects nothing
       4 | query p from=g
         |       ^ what is counted?
         = add a line `select n="count(*)"`
    error[flowrun::wrong-rows]: `query` reads rows with columns, but `g` emits frames
       4 | query p from=g
         |              ^ rows with columns are needed here
       1 | cameras g { synthetic a; synthetic b; }
         |         ^ frames come from here
    "#);
}

#[test]
fn query_of_pictures() {
    assert_snapshot!(with_cameras(r#"query q from=g { window "1m"; select n="count(*)"; }"#), @r#"
    error[flowrun::wrong-rows]: `query` reads rows with columns, but `g` emits frames
       2 | query q from=g { window "1m"; select n="count(*)"; }
         |              ^ rows with columns are needed here
       1 | cameras g { synthetic a; synthetic b; }
         |         ^ frames come from here
    "#);
}

#[test]
fn windows() {
    assert_snapshot!(with_cameras(r#"flow f from=g { truth; }
query a from=f { window 60; select n="count(*)"; }
query b from=f { window "1m" every="2m"; select n="count(*)"; }
query c from=f { window "1m" every="7s"; select n="count(*)"; }
query d from=f { window "1d" every="1s"; select n="count(*)"; }
query e from=f { window "0s"; select n="count(*)"; }
query h from=f { window; select n="count(*)"; where; select n="count(*)"; }"#), @r#"
    error[flowrun::duplicate-name]: `a` is already the name of a camera
       3 | query a from=f { window 60; select n="count(*)"; }
         |       ^ a query of the same name
       1 | cameras g { synthetic a; synthetic b; }
         |                       ^ first
         = groups, cameras, models, flows and queries share one namespace
    error[flowrun::wrong-type]: `window`: a duration is text with its unit, not a whole number
       3 | query a from=f { window 60; select n="count(*)"; }
         |                         ^^ should be a duration
         = quantities carry their unit, in quotes: "1m"
    error[flowrun::duplicate-name]: `b` is already the name of a camera
       4 | query b from=f { window "1m" every="2m"; select n="count(*)"; }
         |       ^ a query of the same name
       1 | cameras g { synthetic a; synthetic b; }
         |                                    ^ first
         = groups, cameras, models, flows and queries share one namespace
    error[flowrun::bad-window]: windows of 1m every 2m would leave gaps between them
       4 | query b from=f { window "1m" every="2m"; select n="count(*)"; }
         |                                    ^^^^ here
         = `every` is at most as long as the window
    error[flowrun::bad-window]: 1m is no multiple of 7s
       5 | query c from=f { window "1m" every="7s"; select n="count(*)"; }
         |                                    ^^^^ here
         = windows share their parts: let `every` divide the window
    error[flowrun::bad-window]: every row would be in 86400 windows
       6 | query d from=f { window "1d" every="1s"; select n="count(*)"; }
         |                                    ^^^^ here
         = at most 3600: let `every` be longer
    error[flowrun::bad-window]: a window cannot be empty
       7 | query e from=f { window "0s"; select n="count(*)"; }
         |                         ^^^^ here
         = write a duration longer than zero
    error[flowrun::missing-parameter]: `window` has no length
       8 | query h from=f { window; select n="count(*)"; where; select n="count(*)"; }
         |                  ^^^^^^ should be a duration
         = write `window "1m"`
    error[flowrun::missing-parameter]: `where` has no expression
       8 | query h from=f { window; select n="count(*)"; where; select n="count(*)"; }
         |                                               ^^^^^ should be an expression in quotes
    error[flowrun::duplicate-property]: `select` is given twice
       8 | query h from=f { window; select n="count(*)"; where; select n="count(*)"; }
         |                                                      ^^^^^^ again
       8 | query h from=f { window; select n="count(*)"; where; select n="count(*)"; }
         |                          ^^^^^^ first
    "#);
}

#[test]
fn query_columns() {
    assert_snapshot!(with_cameras(r#"flow f from=g { truth; }
query q from=f {
    where "clas = 'car'"
    group-by zone camera camera 5
    window "1m"
    select missing="count(*)" n="max(speed)" "sum(score)" m=5
}"#), @r#"
    error[flowrun::unknown-column]: there is no column `clas`
       4 |     where "clas = 'car'"
         |            ^^^^ unknown
         = did you mean `class`?
    error[flowrun::unknown-column]: there is no column `zone`
       5 |     group-by zone camera camera 5
         |              ^^^^ unknown
         = columns here: camera, frame, time, class, score, x1, y1, x2, y2
    error[flowrun::duplicate-property]: `camera` is given twice
       5 |     group-by zone camera camera 5
         |                          ^^^^^^ again
       5 |     group-by zone camera camera 5
         |                   ^^^^^^ first
    error[flowrun::wrong-type]: a column is named by a word, not by a whole number
       5 |     group-by zone camera camera 5
         |                                 ^ not a name
    error[flowrun::duplicate-name]: the rows of `q` have two columns `missing`
       7 |     select missing="count(*)" n="max(speed)" "sum(score)" m=5
         |            ^^^^^^^ name it otherwise
         = besides the groups, rows have window_start, window_end, complete_through, missing and revision
    error[flowrun::unknown-column]: there is no column `speed`
       7 |     select missing="count(*)" n="max(speed)" "sum(score)" m=5
         |                                      ^^^^^ unknown
         = columns here: camera, frame, time, class, score, x1, y1, x2, y2
    error[flowrun::extra-argument]: what is selected needs a name
       7 |     select missing="count(*)" n="max(speed)" "sum(score)" m=5
         |                                              ^^^^^^^^^^^^ without a name
         = write NAME="count(*)"
    error[flowrun::wrong-type]: `m` is an aggregate in quotes, not a whole number
       7 |     select missing="count(*)" n="max(speed)" "sum(score)" m=5
         |                                                             ^ should be text
    "#);
}

#[test]
fn expression_types() {
    assert_snapshot!(with_cameras(r#"flow f from=g { truth; track; visit zones=z; }
zones cameras=g { polygon z 0 0 1 0 1 1; }
query q from=f { window "1m"; where "class > 5 and dwell > 5"; select n="count(*)"; }
query r from=f { window "1m"; where "dwell > '5 parsecs'"; select n="sum(class)"; }
query s from=f { window "1m"; where "dwell"; select n="avg(entered)" o="count(track)" p="median(track)" q="track"; }
query t from=f { window "1m"; where "entered + class > time"; select n="sum(distinct track)" o="min(*)" p="count(*) filter (where track > 1)"; }"#), @r#"
    error[flowrun::expression-type]: text cannot be compared with a whole number
       4 | query q from=f { window "1m"; where "class > 5 and dwell > 5"; select n="count(*)"; }
         |                                      ^^^^^ text
       4 | query q from=f { window "1m"; where "class > 5 and dwell > 5"; select n="count(*)"; }
         |                                              ^ a whole number
         = text stands in single quotes: '5'
    error[flowrun::expression-type]: `5 parsecs` is no duration: write a number and a unit, as in "800ms", "5s", "1m", "2h"
       5 | query r from=f { window "1m"; where "dwell > '5 parsecs'"; select n="sum(class)"; }
         |                                              ^^^^^^^^^^^
    error[flowrun::expression-type]: `sum` does not go with text
       5 | query r from=f { window "1m"; where "dwell > '5 parsecs'"; select n="sum(class)"; }
         |                                                                          ^^^^^
    error[flowrun::expression-type]: `where` is a condition, not a duration
       6 | query s from=f { window "1m"; where "dwell"; select n="avg(entered)" o="count(track)" p="median(track)" q="track"; }
         |                                      ^^^^^
         = compare it with something, as in `score > 0.5`
    error[flowrun::expression-type]: `avg` does not go with a time
       6 | query s from=f { window "1m"; where "dwell"; select n="avg(entered)" o="count(track)" p="median(track)" q="track"; }
         |                                                            ^^^^^^^
    error[flowrun::expression]: there is no such form of `count`
       6 | query s from=f { window "1m"; where "dwell"; select n="avg(entered)" o="count(track)" p="median(track)" q="track"; }
         |                                                                        ^^^^^^^^^^^^^^
         = write count(*) for all rows, or count(distinct X)
    error[flowrun::expression]: there is no aggregate `median`
       6 | query s from=f { window "1m"; where "dwell"; select n="avg(entered)" o="count(track)" p="median(track)" q="track"; }
         |                                                                                         ^^^^^^^^^^^^^^^
         = aggregates here: count, sum, min, max, avg
    error[flowrun::expression]: `select` takes one aggregate
       6 | query s from=f { window "1m"; where "dwell"; select n="avg(entered)" o="count(track)" p="median(track)" q="track"; }
         |                                                                                                           ^^^^^^^
         = there are count(*), count(distinct X), sum(X), min(X), max(X) and avg(X)
    error[flowrun::expression-type]: `+` does not go with a time and text
       7 | query t from=f { window "1m"; where "entered + class > time"; select n="sum(distinct track)" o="min(*)" p="count(*) filter (where track > 1)"; }
         |                                      ^^^^^^^ a time
       7 | query t from=f { window "1m"; where "entered + class > time"; select n="sum(distinct track)" o="min(*)" p="count(*) filter (where track > 1)"; }
         |                                                ^^^^^ text
    error[flowrun::expression]: there is no such form of `sum`
       7 | query t from=f { window "1m"; where "entered + class > time"; select n="sum(distinct track)" o="min(*)" p="count(*) filter (where track > 1)"; }
         |                                                                        ^^^^^^^^^^^^^^^^^^^^^
         = only count has distinct
    error[flowrun::expression]: `min` takes an expression, not `*`
       7 | query t from=f { window "1m"; where "entered + class > time"; select n="sum(distinct track)" o="min(*)" p="count(*) filter (where track > 1)"; }
         |                                                                                                ^^^^^^^^
         = only count(*) counts rows
    error[flowrun::expression]: `count` takes an expression and nothing else
       7 | query t from=f { window "1m"; where "entered + class > time"; select n="sum(distinct track)" o="min(*)" p="count(*) filter (where track > 1)"; }
         |                                                                                                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
         = rows are left out by `where`
    "#);
}

#[test]
fn expression_syntax() {
    assert_snapshot!(with_cameras(r#"flow f from=g { truth; }
query q from=f { window "1m"; where "class = "; select n="count(*"; }
query r from=f { window "1m"; where "class = 'car"; select n="count(*) n"; }
query s from=f { window "1m"; where "exists (select 1)"; select n="max(abs(score))"; }
query t from=f { window "1m"; where "class || class = 'a'"; select n="max(case class when 'a' then 1 end)"; }
query u from=f { window "1m"; where ""; select n="max(cast(score as int))"; }"#), @r#"
    error[flowrun::expression]: this is no expression: expected: an expression, found: its end
       3 | query q from=f { window "1m"; where "class = "; select n="count(*"; }
         |                                             ^
    error[flowrun::expression]: this is no expression: expected: ), found: its end
       3 | query q from=f { window "1m"; where "class = "; select n="count(*"; }
         |                                                                 ^
    error[flowrun::expression]: unterminated string literal
       4 | query r from=f { window "1m"; where "class = 'car"; select n="count(*) n"; }
         |                                              ^
         = text stands in single quotes: zone = 'box'
    error[flowrun::expression]: the expression ends before `n`
       4 | query r from=f { window "1m"; where "class = 'car"; select n="count(*) n"; }
         |                                                                        ^
         = join conditions by `and` or `or`
    error[flowrun::expression]: the language has no such expression
       5 | query s from=f { window "1m"; where "exists (select 1)"; select n="max(abs(score))"; }
         |                                              ^^^^^^^^
         = there are: and, or, not, comparisons, + - * /, in (..), between, like, is null, case when, literals and columns
    error[flowrun::expression]: `abs` cannot be called here
       5 | query s from=f { window "1m"; where "exists (select 1)"; select n="max(abs(score))"; }
         |                                                                        ^^^^^^^^^
         = aggregates stand in `select`; there are no other functions
    error[flowrun::expression]: the language has no `||`
       6 | query t from=f { window "1m"; where "class || class = 'a'"; select n="max(case class when 'a' then 1 end)"; }
         |                                      ^^^^^^^^^^^^^^
         = there are = <> < <= > >= + - * / and, or, not
    error[flowrun::expression]: the language has no such expression
       6 | query t from=f { window "1m"; where "class || class = 'a'"; select n="max(case class when 'a' then 1 end)"; }
         |                                                                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
         = there are: and, or, not, comparisons, + - * /, in (..), between, like, is null, case when, literals and columns
    error[flowrun::expression]: the expression is empty
       7 | query u from=f { window "1m"; where ""; select n="max(cast(score as int))"; }
         |                                     ^^
    error[flowrun::expression]: the language has no such expression
       7 | query u from=f { window "1m"; where ""; select n="max(cast(score as int))"; }
         |                                                            ^^^^^
         = there are: and, or, not, comparisons, + - * /, in (..), between, like, is null, case when, literals and columns
    "#);
}

#[test]
fn expressions_in_escaped_text() {
    assert_snapshot!(with_cameras(r##"flow f from=g { truth; }
query q from=f { window "1m"; where #"clas = 'a'"#; select n="count(distinct\n clas)"; }"##), @r##"
    error[flowrun::unknown-column]: there is no column `clas`
       3 | query q from=f { window "1m"; where #"clas = 'a'"#; select n="count(distinct\n clas)"; }
         |                                       ^^^^ unknown
         = did you mean `class`?
    error[flowrun::unknown-column]: there is no column `clas`
       3 | query q from=f { window "1m"; where #"clas = 'a'"#; select n="count(distinct\n clas)"; }
         |                                                              ^^^^^^^^^^^^^^^^^^^^^^^^ unknown
         = did you mean `class`?
    "##);
}

#[test]
fn too_deep() {
    assert_snapshot!(findings(&"a {".repeat(60)), @r"
    error[flowrun::too-deep]: blocks stand more than 48 deep in one another
       1 | a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {
         |                                                                                                                                                   ^ one too deep
    ");
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
