//! `flowrun graph`: a graph file as a picture.

use clap::Args;
use flowrun_engine::registry::Registry;

use crate::cmd::file::GraphFile;
use crate::cmd::{Exit, Format, refuse};

#[derive(Args)]
pub struct Graph {
    #[command(flatten)]
    graph: GraphFile,
}

impl Graph {
    pub fn execute(&self, registry: &Registry) -> Exit {
        match self.graph.compile(registry) {
            Ok((_, compiled)) => {
                print!("{}", flowrun_dsl::plan::draw(&compiled.plan));
                Exit::Done
            }
            Err(error) => refuse(&error, Format::Text),
        }
    }
}
