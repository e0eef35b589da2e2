//! The way from text to plan, in one call.

use std::collections::BTreeMap;
use std::path::Path;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document;
use crate::graph::Reader;
use crate::plan::{Plan, lower};
use crate::port::Catalogue;
use crate::source::{SourceFile, Span};
use crate::system::{Disk, System};
use crate::template::{self, Expanded};

/// A plan with what is needed to talk about it.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The plan.
    pub plan: Plan,
    /// Where its parts stand in the text, for findings of later stages.
    pub spans: Spans,
    /// What is probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// Where the parts of a plan stand in the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spans {
    /// Nodes of the plan by name.
    pub nodes: BTreeMap<String, Place>,
    /// Cameras by name.
    pub cameras: BTreeMap<String, Place>,
    /// Models by name; the file itself is their parameter `path`.
    pub models: BTreeMap<String, Place>,
    /// The `server` node.
    pub server: Option<Place>,
    /// Zones, as [`Plan::zones`] has them.
    pub zones: Vec<Span>,
}

/// Where something and its parameters stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// Its name, or its kind where it has none.
    pub name: Span,
    /// The values of the parameters that were given.
    pub params: BTreeMap<String, Span>,
}

impl Place {
    /// The place of a parameter, or of its owner where it was not given.
    pub fn param(&self, name: &str) -> Span {
        self.params.get(name).copied().unwrap_or(self.name)
    }
}

/// Compiles a graph whose relative paths are relative to `root`; files that it names must exist.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text; warnings are among them.
pub fn compile(source: &SourceFile, root: &Path, catalogue: &dyn Catalogue) -> Result<Compiled, Diagnostics> {
    compile_with(source, root, catalogue, &Disk)
}

/// As [`compile`], asking `system` whether files exist.
///
/// # Errors
/// As [`compile`].
pub fn compile_with(
    source: &SourceFile,
    root: &Path,
    catalogue: &dyn Catalogue,
    system: &dyn System,
) -> Result<Compiled, Diagnostics> {
    let nodes = document::parse(source)?;
    let reader = Reader {
        catalogue,
        source,
        diagnostics: Diagnostics::default(),
    };
    let Expanded {
        nodes,
        source,
        places,
        warnings,
    } = template::expand(nodes, reader)?;
    let mut reader = Reader {
        catalogue,
        source: &source,
        diagnostics: Diagnostics::default(),
    };
    let graph = reader.read(&nodes);
    let names = reader.names(&graph);
    let lowered = lower::lower(&mut reader, &graph, &names, root, system);
    let mut diagnostics = places.shown(reader.diagnostics);
    diagnostics.extend(warnings);
    let diagnostics = diagnostics.sorted();
    match lowered {
        Some((plan, spans)) if !diagnostics.has_errors() => Ok(Compiled {
            plan,
            spans: places.spans(spans),
            warnings: diagnostics.into_iter().collect(),
        }),
        _ => Err(diagnostics),
    }
}
