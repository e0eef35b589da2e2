//! The files of a recording: each camera's open one, and its name when it is complete.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use flowrun_engine::errors::Result;
use flowrun_engine::operator::SinkWriter;
use flowrun_engine::rows::CameraId;
use flowrun_engine::time::EventTime;

use super::Recorders;
use super::recorder::{Order, take};
use crate::write::durable::DurableFile;

/// A camera's file.
struct Open {
    path: PathBuf,
    file: Box<DurableFile>,
    written: bool,
}

/// All of them.
pub(super) struct Files {
    recorders: Recorders,
    began: EventTime,
    open: BTreeMap<CameraId, Open>,
}

fn create(path: &Path, began: EventTime) -> Result<Open> {
    Ok(Open {
        file: Box::new(DurableFile::create(path)?.keeping(began)),
        path: path.to_owned(),
        written: false,
    })
}

impl Open {
    /// Completes it, or takes it away where there is nothing in it.
    fn complete(self) -> io::Result<()> {
        if self.written {
            self.file.finish()
        } else {
            self.file.discard()
        }
    }
}

impl Files {
    /// Opens those whose names are known, and makes the folders of the others. What was completed since the run `began`
    /// stays.
    ///
    /// # Errors
    /// As [`DurableFile::create`].
    pub fn open(recorders: Recorders, began: EventTime) -> Result<Self> {
        let mut open = BTreeMap::new();
        let known = recorders.lock().unwrap_or_else(PoisonError::into_inner);
        for (camera, (_, recorder)) in known.iter() {
            let recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
            match (recorder.path().fixed(), recorder.path().folder()) {
                (Some(path), _) => drop(open.insert(*camera, create(path, began)?)),
                (None, Some(folder)) => DurableFile::try_folder(folder)?,
                (None, None) => {}
            }
        }
        drop(known);
        Ok(Files { recorders, began, open })
    }

    fn obey(&mut self, mut orders: &[u8]) -> io::Result<()> {
        while let Some(((order, camera, bytes), rest)) = take(orders) {
            orders = rest;
            match order {
                Order::Append => {
                    if let Some(open) = self.open.get_mut(&camera) {
                        open.written = true;
                        open.file.write(bytes)?;
                    }
                }
                Order::Open => {
                    let path = PathBuf::from(String::from_utf8_lossy(bytes).into_owned());
                    if self.open.get(&camera).is_some_and(|open| open.path == path) {
                        continue;
                    }
                    if let Some(before) = self.open.remove(&camera) {
                        before.complete()?;
                    }
                    let opened = create(&path, self.began).map_err(|error| io::Error::other(error.cause))?;
                    self.open.insert(camera, opened);
                }
            }
        }
        Ok(())
    }
}

impl SinkWriter for Files {
    fn write(&mut self, orders: &[u8]) -> io::Result<()> {
        self.obey(orders)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        let recorders = std::mem::take(&mut *self.recorders.lock().unwrap_or_else(PoisonError::into_inner));
        for (camera, (_, recorder)) in recorders {
            let mut orders = Vec::new();
            let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
            let finished = recorder.finish(camera, &mut orders);
            finished.map_err(|error| io::Error::other(error.cause))?;
            self.obey(&orders)?;
        }
        std::mem::take(&mut self.open)
            .into_values()
            .try_for_each(Open::complete)
    }
}
