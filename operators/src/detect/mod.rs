//! `detect`: finds objects on pictures with a YOLO model.
//!
//! [`letterbox`] makes a picture fit, [`head`] reads what the model answers, [`nms`] thins it out,
//! `labels` names it; `input` checks the model, `lane` holds a thread's memory, `host` has the sessions on the processor.
//! With one thread two lanes share one session: while one infers, the other letterboxes the next picture or thins out the last.
//! On a device each lane has a pipeline of its own (`accelerated`), and the host serves where that fails.

mod accelerated;
mod alone;
pub mod compare;
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

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flowrun_dsl::params::Params;
use flowrun_engine::device::{Fault, PoolState, is_out_of_memory};
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::Frame;
use flowrun_engine::infer::{Failure, Model, ModelOptions, Outcome, Pipeline, Provider, RungState, Rungs, absent};
use flowrun_engine::metrics::ComputeState;
use flowrun_engine::operator::{BatchPolicy, Job, NodeSetup, Offload, PerCamera};
use flowrun_engine::rows::{ClassId, Detection};

pub use alone::{Alone, Found};
pub use lane::DetectLane;
pub use params::{DetectParams, ModelParams, ProviderChoice};

use accelerated::{Accelerator, Wanted};
use head::Head;
use host::{Host, shares};
use input::{Input, carried_names, check_task, complete_names, input_of, warm_up};
use letterbox::Geometry;
use nms::{Candidate, Settings};

/// Two: one prepares and reads while the other infers.
const LANES: usize = 2;
/// Room for so many boxes of a picture on a device at least, so that `max` can be edited up to it without opening the model anew.
const USUAL_MOST: usize = 100;

/// The operator: one model, shared by all cameras.
pub struct Detect {
    opened: Arc<Opened>,
    settings: PerCamera<Settings>,
    deadline: Duration,
}

/// A model that is open, with all that edits of live parameters leave as it is.
struct Opened {
    host: Host,
    accelerator: Option<Accelerator>,
    /// Pipelines that no lane has taken yet; all are opened before the first frame.
    pipelines: Mutex<Vec<Pipeline>>,
    rungs: Rungs,
    refusals: Vec<String>,
    path: PathBuf,
    input: Input,
    head: Box<dyn Head>,
    names: Vec<String>,
    classes: Vec<ClassId>,
    /// The most boxes of a picture that pipelines have room for.
    most_kept: usize,
}

impl Offload for Detect {
    const KIND: &'static str = "detect";
    type Params = DetectParams;
    type Input = Frame;
    type Output = Detection;
    type Lane = DetectLane;

    fn new(params: PerCamera<DetectParams>, setup: &NodeSetup<'_>) -> Result<Self> {
        let plan = setup.model(&params.base().model)?;
        let mut model = ModelParams::from_values(&plan.params).map_err(|error| error.to_string())?;
        model.labels = model.labels.map(|labels| setup.path(&labels));
        let intern = |name: &str| Ok(setup.names.intern(name)?);
        let detect = Detect::open(&setup.path(&plan.path), &model, params, &intern)?;
        tracing::info!(
            node = setup.node.name,
            model = %detect.opened.path.display(),
            provider = %detect.provider(),
            device = detect.opened.accelerator.as_ref().map(Accelerator::described),
            batch = detect.policy().size,
            "model ready"
        );
        Ok(detect)
    }

    fn revise(&self, params: PerCamera<DetectParams>, _: &NodeSetup<'_>) -> Result<Option<Self>> {
        check_shared(&params)?;
        let settings = params.try_map(|params| settings_of(params, &self.opened.names))?;
        let fits = settings.all().all(|settings| settings.max <= self.opened.most_kept);
        Ok(fits.then(|| Detect {
            opened: self.opened.clone(),
            settings,
            deadline: params.base().deadline,
        }))
    }

    fn policy(&self) -> BatchPolicy {
        BatchPolicy {
            lanes: LANES,
            size: self
                .opened
                .accelerator
                .as_ref()
                .map_or(self.opened.input.batch.most(), Accelerator::most),
            deadline: self.deadline,
        }
    }

    fn sizes(&self) -> Vec<usize> {
        match &self.opened.accelerator {
            Some(accelerator) => accelerator.batches().to_vec(),
            None => vec![self.policy().size],
        }
    }

    fn compute(&self) -> ComputeState {
        let providers = self.providers();
        let serving = self.provider();
        ComputeState {
            serving: providers.iter().position(|rung| rung.provider == serving),
            providers,
            pools: match &self.opened.accelerator {
                Some(accelerator) => vec![
                    ("device", accelerator.pools().device.state()),
                    ("pinned", accelerator.pools().pinned.state()),
                ],
                None => Vec::new(),
            },
            tiers: None,
        }
    }

    fn lane(&self) -> Result<DetectLane> {
        let mut pipeline = self
            .opened
            .pipelines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        if let (None, Some(accelerator)) = (&pipeline, &self.opened.accelerator) {
            // A lane that panicked is replaced.
            pipeline = Some(accelerator.pipeline(&self.opened.path)?);
        }
        Ok(DetectLane::new(&self.opened.input, pipeline))
    }

    fn process(&self, lane: &mut DetectLane, jobs: &mut [Job<Frame, Detection>]) {
        let served = self.opened.rungs.serve(|provider, most| match provider.is_on_device() {
            true => self.answer_on_device(lane, jobs, most),
            false => {
                jobs.chunks_mut(self.opened.input.batch.most())
                    .for_each(|jobs| self.answer(lane, jobs));
                Outcome::Done(())
            }
        });
        if let Err(error) = served {
            jobs.iter_mut().for_each(|job| job.result = Some(Err(error.clone())));
        }
    }
}

impl Detect {
    /// The operator over a model file; `intern` gives a class its number.
    ///
    /// # Errors
    /// As [`Offload::new`].
    fn open(
        path: &Path,
        model_params: &ModelParams,
        params: PerCamera<DetectParams>,
        intern: &dyn Fn(&str) -> Result<ClassId>,
    ) -> Result<Self> {
        let base = params.base();
        check_shared(&params)?;
        let ladder = model_params.provider.ladder();
        let on_host: Vec<Provider> = ladder
            .iter()
            .copied()
            .filter(|provider| !provider.is_on_device())
            .collect();
        let shares = shares(base.threads.unwrap_or_else(cores), LANES);
        // The host's processor is the lowest rung of every ladder, and it says what the model is.
        let session = |threads: usize| Model::open(path, &ModelOptions::new(threads, &on_host));
        let mut model = session(shares[0])?;
        let about = |error: OperatorError| OperatorError {
            cause: format!("model `{}`: {}", base.model.name(), error.cause),
            remedy: error.remedy,
        };
        check_task(&model).map_err(about)?;
        let input = input_of(&model, base.batch).map_err(about)?;
        let names = match &model_params.labels {
            Some(labels) => Some(labels::from_yaml_file(labels)?),
            None => carried_names(&model).map_err(about)?,
        };
        let count = names.as_ref().map(Vec::len);
        let head = warm_up(&mut model, &input, count).map_err(about)?;
        let names = complete_names(names, head.as_ref()).map_err(about)?;
        let classes = names.iter().map(|name| intern(name));
        let classes = classes.collect::<Result<Vec<_>, _>>()?;
        let settings = params.try_map(|params| settings_of(params, &names))?;
        let most_kept = settings.all().map(|settings| settings.max).fold(USUAL_MOST, usize::max);
        let wanted = Wanted {
            model: path,
            input: &input,
            input_name: &model.input().name,
            symbol: model.batch_symbol(),
            head: head.form(most_kept),
            batch: base.batch,
            ordinal: model_params.device,
            lanes: LANES,
            may_build: model_params.provider == ProviderChoice::Tensorrt,
            effort: model_params.effort,
        };
        let (found, refusals) = best_accelerator(ladder, &wanted, &Accelerator::new).map_err(about)?;
        let mut providers = vec![(model.provider(), input.batch.most())];
        providers.splice(
            0..0,
            found
                .iter()
                .map(|(accelerator, _)| (accelerator.provider(), accelerator.most())),
        );
        let (accelerator, pipelines) = found.unzip();
        // Where a device computes, the processor only stands in for it.
        let beside = if accelerator.is_none() { &shares[1..] } else { &[] };
        let others = beside.iter().map(|threads| {
            let mut other = session(*threads)?;
            warm_up(&mut other, &input, count).map_err(about)?;
            Ok(other)
        });
        let opened = Opened {
            host: Host::new(model, others)?,
            accelerator,
            pipelines: Mutex::new(pipelines.unwrap_or_default()),
            rungs: Rungs::new(&providers, model_params.breaker()),
            refusals,
            path: path.to_owned(),
            input,
            head,
            names,
            classes,
            most_kept,
        };
        Ok(Detect {
            opened: Arc::new(opened),
            settings,
            deadline: base.deadline,
        })
    }
}

/// How a device is opened for a provider.
type OpenDevice<'a> = &'a dyn Fn(Provider, &Wanted<'_>) -> Result<Accelerator>;

/// The first accelerator of a ladder that takes the model, with a pipeline for each lane, and why the others did not.
///
/// # Errors
/// When a device is there and has too little memory: what stands in for it would not keep up, and nobody asked for that.
fn best_accelerator(
    ladder: &[Provider],
    wanted: &Wanted<'_>,
    open: OpenDevice<'_>,
) -> Result<(Option<(Accelerator, Vec<Pipeline>)>, Vec<String>)> {
    let mut refusals = Vec::new();
    for provider in ladder.iter().copied().filter(|provider| provider.is_on_device()) {
        if let Some(refusal) = absent(provider) {
            refusals.push(refusal.to_string());
            continue;
        }
        let opened = open(provider, wanted).and_then(|accelerator| {
            let pipelines = accelerator.pipelines(wanted.model, wanted.lanes)?;
            Ok((accelerator, pipelines))
        });
        match opened {
            Ok(opened) => return Ok((Some(opened), refusals)),
            Err(error) if is_out_of_memory(&error.cause) => return Err(error),
            Err(OperatorError { cause, remedy }) => {
                tracing::warn!(%provider, cause, remedy, "a provider cannot be used; the next one is tried");
                refusals.push(format!("{provider}: {cause}"));
            }
        }
    }
    Ok((None, refusals))
}

impl Detect {
    /// What computes the model now.
    pub fn provider(&self) -> Provider {
        self.opened.rungs.serving().unwrap_or(Provider::Cpu)
    }
    /// How each provider stands, the best first.
    pub fn providers(&self) -> Vec<RungState> {
        self.opened.rungs.states()
    }
    /// Why better providers are not used.
    pub fn refusals(&self) -> &[String] {
        &self.opened.refusals
    }
    /// How the pool of pictures on the device stands, where there is one.
    pub fn device_pool(&self) -> Option<PoolState> {
        self.opened
            .accelerator
            .as_ref()
            .map(|accelerator| accelerator.pools().device.state())
    }

    /// Answers jobs in batches of at most `most`, on the device.
    fn answer_on_device(&self, lane: &mut DetectLane, jobs: &mut [Job<Frame, Detection>], most: usize) -> Outcome<()> {
        let DetectLane {
            pipeline: Some(pipeline),
            places,
            wide,
            head,
            candidates,
            ..
        } = lane
        else {
            return Outcome::Failed(Failure::Other, "this lane has no pipeline".into());
        };
        for jobs in jobs.chunks_mut(most.max(1)) {
            places.clear();
            for (index, job) in jobs.iter_mut().enumerate() {
                let Some(frame) = job.input.first() else {
                    job.result = Some(Ok(Vec::new()));
                    continue;
                };
                match accelerated::place(pipeline, places.len(), &frame.picture, self.opened.input.size) {
                    Ok(Ok(geometry)) => {
                        let settings = self.settings.get(job.at.camera);
                        pipeline.choose(places.len(), accelerated::choice(settings), settings.classes.as_deref());
                        places.push((index, geometry));
                        job.result = None;
                    }
                    Ok(Err(error)) => job.result = Some(Err(error)),
                    Err(fault) => {
                        pipeline.abandon();
                        return failed(&fault, fault.to_string());
                    }
                }
            }
            if places.is_empty() {
                continue;
            }
            if let Err(fault) = pipeline.run(places.len()) {
                return failed(&fault, fault.to_string());
            }
            for (place, (index, geometry)) in places.iter().enumerate() {
                let settings = self.settings.get(jobs[*index].at.camera);
                candidates.clear();
                match pipeline.numbers(place, wide) {
                    [] => candidates.extend(pipeline.kept(place).iter().map(accelerated::candidate)),
                    numbers => self.opened.head.read(numbers, settings, head, candidates),
                }
                jobs[*index].result = Some(Ok(self.detections(candidates, geometry)));
            }
        }
        Outcome::Done(())
    }

    fn answer(&self, lane: &mut DetectLane, jobs: &mut [Job<Frame, Detection>]) {
        lane.places.clear();
        for (index, job) in jobs.iter_mut().enumerate() {
            // A frame without a picture failed before it came here: it is answered, with nothing.
            job.result = match job.input.first() {
                Some(frame) => lane.place(index, &frame.picture, &self.opened.input).err().map(Err),
                None => Some(Ok(Vec::new())),
            };
        }
        if lane.places.is_empty() {
            return;
        }
        let output = self.opened.host.run(&self.opened.input, lane, lane.places.len());
        let floats = output
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|output| output.floats(&mut lane.wide));
        for (place, (index, geometry)) in lane.places.iter().enumerate() {
            let job = &mut jobs[*index];
            let length = self.opened.head.picture_len();
            let answer = floats.clone().and_then(|floats| {
                let answer = floats.get(place * length..(place + 1) * length);
                answer.ok_or_else(|| OperatorError::new("the model answered fewer numbers than it did at first"))
            });
            job.result = Some(answer.map(|answer| {
                let settings = self.settings.get(job.at.camera);
                self.opened
                    .head
                    .read(answer, settings, &mut lane.head, &mut lane.candidates);
                self.detections(&lane.candidates, geometry)
            }));
        }
    }

    /// Candidates as rows: in source pixels, of classes that have a name, with an area on the picture.
    fn detections(&self, candidates: &[Candidate], geometry: &Geometry) -> Vec<Detection> {
        let detection = |candidate: &Candidate| {
            let bbox = geometry.to_source(&candidate.bbox);
            let class = *self.opened.classes.get(candidate.class)?;
            let score = candidate.score;
            (bbox.area() > 0.0).then_some(Detection { class, score, bbox })
        };
        candidates.iter().filter_map(detection).collect()
    }
}

fn failed(fault: &Fault, cause: String) -> Outcome<()> {
    let failure = match fault {
        Fault::OutOfMemory(_) => Failure::Memory,
        _ => Failure::Other,
    };
    Outcome::Failed(failure, cause)
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
