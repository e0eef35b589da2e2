//! `mp4`: encoded pictures as fragmented MP4, one file a camera.
//!
//! A file is a header and fragments that each stand by themselves, so what was written plays also when the process was
//! killed in between: `PATH.partial` then ends with its last whole fragment. Fragments are cut on the worker that brings the
//! packets (`recorder`), and files belong to the sink's thread (`files`).

mod files;
mod recorder;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flowrun_dsl::params::Params;
use flowrun_dsl::port::{PortRows, Role, RowKind};
use flowrun_engine::batch::{Answer, Batch};
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::operator::{NodeSetup, Sink, SinkOrder, SinkWriter};
use flowrun_engine::rows::CameraId;
use flowrun_engine::time::EventTime;

use crate::write::durable::DurableFile;
use files::Files;
use recorder::{PathOf, Recorder};

/// Records encoded pictures as fragmented MP4, one file a camera.
///
/// Until a file is complete it is called PATH.partial, and plays as far as it goes. A camera whose pictures change in
/// size goes on in PATH.2.mp4. A camera without pictures leaves no file.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct Mp4Params {
    /// The file, with {camera} for the camera's name and {time} for the time of its first picture in UTC. Folders above it
    /// are made.
    #[param(positional)]
    pub path: PathBuf,
    /// After this long, at the next keyframe, another file begins; the path needs {time} then. Without it there is one file.
    #[param(min = 1, max = 604_800)]
    pub segment: Option<Duration>,
}

/// The recorders of all cameras, those included that an edit of the graph took away: their files are completed with the
/// others.
type Recorders = Arc<Mutex<BTreeMap<CameraId, (String, Arc<Mutex<Recorder>>)>>>;

/// The sink `mp4`.
pub struct Mp4 {
    params: Mp4Params,
    began: EventTime,
    recorders: Recorders,
    own: HashMap<CameraId, Arc<Mutex<Recorder>>>,
}

impl Mp4 {
    /// With the recorders that an earlier version has.
    fn with(params: Mp4Params, setup: &NodeSetup<'_>, recorders: &Recorders) -> Result<Self> {
        let written = params.path.to_string_lossy();
        let mut known = recorders.lock().unwrap_or_else(PoisonError::into_inner);
        // At the start files are opened, and with them their folders; those of an edit come with their first packets.
        let goes_on = !known.is_empty();
        let mut own = HashMap::new();
        for camera in setup.cameras() {
            let name = setup.names.camera(camera).to_string();
            if let Some((_, recorder)) = known.get(&camera).filter(|(before, _)| *before == name) {
                own.insert(camera, recorder.clone());
                continue;
            }
            if !written.contains("{time}") && known.values().any(|(before, _)| *before == name) {
                let cause = format!("`{name}` was recorded before in this run, and its file would be written over");
                return Err(refuse(
                    cause,
                    "put {time} into the path, or give the camera another name",
                ));
            }
            let path = PathOf::new(setup.plan.root.join(written.replace("{camera}", &name)));
            if let (true, Some(folder)) = (goes_on, path.folder()) {
                DurableFile::try_folder(folder)?;
            }
            let recorder = Arc::new(Mutex::new(Recorder::new(path, params.segment)));
            known.insert(camera, (name, recorder.clone()));
            own.insert(camera, recorder);
        }
        drop(known);
        Ok(Mp4 {
            recorders: recorders.clone(),
            began: setup.audience.opened,
            params,
            own,
        })
    }
}

fn refuse(cause: String, remedy: &str) -> OperatorError {
    OperatorError::new(cause).help(remedy)
}

impl Sink for Mp4 {
    const KIND: &'static str = "mp4";
    const ROLE: Role = Role::Write;
    // Each file has one camera's pictures alone, so their order is enough.
    const ORDER: SinkOrder = SinkOrder::Camera;
    type Params = Mp4Params;

    fn takes() -> PortRows {
        PortRows::Only(RowKind::Packet)
    }

    fn new(params: Mp4Params, setup: &NodeSetup<'_>) -> Result<Self> {
        let written = params.path.to_string_lossy();
        let known = written.replace("{camera}", "").replace("{time}", "");
        if known.contains(['{', '}']) {
            let cause = format!("the path `{written}` has a place that cannot be filled in");
            return Err(refuse(cause, "it may have {camera} and {time}"));
        }
        if !written.ends_with(".mp4") {
            let cause = format!("`{written}` does not end with .mp4");
            return Err(refuse(cause, "name a file: mp4 \"out/{camera}.mp4\""));
        }
        if setup.node.cameras.len() > 1 && !written.contains("{camera}") {
            let cause = format!("`{written}` is one file for {} cameras", setup.node.cameras.len());
            return Err(refuse(
                cause,
                "write it with the camera's name: mp4 \"out/{camera}.mp4\"",
            ));
        }
        if params.segment.is_some() && !written.contains("{time}") {
            let cause = format!("`{written}` is one name for many files");
            return Err(refuse(cause, "write it with the time: mp4 \"out/{camera}-{time}.mp4\""));
        }
        Mp4::with(params, setup, &Recorders::default())
    }

    fn revise(&self, params: Mp4Params, setup: &NodeSetup<'_>) -> Result<Option<Self>> {
        let same = params == self.params;
        same.then(|| Mp4::with(params, setup, &self.recorders)).transpose()
    }

    fn open(&self) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Files::open(self.recorders.clone(), self.began)?))
    }

    fn encode(&self, answer: &Answer, out: &mut Vec<u8>) -> Result<()> {
        let (camera, Batch::Packets(packets)) = (answer.at.camera, &answer.batch) else {
            return Ok(());
        };
        let Some(recorder) = self.own.get(&camera) else {
            return Ok(());
        };
        let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
        recorder.push(camera, packets, out)
    }
}
