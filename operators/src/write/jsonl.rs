//! Rows as JSON Lines: the form that other languages, `grep` and the `rows` source read.

use std::path::PathBuf;

use flowrun_dsl::params::Params;
use flowrun_dsl::port::{PortRows, Role};
use flowrun_engine::batch::Answer;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::operator::{NodeSetup, Sink, SinkWriter};
use flowrun_engine::time::EventTime;

use crate::write::durable::DurableFile;
use crate::write::encode::{Location, RowEncoder};

/// Writes rows to a file, one JSON object a line. The file has its name once the run is complete;
/// until then it is called PATH.partial.
#[derive(Clone, Debug, Params)]
pub struct JsonlParams {
    /// The file. Folders above it are made; an older file is replaced when the run is complete, one of the same run gets a number.
    #[param(positional)]
    pub path: PathBuf,
}

/// The sink `jsonl`.
pub struct Jsonl {
    path: PathBuf,
    began: EventTime,
    rows: RowEncoder,
}

impl Sink for Jsonl {
    const KIND: &'static str = "jsonl";
    const ROLE: Role = Role::Write;
    type Params = JsonlParams;

    fn takes() -> PortRows {
        PortRows::AnyRows
    }

    fn new(params: JsonlParams, setup: &NodeSetup<'_>) -> Result<Self> {
        if params.path.as_os_str().is_empty() {
            return Err(OperatorError::new("the path is empty").help("name a file: jsonl \"out/rows.jsonl\""));
        }
        Ok(Jsonl {
            path: setup.path(&params.path),
            began: setup.audience.opened,
            rows: RowEncoder::of(setup),
        })
    }

    fn open(&self) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(DurableFile::create(&self.path)?.keeping(self.began)))
    }

    fn encode(&self, answer: &Answer, out: &mut Vec<u8>) -> Result<()> {
        self.rows.encode(answer, Location::Told, out)
    }

    fn revise(&self, params: JsonlParams, setup: &NodeSetup<'_>) -> Result<Option<Self>> {
        let same = setup.path(&params.path) == self.path;
        Ok(same.then(|| Jsonl {
            path: self.path.clone(),
            began: self.began,
            rows: RowEncoder::of(setup),
        }))
    }
}

#[cfg(test)]
mod tests;
