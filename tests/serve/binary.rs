//! `flowrun run` with a server: where it listens, what it prints, and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::client::{ask, get, until};
use crate::support::{Folder, flowrun, has_onnx_runtime, on_file, root, said};

const ENDLESS: &str = "cameras c { synthetic a fps=20; }\nflow f from=c { truth-tracks as=tracks; }\npublish { sse \"/events\" from=f.tracks; }\n";

/// A run under way, and where it listens.
struct Run {
    child: Child,
    err: BufReader<ChildStderr>,
    url: String,
    address: SocketAddr,
}

impl Run {
    fn start(command: &mut Command) -> Run {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let url = loop {
            let mut line = String::new();
            assert_ne!(err.read_line(&mut line).unwrap(), 0, "it never listens:\n{said}");
            if let Some(url) = line.trim_end().strip_prefix("listening on ") {
                break url.to_owned();
            }
            said += &line;
        };
        let rest = url.strip_prefix("http://").unwrap();
        let address = rest.split('/').next().unwrap().parse().unwrap();
        Run {
            child,
            err,
            url,
            address,
        }
    }

    /// Waits for the end; gives the exit code and what it said since.
    fn end(&mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        self.err.read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap().code(), text)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(folder: &Folder, graph: &str, listen: &[&str]) -> Command {
    let graph = folder.write("graph.kdl", graph);
    let mut command = flowrun();
    command.arg("run").args(listen).arg(graph);
    command
}

#[test]
fn it_says_once_where_it_listens_and_stops_when_asked_with_the_token() {
    let folder = Folder::new();
    let graph = format!("server listen=\"127.0.0.1:0\" token=env.FLOWRUN_TEST_TOKEN\n{ENDLESS}");
    let secret = "a-secret-that-is-long-enough";
    let mut run = Run::start(run(&folder, &graph, &[]).env("FLOWRUN_TEST_TOKEN", secret));
    assert_eq!(run.url, format!("http://{}/", run.address));
    until("a ready run", || {
        (get(run.address, "/readyz").status == 200).then_some(())
    });
    assert_eq!(get(run.address, "/api/status").status, 401);
    let bearer = format!("Bearer {secret}");
    let stopped = ask(run.address, "POST", "/api/stop", &[("Authorization", &bearer)]);
    assert_eq!(stopped.status, 202);
    let (code, said) = run.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("listening") && !said.contains(secret), "{said}");
}

#[test]
fn beyond_the_machine_a_token_is_drawn_and_told_once() {
    let folder = Folder::new();
    let graph = format!("server listen=\"0.0.0.0:0\"\n{ENDLESS}");
    let mut run = Run::start(run(&folder, &graph, &["--for", "30s"]).stdout(Stdio::null()));
    let token = run.url.split_once("/?token=").unwrap().1.to_owned();
    assert_eq!(token.len(), 48);
    assert_eq!(get(run.address, "/").status, 401);
    assert_eq!(get(run.address, &format!("/?token={token}")).status, 303);
    let bearer = format!("Bearer {token}");
    assert_eq!(
        ask(run.address, "POST", "/api/stop", &[("Authorization", &bearer)]).status,
        202
    );
    let (code, said) = run.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains(&token), "{said}");
}

#[test]
fn the_command_line_says_where() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let graph = format!("server listen=\"{address}\"\n{ENDLESS}");
    let refused = said(run(&folder, &graph, &[]).output().unwrap());
    assert_eq!(refused.code, Some(1));
    for words in [
        "cannot listen on",
        "another program has this port",
        "graph.kdl:1",
        &address.to_string(),
    ] {
        assert!(refused.err.contains(words), "`{words}` is not in:\n{}", refused.err);
    }
    // The option wins over the graph, and takes the next port that is free.
    let next = Run::start(&mut run(&folder, &graph, &["--listen", &format!("{address}+")]));
    assert_ne!(next.address.port(), taken.local_addr().unwrap().port());
    assert_eq!(get(next.address, "/healthz").status, 200);
    let wrong = said(run(&folder, ENDLESS, &["--listen", "everywhere"]).output().unwrap());
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("127.0.0.1:8080"), "{}", wrong.err);
}

#[test]
fn a_token_that_is_not_there_or_short_is_refused_before_anything_runs() {
    let folder = Folder::new();
    let graph = format!("server token=env.FLOWRUN_TEST_NO_TOKEN listen=\"127.0.0.1:0\"\n{ENDLESS}");
    let unset = said(run(&folder, &graph, &[]).output().unwrap());
    assert_eq!(unset.code, Some(1));
    assert!(
        unset.err.contains("`FLOWRUN_TEST_NO_TOKEN`") && unset.err.contains("openssl rand"),
        "{}",
        unset.err
    );
    let short = said(
        run(&folder, &graph, &[])
            .env("FLOWRUN_TEST_NO_TOKEN", "hunter2")
            .output()
            .unwrap(),
    );
    assert_eq!(short.code, Some(1));
    assert!(
        short.err.contains("16 letters") && !short.err.contains("hunter2"),
        "{}",
        short.err
    );
}

#[test]
fn what_nothing_serves_is_worth_a_warning() {
    let folder = Folder::new();
    let graph = folder.write("graph.kdl", ENDLESS);
    let checked = on_file(&["check"], &graph);
    assert_eq!(checked.code, Some(0));
    for words in ["no-server", "--listen 127.0.0.1:8080", "server listen="] {
        assert!(checked.err.contains(words), "{}", checked.err);
    }
    let mut served = Run::start(&mut run(&folder, ENDLESS, &["--listen", "127.0.0.1:0", "--for", "1s"]));
    assert_eq!(served.url, format!("http://{}/", served.address));
    let (code, said) = served.end();
    assert_eq!(code, Some(0));
    assert!(!said.contains("no-server"), "{said}");
}

#[test]
fn a_run_is_edited_from_the_command_line() {
    let folder = Folder::new();
    let graph = format!("server listen=\"127.0.0.1:0\" token=env.FLOWRUN_TEST_TOKEN\n{ENDLESS}");
    let secret = "a-secret-that-is-long-enough";
    let run = Run::start(run(&folder, &graph, &[]).env("FLOWRUN_TEST_TOKEN", secret));
    let server = format!("http://{}", run.address);
    let command = |words: &[&str]| {
        let mut command = flowrun();
        command
            .args(words)
            .args(["--server", &server])
            .env("FLOWRUN_TOKEN", secret);
        said(command.output().unwrap())
    };
    let new = folder.write(
        "new.kdl",
        graph.replace("truth-tracks as", "truth-tracks min-visible=0.5 as"),
    );
    let new = new.to_str().unwrap();
    let version = || {
        let bearer = format!("Bearer {secret}");
        let reloads = ask(run.address, "GET", "/api/reloads", &[("Authorization", &bearer)]);
        reloads.json()["version"].as_u64().unwrap()
    };
    let told = command(&["reload", "--dry-run", new]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    assert!(told.out.contains("live     node    f.tracks"), "{}", told.out);
    let told = command(&["reload", "--dry-run", "--format", "json", new]);
    let document: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    assert!(
        document["changes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|change| change["action"] == "live")
    );
    assert_eq!(version(), 1, "nothing was changed");
    let made = command(&["reload", new]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    assert!(
        made.out.starts_with("version 2 ") && made.out.contains("0 lost, 0 doubled"),
        "{}",
        made.out
    );
    let back = command(&["rollback"]);
    assert_eq!(back.code, Some(0), "{}", back.err);
    assert_eq!(version(), 3);
    let wrong = folder.write("wrong.kdl", graph.replace("truth-tracks", "truth-trucks"));
    for words in [&["reload", "--dry-run"][..], &["reload"]] {
        let refused = command(&[words, &[wrong.to_str().unwrap()]].concat());
        assert_eq!(refused.code, Some(2), "{}", refused.err);
        assert!(refused.err.contains("truth-trucks"), "{}", refused.err);
    }
    assert_eq!(version(), 3);
}

#[test]
fn a_model_without_an_engine_is_built_one_beside_the_run() {
    if !has_onnx_runtime() {
        return;
    }
    let (folder, cache) = (Folder::new(), Folder::new());
    folder.write(
        "net.onnx",
        std::fs::read(root().join("operators/fixtures/dynamic.onnx")).unwrap(),
    );
    let graph = "cameras c { synthetic a fps=20; }\nmodel net \"net.onnx\" provider=twin engine=background\n\
                 flow f from=c { detect net as=d; }\nwrite { jsonl \"d.jsonl\" from=f.d; }\n";
    let listen = ["--listen", "127.0.0.1:0"];
    let started = || {
        let mut command = run(&folder, graph, &listen);
        Run::start(command.env("FLOWRUN_CACHE", cache.path("")).stdout(Stdio::null()))
    };
    let serves = |run: &Run| {
        let status = get(run.address, "/api/status").json();
        let node = status["nodes"]
            .as_array()?
            .iter()
            .find(|node| node["name"] == "f.d")?
            .clone();
        let providers = node["providers"].as_array()?.iter();
        let serving = providers.into_iter().find(|provider| provider["serves"] == true)?;
        Some(serving["name"].as_str()?.to_owned())
    };
    let first = started();
    let reloads = until("an engine", || {
        let reloads = get(first.address, "/api/reloads").json();
        (reloads["engines"][0]["stage"] == "ready").then_some(reloads)
    });
    let receipt = &reloads["receipts"][0];
    assert_eq!(receipt["cause"]["engine"], "CPU twin engine for model `net` is ready");
    assert_eq!(
        (receipt["lost"].as_u64(), receipt["doubled"].as_u64()),
        (Some(0), Some(0)),
        "{receipt}"
    );
    assert_eq!(serves(&first).as_deref(), Some("CPU twin"));
    let metrics = get(first.address, "/metrics").body;
    let built = "flowrun_model_engine{model=\"net\",provider=\"CPU twin\",stage=\"ready\",cause=\"\"} 1";
    assert!(metrics.contains(built), "{metrics}");
    drop(first);
    let second = started();
    assert_eq!(
        until("a serving provider", || serves(&second)),
        "CPU twin",
        "it is there from the start"
    );
    let engines = get(second.address, "/api/status").json()["engines"].clone();
    assert_eq!(engines.as_array().map(Vec::len), Some(0), "{engines}");
}
