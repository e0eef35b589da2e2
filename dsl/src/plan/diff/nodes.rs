//! Operators, queries and sinks.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::parts::{Zones, few, models_named, zone_moved};
use super::{Action, PartChange, PartKind, Verdict, pairs, params, whole};
use crate::params::{Change, ParamType, ParamValues, ParamsSchema, RefKind};
use crate::plan::references::{models_of, named_by};
use crate::plan::{Align, NodePlan, OnError, Origin, Plan};
use crate::port::{Catalogue, Role, RowKind};
use crate::value::Value;

/// Nodes in the topological order of the new plan.
pub fn nodes(old: &Plan, new: &Plan, catalogue: &dyn Catalogue) -> Vec<PartChange> {
    let pairs = pairs::pairs(old, new);
    let kept: HashSet<usize> = pairs.iter().flatten().copied().collect();
    // What a node of the new plan was called: an input counted anew is the same input.
    let called: HashMap<&str, &str> = new
        .nodes
        .iter()
        .zip(&pairs)
        .filter_map(|(node, pair)| Some((node.name.as_str(), old.nodes[(*pair)?].name.as_str())))
        .collect();
    let compare = Compare {
        old,
        new,
        catalogue,
        zones: (Zones::of(old), Zones::of(new)),
        called,
    };
    let there = new.nodes.iter().zip(&pairs).map(|(node, pair)| match pair {
        Some(before) => compare.change(&old.nodes[*before], node),
        None => whole(PartKind::Node, &node.name, Action::Added),
    });
    let gone = old.nodes.iter().enumerate().filter(|(index, _)| !kept.contains(index));
    let gone = gone.map(|(_, node)| {
        let mut removed = whole(PartKind::Node, &node.name, Action::Removed);
        removed.why.extend(ending(node, catalogue));
        removed
    });
    there.chain(gone).collect()
}

struct Compare<'p> {
    old: &'p Plan,
    new: &'p Plan,
    catalogue: &'p dyn Catalogue,
    zones: (Zones<'p>, Zones<'p>),
    called: HashMap<&'p str, &'p str>,
}

impl Compare<'_> {
    fn change(&self, old: &NodePlan, new: &NodePlan) -> PartChange {
        let mut verdict = Verdict::default();
        if (&old.kind, old.role) != (&new.kind, new.role) {
            let cause = format!("it is `{}` now, was `{}`", new.kind, old.kind);
            verdict.note(Action::Reset, cause);
        } else {
            self.params(&mut verdict, old, new);
        }
        rows(&mut verdict, old, new);
        self.inputs(&mut verdict, old, new);
        self.cameras(&mut verdict, old, new);
        if old.on_error != new.on_error {
            let (now, was) = (policy(new.on_error), policy(old.on_error));
            verdict.note(Action::Rebuilt, format!("`on-error` is now {now}, was {was}"));
        }
        // What a fingerprint holds and nothing above has named. Those of renamed inputs differ by that alone.
        let renamed = new.inputs.iter().any(|input| {
            let now = origin(self.new, &input.origin);
            self.before(&input.origin) != now
        });
        if verdict.action() == Action::Kept && !renamed && old.fingerprint != new.fingerprint {
            verdict.note(Action::Rebuilt, "it changed");
        }
        if verdict.action() >= Action::Rebuilt {
            verdict
                .causes
                .extend(ending(old, self.catalogue).map(|cause| (Action::Kept, cause)));
        }
        let mut change = verdict.into_change(PartKind::Node, &new.name);
        if old.name != new.name {
            change.why.push(format!("its name was `{}`", old.name));
            change.renamed_from = Some(old.name.clone());
        }
        change
    }

    fn params(&self, verdict: &mut Verdict, old: &NodePlan, new: &NodePlan) {
        let schema = self.catalogue.find(new.role, &new.kind).map(|spec| &spec.params);
        let common = differing_for_all(verdict, schema, old, new);
        for camera in self.shared_cameras(old, new) {
            let (Some((was, now)), place) = (of_camera(old, new, camera), format!(" for {camera}")) else {
                continue;
            };
            let own = params::differing(was, now).into_iter().filter(|name| {
                let as_all = common.contains(name)
                    && (was.get(*name), now.get(*name)) == (old.params.get(*name), new.params.get(*name));
                !as_all
            });
            let pick = |values: &ParamValues, names: &[&str]| -> ParamValues {
                let picked = names.iter().filter_map(|name| values.get_key_value(*name));
                picked.map(|(name, value)| (name.clone(), value.clone())).collect()
            };
            let names: Vec<&str> = own.collect();
            params::compare(verdict, schema, &pick(was, &names), &pick(now, &names), &place);
        }
        let Some(schema) = schema else { return };
        self.models(verdict, schema, old, new);
        self.zones(verdict, schema, old, new);
    }

    /// Cameras that a node answers for in both plans and that have parameters of their own in one.
    fn shared_cameras<'n>(&self, old: &'n NodePlan, new: &'n NodePlan) -> BTreeSet<&'n str> {
        if old.overrides.is_empty() && new.overrides.is_empty() {
            return BTreeSet::new();
        }
        let (was, now) = (camera_names(self.old, old), camera_names(self.new, new));
        let own = old.overrides.keys().chain(new.overrides.keys()).map(String::as_str);
        own.filter(|camera| was.contains(camera) && now.contains(camera))
            .collect()
    }

    /// A detector's answers mean something else with another model, so nothing of before may be mixed with them.
    fn models(&self, verdict: &mut Verdict, schema: &ParamsSchema, old: &NodePlan, new: &NodePlan) {
        let was = models_named(self.old, models_of(schema, all_params(old)));
        let now = models_named(self.new, models_of(schema, all_params(new)));
        // One that nodes take in place computes none of their rows.
        let takes_in_place = |name: &str| {
            let named = schema.params.iter().filter(|spec| spec.change != Change::Live);
            let computing: Vec<&str> = named.map(|spec| spec.name.as_str()).collect();
            let of = |values: &ParamValues| {
                let values = values.iter().filter(|(param, _)| computing.contains(&param.as_str()));
                values
                    .map(|(param, value)| (param.clone(), value.clone()))
                    .collect::<ParamValues>()
            };
            let all: Vec<ParamValues> = all_params(new).map(of).collect();
            !models_of(schema, all.iter()).contains(name)
        };
        for (name, model) in &now {
            match was.get(name) {
                Some(before) if before == model => {}
                Some(_) if takes_in_place(name) => verdict.note(Action::Live, format!("model `{name}` changed")),
                None if takes_in_place(name) => {}
                Some(_) => verdict.note(Action::Reset, format!("model `{name}` changed: a new detector epoch")),
                None if was.values().any(|before| before == model) => {}
                None => verdict.note(
                    Action::Reset,
                    format!("model `{name}` is another one: a new detector epoch"),
                ),
            }
        }
    }

    fn zones(&self, verdict: &mut Verdict, schema: &ParamsSchema, old: &NodePlan, new: &NodePlan) {
        let is_zone = |kind: RefKind| matches!(kind, RefKind::Zone | RefKind::Line | RefKind::Shape);
        let was = named_by(schema, all_params(old), is_zone);
        let now = named_by(schema, all_params(new), is_zone);
        let both: Vec<&str> = was.intersection(&now).copied().collect();
        if both.is_empty() {
            return;
        }
        let (before, after) = (camera_names(self.old, old), camera_names(self.new, new));
        for name in both {
            let sees = |camera: &str| before.contains(camera) && after.contains(camera);
            if let Some(cause) = zone_moved(name, &self.zones.0, &self.zones.1, sees) {
                verdict.note(Action::Live, cause);
            }
        }
    }

    /// What an input of the new plan was called in the old one.
    fn before(&self, of: &Origin) -> String {
        let named = |index: &usize| {
            let name = self.new.nodes[*index].name.as_str();
            *self.called.get(name).unwrap_or(&name)
        };
        match of {
            Origin::Node(index) => named(index).to_owned(),
            Origin::ErrorsOf(index) => format!("{}.errors", named(index)),
            Origin::Group(_) | Origin::AllErrors => origin(self.new, of),
        }
    }

    fn inputs(&self, verdict: &mut Verdict, old: &NodePlan, new: &NodePlan) {
        for input in &new.inputs {
            let port = &input.port;
            let Some(before) = old.inputs.iter().find(|before| before.port == *port) else {
                let cause = format!("`{port}` reads {} now", origin(self.new, &input.origin));
                verdict.note(Action::Rebuilt, cause);
                continue;
            };
            let was = origin(self.old, &before.origin);
            if self.before(&input.origin) != was {
                let cause = format!("`{port}` reads {} now, not {was}", origin(self.new, &input.origin));
                verdict.note(Action::Rebuilt, cause);
            }
            if before.rows != input.rows {
                let cause = format!(
                    "`{port}` has {} now, not {}",
                    described(&input.rows),
                    described(&before.rows)
                );
                verdict.note(Action::Rebuilt, cause);
            }
            if before.align != input.align {
                let now = match input.align {
                    Align::Frame => "aligned by frame",
                    Align::Latest => "the latest",
                };
                verdict.note(Action::Rebuilt, format!("`{port}` is {now} now"));
            }
        }
        let has = |port: &str| new.inputs.iter().any(|input| input.port == port);
        for before in old.inputs.iter().filter(|before| !has(&before.port)) {
            let cause = format!("nothing feeds `{}` any longer", before.port);
            verdict.note(Action::Rebuilt, cause);
        }
    }

    fn cameras(&self, verdict: &mut Verdict, old: &NodePlan, new: &NodePlan) {
        let (was, now) = (camera_names(self.old, old), camera_names(self.new, new));
        let mut note = |names: Vec<&str>, one: &str, many: &str| match names.as_slice() {
            [] => {}
            [name] => verdict.note(Action::Live, format!("camera `{name}` {one}")),
            names => verdict.note(Action::Live, format!("{} {many}", few(names))),
        };
        let sorted = |names: &HashSet<&str>, others: &HashSet<&str>| {
            // Owned order: the sets themselves have none.
            let names: BTreeSet<String> = names.difference(others).map(|name| (*name).to_owned()).collect();
            names
        };
        let (joined, left) = (sorted(&now, &was), sorted(&was, &now));
        note(joined.iter().map(String::as_str).collect(), "joins", "join");
        note(left.iter().map(String::as_str).collect(), "leaves", "leave");
    }
}

/// Notes what differs for all cameras without parameters of their own, and says which parameters these are.
fn differing_for_all<'n>(
    verdict: &mut Verdict,
    schema: Option<&ParamsSchema>,
    old: &'n NodePlan,
    new: &'n NodePlan,
) -> BTreeSet<&'n str> {
    params::compare(verdict, schema, &old.params, &new.params, "");
    params::differing(&old.params, &new.params)
}

/// The parameters that hold for a camera, where one of the plans has others than for all.
fn of_camera<'n>(old: &'n NodePlan, new: &'n NodePlan, camera: &str) -> Option<(&'n ParamValues, &'n ParamValues)> {
    let was = old.overrides.get(camera).unwrap_or(&old.params);
    let now = new.overrides.get(camera).unwrap_or(&new.params);
    (was != now).then_some((was, now))
}

fn rows(verdict: &mut Verdict, old: &NodePlan, new: &NodePlan) {
    if old.query != new.query {
        let cause = match changed_clauses(old, new) {
            clauses if clauses.is_empty() => "its query changed".to_owned(),
            clauses => format!("its query changed: {}", clauses.join(", ")),
        };
        verdict.note(Action::Reset, cause);
    } else if old.output != new.output {
        let text = |rows: &Option<RowKind>| rows.as_ref().map_or("nothing".to_owned(), described);
        let cause = format!("it emits {} now, not {}", text(&new.output), text(&old.output));
        verdict.note(Action::Reset, cause);
    }
}

/// The clauses of a query that differ, by the names of its JSON form. What follows from others is none.
fn changed_clauses(old: &NodePlan, new: &NodePlan) -> Vec<String> {
    const FOLLOWING: [&str; 2] = ["group_columns", "schema"];
    let form = |node: &NodePlan| serde_json::to_value(&node.query).expect("plans have text keys only");
    let (was, now) = (form(old), form(new));
    let (Some(was), Some(now)) = (was.as_object(), now.as_object()) else {
        return Vec::new();
    };
    let names = now.keys().filter(|name| was.get(*name) != now.get(*name));
    names
        .filter(|name| !FOLLOWING.contains(&name.as_str()))
        .map(|name| name.replace('_', "-"))
        .collect()
}

fn all_params(node: &NodePlan) -> impl Iterator<Item = &ParamValues> {
    std::iter::once(&node.params).chain(node.overrides.values())
}

fn camera_names<'p>(plan: &'p Plan, node: &NodePlan) -> HashSet<&'p str> {
    node.cameras
        .iter()
        .map(|camera| plan.cameras[*camera].name.as_str())
        .collect()
}

/// What an input reads, by name.
fn origin(plan: &Plan, origin: &Origin) -> String {
    match origin {
        Origin::Group(group) => group.clone(),
        Origin::Node(index) => plan.nodes[*index].name.clone(),
        Origin::ErrorsOf(index) => format!("{}.errors", plan.nodes[*index].name),
        Origin::AllErrors => "*.errors".into(),
    }
}

fn described(rows: &RowKind) -> String {
    match rows {
        RowKind::Table(schema) => {
            let columns: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
            format!("rows of {}", columns.join(", "))
        }
        rows => rows.name().into(),
    }
}

fn policy(policy: OnError) -> &'static str {
    match policy {
        OnError::Skip => "skip",
        OnError::Restart => "restart",
        OnError::Stop => "stop",
    }
}

/// What it means to others that a sink ends.
fn ending(node: &NodePlan, catalogue: &dyn Catalogue) -> Option<String> {
    let spec = catalogue.find(node.role, &node.kind);
    let is_target = |ty: &ParamType| matches!(ty, ParamType::Path | ParamType::Template);
    let target = spec.into_iter().flat_map(|spec| &spec.params.params);
    let target = target
        .filter(|spec| spec.positional && is_target(&spec.ty))
        .find_map(|spec| match node.params.get(&spec.name) {
            Some(Value::Text(path)) => Some(path.as_str()),
            _ => None,
        });
    let target = target.unwrap_or(&node.name);
    match node.role {
        Role::Publish => Some(format!("clients of {target} are disconnected")),
        Role::Write => Some(format!("{target} is finished")),
        Role::Source | Role::Operator | Role::Query => None,
    }
}
