//! What an edit changes: each part of two plans with what becomes of it, and why.
//!
//! A part is known by its name, so everything is compared by name: indices shift with every line that is
//! added. How a parameter may change stands in its schema alone; whatever else makes up a node rebuilds it.
//! Nothing is said of a part because of what changed before it, unless its rows are others now.

mod explain;
mod nodes;
mod pairs;
mod params;
mod parts;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Plan;
use crate::port::Catalogue;

pub use explain::explain_diff;

/// What becomes of each part of two plans.
///
/// In JSON `{"from", "to", "changes": [{"part", "node", "action", "why"}]}`, with `renamed-from` where a
/// part had another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanDiff {
    /// The old plan's hash.
    pub from: String,
    /// The new plan's hash.
    pub to: String,
    /// Every part of either plan once: cameras, models, zones and the server, then nodes in the topological order of the new
    /// plan; what is removed comes last.
    pub changes: Vec<PartChange>,
}

/// What becomes of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartChange {
    /// What it is.
    pub part: PartKind,
    /// Its name: in the new plan, or in the old one where it is removed.
    #[serde(rename = "node")]
    pub name: String,
    /// What becomes of it.
    pub action: Action,
    /// The causes, the weightiest first; none for what is kept, or added without more to say.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub why: Vec<String>,
    /// Its name in the old plan where that was another: nodes without `as=` are counted, and a line above moves the
    /// count. The state of the old name belongs to it.
    #[serde(rename = "renamed-from", default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
}

/// Kinds of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartKind {
    /// A camera.
    Camera,
    /// A model.
    Model,
    /// All polygons or lines of one name, on whichever cameras.
    Zone,
    /// The server.
    Server,
    /// An operator, query or sink.
    Node,
}

impl PartKind {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            PartKind::Camera => "camera",
            PartKind::Model => "model",
            PartKind::Zone => "zone",
            PartKind::Server => "server",
            PartKind::Node => "node",
        }
    }
}

/// What becomes of a part. Where several causes meet, the last in this order holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Nothing: it is the same object.
    Kept,
    /// It changes in place.
    Live,
    /// It is built anew and takes over the state.
    Rebuilt,
    /// It is built anew and starts from nothing.
    Reset,
    /// It was not there.
    Added,
    /// It is there no longer.
    Removed,
}

impl Action {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Kept => "kept",
            Action::Live => "live",
            Action::Rebuilt => "rebuilt",
            Action::Reset => "reset",
            Action::Added => "added",
            Action::Removed => "removed",
        }
    }
}

impl PlanDiff {
    /// Whether everything is kept, under the name that it had.
    pub fn is_empty(&self) -> bool {
        let same = |change: &PartChange| change.action == Action::Kept && change.renamed_from.is_none();
        self.changes.iter().all(same)
    }

    /// Has a node built anew that would be kept or change in place, since something beside the text has changed.
    pub fn rebuild(&mut self, node: &str, why: String) {
        let of_node = |change: &&mut PartChange| change.part == PartKind::Node && change.name == node;
        if let Some(change) = self.changes.iter_mut().find(of_node) {
            change.action = change.action.max(Action::Rebuilt);
            change.why.insert(0, why);
        }
    }

    /// What becomes of the part of this kind and name; none where neither plan has it.
    pub fn of(&self, part: PartKind, name: &str) -> Option<&PartChange> {
        self.changes
            .iter()
            .find(|change| change.part == part && change.name == name)
    }
}

/// Compares two plans of one catalogue.
pub fn diff(old: &Plan, new: &Plan, catalogue: &dyn Catalogue) -> PlanDiff {
    let mut changes = parts::cameras(old, new, catalogue);
    changes.extend(parts::models(old, new, catalogue));
    changes.extend(parts::zones(old, new));
    changes.extend(parts::server(old, new));
    changes.extend(nodes::nodes(old, new, catalogue));
    // Stable: the order of each kind stays as it is.
    changes.sort_by_key(|change| change.action == Action::Removed);
    PlanDiff {
        from: old.hash.clone(),
        to: new.hash.clone(),
        changes,
    }
}

fn as_text<S: Serializer>(why: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&why.join("; "))
}

fn from_text<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let causes = text.split("; ").filter(|cause| !cause.is_empty());
    Ok(causes.map(str::to_owned).collect())
}

/// Causes as they are found, and the strongest action that one of them asks for.
#[derive(Default)]
struct Verdict {
    causes: Vec<(Action, String)>,
}

impl Verdict {
    fn note(&mut self, action: Action, cause: impl Into<String>) {
        self.causes.push((action, cause.into()));
    }

    fn action(&self) -> Action {
        self.causes
            .iter()
            .map(|(action, _)| *action)
            .max()
            .unwrap_or(Action::Kept)
    }

    fn into_change(mut self, part: PartKind, name: &str) -> PartChange {
        let action = self.action();
        self.causes.sort_by_key(|(action, _)| std::cmp::Reverse(*action));
        PartChange {
            part,
            name: name.to_owned(),
            action,
            why: self.causes.into_iter().map(|(_, cause)| cause).collect(),
            renamed_from: None,
        }
    }
}

/// A part that one of the plans lacks.
fn whole(part: PartKind, name: &str, action: Action) -> PartChange {
    PartChange {
        part,
        name: name.to_owned(),
        action,
        why: Vec::new(),
        renamed_from: None,
    }
}
