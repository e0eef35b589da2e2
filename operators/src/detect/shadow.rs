//! A second model on a share of the frames: how far it agrees with the one whose rows travel.
//!
//! It has a thread of its own behind a short queue, so that nobody waits for it; what finds no room there is counted.
//! Which frames it looks at depends on nothing but camera and frame number.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flowrun_dsl::plan::ModelPlan;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::Picture;
use flowrun_engine::infer::Provider;
use flowrun_engine::metrics::ShadowState;
use flowrun_engine::operator::NodeSetup;
use flowrun_engine::rows::At;

use super::alone::{Alone, Found};
use super::compare::{Agreement, asked_for};
use super::params::{DetectParams, ModelParams};

/// Pictures that wait for it: each keeps the memory of a frame that is otherwise over.
const WAITING: usize = 4;

/// Looks at a picture.
pub(super) type Look = Box<dyn FnMut(&Arc<Picture>) -> Result<Vec<Found>> + Send>;

/// A model that looks on.
pub(super) struct Shadow {
    about: About,
    provider: Provider,
    counts: Arc<Counts>,
    queue: Option<SyncSender<Offer>>,
    thread: Option<JoinHandle<()>>,
}

/// What makes a shadow what it is: another of these is another shadow.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct About {
    /// What the graph calls the model.
    pub name: String,
    pub model: ModelPlan,
    pub share: f32,
    pub min_score: f32,
    pub iou: f32,
    pub agnostic: bool,
}

/// A frame with what the node's own model found on it.
pub(super) struct Offer {
    pub picture: Arc<Picture>,
    pub found: Vec<Found>,
    /// Boxes surer than this count.
    pub min_score: f32,
    /// The classes that are looked for; none where all are.
    pub classes: Option<Vec<Arc<str>>>,
}

#[derive(Default)]
struct Counts {
    closed: AtomicBool,
    skipped: AtomicU64,
    failed: AtomicU64,
    agreed: Mutex<Agreed>,
}

#[derive(Default)]
struct Agreed {
    compared: u64,
    matched: u64,
    only_main: u64,
    only_shadow: u64,
    drift_sum: f64,
    drift_most: f64,
}

impl About {
    /// The shadow that a node asks for; none where it asks for none.
    ///
    /// # Errors
    /// When the graph has no such model.
    pub fn of(params: &DetectParams, setup: &NodeSetup<'_>) -> Result<Option<Self>> {
        let Some(model) = &params.shadow else { return Ok(None) };
        Ok(Some(About {
            name: model.name().to_owned(),
            model: setup.model(model)?.clone(),
            share: params.shadow_share,
            min_score: params.min_score,
            iou: params.iou,
            agnostic: params.agnostic,
        }))
    }
}

impl Shadow {
    /// Opens the model that a node asks for.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(about: About, params: &DetectParams, setup: &NodeSetup<'_>) -> Result<Self> {
        let mut model = ModelParams::from_plan(&about.model)?;
        model.resolve(|path| setup.path(path));
        let detect = DetectParams {
            min_score: asked_for(params.min_score),
            classes: Vec::new(),
            // The node's own model has the cores.
            threads: Some(1),
            ..params.clone()
        };
        let mut alone = Alone::of(&setup.path(&about.model.path), &model, detect)
            .map_err(|error| error.about(format_args!("the shadow `{}`", about.name)))?;
        let provider = alone.provider();
        Shadow::start(about, provider, Box::new(move |picture| alone.find(picture)))
    }

    /// Has somebody look at pictures, on a thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(about: About, provider: Provider, look: Look) -> Result<Self> {
        let counts = Arc::new(Counts::default());
        let (queue, offers) = sync_channel(WAITING);
        let (seen, name) = (counts.clone(), about.name.clone());
        let thread = std::thread::Builder::new()
            .name("shadow".into())
            .spawn(move || follow(look, &offers, &seen, &name))?;
        Ok(Shadow {
            about,
            provider,
            counts,
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// What it is.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Whether it is to look at a frame: the same frames whenever and wherever they come.
    pub fn chooses(&self, at: &At) -> bool {
        is_chosen(u64::from(at.camera.0), at.frame, self.about.share)
    }

    /// Shows it a frame, unless it has no time.
    pub fn offer(&self, offer: Offer) {
        let taken = self.queue.as_ref().map(|queue| queue.try_send(offer));
        if !matches!(taken, Some(Ok(()))) {
            self.counts.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How far it agrees.
    pub fn state(&self) -> ShadowState {
        let agreed = self.counts.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        ShadowState {
            model: self.about.name.clone(),
            provider: self.provider,
            compared: agreed.compared,
            skipped: self.counts.skipped.load(Ordering::Relaxed),
            failed: self.counts.failed.load(Ordering::Relaxed),
            matched: agreed.matched,
            only_main: agreed.only_main,
            only_shadow: agreed.only_shadow,
            score_drift: [agreed.drift_sum / agreed.matched.max(1) as f64, agreed.drift_most],
        }
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.counts.closed.store(true, Ordering::Relaxed);
        drop(self.queue.take());
        // A model that computes while the process ends would find ONNX Runtime gone: it ends with the picture at hand.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn follow(mut look: Look, offers: &Receiver<Offer>, counts: &Counts, model: &str) {
    for offer in offers {
        if counts.closed.load(Ordering::Relaxed) {
            return;
        }
        let found = catch_unwind(AssertUnwindSafe(|| look(&offer.picture)));
        match found.unwrap_or_else(|_| Err(OperatorError::new("it panicked"))) {
            Ok(found) => counts.agree(&offer, found),
            Err(error) => {
                if counts.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    let cause = error.cause;
                    tracing::warn!(model, cause, "the shadow failed on a frame; rows do not depend on it");
                }
            }
        }
    }
}

impl Counts {
    fn agree(&self, offer: &Offer, mut found: Vec<Found>) {
        if let Some(classes) = &offer.classes {
            found.retain(|found| classes.contains(&found.class));
        }
        let mut one = Agreement::default();
        one.add(&offer.found, &found, offer.min_score);
        let mut all = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        all.compared += 1;
        all.matched += one.matched as u64;
        all.only_main += one.only_first as u64;
        all.only_shadow += one.only_second as u64;
        all.drift_sum += f64::from(one.drift[0]) * one.matched as f64;
        all.drift_most = all.drift_most.max(f64::from(one.drift[1]));
    }
}

/// Whether a frame is among a share of all, by a hash of camera and frame (SplitMix64's).
fn is_chosen(camera: u64, frame: u64, share: f32) -> bool {
    let mut mixed = (camera << 40) ^ frame;
    mixed = mixed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    // 53 bits, as many as a double holds: never 1.
    ((mixed >> 11) as f64) / ((1_u64 << 53) as f64) < f64::from(share)
}

#[cfg(test)]
mod tests {
    use super::is_chosen;

    #[test]
    fn a_share_of_each_cameras_frames_is_chosen_the_same_ones_each_time() {
        for camera in 0..5 {
            for share in [0.0, 0.05, 0.5, 1.0] {
                let chosen = |frame: &u64| is_chosen(camera, *frame, share);
                let frames: Vec<u64> = (0..20_000).filter(chosen).collect();
                let part = frames.len() as f32 / 20_000.0;
                assert!((part - share).abs() < 0.01, "camera {camera}: {part} for {share}");
                assert_eq!(frames, (0..20_000).filter(chosen).collect::<Vec<_>>());
            }
        }
        let of = |camera| {
            let frames = (0..1_000).filter(|frame| is_chosen(camera, *frame, 0.1));
            frames.collect::<Vec<_>>()
        };
        assert_ne!(of(1), of(2), "cameras do not come all at once");
    }
}
