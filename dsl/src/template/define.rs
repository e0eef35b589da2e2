//! What a `define` says: its parameters and its lines.

use std::collections::{HashMap, HashSet};

use super::fill::{Piece, pieces};
use crate::diagnostic::{Diagnostic, code};
use crate::document::{Entry, Literal, Node};
use crate::graph::Reader;
use crate::source::{Named, Span};
use crate::suggest;

/// What `as=` gives to the lines.
const AS: &str = "as";

/// A template.
#[derive(Clone, Debug)]
pub struct Define {
    /// Its name.
    pub name: Named,
    /// Its parameters in the order of the text.
    pub params: Vec<Param>,
    /// Its lines.
    pub lines: Vec<Node>,
    /// From the first of its lines to the last.
    pub body: Span,
    /// Whether a line reads `$as`.
    pub reads_as: bool,
}

/// A parameter of a template.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: Named,
    /// What it is where nothing is given; one without must be given.
    pub default: Option<Entry>,
}

impl Define {
    /// Reads a `define` node and reports all that is wrong with it.
    pub fn read(reader: &mut Reader, node: &Node) -> Option<Define> {
        let name = reader.declared_name(node, "a template")?;
        let mut params = Vec::new();
        for entry in node.args.iter().skip(1) {
            match (&entry.value, entry.text()) {
                (Literal::Text(_), Some(text)) => params.push(Param {
                    name: Named::new(text.to_owned(), entry.span),
                    default: None,
                }),
                (value, _) => {
                    let message = format!("a parameter is named by a word, not by {}", value.describe());
                    reader.report(
                        Diagnostic::error(code::BAD_NAME, message)
                            .label(entry.span, "not a name")
                            .help("write `define NAME PARAMETER OTHER=DEFAULT { ... }`"),
                    );
                }
            }
        }
        params.extend(node.props.iter().map(|property| Param {
            name: property.name.clone(),
            default: Some(property.entry.clone()),
        }));
        let mut bad = HashSet::new();
        let mut first: HashMap<&str, Span> = HashMap::new();
        for Param { name, .. } in &params {
            if let Some(first) = first.insert(&name.value, name.span) {
                reader.given_twice(&name.value, name.span, first);
            }
            if matches!(name.value.as_str(), AS | "from") {
                reader.report(
                    Diagnostic::error(
                        code::BAD_NAME,
                        format!("`{}` cannot name a parameter of a template", name.value),
                    )
                    .label(name.span, "taken")
                    .help("`as=` and `from=` are of `use` itself; lines read the former as `$as`"),
                );
                bad.insert(name.value.clone());
            } else if !reader.check_name(name, "a parameter of a template") {
                bad.insert(name.value.clone());
            }
        }
        if node.children.is_empty() {
            let message = format!("the template `{}` has no lines", name.value);
            reader.report(Diagnostic::error(code::EMPTY, message).label(name.span, "empty"));
        }
        let mut read = HashSet::new();
        for line in &node.children {
            references(reader, line, &params, &mut read);
        }
        for Param { name, .. } in params.iter().filter(|param| !read.contains(&param.name.value)) {
            if bad.contains(&name.value) {
                continue;
            }
            reader.report(
                Diagnostic::warning(
                    code::UNUSED_PARAMETER,
                    format!("no line reads the parameter `{}`", name.value),
                )
                .label(name.span, "unused")
                .help(format!("a line reads it as `${}`", name.value)),
            );
        }
        let spans = node.children.iter().map(extent);
        Some(Define {
            name,
            params,
            lines: node.children.clone(),
            body: spans.reduce(Span::to).unwrap_or_default(),
            reads_as: read.contains(AS),
        })
    }
}

/// A node with all that stands in it.
fn extent(node: &Node) -> Span {
    node.children.iter().map(extent).fold(node.span, Span::to)
}

/// Collects the parameters that a line reads, and reports those that there are not.
fn references(reader: &mut Reader, line: &Node, params: &[Param], read: &mut HashSet<String>) {
    let values = line
        .args
        .iter()
        .chain(line.props.iter().map(|property| &property.entry));
    for entry in values {
        let Some(text) = entry.text() else { continue };
        for piece in pieces(text) {
            let Piece::Param(name) = piece else { continue };
            if name != AS && !params.iter().any(|param| param.name.value == name) {
                reader.report(
                    Diagnostic::error(code::UNKNOWN_NAME, format!("the template has no parameter `{name}`"))
                        .label(entry.span, format!("reads `${name}`"))
                        .help(remedy(name, params)),
                );
            }
            read.insert(name.to_owned());
        }
    }
    for child in &line.children {
        references(reader, child, params, read);
    }
}

/// What was probably meant by a name that there is not.
fn remedy(name: &str, params: &[Param]) -> String {
    let known = || params.iter().map(|param| param.name.value.as_str());
    // Names have dashes, so what follows a name with one is part of it.
    let mut within = known().chain([AS]).filter_map(|known| {
        let rest = name.strip_prefix(known)?;
        rest.starts_with('-').then_some((known, rest))
    });
    if let Some((known, rest)) = within.next() {
        return format!("where the name ends before a `-`, write \"${{{known}}}{rest}\"");
    }
    match suggest::help(name, "parameters", known()) {
        Some(help) => format!("{help}; a `$` itself is written `$$`"),
        None => "declare it behind the template's name; a `$` itself is written `$$`".into(),
    }
}
