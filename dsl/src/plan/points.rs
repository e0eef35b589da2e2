//! Nodes by name, and what `from=` and port references mean.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, code};
use crate::graph::names::{Names, Thing};
use crate::graph::query::Query;
use crate::graph::step::Step;
use crate::graph::{Graph, Reader};
use crate::port::Role;
use crate::source::{Named, Span};
use crate::suggest;

/// Where a node's rows come from, before nodes have their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The cameras of a group.
    Group(usize),
    /// Another slot's rows.
    Slot(usize),
    /// Another slot's errors.
    Errors(usize),
    /// All errors.
    AllErrors,
}

/// A node to be, in the order of the text.
pub struct Slot<'g, 'a> {
    /// Its name in the plan.
    pub name: String,
    /// Its line.
    pub step: &'g Step<'a>,
    /// Its query, if it is one.
    pub query: Option<&'g Query<'a>>,
    /// Index of its fragment.
    pub fragment: usize,
    /// Its flow, if it stands in one.
    pub flow: Option<usize>,
    /// Inputs by port index: what feeds them and where that is said. None where that is unknown.
    pub inputs: Vec<(usize, Option<Source>, Span)>,
}

/// All nodes to be, and how to find them.
#[derive(Default)]
pub struct Points<'g, 'a> {
    /// In the order of the text: flows, queries, sinks.
    pub slots: Vec<Slot<'g, 'a>>,
    /// Names of the fragments.
    pub fragments: Vec<String>,
    by_name: HashMap<String, usize>,
    /// The last number that a name was given.
    numbers: HashMap<String, usize>,
    /// The last operator of each flow.
    last: Vec<Option<usize>>,
}

impl<'g, 'a> Points<'g, 'a> {
    /// Names all nodes.
    pub fn of(reader: &mut Reader, graph: &'g Graph<'a>, names: &Names) -> Self {
        let mut points = Points::default();
        for (index, flow) in graph.flows.iter().enumerate() {
            points.fragments.push(flow.name.value.clone());
            let slots = points.slots.len();
            for step in &flow.steps {
                points.add(reader, names, &flow.name.value, step, Some(index));
            }
            let operators = |slot: &usize| points.slots[*slot].step.spec.role == Role::Operator;
            let last = (slots..points.slots.len()).rev().find(operators);
            points.last.push(last);
        }
        for query in &graph.queries {
            points.fragments.push(query.name.value.clone());
            let slot = points.slots.len();
            points.by_name.entry(query.name.value.clone()).or_insert(slot);
            points.push(query.name.value.clone(), &query.step, Some(query), None);
        }
        for step in &graph.sinks {
            let block = if step.spec.role == Role::Write {
                "write"
            } else {
                "publish"
            };
            points.fragments.push(String::new());
            points.add(reader, names, block, step, None);
            let name = points.slots.last().map(|slot| slot.name.clone()).unwrap_or_default();
            *points.fragments.last_mut().expect("one was pushed above") = name;
        }
        points
    }

    fn push(&mut self, name: String, step: &'g Step<'a>, query: Option<&'g Query<'a>>, flow: Option<usize>) {
        let fragment = self.fragments.len() - 1;
        self.slots.push(Slot {
            name,
            step,
            query,
            fragment,
            flow,
            inputs: Vec::new(),
        });
    }

    fn add(&mut self, reader: &mut Reader, names: &Names, owner: &str, step: &'g Step<'a>, flow: Option<usize>) {
        let own = step
            .alias
            .as_ref()
            .map_or(step.kind.value.as_str(), |alias| alias.value.as_str());
        let mut name = format!("{owner}.{own}");
        let slot = self.slots.len();
        match (self.by_name.get(&name), &step.alias) {
            (Some(first), Some(alias)) => {
                let first = self.slots[*first].place();
                reader.report(
                    Diagnostic::error(code::DUPLICATE_NAME, format!("there are two points `{name}`"))
                        .label(alias.span, "again")
                        .label(first, "first"),
                );
            }
            (Some(_), None) => {
                // Counted on from the last, or a flow of thousands of one kind would look through all of them each time.
                let number = self.numbers.entry(name.clone()).or_insert(1);
                let mut free = name.clone();
                while self.by_name.contains_key(&free) {
                    *number += 1;
                    free = format!("{name}.{number}");
                }
                name = free;
            }
            (None, Some(alias)) if flow.is_some() => {
                if let Some(thing) = names.get(&alias.value) {
                    reader.report(
                        Diagnostic::error(
                            code::DUPLICATE_NAME,
                            format!("`{}` is already the name of {}", alias.value, thing.noun()),
                        )
                        .label(alias.span, "inside the flow both would be meant"),
                    );
                }
            }
            _ => {}
        }
        self.by_name.entry(name.clone()).or_insert(slot);
        self.push(name, step, None, flow);
    }

    /// The node that a name means, inside a flow or outside.
    fn point(&self, graph: &Graph, names: &Names, name: &str, flow: Option<usize>) -> Option<usize> {
        let local = flow.and_then(|flow| self.by_name.get(&format!("{}.{name}", graph.flows[flow].name.value)));
        let named = local.or_else(|| self.by_name.get(name)).copied();
        named.or_else(|| match names.get(name) {
            Some(Thing::Flow(index)) => self.last[index],
            _ => None,
        })
    }

    /// What a reference means; says so when it means nothing.
    pub fn resolve(
        &self,
        reader: &mut Reader,
        graph: &Graph,
        names: &Names,
        reference: &Named,
        flow: Option<usize>,
    ) -> Option<Source> {
        let text = reference.value.as_str();
        if text == "*.errors" {
            return Some(Source::AllErrors);
        }
        if let Some(slot) = self.point(graph, names, text, flow) {
            if matches!(self.slots[slot].step.spec.role, Role::Write | Role::Publish) {
                reader.report(
                    Diagnostic::error(code::WRONG_ROWS, format!("`{text}` is a sink and emits nothing"))
                        .label(reference.span, "a sink")
                        .help(format!("its errors are `{text}.errors`")),
                );
                return None;
            }
            return Some(Source::Slot(slot));
        }
        match names.get(text) {
            Some(Thing::Group(group)) => return Some(Source::Group(group)),
            Some(thing) => {
                let help = match thing {
                    Thing::Camera(camera) => format!(
                        "flows read groups: `{}`",
                        graph.groups[graph.cameras[camera].group].name.value
                    ),
                    Thing::Flow(_) => "the flow has no operator whose rows could be read".into(),
                    _ => "groups, flows, points of flows and queries emit rows".into(),
                };
                let message = format!("`{text}` is {}, from which nothing can be read", thing.noun());
                reader.report(
                    Diagnostic::error(code::UNKNOWN_NAME, message)
                        .label(reference.span, "not a source of rows")
                        .help(help),
                );
                return None;
            }
            None => {}
        }
        let emitter = text
            .strip_suffix(".errors")
            .and_then(|stem| self.point(graph, names, stem, flow));
        if let Some(slot) = emitter {
            return Some(Source::Errors(slot));
        }
        self.unknown(reader, graph, names, reference, flow);
        None
    }

    /// All names that a node could read, in a flow its own points too.
    fn readable<'p>(&'p self, graph: &Graph, names: &'p Names, flow: Option<usize>) -> Vec<&'p str> {
        let mut known = names.of(|thing| matches!(thing, Thing::Group(_) | Thing::Flow(_) | Thing::Query(_)));
        let operators = self.slots.iter().filter(|slot| slot.step.spec.role == Role::Operator);
        known.extend(operators.map(|slot| slot.name.as_str()));
        if let Some(flow) = flow {
            let prefix = format!("{}.", graph.flows[flow].name.value);
            let own = self.slots.iter().filter(|slot| slot.flow == Some(flow));
            known.extend(own.filter_map(|slot| slot.name.strip_prefix(&prefix)));
        }
        known
    }

    fn unknown(&self, reader: &mut Reader, graph: &Graph, names: &Names, reference: &Named, flow: Option<usize>) {
        let text = reference.value.as_str();
        let known = reader.words(|| self.readable(graph, names, flow));
        let within = text
            .split_once('.')
            .filter(|(head, _)| matches!(names.get(head), Some(Thing::Flow(_))));
        let help = match (suggest::nearest(text, known.iter().copied()), within) {
            (None, Some((head, _))) => {
                let prefix = format!("{head}.");
                let points: Vec<&str> = known.iter().copied().filter(|name| name.starts_with(&prefix)).collect();
                Some(format!("points of `{head}`: {}", points.join(", ")))
            }
            (Some(near), _) => Some(format!("did you mean `{near}`?")),
            (None, None) => suggest::help(text, "sources of rows", known),
        };
        reader.report(
            Diagnostic::error(code::UNKNOWN_NAME, format!("there is nothing named `{text}`"))
                .label(reference.span, "unknown")
                .maybe_help(help),
        );
    }
}

impl Slot<'_, '_> {
    /// Where it stands: the name that it was given, else its kind.
    pub fn place(&self) -> Span {
        match (&self.query, &self.step.alias) {
            (Some(query), _) => query.name.span,
            (None, Some(alias)) => alias.span,
            (None, None) => self.step.kind.span,
        }
    }
}
