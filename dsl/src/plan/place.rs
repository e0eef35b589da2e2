//! The order of nodes and fragments: everything after what it reads.
//!
//! Fragments are replaced as a whole and meet at taps, so not only nodes but also fragments must not
//! feed each other in a circle.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::points::{Points, Source};
use crate::diagnostic::{Diagnostic, code};
use crate::graph::Reader;
use crate::source::Span;

/// An edge with the place where it is written.
type Edges = BTreeMap<(usize, usize), Span>;

/// Slots in the order in which they are installed, and fragments in theirs; none where there is a circle.
pub fn order(reader: &mut Reader, points: &Points) -> Option<(Vec<usize>, Vec<usize>)> {
    let (mut between_slots, mut between_fragments) = (Edges::new(), Edges::new());
    for (index, slot) in points.slots.iter().enumerate() {
        for (_, source, span) in &slot.inputs {
            if let Some(Source::Slot(from) | Source::Errors(from)) = source {
                between_slots.insert((*from, index), *span);
                let fragments = (points.slots[*from].fragment, slot.fragment);
                if fragments.0 != fragments.1 {
                    between_fragments.entry(fragments).or_insert(*span);
                }
            }
        }
    }
    let slots = match sorted(points.slots.len(), &between_slots) {
        Ok(slots) => slots,
        Err(circle) => {
            let names: Vec<&str> = circle.iter().map(|slot| points.slots[*slot].name.as_str()).collect();
            report(
                reader,
                &names,
                &circle,
                &between_slots,
                "nodes feed each other in a circle",
                "rows flow one way; break the circle at one of these",
            );
            return None;
        }
    };
    let fragments = match sorted(points.fragments.len(), &between_fragments) {
        Ok(fragments) => fragments,
        Err(circle) => {
            let names: Vec<&str> = circle
                .iter()
                .map(|fragment| points.fragments[*fragment].as_str())
                .collect();
            let help = "a flow is installed and replaced as a whole; move what the others read into a flow of its own";
            report(
                reader,
                &names,
                &circle,
                &between_fragments,
                "flows read each other in a circle",
                help,
            );
            return None;
        }
    };
    let mut place = vec![0; fragments.len()];
    for (position, fragment) in fragments.iter().enumerate() {
        place[*fragment] = position;
    }
    let mut slots = slots;
    slots.sort_by_key(|slot| place[points.slots[*slot].fragment]);
    Some((slots, fragments))
}

/// A topological order, by index where there is a choice; or the items of a circle, each feeding the next.
fn sorted(count: usize, edges: &Edges) -> Result<Vec<usize>, Vec<usize>> {
    let mut waiting = vec![0usize; count];
    let mut readers = vec![Vec::new(); count];
    for (from, to) in edges.keys() {
        waiting[*to] += 1;
        readers[*from].push(*to);
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..count).filter(|item| waiting[*item] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(Reverse(item)) = ready.pop() {
        order.push(item);
        for reader in &readers[item] {
            waiting[*reader] -= 1;
            if waiting[*reader] == 0 {
                ready.push(Reverse(*reader));
            }
        }
    }
    if order.len() == count {
        return Ok(order);
    }
    // Every item left has a feeder that is left: walking back must come round.
    let feeder: BTreeMap<usize, usize> = edges
        .keys()
        .filter(|(from, to)| waiting[*from] > 0 && waiting[*to] > 0)
        .map(|(from, to)| (*to, *from))
        .collect();
    let mut walk = vec![*feeder.keys().next().expect("what is left has a feeder")];
    loop {
        let next = feeder[walk.last().expect("the walk has a start")];
        if let Some(start) = walk.iter().position(|item| *item == next) {
            let mut circle = walk.split_off(start);
            circle.reverse();
            return Err(circle);
        }
        walk.push(next);
    }
}

fn report(reader: &mut Reader, names: &[&str], circle: &[usize], edges: &Edges, what: &str, help: &str) {
    let route = names
        .iter()
        .chain(names.first())
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(" -> ");
    let mut diagnostic = Diagnostic::error(code::CYCLE, format!("{what}: {route}")).help(help);
    for (position, to) in circle.iter().enumerate() {
        let from = circle[(position + circle.len() - 1) % circle.len()];
        if let Some(span) = edges.get(&(from, *to)) {
            let before = names[(position + circle.len() - 1) % circle.len()];
            diagnostic = diagnostic.label(*span, format!("`{}` reads `{before}`", names[position]));
        }
    }
    reader.report(diagnostic);
}
