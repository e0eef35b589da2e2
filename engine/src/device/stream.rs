//! What a device does one after the other: streams, and fences between them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::backend::{Address, Device, Handle};
use super::fault::{Fault, Result};
use super::kernels::Work;
use super::memory::{Buffer, Pinned};

/// A queue of work on a device. Dropping it waits for what it was given.
pub struct CudaStream {
    device: Arc<dyn Device>,
    handle: Handle,
}

impl CudaStream {
    /// Opens a stream.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn open(device: &Arc<dyn Device>) -> Result<Self> {
        Ok(CudaStream {
            handle: device.open_stream()?,
            device: device.clone(),
        })
    }
    /// Where it is.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }
    /// The driver's own handle, for ONNX Runtime.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Sleeps until all that it was given is done.
    ///
    /// # Errors
    /// What went wrong in it.
    pub fn drain(&self) -> Result<()> {
        // SAFETY: the stream is open as long as this lives.
        unsafe { self.device.drain(self.handle) }
    }

    /// Lets it wait for a fence; the host does not.
    ///
    /// # Errors
    /// As the driver tells.
    pub fn after(&self, fence: &Fence) -> Result<()> {
        // SAFETY: both are open as long as they live.
        unsafe { self.device.await_fence(self.handle, fence.handle) }
    }

    /// Copies the start of pinned memory. Nobody may write it until the stream was drained, which this folder sees to.
    pub(super) fn upload(&self, from: &Pinned, bytes: usize, to: &Buffer) -> Result<()> {
        self.upload_part(from, 0..bytes, to.address(), to.bytes())
    }

    /// Copies a part of pinned memory to an address with room for so many bytes.
    pub(super) fn upload_part(&self, from: &Pinned, part: Range<usize>, to: Address, room: usize) -> Result<()> {
        let bytes = &from.bytes()[part];
        fits(bytes.len(), room)?;
        // SAFETY: both places hold as much, as was just seen, and this folder keeps both until the stream was drained.
        unsafe { self.device.upload(self.handle, bytes.as_ptr(), to, bytes.len()) }
    }

    /// Copies the start of a buffer to pinned memory. Nobody may read it until the stream was drained.
    pub(crate) fn download(&self, from: &Buffer, bytes: usize, to: &mut Pinned) -> Result<()> {
        fits(bytes, from.bytes().min(to.bytes().len()))?;
        // SAFETY: as in `upload_part`.
        unsafe { self.device.download(self.handle, from.address(), to.start(), bytes) }
    }

    /// Fills a buffer with nought.
    pub(super) fn clear(&self, buffer: &Buffer) -> Result<()> {
        // SAFETY: the buffer is this long, and this folder keeps it until the stream was drained.
        unsafe { self.device.fill(self.handle, buffer.address(), 0, buffer.bytes()) }
    }

    /// Runs a kernel.
    ///
    /// # Safety
    /// Every address in `work` holds what the kernel reads and writes there, until the stream was drained.
    pub(super) unsafe fn launch(&self, work: &Work) -> Result<()> {
        // SAFETY: as the caller promises.
        unsafe { self.device.launch(self.handle, work) }
    }
}

fn fits(bytes: usize, room: usize) -> Result<()> {
    if bytes <= room {
        return Ok(());
    }
    Err(Fault::Other(format!("{bytes} bytes do not fit into {room}")))
}

impl Drop for CudaStream {
    fn drop(&mut self) {
        if let Err(fault) = self.drain() {
            tracing::debug!(%fault, "a stream ended in failure");
        }
        // SAFETY: it was opened once and is closed once.
        unsafe { self.device.close_stream(self.handle) }
    }
}

impl fmt::Debug for CudaStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CudaStream({:#x})", self.handle)
    }
}

/// A mark behind what a stream was given: others wait for it without the host.
pub struct Fence {
    device: Arc<dyn Device>,
    handle: Handle,
}

impl Fence {
    /// A fence that is not raised yet, and so holds nobody up.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn new(device: &Arc<dyn Device>) -> Result<Self> {
        Ok(Fence {
            handle: device.make_fence()?,
            device: device.clone(),
        })
    }
    /// Puts it behind all that a stream was given so far.
    ///
    /// # Errors
    /// As the driver tells.
    pub fn raise(&self, stream: &CudaStream) -> Result<()> {
        // SAFETY: both are open as long as they live.
        unsafe { self.device.raise(self.handle, stream.handle) }
    }
    /// Whether the stream has come past it.
    ///
    /// # Errors
    /// What went wrong before it.
    pub fn is_reached(&self) -> Result<bool> {
        // SAFETY: the fence is open as long as this lives.
        unsafe { self.device.is_reached(self.handle) }
    }
    /// Sleeps until the stream has come past it.
    ///
    /// # Errors
    /// What went wrong before it.
    pub fn wait(&self) -> Result<()> {
        // SAFETY: the fence is open as long as this lives.
        unsafe { self.device.await_on_host(self.handle) }
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        // SAFETY: it was made once and is ended once.
        unsafe { self.device.end_fence(self.handle) }
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fence({:#x})", self.handle)
    }
}
