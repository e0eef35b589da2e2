//! `detect` without a graph: what commands and benches look at pictures with.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use flowrun_dsl::params::{ParamValues, Params, parse_text};
use flowrun_engine::device::Devices;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::{Frame, Picture};
use flowrun_engine::infer::{Provider, Refusal};
use flowrun_engine::operator::{Job, Offload, PerCamera};
use flowrun_engine::rows::{At, ClassId, Detection, Rect, Rows};

use super::{Detect, DetectLane, DetectParams, ModelParams};

/// A detector with a thread's memory.
pub struct Alone {
    detect: Detect,
    lane: DetectLane,
    names: Vec<Arc<str>>,
}

/// An object that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What it is.
    pub class: Arc<str>,
    /// How sure the model is.
    pub score: f32,
    /// Where, in the picture's pixels.
    pub bbox: Rect,
}

impl Alone {
    /// Opens a model. `model` and `detect` are what a graph would write into those nodes, as names and values.
    ///
    /// # Errors
    /// When a value is none, or the model cannot be used.
    pub fn open(path: &Path, model: &[(&str, &str)], detect: &[(&str, &str)]) -> Result<Self> {
        let named = path
            .file_stem()
            .map_or("model".into(), |stem| stem.to_string_lossy().replace(['.', ' '], "-"));
        let detect: Vec<_> = [("model", &*named)].into_iter().chain(detect.iter().copied()).collect();
        Alone::of(path, &written::<ModelParams>(model)?, written::<DetectParams>(&detect)?)
    }

    /// As [`Alone::open`], by the parameters themselves.
    ///
    /// # Errors
    /// When the model cannot be used.
    pub fn of(path: &Path, model: &ModelParams, detect: DetectParams) -> Result<Self> {
        let params = PerCamera::new(detect, BTreeMap::new());
        let names = Mutex::new(Vec::<Arc<str>>::new());
        let intern = |name: &str| {
            let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
            names.push(name.into());
            Ok(ClassId((names.len() - 1) as u16))
        };
        let devices = Devices::new(&model.device, 1);
        let detect = Detect::open(path, model, params, &devices, &intern)?;
        Ok(Alone {
            lane: detect.lane()?,
            detect,
            names: names.into_inner().unwrap_or_else(PoisonError::into_inner),
        })
    }

    /// What computes the model.
    pub fn provider(&self) -> Provider {
        self.detect.provider()
    }
    /// Why better providers do not.
    pub fn refusals(&self) -> &[Refusal] {
        self.detect.refusals()
    }
    /// The classes that the model knows.
    pub fn classes(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Looks at a picture; the surest come first.
    ///
    /// # Errors
    /// When the picture cannot be read, or the model fails.
    pub fn find(&mut self, picture: &Arc<Picture>) -> Result<Vec<Found>> {
        let mut jobs = [job_of(picture)];
        self.detect.process(&mut self.lane, &mut jobs);
        let [job] = jobs;
        found_in(job.result, |class| self.names.get(class.0 as usize).cloned())
    }
}

/// A picture as a frame of no camera.
pub(super) fn job_of(picture: &Arc<Picture>) -> Job<Frame, Detection> {
    let frame = Frame {
        picture: picture.clone(),
        truth: None,
        packets: Rows::default(),
        taken: None,
    };
    Job {
        at: At::default(),
        input: vec![frame].into(),
        result: None,
    }
}

/// What a job's answer says, with the names of classes.
///
/// # Errors
/// The job's own.
pub(super) fn found_in(
    result: Option<Result<Vec<Detection>>>,
    name: impl Fn(ClassId) -> Option<Arc<str>>,
) -> Result<Vec<Found>> {
    let found = result.unwrap_or_else(|| Err(OperatorError::new("the detector gave no answer")))?;
    let found = found.into_iter().map(|detection| Found {
        class: name(detection.class).unwrap_or_else(|| "?".into()),
        score: detection.score,
        bbox: detection.bbox,
    });
    Ok(found.collect())
}

/// Parameters as a graph would write them.
fn written<P: Params>(given: &[(&str, &str)]) -> Result<P> {
    let schema = P::schema();
    let defaults = schema
        .params
        .iter()
        .filter_map(|spec| Some((spec.name.clone(), spec.default.clone()?)));
    let mut values: ParamValues = defaults.collect();
    for (name, text) in given {
        let spec = schema
            .get(name)
            .ok_or_else(|| format!("there is no parameter `{name}`"))?;
        let value = parse_text(&spec.ty, text).map_err(|error| format!("`{name}` cannot be `{text}`: {error}"))?;
        values.insert(spec.name.clone(), value);
    }
    P::from_values(&values).map_err(|error| error.to_string().into())
}
