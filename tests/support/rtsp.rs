//! GStreamer's RTSP server as a process.

#![allow(clippy::unwrap_used, dead_code, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What cargo sets for a test anyway stands for secrets: a test must not change its environment.
pub const USER: &str = "CARGO_PKG_NAME";
pub const PASSWORD: &str = "CARGO_PKG_VERSION";

pub struct Server {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub port: u16,
}

impl Server {
    /// Starts one; none, with a word why, where the machine lacks GStreamer.
    pub fn start(options: &[&str]) -> Option<Server> {
        Server::start_at(0, options)
    }

    pub fn start_at(port: u16, options: &[&str]) -> Option<Server> {
        let started = Command::new("/usr/bin/python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/rtsp_server.py"))
            .arg(port.to_string())
            .args(options)
            .env("RTSP_TEST_USER", env!("CARGO_PKG_NAME"))
            .env("RTSP_TEST_PASSWORD", env!("CARGO_PKG_VERSION"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = started else {
            eprintln!("skipped: no /usr/bin/python3");
            return None;
        };
        let (orders, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut server = Server {
            child,
            orders,
            answers: BufReader::new(output),
            port: 0,
        };
        let line = server.answer();
        match line.split_once(' ') {
            Some(("ready", port)) => server.port = port.trim().parse().unwrap(),
            Some(("absent", what)) => {
                eprintln!("skipped: {}", what.trim());
                return None;
            }
            _ => panic!("the server says {line:?}"),
        }
        Some(server)
    }

    pub fn url(&self, mount: usize) -> String {
        format!("rtsp://127.0.0.1:{}/camera{mount}", self.port)
    }

    /// Gives an order and waits until it is done.
    pub fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
        assert!(self.answer().starts_with("done"));
    }

    /// The sessions that clients have, in order of their names.
    pub fn sessions(&mut self) -> Vec<String> {
        writeln!(self.orders, "sessions").unwrap();
        let answer = self.answer();
        answer.split_whitespace().skip(1).map(str::to_owned).collect()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
