//! From a graph file to a run.

use std::io::Read;
use std::path::Path;

use flowrun_dsl::port::Catalogue;
use flowrun_dsl::system::{Disk, System};
use flowrun_dsl::{Compiled, Diagnostic, Diagnostics, SourceFile, Spans};
use flowrun_engine::errors::PrepareError;
use flowrun_engine::registry::Registry;
use flowrun_engine::run::{Options, PreparedRun, Report, prepare};

/// Why a graph file cannot be run.
#[derive(Debug)]
pub enum GraphError {
    /// The file could not be read.
    Unreadable(String),
    /// The text is wrong; the source is there to point at.
    Wrong(Box<SourceFile>, Diagnostics),
    /// The text is right, and this machine cannot do what it says.
    Unfit(Box<SourceFile>, Diagnostics),
    /// The run failed.
    Failed(String),
}

impl std::fmt::Display for GraphError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            GraphError::Unreadable(cause) | GraphError::Failed(cause) => f.write_str(cause),
            GraphError::Wrong(source, diagnostics) | GraphError::Unfit(source, diagnostics) => {
                for diagnostic in diagnostics.iter() {
                    let start = diagnostic.span().unwrap_or_default().start;
                    let (file, line) = (source.part_at(start).name, source.position(start).line);
                    writeln!(f, "{file}:{line}: {}", diagnostic.message)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for GraphError {}

/// The folder that a graph file lies in: its relative paths start there.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Reads and compiles a graph file that is trusted with every file of the machine, as code is.
///
/// # Errors
/// Everything that is wrong with it.
pub fn compile_file(path: &Path, catalogue: &dyn Catalogue) -> Result<(SourceFile, Compiled), GraphError> {
    compile_file_with(path, &Disk, catalogue)
}

/// Reads and compiles a graph file that may name what `system` allows.
///
/// # Errors
/// Everything that is wrong with it.
pub fn compile_file_with(
    path: &Path,
    system: &dyn System,
    catalogue: &dyn Catalogue,
) -> Result<(SourceFile, Compiled), GraphError> {
    let name = path.display().to_string();
    let bytes = std::fs::File::open(path)
        .and_then(read_bounded)
        .map_err(|error| GraphError::Unreadable(format!("{name}: {error}")))?;
    compile_text_with(&name, bytes, folder_of(path), system, catalogue)
}

/// Compiles a graph whose relative paths start at `root`, trusted as [`compile_file`] does; `name` stands for it in
/// messages.
///
/// # Errors
/// Everything that is wrong with it.
pub fn compile_text(
    name: &str,
    text: impl Into<Vec<u8>>,
    root: &Path,
    catalogue: &dyn Catalogue,
) -> Result<(SourceFile, Compiled), GraphError> {
    compile_text_with(name, text, root, &Disk, catalogue)
}

/// Compiles a text in the place of a graph's file.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn compile_bytes(
    path: &Path,
    bytes: Vec<u8>,
    system: &dyn System,
    catalogue: &dyn Catalogue,
) -> Result<(SourceFile, Compiled), GraphError> {
    compile_text_with(&path.display().to_string(), bytes, folder_of(path), system, catalogue)
}

fn compile_text_with(
    name: &str,
    text: impl Into<Vec<u8>>,
    root: &Path,
    system: &dyn System,
    catalogue: &dyn Catalogue,
) -> Result<(SourceFile, Compiled), GraphError> {
    let source = SourceFile::new(name, text).map_err(|diagnostic| {
        let empty = SourceFile::new(name, "").expect("an empty text is a text");
        let mut diagnostics = Diagnostics::default();
        diagnostics.push(diagnostic);
        GraphError::Wrong(Box::new(empty), diagnostics)
    })?;
    let source = flowrun_dsl::include(source, root, system).map_err(|refused| {
        let (source, diagnostics) = *refused;
        GraphError::Wrong(Box::new(source), diagnostics)
    })?;
    match flowrun_dsl::compile_with(&source, root, catalogue, system) {
        Ok(compiled) => Ok((source, compiled)),
        Err(diagnostics) => Err(GraphError::Wrong(Box::new(source), diagnostics)),
    }
}

/// One byte more than the language takes is enough to be refused; what has no end is not read to it.
pub(crate) fn read_bounded(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(flowrun_dsl::source::MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Prepares a compiled graph; failures point into its text.
///
/// # Errors
/// Everything on this machine that keeps it from running.
pub fn prepare_compiled(
    source: &SourceFile,
    compiled: Compiled,
    registry: &Registry,
    options: &Options,
) -> Result<PreparedRun, GraphError> {
    let Compiled { plan, spans, .. } = compiled;
    prepare(plan, registry, options).map_err(|errors| findings(source, &spans, errors))
}

/// What keeps a graph from running on this machine, at its places in the text.
pub(crate) fn findings(source: &SourceFile, spans: &Spans, errors: Vec<PrepareError>) -> GraphError {
    let mut diagnostics = Diagnostics::default();
    for PrepareError { place, cause, remedy } in errors {
        let span = spans
            .nodes
            .get(&place)
            .or_else(|| spans.cameras.get(&place))
            .or_else(|| spans.models.get(&place))
            .or_else(|| spans.server.as_ref().filter(|_| place == "server"));
        let diagnostic = Diagnostic::error("flowrun::cannot-run", format!("{place}: {cause}")).maybe_help(remedy);
        diagnostics.push(match span {
            Some(place) => diagnostic.label(place.name, ""),
            None => diagnostic,
        });
    }
    GraphError::Unfit(Box::new(source.clone()), diagnostics)
}

/// Runs a graph file to its end.
///
/// # Errors
/// What is wrong with the file, the machine or the run.
pub fn run_file(path: &Path, registry: &Registry, options: &Options) -> Result<Report, GraphError> {
    run_compiled(compile_file(path, registry)?, registry, options)
}

/// Runs a graph given as text to its end; relative paths start at `root`.
///
/// # Errors
/// What is wrong with the text, the machine or the run.
pub fn run_text(text: &str, root: &Path, registry: &Registry, options: &Options) -> Result<Report, GraphError> {
    run_compiled(compile_text("graph.kdl", text, root, registry)?, registry, options)
}

fn run_compiled(
    (source, compiled): (SourceFile, Compiled),
    registry: &Registry,
    options: &Options,
) -> Result<Report, GraphError> {
    let prepared = prepare_compiled(&source, compiled, registry, options)?;
    let running = prepared
        .start()
        .map_err(|error| GraphError::Failed(format!("cannot start: {error}")))?;
    let report = running.wait();
    match &report.failure {
        Some(cause) => Err(GraphError::Failed(cause.clone())),
        None => Ok(report),
    }
}
