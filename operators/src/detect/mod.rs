//! `detect`: finds objects on pictures with a YOLO model.
//!
//! [`letterbox`] makes a picture fit, [`head`] reads what the model answers, [`nms`] thins it out,
//! `labels` names it; `input` checks the model, `lane` holds a thread's memory, `host` has the sessions. With one thread
//! two lanes share one session: while one infers, the other letterboxes the next picture or thins out the last.

pub mod head;
mod host;
mod input;
mod labels;
mod lane;
pub mod letterbox;
pub mod nms;
mod params;
#[cfg(test)]
mod tests;

use std::time::Duration;

use flowrun_dsl::params::Params;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::Frame;
use flowrun_engine::infer::{Model, ModelOptions, Provider};
use flowrun_engine::operator::{BatchPolicy, Job, NodeSetup, Offload, PerCamera};
use flowrun_engine::rows::{ClassId, Detection};

pub use lane::DetectLane;
pub use params::{DetectParams, ModelParams, ProviderChoice};

use head::Head;
use host::{Host, shares};
use input::{Input, carried_names, check_task, complete_names, input_of, warm_up};
use letterbox::Geometry;
use nms::{Candidate, Settings};

/// Two: one prepares and reads while the other infers.
const LANES: usize = 2;

/// The operator: one model, shared by all cameras.
pub struct Detect {
    host: Host,
    input: Input,
    head: Box<dyn Head>,
    classes: Vec<ClassId>,
    settings: PerCamera<Settings>,
    deadline: Duration,
}

impl Offload for Detect {
    const KIND: &'static str = "detect";
    type Params = DetectParams;
    type Input = Frame;
    type Output = Detection;
    type Lane = DetectLane;

    fn new(params: PerCamera<DetectParams>, setup: &NodeSetup<'_>) -> Result<Self> {
        let base = params.base();
        check_shared(&params)?;
        let plan = setup.model(&base.model)?;
        let model_params = ModelParams::from_values(&plan.params).map_err(|error| error.to_string())?;
        let threads = base.threads.unwrap_or_else(cores);
        let shares = shares(threads, LANES);
        let ladder = model_params.provider.ladder();
        let path = setup.path(&plan.path);
        let open = |threads: usize| Model::open(&path, &ModelOptions { threads, ladder });
        let mut model = open(shares[0])?;
        let about = |error: OperatorError| OperatorError {
            cause: format!("model `{}`: {}", base.model.name(), error.cause),
            remedy: error.remedy,
        };
        check_task(&model).map_err(about)?;
        let input = input_of(&model, base.batch).map_err(about)?;
        let names = match &model_params.labels {
            Some(labels) => Some(labels::from_yaml_file(&setup.path(labels))?),
            None => carried_names(&model).map_err(about)?,
        };
        let count = names.as_ref().map(Vec::len);
        let head = warm_up(&mut model, &input, count).map_err(about)?;
        let names = complete_names(names, head.as_ref()).map_err(about)?;
        let classes = names.iter().map(|name| setup.names.intern(name));
        let classes = classes.collect::<Result<Vec<_>, _>>()?;
        let settings = params.try_map(|params| settings_of(params, &names))?;
        let others = shares[1..].iter().map(|threads| {
            let mut other = open(*threads)?;
            warm_up(&mut other, &input, count).map_err(about)?;
            Ok(other)
        });
        let host = Host::new(model, others)?;
        tracing::info!(
            node = setup.node.name,
            model = %path.display(),
            provider = %host.provider(),
            threads,
            batch = input.batch.most(),
            "model ready"
        );
        Ok(Detect {
            host,
            input,
            head,
            classes,
            settings,
            deadline: base.deadline,
        })
    }

    fn policy(&self) -> BatchPolicy {
        BatchPolicy {
            lanes: LANES,
            size: self.input.batch.most(),
            deadline: self.deadline,
        }
    }

    fn lane(&self) -> Result<DetectLane> {
        Ok(DetectLane::new(&self.input))
    }

    fn process(&self, lane: &mut DetectLane, jobs: &mut [Job<Frame, Detection>]) {
        for jobs in jobs.chunks_mut(self.input.batch.most()) {
            self.answer(lane, jobs);
        }
    }
}

impl Detect {
    /// What computes the model.
    pub fn provider(&self) -> Provider {
        self.host.provider()
    }

    fn answer(&self, lane: &mut DetectLane, jobs: &mut [Job<Frame, Detection>]) {
        lane.places.clear();
        for (index, job) in jobs.iter_mut().enumerate() {
            // A frame without a picture failed before it came here: it is answered, with nothing.
            job.result = match job.input.first() {
                Some(frame) => lane.place(index, &frame.picture, &self.input).err().map(Err),
                None => Some(Ok(Vec::new())),
            };
        }
        if lane.places.is_empty() {
            return;
        }
        let output = self.host.run(&self.input, lane, lane.places.len());
        let floats = output
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|output| output.floats(&mut lane.wide));
        for (place, (index, geometry)) in lane.places.iter().enumerate() {
            let job = &mut jobs[*index];
            let length = self.head.picture_len();
            let answer = floats.clone().and_then(|floats| {
                let answer = floats.get(place * length..(place + 1) * length);
                answer.ok_or_else(|| OperatorError::new("the model answered fewer numbers than it did at first"))
            });
            job.result = Some(answer.map(|answer| {
                let settings = self.settings.get(job.at.camera);
                self.head.read(answer, settings, &mut lane.head, &mut lane.candidates);
                self.detections(&lane.candidates, geometry)
            }));
        }
    }

    /// Candidates as rows: in source pixels, of classes that have a name, with an area on the picture.
    fn detections(&self, candidates: &[Candidate], geometry: &Geometry) -> Vec<Detection> {
        let detection = |candidate: &Candidate| {
            let bbox = geometry.to_source(&candidate.bbox);
            let class = *self.classes.get(candidate.class)?;
            let score = candidate.score;
            (bbox.area() > 0.0).then_some(Detection { class, score, bbox })
        };
        candidates.iter().filter_map(detection).collect()
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// One model serves all cameras, so what makes the model cannot differ among them.
fn check_shared(params: &PerCamera<DetectParams>) -> Result<()> {
    let shared = |params: &DetectParams| (params.model.clone(), params.batch, params.deadline, params.threads);
    let base = shared(params.base());
    if params.all().all(|other| shared(other) == base) {
        return Ok(());
    }
    Err(
        OperatorError::new("`model`, `batch`, `deadline` and `threads` hold for all cameras")
            .help("take them out of `for`, or give those cameras a flow of their own"),
    )
}

fn settings_of(params: &DetectParams, names: &[String]) -> Result<Settings> {
    if let Some(unknown) = params.classes.iter().find(|class| !names.contains(class)) {
        let near = labels::near(unknown, names);
        let remedy = match near.as_slice() {
            [] => format!("it knows {}", names.join(", ")),
            near => format!("did you mean {}?", near.join(" or ")),
        };
        let cause = format!("model `{}` knows no class `{unknown}`", params.model.name());
        return Err(OperatorError::new(cause).help(remedy));
    }
    let wanted = || names.iter().map(|name| params.classes.contains(name)).collect();
    Ok(Settings {
        min_score: params.min_score,
        iou: params.iou,
        max: params.max,
        agnostic: params.agnostic,
        classes: (!params.classes.is_empty()).then(wanted),
    })
}
