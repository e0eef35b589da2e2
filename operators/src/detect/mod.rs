//! `detect`: finds objects on pictures with a YOLO model.
//!
//! [`letterbox`] makes a picture fit, [`head`] reads what the model answers, [`nms`] thins it out,
//! [`labels`] names it. Two lanes share one session: while one infers, the other letterboxes the next
//! picture or thins out the last.

pub mod head;
mod labels;
pub mod letterbox;
pub mod nms;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use flowrun_dsl::params::{Choice, Params, Ref};
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::{Frame, Picture};
use flowrun_engine::infer::{AUTO, Element, Model, ModelOptions, OutputTensor, Provider, TensorSpec, TensorView};
use flowrun_engine::operator::{BatchPolicy, Job, NodeSetup, Offload, PerCamera};
use flowrun_engine::rows::{ClassId, Detection, Size};
use half::f16;

use head::{Head, HeadScratch, head_of};
use letterbox::{Geometry, Letterbox, LetterboxScratch, Sample};
use nms::{Candidate, Settings};

/// Finds objects on pictures with a YOLO model.
#[derive(Clone, Debug, Params)]
pub struct DetectParams {
    /// The model.
    #[param(positional)]
    pub model: Ref<flowrun_dsl::params::Model>,
    /// Detections that the model is less sure of are dropped.
    #[param(live, default = "0.25", min = 0.0, max = 1.0)]
    pub min_score: f32,
    /// Of two boxes of a class that overlap by more than this ratio of their union, the less sure one is dropped.
    #[param(live, default = "0.45", min = 0.0, max = 1.0)]
    pub iou: f32,
    /// The most detections on one picture; the surest stay.
    #[param(live, default = "100", min = 1, max = 1000)]
    pub max: usize,
    /// Names of the classes to look for; none looks for all that the model knows.
    #[param(live, default = "")]
    pub classes: Vec<String>,
    /// Whether boxes of different classes compete too.
    #[param(live, default = "#false")]
    pub agnostic: bool,
    /// Pictures that are inferred together: what the model was exported for, else 1. More helps GPUs only.
    #[param(min = 1, max = 64)]
    pub batch: Option<usize>,
    /// How long a picture may wait for others to fill a batch.
    #[param(default = "5ms")]
    pub deadline: Duration,
    /// Threads that compute one batch together: as many as the machine has cores, unless given.
    #[param(min = 1, max = 256)]
    pub threads: Option<usize>,
}

/// What computes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum ProviderChoice {
    /// The best that the machine has.
    Auto,
    /// The host's processor.
    Cpu,
}

/// A model file and how to open it.
#[derive(Clone, Debug, Params)]
pub struct ModelParams {
    /// An Ultralytics data.yaml with the names of the classes, for a model that does not carry them.
    pub labels: Option<PathBuf>,
    /// What computes the model.
    #[param(default = "auto")]
    pub provider: ProviderChoice,
}

impl ProviderChoice {
    fn ladder(self) -> &'static [Provider] {
        match self {
            ProviderChoice::Auto => AUTO,
            ProviderChoice::Cpu => &[Provider::Cpu],
        }
    }
}

/// Two: one prepares and reads while the other infers.
const LANES: usize = 2;
/// The most pictures in a batch.
const LARGEST_BATCH: usize = 64;
/// The longest side of a model's input: four times what is in use.
const LONGEST_SIDE: usize = 8192;
/// Prepared letterboxes that a lane keeps; cameras of one site have a handful of sizes.
const KEPT_LETTERBOXES: usize = 8;

/// The operator: one model, shared by all cameras.
pub struct Detect {
    model: Mutex<Model>,
    input: Input,
    head: Box<dyn Head>,
    classes: Vec<ClassId>,
    settings: PerCamera<Settings>,
    deadline: Duration,
}

/// What the model takes.
#[derive(Clone, Copy, Debug)]
struct Input {
    element: Element,
    size: Size,
    batch: Batch,
}

#[derive(Clone, Copy, Debug)]
enum Batch {
    /// Always this many pictures; places that no picture needs are computed in vain.
    Exactly(usize),
    /// Up to this many.
    UpTo(usize),
}

impl Batch {
    fn most(self) -> usize {
        match self {
            Batch::Exactly(most) | Batch::UpTo(most) => most,
        }
    }
    fn run(self, pictures: usize) -> usize {
        match self {
            Batch::Exactly(size) => size,
            Batch::UpTo(_) => pictures,
        }
    }
}

impl Input {
    fn picture_len(&self) -> usize {
        3 * self.size.width as usize * self.size.height as usize
    }
}

/// The memory of one thread.
pub struct DetectLane {
    tensor: Tensor,
    letterboxes: Vec<Letterbox>,
    letterbox_scratch: LetterboxScratch,
    /// Of each place in the tensor, the geometry whose margins are grey there.
    margins: Vec<Option<Geometry>>,
    /// Of each place in the tensor, the job and its geometry.
    places: Vec<(usize, Geometry)>,
    wide: Vec<f32>,
    head: HeadScratch,
    candidates: Vec<Candidate>,
}

enum Tensor {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

impl DetectLane {
    fn new(input: &Input) -> Self {
        let length = input.batch.most() * input.picture_len();
        DetectLane {
            tensor: match input.element {
                Element::F32 => Tensor::F32(vec![0.0; length]),
                Element::F16 => Tensor::F16(vec![f16::ZERO; length]),
            },
            letterboxes: Vec::new(),
            letterbox_scratch: LetterboxScratch::default(),
            margins: vec![None; input.batch.most()],
            places: Vec::new(),
            wide: Vec::new(),
            head: HeadScratch::default(),
            candidates: Vec::new(),
        }
    }

    /// Letterboxes a picture into the place behind those that are taken.
    fn place(&mut self, job: usize, picture: &Picture, input: &Input) -> Result<()> {
        let layout = picture.layout();
        match self.letterboxes.iter().position(|prepared| prepared.layout() == layout) {
            Some(at) => self.letterboxes[..=at].rotate_right(1),
            None => {
                let prepared = Letterbox::new(layout, input.size)?;
                self.letterboxes.truncate(KEPT_LETTERBOXES - 1);
                self.letterboxes.insert(0, prepared);
            }
        }
        let place = self.places.len();
        let (letterbox, margins) = (&self.letterboxes[0], &mut self.margins[place]);
        let span = place * input.picture_len()..(place + 1) * input.picture_len();
        let scratch = &mut self.letterbox_scratch;
        match &mut self.tensor {
            Tensor::F32(tensor) => fill(letterbox, margins, picture, scratch, &mut tensor[span])?,
            Tensor::F16(tensor) => fill(letterbox, margins, picture, scratch, &mut tensor[span])?,
        }
        self.places.push((job, letterbox.geometry()));
        Ok(())
    }
}

/// Writes a picture with its margins; those that are grey already are left alone.
fn fill<T: Sample>(
    letterbox: &Letterbox,
    margins: &mut Option<Geometry>,
    picture: &Picture,
    scratch: &mut LetterboxScratch,
    tensor: &mut [T],
) -> Result<()> {
    if *margins != Some(letterbox.geometry()) {
        letterbox.fill_margins(tensor);
        *margins = Some(letterbox.geometry());
    }
    // Rendering a picture, or a decoder's memory, is others' code: its panic must cost one frame, not a batch.
    catch_unwind(AssertUnwindSafe(|| letterbox.write(picture, scratch, tensor)))
        .unwrap_or_else(|_| Err(OperatorError::new("the picture's pixels cannot be read")))
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
        let options = ModelOptions {
            threads: base.threads.unwrap_or_else(cores),
            ladder: model_params.provider.ladder(),
        };
        let path = setup.path(&plan.path);
        let mut model = Model::open(&path, &options)?;
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
        let head = warm_up(&mut model, &input, names.as_ref().map(Vec::len)).map_err(about)?;
        let names = complete_names(names, head.as_ref()).map_err(about)?;
        let classes = names.iter().map(|name| setup.names.intern(name));
        let classes = classes.collect::<Result<Vec<_>, _>>()?;
        let settings = params.try_map(|params| settings_of(params, &names))?;
        tracing::info!(
            node = setup.node.name,
            model = %path.display(),
            provider = %model.provider(),
            threads = options.threads,
            batch = input.batch.most(),
            "model ready"
        );
        Ok(Detect {
            model: Mutex::new(model),
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
        self.model.lock().unwrap_or_else(PoisonError::into_inner).provider()
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
        let output = run(&self.model, &self.input, lane.places.len(), &lane.tensor);
        let floats = output
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|output| output.floats(&mut lane.wide));
        for (place, (index, geometry)) in lane.places.iter().enumerate() {
            let job = &mut jobs[*index];
            let length = self.head.len();
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

fn run(model: &Mutex<Model>, input: &Input, pictures: usize, tensor: &Tensor) -> Result<OutputTensor> {
    let batch = input.batch.run(pictures);
    let dims = [batch, 3, input.size.height as usize, input.size.width as usize];
    let length = batch * input.picture_len();
    let view = match tensor {
        Tensor::F32(tensor) => TensorView::F32(&tensor[..length]),
        Tensor::F16(tensor) => TensorView::F16(&tensor[..length]),
    };
    let mut model = model.lock().unwrap_or_else(PoisonError::into_inner);
    model.run(&dims, view)
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

fn check_task(model: &Model) -> Result<()> {
    match model.metadata().get("task").map(String::as_str) {
        None | Some("detect") => Ok(()),
        Some(other) => Err(
            OperatorError::new(format!("it is made for `{other}`, not for detection"))
                .help("use the detection model of the family, as in yolo11n.pt rather than yolo11n-seg.pt"),
        ),
    }
}

/// Batch, height and width that the model is to be fed with.
fn input_of(model: &Model, wanted: Option<usize>) -> Result<Input> {
    let spec = model.input();
    let &[batch, channels, height, width] = spec.dims.as_slice() else {
        return Err(no_pictures(spec));
    };
    if channels.is_some_and(|channels| channels != 3) {
        return Err(no_pictures(spec));
    }
    let open = || OperatorError::new(format!("its input {spec} leaves its size open")).help("export it with `imgsz`");
    let (height, width) = match (height, width) {
        (Some(height), Some(width)) => (height, width),
        _ => exported_size(model).ok_or_else(open)?,
    };
    if !(1..=LONGEST_SIDE).contains(&height) || !(1..=LONGEST_SIDE).contains(&width) {
        return Err(no_pictures(spec));
    }
    let batch = match (batch, wanted) {
        (None, wanted) => Batch::UpTo(wanted.unwrap_or(1)),
        (Some(fixed), _) if !(1..=LARGEST_BATCH).contains(&fixed) => return Err(no_pictures(spec)),
        (Some(fixed), Some(wanted)) if wanted > fixed => {
            let cause = format!("it was exported for batches of {fixed}, not of {wanted}");
            return Err(OperatorError::new(cause).help("leave `batch` out, or export the model with `dynamic=True`"));
        }
        (Some(fixed), _) => Batch::Exactly(fixed),
    };
    Ok(Input {
        element: spec.element,
        size: Size {
            width: width as u32,
            height: height as u32,
        },
        batch,
    })
}

fn no_pictures(spec: &TensorSpec) -> OperatorError {
    OperatorError::new(format!(
        "its input {spec} takes no pictures: [batch, 3, height, width] is expected, batches up to {LARGEST_BATCH}, sides up to {LONGEST_SIDE}"
    ))
    .help("use a detection model of YOLOv8 or later, as `yolo export format=onnx` writes it")
}

/// Height and width of Ultralytics' metadata: `[640, 640]`.
fn exported_size(model: &Model) -> Option<(usize, usize)> {
    let text = model.metadata().get("imgsz")?;
    let (height, width) = text.trim().strip_prefix('[')?.strip_suffix(']')?.split_once(',')?;
    Some((height.trim().parse().ok()?, width.trim().parse().ok()?))
}

fn carried_names(model: &Model) -> Result<Option<Vec<String>>> {
    let names = model.metadata().get("names").map(|names| labels::from_metadata(names));
    names.transpose().map_err(|cause| {
        OperatorError::new(format!("the names of its classes cannot be read: {cause}"))
            .help("give them by `labels`, an Ultralytics data.yaml")
    })
}

/// Runs the model once on grey, so that what does not fit shows before a frame is admitted, and finds out what it answers.
fn warm_up(model: &mut Model, input: &Input, names: Option<usize>) -> Result<Box<dyn Head>> {
    let batch = input.batch.most();
    let lane = DetectLane::new(input);
    let dims = [batch, 3, input.size.height as usize, input.size.width as usize];
    let view = match &lane.tensor {
        Tensor::F32(tensor) => TensorView::F32(tensor),
        Tensor::F16(tensor) => TensorView::F16(tensor),
    };
    let output = model.run(&dims, view)?;
    output.floats(&mut Vec::new())?;
    head_of(output.dims(), batch, names)
}

/// A name for each class of the head.
fn complete_names(names: Option<Vec<String>>, head: &dyn Head) -> Result<Vec<String>> {
    let remedy = "give the names by `labels`, an Ultralytics data.yaml";
    match (names, head.classes()) {
        (Some(names), Some(classes)) if names.len() != classes => {
            let cause = format!("{} names for {classes} classes", names.len());
            Err(OperatorError::new(cause).help(remedy))
        }
        (Some(names), _) if !names.is_empty() => Ok(names),
        // As Ultralytics calls what has no name.
        (_, Some(classes)) => Ok((0..classes).map(|class| format!("class{class}")).collect()),
        _ => Err(OperatorError::new("it does not name its classes").help(remedy)),
    }
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
