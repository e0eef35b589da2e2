//! A difference as people read it.

use super::{Action, PlanDiff};

/// A line for each part that does not stay as it is, in columns, and one that counts.
pub fn explain_diff(diff: &PlanDiff) -> String {
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    let mut lines = vec![format!("plan {} -> {}", short(&diff.from), short(&diff.to))];
    let told = |change: &&super::PartChange| change.action != Action::Kept || change.renamed_from.is_some();
    let changed: Vec<_> = diff.changes.iter().filter(told).collect();
    let names = changed.iter().map(|change| change.name.chars().count());
    let width = names.max().unwrap_or_default();
    for change in &changed {
        let (action, part, name) = (change.action.name(), change.part.name(), &change.name);
        let mut causes = change.why.iter();
        let first = causes.next().map(String::as_str).unwrap_or_default();
        let line = format!("  {action:<7}  {part:<6}  {name:<width$}  {first}");
        lines.push(line.trim_end().to_owned());
        let indent = 2 + 7 + 2 + 6 + 2 + width + 2;
        lines.extend(causes.map(|cause| format!("{:indent$}{cause}", "")));
    }
    let kept = diff.changes.len() - changed.len();
    lines.push(match (changed.len(), kept) {
        (0, _) => "nothing changes".into(),
        (_, 1) => "  1 part is kept".into(),
        (_, kept) => format!("  {kept} parts are kept"),
    });
    lines.push(String::new());
    lines.join("\n")
}
