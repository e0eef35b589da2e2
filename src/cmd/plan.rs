//! `flowrun plan`: what a graph file compiles to.

use std::path::PathBuf;

use clap::Args;
use flowrun_engine::registry::Registry;

use crate::cmd::{Exit, Format, refuse};
use crate::graph::compile_file;

#[derive(Args)]
pub struct Plan {
    /// The graph file
    graph: PathBuf,
    /// How to print the plan
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Plan {
    pub fn execute(&self, registry: &Registry) -> Exit {
        let compiled = match compile_file(&self.graph, registry) {
            Ok((_, compiled)) => compiled,
            Err(error) => return refuse(&error, self.format),
        };
        match self.format {
            Format::Text => print!("{}", flowrun_dsl::plan::explain(&compiled.plan, registry)),
            Format::Json => println!(
                "{}",
                serde_json::to_string_pretty(&compiled.plan).expect("a plan is plain data")
            ),
        }
        Exit::Done
    }
}
