//! Owned memory of a device and pinned memory of the host. Dropping it gives it back.

use std::fmt;
use std::sync::Arc;

use super::backend::{Address, Device};
use super::fault::Result;

/// A block of device memory.
pub struct Buffer {
    device: Arc<dyn Device>,
    address: Address,
    bytes: usize,
}

impl Buffer {
    /// Takes memory.
    ///
    /// # Errors
    /// When the device has none left.
    pub fn new(device: &Arc<dyn Device>, bytes: usize) -> Result<Self> {
        let bytes = bytes.max(1);
        Ok(Buffer {
            address: device.allocate(bytes)?,
            device: device.clone(),
            bytes,
        })
    }
    /// Where it is.
    pub fn address(&self) -> Address {
        self.address
    }
    /// How long it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// Where it is.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the address came from this device's `allocate` and is given back once. CUDA waits for what uses it.
        unsafe { self.device.release(self.address, self.bytes) }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes at {:#x})", self.bytes, self.address)
    }
}

/// A block of the host's memory that the device reaches at full speed.
pub struct Pinned {
    device: Arc<dyn Device>,
    start: *mut u8,
    bytes: usize,
}

// SAFETY: the memory is owned by this value alone, and reached through `&` and `&mut` as any other.
unsafe impl Send for Pinned {}
// SAFETY: as above.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// Takes memory, all nought.
    ///
    /// # Errors
    /// When there is none left to pin.
    pub fn new(device: &Arc<dyn Device>, bytes: usize) -> Result<Self> {
        let bytes = bytes.max(1);
        let start = device.pin(bytes)?;
        // SAFETY: `pin` handed out so many bytes.
        unsafe { start.write_bytes(0, bytes) };
        Ok(Pinned {
            device: device.clone(),
            start,
            bytes,
        })
    }
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `pin` handed out so many bytes, `new` wrote them, and they live as long as this does.
        unsafe { std::slice::from_raw_parts(self.start, self.bytes) }
    }
    /// Its bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and this is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes) }
    }
    pub(super) fn start(&self) -> *mut u8 {
        self.start
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: the memory came from this device's `pin` and is given back once. CUDA waits for what uses it.
        unsafe { self.device.unpin(self.start, self.bytes) }
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinned({} bytes)", self.bytes)
    }
}
