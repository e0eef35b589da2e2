//! What every device can do, at its raw level: addresses and handles, nothing owned.
//!
//! Two implement it: [`super::Gpu`], and [`super::Twin`], which does the same in the host's memory, so that all that is
//! built on it is tested where there is no GPU. Whoever is outside this folder uses [`super::Buffer`], [`super::Pinned`],
//! [`super::CudaStream`] and [`super::Fence`], which own what they name and give it back.

use std::fmt;

use super::chip::Chip;
use super::fault::Result;
use super::kernels::Work;

/// A place in a device's memory.
pub type Address = u64;
/// A stream or a fence, as its device knows it; never 0.
pub type Handle = u64;

/// Free and whole memory of a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLeft {
    /// What can be had.
    pub free: usize,
    /// All there is.
    pub whole: usize,
}

/// Rows of a plane in a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsAt {
    /// Where the first begins.
    pub start: Address,
    /// Bytes from one to the next.
    pub stride: usize,
}

/// How many rows, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowShape {
    /// Bytes of a row.
    pub bytes: usize,
    /// Rows.
    pub rows: usize,
}

/// A device.
///
/// # Safety
/// An implementation hands out addresses and handles that are valid until they are given back, and memory that
/// nobody else uses.
pub unsafe trait Device: Send + Sync + fmt::Debug {
    /// What it is.
    fn chip(&self) -> &Chip;
    /// Whether it is NVIDIA's, so that ONNX Runtime can work in its memory.
    fn is_cuda(&self) -> bool;
    /// The driver's own handle of its context, for FFmpeg; none where there is no driver.
    fn context(&self) -> Option<Handle>;
    /// How much memory is left.
    ///
    /// # Errors
    /// When the device is lost.
    fn memory(&self) -> Result<MemoryLeft>;

    /// Takes device memory, at least 256-byte aligned.
    ///
    /// # Errors
    /// When there is none left.
    fn allocate(&self, bytes: usize) -> Result<Address>;
    /// Gives device memory back.
    ///
    /// # Safety
    /// `address` comes from `allocate`, once, and no stream uses it any more.
    unsafe fn release(&self, address: Address, bytes: usize);

    /// Takes host memory that the device can reach at full speed.
    ///
    /// # Errors
    /// When there is none left.
    fn pin(&self, bytes: usize) -> Result<*mut u8>;
    /// Gives it back.
    ///
    /// # Safety
    /// `memory` comes from `pin`, once, and no stream uses it any more.
    unsafe fn unpin(&self, memory: *mut u8, bytes: usize);

    /// Opens a stream.
    ///
    /// # Errors
    /// When the driver refuses.
    fn open_stream(&self) -> Result<Handle>;
    /// Closes a stream.
    ///
    /// # Safety
    /// `stream` comes from `open_stream`, once.
    unsafe fn close_stream(&self, stream: Handle);

    /// Copies from the host, in the stream's order.
    ///
    /// # Safety
    /// Both places hold `bytes` and live until the stream has come past this; nobody writes `from` until then.
    ///
    /// # Errors
    /// As the driver tells.
    unsafe fn upload(&self, stream: Handle, from: *const u8, to: Address, bytes: usize) -> Result<()>;
    /// Copies to the host, in the stream's order.
    ///
    /// # Safety
    /// As for `upload`; nobody looks at `to` until then.
    ///
    /// # Errors
    /// As the driver tells.
    unsafe fn download(&self, stream: Handle, from: Address, to: *mut u8, bytes: usize) -> Result<()>;
    /// Copies rows within the device, in the stream's order.
    ///
    /// # Safety
    /// Both places hold so many rows, and live until the stream has come past this.
    ///
    /// # Errors
    /// As the driver tells.
    unsafe fn copy(&self, stream: Handle, from: RowsAt, to: RowsAt, shape: RowShape) -> Result<()>;
    /// Fills memory with a byte, in the stream's order.
    ///
    /// # Safety
    /// `at` holds `bytes` and lives until the stream has come past this.
    ///
    /// # Errors
    /// As the driver tells.
    unsafe fn fill(&self, stream: Handle, at: Address, byte: u8, bytes: usize) -> Result<()>;
    /// Runs a kernel, in the stream's order.
    ///
    /// # Safety
    /// Every address in `work` holds what the kernel reads and writes there, until the stream has come past this.
    ///
    /// # Errors
    /// As the driver tells.
    unsafe fn launch(&self, stream: Handle, work: &Work) -> Result<()>;
    /// Waits until a stream has done all it was given; the thread sleeps meanwhile.
    ///
    /// # Safety
    /// `stream` is open.
    ///
    /// # Errors
    /// What went wrong in the stream, this time or earlier.
    unsafe fn drain(&self, stream: Handle) -> Result<()>;

    /// Makes a fence.
    ///
    /// # Errors
    /// When the driver refuses.
    fn make_fence(&self) -> Result<Handle>;
    /// Ends a fence.
    ///
    /// # Safety
    /// `fence` comes from `make_fence`, once.
    unsafe fn end_fence(&self, fence: Handle);
    /// Puts a fence behind all that a stream was given so far.
    ///
    /// # Safety
    /// Both are open.
    ///
    /// # Errors
    /// As the driver tells.
    unsafe fn raise(&self, fence: Handle, stream: Handle) -> Result<()>;
    /// Lets a stream wait for a fence, without the host.
    ///
    /// # Safety
    /// Both are open.
    ///
    /// # Errors
    /// As the driver tells.
    unsafe fn await_fence(&self, stream: Handle, fence: Handle) -> Result<()>;
    /// Whether a fence was reached.
    ///
    /// # Safety
    /// `fence` is open.
    ///
    /// # Errors
    /// What went wrong before it.
    unsafe fn is_reached(&self, fence: Handle) -> Result<bool>;
    /// Sleeps until a fence was reached.
    ///
    /// # Safety
    /// `fence` is open.
    ///
    /// # Errors
    /// What went wrong before it.
    unsafe fn await_on_host(&self, fence: Handle) -> Result<()>;
}
