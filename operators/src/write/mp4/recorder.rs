//! One camera's packets as fragments, and orders to whoever has the files.
//!
//! An order is a byte that says which, the camera and the length of what follows as four bytes each, and that: a path to
//! open, or bytes to append to what is open.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flowrun_engine::errors::Result;
use flowrun_engine::packet::{CodecConfig, Packet};
use flowrun_engine::rows::CameraId;
use flowrun_engine::time::EventTime;

use crate::publish::cmaf::{self, Place, Sample, Step, TIMESCALE, Timeline};
use crate::utc::Utc;

/// A fragment is cut at a keyframe, and at the latest when it lasts this long or holds this much: what a process that is
/// killed loses, and what a recorder keeps in memory.
const LONGEST: u64 = 2 * TIMESCALE as u64;
const LARGEST: usize = 4 << 20;

/// What files are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Complete what is open, if anything, and begin this one.
    Open,
    /// Add to what is open.
    Append,
}

/// Bytes before an order's own.
const HEAD: usize = 9;

pub(super) fn give(order: Order, camera: CameraId, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(match order {
        Order::Open => 0,
        Order::Append => 1,
    });
    out.extend_from_slice(&camera.0.to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The first order and what follows it; none when nothing is left.
pub(super) fn take(bytes: &[u8]) -> Option<((Order, CameraId, &[u8]), &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let number = |at: usize| head[at..at + 4].try_into().map(u32::from_le_bytes).ok();
    let (own, rest) = rest.split_at_checked(number(5)? as usize)?;
    let order = if head[0] == 0 { Order::Open } else { Order::Append };
    Some(((order, CameraId(number(1)?), own), rest))
}

/// Where a camera's files lie.
pub(super) struct PathOf {
    /// With the camera's name filled in.
    template: PathBuf,
    last: PathBuf,
    /// Files of the last name.
    count: usize,
}

impl PathOf {
    pub fn new(template: PathBuf) -> Self {
        PathOf {
            template,
            last: PathBuf::new(),
            count: 0,
        }
    }

    /// The first file, where its name does not depend on the time.
    pub fn fixed(&self) -> Option<&Path> {
        (!self.template.to_string_lossy().contains("{time}")).then_some(&self.template)
    }

    /// The folder, where it does not depend on the time either.
    pub fn folder(&self) -> Option<&Path> {
        let folder = self.template.parent()?;
        (!folder.to_string_lossy().contains("{time}")).then_some(folder)
    }

    /// The next file's: a name that was given already gets a number.
    fn next(&mut self, begins: EventTime) -> PathBuf {
        let time = Utc::from(begins).basic();
        let path = PathBuf::from(self.template.to_string_lossy().replace("{time}", &time));
        self.count = if path == self.last { self.count + 1 } else { 1 };
        self.last.clone_from(&path);
        match self.count {
            1 => path,
            number => path.with_extension(format!("{number}.mp4")),
        }
    }
}

/// One camera's recording.
pub(super) struct Recorder {
    path: PathOf,
    segment: Option<u64>,
    timeline: Timeline,
    config: Option<Arc<CodecConfig>>,
    /// Media time at which the open file began; none before the first.
    begun: Option<u64>,
    samples: Vec<Sample>,
    fragments: u32,
}

impl Recorder {
    pub fn new(path: PathOf, segment: Option<Duration>) -> Self {
        Recorder {
            path,
            segment: segment.map(|span| (span.as_secs_f64() * f64::from(TIMESCALE)) as u64),
            timeline: Timeline::default(),
            config: None,
            begun: None,
            samples: Vec::new(),
            fragments: 0,
        }
    }

    pub fn path(&self) -> &PathOf {
        &self.path
    }

    /// Takes packets in their order.
    ///
    /// # Errors
    /// When the description of the codec cannot be read: then what needs it is not recorded.
    pub fn push(&mut self, camera: CameraId, packets: &[Packet], out: &mut Vec<u8>) -> Result<()> {
        let mut steps = Vec::new();
        packets.iter().for_each(|packet| self.timeline.push(packet, &mut steps));
        self.steps(camera, steps, out)
    }

    /// Gives out what is held: nothing follows.
    ///
    /// # Errors
    /// As [`Recorder::push`].
    pub fn finish(&mut self, camera: CameraId, out: &mut Vec<u8>) -> Result<()> {
        let mut steps = Vec::new();
        self.timeline.finish(&mut steps);
        self.steps(camera, steps, out)?;
        self.cut(camera, out);
        Ok(())
    }

    fn steps(&mut self, camera: CameraId, steps: Vec<Step>, out: &mut Vec<u8>) -> Result<()> {
        for step in steps {
            match step {
                Step::Begin(stretch) => {
                    self.cut(camera, out);
                    // After a pause with the same pictures the file goes on, and its timeline has a hole.
                    if self.config.as_ref() != Some(&stretch.config) {
                        self.begun = None;
                        self.config = Some(stretch.config);
                    }
                }
                Step::Sample(sample) => self.take(camera, sample, out)?,
            }
        }
        Ok(())
    }

    fn take(&mut self, camera: CameraId, sample: Sample, out: &mut Vec<u8>) -> Result<()> {
        if sample.keyframe {
            self.cut(camera, out);
            let over = |begun: u64| self.segment.is_some_and(|segment| sample.decode >= begun + segment);
            if self.begun.is_none_or(over) {
                self.begin(camera, &sample, out)?;
            }
        }
        if self.begun.is_none() {
            return Ok(());
        }
        self.samples.push(sample);
        let (spans, sizes) = (self.samples.iter(), self.samples.iter());
        let long = spans.map(|sample| u64::from(sample.duration)).sum::<u64>() >= LONGEST;
        if long || sizes.map(|sample| sample.data.len()).sum::<usize>() >= LARGEST {
            self.cut(camera, out);
        }
        Ok(())
    }

    fn begin(&mut self, camera: CameraId, first: &Sample, out: &mut Vec<u8>) -> Result<()> {
        self.begun = None;
        let Some(config) = &self.config else { return Ok(()) };
        let header = cmaf::init(config)?;
        let path = self.path.next(first.presented);
        give(Order::Open, camera, path.to_string_lossy().as_bytes(), out);
        give(Order::Append, camera, &header, out);
        self.begun = Some(first.decode);
        Ok(())
    }

    fn cut(&mut self, camera: CameraId, out: &mut Vec<u8>) {
        if self.samples.is_empty() {
            return;
        }
        self.fragments = self.fragments.wrapping_add(1);
        let samples = std::mem::take(&mut self.samples);
        give(
            Order::Append,
            camera,
            &cmaf::chunk(self.fragments, Place::Later, &samples),
            out,
        );
    }
}
