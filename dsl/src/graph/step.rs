//! One line of a flow, `write` or `publish` block: an operator with its parameters and inputs.

use std::collections::HashMap;

use super::Reader;
use super::given::{Given, Other};
use crate::diagnostic::{Diagnostic, code};
use crate::document::{Entry, Node};
use crate::plan::{Align, OnError};
use crate::port::{OperatorSpec, Role};
use crate::source::{Named, Span, Spanned};
use crate::suggest;

/// An operator as it stands in the text.
#[derive(Debug)]
pub struct Step<'a> {
    /// Its kind.
    pub kind: Named,
    /// What the catalogue says of it.
    pub spec: &'a OperatorSpec,
    /// `as=`.
    pub alias: Option<Named>,
    /// `from=`.
    pub from: Option<Named>,
    /// Whether there is a `from=`, even one that names nothing.
    pub from_given: bool,
    /// Further inputs: the port's index and what it reads.
    pub ports: Vec<(usize, Named)>,
    /// `align=`.
    pub align: Option<Spanned<Align>>,
    /// `on-error=`.
    pub on_error: OnError,
    /// Its parameters.
    pub given: Given,
    /// `for CAMERA` children.
    pub overrides: Vec<Override>,
    /// From its kind to its last argument or property.
    pub span: Span,
}

/// What differs for one camera.
#[derive(Debug)]
pub struct Override {
    /// The camera.
    pub camera: Named,
    /// The parameters that differ.
    pub given: Given,
}

impl<'a> Reader<'a> {
    /// Reads a line. `others` are further words that could stand there.
    pub fn read_step(&mut self, node: &Node, role: Role, place: &str, others: &[&str]) -> Option<Step<'a>> {
        let catalogue = self.catalogue;
        let Some(spec) = catalogue.find(role, &node.name.value) else {
            let mut kinds = self.kinds(role);
            kinds.extend(others);
            self.unknown_node(&node.name, place, &kinds);
            return None;
        };
        Some(self.read_operator(node, spec, 0))
    }

    /// Reads a node of a known operator; `args` arguments belong to something else.
    pub fn read_operator(&mut self, node: &Node, spec: &'a OperatorSpec, args: usize) -> Step<'a> {
        let further: Vec<&str> = spec.inputs.iter().skip(1).map(|port| port.name.as_str()).collect();
        let query = spec.role == Role::Query;
        let mut props = vec!["from", "on-error"];
        let mut children: Vec<&str> = Vec::new();
        if query {
            children.extend(super::query::CHILDREN);
        } else {
            props.push("as");
        }
        if !further.is_empty() {
            props.push("align");
        }
        props.extend(&further);
        if spec.role == Role::Operator {
            children.push("for");
        }
        let given = self.given(
            node,
            &[&spec.params],
            Other {
                args,
                props: &props,
                children: &children,
            },
        );
        let alias = if query { None } else { self.name_property(node, "as") };
        let alias = alias.filter(|alias| self.check_name(alias, "a point of a flow"));
        let mut ports = Vec::new();
        for (index, port) in spec.inputs.iter().enumerate().skip(1) {
            match self.name_property(node, &port.name) {
                Some(reference) => ports.push((index, reference)),
                None if node.prop(&port.name).is_some() || !port.required => {}
                None => self.report(
                    Diagnostic::error(code::NO_INPUT, format!("`{}` needs `{}`", node.name.value, port.name))
                        .label(node.span, "one of its inputs is missing")
                        .help(format!("name what it reads: {}=FLOW.NODE", port.name)),
                ),
            }
        }
        let align = if further.is_empty() {
            None
        } else {
            self.word(node, "align", &[("frame", Align::Frame), ("latest", Align::Latest)])
        };
        let policies = [
            ("skip", OnError::Skip),
            ("restart", OnError::Restart),
            ("stop", OnError::Stop),
        ];
        let on_error = self
            .word(node, "on-error", &policies)
            .map(|word| word.value)
            .unwrap_or_default();
        let from = self.name_property(node, "from");
        let overrides = if spec.role == Role::Operator {
            self.read_overrides(node, spec)
        } else {
            Vec::new()
        };
        Step {
            kind: node.name.clone(),
            spec,
            alias,
            from,
            from_given: node.prop("from").is_some(),
            ports,
            align,
            on_error,
            given,
            overrides,
            span: node.span,
        }
    }

    fn read_overrides(&mut self, node: &Node, spec: &OperatorSpec) -> Vec<Override> {
        let (mut overrides, mut seen) = (Vec::new(), HashMap::new());
        for child in node.children.iter().filter(|child| child.name.value == "for") {
            let Some(camera) = child.args.first().and_then(Entry::text) else {
                let span = child.args.first().map_or(child.name.span, |entry| entry.span);
                self.report(
                    Diagnostic::error(code::MISSING_NAME, "`for` names a camera")
                        .label(span, "no camera")
                        .help("write `for CAMERA NAME=VALUE ...`"),
                );
                continue;
            };
            let camera = Named::new(camera.to_owned(), child.args[0].span);
            self.no_more_arguments(child, 1);
            let given = self.given(
                child,
                &[&spec.params],
                Other {
                    args: child.args.len(),
                    ..Other::default()
                },
            );
            match seen.insert(camera.value.clone(), camera.span) {
                Some(first) => self.given_twice(&format!("for {}", camera.value), camera.span, first),
                None => overrides.push(Override { camera, given }),
            }
        }
        overrides
    }

    /// A property that is one of a few words.
    fn word<T: Copy>(&mut self, node: &Node, name: &str, words: &[(&str, T)]) -> Option<Spanned<T>> {
        let written = self.name_property(node, name)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == written.value) {
            return Some(Spanned::new(*value, written.span));
        }
        self.report(
            Diagnostic::error(
                code::UNKNOWN_CHOICE,
                format!("`{}` is no choice for `{name}`", written.value),
            )
            .label(written.span, "unknown")
            .maybe_help(suggest::help(
                &written.value,
                "choices",
                words.iter().map(|(word, _)| *word),
            )),
        );
        None
    }
}
