//! Runs a graph and looks at every frame and fault while it goes on.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flowrun::dsl::params::Params;
use flowrun::dsl::plan::{CameraPlan, NodePlan, Plan};
use flowrun::dsl::port::{OperatorSpec, PortRows, PortSpec, Role, RowKind};
use flowrun::engine::batch::Answer;
use flowrun::engine::operator::{SinkOrder, SinkWants, SinkWriter, SourceSetup};
use flowrun::engine::packet::{Codec, CodecConfig};
use flowrun::engine::registry::{ErasedSink, ErasedSource, OperatorDef, Prepared};
use flowrun::engine::run::context::Context;
use flowrun::engine::run::{Options, Report, Running};
use flowrun::prelude::*;

use crate::support::Folder;

/// Longer than any machine takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A packet without its bytes.
#[derive(Clone, Debug)]
pub struct SeenPacket {
    pub config: Arc<CodecConfig>,
    pub nals: Vec<u8>,
    pub presented: i64,
    pub decoded: i64,
    pub keyframe: bool,
    pub sequence: u64,
}

/// A frame without its pixels.
#[derive(Clone, Debug)]
pub struct SeenFrame {
    pub camera: usize,
    pub frame: u64,
    pub time: i64,
    pub size: (u32, u32),
    /// Mean of the luma samples.
    pub luma: f64,
    pub packets: Vec<SeenPacket>,
}

#[derive(Default)]
pub struct Seen {
    pub frames: Vec<SeenFrame>,
    /// Camera and cause.
    pub faults: Vec<(String, String)>,
}

impl Seen {
    pub fn of(&self, camera: usize) -> Vec<&SeenFrame> {
        self.frames.iter().filter(|frame| frame.camera == camera).collect()
    }
    /// Faults that are not of a machine with too much to do.
    pub fn told(&self) -> Vec<&(String, String)> {
        let slow = |cause: &str| cause.contains("does not answer within");
        let came = self.faults.iter().any(|(_, cause)| slow(cause));
        let of_slowness = |cause: &str| slow(cause) || (came && cause.contains("pictures come again"));
        self.faults.iter().filter(|(_, cause)| !of_slowness(cause)).collect()
    }
    pub fn faults_with(&self, part: &str) -> usize {
        self.faults.iter().filter(|(_, cause)| cause.contains(part)).count()
    }
}

#[derive(Clone)]
struct Probe {
    rows: RowKind,
    seen: Arc<Mutex<Seen>>,
}

/// The first byte of each NAL unit; panics where lengths do not add up.
fn nals(mut data: &[u8]) -> Vec<u8> {
    let mut firsts = Vec::new();
    while !data.is_empty() {
        let length = u32::from_be_bytes(data[..4].try_into().unwrap()) as usize;
        firsts.push(data[4]);
        data = &data[4 + length..];
    }
    firsts
}

impl ErasedSink for Probe {
    fn order(&self) -> SinkOrder {
        SinkOrder::Camera
    }
    fn wants(&self) -> SinkWants {
        SinkWants::Always
    }
    fn open(&self) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Nowhere))
    }
    fn revise(&self, _: &Plan, _: &NodePlan, _: &Context) -> Result<Option<Arc<dyn ErasedSink>>> {
        Ok(Some(Arc::new(self.clone())))
    }
    fn encode(&self, answer: &Answer, _: &mut Vec<u8>) -> Result<()> {
        let mut seen = self.seen.lock().unwrap();
        match &answer.batch {
            Batch::Frames(frames) => seen.frames.extend(frames.iter().map(|frame| {
                SeenFrame {
                    camera: answer.at.camera.0 as usize,
                    frame: answer.at.frame,
                    time: answer.at.event_time.0,
                    size: (answer.at.size.width, answer.at.size.height),
                    luma: luma(frame),
                    packets: frame
                        .packets
                        .iter()
                        .map(|packet| SeenPacket {
                            config: packet.config.clone(),
                            nals: nals(&packet.data),
                            presented: packet.presented,
                            decoded: packet.decoded,
                            keyframe: packet.keyframe,
                            sequence: packet.sequence,
                        })
                        .collect(),
                }
            })),
            Batch::Errors(rows) => {
                let told = rows.iter().map(|row| (row.node.to_string(), row.cause.to_string()));
                seen.faults.extend(told);
            }
            _ => {}
        }
        Ok(())
    }
}

fn luma(frame: &Frame) -> f64 {
    let size = frame.picture.layout().size;
    let (plane, stride) = (frame.picture.memory().plane(0), frame.picture.memory().stride(0));
    let rows = plane.chunks(stride).take(size.height as usize);
    let sum: u64 = rows
        .flat_map(|row| &row[..size.width as usize])
        .map(|sample| u64::from(*sample))
        .sum();
    sum as f64 / f64::from(size.width * size.height)
}

struct Nowhere;

impl SinkWriter for Nowhere {
    fn write(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
    fn finish(self: Box<Self>) -> std::io::Result<()> {
        Ok(())
    }
}

impl OperatorDef for Probe {
    fn spec(&self) -> OperatorSpec {
        OperatorSpec {
            kind: match self.rows {
                RowKind::Frame => "see".into(),
                _ => "hear".into(),
            },
            role: Role::Write,
            params: <()>::schema(),
            inputs: vec![PortSpec {
                name: "rows".into(),
                rows: PortRows::Only(self.rows.clone()),
                required: true,
            }],
            output: None,
            output_by: None,
        }
    }
    fn prepare(&self, _: &Arc<Plan>, _: &NodePlan, _: &Arc<Context>) -> Result<Prepared> {
        Ok(Prepared::Sink(Arc::new(self.clone())))
    }
    fn open(&self, _: &SourceSetup<'_>, _: &CameraPlan) -> Result<Box<dyn ErasedSource>> {
        Err("no camera".into())
    }
}

/// A run under way.
pub struct Watched {
    _folder: Folder,
    running: Option<Running>,
    seen: Arc<Mutex<Seen>>,
}

impl Watched {
    /// Runs cameras, each a line of KDL.
    pub fn start(cameras: &[String]) -> Watched {
        let folder = Folder::new();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut registry = Registry::builtin();
        for rows in [RowKind::Frame, RowKind::Error] {
            let seen = seen.clone();
            registry.add(Arc::new(Probe { rows, seen }));
        }
        let graph = format!(
            "cameras site {{\n{}\n}}\nwrite {{ see from=site; hear from=\"*.errors\"; }}\n",
            cameras.join("\n")
        );
        let (source, compiled) = flowrun::compile_text("graph.kdl", graph, &folder.path(""), &registry)
            .unwrap_or_else(|error| panic!("{error}"));
        let prepared = flowrun::prepare_compiled(&source, compiled, &registry, &Options::default())
            .unwrap_or_else(|error| panic!("{error}"));
        Watched {
            _folder: folder,
            running: Some(prepared.start().unwrap()),
            seen,
        }
    }

    /// Waits until what was seen is enough.
    #[track_caller]
    pub fn until(&self, what: &str, enough: impl Fn(&Seen) -> bool) {
        let began = Instant::now();
        loop {
            {
                let seen = self.seen.lock().unwrap();
                if enough(&seen) {
                    return;
                }
                let count = seen.frames.len();
                assert!(began.elapsed() < DEADLINE, "{what}: {count} frames, {:?}", seen.faults);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What was seen so far.
    pub fn look<T>(&self, at: impl FnOnce(&Seen) -> T) -> T {
        at(&self.seen.lock().unwrap())
    }

    /// Ends the run.
    pub fn stop(mut self) -> (Report, Seen) {
        let running = self.running.take().unwrap();
        running.stop();
        let report = running.wait();
        assert_eq!(report.failure, None);
        (report, std::mem::take(&mut self.seen.lock().unwrap()))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

/// What holds for any camera: frames in order, times that increase, packets that a player takes.
#[track_caller]
pub fn assert_sound(seen: &Seen, cameras: usize) {
    for camera in 0..cameras {
        let frames = seen.of(camera);
        assert!(!frames.is_empty(), "camera {camera}");
        assert!(frames.windows(2).all(|pair| pair[0].frame < pair[1].frame));
        assert!(
            frames.windows(2).all(|pair| pair[0].time < pair[1].time),
            "times increase"
        );
        let packets: Vec<(i64, &SeenPacket)> = frames
            .iter()
            .flat_map(|frame| frame.packets.iter().map(|packet| (frame.time, packet)))
            .collect();
        assert!(packets.len() >= frames.len());
        assert!(packets[0].1.keyframe, "decoding begins at a keyframe");
        assert!(packets.windows(2).all(|pair| pair[0].1.sequence < pair[1].1.sequence));
        for pair in packets.windows(2) {
            assert!(
                pair[0].0 + pair[0].1.decoded < pair[1].0 + pair[1].1.decoded,
                "{pair:?}"
            );
        }
        for (_, packet) in &packets {
            assert!(packet.decoded <= packet.presented, "{packet:?}");
            assert!(!packet.config.record.is_empty());
            let left_out = |first: &u8| match packet.config.codec {
                Codec::H264 => matches!(first & 0x1f, 7..=9),
                Codec::H265 => matches!((first >> 1) & 0x3f, 32..=35),
            };
            assert!(
                !packet.nals.is_empty() && !packet.nals.iter().any(left_out),
                "{packet:?}"
            );
        }
    }
}
