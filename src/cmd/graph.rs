//! `flowrun graph`: a graph file as a picture.

use std::path::PathBuf;

use clap::Args;
use flowrun_engine::registry::Registry;

use crate::cmd::{Exit, Format, refuse};
use crate::graph::compile_file;

#[derive(Args)]
pub struct Graph {
    /// The graph file
    graph: PathBuf,
}

impl Graph {
    pub fn execute(&self, registry: &Registry) -> Exit {
        match compile_file(&self.graph, registry) {
            Ok((_, compiled)) => {
                print!("{}", flowrun_dsl::plan::draw(&compiled.plan));
                Exit::Done
            }
            Err(error) => refuse(&error, Format::Text),
        }
    }
}
