//! An edit on probation: when nodes fail more often or answer later than before, the version before comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::metrics::Counts;
use crate::reload::editor::Editor;
use crate::reload::receipt::{Cause, Receipt};
use crate::run::context::Generation;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// When an edit is taken back by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Probation {
    /// It lasts at least this long,
    pub time: Duration,
    /// and until each node has answered this many frames.
    pub frames: u64,
    /// The share of a node's frames that may fail beyond twice its share before.
    pub errors: f64,
    /// How much later than before a node may answer at the 99th percentile.
    pub latency: Duration,
}

impl Default for Probation {
    /// Ten seconds and a hundred frames; one in ten may fail, and answers may come a second later.
    fn default() -> Self {
        Probation {
            time: Duration::from_secs(10),
            frames: 100,
            errors: 0.1,
            latency: Duration::from_secs(1),
        }
    }
}

/// Frames of a node that must have been answered before it is judged.
const JUDGED_FROM: u64 = 20;

struct Before {
    answers: u64,
    errors: u64,
    latency: Counts,
}

fn count(generation: &Generation) -> Vec<Before> {
    let nodes = 0..generation.plan.nodes.len();
    nodes
        .map(|node| {
            let metrics = generation.node(node);
            Before {
                answers: metrics.answers.load(Ordering::Relaxed),
                errors: metrics.errors.load(Ordering::Relaxed),
                latency: metrics.latency_us.counts(),
            }
        })
        .collect()
}

/// Counts an edit as one on probation while it is there.
struct OnProbation(Arc<AtomicUsize>);

impl OnProbation {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        OnProbation(count.clone())
    }
}

impl Drop for OnProbation {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Watches a version that has just begun.
pub(super) fn watch(editor: Editor, receipt: &Arc<Receipt>, probation: Probation) {
    let generation = editor.context().generation();
    if generation.number != receipt.version {
        return;
    }
    let before = count(&generation);
    let under_way = OnProbation::begin(editor.on_probation());
    let spawned = std::thread::Builder::new().name("probation".into()).spawn(move || {
        let _under_way = under_way;
        if let Some(cause) = observe(&editor, &generation, &before, &probation) {
            tracing::warn!(version = generation.number, "taking the edit back: {cause}");
            if let Err(error) = editor.take_back(Some(generation.number), Cause::Automatic(cause)) {
                tracing::warn!("the edit was not taken back: {error}");
            }
        }
    });
    if let Err(error) = spawned {
        tracing::warn!("no thread to watch the edit: {error}");
    }
}

/// What went wrong; none when the version has proved itself, or is no longer the one at work.
fn observe(editor: &Editor, generation: &Generation, before: &[Before], probation: &Probation) -> Option<String> {
    let began = Instant::now();
    loop {
        std::thread::sleep(LOOK_EVERY);
        let context = editor.context();
        if context.generation().number != generation.number || context.stop.asked() || editor.is_over() {
            return None;
        }
        let now = count(generation);
        let mut fewest = u64::MAX;
        for (index, (before, now)) in before.iter().zip(&now).enumerate() {
            let answers = now.answers.saturating_sub(before.answers);
            fewest = fewest.min(answers);
            if let Some(wrong) = judge(before, now, probation) {
                return Some(format!("{}: {wrong}", generation.plan.nodes[index].name));
            }
        }
        // A node that answers nothing, since its cameras are silent, proves nothing and keeps nothing waiting for ever.
        if began.elapsed() >= probation.time && (fewest >= probation.frames || began.elapsed() >= probation.time * 3) {
            return None;
        }
    }
}

fn judge(before: &Before, now: &Before, probation: &Probation) -> Option<String> {
    let (answers, errors) = (
        now.answers.saturating_sub(before.answers),
        now.errors.saturating_sub(before.errors),
    );
    if answers < JUDGED_FROM {
        return None;
    }
    let share = |errors: u64, answers: u64| errors as f64 / answers.max(1) as f64;
    let (was, is) = (share(before.errors, before.answers), share(errors, answers));
    if is > probation.errors + 2.0 * was {
        return Some(format!(
            "{errors} of {answers} frames failed, {:.1} % before the edit",
            was * 100.0
        ));
    }
    let recent = now.latency.since(&before.latency);
    // What was never measured before the edit has nothing to be compared with.
    if before.latency.count() >= JUDGED_FROM {
        let (was, is) = (before.latency.quantile(0.99), recent.quantile(0.99));
        let later = Duration::from_micros(is.saturating_sub(was));
        if later > probation.latency {
            return Some(format!("p99 is {} ms, {} ms before the edit", is / 1_000, was / 1_000));
        }
    }
    None
}
