//! `flowrun reload` and `flowrun rollback`: edit a run under way.

use std::path::PathBuf;

use clap::Args;
use flowrun_dsl::plan::{PlanDiff, explain_diff};
use http::Method;

use crate::cmd::remote::{Answer, Remote, tell};
use crate::cmd::{Exit, Format};

#[derive(Args)]
pub struct Reload {
    /// The graph file that is to run from now on
    graph: PathBuf,
    #[command(flatten)]
    remote: Remote,
    /// The hash of the text that it was edited from: another edit that came first is not undone
    #[arg(long, value_name = "HASH")]
    if_match: Option<String>,
    /// Say what would become of each part of the run, and change nothing
    #[arg(long, conflicts_with = "if_match")]
    dry_run: bool,
    /// How to print that
    #[arg(long, value_enum, default_value_t, requires = "dry_run")]
    format: Format,
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
        if self.dry_run {
            let answer = self.remote.ask(Method::POST, "/api/graph/diff", None, text);
            return exit_with(&answer, |answer| foretell(answer, self.format));
        }
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
    exit_with(answer, tell)
}

fn exit_with(answer: &Result<Answer, String>, tell: impl FnOnce(&Answer) -> bool) -> Exit {
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

/// Prints what an edit would change; gives whether it is a graph.
fn foretell(answer: &Answer, format: Format) -> bool {
    if !answer.status.is_success() {
        return tell(answer);
    }
    match (format, serde_json::from_value::<PlanDiff>(answer.document.clone())) {
        (Format::Text, Ok(diff)) => print!("{}", explain_diff(&diff)),
        // Another version's server may know actions that this one does not.
        _ => println!("{:#}", answer.document),
    }
    true
}
