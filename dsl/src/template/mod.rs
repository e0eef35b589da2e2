//! `define NAME PARAMETER... PARAMETER=DEFAULT... { LINES }` and `use NAME as=FLOW from=REF PARAMETER=VALUE...`
//!
//! A template is the lines of a flow with places for values. It is written out before anything is checked, so what
//! comes of it is a graph like any other, and a finding in it has two places: the line of the template, and where it
//! is used. At top level `use` makes a flow; in a flow, and in another template, its lines stand in its place.

mod define;
mod fill;
mod places;

use std::collections::{BTreeMap, HashSet};

use crate::diagnostic::{Diagnostic, Diagnostics, code};
use crate::document::{Entry, Literal, Node, Property};
use crate::graph::Reader;
use crate::source::{MAX_BYTES, Named, SourceFile, Span};
use crate::suggest;

use define::Define;
use fill::Values;

pub use places::{GIVEN, Places};

/// Templates inside one another.
const DEEPEST: usize = 8;

/// A document with its templates written out.
pub struct Expanded {
    /// The nodes, without `define` and `use`.
    pub nodes: Vec<Node>,
    /// The text with a copy of each template behind it for each use, so that every place says which use it is of.
    pub source: SourceFile,
    /// From those places to the ones that people see.
    pub places: Places,
    /// What is probably not meant.
    pub warnings: Diagnostics,
}

/// Writes out all templates of a document.
///
/// # Errors
/// All that is wrong with `define` and `use`, with its places in the text itself.
pub fn expand(nodes: Vec<Node>, reader: Reader<'_>) -> Result<Expanded, Diagnostics> {
    let mut expand = Expand {
        source: reader.source.clone(),
        room: MAX_BYTES,
        reader,
        defines: BTreeMap::new(),
        places: Places::default(),
        used: Vec::new(),
    };
    let (defines, rest): (Vec<Node>, Vec<Node>) = nodes.into_iter().partition(|node| node.name.value == "define");
    for node in &defines {
        expand.define(node);
    }
    let mut written = Vec::with_capacity(rest.len());
    for node in rest {
        match node.name.value.as_str() {
            "use" => written.extend(expand.flow(&node)),
            "flow" => written.push(expand.inside(node)),
            _ => written.push(node),
        }
    }
    let found = expand.places.shown(expand.reader.diagnostics);
    if found.has_errors() {
        return Err(found.sorted());
    }
    Ok(Expanded {
        nodes: written,
        source: expand.source,
        places: expand.places,
        warnings: found,
    })
}

/// Where a `use` stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    AtTopLevel,
    InFlow,
}

struct Expand<'a> {
    /// For findings and names.
    reader: Reader<'a>,
    source: SourceFile,
    /// How much text may still be written.
    room: usize,
    defines: BTreeMap<String, Define>,
    places: Places,
    /// The templates being written, outermost first.
    used: Vec<String>,
}

impl Expand<'_> {
    fn report(&mut self, finding: Diagnostic) {
        self.reader.report(finding);
    }

    fn define(&mut self, node: &Node) {
        let Some(define) = Define::read(&mut self.reader, node) else {
            return;
        };
        let Named { value: name, span } = define.name.clone();
        match self.defines.get(&name) {
            Some(first) => {
                let first = first.name.span;
                self.report(
                    Diagnostic::error(code::DUPLICATE_NAME, format!("there are two templates `{name}`"))
                        .label(span, "again")
                        .label(first, "first"),
                );
            }
            None => {
                self.defines.insert(name, define);
            }
        }
    }

    /// A `use` at top level: a flow.
    fn flow(&mut self, node: &Node) -> Option<Node> {
        let usage = "write `use TEMPLATE as=FLOW from=GROUP NAME=VALUE ...`";
        if node.args.is_empty() {
            return self.name_of(node).and(None);
        }
        let Some(name) = node.prop("as") else {
            self.report(
                Diagnostic::error(code::MISSING_NAME, "a flow that is made of a template has no name")
                    .label(node.span, "without `as=`")
                    .help(usage),
            );
            return None;
        };
        let children = self.lines(node, Stands::AtTopLevel)?;
        let from = node.prop("from").cloned();
        Some(Node {
            name: Named::new("flow".into(), node.name.span),
            args: vec![name.entry.clone()],
            props: from.into_iter().collect(),
            children,
            span: node.span,
        })
    }

    /// The lines of a flow with those of templates in their places.
    fn inside(&mut self, mut flow: Node) -> Node {
        flow.children = self.lines_of(std::mem::take(&mut flow.children));
        flow
    }

    fn lines_of(&mut self, nodes: Vec<Node>) -> Vec<Node> {
        let mut lines = Vec::with_capacity(nodes.len());
        for node in nodes {
            if node.name.value != "use" {
                lines.push(node);
                continue;
            }
            let mut written = self.lines(&node, Stands::InFlow).unwrap_or_default();
            if let (Some(from), Some(first)) = (node.prop("from"), written.first_mut()) {
                match first.prop("from").map(|own| own.name.span) {
                    Some(own) => self.reader.given_twice("from", from.name.span, own),
                    None => first.props.push(from.clone()),
                }
            }
            lines.extend(written);
        }
        lines
    }

    /// The lines that one `use` stands for; none where it cannot be written out, which is reported.
    fn lines(&mut self, node: &Node, stands: Stands) -> Option<Vec<Node>> {
        let name = self.name_of(node)?;
        let define = self.template(&name)?;
        let values = self.values(node, &define, stands)?;
        if self.used.contains(&name.value) || self.used.len() >= DEEPEST {
            let message = if self.used.contains(&name.value) {
                format!("the template `{}` uses itself", name.value)
            } else {
                format!("templates use each other more than {DEEPEST} deep")
            };
            self.report(Diagnostic::error(code::TEMPLATE, message).label(name.span, "used here"));
            return None;
        }
        if define.body.len() > self.room {
            // Said once: what follows would not fit either.
            if self.room > 0 {
                let message = format!("templates written out take more than {MAX_BYTES} bytes");
                self.report(
                    Diagnostic::error(code::TEMPLATE, message)
                        .label(name.span, "no room for this one")
                        .help("use fewer, or let one flow read a group of many cameras"),
                );
            }
            self.room = 0;
            return None;
        }
        self.room -= define.body.len();
        let start = self.source.copy(define.body);
        self.places.used(start, define.body, name.span);
        let moved = |span: Span| {
            let start = span.start - define.body.start + start;
            Span::new(start, start + span.len())
        };
        let lines = define
            .lines
            .iter()
            .map(|line| values.fill(line, &moved, &mut self.places))
            .collect();
        self.used.push(name.value);
        let lines = self.lines_of(lines);
        self.used.pop();
        Some(lines)
    }

    fn name_of(&mut self, node: &Node) -> Option<Named> {
        self.reader.no_children(node);
        self.reader.no_more_arguments(node, 1);
        let Some(name) = node.args.first().and_then(Entry::text) else {
            let span = node.args.first().map_or(node.name.span, |entry| entry.span);
            self.report(
                Diagnostic::error(code::MISSING_NAME, "`use` names a template")
                    .label(span, "no template")
                    .help("write `use TEMPLATE NAME=VALUE ...`, and what it stands for with `define TEMPLATE`"),
            );
            return None;
        };
        Some(Named::new(name.to_owned(), node.args[0].span))
    }

    fn template(&mut self, name: &Named) -> Option<Define> {
        let define = self.defines.get(&name.value).cloned();
        if define.is_none() {
            let known = self.defines.keys().map(String::as_str);
            let help = suggest::help(&name.value, "templates", known);
            let help = help.or_else(|| Some(format!("write it: `define {} {{ ... }}`", name.value)));
            self.report(
                Diagnostic::error(code::UNKNOWN_NAME, format!("there is no template `{}`", name.value))
                    .label(name.span, "unknown")
                    .maybe_help(help),
            );
        }
        define
    }

    /// The values of a template's parameters: those given, else its defaults.
    fn values(&mut self, node: &Node, define: &Define, stands: Stands) -> Option<Values> {
        let before = self.reader.diagnostics.len();
        let mut values = Values::default();
        let known: Vec<&str> = define.params.iter().map(|param| param.name.value.as_str()).collect();
        let mut given = HashSet::new();
        for Property { name, entry } in &node.props {
            let word = name.value.as_str();
            given.insert(word);
            if known.contains(&word) || (word == "as" && define.reads_as) {
                values.insert(word, entry, &self.source, false);
            } else if word == "as" && stands == Stands::InFlow {
                self.report(
                    Diagnostic::error(
                        code::UNKNOWN_PARAMETER,
                        format!("nothing in `{}` reads `$as`", define.name.value),
                    )
                    .label(name.span, "names nothing here")
                    .help("points are named by their lines in the template, as in `track as=$as`"),
                );
            } else if word != "as" && word != "from" {
                self.reader.unknown_parameter(name, &define.name.value, &known);
            }
        }
        for param in &define.params {
            let name = param.name.value.as_str();
            match &param.default {
                _ if given.contains(name) => {}
                Some(default) => values.insert(name, default, &self.source, true),
                None => {
                    let finding = Diagnostic::error(
                        code::MISSING_PARAMETER,
                        format!("`{}` needs `{name}`", define.name.value),
                    );
                    let finding = finding
                        .label(node.span, format!("without `{name}=`"))
                        .label(param.name.span, "asked for here");
                    self.report(finding.help(format!("write {name}=VALUE, or give it a default in the template")));
                }
            }
        }
        if define.reads_as && !given.contains("as") {
            self.report(
                Diagnostic::error(code::MISSING_PARAMETER, format!("`{}` reads `$as`", define.name.value))
                    .label(node.span, "without `as=`")
                    .help("write as=NAME"),
            );
        }
        (self.reader.diagnostics.len() == before).then_some(values)
    }
}

/// The text that a value has inside other text.
fn text_of(entry: &Entry, source: &SourceFile) -> String {
    match &entry.value {
        Literal::Text(text) => text.clone(),
        _ => source.slice(entry.span).to_owned(),
    }
}
