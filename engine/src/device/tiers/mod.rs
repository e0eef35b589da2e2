//! Pictures that a graph keeps back: in a device's memory while there is room, else in pinned memory, in pageable memory,
//! and on disk at last.
//!
//! Decoders want their pictures back, and renderers' are as large as any: what is kept longer than a frame takes is a
//! copy, and each tier holds no more than its budget. A tier that is full hands its oldest picture one tier down; what
//! even the archive has no room for is forgotten and counted. A picture keeps its age when it is read: what comes back
//! from the archive goes there again before younger ones do.
//!
//! `shelf` lends blocks within a budget, `resident` copies from and to a device, [`archive`] is the file, `store` decides who
//! lies where, `kept` is what readers hold. All of it waits for devices and disks, so none of it is called on a timely
//! worker; dropping a [`Retained`] waits for nothing and may happen anywhere.

mod archive;
mod kept;
mod resident;
mod shelf;
mod state;
mod store;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Surface;
use super::fault::Fault;
use super::memory::{Buffer, Pinned};
use super::surface::{packed, planes};
use crate::errors::{OperatorError, Result};
use crate::frame::{Picture, PictureLayout, PictureMemory};

use archive::{Archive, Extent};
use kept::{Kept, Lent};
use shelf::Shelf;
use state::{Gauges, Mark};
pub use state::{Tier, TierState, TiersState};
use store::Store;

/// The most bytes that each tier holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TierBudgets {
    /// In the device's memory; unused where pictures come from no device.
    pub hot: usize,
    /// In pinned memory; unused where pictures come from no device.
    pub warm: usize,
    /// In pageable memory: where pictures of a processor begin.
    pub cold: usize,
    /// On disk; nought for no archive.
    pub archive: u64,
    /// The folder of the archive's file, which has no name and is gone with the process.
    pub folder: PathBuf,
}

/// Where a picture lies.
#[derive(Debug)]
enum Place {
    Hot(Buffer),
    Warm(Arc<Pinned>),
    Cold(Arc<Vec<u8>>),
    Archive(Extent),
}

impl Place {
    fn tier(&self) -> Tier {
        match self {
            Place::Hot(_) => Tier::Hot,
            Place::Warm(_) => Tier::Warm,
            Place::Cold(_) => Tier::Cold,
            Place::Archive(_) => Tier::Archive,
        }
    }

    /// Whether a reader has it, so that it stays where it is.
    fn is_held(&self) -> bool {
        match self {
            Place::Hot(_) | Place::Archive(_) => false,
            Place::Warm(memory) => Arc::strong_count(memory) > 1,
            Place::Cold(memory) => Arc::strong_count(memory) > 1,
        }
    }
}

/// Kept pictures of one node.
#[derive(Debug)]
pub struct Tiers {
    store: Mutex<Store>,
    /// Pictures that nobody wants any more: whoever drops one does not wait for the store.
    dropped: Mutex<Vec<u64>>,
    gauges: Arc<Gauges>,
}

impl Tiers {
    /// An empty store. Memory is taken as pictures come, the archive's file is opened now.
    ///
    /// # Errors
    /// When the archive cannot be made.
    pub fn new(budgets: &TierBudgets) -> Result<Arc<Self>> {
        let archive = match budgets.archive {
            0 => None,
            bytes => Some(Archive::open(&budgets.folder, bytes)?),
        };
        let gauges = Arc::new(Gauges::of(budgets));
        Ok(Arc::new(Tiers {
            store: Mutex::new(Store::new(budgets, archive, &gauges)),
            dropped: Mutex::default(),
            gauges,
        }))
    }

    /// Copies a picture into the highest tier that has room, or makes room there. One that lies on a device stays there.
    ///
    /// # Errors
    /// When it cannot be read, or no tier has room for it.
    pub fn keep(self: &Arc<Self>, picture: &Picture) -> Result<Retained> {
        let (layout, memory) = (picture.layout(), picture.memory());
        let place = match memory.surface() {
            Some(surface) => self.keep_resident(layout, surface)?,
            None => None,
        };
        let place = match place {
            Some(place) => place,
            None => self.keep_on_host(layout, memory)?,
        };
        let mark = Arc::new(Mark::default());
        Ok(Retained {
            id: self.lock().insert(place, packed(layout).1, &mark),
            layout,
            tiers: self.clone(),
            mark,
        })
    }

    /// How it stands.
    pub fn state(&self) -> TiersState {
        // What was dropped is given back now if that makes nobody wait.
        if let Ok(mut store) = self.store.try_lock() {
            store.reap(&self.take_dropped());
        }
        self.gauges.state()
    }

    fn take_dropped(&self) -> Vec<u64> {
        std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The store, without what was dropped.
    fn lock(&self) -> MutexGuard<'_, Store> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.reap(&self.take_dropped());
        store
    }

    /// Copies a picture of a device into memory that the device reaches; none where there is no room for it there.
    fn keep_resident(&self, layout: PictureLayout, surface: &Arc<Surface>) -> Result<Option<Place>> {
        let bytes = packed(layout).1;
        let Some((link, hot)) = self.lock().hot_block(surface, bytes)? else {
            return Ok(None);
        };
        if let Some(buffer) = hot {
            match link.copy_surface(surface, &buffer) {
                Ok(()) => return Ok(Some(Place::Hot(buffer))),
                Err(fault) => {
                    self.lock().give_hot(buffer);
                    return Err(unkept(&fault));
                }
            }
        }
        let Some(mut pinned) = self.lock().warm_block(bytes, u64::MAX) else {
            return Ok(None);
        };
        match link.fetch_surface(surface, pinned.bytes_mut()) {
            Ok(()) => Ok(Some(Place::Warm(Arc::new(pinned)))),
            Err(fault) => {
                self.lock().give_warm(pinned);
                Err(unkept(&fault))
            }
        }
    }

    /// Copies a picture's bytes into pageable memory, or where there is no room into the archive.
    fn keep_on_host(&self, layout: PictureLayout, memory: &dyn PictureMemory) -> Result<Place> {
        memory.fetch()?;
        let bytes = packed(layout).1;
        let block = self.lock().cold_block(bytes, u64::MAX);
        if let Some(mut block) = block {
            if let Err(error) = pack(layout, memory, &mut block) {
                self.lock().give_cold(block);
                return Err(error);
            }
            return Ok(Place::Cold(Arc::new(block)));
        }
        let mut passing = vec![0; bytes];
        pack(layout, memory, &mut passing)?;
        match self.lock().file(&passing, u64::MAX) {
            Ok(Some(extent)) => Ok(Place::Archive(extent)),
            Ok(None) => Err(
                OperatorError::new(format!("no tier has room for a picture of {bytes} bytes"))
                    .help("raise `cold=`, or `archive=` to keep pictures on disk"),
            ),
            Err(error) => Err(error),
        }
    }
}

fn unkept(fault: &Fault) -> OperatorError {
    OperatorError::from(fault.clone()).about("a picture cannot be kept")
}

/// Writes a picture's rows one behind the other.
fn pack(layout: PictureLayout, memory: &dyn PictureMemory, to: &mut [u8]) -> Result<()> {
    let ((shapes, count), (starts, _)) = (planes(layout), packed(layout));
    for index in 0..count {
        let [rows, row] = shapes[index];
        let (plane, stride) = (memory.plane(index), memory.stride(index));
        if rows == 0 || row == 0 {
            continue;
        }
        if stride < row || plane.len() < stride * (rows - 1) + row {
            return Err("a picture has too few bytes to be kept".into());
        }
        let to = to[starts[index]..][..rows * row].chunks_exact_mut(row);
        to.zip(plane.chunks(stride))
            .for_each(|(to, from)| to.copy_from_slice(&from[..row]));
    }
    Ok(())
}

/// A picture that is kept; dropping it gives its place back.
#[derive(Debug)]
pub struct Retained {
    id: u64,
    layout: PictureLayout,
    tiers: Arc<Tiers>,
    mark: Arc<Mark>,
}

impl Retained {
    /// Whether it was forgotten for want of room, or lost with a device or disk.
    pub fn is_lost(&self) -> bool {
        self.mark.is_lost()
    }

    /// It is going to be read: from here on it is not forgotten to make room for others.
    pub fn want(&self) {
        self.mark.want();
    }

    /// Brings it to where the host can read it. What waits on disk comes back to memory where there is room.
    ///
    /// # Errors
    /// When it was forgotten, or its device or disk fails; then it is forgotten too.
    pub fn read(&self) -> Result<Box<dyn PictureMemory>> {
        let lent = self.tiers.lock().read(self.id, packed(self.layout).1)?;
        Ok(Box::new(Kept::new(self.layout, Ok(lent))))
    }

    /// As a picture that is wanted, and read when somebody looks at it. One that cannot be read then is grey and says so.
    pub fn into_picture(self) -> Picture {
        self.want();
        let layout = self.layout;
        Picture::retained(layout, move || match self.read() {
            Ok(memory) => memory,
            Err(error) => Box::new(Kept::new(layout, Err(error))),
        })
    }
}

impl Drop for Retained {
    fn drop(&mut self) {
        let mut dropped = self.tiers.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.push(self.id);
    }
}
