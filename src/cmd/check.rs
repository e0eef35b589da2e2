//! `flowrun check`: everything that is wrong with a graph file, at once.

use clap::Args;
use flowrun_dsl::Diagnostics;
use flowrun_engine::registry::Registry;

use crate::cmd::file::GraphFile;
use crate::cmd::{Exit, Format, present, refuse};

#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    graph: GraphFile,
    /// How to print what is found
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Check {
    pub fn execute(&self, registry: &Registry) -> Exit {
        match self.graph.compile(registry) {
            Ok((source, compiled)) => {
                let mut warnings = Diagnostics::default();
                compiled.warnings.into_iter().for_each(|warning| warnings.push(warning));
                if self.format == Format::Json || !warnings.is_empty() {
                    present::diagnostics(&source, &warnings, self.format);
                }
                if self.format == Format::Text {
                    let plan = &compiled.plan;
                    println!(
                        "{}: {} cameras, {} nodes, nothing wrong",
                        source.name(),
                        plan.cameras.len(),
                        plan.nodes.len()
                    );
                }
                Exit::Done
            }
            Err(error) => refuse(&error, self.format),
        }
    }
}
