//! `flowrun reload` and `flowrun rollback`: edit a run under way.

use std::path::PathBuf;

use clap::Args;
use http::Method;

use crate::cmd::Exit;
use crate::cmd::remote::{Answer, Remote, tell};

#[derive(Args)]
pub struct Reload {
    /// The graph file that is to run from now on
    graph: PathBuf,
    #[command(flatten)]
    remote: Remote,
    /// The hash of the text that it was edited from: another edit that came first is not undone
    #[arg(long, value_name = "HASH")]
    if_match: Option<String>,
}

#[derive(Args)]
pub struct Rollback {
    #[command(flatten)]
    remote: Remote,
}

impl Reload {
    pub fn execute(&self) -> Exit {
        let text = match std::fs::read(&self.graph) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("error: {}: {error}", self.graph.display());
                return Exit::Wrong;
            }
        };
        exit(
            &self
                .remote
                .ask(Method::PUT, "/api/graph", self.if_match.as_deref(), text),
        )
    }
}

impl Rollback {
    pub fn execute(&self) -> Exit {
        exit(&self.remote.ask(Method::POST, "/api/rollback", None, Vec::new()))
    }
}

fn exit(answer: &Result<Answer, String>) -> Exit {
    match answer {
        Ok(answer) if tell(answer) => Exit::Done,
        Ok(answer) if answer.status.as_u16() == 422 => Exit::Wrong,
        Ok(_) => Exit::Failed,
        Err(cause) => {
            eprintln!("error: {cause}");
            Exit::Failed
        }
    }
}
