//! `write { KIND ... }` and `publish { KIND ... }`, at top level and in flows.

use super::step::Step;
use super::{Graph, Reader};
use crate::diagnostic::{Diagnostic, code};
use crate::document::Node;
use crate::port::Role;

impl<'a> Reader<'a> {
    /// Reads a block of sinks at top level, where each names what it reads.
    pub fn read_sinks(&mut self, node: &Node, role: Role, graph: &mut Graph<'a>) {
        let mut steps = Vec::new();
        self.read_sink_block(node, role, &mut steps);
        for step in &steps {
            if step.from.is_none() && !step.from_given {
                self.report(
                    Diagnostic::error(code::NO_INPUT, format!("`{}` reads nothing", step.kind.value))
                        .label(step.kind.span, "nothing feeds this")
                        .help("name what it reads: from=FLOW, from=FLOW.NODE or from=\"*.errors\""),
                );
            }
        }
        graph.sinks.extend(steps);
    }

    /// Reads the lines of a block of sinks.
    pub fn read_sink_block(&mut self, node: &Node, role: Role, steps: &mut Vec<Step<'a>>) {
        let block = node.name.value.as_str();
        self.only_properties(node, &[]);
        self.no_more_arguments(node, 0);
        if node.children.is_empty() {
            self.report(
                Diagnostic::error(code::EMPTY, format!("`{block}` has no lines")).label(node.name.span, "empty"),
            );
        }
        for child in &node.children {
            steps.extend(self.read_step(child, role, &format!("in `{block}`"), &[]));
        }
    }
}
