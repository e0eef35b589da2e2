//! Pictures, their encoding and their decoding, without a run.

use std::path::Path;
use std::sync::Arc;

use flowrun_dsl::plan::Plan;
use flowrun_dsl::port::Role;
use flowrun_dsl::value::Value;
use flowrun_engine::audience::Audience;
use flowrun_engine::batch::Batch;
use flowrun_engine::demand::Demand;
use flowrun_engine::device::{DeviceKind, Seat};
use flowrun_engine::errors::Result;
use flowrun_engine::frame::{Frame, Picture, PictureMemory, PixelFormat};
use flowrun_engine::names::Names;
use flowrun_engine::operator::{Item, Job, Next, NodeSetup, Offload, PerCamera, Source};
use flowrun_engine::packet::Packet;
use flowrun_engine::rows::{At, CameraId, Rows, Size};
use flowrun_engine::time::EventTime;

use super::{names_of_north, node, params, plan_of_north, source_setup};
use crate::decode::DecoderChoice;
use crate::encode::{Encode, EncodeLane, EncodeParams};
use crate::source::synthetic::Synthetic;
use crate::source::{FileParams, FileSource};

/// Frames of a synthetic junction with the places at which they were taken.
pub(crate) fn junction(size: &str, frames: i64, fps: f64) -> Vec<(At, Frame)> {
    let names = names_of_north();
    let given = [
        ("size", Value::Text(size.into())),
        ("fps", Value::Float(fps)),
        ("frames", Value::Int(frames)),
    ];
    let mut source = Synthetic::open(params(&given), &source_setup(Path::new("."), &names)).expect("a scene");
    items(&mut source)
}

fn items(source: &mut impl Source) -> Vec<(At, Frame)> {
    let mut items = Vec::new();
    loop {
        match source.next().expect("the source reads on") {
            Next::Item(Item {
                frame,
                media_time,
                size,
                batch: Batch::Frames(frames),
            }) => {
                let at = At {
                    camera: CameraId(0),
                    frame,
                    event_time: EventTime(media_time),
                    size,
                };
                items.push((at, frames[0].clone()));
            }
            Next::End => return items,
            _ => {}
        }
    }
}

/// What a decoder makes of a file: times since the first picture in nanoseconds, and pictures.
pub(crate) fn decoded(bytes: &[u8]) -> Vec<(i64, Arc<Picture>)> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("video.mp4"), bytes).expect("a file");
    let names = names_of_north();
    let given = [("path", Value::Text("video.mp4".into()))];
    let setup = source_setup(folder.path(), &names);
    let mut source = FileSource::open(params::<FileParams>(&given), &setup).expect("a video");
    let items = items(&mut source).into_iter();
    items.map(|(at, frame)| (at.event_time.0, frame.picture)).collect()
}

/// What decodes on devices of a kind.
pub(crate) fn decoder_on(kind: DeviceKind) -> DecoderChoice {
    match kind {
        DeviceKind::Twin => DecoderChoice::Twin,
        DeviceKind::Cuda => DecoderChoice::Nvdec,
    }
}

/// The device that a picture is on.
pub(crate) fn device_of(picture: &Picture, seats: &[Seat]) -> Option<usize> {
    let surface = picture.memory().surface()?;
    seats.iter().position(|seat| surface.is_on(seat.device()))
}

/// Luma, then U and V apart, without padding.
pub(crate) fn samples(picture: &Picture) -> Vec<u8> {
    let (layout, memory) = (picture.layout(), picture.memory());
    memory.fetch().unwrap();
    let (width, height) = (layout.size.width as usize, layout.size.height as usize);
    let (across, down) = (width.div_ceil(2), height.div_ceil(2));
    let rows = |memory: &dyn PictureMemory, plane: usize, row: usize, rows: usize| -> Vec<u8> {
        let lines = (0..rows).map(|line| memory.plane(plane)[line * memory.stride(plane)..][..row].to_vec());
        lines.flatten().collect()
    };
    let mut samples = rows(memory, 0, width, height);
    match layout.format {
        PixelFormat::Nv12 => {
            let pairs = rows(memory, 1, 2 * across, down);
            samples.extend(pairs.iter().step_by(2));
            samples.extend(pairs.iter().skip(1).step_by(2));
        }
        _ => (1..3).for_each(|plane| samples.extend(rows(memory, plane, across, down))),
    }
    samples
}

/// How far two planes of luma are apart in the mean.
pub(crate) fn difference(one: &Picture, other: &Picture) -> f64 {
    let Size { width, height } = one.layout().size;
    assert_eq!(one.layout().size, other.layout().size);
    let (one, other) = (one.memory(), other.memory());
    let mut sum = 0u64;
    for row in 0..height as usize {
        let line = |memory: &dyn flowrun_engine::frame::PictureMemory| {
            memory.plane(0)[row * memory.stride(0)..][..width as usize].to_vec()
        };
        sum += line(one)
            .iter()
            .zip(line(other))
            .map(|(a, b)| u64::from(a.abs_diff(b)))
            .sum::<u64>();
    }
    sum as f64 / (f64::from(width) * f64::from(height))
}

/// The operator `encode` on one camera.
pub(crate) struct Encoding {
    encode: Encode,
    lane: EncodeLane,
    /// Who wants its packets.
    pub demand: Demand,
}

impl Encoding {
    pub fn new(given: &[(&str, Value)]) -> Result<Self> {
        let mut plan: Plan = plan_of_north(Path::new("."));
        plan.nodes.push(node("encode", Role::Operator, Vec::new()));
        let mut all = vec![("codec", Value::Text("h264".into()))];
        all.extend(given.iter().cloned());
        let params: EncodeParams = params(&all);
        let audience = Arc::new(Audience::default());
        let setup = NodeSetup {
            plan: &plan,
            node: &plan.nodes[0],
            names: &Arc::new(Names::of(&plan)),
            audience: &audience,
            devices: &flowrun_engine::device::Devices::default(),
        };
        let encode = Encode::new(PerCamera::new(params, std::collections::BTreeMap::new()), &setup)?;
        Ok(Encoding {
            lane: encode.lane()?,
            encode,
            demand: setup.demand(CameraId(0)),
        })
    }

    pub fn frame(&mut self, at: At, frame: &Frame) -> Result<Vec<Packet>> {
        let job = Job {
            at,
            input: Rows::from(vec![frame.clone()]),
            result: None,
        };
        let mut jobs = [job];
        self.encode.process(&mut self.lane, &mut jobs);
        jobs[0].result.take().expect("every job is answered")
    }

    /// All packets of these frames, wanted throughout.
    pub fn all(&mut self, frames: &[(At, Frame)]) -> Vec<Packet> {
        let _watching = self.demand.watch();
        let packets = frames
            .iter()
            .map(|(at, frame)| self.frame(*at, frame).expect("encoded"));
        packets.flatten().collect()
    }
}

/// Packets of a synthetic junction, encoded with these parameters.
pub(crate) fn packets(size: &str, frames: i64, fps: f64, given: &[(&str, Value)]) -> Vec<Packet> {
    let mut encoding = Encoding::new(given).expect("an encoder");
    encoding.all(&junction(size, frames, fps))
}
