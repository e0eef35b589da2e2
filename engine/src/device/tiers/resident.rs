//! The way between a device and the tiers: copies in a stream of their own, over when the call returns.

use std::sync::Arc;

use super::super::backend::{Device, RowShape, RowsAt};
use super::super::fault::{Fault, Result};
use super::super::memory::{Buffer, Pinned};
use super::super::stream::CudaStream;
use super::super::surface::{Surface, packed, planes};
use super::super::turns::working;

/// A device and the stream by which pictures are moved.
#[derive(Debug)]
pub(super) struct Link {
    device: Arc<dyn Device>,
    stream: CudaStream,
}

impl Link {
    pub fn open(device: &Arc<dyn Device>) -> Result<Self> {
        let _working = working();
        Ok(Link {
            stream: CudaStream::open(device)?,
            device: device.clone(),
        })
    }

    /// Whether a picture lies on this device.
    pub fn reaches(&self, surface: &Surface) -> bool {
        surface.is_on(&self.device)
    }

    pub fn buffer(&self, bytes: usize) -> Result<Buffer> {
        let _working = working();
        Buffer::new(&self.device, bytes)
    }

    pub fn pinned(&self, bytes: usize) -> Result<Pinned> {
        let _working = working();
        Pinned::new(&self.device, bytes)
    }

    /// Copies a picture within the device.
    pub fn copy_surface(&self, surface: &Surface, to: &Buffer) -> Result<()> {
        let _working = working();
        let ((shapes, count), (starts, bytes)) = (planes(surface.layout()), packed(surface.layout()));
        fits(bytes, to.bytes())?;
        surface.await_in(&self.stream)?;
        let mut copied = Ok(());
        for index in 0..count {
            let [rows, row] = shapes[index];
            let at = |start: u64| RowsAt {
                start: start + starts[index] as u64,
                stride: row,
            };
            let (from, to) = (at(surface.address()), at(to.address()));
            // SAFETY: both hold a packed picture of this layout, and live until the stream was drained, below.
            let plane = unsafe {
                self.device
                    .copy(self.stream.handle(), from, to, RowShape { bytes: row, rows })
            };
            copied = copied.and(plane);
        }
        let drained = self.stream.drain();
        copied.and(drained)
    }

    /// Brings a picture to the host.
    pub fn fetch_surface(&self, surface: &Surface, to: &mut [u8]) -> Result<()> {
        let _working = working();
        fits(packed(surface.layout()).1, to.len())?;
        surface.await_in(&self.stream)?;
        // SAFETY: both hold a packed picture of this layout, and live until the stream was drained, one line down.
        let fetched = unsafe {
            self.device
                .download(self.stream.handle(), surface.address(), to.as_mut_ptr(), to.len())
        };
        let drained = self.stream.drain();
        fetched.and(drained)
    }

    /// Brings a kept picture to the host.
    pub fn fetch(&self, from: &Buffer, to: &mut [u8]) -> Result<()> {
        let _working = working();
        fits(to.len(), from.bytes())?;
        // SAFETY: both hold so many bytes, and live until the stream was drained, one line down.
        let fetched = unsafe {
            self.device
                .download(self.stream.handle(), from.address(), to.as_mut_ptr(), to.len())
        };
        let drained = self.stream.drain();
        fetched.and(drained)
    }
}

fn fits(bytes: usize, room: usize) -> Result<()> {
    if bytes <= room {
        return Ok(());
    }
    Err(Fault::Unfit(format!(
        "a picture of {bytes} bytes does not fit into {room}"
    )))
}
