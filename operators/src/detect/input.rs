//! What a model takes and tells, checked before a frame is admitted.

use std::sync::Arc;

use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::infer::{Element, Model, OutputTensor, TensorSpec};
use flowrun_engine::rows::Size;

use super::head::{Head, head_of};
use super::labels;
use super::lane::DetectLane;

/// The most pictures in a batch.
const LARGEST_BATCH: usize = 64;
/// The longest side of a model's input: four times what is in use.
const LONGEST_SIDE: usize = 8192;
/// What the model takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    /// What its tensor is made of.
    pub element: Element,
    /// Width and height of its pictures.
    pub size: Size,
    /// How many pictures it takes at once.
    pub batch: Batch,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Batch {
    /// Always this many pictures; places that no picture needs are computed in vain.
    Exactly(usize),
    /// Up to this many.
    UpTo(usize),
}

impl Batch {
    /// The most pictures in a run.
    pub fn most(self) -> usize {
        match self {
            Batch::Exactly(most) | Batch::UpTo(most) => most,
        }
    }
    /// The places of a run over so many pictures.
    fn places(self, pictures: usize) -> usize {
        match self {
            Batch::Exactly(size) => size,
            Batch::UpTo(_) => pictures,
        }
    }
}

impl Input {
    /// Numbers that make up a picture.
    pub fn picture_len(&self) -> usize {
        3 * self.size.width as usize * self.size.height as usize
    }

    /// Runs the model over the first `pictures` places of a lane.
    ///
    /// # Errors
    /// As the model gives them.
    pub fn run(&self, model: &mut Model, lane: &DetectLane, pictures: usize) -> Result<OutputTensor> {
        let places = self.batch.places(pictures);
        model.run(&self.dims(places), lane.view(places * self.picture_len()))
    }

    /// The shape of its tensor with so many places.
    pub fn dims(&self, places: usize) -> [usize; 4] {
        [places, 3, self.size.height as usize, self.size.width as usize]
    }
}

/// Refuses a model that says itself that it does something else.
pub(super) fn check_task(model: &Model) -> Result<()> {
    match model.metadata().get("task").map(String::as_str) {
        None | Some("detect") => Ok(()),
        Some(other) => Err(
            OperatorError::new(format!("it is made for `{other}`, not for detection"))
                .help("use the detection model of the family, as in yolo11n.pt rather than yolo11n-seg.pt"),
        ),
    }
}

/// Batch, height and width that the model is to be fed with.
pub(super) fn input_of(model: &Model, wanted: Option<usize>) -> Result<Input> {
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

/// The names of the classes that the model brings, if any.
pub(super) fn carried_names(model: &Model) -> Result<Option<Vec<String>>> {
    let names = model.metadata().get("names").map(|names| labels::from_metadata(names));
    names.transpose().map_err(|cause| {
        OperatorError::new(format!("the names of its classes cannot be read: {cause}"))
            .help("give them by `labels`, an Ultralytics data.yaml")
    })
}

/// Runs the model once on grey, so that what does not fit shows before a frame is admitted, and finds out what it answers.
pub(super) fn warm_up(model: &mut Model, input: &Input, names: Option<usize>) -> Result<Arc<dyn Head>> {
    let batch = input.batch.most();
    let output = input.run(model, &DetectLane::new(input, None, 0), batch)?;
    output.floats(&mut Vec::new())?;
    head_of(output.dims(), batch, names)
}

/// A name for each class of the head.
pub(super) fn complete_names(names: Option<Vec<String>>, head: &dyn Head) -> Result<Vec<String>> {
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
