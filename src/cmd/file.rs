//! The graph file that a command is given, and the folders that it may use.

use std::path::{Path, PathBuf};

use clap::Args;
use flowrun_dsl::system::Confined;
use flowrun_dsl::{Compiled, SourceFile};
use flowrun_engine::registry::Registry;

use crate::graph::{GraphError, compile_bytes, compile_file_with, folder_of};

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
        self.compile_other(&self.graph, registry)
    }

    /// Compiles a text in the file's place.
    pub fn compile_text(&self, text: Vec<u8>, registry: &Registry) -> Result<(SourceFile, Compiled), GraphError> {
        compile_bytes(&self.graph, text, &self.system()?, registry)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.graph
    }

    /// What it may read and write.
    pub fn system(&self) -> Result<Confined, GraphError> {
        self.system_of(&self.graph)
    }

    /// Reads and compiles another file, which may use its own folder and the same further ones.
    pub fn compile_other(&self, graph: &Path, registry: &Registry) -> Result<(SourceFile, Compiled), GraphError> {
        compile_file_with(graph, &self.system_of(graph)?, registry)
    }

    fn system_of(&self, graph: &Path) -> Result<Confined, GraphError> {
        let folders = std::iter::once(folder_of(graph)).chain(self.roots.iter().map(PathBuf::as_path));
        let mut confined = Vec::new();
        for folder in folders {
            let there = folder.canonicalize();
            confined.push(there.map_err(|error| GraphError::Unreadable(format!("{}: {error}", folder.display())))?);
        }
        Ok(Confined::to(confined))
    }
}
