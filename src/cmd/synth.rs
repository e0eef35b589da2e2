//! `flowrun synth`: labelled pictures of the synthetic junction, in the folders that YOLO trainers read.
//!
//! Many cameras with a few pictures each teach more than one camera with many: each has its own seed, and so
//! its own traffic and ground, and they take turns in light and density. A picture is taken every 2.5 s, so that
//! most things have moved on. Files depend on the options alone, whatever the machine and its cores.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::{Args, ValueEnum};
use flowrun_engine::batch::Batch;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::{Frame, TruthBox};
use flowrun_engine::names::Names;
use flowrun_engine::operator::{Next, Pace, Source, SourceSetup};
use flowrun_engine::registry::Registry;
use flowrun_engine::rows::{CameraId, Size};
use flowrun_operators::encode::JpegEncoder;
use flowrun_operators::source::synthetic::{Light, SceneName, Synthetic, SyntheticParams, class_names};

use crate::Builtin;
use crate::cmd::Exit;

/// Pictures of one camera.
const PER_CAMERA: u64 = 64;
/// Pictures a second.
const RATE: f64 = 0.4;
/// Seeds that one value of `--seed` sets apart, so that two values never share a camera.
const SEEDS: u64 = 100_000;
/// One camera in this many goes to the validation set, and the last.
const ONE_IN: u64 = 10;
/// Traffic of the cameras, by turns.
const DENSITIES: [f64; 4] = [1.0, 0.5, 1.5, 2.0];
/// FFmpeg's `-q:v`: differences to the camera's own pixels cannot be seen.
const QUANTISER: u8 = 2;

#[derive(Args)]
pub struct Synth {
    /// How many pictures
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    images: u64,
    /// The folder to put them in; it must be new or empty
    #[arg(long)]
    out: PathBuf,
    /// Which traffic: the cameras have the seeds S x 100000 and following
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    seed: u64,
    /// Width and height of the pictures, both even
    #[arg(long, default_value = "640x360")]
    size: String,
    /// The time of day
    #[arg(long, value_enum, default_value_t)]
    light: Lights,
    /// Traffic as a multiple of the usual; without it cameras have half of it to double, by turns
    #[arg(long)]
    density: Option<f64>,
    /// Things of which less than this part is to be seen get no label
    #[arg(long, default_value_t = 0.3)]
    min_visible: f32,
}

/// The light of the pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Lights {
    /// Cameras by day, at night and in between, by turns.
    #[default]
    All,
    /// Sun and shadows.
    Day,
    /// Street lamps and headlights.
    Night,
    /// From one to the other.
    Cycle,
}

impl Synth {
    pub fn execute(&self) -> Exit {
        let (outcome, exit) = match self.check() {
            Ok(()) => (self.draw(), Exit::Failed),
            wrong => (wrong, Exit::Wrong),
        };
        let Err(error) = outcome else { return Exit::Done };
        eprintln!("error: {}", error.cause);
        if let Some(remedy) = &error.remedy {
            eprintln!("help: {remedy}");
        }
        exit
    }

    fn draw(&self) -> Result<()> {
        let cameras = self.images.div_ceil(PER_CAMERA);
        let is_val = |camera: u64| cameras > 1 && (camera + 1 == cameras || camera % ONE_IN == ONE_IN - 1);
        let split = |camera: u64| if is_val(camera) { "val" } else { "train" };
        make_folders(&self.out)?;
        let (next, drawn) = (AtomicU64::new(0), AtomicU64::new(0));
        let work = || -> Result<()> {
            loop {
                let camera = next.fetch_add(1, Ordering::Relaxed);
                if camera >= cameras {
                    return Ok(());
                }
                let outcome = self.camera(camera, split(camera), &drawn);
                if outcome.is_err() {
                    next.store(cameras, Ordering::Relaxed);
                }
                outcome?;
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let outcomes = threads.into_iter().map(|thread| {
                let failed = |_| Err(OperatorError::new("drawing a picture failed"));
                thread.join().unwrap_or_else(failed)
            });
            outcomes.collect::<Vec<_>>().into_iter().collect::<Result<Vec<()>>>()
        })?;
        write(&self.out.join("data.yaml"), self.data_yaml(cameras > 1))
    }

    fn check(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.min_visible) {
            return Err(
                OperatorError::new(format!("--min-visible {} is no part of a thing", self.min_visible))
                    .help("give a number from 0 to 1"),
            );
        }
        if self.density.is_some_and(|density| !(0.0..=20.0).contains(&density)) {
            return Err(OperatorError::new("--density must be from 0 to 20"));
        }
        let taken = match std::fs::read_dir(&self.out) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        };
        match taken {
            true => Err(
                OperatorError::new(format!("`{}` is not an empty folder", self.out.display()))
                    .help("give --out a new folder, so that old pictures are not mixed with new ones"),
            ),
            false => self.open(0, &names()?).map(drop),
        }
    }

    /// Opens one camera.
    fn open(&self, camera: u64, names: &Arc<Names>) -> Result<Synthetic> {
        let light = match self.light {
            Lights::All => [Light::Day, Light::Night, Light::Cycle][(camera % 3) as usize],
            Lights::Day => Light::Day,
            Lights::Night => Light::Night,
            Lights::Cycle => Light::Cycle,
        };
        let turn = (camera / 3) as usize % DENSITIES.len();
        let params = SyntheticParams {
            scene: SceneName::Junction,
            seed: self.seed * SEEDS + camera,
            size: self.size.clone(),
            fps: RATE,
            light,
            frames: Some(PER_CAMERA.min(self.images - camera * PER_CAMERA)),
            density: self.density.unwrap_or(DENSITIES[turn]),
            pace: Pace::Max,
        };
        let setup = SourceSetup::new(Path::new("."), names, CameraId(0));
        Synthetic::open(params, &setup)
    }

    /// Draws the pictures of one camera.
    fn camera(&self, camera: u64, split: &str, drawn: &AtomicU64) -> Result<()> {
        let seed = self.seed * SEEDS + camera;
        let names = names()?;
        let mut source = self.open(camera, &names)?;
        let mut encoder = None;
        while let Next::Item(item) = source.next()? {
            let Batch::Frames(frames) = &item.batch else { continue };
            for frame in frames.iter() {
                let name = format!("{seed}-{:03}", item.frame);
                let encoder = match &mut encoder {
                    Some(encoder) => encoder,
                    none => none.insert(JpegEncoder::new(item.size, QUANTISER)?),
                };
                let image = self.out.join("images").join(split).join(format!("{name}.jpg"));
                write(&image, encoder.encode(&frame.picture)?)?;
                let label = self.out.join("labels").join(split).join(format!("{name}.txt"));
                write(&label, self.labels(frame, item.size, &names))?;
            }
            self.tell(drawn.fetch_add(1, Ordering::Relaxed) + 1);
        }
        Ok(())
    }

    /// YOLO's lines: class, then the box's middle and size as parts of the picture's.
    fn labels(&self, frame: &Frame, size: Size, names: &Names) -> String {
        let (width, height) = (size.width as f32, size.height as f32);
        let mut text = String::new();
        let is_seen = |object: &&TruthBox| object.visible >= self.min_visible;
        for object in frame.truth.iter().flat_map(|truth| truth.iter()).filter(is_seen) {
            let name = names.class(object.class);
            let Some(class) = class_names().iter().position(|known| **known == *name) else {
                continue;
            };
            let (x, y) = object.bbox.centre();
            writeln!(
                text,
                "{class} {:.6} {:.6} {:.6} {:.6}",
                x / width,
                y / height,
                object.bbox.width() / width,
                object.bbox.height() / height
            )
            .expect("a string takes any text");
        }
        text
    }

    /// Says how far it is, twenty times in all.
    fn tell(&self, drawn: u64) {
        let part = |drawn: u64| drawn * 20 / self.images;
        if part(drawn) > part(drawn - 1) {
            eprintln!("synth: {drawn} of {} pictures", self.images);
        }
    }

    fn data_yaml(&self, has_val: bool) -> String {
        let mut text = format!(
            "# Drawn by flowrun {} synth --images {} --seed {} --size {} --light {} --min-visible {}\n",
            env!("CARGO_PKG_VERSION"),
            self.images,
            self.seed,
            self.size,
            self.light
                .to_possible_value()
                .map_or_else(String::new, |light| light.get_name().to_owned()),
            self.min_visible,
        );
        if let Some(density) = self.density {
            text.truncate(text.trim_end().len());
            text += &format!(" --density {density}\n");
        }
        text += "# A box is the whole extent of a thing, also where something hides it. What is less visible than min-visible has none.\n";
        text += &format!(
            "train: images/train\nval: images/{}\nnames:\n",
            if has_val { "val" } else { "train" }
        );
        for (number, name) in class_names().iter().enumerate() {
            text += &format!("  {number}: {name}\n");
        }
        text
    }
}

/// The names of a run with one camera.
fn names() -> Result<Arc<Names>> {
    let graph = "cameras synth { synthetic camera; }\n";
    let (_, compiled) = crate::compile_text("synth", graph, Path::new("."), &Registry::builtin())
        .map_err(|error| OperatorError::new(error.to_string()))?;
    Ok(Arc::new(Names::of(&compiled.plan)))
}

fn make_folders(out: &Path) -> Result<()> {
    for part in ["images/train", "images/val", "labels/train", "labels/val"] {
        let path = out.join(part);
        std::fs::create_dir_all(&path).map_err(|error| OperatorError::new(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| OperatorError::new(format!("{}: {error}", path.display())))
}
