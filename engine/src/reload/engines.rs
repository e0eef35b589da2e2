//! Engines that models lack, built beside the run; the run goes over to each by a cut that no edit asks for.
//!
//! One after the other, on a thread that is there while there is something to build. A build that fails is told once and
//! not tried again.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::dataflow::NodeParts;
use crate::errors::{OperatorError, Result};
use crate::infer::{BuildStage, EngineBuilder, EngineWanted};
use crate::metrics::ComputeState;
use crate::reload::editor::{Editor, Outcome};
use crate::run::context::Generation;

/// What nodes of a version lack, by their names.
fn all_lacking(generation: &Generation) -> impl Iterator<Item = (&str, EngineWanted)> {
    let nodes = generation.plan.nodes.iter().enumerate();
    nodes.filter_map(|(index, node)| Some((node.name.as_str(), generation.node(index).compute().lacking?)))
}

/// The nodes of a version that lack an engine.
pub(super) fn lacking(generation: &Generation, engine: &EngineWanted) -> Vec<String> {
    let lacking = all_lacking(generation).filter(|(_, lacking)| lacking.folder == engine.folder);
    lacking.map(|(node, _)| node.to_owned()).collect()
}

/// Sees that a node which was opened anew is computed by the provider whose engine is there now; says what computed it
/// before.
///
/// # Errors
/// Why it is not: what was gained by the build is nothing.
pub(super) fn gone_over(engine: &EngineWanted, running: &Generation, node: &str, parts: &NodeParts) -> Result<String> {
    let serving = |state: &ComputeState| Some(state.providers.iter().find(|rung| rung.serves)?.provider);
    let now = match parts {
        NodeParts::Offload(offload, _) => offload.compute(),
        NodeParts::Keyed(_) | NodeParts::Query(..) | NodeParts::Sink(..) => ComputeState::default(),
    };
    if serving(&now) != Some(engine.provider) {
        let of_provider = now
            .refusals
            .iter()
            .filter(|refusal| refusal.provider == engine.provider);
        let causes: Vec<&str> = of_provider.map(|refusal| refusal.cause.as_str()).collect();
        return Err(OperatorError::new(format!(
            "{} still does not compute it: {}",
            engine.provider,
            causes.join("; ")
        )));
    }
    let place = running.plan.nodes.iter().position(|known| known.name == node);
    let before = place.and_then(|place| serving(&running.node(place).compute()));
    Ok(match before {
        Some(before) => format!("{} computes it now, was {before}", engine.provider),
        None => format!("{} computes it now", engine.provider),
    })
}

/// Has all engines built that the version at work lacks and that this run has not tried to build.
pub(crate) fn look(editor: &Editor) {
    let context = editor.context();
    if editor.is_ending() {
        return;
    }
    let (builds, generation) = (&context.builds, context.generation());
    let nobody = match builds.builder() {
        _ if context.clock.is_offline() => Some("a run at pace=max takes no edits, so nothing is built beside it"),
        None => Some("nobody builds engines beside this run"),
        Some(_) => None,
    };
    for (node, wanted) in all_lacking(&generation) {
        let name = wanted.to_string();
        let stage = nobody.map_or(BuildStage::Waiting, |cause| BuildStage::Left(cause.to_owned()));
        if builds.note(wanted, stage)
            && let Some(cause) = nobody
        {
            tracing::warn!(node, cause, "no {name}: build it once with `flowrun model build MODEL`");
        }
    }
    if let (None, Some(builder)) = (nobody, builds.builder()) {
        let (builder, editor) = (builder.clone(), editor.clone());
        builds.at_work(move || work(&*builder, &editor));
    }
}

/// Builds what waits, until nothing does.
fn work(builder: &dyn EngineBuilder, editor: &Editor) {
    let context = editor.context();
    while let Some(wanted) = context.builds.begin() {
        let gave_up = Cell::new(false);
        let is_vain = || {
            let is_vain = editor.is_ending() || lacking(&context.generation(), &wanted).is_empty();
            gave_up.set(gave_up.get() || is_vain);
            is_vain
        };
        tracing::info!(model = %wanted.model.display(), "building a {wanted} beside the run");
        let built = catch_unwind(AssertUnwindSafe(|| builder.build(&wanted, &is_vain)));
        let built = built.unwrap_or_else(|_| Err(OperatorError::new("the builder panicked")));
        if is_vain() || gave_up.get() {
            context.builds.forget(&wanted);
            // An edit may have brought it back while the builder gave up.
            look(editor);
            continue;
        }
        let used = built.map_err(|error| error.cause).and_then(|()| {
            let reopened = editor
                .reopen(&wanted)
                .map_err(|error| format!("it is built, and not used: {error}"))?;
            match reopened {
                Outcome::Made(receipt) => Ok(Some(receipt)),
                Outcome::Unchanged => Ok(None),
            }
        });
        match used {
            Ok(Some(receipt)) => {
                tracing::info!(version = receipt.version, "the run uses the {wanted}");
                context.builds.settle(&wanted, BuildStage::Ready);
            }
            // An edit has taken away what lacked it.
            Ok(None) => context.builds.forget(&wanted),
            Err(_) if editor.is_ending() => context.builds.forget(&wanted),
            Err(cause) => {
                tracing::warn!(cause, "no {wanted}: the run goes on as it is");
                context.builds.settle(&wanted, BuildStage::Failed(cause));
            }
        }
    }
}
