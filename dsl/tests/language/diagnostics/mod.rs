//! Faults, and what is said about them.

mod flows;
mod nodes;
mod queries;
mod syntax;
mod zones;

use crate::findings;

/// Behind two cameras of one group.
fn with_cameras(text: &str) -> String {
    findings(&format!("cameras g {{ synthetic a; synthetic b; }}\n{text}"))
}
