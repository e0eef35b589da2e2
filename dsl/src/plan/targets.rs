//! Two sinks must not write to one place.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use super::points::Points;
use crate::diagnostic::{Diagnostic, code};
use crate::graph::Reader;
use crate::params::ParamType;
use crate::port::Role;
use crate::source::Span;
use crate::value::Value;

/// Reports sinks of one role whose path is that of an earlier one.
pub fn check(reader: &mut Reader, points: &Points) {
    let mut taken: HashMap<(bool, PathBuf), Span> = HashMap::new();
    for slot in &points.slots {
        let step = slot.step;
        if !matches!(step.spec.role, Role::Write | Role::Publish) {
            continue;
        }
        let targets = step
            .spec
            .params
            .params
            .iter()
            .filter(|spec| spec.positional && matches!(spec.ty, ParamType::Path | ParamType::Template));
        for spec in targets {
            let Some(given) = step.given.0.get(&spec.name) else {
                continue;
            };
            let Value::Text(path) = &given.value else { continue };
            let plain: PathBuf = Path::new(path)
                .components()
                .filter(|part| *part != Component::CurDir)
                .collect();
            match taken.get(&(step.spec.role == Role::Write, plain.clone())) {
                Some(first) => reader.report(
                    Diagnostic::error(code::SAME_TARGET, format!("two sinks write to `{path}`"))
                        .label(given.span, "again")
                        .label(*first, "first"),
                ),
                None => {
                    taken.insert((step.spec.role == Role::Write, plain), given.span);
                }
            }
        }
    }
}
