//! `query NAME from=REF { where ...; window ...; group-by ...; select ... }`

use std::collections::HashMap;
use std::time::Duration;

use super::step::Step;
use super::{Graph, Reader};
use crate::diagnostic::{Diagnostic, code};
use crate::document::{Entry, Literal, Node, Property};
use crate::port::Role;
use crate::source::{Named, Span, Spanned};
use crate::value::{format_duration, parse_duration};

/// The child nodes of a query.
pub const CHILDREN: [&str; 4] = ["where", "window", "group-by", "select"];
/// Windows that one row may belong to: each is a row of state.
const MAX_OVERLAP: u128 = 3_600;

/// A `query` block; its expressions are typed when the plan knows the columns.
#[derive(Debug)]
pub struct Query<'a> {
    /// Its name.
    pub name: Named,
    /// Its input and parameters.
    pub step: Step<'a>,
    /// `where`.
    pub filter: Option<Entry>,
    /// `window`.
    pub window: Window,
    /// `group-by`: names of columns.
    pub group_by: Vec<Named>,
    /// `select`: names and aggregates.
    pub select: Vec<Property>,
}

/// How event time is cut.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The length.
    pub size: Duration,
    /// The step.
    pub every: Duration,
    /// How long it can be corrected.
    pub retain: Duration,
}

/// What holds when no `retain` is given: a window stays correctable for an hour.
const RETAIN: Duration = Duration::from_secs(3_600);

impl<'a> Reader<'a> {
    /// Reads a `query` block.
    pub fn read_query(&mut self, node: &Node, graph: &mut Graph<'a>) {
        let catalogue = self.catalogue;
        let Some(spec) = catalogue.find(Role::Query, "query") else {
            return self.unknown_node(&node.name, "at top level", &super::TOP_LEVEL);
        };
        let Some(name) = self.declared_name(node, "a query") else {
            return;
        };
        let step = self.read_operator(node, spec, 1);
        if step.from.is_none() && !step.from_given {
            self.report(
                Diagnostic::error(code::NO_INPUT, format!("the query `{}` reads nothing", name.value))
                    .label(node.span, "nothing feeds this")
                    .help("name what it reads: from=FLOW.NODE"),
            );
        }
        let filter = self
            .single(node, "where")
            .and_then(|child| self.only_argument(child))
            .cloned();
        let window = match self.single(node, "window") {
            Some(child) => self.read_window(child),
            None => {
                self.report(
                    Diagnostic::error(
                        code::MISSING_PARAMETER,
                        format!("the query `{}` has no window", name.value),
                    )
                    .label(name.span, "over which time?")
                    .help("add a line `window \"1m\"`"),
                );
                None
            }
        };
        let group_by = self
            .single(node, "group-by")
            .map(|child| self.read_columns(child))
            .unwrap_or_default();
        let select = match self.single(node, "select") {
            Some(child) => self.read_select(child),
            None => {
                self.report(
                    Diagnostic::error(
                        code::MISSING_PARAMETER,
                        format!("the query `{}` selects nothing", name.value),
                    )
                    .label(name.span, "what is counted?")
                    .help("add a line `select n=\"count(*)\"`"),
                );
                Vec::new()
            }
        };
        let whole = Window {
            size: Duration::from_secs(60),
            every: Duration::from_secs(60),
            retain: RETAIN,
        };
        graph.queries.push(Query {
            name,
            step,
            filter,
            window: window.unwrap_or(whole),
            group_by,
            select,
        });
    }

    /// The child of this name; a second one is an error.
    fn single<'n>(&mut self, node: &'n Node, name: &str) -> Option<&'n Node> {
        let mut found = node.children.iter().filter(|child| child.name.value == name);
        let first = found.next()?;
        if let Some(again) = found.next() {
            self.given_twice(name, again.name.span, first.name.span);
        }
        Some(first)
    }

    fn only_argument<'n>(&mut self, node: &'n Node) -> Option<&'n Entry> {
        self.no_more_arguments(node, 1);
        self.no_children(node);
        self.only_properties(node, &[]);
        let first = node.args.first();
        match first.map(|entry| &entry.value) {
            Some(Literal::Text(_)) => return first,
            Some(other) => {
                let message = format!(
                    "`{}` is an expression in quotes, not {}",
                    node.name.value,
                    other.describe()
                );
                self.report(Diagnostic::error(code::WRONG_TYPE, message).label(node.span, "should be text"));
            }
            None => {
                let message = format!("`{}` has no expression", node.name.value);
                self.report(
                    Diagnostic::error(code::MISSING_PARAMETER, message)
                        .label(node.name.span, "should be an expression in quotes"),
                );
            }
        }
        None
    }

    fn read_window(&mut self, node: &Node) -> Option<Window> {
        self.only_properties(node, &["every", "retain"]);
        self.no_children(node);
        self.no_more_arguments(node, 1);
        let size = match node.args.first() {
            Some(entry) => self.duration("window", entry)?,
            None => {
                self.report(
                    Diagnostic::error(code::MISSING_PARAMETER, "`window` has no length")
                        .label(node.name.span, "should be a duration")
                        .help("write `window \"1m\"`"),
                );
                return None;
            }
        };
        let mut property = |name: &str| match node.prop(name) {
            Some(property) => self.duration(name, &property.entry).map(Some),
            None => Some(None),
        };
        let (every, retain) = (property("every")?, property("retain")?);
        if let Some((message, span, help)) = unfit(size, every) {
            self.report(
                Diagnostic::error(code::BAD_WINDOW, message)
                    .label(span, "here")
                    .help(help),
            );
            return None;
        }
        let retain = retain.map_or(RETAIN, |retain| retain.value);
        Some(Window {
            size: size.value,
            every: every.unwrap_or(size).value,
            retain,
        })
    }

    fn duration(&mut self, name: &str, entry: &Entry) -> Option<Spanned<Duration>> {
        let cause = match &entry.value {
            Literal::Text(text) => match parse_duration(text) {
                Ok(value) => return Some(Spanned::new(value, entry.span)),
                Err(cause) => cause,
            },
            other => format!("a duration is text with its unit, not {}", other.describe()),
        };
        self.report(
            Diagnostic::error(code::WRONG_TYPE, format!("`{name}`: {cause}"))
                .label(entry.span, "should be a duration")
                .help("quantities carry their unit, in quotes: \"1m\""),
        );
        None
    }

    fn read_columns(&mut self, node: &Node) -> Vec<Named> {
        self.only_properties(node, &[]);
        self.no_children(node);
        if node.args.is_empty() {
            let message = "`group-by` names no column";
            self.report(
                Diagnostic::error(code::EMPTY, message)
                    .label(node.name.span, "empty")
                    .help("leave it out to count all together"),
            );
        }
        let (mut columns, mut seen) = (Vec::new(), HashMap::new());
        for entry in &node.args {
            let Some(text) = entry.text() else {
                let message = format!("a column is named by a word, not by {}", entry.value.describe());
                self.report(Diagnostic::error(code::WRONG_TYPE, message).label(entry.span, "not a name"));
                continue;
            };
            match seen.insert(text, entry.span) {
                Some(first) => self.given_twice(text, entry.span, first),
                None => columns.push(Named::new(text.to_owned(), entry.span)),
            }
        }
        columns
    }

    fn read_select(&mut self, node: &Node) -> Vec<Property> {
        self.no_children(node);
        if let Some(entry) = node.args.first() {
            self.report(
                Diagnostic::error(code::EXTRA_ARGUMENT, "what is selected needs a name")
                    .label(entry.span, "without a name")
                    .help("write NAME=\"count(*)\""),
            );
        } else if node.props.is_empty() {
            self.report(
                Diagnostic::error(code::EMPTY, "`select` selects nothing")
                    .label(node.name.span, "empty")
                    .help("write NAME=\"count(*)\""),
            );
        }
        let mut select = Vec::new();
        for property in &node.props {
            match property.entry.value {
                Literal::Text(_) => select.push(property.clone()),
                ref other => {
                    let message = format!(
                        "`{}` is an aggregate in quotes, not {}",
                        property.name.value,
                        other.describe()
                    );
                    self.report(
                        Diagnostic::error(code::WRONG_TYPE, message).label(property.entry.span, "should be text"),
                    );
                }
            }
        }
        select
    }
}

/// What is wrong with a window.
fn unfit(size: Spanned<Duration>, every: Option<Spanned<Duration>>) -> Option<(String, Span, &'static str)> {
    let zero = [Some(size), every]
        .into_iter()
        .flatten()
        .find(|span| span.value.is_zero());
    if let Some(zero) = zero {
        return Some((
            "a window cannot be empty".into(),
            zero.span,
            "write a duration longer than zero",
        ));
    }
    let every = every?;
    let (length, step) = (size.value.as_nanos(), every.value.as_nanos());
    let (long, short) = (format_duration(size.value), format_duration(every.value));
    if step > length {
        let message = format!("windows of {long} every {short} would leave gaps between them");
        return Some((message, every.span, "`every` is at most as long as the window"));
    }
    if !length.is_multiple_of(step) {
        let message = format!("{long} is no multiple of {short}");
        return Some((
            message,
            every.span,
            "windows share their parts: let `every` divide the window",
        ));
    }
    if length / step > MAX_OVERLAP {
        let message = format!("every row would be in {} windows", length / step);
        return Some((message, every.span, "at most 3600: let `every` be longer"));
    }
    None
}
