//! The pictures of a batch on their way into a model's input: letterboxed there in one kernel, whatever their sizes.

use std::mem::size_of;
use std::sync::Arc;

use super::backend::Device;
use super::fault::{Fault, Result};
use super::kernels::{Letterbox, Placed, Work};
use super::memory::{Buffer, Pinned};
use super::pool::Lease;
use super::stream::CudaStream;
use super::surface::{FramePools, Surface};
use crate::frame::{PictureLayout, PictureMemory};

/// Where a picture goes in the tensor, and how its colours are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Pixels across and down in the tensor, at least one each.
    pub inner: [u32; 2],
    /// Grey pixels to the left of it and above.
    pub margins: [u32; 2],
    /// Luma of black, and what luma above it is multiplied by.
    pub luma: [f32; 2],
    /// How much V makes red, U and V take from green, and U makes blue.
    pub chroma: [f32; 4],
}

/// The pictures of one batch.
#[derive(Debug)]
pub struct Pictures {
    pools: FramePools,
    table: Pinned,
    table_there: Buffer,
    held: Vec<Held>,
    places: usize,
}

/// What must live until the stream was drained.
#[derive(Debug)]
enum Held {
    Sent(
        #[allow(dead_code, reason = "kept for its memory")] Surface,
        #[allow(dead_code, reason = "as above")] Lease<Pinned>,
    ),
    Resident(#[allow(dead_code, reason = "as above")] Arc<Surface>),
}

impl Pictures {
    /// Room for so many pictures at once.
    ///
    /// # Errors
    /// When the device has no memory for their table.
    pub fn new(device: &Arc<dyn Device>, pools: FramePools, places: usize) -> Result<Self> {
        Ok(Pictures {
            pools,
            table: Pinned::new(device, places * size_of::<Placed>())?,
            table_there: Buffer::new(device, places * size_of::<Placed>())?,
            held: Vec::with_capacity(places),
            places,
        })
    }

    /// Forgets all pictures. The stream has been drained.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
        for place in 0..self.places {
            self.note(place, Placed::default());
        }
    }

    /// Sends a picture of the host to the device.
    ///
    /// # Errors
    /// When it has less memory than its layout needs, or the device has no place for it.
    pub(crate) fn place(
        &mut self,
        stream: &CudaStream,
        place: usize,
        layout: PictureLayout,
        memory: &dyn PictureMemory,
        fit: &Fit,
    ) -> Result<()> {
        self.has(place)?;
        let (surface, pinned) = self.pools.send(stream, layout, memory)?;
        self.note(place, surface.placed(fit));
        self.held.push(Held::Sent(surface, pinned));
        Ok(())
    }

    /// Takes a picture that is on the device already.
    ///
    /// # Errors
    /// As the driver tells.
    pub(crate) fn place_resident(
        &mut self,
        stream: &CudaStream,
        place: usize,
        surface: &Arc<Surface>,
        fit: &Fit,
    ) -> Result<()> {
        self.has(place)?;
        surface.await_in(stream)?;
        self.note(place, surface.placed(fit));
        self.held.push(Held::Resident(surface.clone()));
        Ok(())
    }

    fn has(&self, place: usize) -> Result<()> {
        if place < self.places {
            return Ok(());
        }
        Err(Fault::Unfit(format!("place {place} of {}", self.places)))
    }

    fn note(&mut self, place: usize, placed: Placed) {
        let at = self.table.bytes_mut()[place * size_of::<Placed>()..].as_mut_ptr();
        // SAFETY: the table holds `places` of them, aligned as pinned memory is, and `place` is one.
        unsafe { at.cast::<Placed>().write(placed) };
    }

    /// Sends the table, and fills the first `places` of a tensor `[places, 3, height, width]`.
    ///
    /// # Errors
    /// When the tensor is too short, or as the driver tells.
    pub(crate) fn letterbox(
        &self,
        stream: &CudaStream,
        tensor: &Buffer,
        half: bool,
        [width, height]: [u32; 2],
        places: usize,
    ) -> Result<()> {
        let needed = 3 * places * width as usize * height as usize * if half { 2 } else { 4 };
        if places > self.places || needed > tensor.bytes() {
            return Err(Fault::Unfit(format!("{places} pictures do not fit into the tensor")));
        }
        stream.upload(&self.table, places * size_of::<Placed>(), &self.table_there)?;
        let work = Work::Letterbox(Letterbox {
            pictures: self.table_there.address(),
            tensor: tensor.address(),
            half,
            width,
            height,
            places: places as u32,
        });
        // SAFETY: the tensor is long enough, and each picture of the table is absent or held by this until `clear`.
        unsafe { stream.launch(&work) }
    }
}
