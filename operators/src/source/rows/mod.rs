//! Detections and tracks from a file: what `jsonl` wrote, or any other program.
//!
//! The file is read line by line and comes from outside: every line may be nonsense. What cannot be
//! read is a fault that names its line, and reading goes on; memory is bounded by one line and the
//! rows of one frame, time by the largest gap between frames. The schema is in `tests/spec/rows.md`.

mod frames;
mod lines;
mod record;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;

use flowrun_dsl::params::{Choice, Params};
use flowrun_dsl::port::RowKind;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::names::Names;
use flowrun_engine::operator::{
    Next, Overload, Pace, Source, SourceOutput, SourceSetup, SourceTraits, Stop, Thread, Times,
};

use crate::source::size::parse_size;
use frames::{Found, Frames};
use lines::{LineError, Lines};
use record::Record;

/// Replays rows from a file of JSON objects, one a line.
#[derive(Clone, Debug, Params)]
pub struct RowsParams {
    /// The file.
    #[param(positional)]
    pub path: PathBuf,
    /// What it holds.
    #[param(name = "type")]
    pub rows: RowsType,
    /// Frames a second, for frames that have no `time_ns`.
    #[param(default = "25", min = 0.001, max = 1000.0)]
    pub fps: f64,
    /// Whether frames come at the pace at which they were filmed.
    #[param(default = "max")]
    pub pace: Pace,
    /// How many frames there are: empty ones follow those of a shorter file, a longer file is read no further.
    #[param(min = 0)]
    pub frames: Option<u64>,
    /// The picture's size in pixels, for rows that have no `width` and `height`.
    #[param(default = "1920x1080")]
    pub size: String,
    /// The camera whose lines count, in a file of several; this camera's own name if not given.
    pub camera: Option<String>,
}

/// What a file of rows holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum RowsType {
    /// Boxes with a class and a score.
    Detection,
    /// Detections with an identity.
    Track,
}

/// Lines read before looking whether the run is ending: those of other cameras give nothing to return.
const LINES_A_LOOK: usize = 4096;

/// The source `rows`.
pub struct RowsSource {
    lines: Lines<BufReader<File>>,
    frames: Frames,
    camera: String,
    names: Arc<Names>,
    pace: Pace,
    stop: Stop,
}

impl Source for RowsSource {
    const KIND: &'static str = "rows";
    const THREAD: Thread = Thread::Shared;
    type Params = RowsParams;

    fn output() -> SourceOutput {
        let choices = vec![("detection", RowKind::Detection), ("track", RowKind::Track)];
        SourceOutput::ByParam("type", choices)
    }

    fn open(params: RowsParams, setup: &SourceSetup<'_>) -> Result<Self> {
        let path = setup.root.join(&params.path);
        let shown = path.display();
        let cannot = |cause: &dyn std::fmt::Display| {
            OperatorError::new(format!("cannot read `{shown}`: {cause}"))
                .help("name a file of JSON lines; relative paths start at the graph file's folder")
        };
        let file = File::open(&path).map_err(|error| cannot(&error))?;
        if file.metadata().is_ok_and(|there| there.is_dir()) {
            return Err(cannot(&"it is a folder"));
        }
        let size = parse_size(&params.size)?;
        let own_name = setup.names.camera(setup.camera);
        Ok(RowsSource {
            lines: Lines::new(BufReader::with_capacity(1 << 16, file), setup.stop.clone()),
            frames: Frames::new(params.rows, params.fps, size, params.frames),
            camera: params.camera.unwrap_or_else(|| own_name.to_string()),
            names: setup.names.clone(),
            pace: params.pace,
            stop: setup.stop.clone(),
        })
    }

    fn traits(&self) -> SourceTraits {
        SourceTraits {
            finite: true,
            pace: self.pace,
            times: Times::Media,
            overload: Overload::Wait,
        }
    }

    fn next(&mut self) -> Result<Next> {
        loop {
            if self.stop.asked() {
                return Ok(Next::End);
            }
            if let Some(next) = self.frames.take() {
                return Ok(next);
            }
            for _ in 0..LINES_A_LOOK {
                let line = match self.lines.next() {
                    Ok(Some(line)) => line,
                    Ok(None) => {
                        self.frames.end();
                        break;
                    }
                    Err(LineError::Refused(cause)) => return Ok(Next::Fault(cause)),
                    Err(LineError::Broken(error)) => return Err(error.into()),
                };
                let found = Record::read(line.text, &self.camera).and_then(|record| match record {
                    Some(record) => self.frames.add(&record, &self.names),
                    None => Ok(Found::Nothing),
                });
                match found {
                    Ok(Found::Nothing) => {}
                    Ok(Found::Frames) => break,
                    Err(cause) => return Ok(Next::Fault(format!("line {}: {cause}", line.number))),
                }
            }
        }
    }
}
