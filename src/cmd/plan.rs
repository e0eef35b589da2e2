//! `flowrun plan`: what a graph file compiles to, and what another one would change.

use std::path::PathBuf;

use clap::Args;
use flowrun_dsl::plan::{diff, explain, explain_diff};
use flowrun_engine::registry::Registry;
use serde::Serialize;

use crate::cmd::file::GraphFile;
use crate::cmd::{Exit, Format, refuse};
use crate::graph::GraphError;

#[derive(Args)]
pub struct Plan {
    #[command(flatten)]
    graph: GraphFile,
    /// Say what would change if the graph were edited to be this file
    #[arg(long, value_name = "NEW")]
    diff: Option<PathBuf>,
    /// How to print the plan
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Plan {
    pub fn execute(&self, registry: &Registry) -> Exit {
        match self.text(registry) {
            Ok(text) => {
                print!("{text}");
                Exit::Done
            }
            Err(error) => refuse(&error, self.format),
        }
    }

    fn text(&self, registry: &Registry) -> Result<String, GraphError> {
        let (_, compiled) = self.graph.compile(registry)?;
        let Some(new) = &self.diff else {
            return Ok(match self.format {
                Format::Text => explain(&compiled.plan, registry),
                Format::Json => json(&compiled.plan),
            });
        };
        let (_, new) = self.graph.compile_other(new, registry)?;
        let changes = diff(&compiled.plan, &new.plan, registry);
        Ok(match self.format {
            Format::Text => explain_diff(&changes),
            Format::Json => json(&changes),
        })
    }
}

fn json(plain: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(plain).expect("plans and their differences are plain data");
    text + "\n"
}
