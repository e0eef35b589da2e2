//! A document read as a graph: what is declared where, by which names, with which parameters.
//!
//! Each family of nodes has its file. What a single node can tell is checked here; what needs
//! several (references, types of rows, cameras) is checked when the plan is made.

pub mod cameras;
pub mod flow;
pub mod given;
pub mod model;
pub mod names;
pub mod query;
pub mod server;
pub mod step;
pub mod values;
pub mod write;
pub mod zones;

use crate::diagnostic::{Diagnostic, Diagnostics, MAX_FINDINGS, code};
use crate::document::Node;
use crate::port::{Catalogue, Role};
use crate::source::{Named, SourceFile, Span};
use crate::suggest;

/// All declarations of a file, each kind in the order of the text.
#[derive(Debug, Default)]
pub struct Graph<'a> {
    /// `cameras` blocks.
    pub groups: Vec<cameras::Group>,
    /// Their cameras.
    pub cameras: Vec<cameras::Camera<'a>>,
    /// `model` blocks.
    pub models: Vec<model::Model>,
    /// Polygons and lines.
    pub zones: Vec<zones::Zone>,
    /// `flow` blocks.
    pub flows: Vec<flow::Flow<'a>>,
    /// `query` blocks.
    pub queries: Vec<query::Query<'a>>,
    /// Lines of `write` and `publish` blocks at top level.
    pub sinks: Vec<step::Step<'a>>,
    /// The `server` node.
    pub server: Option<server::Server>,
}

/// What may stand at top level.
const TOP_LEVEL: [&str; 11] = [
    "cameras", "model", "zones", "flow", "define", "use", "query", "write", "publish", "server", "include",
];

/// What reading needs: the operators that exist, the text, and a place for findings.
pub struct Reader<'a> {
    /// What operators exist.
    pub catalogue: &'a dyn Catalogue,
    /// The text.
    pub source: &'a SourceFile,
    /// What was found so far.
    pub diagnostics: Diagnostics,
}

impl<'a> Reader<'a> {
    /// Reads all nodes of a document.
    pub fn read(&mut self, nodes: &[Node]) -> Graph<'a> {
        let mut graph = Graph::default();
        for node in nodes {
            match node.name.value.as_str() {
                "cameras" => self.read_cameras(node, &mut graph),
                "model" => self.read_model(node, &mut graph),
                "zones" => self.read_zones(node, &mut graph),
                "flow" => self.read_flow(node, &mut graph),
                "query" => self.read_query(node, &mut graph),
                "write" => self.read_sinks(node, Role::Write, &mut graph),
                "publish" => self.read_sinks(node, Role::Publish, &mut graph),
                "server" => self.read_server(node, &mut graph),
                _ => self.unknown_node(&node.name, "at top level", &TOP_LEVEL),
            }
        }
        self.check_served(&graph);
        graph
    }

    /// Notes a finding.
    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Words to suggest; none once there are more findings than are listed, because gathering them takes time.
    pub fn words<'w>(&self, gather: impl FnOnce() -> Vec<&'w str>) -> Vec<&'w str> {
        if self.diagnostics.len() < MAX_FINDINGS {
            gather()
        } else {
            Vec::new()
        }
    }

    /// A node that cannot stand where it does, with what can.
    pub fn unknown_node(&mut self, name: &Named, place: &str, allowed: &[&str]) {
        let Named { value: written, span } = name;
        self.report(
            Diagnostic::error(code::UNKNOWN_NODE, format!("`{written}` is no node {place}"))
                .label(*span, "unknown here")
                .maybe_help(suggest::help(written, "nodes", allowed.iter().copied())),
        );
    }

    /// The kinds of operators of a role.
    pub fn kinds(&self, role: Role) -> Vec<&'a str> {
        let catalogue = self.catalogue;
        catalogue
            .operators()
            .iter()
            .filter(|spec| spec.role == role)
            .map(|spec| spec.kind.as_str())
            .collect()
    }

    /// The name that a node declares: its first argument. `what` is "a camera", "a flow" ...
    pub fn declared_name(&mut self, node: &Node, what: &str) -> Option<Named> {
        let Some(first) = node.args.first() else {
            self.report(
                Diagnostic::error(code::MISSING_NAME, format!("{what} has no name"))
                    .label(node.name.span, "the name is missing behind this")
                    .help(format!("write `{} NAME ...`", node.name.value)),
            );
            return None;
        };
        let Some(text) = first.text() else {
            let message = format!("{what} is named by a word, not by {}", first.value.describe());
            self.report(Diagnostic::error(code::BAD_NAME, message).label(first.span, "not a name"));
            return None;
        };
        let name = Named::new(text.to_owned(), first.span);
        self.check_name(&name, what).then_some(name)
    }

    /// Whether a declared name has the letters of names and is not reserved.
    pub fn check_name(&mut self, name: &Named, what: &str) -> bool {
        let Named { value, span } = name;
        let letters = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
        let cause = if value.is_empty() || !value.chars().all(letters) {
            "names have letters, digits, `_` and `-`"
        } else if matches!(value.as_str(), "errors" | "write" | "publish" | "env") {
            "`errors`, `write`, `publish` and `env` are reserved: names of points begin or end with them"
        } else {
            return true;
        };
        self.report(
            Diagnostic::error(code::BAD_NAME, format!("`{value}` cannot name {what}"))
                .label(*span, "not a name")
                .help(cause),
        );
        false
    }

    /// The text of a property that names something, such as `from=`.
    pub fn name_property(&mut self, node: &Node, property: &str) -> Option<Named> {
        let property = node.prop(property)?;
        match property.entry.text() {
            Some(text) => Some(Named::new(text.to_owned(), property.entry.span)),
            None => {
                let message = format!(
                    "`{}` names something, but is {}",
                    property.name.value,
                    property.entry.value.describe()
                );
                self.report(Diagnostic::error(code::WRONG_TYPE, message).label(property.entry.span, "not a name"));
                None
            }
        }
    }

    /// Reports arguments from `from` on, which `node` has no place for.
    pub fn no_more_arguments(&mut self, node: &Node, from: usize) {
        if let Some(extra) = node.args.get(from) {
            self.report(
                Diagnostic::error(
                    code::EXTRA_ARGUMENT,
                    format!("`{}` takes no further argument", node.name.value),
                )
                .label(extra.span, "one too many"),
            );
        }
    }

    /// Reports properties that are not among `allowed`.
    pub fn only_properties(&mut self, node: &Node, allowed: &[&str]) {
        for property in node
            .props
            .iter()
            .filter(|property| !allowed.contains(&property.name.value.as_str()))
        {
            self.unknown_parameter(&property.name, &node.name.value, allowed);
        }
    }

    /// Reports a block that `node` cannot have.
    pub fn no_children(&mut self, node: &Node) {
        if let Some(child) = node.children.first() {
            self.report(
                Diagnostic::error(code::UNKNOWN_NODE, format!("`{}` has no block", node.name.value))
                    .label(child.name.span, "cannot stand here"),
            );
        }
    }

    /// A parameter that its node does not have.
    pub fn unknown_parameter(&mut self, name: &Named, owner: &str, allowed: &[&str]) {
        self.report(
            Diagnostic::error(
                code::UNKNOWN_PARAMETER,
                format!("`{owner}` has no parameter `{}`", name.value),
            )
            .label(name.span, "unknown")
            .maybe_help(suggest::help(&name.value, "parameters", allowed.iter().copied())),
        );
    }

    /// Something given twice.
    pub fn given_twice(&mut self, what: &str, again: Span, first: Span) {
        self.report(
            Diagnostic::error(code::DUPLICATE_PROPERTY, format!("`{what}` is given twice"))
                .label(again, "again")
                .label(first, "first"),
        );
    }
}
