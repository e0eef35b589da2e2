//! Which node of the old plan a node of the new one is.
//!
//! A node is its name. Those without `as=` are counted in their flow (`flow.track`, `flow.track.2`), so a line that is
//! added or taken out above moves the names below it: among nodes of one kind and flow, those that are the same under
//! another name are found by what they are made of, and only what is left goes by order.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::plan::{NodePlan, Plan, fingerprint};

/// For each node of the new plan the index of the same node in the old one.
pub fn pairs(old: &Plan, new: &Plan) -> Vec<Option<usize>> {
    let (before, after) = (Counted::of(old), Counted::of(new));
    let by_name: HashMap<&str, usize> = old
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (node.name.as_str(), index))
        .collect();
    let mut pairs: Vec<Option<usize>> = new
        .nodes
        .iter()
        .map(|node| by_name.get(node.name.as_str()).copied())
        .collect();
    for (class, now) in &after.classes {
        let Some(was) = before.classes.get(class) else { continue };
        let mut free: Vec<usize> = was.clone();
        let mut waiting: Vec<usize> = now.clone();
        now.iter().for_each(|index| pairs[*index] = None);
        let whole = |node: &NodePlan| node.fingerprint.clone();
        // A name that was counted anew further up is another input; the rest tells as well.
        let alone = |node: &NodePlan| {
            fingerprint::of(&(&node.params, &node.overrides, &node.output, node.on_error, &node.query))
        };
        let name = |node: &NodePlan| node.name.clone();
        let named = |node: &NodePlan| format!("{} {}", node.name, node.fingerprint);
        let keys: [&dyn Fn(&NodePlan) -> String; 4] = [&named, &whole, &alone, &name];
        for key in keys {
            if free.is_empty() || waiting.is_empty() {
                break;
            }
            let mut open: HashMap<String, VecDeque<usize>> = HashMap::new();
            for index in &free {
                open.entry(key(&old.nodes[*index])).or_default().push_back(*index);
            }
            let mut taken = HashSet::new();
            waiting.retain(|index| {
                let same = open.get_mut(&key(&new.nodes[*index])).and_then(VecDeque::pop_front);
                pairs[*index] = same;
                taken.extend(same);
                same.is_none()
            });
            free.retain(|index| !taken.contains(index));
        }
        for (index, was) in waiting.iter().zip(&free) {
            pairs[*index] = Some(*was);
        }
    }
    pairs
}

/// Nodes whose names are counted, by what the count is of, in its order.
struct Counted<'p> {
    classes: BTreeMap<&'p str, Vec<usize>>,
}

impl<'p> Counted<'p> {
    fn of(plan: &'p Plan) -> Self {
        let mut classes: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
        for (index, node) in plan.nodes.iter().enumerate() {
            if let Some((class, number)) = counted(node) {
                classes.entry(class).or_default().push((number, index));
            }
        }
        let in_order = |mut members: Vec<(usize, usize)>| {
            members.sort_unstable();
            members.into_iter().map(|(_, index)| index).collect()
        };
        Counted {
            classes: classes
                .into_iter()
                .map(|(class, members)| (class, in_order(members)))
                .collect(),
        }
    }
}

/// `flow.kind` and the number behind it; none for a node that was given its name. Names that are given have no dots.
fn counted(node: &NodePlan) -> Option<(&str, usize)> {
    let is_kind = |stem: &str| stem.rsplit_once('.').is_some_and(|(_, own)| own == node.kind);
    if is_kind(&node.name) {
        return Some((&node.name, 1));
    }
    let (stem, number) = node.name.rsplit_once('.')?;
    let number = number.parse().ok()?;
    is_kind(stem).then_some((stem, number))
}
