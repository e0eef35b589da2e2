//! `detect`: finds objects on pictures with a YOLO model.
//!
//! [`letterbox`] makes a picture fit, [`head`] reads what the model answers, [`nms`] thins it out,
//! `labels` names it; `input` checks the model, `lane` holds a thread's memory, `host` has the sessions on the processor.
//! With one thread two lanes share one session: while one infers, the other letterboxes the next picture or thins out the last.
//! On a device each lane has a pipeline of its own (`accelerated`), and the host serves where that fails; `posts` has the
//! devices, where there are several.

mod accelerated;
mod alone;
pub mod calibrate;
pub mod compare;
mod floor;
pub mod head;
mod host;
mod input;
mod labels;
mod ladder;
mod lane;
pub mod letterbox;
pub mod nms;
mod params;
mod posts;
mod precision;
mod shadow;
#[cfg(test)]
mod tests;
mod undecoded;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flowrun_engine::device::{Devices, Fault, PoolState, Seat};
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::Frame;
use flowrun_engine::infer::{EngineWanted, Failure, Model, ModelOptions, Outcome, Provider, Refusal, RungState};
use flowrun_engine::metrics::ComputeState;
use flowrun_engine::operator::{BatchPolicy, Job, NodeSetup, Offload, PerCamera};
use flowrun_engine::rows::{CameraId, ClassId, Detection};

pub use alone::{Alone, Found};
pub use lane::DetectLane;
pub use params::{DetectParams, EngineChoice, ModelParams, ProviderChoice};

use accelerated::{Accelerator, Wanted};
use floor::Floor;
use host::{Host, shares};
use input::{Input, carried_names, check_task, complete_names, input_of, warm_up};
use ladder::Climb;
use letterbox::Geometry;
use nms::{Candidate, Settings};
use posts::{Post, Posts, seats};
use shadow::{About, Offer, Shadow};

/// Lanes on the host's processor: one prepares and reads while the other infers.
const LANES: usize = 2;
/// Room for so many boxes of a picture on a device at least, so that `max` can be edited up to it without opening the model anew.
const USUAL_MOST: usize = 100;

/// The operator: one model, shared by all cameras.
pub struct Detect {
    opened: Arc<Opened>,
    settings: PerCamera<Settings>,
    deadline: Duration,
    shadow: Option<Arc<Shadow>>,
}

/// A model that is open, with all that edits of live parameters leave as it is.
struct Opened {
    host: Host,
    /// What computes on the host.
    on_host: Provider,
    posts: Posts,
    /// How many lanes work on each device, or on the host.
    lanes: RangeInclusive<usize>,
    refusals: Vec<Refusal>,
    lacking: Option<EngineWanted>,
    path: PathBuf,
    input: Input,
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
        let mut model = ModelParams::from_plan(plan)?;
        model.resolve(|path| setup.path(path));
        let intern = |name: &str| Ok(setup.names.intern(name)?);
        let shadow = About::of(params.base(), setup)?;
        let shadow = shadow.map(|about| Shadow::open(about, params.base(), setup).map(Arc::new));
        let mut detect = Detect::open(&setup.path(&plan.path), &model, params, setup.devices, &intern)?;
        detect.shadow = shadow.transpose()?;
        // Cameras that no device decodes are placed here.
        for camera in setup.cameras() {
            detect.group(camera);
        }
        let devices: Vec<String> = detect.opened.posts.accelerators().map(Accelerator::described).collect();
        tracing::info!(
            node = setup.node.name,
            model = %detect.opened.path.display(),
            provider = %detect.provider(),
            device = devices.join("; "),
            batch = detect.policy().size,
            "model ready"
        );
        Ok(detect)
    }

    fn revise(&self, params: PerCamera<DetectParams>, setup: &NodeSetup<'_>) -> Result<Option<Self>> {
        check_shared(&params)?;
        let settings = params.try_map(|params| settings_of(params, &self.opened.names))?;
        let fits = settings.all().all(|settings| settings.max <= self.opened.most_kept);
        if !fits {
            return Ok(None);
        }
        let shadow = match (About::of(params.base(), setup)?, &self.shadow) {
            (None, _) => None,
            (Some(about), Some(shadow)) if *shadow.about() == about => Some(shadow.clone()),
            (Some(about), _) => Some(Arc::new(Shadow::open(about, params.base(), setup)?)),
        };
        Ok(Some(Detect {
            opened: self.opened.clone(),
            settings,
            deadline: params.base().deadline,
            shadow,
        }))
    }

    fn policy(&self) -> BatchPolicy {
        BatchPolicy {
            lanes: *self.opened.lanes.end(),
            size: self.most().unwrap_or(self.opened.input.batch.most()),
            deadline: self.deadline,
        }
    }

    fn least_lanes(&self) -> usize {
        *self.opened.lanes.start()
    }

    fn sizes(&self) -> Vec<usize> {
        // The same sizes are open on all devices.
        match self.opened.posts.accelerators().next() {
            Some(accelerator) => accelerator.batches().to_vec(),
            None => vec![self.policy().size],
        }
    }

    fn compute(&self) -> ComputeState {
        ComputeState {
            providers: self.providers(),
            pools: self.opened.posts.pools(),
            refusals: self.opened.refusals.clone(),
            lacking: self.opened.lacking.clone(),
            shadow: self.shadow.as_ref().map(|shadow| shadow.state()),
            lanes: Vec::new(),
            tiers: None,
        }
    }

    fn lane(&self) -> Result<DetectLane> {
        self.lane_of(0)
    }

    fn groups(&self) -> usize {
        self.opened.posts.count()
    }

    fn group(&self, camera: CameraId) -> usize {
        self.opened.posts.of(camera)
    }

    fn lane_of(&self, group: usize) -> Result<DetectLane> {
        let pipeline = self.opened.posts.get(group).pipeline(&self.opened.path)?;
        Ok(DetectLane::new(&self.opened.input, pipeline, group))
    }

    fn waits(&self, group: usize, jobs: usize) {
        self.opened.posts.waits(group, jobs);
    }

    fn process(&self, lane: &mut DetectLane, jobs: &mut [Job<Frame, Detection>]) {
        let post = self.opened.posts.get(lane.post);
        let served = post.serve(|provider, most| match provider.is_on_device() {
            true => self.opened.answer_on_device(&self.settings, lane, jobs, most),
            false => {
                jobs.chunks_mut(self.opened.input.batch.most())
                    .for_each(|jobs| self.opened.answer(&self.settings, lane, jobs));
                Outcome::Done(())
            }
        });
        if let Err(error) = served {
            jobs.iter_mut().for_each(|job| job.result = Some(Err(error.clone())));
        }
        if let Some(shadow) = &self.shadow {
            jobs.iter().for_each(|job| self.show(shadow, job));
        }
    }
}

impl Detect {
    /// Shows the shadow a frame that it chooses, with what was found on it.
    fn show(&self, shadow: &Shadow, job: &Job<Frame, Detection>) {
        let (Some(Ok(rows)), Some(frame), true) = (&job.result, job.input.first(), shadow.chooses(&job.at)) else {
            return;
        };
        let named = |detection: &Detection| Found {
            class: self.opened.name_of(detection.class).unwrap_or_else(|| "?".into()),
            score: detection.score,
            bbox: detection.bbox,
        };
        let settings = self.settings.get(job.at.camera);
        let classes = settings.classes.as_ref().map(|wanted| {
            let names = self.opened.names.iter().zip(wanted);
            let wanted = names.filter(|(_, wanted)| **wanted);
            wanted.map(|(name, _)| name.as_str().into()).collect()
        });
        shadow.offer(Offer {
            picture: frame.picture.clone(),
            found: rows.iter().map(named).collect(),
            min_score: settings.min_score,
            classes,
        });
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
        devices: &Devices,
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
        let session = |threads: usize, on: &[Provider]| Model::open(path, &ModelOptions::new(threads, on));
        let mut model = session(shares[0], &on_host)?;
        let about = |error: OperatorError| error.about(format_args!("model `{}`", base.model.name()));
        precision::check(path, model_params).map_err(about)?;
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
        let floor = Floor::of(path, model_params, base).map_err(about)?;
        let (input_name, symbol) = (model.input().name.clone(), model.batch_symbol().map(str::to_owned));
        // Why a better provider of the host's is not used.
        let refusals = model.refusals().to_vec();
        let host = (model.provider(), input.batch.most());
        let mut opened = Opened {
            posts: Posts::new(Vec::new(), || Post::on_host(host, model_params.breaker())),
            on_host: model.provider(),
            host: Host::new(path, model, shares[0], &input, head),
            lanes: LANES..=LANES,
            refusals,
            lacking: None,
            path: path.to_owned(),
            input,
            names,
            classes,
            most_kept,
        };
        let again = |on: &[Provider]| {
            let mut other = session(shares[0], on)?;
            let head = warm_up(&mut other, &input, count).map_err(about)?;
            Ok((other.provider(), Host::new(path, other, shares[0], &input, head)))
        };
        let (undecoded, form) = (opened.host.is_undecoded, opened.host.head.form(most_kept));
        let (seats, closed) = seats(ladder, devices, &model_params.device);
        let streams = streams(base, &seats)?;
        let climb = Climb {
            wanted: &|seat| Wanted {
                seat,
                name: base.model.name(),
                model: path,
                params: model_params,
                input: &input,
                input_name: &input_name,
                symbol: symbol.as_deref(),
                undecoded,
                head: form,
                batch: base.batch,
                lanes: *streams.end(),
            },
            params: model_params,
            floor: floor.as_ref(),
            open: &Accelerator::new,
            closed: &closed,
            again: &again,
        };
        climb.climb(&mut opened, ladder, seats).map_err(about)?;
        if !opened.posts.is_host() {
            opened.lanes = streams.clone();
        }
        // Where a device computes, the processor only stands in for it.
        let beside = if opened.posts.is_host() { &shares[1..] } else { &[] };
        for threads in beside {
            let joined = opened.host.join(path, *threads, opened.on_host, &input);
            joined.map_err(about)?;
        }
        let detect = Detect {
            opened: Arc::new(opened),
            settings,
            deadline: base.deadline,
            shadow: None,
        };
        if let Some(text) = detect.instead(model_params.provider) {
            tracing::warn!(model = base.model.name(), "{text}");
        }
        Ok(detect)
    }

    /// What computes instead of the provider that the graph asks for, and why; none where that one does.
    fn instead(&self, asked: ProviderChoice) -> Option<String> {
        let serving = self.provider();
        let named = asked.named().filter(|named| *named != serving)?;
        let refusal = self.refusals().iter().find(|refusal| refusal.provider == named);
        let cause = refusal.map_or(String::new(), |refusal| format!(": {}", refusal.cause));
        Some(format!(
            "{serving} computes instead of {named}, which the graph asks for{cause}"
        ))
    }
}

impl Detect {
    /// What computes the model now; of several devices, on the first.
    pub fn provider(&self) -> Provider {
        self.opened.posts.get(0).serving()
    }
    /// How each provider stands: of each device the best first.
    pub fn providers(&self) -> Vec<RungState> {
        self.opened.posts.iter().flat_map(Post::providers).collect()
    }
    /// The most pictures in a batch, where a device computes.
    fn most(&self) -> Option<usize> {
        self.opened.posts.accelerators().map(Accelerator::most).max()
    }
    /// Why better providers are not used.
    pub fn refusals(&self) -> &[Refusal] {
        &self.opened.refusals
    }
    /// How the pool of pictures on the first device stands, where there is one.
    pub fn device_pool(&self) -> Option<PoolState> {
        let accelerator = self.opened.posts.accelerators().next()?;
        Some(accelerator.pools().device.state())
    }
}

impl Opened {
    /// What the model calls a class.
    fn name_of(&self, class: ClassId) -> Option<Arc<str>> {
        let place = self.classes.iter().position(|known| *known == class)?;
        Some(self.names.get(place)?.as_str().into())
    }

    /// Answers jobs in batches of at most `most`, on the device.
    fn answer_on_device(
        &self,
        settings: &PerCamera<Settings>,
        lane: &mut DetectLane,
        jobs: &mut [Job<Frame, Detection>],
        most: usize,
    ) -> Outcome<()> {
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
                match accelerated::place(pipeline, places.len(), &frame.picture, self.input.size) {
                    Ok(Ok(geometry)) => {
                        let settings = settings.get(job.at.camera);
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
                let settings = settings.get(jobs[*index].at.camera);
                candidates.clear();
                match pipeline.numbers(place, wide) {
                    [] => candidates.extend(pipeline.kept(place).iter().map(accelerated::candidate)),
                    numbers => self.host.head.read(numbers, settings, head, candidates),
                }
                jobs[*index].result = Some(Ok(self.detections(candidates, geometry)));
            }
        }
        Outcome::Done(())
    }

    fn answer(&self, settings: &PerCamera<Settings>, lane: &mut DetectLane, jobs: &mut [Job<Frame, Detection>]) {
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
            let length = self.host.head.picture_len();
            let answer = floats.clone().and_then(|floats| {
                let answer = floats.get(place * length..(place + 1) * length);
                answer.ok_or_else(|| OperatorError::new("the model answered fewer numbers than it did at first"))
            });
            job.result = Some(answer.map(|answer| {
                let settings = settings.get(job.at.camera);
                let head = &self.host.head;
                head.read(answer, settings, &mut lane.head, &mut lane.candidates);
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

fn failed(fault: &Fault, cause: String) -> Outcome<()> {
    let failure = match fault {
        Fault::OutOfMemory(_) => Failure::Memory,
        Fault::Lost(_) => Failure::Lost,
        _ => Failure::Other,
    };
    Outcome::Failed(failure, cause)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// One model serves all cameras, so what makes the model cannot differ among them.
fn check_shared(params: &PerCamera<DetectParams>) -> Result<()> {
    let shared = |params: &DetectParams| {
        let shadow = (params.shadow.clone(), params.shadow_share);
        (
            params.model.clone(),
            params.batch,
            params.deadline,
            (params.min_streams, params.max_streams),
            params.threads,
            shadow,
        )
    };
    let base = shared(params.base());
    if params.all().all(|other| shared(other) == base) {
        return Ok(());
    }
    Err(
        OperatorError::new("`model`, `batch`, `deadline`, `min-streams`, `max-streams`, `threads`, `shadow` and `shadow-share` hold for all cameras")
            .help("take them out of `for`, or give those cameras a flow of their own"),
    )
}

/// How many streams may compute on each of the devices: as asked for, as far as the chips have use for them.
fn streams(params: &DetectParams, seats: &[Seat]) -> Result<RangeInclusive<usize>> {
    let (least, most) = (params.min_streams, params.max_streams);
    if least > most {
        return Err(
            OperatorError::new(format!("`min-streams={least}` is more than `max-streams={most}`"))
                .help("give `max-streams` at least as many"),
        );
    }
    let chips = seats.iter().map(|seat| seat.device().chip());
    let Some(fewest) = chips.min_by_key(|chip| chip.most_streams()) else {
        return Ok(least..=most);
    };
    let useful = fewest.most_streams();
    if most > useful {
        tracing::warn!(asked = most, used = useful, "{fewest} has no use for more streams");
    }
    Ok(least.min(useful)..=most.min(useful))
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
