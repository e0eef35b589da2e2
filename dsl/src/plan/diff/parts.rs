//! Cameras, models, zones and the server.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Action, PartChange, PartKind, Verdict, params, whole};
use crate::graph::server::ServerParams;
use crate::params::{ParamValues, Params};
use crate::plan::{CameraPlan, ModelPlan, Plan, Shape, Units, ZonePlan};
use crate::port::{Catalogue, Role};

/// Cameras in the order of the new plan.
pub fn cameras(old: &Plan, new: &Plan, catalogue: &dyn Catalogue) -> Vec<PartChange> {
    let before: HashMap<&str, &CameraPlan> = old
        .cameras
        .iter()
        .map(|camera| (camera.name.as_str(), camera))
        .collect();
    let after: HashSet<&str> = new.cameras.iter().map(|camera| camera.name.as_str()).collect();
    let there = new.cameras.iter().map(|camera| match before.get(camera.name.as_str()) {
        Some(before) => camera_change(before, camera, catalogue),
        None => whole(PartKind::Camera, &camera.name, Action::Added),
    });
    let gone = old
        .cameras
        .iter()
        .filter(|camera| !after.contains(camera.name.as_str()));
    there
        .chain(gone.map(|camera| whole(PartKind::Camera, &camera.name, Action::Removed)))
        .collect()
}

fn camera_change(old: &CameraPlan, new: &CameraPlan, catalogue: &dyn Catalogue) -> PartChange {
    let mut verdict = Verdict::default();
    if old.group != new.group {
        let cause = format!(
            "it left the group `{}` for `{}`: its source is opened anew",
            old.group, new.group
        );
        verdict.note(Action::Rebuilt, cause);
    }
    if old.kind != new.kind {
        let cause = format!(
            "it is now of kind `{}`, was `{}`: its source is opened anew",
            new.kind, old.kind
        );
        verdict.note(Action::Rebuilt, cause);
    } else {
        let schema = catalogue.find(Role::Source, &new.kind).map(|spec| &spec.params);
        params::compare(&mut verdict, schema, &old.params, &new.params, "");
    }
    params::compare(
        &mut verdict,
        Some(catalogue.camera_params()),
        &old.common,
        &new.common,
        "",
    );
    if old.output != new.output {
        let cause = format!("it emits {} now, not {}", new.output.name(), old.output.name());
        verdict.note(Action::Rebuilt, cause);
    }
    if verdict.action() == Action::Kept && old.fingerprint != new.fingerprint {
        verdict.note(Action::Rebuilt, "it changed");
    }
    verdict.into_change(PartKind::Camera, &new.name)
}

/// Models by name.
pub fn models(old: &Plan, new: &Plan, catalogue: &dyn Catalogue) -> Vec<PartChange> {
    let there = new.models.iter().map(|(name, model)| match old.models.get(name) {
        Some(before) => {
            let mut verdict = Verdict::default();
            if before.path != model.path {
                let (path, was) = (model.path.display(), before.path.display());
                verdict.note(Action::Reset, format!("its file is now {path}, was {was}"));
            }
            let schema = Some(catalogue.model_params());
            params::compare(&mut verdict, schema, &before.params, &model.params, "");
            verdict.into_change(PartKind::Model, name)
        }
        None => whole(PartKind::Model, name, Action::Added),
    });
    let gone = old.models.keys().filter(|name| !new.models.contains_key(*name));
    there
        .chain(gone.map(|name| whole(PartKind::Model, name, Action::Removed)))
        .collect()
}

/// The models of a node's parameters as they are in its plan, by name.
pub fn models_named<'p>(
    plan: &'p Plan,
    names: impl IntoIterator<Item = &'p str>,
) -> BTreeMap<&'p str, Option<&'p ModelPlan>> {
    names.into_iter().map(|name| (name, plan.models.get(name))).collect()
}

/// What a name of a zone means on each camera.
type Lies<'p> = BTreeMap<&'p str, (&'p Shape, Units)>;

/// All zones of a plan by name.
pub struct Zones<'p> {
    plan: &'p Plan,
    by_name: BTreeMap<&'p str, Vec<&'p ZonePlan>>,
}

impl<'p> Zones<'p> {
    pub fn of(plan: &'p Plan) -> Self {
        let mut by_name: BTreeMap<&str, Vec<&ZonePlan>> = BTreeMap::new();
        for zone in &plan.zones {
            by_name.entry(&zone.name).or_default().push(zone);
        }
        Zones { plan, by_name }
    }

    /// On which cameras a name lies, and how, of those that `sees` lets through.
    fn lies(&self, name: &str, sees: impl Fn(&str) -> bool) -> Lies<'p> {
        let mut lies = Lies::new();
        for zone in self.by_name.get(name).into_iter().flatten() {
            let cameras = zone
                .cameras
                .iter()
                .map(|camera| self.plan.cameras[*camera].name.as_str());
            for camera in cameras.filter(|camera| sees(camera)) {
                lies.insert(camera, (&zone.shape, zone.units));
            }
        }
        lies
    }
}

/// How one name of a zone differs on the cameras that `sees` lets through; none where it does not.
pub fn zone_moved(name: &str, old: &Zones, new: &Zones, sees: impl Fn(&str) -> bool) -> Option<String> {
    let (before, after) = (old.lies(name, &sees), new.lies(name, &sees));
    if before == after {
        return None;
    }
    let all = before.values().chain(after.values());
    let lines = all.clone().all(|(shape, _)| matches!(shape, Shape::Line { .. }));
    let what = if lines { "line" } else { "zone" };
    let joined: Vec<&str> = after
        .keys()
        .copied()
        .filter(|camera| !before.contains_key(camera))
        .collect();
    let left: Vec<&str> = before
        .keys()
        .copied()
        .filter(|camera| !after.contains_key(camera))
        .collect();
    let moved = before
        .iter()
        .filter(|(camera, place)| after.get(*camera).is_some_and(|now| now != *place));
    let moved: Vec<&str> = moved.map(|(camera, _)| *camera).collect();
    let everywhere = moved.len() == before.len() && joined.is_empty();
    let causes = [
        (!moved.is_empty()).then(|| {
            if everywhere {
                "moved".into()
            } else {
                format!("moved on {}", few(&moved))
            }
        }),
        (!joined.is_empty()).then(|| format!("lies on {} too", few(&joined))),
        (!left.is_empty()).then(|| format!("lies on {} no longer", few(&left))),
    ];
    let causes: Vec<String> = causes.into_iter().flatten().collect();
    Some(format!("{what} `{name}` {}", causes.join(", ")))
}

/// Some names: all where there are few, else how many.
pub fn few(names: &[&str]) -> String {
    match names {
        [.., _, _, _, _, _] => format!("{} cameras", names.len()),
        names => names.join(", "),
    }
}

/// Zones by name, in the order of the new plan.
pub fn zones(old: &Plan, new: &Plan) -> Vec<PartChange> {
    let (before, after) = (Zones::of(old), Zones::of(new));
    let mut listed = HashSet::new();
    let mut changes = Vec::new();
    for zone in &new.zones {
        let name = zone.name.as_str();
        if !listed.insert(name) {
            continue;
        }
        if !before.by_name.contains_key(name) {
            changes.push(whole(PartKind::Zone, name, Action::Added));
            continue;
        }
        let mut verdict = Verdict::default();
        if let Some(cause) = zone_moved(name, &before, &after, |_| true) {
            verdict.note(Action::Live, cause);
        }
        changes.push(verdict.into_change(PartKind::Zone, name));
    }
    for zone in &old.zones {
        if listed.insert(&zone.name) {
            changes.push(whole(PartKind::Zone, &zone.name, Action::Removed));
        }
    }
    changes
}

/// The server, where one of the plans has one.
pub fn server(old: &Plan, new: &Plan) -> Option<PartChange> {
    let changed = |old: &ParamValues, new: &ParamValues| {
        let mut verdict = Verdict::default();
        params::compare(&mut verdict, Some(&ServerParams::schema()), old, new, "");
        verdict.into_change(PartKind::Server, "server")
    };
    match (&old.server, &new.server) {
        (None, None) => None,
        (None, Some(_)) => Some(whole(PartKind::Server, "server", Action::Added)),
        (Some(_), None) => Some(whole(PartKind::Server, "server", Action::Removed)),
        (Some(old), Some(new)) => Some(changed(old, new)),
    }
}
