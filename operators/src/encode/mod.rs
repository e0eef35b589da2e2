//! `encode`: pictures to packets, for those who watch and for recordings.
//!
//! Each camera has its encoder, kept by one lane, so that a frame follows the one before it. A picture is encoded when
//! somebody wants it ([`flowrun_engine::demand`]); the first one then is a keyframe, and an encoder that nobody wanted for a
//! while is freed. Where a camera's own packets can be passed on they are, unchanged.
//!
//! `camera` decides what happens to a frame, [`h264`] wraps libx264, `convert` brings pictures into the form that it
//! reads, `copy` passes packets on, `annexb` reads and writes the framing of H.264. [`JpegEncoder`] makes single
//! pictures for `flowrun synth`.

mod annexb;
mod camera;
mod convert;
mod copy;
mod h264;
mod jpeg;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use flowrun_dsl::params::{Bitrate, Choice, Params};
use flowrun_engine::demand::Demand;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::{Frame, Matrix, PictureLayout, PixelFormat, Range};
use flowrun_engine::operator::{BatchPolicy, Job, LaneChoice, NodeSetup, Offload, PerCamera};
use flowrun_engine::packet::Packet;
use flowrun_engine::rows::{At, CameraId, Size};

pub use jpeg::JpegEncoder;

use camera::CameraEncoder;
use h264::{H264, USUAL_FPS};

/// Encodes pictures as video.
///
/// Works only while somebody watches or records; begins with a keyframe then. A camera's own packets are passed on
/// unencoded where they are of the wanted codec and nothing was drawn, scaled or left out.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct EncodeParams {
    /// The codec.
    #[param(positional)]
    pub codec: CodecChoice,
    /// Whether a camera's own packets are passed on where that is possible.
    #[param(default = "auto")]
    pub copy: Copy,
    /// The quality aimed at: libx264's constant rate factor, 0 the best.
    #[param(default = "23", min = 0, max = 51)]
    pub crf: u32,
    /// The most bits a second, over about a second; quality gives way to it.
    #[param(live, default = "2M", min = 10_000)]
    pub bitrate: Bitrate,
    /// What processor time buys: the faster, the more bits for the same quality.
    #[param(default = "veryfast")]
    pub preset: Preset,
    /// How far keyframes are apart: where playing, seeking and segments can begin.
    #[param(default = "2s", min = 0.1, max = 60)]
    pub keyframe_every: Duration,
    /// Pictures that are higher are scaled down to this, keeping their shape.
    #[param(min = 16, max = 8192)]
    pub height: Option<u32>,
    /// The most pictures a second; more are left out.
    #[param(min = 0.1, max = 240)]
    pub fps: Option<f64>,
    /// Threads that encode, each some of the cameras.
    #[param(default = "2", min = 1, max = 64)]
    pub lanes: usize,
    /// Threads that encode one picture together.
    #[param(default = "1", min = 1, max = 16)]
    pub threads: usize,
}

/// A codec that can be written.
#[derive(Clone, std::marker::Copy, Debug, PartialEq, Eq, Choice)]
pub enum CodecChoice {
    /// ITU-T H.264, by libx264.
    H264,
}

/// What happens to a camera's own packets.
#[derive(Clone, std::marker::Copy, Debug, PartialEq, Eq, Choice)]
pub enum Copy {
    /// They are passed on where they can be.
    Auto,
    /// Every picture is encoded anew.
    Never,
}

/// libx264's presets that are quick enough for live pictures.
#[derive(Clone, std::marker::Copy, Debug, PartialEq, Eq, Choice)]
pub enum Preset {
    /// The least time.
    Ultrafast,
    /// Much better than the last for a little more.
    Superfast,
    /// The usual.
    Veryfast,
    /// Better.
    Faster,
    /// Better still.
    Fast,
    /// The encoder's own usual.
    Medium,
}

/// The operator `encode`.
pub struct Encode {
    params: PerCamera<EncodeParams>,
    demands: HashMap<CameraId, Demand>,
    /// Counts the versions of the node: lanes let go of cameras that a newer one no longer has.
    version: u64,
}

/// What one thread keeps: the encoders of its cameras.
#[derive(Default)]
pub struct EncodeLane {
    cameras: HashMap<CameraId, CameraEncoder>,
    version: u64,
}

/// What an encoder is first built for, to see whether it can be.
const TRIAL: PictureLayout = PictureLayout {
    size: Size {
        width: 320,
        height: 180,
    },
    format: PixelFormat::Yuv420,
    matrix: Matrix::Bt601,
    range: Range::Limited,
};

fn check_shared(params: &PerCamera<EncodeParams>) -> Result<()> {
    let shared = |params: &EncodeParams| (params.lanes, params.threads);
    if params.all().all(|other| shared(other) == shared(params.base())) {
        return Ok(());
    }
    Err(OperatorError::new("`lanes` and `threads` hold for all cameras")
        .help("take them out of `for`, or give those cameras a flow of their own"))
}

fn demands(setup: &NodeSetup<'_>) -> HashMap<CameraId, Demand> {
    setup.cameras().map(|camera| (camera, setup.demand(camera))).collect()
}

impl Offload for Encode {
    const KIND: &'static str = "encode";
    type Params = EncodeParams;
    type Input = Frame;
    type Output = Packet;
    type Lane = EncodeLane;
    const LANE: LaneChoice = LaneChoice::ByCamera;

    fn new(params: PerCamera<EncodeParams>, setup: &NodeSetup<'_>) -> Result<Self> {
        check_shared(&params)?;
        for params in params.all() {
            H264::open(params, TRIAL, USUAL_FPS)?;
        }
        Ok(Encode {
            demands: demands(setup),
            params,
            version: 0,
        })
    }

    fn revise(&self, params: PerCamera<EncodeParams>, setup: &NodeSetup<'_>) -> Result<Option<Self>> {
        check_shared(&params)?;
        Ok(Some(Encode {
            demands: demands(setup),
            params,
            version: self.version + 1,
        }))
    }

    fn policy(&self) -> BatchPolicy {
        BatchPolicy {
            lanes: self.params.base().lanes,
            // Each picture is answered as soon as it is encoded.
            size: 1,
            deadline: Duration::ZERO,
        }
    }

    fn lane(&self) -> Result<EncodeLane> {
        Ok(EncodeLane::default())
    }

    fn process(&self, lane: &mut EncodeLane, jobs: &mut [Job<Frame, Packet>]) {
        if lane.version < self.version {
            lane.version = self.version;
            lane.cameras.retain(|camera, _| self.demands.contains_key(camera));
        }
        for job in jobs {
            let camera = job.at.camera;
            let Some(demand) = self.demands.get(&camera) else {
                job.result = Some(Err("no such camera".into()));
                continue;
            };
            let encoder = lane.cameras.entry(camera).or_default();
            job.result = Some(encode(encoder, self.params.get(camera), demand, &job.at, &job.input));
        }
    }
}

/// Encodes the pictures of one answer: mostly one; none where it failed before it came here, several of a clip. One that
/// cannot be read costs the answer only where there is no other.
fn encode(
    encoder: &mut CameraEncoder,
    params: &EncodeParams,
    demand: &Demand,
    at: &At,
    frames: &[Frame],
) -> Result<Vec<Packet>> {
    let mut packets = Vec::with_capacity(frames.len());
    let mut unread = None;
    for frame in frames {
        // A deferred picture is rendered here, by others' code: its panic must cost one camera's encoder, not a lane.
        let answer = catch_unwind(AssertUnwindSafe(|| {
            encoder.answer(params, demand, &frame.at(at), frame)
        }));
        match answer.unwrap_or_else(|_| Err("the picture's pixels cannot be read".into())) {
            Ok(own) => packets.extend(own),
            Err(error) => {
                encoder.close();
                unread = Some(error);
            }
        }
    }
    match unread {
        Some(error) if packets.is_empty() => Err(error),
        Some(error) => {
            tracing::error!(camera = at.camera.0, %error, "a picture of a clip is left out");
            Ok(packets)
        }
        None => Ok(packets),
    }
}
