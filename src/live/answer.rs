//! What is said of an edit: to a program over HTTP, and to a person.

use flowrun_dsl::plan::{Action, PartKind};
use flowrun_engine::reload::{Cause, Receipt, ReloadError};
use serde_json::{Value, json};

use super::{Applied, EditError, diagnostics_of};

/// Why an edit was not made, for HTTP.
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// `{"error": ..., ...}`.
    pub document: Value,
}

/// What came of an edit, for HTTP.
pub struct Answered(pub Value);

impl From<&Applied> for Answered {
    fn from(applied: &Applied) -> Self {
        Answered(match applied {
            Applied::Made(receipt) => json!({ "applied": true, "receipt": **receipt }),
            Applied::Unchanged => json!({ "applied": true, "receipt": null }),
        })
    }
}

impl From<&EditError> for Refusal {
    fn from(error: &EditError) -> Self {
        let text = error.to_string();
        let (status, document) = match error {
            EditError::Graph(graph) => {
                let found = diagnostics_of(graph).map(|(source, diagnostics)| diagnostics.to_json(source));
                (422, json!({ "error": text, "remedy": null, "findings": found }))
            }
            EditError::Beyond(names) => {
                let remedy = "write the graph's file, or start the server with --allow-paths";
                (403, json!({ "error": text, "remedy": remedy, "beyond": names }))
            }
            EditError::Conflict { running, diff } => {
                let remedy = "look at what runs now, and send If-Match with its ETag";
                (
                    412,
                    json!({ "error": text, "remedy": remedy, "running": running, "diff": **diff }),
                )
            }
            EditError::Reload(ReloadError::Refused(errors)) => {
                let causes: Vec<String> = errors
                    .iter()
                    .map(|error| format!("{}: {}", error.place, error.cause))
                    .collect();
                (422, json!({ "error": text, "remedy": null, "causes": causes }))
            }
            EditError::Reload(_) => (409, json!({ "error": text, "remedy": null })),
        };
        Refusal { status, document }
    }
}

/// An edit in a few lines.
pub(super) fn line(receipt: &Receipt) -> String {
    let why = match &receipt.cause {
        Cause::Edit => "edited".to_owned(),
        Cause::Rollback => "taken back".to_owned(),
        Cause::Automatic(cause) => format!("taken back, since {cause}"),
        Cause::Engine(cause) => format!("no edit, but {cause}: gone over to it"),
    };
    let count = |action: Action| {
        let parts = receipt.diff.changes.iter();
        parts
            .filter(|change| change.action == action && matches!(change.part, PartKind::Node | PartKind::Camera))
            .count()
    };
    let counts = [
        Action::Kept,
        Action::Live,
        Action::Rebuilt,
        Action::Reset,
        Action::Added,
        Action::Removed,
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .map(|action| (count(action), action.name()))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    format!(
        "version {}: {why} in {:.1} ms ({}), {} lost, {} doubled, longest gap {:.1} ms",
        receipt.version,
        receipt.applied_us as f64 / 1e3,
        counts.join(", "),
        receipt.lost,
        receipt.doubled,
        receipt.longest_gap_us as f64 / 1e3,
    )
}
