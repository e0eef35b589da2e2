//! `flowrun model`: what a model answers on one provider and on another, TensorRT engines ahead of time, and the ranges that
//! int8 needs.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::infer::Provider;
use flowrun_engine::operator::SinkWriter;
use flowrun_operators::detect::Alone;
use flowrun_operators::detect::calibrate::calibrate;
use flowrun_operators::detect::compare::{Agreement, asked_for, labels_from_text, mean_average_precision};
use flowrun_operators::source::photo::{photo, photos};
use flowrun_operators::write::durable::DurableFile;

use crate::cmd::Exit;

#[derive(Args)]
pub struct Model {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds a model's TensorRT engine and keeps it for later runs
    Build(Build),
    /// Shows a model pictures and writes the table of ranges that int8 needs
    Calibrate(Calibrate),
    /// Says how far two models, or one on two providers, agree on pictures
    Compare(Compare),
}

/// What computes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum On {
    Auto,
    Tensorrt,
    Cuda,
    Openvino,
    Twin,
    Cpu,
}

impl On {
    fn name(self) -> &'static str {
        match self {
            On::Auto => "auto",
            On::Tensorrt => "tensorrt",
            On::Cuda => "cuda",
            On::Openvino => "openvino",
            On::Twin => "twin",
            On::Cpu => "cpu",
        }
    }
}

/// Providers that need an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Built {
    Tensorrt,
    Twin,
}

impl Built {
    fn name(self) -> &'static str {
        match self {
            Built::Tensorrt => "tensorrt",
            Built::Twin => "twin",
        }
    }

    fn provider(self) -> Provider {
        match self {
            Built::Tensorrt => Provider::TensorRt,
            Built::Twin => Provider::Twin,
        }
    }
}

#[derive(Args)]
struct Build {
    /// The ONNX file
    model: PathBuf,
    /// What the engine is for; `twin` plays a provider with engines on the host
    #[arg(long, value_enum, default_value = "tensorrt")]
    provider: Built,
    /// Ends when its input does: a run that has it build beside itself takes it along
    #[arg(long, hide = true)]
    beside_a_run: bool,
    /// The largest batch that `detect` will ask for, as its `batch=`
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: Option<u16>,
    /// Which of several GPUs, in the driver's order
    #[arg(long, default_value_t = 0)]
    device: u8,
    /// How hard TensorRT looks for fast kernels, as the model's `effort=` in the graph
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=5))]
    effort: Option<u8>,
    #[command(flatten)]
    numbers: Numbers,
}

/// What TensorRT computes in.
#[derive(Args)]
struct Numbers {
    /// The numbers that TensorRT computes in, as the model's `precision=` in the graph
    #[arg(long, value_parser = ["fp32", "fp16", "int8"], default_value = "fp16")]
    precision: String,
    /// The table of ranges for int8, as the model's `calibration=` in the graph
    #[arg(long)]
    calibration: Option<PathBuf>,
}

impl Numbers {
    /// As parameters of a model.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let table = self
            .calibration
            .iter()
            .map(|table| ("calibration", table.display().to_string()));
        [("precision", self.precision.clone())]
            .into_iter()
            .chain(table)
            .collect()
    }
}

#[derive(Args)]
struct Calibrate {
    /// The ONNX file
    model: PathBuf,
    /// A folder of pictures as the cameras show them; a few dozen do
    #[arg(long)]
    images: PathBuf,
    /// Where to write the table [default: MODEL.flatbuffers]
    #[arg(long, short)]
    output: Option<PathBuf>,
}

#[derive(Args)]
struct Compare {
    /// The first ONNX file
    first: PathBuf,
    /// The second ONNX file; may be the same
    second: PathBuf,
    /// A folder of pictures; `NAME.txt` beside a picture, or in a folder `labels` beside it, says what is on it
    #[arg(long)]
    images: PathBuf,
    /// What computes the first
    #[arg(long, value_enum, default_value = "cpu")]
    first_on: On,
    /// What computes the second
    #[arg(long, value_enum, default_value = "auto")]
    second_on: On,
    /// How hard TensorRT looks for fast kernels, as the model's `effort=` in the graph
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=5))]
    effort: Option<u8>,
    // Of the second alone.
    #[command(flatten)]
    numbers: Numbers,
    /// Boxes that a model is less sure of do not count
    #[arg(long, default_value_t = 0.35)]
    min_score: f32,
    /// Which share of all boxes both must have found; below it the command fails
    #[arg(long)]
    floor: Option<f32>,
}

impl Model {
    pub fn execute(&self) -> Exit {
        let done = match &self.command {
            Command::Build(build) => build.execute().map(|()| true),
            Command::Calibrate(calibrate) => calibrate.execute().map(|()| true),
            Command::Compare(compare) => compare.execute(),
        };
        match done {
            Ok(true) => Exit::Done,
            Ok(false) => Exit::Failed,
            Err(OperatorError { cause, remedy }) => {
                eprintln!("error: {cause}");
                if let Some(remedy) = remedy {
                    eprintln!("help: {remedy}");
                }
                Exit::Failed
            }
        }
    }
}

impl Build {
    fn execute(&self) -> Result<()> {
        if self.beside_a_run {
            beside_a_run().map_err(|error| format!("no thread is left: {error}"))?;
        }
        let device = self.device.to_string();
        let batch = self.batch.map(|batch| batch.to_string());
        let detect: Vec<(&str, &str)> = batch.iter().map(|batch| ("batch", batch.as_str())).collect();
        let effort = self.effort.map(|effort| effort.to_string());
        let provider = self.provider.name();
        let mut model = vec![
            ("provider", provider),
            ("engine", "before"),
            ("device", device.as_str()),
        ];
        model.extend(effort.iter().map(|effort| ("effort", effort.as_str())));
        let numbers = self.numbers.parameters();
        model.extend(numbers.iter().map(|(name, value)| (*name, value.as_str())));
        let opened = Alone::open(&self.model, &model, &detect)?;
        if opened.provider() == self.provider.provider() {
            println!("{}: its {} engine is there", self.model.display(), opened.provider());
            return Ok(());
        }
        let causes: Vec<String> = opened.refusals().iter().map(ToString::to_string).collect();
        let (provider, model, causes) = (self.provider.provider(), self.model.display(), causes.join("; "));
        Err(
            OperatorError::new(format!("no {provider} engine for {model}: {causes}"))
                .help("`flowrun doctor` says what this machine has"),
        )
    }
}

/// Ends this process when whoever started it has closed its input, or is gone.
fn beside_a_run() -> std::io::Result<()> {
    let watch = std::thread::Builder::new().name("beside".into());
    let thread = watch.spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        // No sink is open, and a build cannot be broken off otherwise.
        signal_hook::low_level::exit(1);
    });
    thread.map(drop)
}

impl Calibrate {
    fn execute(&self) -> Result<()> {
        let output = self
            .output
            .clone()
            .unwrap_or_else(|| self.model.with_extension("flatbuffers"));
        if output.extension().is_none_or(|extension| extension != "flatbuffers") {
            let cause = format!("`{}` would not be known for a table of this kind", output.display());
            return Err(OperatorError::new(cause).help("let its name end in `.flatbuffers`"));
        }
        let pictures = photos(&self.images)?;
        let made = calibrate(&self.model, &pictures)?;
        let mut file: Box<dyn SinkWriter> = Box::new(DurableFile::create(&output)?);
        let about = |error: std::io::Error| format!("`{}` cannot be written: {error}", output.display());
        file.write(&made.table).map_err(about)?;
        file.finish().map_err(about)?;
        println!("pictures      {}", pictures.len());
        println!("tensors       {}", made.tensors);
        println!("in the graph  precision=int8 calibration=\"{}\"", output.display());
        Ok(())
    }
}

impl Compare {
    /// Whether the two agree as far as was asked.
    fn execute(&self) -> Result<bool> {
        let pictures = photos(&self.images)?;
        let least = asked_for(self.min_score).to_string();
        let effort = self.effort.map(|effort| effort.to_string());
        let numbers = self.numbers.parameters();
        let open = |path: &Path, on: On, numbers: &[(&'static str, String)]| {
            let mut model = vec![("provider", on.name())];
            model.extend(effort.iter().map(|effort| ("effort", effort.as_str())));
            model.extend(numbers.iter().map(|(name, value)| (*name, value.as_str())));
            Alone::open(path, &model, &[("min-score", &least)])
        };
        let (mut first, mut second) = (
            open(&self.first, self.first_on, &[])?,
            open(&self.second, self.second_on, &numbers)?,
        );
        for (path, opened) in [(&self.first, &first), (&self.second, &second)] {
            println!("{} on {}", path.display(), opened.provider());
            opened
                .refusals()
                .iter()
                .for_each(|refusal| println!("  not on {refusal}"));
        }
        let mut agreement = Agreement::default();
        let mut labelled = [Vec::new(), Vec::new()];
        for path in &pictures {
            let picture = photo(path)?;
            let (one, other) = (first.find(&picture)?, second.find(&picture)?);
            agreement.add(&one, &other, self.min_score);
            if let Some(text) = labels_beside(path) {
                let size = picture.layout().size;
                let size = [size.width as f32, size.height as f32];
                let labels = labels_from_text(&text, first.classes(), size);
                let labels = labels.map_err(|cause| format!("labels of `{}`: {cause}", path.display()))?;
                labelled[0].push((one, labels.clone()));
                labelled[1].push((other, labels));
            }
        }
        let Agreement {
            matched,
            only_first,
            only_second,
            overlap: [overlap, least_overlap],
            drift: [drift, most_drift],
            ..
        } = agreement;
        println!("pictures      {}", pictures.len());
        println!("boxes         {matched} in both, {only_first} in the first alone, {only_second} in the second alone");
        println!("overlap       {overlap:.4} on average, {least_overlap:.4} at least");
        println!("score drift   {drift:.4} on average, {most_drift:.4} at most");
        if let [Some(one), Some(other)] = labelled.map(|pictures| mean_average_precision(&pictures)) {
            println!("mAP at 0.5    {one:.4} and {other:.4}");
        }
        let share = agreement.share();
        println!("agreement     {share:.4}");
        Ok(self.floor.is_none_or(|floor| share >= floor))
    }
}

fn labels_beside(picture: &Path) -> Option<String> {
    let beside = picture.with_extension("txt");
    let apart = picture.parent()?.parent()?.join("labels").join(beside.file_name()?);
    [beside, apart]
        .into_iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
}
