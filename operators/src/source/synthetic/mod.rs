//! A camera that needs no camera: a road junction, simulated and drawn from a seed.
//!
//! Graphs run on it without hardware, and are measured on it: it knows what it drew. The same seed
//! gives the same frames and the same truth, byte for byte, whoever asks for which pixels and when.
//! Pixels are rendered when somebody looks at them; a graph that reads the truth alone never pays.
//!
//! [`world`] moves things in metres, [`scene`] places outlines on the picture and tells the truth
//! about them, [`draw`] paints the same outlines.
//!
//! # The truth
//! A box is the whole extent of a thing, clipped to the picture, also where something hides it.
//! `visible` is the part of its pixels on the picture that nothing nearer covers, moving or standing;
//! it is counted on the very outlines that are painted, on every row of a thing up to 24 rows high and
//! on 24 rows of a larger one. A thing that is fully hidden stays in the truth with 0: leaving it out
//! would break its identity for whoever measures a tracker. A cyclist and the bicycle are one object.

mod body;
mod camera;
mod draw;
mod figure;
mod ground;
mod hull;
mod paint;
mod people;
mod random;
mod roads;
mod scene;
mod street;
#[cfg(test)]
mod tests;
mod traffic;
mod world;

use std::sync::Arc;

use flowrun_dsl::params::{Choice, Params};
use flowrun_dsl::port::RowKind;
use flowrun_engine::batch::RowType;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::{Frame, Matrix, Picture, PictureLayout, PixelFormat, Range};
use flowrun_engine::operator::{
    Item, Next, Overload, Pace, Source, SourceOutput, SourceSetup, SourceTraits, Thread, Times,
};
use flowrun_engine::rows::ClassId;

use crate::source::size::parse_size;
use body::KINDS;
use draw::{Shot, Stage};
use scene::Scene;
use world::World;

/// A camera over a simulated road junction, the same for the same seed. It knows what is on its pictures:
/// see `truth` and `truth-tracks`.
#[derive(Clone, Debug, Params)]
pub struct SyntheticParams {
    /// What there is to see.
    #[param(default = "junction")]
    pub scene: SceneName,
    /// Which traffic: each number has its own.
    #[param(default = "1", min = 0)]
    pub seed: u64,
    /// The picture's size in pixels, both even.
    #[param(default = "640x360")]
    pub size: String,
    /// Frames a second.
    #[param(default = "10", min = 0.1, max = 240.0)]
    pub fps: f64,
    /// The time of day; `cycle` goes from day to night and back every four minutes.
    #[param(default = "day")]
    pub light: Light,
    /// How many frames there are; without it the camera never ends.
    #[param(min = 0)]
    pub frames: Option<u64>,
    /// How much traffic there is, as a multiple of the usual.
    #[param(default = "1", min = 0.0, max = 20.0)]
    pub density: f64,
    /// Whether frames come at the pace of time.
    #[param(default = "media")]
    pub pace: Pace,
}

/// What there is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum SceneName {
    /// Two roads of four lanes with signals, crosswalks and pavements.
    Junction,
}

/// The time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Light {
    /// Sun and shadows.
    Day,
    /// Street lamps and headlights.
    Night,
    /// One after the other.
    Cycle,
}

/// The names of the classes of things that there are on a synthetic camera's pictures, in COCO's order.
pub fn class_names() -> [&'static str; KINDS.len()] {
    KINDS.map(body::Kind::name)
}

/// Length of a day of `light=cycle`.
const DAY_S: f64 = 240.0;

/// The smallest and the largest side of a picture: with fewer pixels nothing is to be recognised.
const SIDES: std::ops::RangeInclusive<u32> = 64..=8192;

impl Light {
    /// 0 by day, 1 by night.
    fn night(self, seconds: f64) -> f32 {
        match self {
            Light::Day => 0.0,
            Light::Night => 1.0,
            Light::Cycle => {
                let part = seconds / DAY_S - (seconds / DAY_S).floor();
                // Day and night hold for a third of the time each, and change in a sixth.
                let wave = 1.5 - (part - 0.5).abs() * 6.0;
                (wave + 0.5).clamp(0.0, 1.0) as f32
            }
        }
    }
}

/// The source `synthetic`.
pub struct Synthetic {
    params: SyntheticParams,
    classes: [ClassId; KINDS.len()],
    world: World,
    stage: Arc<Stage>,
    frame: u64,
}

impl Source for Synthetic {
    const KIND: &'static str = "synthetic";
    const THREAD: Thread = Thread::Shared;
    type Params = SyntheticParams;

    fn output() -> SourceOutput {
        SourceOutput::Always(RowKind::Frame)
    }

    fn open(params: SyntheticParams, setup: &SourceSetup<'_>) -> Result<Self> {
        let size = parse_size(&params.size)?;
        let fits = |side: u32| side.is_multiple_of(2) && SIDES.contains(&side);
        if !fits(size.width) || !fits(size.height) {
            return Err(
                OperatorError::new(format!("a synthetic camera cannot have {} pixels", params.size)).help(format!(
                    "choose two even numbers from {} to {}, as in size=\"640x360\"",
                    SIDES.start(),
                    SIDES.end()
                )),
            );
        }
        let mut classes = [ClassId(0); KINDS.len()];
        for (class, kind) in classes.iter_mut().zip(KINDS) {
            *class = setup.names.intern(kind.name())?;
        }
        Ok(Synthetic {
            classes,
            world: World::new(params.seed, params.density),
            stage: Arc::new(Stage::new(size, params.seed)),
            frame: 0,
            params,
        })
    }

    fn traits(&self) -> SourceTraits {
        let finite = self.params.frames.is_some();
        SourceTraits {
            finite,
            pace: self.params.pace,
            times: Times::Media,
            overload: match (self.params.pace, finite) {
                (Pace::Media, false) => Overload::Shed,
                _ => Overload::Wait,
            },
        }
    }

    fn next(&mut self) -> Result<Next> {
        if self.params.frames.is_some_and(|frames| self.frame >= frames) {
            return Ok(Next::End);
        }
        let frame = self.frame;
        self.frame += 1;
        let seconds = frame as f64 / self.params.fps;
        let size = self.stage.size;
        let (bodies, signals) = self.world.at(seconds);
        let scene = Scene::new(&bodies, &self.stage.fixtures, &self.stage.camera, size);
        let truth = scene.truth(&self.classes, size);
        let shot = Shot {
            frame,
            scene,
            signals,
            night: self.params.light.night(seconds),
        };
        let layout = PictureLayout {
            size,
            format: PixelFormat::Yuv420,
            matrix: Matrix::Bt601,
            range: Range::Limited,
        };
        let stage = self.stage.clone();
        let picture = Picture::deferred(layout, move || Box::new(stage.render(&shot)));
        Ok(Next::Item(Item {
            frame,
            media_time: (seconds * 1e9).round() as i64,
            size,
            batch: Frame::into_batch(vec![Frame {
                picture: Arc::new(picture),
                truth: Some(truth.into()),
                packets: flowrun_engine::rows::Rows::default(),
                taken: None,
            }]),
        }))
    }
}
