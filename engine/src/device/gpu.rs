//! NVIDIA's devices, by the driver.
//!
//! A device's primary context is the one that FFmpeg and ONNX Runtime use too, so that each reads what the others wrote.
//! It is retained once and kept until the process ends: what still runs in it cannot be taken away.

use std::cell::Cell;
use std::ffi::c_void;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cudarc::driver::result;

use super::backend::{Address, Device, Handle, MemoryLeft, RowShape, RowsAt};
use super::chip::Chip;
use super::fault::{Fault, Result};
use super::kernels::{NAMES, SOURCE, Work};
use super::result::{compile, copy_rows, event, function, load, open_stream, pin, plain, told};
use super::sys;

/// A device of NVIDIA's.
pub struct Gpu {
    chip: Chip,
    context: sys::CUcontext,
    kernels: OnceLock<Result<[Kernel; NAMES.len()]>>,
}

/// A kernel that is loaded.
#[derive(Clone, Copy)]
struct Kernel(sys::CUfunction);

// SAFETY: contexts and functions may be used from any thread that makes the context current, which `enter` does.
unsafe impl Send for Gpu {}
// SAFETY: as above; the driver locks for itself.
unsafe impl Sync for Gpu {}
// SAFETY: a handle that the driver takes from any thread.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

thread_local! {
    /// Whether this thread may allocate, free and wait while another records: the driver refuses that otherwise, for all
    /// devices, where the recording is ONNX Runtime's (`cudaStreamCaptureModeGlobal`).
    static AT_EASE: Cell<bool> = const { Cell::new(false) };
}

/// Those that were opened, by their number.
static OPENED: Mutex<Vec<Arc<Gpu>>> = Mutex::new(Vec::new());

impl Gpu {
    /// Opens a device by its number; a second call gives the same one.
    ///
    /// # Errors
    /// When there is no driver or no such device, or the driver is too old.
    pub fn open(ordinal: usize) -> Result<Arc<Gpu>> {
        if !sys::has_driver() {
            return Err(Fault::Absent("libcuda.so.1, NVIDIA's driver, cannot be loaded".into()));
        }
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cuda) = opened.iter().find(|cuda| cuda.chip.ordinal == ordinal) {
            return Ok(cuda.clone());
        }
        let cuda = Arc::new(sys::guarded(|| Gpu::retain(ordinal))?);
        tracing::info!(device = %cuda.chip, "CUDA device opened");
        opened.push(cuda.clone());
        Ok(cuda)
    }

    fn retain(ordinal: usize) -> Result<Gpu> {
        use sys::CUdevice_attribute::{
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
            CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT as MULTIPROCESSORS,
        };
        result::init().map_err(|error| Fault::Absent(format!("the driver does not start: {error}")))?;
        let count = result::device::get_count().map_err(plain)?;
        if ordinal >= count as usize {
            return Err(Fault::Absent(format!("device {ordinal} of {count}")));
        }
        let device = result::device::get(ordinal as i32).map_err(plain)?;
        // SAFETY: `device` was just handed out by the driver.
        let attribute = |attribute| unsafe { result::device::get_attribute(device, attribute) }.map_err(plain);
        let chip = Chip {
            ordinal,
            name: result::device::get_name(device).map_err(plain)?,
            // SAFETY: as above.
            memory_bytes: unsafe { result::device::total_mem(device) }.map_err(plain)?,
            capability: (attribute(MAJOR)? as u32, attribute(MINOR)? as u32),
            multiprocessors: attribute(MULTIPROCESSORS)? as u32,
        };
        // SAFETY: as above. It is never released, see the head of this file.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(plain)?;
        Ok(Gpu {
            chip,
            context,
            kernels: OnceLock::new(),
        })
    }

    /// Makes the context current on this thread, and lets it do all that it likes while another thread records.
    fn enter(&self) -> Result<()> {
        // SAFETY: the context is retained for the life of the process.
        unsafe { result::ctx::set_current(self.context) }.map_err(plain)?;
        if AT_EASE.get() {
            return Ok(());
        }
        let mut mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: `mode` is a place for the mode that this thread had.
        unsafe { sys::cuThreadExchangeStreamCaptureMode(&raw mut mode) }
            .result()
            .map_err(plain)?;
        AT_EASE.set(true);
        Ok(())
    }

    /// Compiles and loads the kernels, once.
    ///
    /// # Errors
    /// When there is no compiler, or the driver does not take what it makes.
    pub fn load_kernels(&self) -> Result<()> {
        self.kernel(0).map(drop)
    }

    fn kernel(&self, index: usize) -> Result<Kernel> {
        let kernels = self.kernels.get_or_init(|| {
            self.enter()?;
            let module = load(compile(SOURCE, architecture(self.chip.capability))?)?;
            let mut kernels = [Kernel(std::ptr::null_mut()); NAMES.len()];
            for (kernel, name) in kernels.iter_mut().zip(NAMES) {
                kernel.0 = function(module, name)?;
            }
            Ok(kernels)
        });
        kernels.as_ref().map(|kernels| kernels[index]).map_err(Clone::clone)
    }
}

/// The newest architecture that the compiler knows and the chip runs.
fn architecture((major, minor): (u32, u32)) -> &'static str {
    match (major, minor) {
        (0..=7, _) => "compute_75",
        (8, 0..=5) => "compute_80",
        (8, 6..=8) => "compute_86",
        (8, _) => "compute_89",
        (9, _) => "compute_90",
        _ => "compute_100",
    }
}

fn stream_of(handle: Handle) -> sys::CUstream {
    handle as usize as sys::CUstream
}
fn event_of(handle: Handle) -> sys::CUevent {
    handle as usize as sys::CUevent
}

// SAFETY: addresses and handles are the driver's own, which hands out each once.
unsafe impl Device for Gpu {
    fn chip(&self) -> &Chip {
        &self.chip
    }

    fn is_cuda(&self) -> bool {
        true
    }

    fn context(&self) -> Option<Handle> {
        Some(self.context as usize as Handle)
    }

    fn memory(&self) -> Result<MemoryLeft> {
        self.enter()?;
        let (free, whole) = result::mem_get_info().map_err(plain)?;
        Ok(MemoryLeft { free, whole })
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        self.enter()?;
        // SAFETY: the context is current; the call writes one address.
        unsafe { result::malloc_sync(bytes) }.map_err(|error| told(error, bytes))
    }

    unsafe fn release(&self, address: Address, _: usize) {
        let released = self.enter().and_then(|()| {
            // SAFETY: as the caller promises.
            unsafe { result::free_sync(address) }.map_err(plain)
        });
        if let Err(fault) = released {
            tracing::warn!(device = %self.chip, %fault, "device memory could not be given back");
        }
    }

    fn pin(&self, bytes: usize) -> Result<*mut u8> {
        self.enter()?;
        pin(bytes)
    }

    unsafe fn unpin(&self, memory: *mut u8, _: usize) {
        let released = self.enter().and_then(|()| {
            // SAFETY: as the caller promises.
            unsafe { result::free_host(memory.cast::<c_void>()) }.map_err(plain)
        });
        if let Err(fault) = released {
            tracing::warn!(device = %self.chip, %fault, "pinned memory could not be given back");
        }
    }

    fn open_stream(&self) -> Result<Handle> {
        self.enter()?;
        open_stream().map(|stream| stream as usize as Handle)
    }

    unsafe fn close_stream(&self, stream: Handle) {
        let closed = self.enter().and_then(|()| {
            // SAFETY: as the caller promises.
            unsafe { result::stream::destroy(stream_of(stream)) }.map_err(plain)
        });
        if let Err(fault) = closed {
            tracing::warn!(device = %self.chip, %fault, "a stream could not be closed");
        }
    }

    unsafe fn upload(&self, stream: Handle, from: *const u8, to: Address, bytes: usize) -> Result<()> {
        self.enter()?;
        // SAFETY: as the caller promises.
        let copied = unsafe { sys::cuMemcpyHtoDAsync_v2(to, from.cast::<c_void>(), bytes, stream_of(stream)) };
        copied.result().map_err(plain)
    }

    unsafe fn download(&self, stream: Handle, from: Address, to: *mut u8, bytes: usize) -> Result<()> {
        self.enter()?;
        // SAFETY: as the caller promises.
        let copied = unsafe { sys::cuMemcpyDtoHAsync_v2(to.cast::<c_void>(), from, bytes, stream_of(stream)) };
        copied.result().map_err(plain)
    }

    unsafe fn copy(&self, stream: Handle, from: RowsAt, to: RowsAt, shape: RowShape) -> Result<()> {
        self.enter()?;
        // SAFETY: as the caller promises.
        unsafe { copy_rows(from, to, shape, stream_of(stream)) }
    }

    unsafe fn fill(&self, stream: Handle, at: Address, byte: u8, bytes: usize) -> Result<()> {
        self.enter()?;
        // SAFETY: as the caller promises.
        unsafe { result::memset_d8_async(at, byte, bytes, stream_of(stream)) }.map_err(plain)
    }

    unsafe fn launch(&self, stream: Handle, work: &Work) -> Result<()> {
        self.enter()?;
        let kernel = self.kernel(work.index())?;
        let ([columns, rows, layers], [across, down, deep]) = (work.shape().grid, work.shape().block);
        let (mut words, count) = work.arguments();
        let mut places = words.each_mut().map(|word| std::ptr::from_mut(word).cast::<c_void>());
        // SAFETY: the arguments are the kernel's, each in the low bytes of a word; for the rest, as the caller promises.
        let launched = unsafe {
            result::launch_kernel(
                kernel.0,
                (columns, rows, layers),
                (across, down, deep),
                0,
                stream_of(stream),
                &mut places[..count],
            )
        };
        launched.map_err(plain)
    }

    unsafe fn drain(&self, stream: Handle) -> Result<()> {
        self.enter()?;
        // SAFETY: as the caller promises.
        unsafe { result::stream::synchronize(stream_of(stream)) }.map_err(plain)
    }

    fn make_fence(&self) -> Result<Handle> {
        self.enter()?;
        event().map(|event| event as usize as Handle)
    }

    unsafe fn end_fence(&self, fence: Handle) {
        let ended = self.enter().and_then(|()| {
            // SAFETY: as the caller promises.
            unsafe { result::event::destroy(event_of(fence)) }.map_err(plain)
        });
        if let Err(fault) = ended {
            tracing::warn!(device = %self.chip, %fault, "a fence could not be ended");
        }
    }

    unsafe fn raise(&self, fence: Handle, stream: Handle) -> Result<()> {
        self.enter()?;
        // SAFETY: as the caller promises.
        unsafe { result::event::record(event_of(fence), stream_of(stream)) }.map_err(plain)
    }

    unsafe fn await_fence(&self, stream: Handle, fence: Handle) -> Result<()> {
        self.enter()?;
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: as the caller promises.
        unsafe { result::stream::wait_event(stream_of(stream), event_of(fence), flags) }.map_err(plain)
    }

    unsafe fn is_reached(&self, fence: Handle) -> Result<bool> {
        self.enter()?;
        // SAFETY: as the caller promises.
        match unsafe { result::event::query(event_of(fence)) } {
            Ok(()) => Ok(true),
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            Err(error) => Err(plain(error)),
        }
    }

    unsafe fn await_on_host(&self, fence: Handle) -> Result<()> {
        self.enter()?;
        // SAFETY: as the caller promises.
        unsafe { result::event::synchronize(event_of(fence)) }.map_err(plain)
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpu({})", self.chip)
    }
}
