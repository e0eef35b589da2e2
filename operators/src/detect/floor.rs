//! A floor: how well a provider must agree with the host's processor before it may compute a graph's model.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::Picture;

use super::USUAL_MOST;
use super::alone::{Alone, Found};
use super::compare::{Agreement, asked_for};
use super::nms::Settings;
use super::params::{DetectParams, ModelParams};
use crate::source::photo::{photo, photos};

/// More pictures than this are no check before a run but a benchmark.
const MOST: usize = 500;

/// What a graph demands of every provider of a model.
pub(super) struct Floor {
    folder: PathBuf,
    pictures: Vec<PathBuf>,
    matched: f32,
    score_drift: f32,
    min_score: f32,
    iou: f32,
    agnostic: bool,
    reference: Reference,
    /// What the reference finds on each picture; looked for when the first provider is judged.
    expected: OnceCell<Vec<Vec<Found>>>,
}

/// What is to be agreed with: a model on the host's processor.
struct Reference {
    model: PathBuf,
    labels: Option<String>,
}

impl Floor {
    /// What the `model` block demands; none where it demands nothing.
    ///
    /// # Errors
    /// When the folder holds no pictures, or more than are looked at before a run.
    pub fn of(model: &Path, params: &ModelParams, detect: &DetectParams) -> Result<Option<Self>> {
        let Some(folder) = &params.floor_images else {
            return match &params.floor_reference {
                Some(_) => Err(OperatorError::new("`floor-reference` is there without `floor-images`")
                    .help("name a folder of pictures: `floor images=...`")),
                None => Ok(None),
            };
        };
        let pictures = photos(folder)?;
        if pictures.len() > MOST {
            let cause = format!(
                "`{}` holds {} pictures, and a floor looks at {MOST} at most before each run",
                folder.display(),
                pictures.len()
            );
            return Err(OperatorError::new(cause).help("a few dozen that are like the cameras' suffice"));
        }
        Ok(Some(Floor {
            folder: folder.clone(),
            pictures,
            matched: params.floor_matched,
            score_drift: params.floor_score_drift,
            min_score: params.floor_min_score,
            reference: Reference {
                model: params.floor_reference.clone().unwrap_or_else(|| model.to_owned()),
                labels: params.labels.as_ref().map(|labels| labels.display().to_string()),
            },
            iou: detect.iou,
            agnostic: detect.agnostic,
            expected: OnceCell::new(),
        }))
    }

    /// From which score on boxes must be asked for.
    fn least_score(&self) -> f32 {
        asked_for(self.min_score)
    }

    /// How a provider that is judged thins out its boxes: as the reference does.
    pub fn settings(&self) -> Settings {
        Settings {
            min_score: self.least_score(),
            iou: self.iou,
            max: USUAL_MOST,
            agnostic: self.agnostic,
            classes: None,
        }
    }

    /// Judges a provider by what it finds; the text says by how much it is under the floor.
    ///
    /// # Errors
    /// When a picture cannot be read or the reference not be run, which is no provider's fault.
    pub fn judge(&self, mut find: impl FnMut(&Arc<Picture>) -> Result<Vec<Found>>) -> Result<Result<(), String>> {
        if self.expected.get().is_none() {
            let expected = self.reference.answers(&self.pictures, &self.settings())?;
            // Set once: nobody else has this.
            let _ = self.expected.set(expected);
        }
        let mut agreement = Agreement::default();
        for (path, expected) in self.pictures.iter().zip(self.expected.get().into_iter().flatten()) {
            match find(&photo(path)?) {
                Ok(found) => agreement.add(expected, &found, self.min_score),
                Err(error) => return Ok(Err(format!("it fails on `{}`: {}", path.display(), error.cause))),
            }
        }
        Ok(self.verdict(&agreement))
    }

    fn verdict(&self, agreement: &Agreement) -> Result<(), String> {
        let (share, [drift, most_drift]) = (agreement.share(), agreement.drift);
        if share >= self.matched && drift <= self.score_drift {
            return Ok(());
        }
        Err(format!(
            "it is under the floor on the {} pictures of `{}`: {share:.4} of all boxes matched where {} are asked for, \
             scores drift by {drift:.4} on average where {} may, {most_drift:.4} at most",
            agreement.pictures,
            self.folder.display(),
            self.matched,
            self.score_drift
        ))
    }
}

impl Reference {
    fn answers(&self, pictures: &[PathBuf], settings: &Settings) -> Result<Vec<Vec<Found>>> {
        let labels = self.labels.as_deref().map(|labels| ("labels", labels));
        let model: Vec<_> = [("provider", "cpu")].into_iter().chain(labels).collect();
        let (min_score, iou) = (settings.min_score.to_string(), settings.iou.to_string());
        let agnostic = if settings.agnostic { "#true" } else { "#false" };
        let detect = [("min-score", min_score.as_str()), ("iou", &iou), ("agnostic", agnostic)];
        let mut alone = Alone::open(&self.model, &model, &detect)?;
        pictures.iter().map(|path| alone.find(&photo(path)?)).collect()
    }
}
