//! A device in the host's memory, which does at once what it is given: what is built on devices is tested on it, also how
//! it fails. Its kernels are the references of the real ones.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use super::backend::{Address, Device, Handle, MemoryLeft, RowShape, RowsAt};
use super::chip::Chip;
use super::fault::{Fault, Result};
use super::kernels::Work;

/// As CUDA aligns.
const ALIGNMENT: usize = 256;

/// The twin.
pub struct Twin {
    chip: Chip,
    taken: AtomicUsize,
    handles: AtomicU64,
    /// Streams, fences and blocks that are out.
    open: AtomicI64,
    lost: AtomicBool,
    /// Calls that may still succeed; negative for all.
    good: AtomicI64,
}

impl Twin {
    /// A twin with so much memory.
    pub fn new(memory_bytes: usize) -> Arc<Twin> {
        Twin::numbered(0, memory_bytes)
    }

    /// One of several, by its number.
    pub fn numbered(ordinal: usize, memory_bytes: usize) -> Arc<Twin> {
        Arc::new(Twin {
            chip: Chip {
                ordinal,
                name: "twin on the host".into(),
                memory_bytes,
                capability: (9, 0),
                multiprocessors: 4,
            },
            taken: AtomicUsize::new(0),
            handles: AtomicU64::new(0),
            open: AtomicI64::new(0),
            lost: AtomicBool::new(false),
            good: AtomicI64::new(-1),
        })
    }

    /// From here on it fails as a device that has gone.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// It works again: what a process that was started anew would see.
    pub fn find(&self) {
        self.lost.store(false, Ordering::Relaxed);
        self.good.store(-1, Ordering::Relaxed);
    }

    /// It is lost after so many further calls.
    pub fn lose_after(&self, calls: u32) {
        self.good.store(calls.into(), Ordering::Relaxed);
    }

    /// Bytes that were taken and not given back, pinned ones included.
    pub fn taken_bytes(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Blocks, streams and fences that were not given back.
    pub fn open_handles(&self) -> i64 {
        self.open.load(Ordering::Relaxed)
    }

    fn works(&self) -> Result<()> {
        if self.good.load(Ordering::Relaxed) >= 0 && self.good.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.lose();
        }
        if self.lost.load(Ordering::Relaxed) {
            return Err(Fault::Lost("the twin was told to be".into()));
        }
        Ok(())
    }

    fn take(&self, bytes: usize) -> Result<*mut u8> {
        self.works()?;
        let fits = |taken: usize| (taken + bytes <= self.chip.memory_bytes).then_some(taken + bytes);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|_| Fault::OutOfMemory(bytes))?;
        let Some(layout) = layout(bytes) else {
            self.taken.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Fault::OutOfMemory(bytes));
        };
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            self.taken.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Fault::OutOfMemory(bytes));
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(start)
    }

    /// # Safety
    /// `start` comes from `take` with as many bytes.
    unsafe fn give(&self, start: *mut u8, bytes: usize) {
        let Some(layout) = layout(bytes) else { return };
        // SAFETY: as the caller promises.
        unsafe { dealloc(start, layout) };
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn handle(&self) -> Result<Handle> {
        self.works()?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(self.handles.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.max(1), ALIGNMENT).ok()
}

// SAFETY: memory comes from the allocator, each block once; handles are numbers that name nothing.
unsafe impl Device for Twin {
    fn chip(&self) -> &Chip {
        &self.chip
    }

    fn is_cuda(&self) -> bool {
        false
    }

    fn context(&self) -> Option<Handle> {
        None
    }

    fn memory(&self) -> Result<MemoryLeft> {
        self.works()?;
        let whole = self.chip.memory_bytes;
        Ok(MemoryLeft {
            free: whole.saturating_sub(self.taken_bytes()),
            whole,
        })
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        self.take(bytes).map(|start| start as usize as Address)
    }

    unsafe fn release(&self, address: Address, bytes: usize) {
        // SAFETY: as the caller promises.
        unsafe { self.give(address as usize as *mut u8, bytes) }
    }

    fn pin(&self, bytes: usize) -> Result<*mut u8> {
        self.take(bytes)
    }

    unsafe fn unpin(&self, memory: *mut u8, bytes: usize) {
        // SAFETY: as the caller promises.
        unsafe { self.give(memory, bytes) }
    }

    fn open_stream(&self) -> Result<Handle> {
        self.handle()
    }

    unsafe fn close_stream(&self, _: Handle) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    unsafe fn upload(&self, _: Handle, from: *const u8, to: Address, bytes: usize) -> Result<()> {
        self.works()?;
        // SAFETY: as the caller promises.
        unsafe { std::ptr::copy(from, to as usize as *mut u8, bytes) };
        Ok(())
    }

    unsafe fn download(&self, _: Handle, from: Address, to: *mut u8, bytes: usize) -> Result<()> {
        self.works()?;
        // SAFETY: as the caller promises.
        unsafe { std::ptr::copy(from as usize as *const u8, to, bytes) };
        Ok(())
    }

    unsafe fn copy(&self, _: Handle, from: RowsAt, to: RowsAt, shape: RowShape) -> Result<()> {
        self.works()?;
        for row in 0..shape.rows {
            let at = |rows: RowsAt| (rows.start as usize + row * rows.stride) as *mut u8;
            // SAFETY: as the caller promises; this device's addresses are the host's.
            unsafe { std::ptr::copy(at(from).cast_const(), at(to), shape.bytes) };
        }
        Ok(())
    }

    unsafe fn fill(&self, _: Handle, at: Address, byte: u8, bytes: usize) -> Result<()> {
        self.works()?;
        // SAFETY: as the caller promises.
        unsafe { (at as usize as *mut u8).write_bytes(byte, bytes) };
        Ok(())
    }

    unsafe fn launch(&self, _: Handle, work: &Work) -> Result<()> {
        self.works()?;
        // SAFETY: as the caller promises; this device's addresses are the host's.
        unsafe { work.on_host() };
        Ok(())
    }

    unsafe fn drain(&self, _: Handle) -> Result<()> {
        self.works()
    }

    fn make_fence(&self) -> Result<Handle> {
        self.handle()
    }

    unsafe fn end_fence(&self, _: Handle) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    unsafe fn raise(&self, _: Handle, _: Handle) -> Result<()> {
        self.works()
    }

    unsafe fn await_fence(&self, _: Handle, _: Handle) -> Result<()> {
        self.works()
    }

    unsafe fn is_reached(&self, _: Handle) -> Result<bool> {
        self.works().map(|()| true)
    }

    unsafe fn await_on_host(&self, _: Handle) -> Result<()> {
        self.works()
    }
}

impl fmt::Debug for Twin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Twin({} bytes taken)", self.taken_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Buffer, CudaStream, Pinned};
    use super::*;

    #[test]
    fn all_that_was_taken_comes_back() {
        let twin = Twin::new(1000);
        let device: Arc<dyn Device> = twin.clone();
        let stream = CudaStream::open(&device).unwrap();
        let (buffer, pinned) = (Buffer::new(&device, 600).unwrap(), Pinned::new(&device, 300).unwrap());
        assert_eq!(twin.taken_bytes(), 900);
        assert_eq!(Buffer::new(&device, 101).unwrap_err(), Fault::OutOfMemory(101));
        drop((stream, buffer, pinned));
        assert_eq!((twin.taken_bytes(), twin.open_handles()), (0, 0));
    }

    #[test]
    fn a_lost_device_fails_and_is_given_back_all_the_same() {
        let twin = Twin::new(1 << 20);
        let device: Arc<dyn Device> = twin.clone();
        let stream = CudaStream::open(&device).unwrap();
        let buffer = Buffer::new(&device, 600).unwrap();
        twin.lose_after(1);
        stream.drain().unwrap();
        assert!(matches!(stream.drain(), Err(Fault::Lost(_))));
        assert!(matches!(Buffer::new(&device, 1), Err(Fault::Lost(_))));
        drop((stream, buffer));
        assert_eq!((twin.taken_bytes(), twin.open_handles()), (0, 0));
        twin.find();
        assert_eq!(device.memory().unwrap().free, 1 << 20);
    }
}
