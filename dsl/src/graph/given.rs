//! The parameters that a node was given, and their completion by defaults.

use std::collections::BTreeMap;

use super::{Reader, values};
use crate::diagnostic::{Diagnostic, code};
use crate::document::{Entry, Node, Property};
use crate::params::{ParamSpec, ParamValues, ParamsSchema};
use crate::source::{Span, Spanned};
use crate::value::Value;

/// Parameters as given, each with its place; all of their types and in range.
#[derive(Clone, Debug, Default)]
pub struct Given(pub BTreeMap<String, Spanned<Value>>);

impl Given {
    /// Where each stands.
    pub fn spans(&self) -> BTreeMap<String, Span> {
        self.0.iter().map(|(name, value)| (name.clone(), value.span)).collect()
    }
}

/// What of a node is not a parameter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Other<'s> {
    /// Arguments before the first parameter: a name.
    pub args: usize,
    /// Properties.
    pub props: &'s [&'s str],
    /// Child nodes.
    pub children: &'s [&'s str],
}

/// The parameter of this name in the first schema that has it.
pub fn find<'s>(schemas: &[&'s ParamsSchema], name: &str) -> Option<&'s ParamSpec> {
    schemas.iter().find_map(|schema| schema.get(name))
}

impl Reader<'_> {
    /// Reads a node's arguments, properties and children as parameters; arguments go to the first schema's.
    pub fn given(&mut self, node: &Node, schemas: &[&ParamsSchema], other: Other) -> Given {
        let mut given = Given::default();
        self.arguments(node, schemas, other.args, &mut given);
        let props = node
            .props
            .iter()
            .filter(|property| !other.props.contains(&property.name.value.as_str()));
        for property in props {
            self.property(property, &node.name.value, schemas, other, &mut given);
        }
        for child in node
            .children
            .iter()
            .filter(|child| !other.children.contains(&child.name.value.as_str()))
        {
            self.child(child, node, schemas, other, &mut given);
        }
        given
    }

    fn arguments(&mut self, node: &Node, schemas: &[&ParamsSchema], skip: usize, given: &mut Given) {
        let mut places = schemas
            .first()
            .into_iter()
            .flat_map(|schema| &schema.params)
            .filter(|spec| spec.positional);
        for entry in node.args.iter().skip(skip) {
            match places.next() {
                Some(spec) => self.give(spec, values::read(spec, entry), entry.span, given),
                None => {
                    let all: Vec<_> = schemas.first().into_iter().flat_map(|schema| &schema.params).collect();
                    let takes = all
                        .iter()
                        .filter(|spec| spec.positional)
                        .map(|spec| spec.name.to_uppercase());
                    let before = ["NAME", "PATH"].into_iter().take(skip).map(str::to_owned);
                    let usage: Vec<_> = std::iter::once(node.name.value.clone())
                        .chain(before)
                        .chain(takes)
                        .collect();
                    return self.report(
                        Diagnostic::error(
                            code::EXTRA_ARGUMENT,
                            format!("`{}` has no place for this argument", node.name.value),
                        )
                        .label(entry.span, "one too many")
                        .help(format!(
                            "its arguments: `{}`; other parameters are written NAME=VALUE",
                            usage.join(" ")
                        )),
                    );
                }
            }
        }
    }

    /// Reads one property into `given`.
    pub(super) fn property(
        &mut self,
        property: &Property,
        owner: &str,
        schemas: &[&ParamsSchema],
        other: Other,
        given: &mut Given,
    ) {
        match find(schemas, &property.name.value) {
            Some(spec) => self.give(spec, values::read(spec, &property.entry), property.entry.span, given),
            None => self.unknown_parameter(&property.name, owner, &words(schemas, other.props)),
        }
    }

    fn child(&mut self, child: &Node, node: &Node, schemas: &[&ParamsSchema], other: Other, given: &mut Given) {
        let Some(spec) = find(schemas, &child.name.value) else {
            if !child.props.is_empty() && schemas.iter().any(|schema| is_group(schema, &child.name.value)) {
                return self.group(child, schemas, given);
            }
            return self.unknown_parameter(&child.name, &node.name.value, &words(schemas, other.children));
        };
        if let Some(property) = child.props.first() {
            return self.report(
                Diagnostic::error(
                    code::UNKNOWN_PARAMETER,
                    format!("`{}` is a parameter and has none itself", spec.name),
                )
                .label(property.name.span, "cannot stand here"),
            );
        }
        self.no_children(child);
        if child.args.is_empty() {
            return self.report(
                Diagnostic::error(code::MISSING_PARAMETER, format!("`{}` has no value", spec.name))
                    .label(child.name.span, format!("should be {}", values::noun(&spec.ty))),
            );
        }
        self.give(
            spec,
            values::read_arguments(spec, &child.args),
            all_of(&child.args),
            given,
        );
    }

    /// A child whose properties are parameters that begin with its name: `floor images="x"` is `floor-images="x"`.
    fn group(&mut self, child: &Node, schemas: &[&ParamsSchema], given: &mut Given) {
        let name = &child.name.value;
        self.no_children(child);
        if let Some(entry) = child.args.first() {
            self.report(
                Diagnostic::error(code::EXTRA_ARGUMENT, format!("`{name}` has no place for this argument"))
                    .label(entry.span, "one too many")
                    .help("its parameters are written NAME=VALUE"),
            );
        }
        for property in &child.props {
            match find(schemas, &format!("{name}-{}", property.name.value)) {
                Some(spec) => self.give(spec, values::read(spec, &property.entry), property.entry.span, given),
                None => {
                    let all = words(schemas, &[]);
                    let of_group = all
                        .iter()
                        .filter_map(|word| word.strip_prefix(name.as_str())?.strip_prefix('-'));
                    self.unknown_parameter(&property.name, name, &of_group.collect::<Vec<_>>());
                }
            }
        }
    }

    fn give(&mut self, spec: &ParamSpec, value: Result<Value, Diagnostic>, span: Span, given: &mut Given) {
        if let Some(first) = given.0.get(&spec.name).map(|first| first.span) {
            return self.given_twice(&spec.name, span, first);
        }
        match value {
            Ok(value) => {
                given.0.insert(spec.name.clone(), Spanned::new(value, span));
            }
            Err(diagnostic) => {
                self.report(diagnostic);
                // Remembered without a value, so that it is not reported as missing too.
                given.0.insert(spec.name.clone(), Spanned::new(placeholder(spec), span));
            }
        }
    }

    /// The values of a schema: the last layer that has one, else the default.
    pub fn complete(&mut self, schema: &ParamsSchema, layers: &[&Given], owner: &str, span: Span) -> ParamValues {
        let mut complete = ParamValues::new();
        for spec in &schema.params {
            let given = layers
                .iter()
                .rev()
                .find_map(|layer| layer.0.get(&spec.name))
                .map(|given| &given.value);
            match given.or(spec.default.as_ref()) {
                Some(value) => {
                    complete.insert(spec.name.clone(), value.clone());
                }
                None if spec.optional => {}
                None => {
                    let help = match spec.positional {
                        true => format!("it is an argument: {}", first_line(&spec.doc)),
                        false => format!("write {}=...: {}", spec.name, first_line(&spec.doc)),
                    };
                    self.report(
                        Diagnostic::error(code::MISSING_PARAMETER, format!("`{owner}` needs `{}`", spec.name))
                            .label(span, format!("without {}", values::noun(&spec.ty)))
                            .help(help),
                    );
                }
            }
        }
        complete
    }
}

/// Whether several parameters of a schema begin with this name.
fn is_group(schema: &ParamsSchema, name: &str) -> bool {
    let begins = |known: &str| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    schema.params.iter().filter(|spec| begins(&spec.name)).count() > 1
}

fn first_line(doc: &str) -> &str {
    doc.lines().next().unwrap_or_default()
}

fn placeholder(spec: &ParamSpec) -> Value {
    spec.default.clone().unwrap_or(Value::Bool(false))
}

fn all_of(entries: &[Entry]) -> Span {
    let spans = entries.iter().map(|entry| entry.span);
    spans.reduce(Span::to).unwrap_or_default()
}

fn words<'s>(schemas: &[&'s ParamsSchema], others: &[&'s str]) -> Vec<&'s str> {
    let params = schemas
        .iter()
        .flat_map(|schema| &schema.params)
        .map(|spec| spec.name.as_str());
    params.chain(others.iter().copied()).collect()
}
