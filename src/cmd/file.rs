//! The graph file that a command is given, and the folders that it may use.

use std::path::PathBuf;

use clap::Args;
use flowrun_dsl::system::Confined;
use flowrun_dsl::{Compiled, SourceFile};
use flowrun_engine::registry::Registry;

use crate::graph::{GraphError, compile_file_with, folder_of};

#[derive(Args)]
pub struct GraphFile {
    /// The graph file
    graph: PathBuf,
    /// A folder that the graph may read and write beside its own; may be given several times
    #[arg(long = "root", value_name = "FOLDER")]
    roots: Vec<PathBuf>,
}

impl GraphFile {
    /// Reads and compiles it.
    pub fn compile(&self, registry: &Registry) -> Result<(SourceFile, Compiled), GraphError> {
        let folders = std::iter::once(folder_of(&self.graph)).chain(self.roots.iter().map(PathBuf::as_path));
        let mut confined = Vec::new();
        for folder in folders {
            let there = folder.canonicalize();
            confined.push(there.map_err(|error| GraphError::Unreadable(format!("{}: {error}", folder.display())))?);
        }
        compile_file_with(&self.graph, &Confined::to(confined), registry)
    }
}
