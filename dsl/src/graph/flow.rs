//! `flow NAME from=REF { KIND ...; KIND ... }`

use super::step::Step;
use super::{Graph, Reader};
use crate::diagnostic::{Diagnostic, code};
use crate::document::Node;
use crate::port::Role;
use crate::source::Named;

/// A `flow` block.
#[derive(Debug)]
pub struct Flow<'a> {
    /// Its name.
    pub name: Named,
    /// What its first line reads.
    pub from: Option<Named>,
    /// Whether there is a `from=`, even one that names nothing.
    pub from_given: bool,
    /// Its lines, sinks included.
    pub steps: Vec<Step<'a>>,
}

impl<'a> Reader<'a> {
    /// Reads a `flow` block.
    pub fn read_flow(&mut self, node: &Node, graph: &mut Graph<'a>) {
        self.only_properties(node, &["from"]);
        self.no_more_arguments(node, 1);
        let name = self
            .declared_name(node, "a flow")
            .unwrap_or_else(|| Named::new(String::new(), node.name.span));
        let from = self.name_property(node, "from");
        let mut steps = Vec::new();
        for child in &node.children {
            match child.name.value.as_str() {
                "write" => self.read_sink_block(child, Role::Write, &mut steps),
                "publish" => self.read_sink_block(child, Role::Publish, &mut steps),
                _ => steps.extend(self.read_step(child, Role::Operator, "in a flow", &["write", "publish", "use"])),
            }
        }
        if node.children.is_empty() {
            self.report(
                Diagnostic::error(code::EMPTY, format!("the flow `{}` does nothing", name.value))
                    .label(name.span, "empty"),
            );
        }
        graph.flows.push(Flow {
            name,
            from,
            from_given: node.prop("from").is_some(),
            steps,
        });
    }
}
