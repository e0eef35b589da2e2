//! `flowrun plan`: what a graph file compiles to.

use clap::Args;
use flowrun_engine::registry::Registry;

use crate::cmd::file::GraphFile;
use crate::cmd::{Exit, Format, refuse};

#[derive(Args)]
pub struct Plan {
    #[command(flatten)]
    graph: GraphFile,
    /// How to print the plan
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Plan {
    pub fn execute(&self, registry: &Registry) -> Exit {
        let compiled = match self.graph.compile(registry) {
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
