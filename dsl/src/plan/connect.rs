//! What feeds each node: its `from=`, else the line above, else its flow's `from=`.

use super::points::{Points, Source};
use crate::diagnostic::{Diagnostic, code};
use crate::graph::names::Names;
use crate::graph::{Graph, Reader};
use crate::port::Role;
use crate::source::Named;

/// Finds for each node what feeds its inputs.
pub fn connect(reader: &mut Reader, graph: &Graph, names: &Names, points: &mut Points) {
    let mut above: Option<(usize, usize)> = None;
    for index in 0..points.slots.len() {
        let slot = &points.slots[index];
        let (step, flow) = (slot.step, slot.flow);
        let mut inputs = Vec::new();
        let previous = above
            .filter(|(above_flow, _)| Some(*above_flow) == flow)
            .map(|(_, slot)| slot);
        let flow_from = flow.and_then(|flow| graph.flows[flow].from.as_ref());
        if !step.spec.inputs.is_empty() {
            let (source, span) = match (&step.from, previous, flow_from) {
                (Some(from), previous, flow_from) => {
                    let first = flow.is_some_and(|flow| {
                        graph.flows[flow]
                            .steps
                            .first()
                            .is_some_and(|first| std::ptr::eq(first, step))
                    });
                    if let (Some(unread), None, true) = (flow_from, previous, first) {
                        unused(reader, unread, from);
                    }
                    (points.resolve(reader, graph, names, from, flow), from.span)
                }
                (None, _, _) if step.from_given => (None, step.span),
                (None, Some(previous), _) => (Some(Source::Slot(previous)), step.kind.span),
                // A flow's own `from` is read from outside of the flow.
                (None, None, Some(from)) => (points.resolve(reader, graph, names, from, None), from.span),
                (None, None, None) => {
                    if let Some(flow) = flow.filter(|flow| !graph.flows[*flow].from_given) {
                        no_upstream(reader, graph, flow, &step.kind);
                    }
                    (None, step.kind.span)
                }
            };
            inputs.push((0, source, span));
        }
        for (port, reference) in &step.ports {
            inputs.push((
                *port,
                points.resolve(reader, graph, names, reference, flow),
                reference.span,
            ));
        }
        points.slots[index].inputs = inputs;
        if let (Some(flow), Role::Operator) = (flow, step.spec.role) {
            above = Some((flow, index));
        }
    }
}

fn unused(reader: &mut Reader, unread: &Named, instead: &Named) {
    reader.report(
        Diagnostic::warning(code::UNUSED_FROM, format!("nothing reads `{}`", unread.value))
            .label(unread.span, "the flow's")
            .label(instead.span, "its first line reads this instead"),
    );
}

fn no_upstream(reader: &mut Reader, graph: &Graph, flow: usize, kind: &Named) {
    let groups: Vec<&str> = graph.groups.iter().map(|group| group.name.value.as_str()).collect();
    let help = match groups.as_slice() {
        [] => "write `flow NAME from=GROUP`".to_owned(),
        groups => format!("write `flow {} from={}`", graph.flows[flow].name.value, groups[0]),
    };
    reader.report(
        Diagnostic::error(code::NO_INPUT, format!("`{}` reads nothing", kind.value))
            .label(kind.span, "nothing feeds this")
            .help(help),
    );
}
