//! A password is in none of the things that flowrun says.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use crate::server::Server;
use crate::support::{Folder, Said, flowrun, on_file, said};

const SECRET: &str = "tr0ub4dor&3-not-to-be-seen";

fn graph(url: &str) -> String {
    format!(
        "cameras site {{ rtsp north \"{url}\" user=env.CAM_USER password=env.CAM_PASSWORD; }}\n\
         flow seen from=site {{ truth; }}\n\
         write {{ jsonl \"seen.jsonl\" from=seen; jsonl \"errors.jsonl\" from=\"*.errors\"; }}\n"
    )
}

fn with_secret(arguments: &[&str]) -> Command {
    let mut command = flowrun();
    command
        .args(arguments)
        .env("CAM_USER", "somebody")
        .env("CAM_PASSWORD", SECRET)
        .env("FLOWRUN_LOG", "trace");
    command
}

const REFUSED: &str = "refuses the user name or the password (401)";

/// Runs a graph until its camera has refused the password.
fn refused_run(path: &str) -> Said {
    let mut command = with_secret(&["run", path]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut err = String::new();
    while !err.contains(REFUSED) {
        assert!(lines.read_line(&mut err).unwrap() > 0, "it ends early: {err}");
    }
    let kill = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    lines.read_to_string(&mut err).unwrap();
    let ended = said(child.wait_with_output().unwrap());
    Said { err, ..ended }
}

#[test]
fn a_password_is_never_said() {
    for auth in ["basic", "digest"] {
        let Some(server) = Server::start(&["--auth", auth]) else {
            return;
        };
        let folder = Folder::new();
        let path = folder.write("graph.kdl", graph(&server.url(0)));
        let path = path.to_str().unwrap();
        let run = refused_run(path);
        assert_eq!(run.code, Some(0), "{}", run.err);
        let errors = folder.read("errors.jsonl");
        assert_eq!(errors.matches(REFUSED).count(), 1, "{errors}");
        let plan = said(with_secret(&["plan", "--format", "json", path]).output().unwrap());
        assert!(plan.out.contains("env.CAM_PASSWORD"));
        let shown = said(with_secret(&["plan", path]).output().unwrap());
        let written: String = folder.names().iter().map(|name| folder.read(name)).collect();
        for (what, text) in [
            ("out", &run.out),
            ("err", &run.err),
            ("files", &written),
            ("plan", &plan.out),
            ("plan", &shown.out),
        ] {
            assert!(!text.contains(SECRET), "{auth}: {what}");
            // Basic sends it in base64.
            assert!(!text.contains("c29tZWJvZHk6"), "{auth}: {what}");
        }
    }
}

#[test]
fn a_missing_variable_is_named_before_anything_runs() {
    let folder = Folder::new();
    let path = folder.write("graph.kdl", graph("rtsp://127.0.0.1:9/main"));
    let mut command = flowrun();
    command
        .args(["run"])
        .arg(&path)
        .env("CAM_USER", "somebody")
        .env_remove("CAM_PASSWORD");
    let run = said(command.output().unwrap());
    assert_eq!(run.code, Some(1));
    assert!(
        run.err.contains("the environment variable CAM_PASSWORD is not set"),
        "{}",
        run.err
    );
}

#[test]
fn a_password_in_a_url_is_refused_and_not_repeated() {
    let folder = Folder::new();
    for url in [
        "rtsp://somebody:hunter2@10.0.0.1/main",
        "rtsp://hunter2@10.0.0.1/",
        "rtsp://a:hunter2/@10.0.0.1/",
    ] {
        let path = folder.write("graph.kdl", graph(url));
        for format in ["text", "json"] {
            let check = on_file(&["check", "--format", format], &path);
            assert_eq!(check.code, Some(2), "{}", check.err);
            let text = check.out + &check.err;
            assert!(
                text.contains("flowrun::secret") && text.contains("user=env.NAME"),
                "{text}"
            );
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
