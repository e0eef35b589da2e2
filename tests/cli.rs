//! The binary as a user meets it: exit codes, messages that name place and remedy, files that are whole or
//! not there.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Folder, Said, flowrun, has_onnx_runtime, on_file, root, said};

/// One endless camera whose tracks go to a file.
const ENDLESS: &str = r#"
cameras street { synthetic north fps=100; }
flow all from=street { truth-tracks as=tracks; }
write { jsonl "out/tracks.jsonl" from=all.tracks; }
"#;

/// The same, as fast as it goes, with an end.
fn finite(frames: u32) -> String {
    ENDLESS.replace("fps=100", &format!("frames={frames} pace=max"))
}

/// Whether a text holds these words, in whatever lines they stand.
#[track_caller]
fn tells(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
}

/// Refused with exit code 2 by `check` and by `run` alike, and nothing written.
#[track_caller]
fn refused(text: impl AsRef<[u8]>, words: &[&str]) {
    let folder = Folder::new();
    let graph = folder.write("graph.kdl", text);
    for command in ["check", "plan", "run"] {
        let said = on_file(&[command], &graph);
        assert_eq!(said.code, Some(2), "{command}: {}", said.err);
        assert_eq!(said.out, "", "{command}");
        tells(&said.err, &["graph.kdl"]);
        tells(&said.err, words);
    }
    assert_eq!(folder.names(), ["graph.kdl"]);
}

#[test]
fn a_graph_that_is_wrong_is_refused_with_place_and_remedy() {
    refused(
        "cameras c {\n    synthetic a\n}\nflwo f from=c {\n    truth\n}",
        &["graph.kdl:4:1", "flwo", "did you mean `flow`"],
    );
    refused(
        "cameras c {\n    synthetic a fps=fast\n}",
        &["graph.kdl:2:21", "fps", "number"],
    );
    refused(
        "cameras c {\n    synthetic a\n}\nflow f from=cc {\n    truth\n}",
        &["graph.kdl:4:13", "`cc`", "did you mean `c`"],
    );
    refused(
        "cameras c {\n    synthetic a\n}\nflow f from=c {\n    track\n}",
        &["graph.kdl:1:9", "`track` reads detections", "emits frames"],
    );
    refused(
        "cameras c {\n    file a \"absent.mp4\"\n}",
        &["graph.kdl:2:12", "absent.mp4"],
    );
    refused("flow f {\n    truth from=f.track\n    track\n}", &["graph.kdl:"]);
    refused("cameras c {", &["graph.kdl:1:11"]);
}

#[test]
fn a_circle_names_who_feeds_whom() {
    refused(
        "cameras c { synthetic a; }\nflow a from=c { truth as=t; track from=b.t as=t2; }\nflow b from=c { truth as=t; track from=a.t as=t2; }",
        &["circle", "graph.kdl:2"],
    );
}

#[test]
fn every_fault_of_a_graph_is_told_at_once() {
    let folder = Folder::new();
    let graph = folder.write(
        "graph.kdl",
        "cameras c { synthetic a fps=-1 seed=x; }\nflow f from=d { truth; }\nflow g from=c { truht; }",
    );
    let said = on_file(&["check"], &graph);
    assert_eq!(said.code, Some(2));
    tells(&said.err, &["fps", "seed", "`d`", "truht", "4 errors"]);
}

#[test]
fn what_is_no_graph_at_all_is_refused() {
    refused(b"cameras \xff\xfe {}", &["UTF-8"]);
    let folder = Folder::new();
    let absent = on_file(&["run"], &folder.path("absent.kdl"));
    assert_eq!(absent.code, Some(2));
    tells(&absent.err, &["absent.kdl", "No such file"]);
    let directory = on_file(&["check"], &folder.path(""));
    assert_eq!(directory.code, Some(2));
}

#[test]
fn a_file_of_a_hundred_megabytes_is_refused_unread() {
    let folder = Folder::new();
    let path = folder.path("graph.kdl");
    std::fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
    let said = on_file(&["run"], &path);
    assert_eq!(said.code, Some(2));
    tells(&said.err, &["graph.kdl", "more than 1048576 bytes"]);
}

#[test]
fn texts_that_nest_without_end_are_refused() {
    refused("a {\n".repeat(50_000), &["too-deep"]);
    refused("/*".repeat(200_000), &["graph.kdl"]);
    let condition = format!("{}1 = 1{}", "(".repeat(20_000), ")".repeat(20_000));
    refused(
        format!(
            "cameras c {{ synthetic a; }}\nflow f from=c {{ truth-tracks as=t; }}\nquery q from=f.t {{ where \"{condition}\"; window \"1s\"; select n=\"count(*)\"; }}"
        ),
        &["graph.kdl:3"],
    );
}

#[test]
fn findings_and_plans_are_json_for_programs() {
    let folder = Folder::new();
    let bad = folder.write("bad.kdl", "flwo f");
    let said = on_file(&["check", "--format", "json"], &bad);
    assert_eq!(said.code, Some(2));
    let findings: Value = serde_json::from_str(&said.out).unwrap();
    assert!(said.out.contains("flowrun::unknown-node"), "{findings}");
    let good = folder.write("good.kdl", finite(1));
    let said = on_file(&["check", "--format", "json"], &good);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    serde_json::from_str::<Value>(&said.out).unwrap();
    let plan: Value = serde_json::from_str(&on_file(&["plan", "--format", "json"], &good).out).unwrap();
    assert_eq!(plan["version"], 1);
    assert_eq!(plan["cameras"][0]["name"], "north");
    let text = on_file(&["plan"], &good);
    assert_eq!(text.code, Some(0));
    tells(&text.out, &["all.tracks", "write.jsonl", "north"]);
}

#[test]
fn what_an_edit_would_change_is_said_before_it_is_made() {
    let folder = Folder::new();
    let old = folder.write("graph.kdl", finite(1));
    let new = folder.write(
        "new.kdl",
        finite(1)
            .replace("tracks.jsonl", "rows.jsonl")
            .replace("north", "south"),
    );
    let between =
        |new: &Path, format: &str| on_file(&["plan", "--format", format, "--diff", new.to_str().unwrap()], &old);
    let text = between(&new, "text");
    assert_eq!(text.code, Some(0), "{}", text.err);
    tells(
        &text.out,
        &[
            "added    camera  south",
            "removed  camera  north",
            "out/tracks.jsonl is finished",
        ],
    );
    let changes: Value = serde_json::from_str(&between(&new, "json").out).unwrap();
    let sink = |change: &&Value| change["node"] == "write.jsonl";
    let sink = changes["changes"].as_array().unwrap().iter().find(sink).unwrap();
    assert_eq!(sink["action"], "rebuilt");
    assert!(sink["why"].as_str().unwrap().contains("`path`"), "{sink}");
    tells(&between(&old, "text").out, &["nothing changes"]);
    let wrong = folder.write("wrong.kdl", "flwo f");
    let said = between(&wrong, "text");
    assert_eq!(said.code, Some(2));
    tells(&said.err, &["wrong.kdl"]);
}

#[test]
fn graphs_are_laid_out_whole_and_mean_the_same() {
    let folder = Folder::new();
    let untidy = "\n// why\n\n\ncameras street{synthetic north fps = 10 // fast\n}\nflow all from=street { truth-tracks as=\"tracks\"; }\n";
    let tidy = "// why\n\ncameras street {\n    synthetic north fps=10 // fast\n}\nflow all from=street { truth-tracks as=\"tracks\"; }\n";
    let graph = folder.write("graph.kdl", untidy);
    let plan = |graph: &Path| on_file(&["plan", "--format", "json"], graph).out;
    let before = plan(&graph);
    let said = on_file(&["fmt", "--check"], &graph);
    assert_eq!((said.code, said.out.trim()), (Some(1), graph.to_str().unwrap()));
    assert_eq!(folder.read("graph.kdl"), untidy);
    let said = on_file(&["fmt"], &graph);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", ""));
    assert_eq!((folder.read("graph.kdl").as_str(), plan(&graph)), (tidy, before));
    assert_eq!(on_file(&["fmt", "--check"], &graph).code, Some(0));
    let wrong = folder.write("wrong.kdl", "cameras street {");
    let said = on_file(&["fmt"], &wrong);
    assert_eq!(
        (said.code, folder.read("wrong.kdl").as_str()),
        (Some(2), "cameras street {")
    );
    tells(&said.err, &["wrong.kdl"]);
    assert_eq!(folder.names(), ["graph.kdl", "wrong.kdl"], "nothing is left beside");
}

#[test]
fn operators_describe_themselves() {
    let all = said(flowrun().arg("ops").output().unwrap());
    assert_eq!(all.code, Some(0));
    for kind in [
        "file",
        "synthetic",
        "detect",
        "track",
        "visit",
        "cross",
        "query",
        "jsonl",
        "model",
        "server",
    ] {
        assert!(
            all.out.lines().any(|line| line.starts_with(&format!("{kind} "))),
            "{kind}"
        );
    }
    let visit = said(flowrun().args(["ops", "visit"]).output().unwrap());
    tells(
        &visit.out,
        &[
            "grace (duration), default 800ms, live",
            "reads",
            "tracks",
            "gives visits",
        ],
    );
    let json = said(flowrun().args(["ops", "--format", "json"]).output().unwrap());
    serde_json::from_str::<Value>(&json.out).unwrap();
    let server = said(flowrun().args(["ops", "server"]).output().unwrap());
    tells(
        &server.out,
        &[
            "server (block)",
            "listen (text), default 127.0.0.1:8080",
            "token (env.NAME), optional",
        ],
    );
    let unknown = said(flowrun().args(["ops", "vsit"]).output().unwrap());
    assert_eq!(unknown.code, Some(2));
    tells(&unknown.err, &["vsit", "flowrun ops"]);
}

#[test]
fn the_doctor_says_whether_graphs_run_here() {
    let examined = said(flowrun().args(["doctor", "--format", "json"]).output().unwrap());
    let facts: Value = serde_json::from_str(&examined.out).unwrap();
    assert_eq!(examined.code, Some(i32::from(facts["healthy"] != true)));
    assert!(facts["machine"]["cores"].as_u64().unwrap() > 0);
    let lacking = flowrun()
        .arg("doctor")
        .env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")
        .output();
    let lacking = said(lacking.unwrap());
    assert_eq!(lacking.code, Some(1));
    tells(&lacking.out, &["MISSING  ONNX Runtime", "make setup", "FFmpeg"]);
    // Where there is no model, the one that comes with flowrun is named beside those of others.
    let folder = Folder::new();
    let empty = said(flowrun().arg("doctor").current_dir(folder.path("")).output().unwrap());
    tells(
        &empty.out,
        &["no models/*.onnx here", "demo-yolo11n.onnx", "yolo export"],
    );
}

#[test]
fn a_command_that_is_wrong_is_exit_code_two() {
    for arguments in [
        &["rnu"][..],
        &["run"],
        &["run", "--for", "soon", "x.kdl"],
        &["run", "--workers", "0", "x.kdl"],
    ] {
        assert_eq!(
            said(flowrun().args(arguments).output().unwrap()).code,
            Some(2),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_run_gives_its_files_their_names_and_sums_up() {
    let folder = Folder::new();
    let graph = folder.write("graph.kdl", finite(20));
    let ran = on_file(&["run"], &graph);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    tells(&ran.err, &["north", "all.tracks", "p99"]);
    assert_eq!(folder.names(), ["graph.kdl", "out/tracks.jsonl"]);
    let rows = rows_of(&folder, "out/tracks.jsonl");
    assert!(
        rows.iter()
            .all(|row| row["camera"] == "north" && row["frame"].as_u64().unwrap() < 20)
    );
    let quiet = on_file(&["run", "--quiet"], &graph);
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (Some(0), "", ""));
}

/// The rows of a file, each of them a whole line.
fn rows_of(folder: &Folder, name: &str) -> Vec<Value> {
    let text = folder.read(name);
    assert!(text.ends_with('\n'), "the last line is whole");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_run_ends_after_the_time_it_was_given() {
    let folder = Folder::new();
    let graph = folder.write("graph.kdl", ENDLESS);
    let ran = on_file(&["run", "--for", "500ms"], &graph);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(!rows_of(&folder, "out/tracks.jsonl").is_empty());
}

#[test]
fn what_is_logged_into_a_file_has_no_colours() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let folder = Folder::new();
    let graph = format!(
        "cameras site {{ rtsp gone \"rtsp://127.0.0.1:{port}/main\"; }}\nflow f from=site {{ encode h264 as=video; }}\n"
    );
    let graph = folder.write("gone.kdl", graph);
    let mut command = flowrun();
    command.env_remove("NO_COLOR").args(["run", "--quiet", "--for", "1s"]);
    let ran = said(command.arg(graph).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.err.contains("WARN") && ran.err.contains("Connection refused"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains('\u{1b}'), "{:?}", ran.err);
}

/// Runs the endless graph and sends it a signal once it has written something.
fn interrupted(signal: &str) {
    let folder = Folder::new();
    let graph = folder.write("graph.kdl", ENDLESS);
    let child = flowrun()
        .args(["run", "--quiet"])
        .arg(&graph)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let partial = folder.path("out/tracks.jsonl.partial");
    let began = Instant::now();
    while !std::fs::metadata(&partial).is_ok_and(|file| file.len() > 0) {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing is written");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!folder.path("out/tracks.jsonl").exists(), "no name before the end");
    let kill = format!("kill -{signal} {}", child.id());
    assert!(
        std::process::Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
    let ended = said(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{signal}");
    assert_eq!(folder.names(), ["graph.kdl", "out/tracks.jsonl"]);
    let frames = rows_of(&folder, "out/tracks.jsonl");
    assert!(frames.is_sorted_by_key(|row| row["frame"].as_u64().unwrap()));
}

#[test]
fn an_interrupted_run_finishes_what_it_admitted() {
    interrupted("INT");
    interrupted("TERM");
}

#[test]
fn a_killed_run_leaves_what_it_had_written() {
    let folder = Folder::new();
    let graph = folder.write(
        "graph.kdl",
        r#"
cameras street { synthetic north fps=50 size="320x180"; }
flow all from=street { truth-tracks as=tracks; }
flow wall from=street { draw tracks=all.tracks; encode h264 preset=ultrafast keyframe-every="200ms" as=video; }
write { jsonl "out/tracks.jsonl" from=all.tracks; mp4 "out/{camera}.mp4" from=wall.video; }
"#,
    );
    let mut child = flowrun().args(["run", "--quiet"]).arg(&graph).spawn().unwrap();
    let (rows, video) = (
        folder.path("out/tracks.jsonl.partial"),
        folder.path("out/north.mp4.partial"),
    );
    let began = Instant::now();
    while ![(&rows, 5_000), (&video, 150_000)]
        .iter()
        .all(|(file, enough)| std::fs::metadata(file).is_ok_and(|file| file.len() > *enough))
    {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is written");
        std::thread::sleep(Duration::from_millis(10));
    }
    // SIGKILL: nothing in the process can tidy up.
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        folder.names(),
        ["graph.kdl", "out/north.mp4.partial", "out/tracks.jsonl.partial"]
    );
    let text = folder.read("out/tracks.jsonl.partial");
    let whole = &text[..text.rfind('\n').unwrap() + 1];
    let frames: Vec<u64> = whole
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["frame"].as_u64().unwrap())
        .collect();
    assert!(frames.len() > 20 && frames.is_sorted());
    // The recording is a camera for the next run.
    let again = folder.write(
        "again.kdl",
        "cameras c { file north \"out/north.mp4.partial\" pace=max; }\nflow f from=c { encode h264; write { mp4 \"again.mp4\"; }; }",
    );
    let ran = on_file(&["run"], &again);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let admitted = ran.err.lines().find_map(|line| line.strip_prefix("north")).unwrap();
    let admitted: u64 = admitted.split_whitespace().next().unwrap().parse().unwrap();
    assert!(admitted >= 10, "{}", ran.err);
}

#[test]
fn a_full_disk_ends_the_run_and_leaves_the_older_file() {
    let folder = Folder::new();
    let graph = folder.write("graph.kdl", finite(100_000));
    folder.write("out/tracks.jsonl", "older\n");
    // Blocks of 512 bytes; with the signal ignored the write fails as on a full disk.
    let shell = format!(
        "trap '' XFSZ; ulimit -f 64; exec '{}' run --quiet '{}'",
        env!("CARGO_BIN_EXE_flowrun"),
        graph.display()
    );
    let ran = said(std::process::Command::new("sh").args(["-c", &shell]).output().unwrap());
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    tells(&ran.err, &["write.jsonl", "cannot write"]);
    assert_eq!(folder.read("out/tracks.jsonl"), "older\n");
    let partial = folder.read("out/tracks.jsonl.partial");
    assert!(partial.is_empty() || partial.ends_with('\n'), "half a line is left");
}

#[test]
fn a_sink_that_cannot_be_opened_is_told_before_anything_runs() {
    let folder = Folder::new();
    folder.write("out", "a file where a folder should be");
    let graph = folder.write("graph.kdl", finite(5));
    let ran = on_file(&["run"], &graph);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    tells(&ran.err, &["write.jsonl", "graph.kdl:4", "out"]);
    assert_eq!(folder.names(), ["graph.kdl", "out"]);
}

/// A graph with this model in its folder, run with these variables.
fn with_model(model: &[u8], variables: &[(&str, &str)]) -> (Folder, Said) {
    let folder = Folder::new();
    folder.write("model.onnx", model);
    let graph = folder.write(
        "graph.kdl",
        "cameras c { synthetic a frames=3 pace=max; }\nmodel m \"model.onnx\"\nflow f from=c { detect m as=d; }\nwrite { jsonl \"out/d.jsonl\" from=f.d; }",
    );
    let mut command = flowrun();
    command
        .args(["run", "--quiet"])
        .arg(graph)
        .envs(variables.iter().copied());
    let ran = said(command.output().unwrap());
    (folder, ran)
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(root().join("operators/fixtures").join(name)).unwrap()
}

/// Whether there is an ONNX Runtime, which `make test` provides and a plain `cargo test` may lack.
fn has_runtime() -> bool {
    let examined = said(flowrun().args(["doctor", "--format", "json"]).output().unwrap());
    let facts: Value = serde_json::from_str(&examined.out).unwrap();
    let found = !facts["onnx_runtime"].is_null();
    if !found {
        println!("skipped: no ONNX Runtime");
    }
    found
}

#[track_caller]
fn unfit((folder, ran): (Folder, Said), words: &[&str]) {
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    tells(&ran.err, &["graph.kdl:3", "f.d"]);
    tells(&ran.err, words);
    assert_eq!(folder.names(), ["graph.kdl", "model.onnx"], "nothing half-written");
}

#[test]
fn a_model_that_cannot_be_read_is_told_before_anything_runs() {
    unfit(with_model(b"this is no model", &[]), &["model.onnx"]);
    unfit(with_model(b"", &[]), &["model.onnx"]);
}

#[test]
fn a_machine_without_onnx_runtime_is_told_what_mends_it() {
    let ran = with_model(
        &fixture("fixed.onnx"),
        &[("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")],
    );
    unfit(ran, &["/nowhere/libonnxruntime.so", "make setup"]);
}

#[test]
fn a_model_of_another_shape_is_told_before_anything_runs() {
    if !has_runtime() {
        return;
    }
    unfit(with_model(&fixture("grey_input.onnx"), &[]), &["input"]);
    unfit(with_model(&fixture("segments.onnx"), &[]), &["model.onnx"]);
    let (folder, ran) = with_model(&fixture("fixed.onnx"), &[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(folder.path("out/d.jsonl").exists());
}

#[test]
fn a_graph_stays_in_its_folder_unless_another_is_named() {
    let folder = Folder::new();
    let writes = |path: &str| finite(10).replace("out/tracks.jsonl", path);
    let graph = folder.write("graphs/graph.kdl", writes("../rows/tracks.jsonl"));
    let said = on_file(&["run"], &graph);
    assert_eq!(said.code, Some(2));
    tells(
        &said.err,
        &[
            "flowrun::path-outside",
            "graph.kdl:4:",
            "../rows/tracks.jsonl",
            "--root",
        ],
    );
    assert_eq!(folder.names(), ["graphs/graph.kdl"]);
    let root = folder.path("rows");
    std::fs::create_dir(&root).unwrap();
    let named = on_file(&["run", "--root", root.to_str().unwrap()], &graph);
    assert_eq!(named.code, Some(0), "{}", named.err);
    assert!(!folder.read("rows/tracks.jsonl").is_empty());
    // A link in its folder leads out of it just as well.
    std::os::unix::fs::symlink(&root, folder.path("graphs/link")).unwrap();
    let linked = folder.write("graphs/linked.kdl", writes("link/other.jsonl"));
    assert_eq!(on_file(&["run"], &linked).code, Some(2));
}

#[test]
fn a_link_called_like_a_camera_does_not_lead_out_of_the_folder() {
    let folder = Folder::new();
    let graph = folder.write(
        "graphs/graph.kdl",
        "cameras site { synthetic north frames=5 pace=max size=\"64x48\"; }\nflow f from=site { encode h264; }\n\
         write { mp4 \"{camera}/rec.mp4\" from=f; }\n",
    );
    let elsewhere = folder.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, folder.path("graphs/north")).unwrap();
    let said = on_file(&["run"], &graph);
    assert_eq!(said.code, Some(2), "{}", said.err);
    tells(&said.err, &["flowrun::path-outside", "`north/rec.mp4`", "--root"]);
    assert!(std::fs::read_dir(&elsewhere).unwrap().next().is_none());
    std::fs::remove_file(folder.path("graphs/north")).unwrap();
    assert_eq!(on_file(&["check"], &graph).code, Some(0));
}

#[test]
fn an_included_file_is_named_with_its_own_lines() {
    let folder = Folder::new();
    folder.write(
        "sites/cameras.kdl",
        "cameras site {\n    synthetic north frames=5 pace=max\n}\n",
    );
    let graph = folder.write(
        "graph.kdl",
        "include \"sites/cameras.kdl\"\nflow f from=site { truth; }\nwrite { jsonl \"out.jsonl\" from=f; }\n",
    );
    let ran = on_file(&["run", "--quiet"], &graph);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    folder.write("sites/cameras.kdl", "cameras site {\n    synthetic f frmes=5\n}\n");
    let check = on_file(&["check"], &graph);
    assert_eq!(check.code, Some(2));
    tells(&check.err, &["sites/cameras.kdl:2", "frmes", "graph.kdl", "frames"]);
    let json = on_file(&["check", "--format", "json"], &graph);
    let found: Value = serde_json::from_str(&json.out).unwrap();
    let label = &found["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["code"] == "flowrun::unknown-parameter")
        .unwrap()["labels"][0];
    assert!(label["file"].as_str().unwrap().ends_with("sites/cameras.kdl"));
    assert_eq!(
        (&label["start"], &label["from"]["line"]),
        (&Value::from(31), &Value::from(2))
    );
}

#[test]
fn a_table_of_ranges_is_made_of_pictures_and_an_engine_takes_it() {
    if !has_onnx_runtime() {
        println!("skipped: no ONNX Runtime");
        return;
    }
    let folder = Folder::new();
    let model = folder.path("demo.onnx");
    std::fs::copy(root().join("models/demo-yolo11n.onnx"), &model).unwrap();
    let calibrate = |images: &str, output: &str| {
        let mut command = flowrun();
        command.args(["model", "calibrate"]).arg(&model);
        command.arg("--images").arg(folder.path(images));
        command.arg("--output").arg(folder.path(output));
        said(command.output().unwrap())
    };
    std::fs::create_dir(folder.path("none")).unwrap();
    let empty = calibrate("none", "ranges.flatbuffers");
    assert_eq!(empty.code, Some(1));
    tells(&empty.err, &["holds no pictures", "give a folder of JPEG or PNG files"]);
    // A bitmap of 2 x 1 pixels of 24 bits.
    let numbers = [62_u32, 0, 54, 40, 2, 1, 1 | 24 << 16, 0, 8, 0, 0, 0, 0];
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
    let bytes = b"BM"
        .iter()
        .copied()
        .chain(bytes)
        .chain([9, 99, 199, 29, 129, 229, 0, 0]);
    folder.write("photos/two.bmp", bytes.collect::<Vec<u8>>());
    let named = calibrate("photos", "ranges.table");
    assert_eq!(named.code, Some(1));
    tells(&named.err, &["let its name end in `.flatbuffers`"]);
    let made = calibrate("photos", "ranges.flatbuffers");
    assert_eq!(made.code, Some(0), "{}", made.err);
    tells(&made.out, &["pictures      1", "precision=int8 calibration="]);
    let built = flowrun()
        .args([
            "model",
            "build",
            "--provider",
            "twin",
            "--precision",
            "int8",
            "--calibration",
        ])
        .arg(folder.path("ranges.flatbuffers"))
        .arg(&model)
        .env("FLOWRUN_CACHE", folder.path("cache"))
        .output();
    let built = said(built.unwrap());
    assert_eq!(built.code, Some(0), "{}", built.err);
    tells(&built.out, &["engine is there"]);
    let mut left = folder.names();
    left.retain(|name| !name.starts_with("cache"));
    assert_eq!(
        left,
        ["demo.onnx", "photos/two.bmp", "ranges.flatbuffers"],
        "nothing is half written"
    );
}
