//! A picture in a device's memory, with the mark behind which it is there.

use std::fmt;
use std::sync::Arc;

use super::backend::{Address, Device};
use super::fault::{Fault, Result};
use super::fences::PooledFence;
use super::kernels::{Placed, format_number};
use super::memory::{Buffer, Pinned};
use super::pictures::Fit;
use super::pool::{DevicePool, Lease, PinnedPool};
use super::stream::CudaStream;
use crate::frame::{PictureLayout, PictureMemory, PixelFormat};

/// Bytes between the planes of a surface start at multiples of this.
const PLANE_ALIGNMENT: usize = 16;

/// A picture on a device. Whoever reads it in another stream than the one that wrote it waits for its fence, on the device.
pub struct Surface {
    layout: PictureLayout,
    memory: Lease<Buffer>,
    starts: [usize; 3],
    strides: [u32; 3],
    ready: Option<Arc<PooledFence>>,
}

impl Surface {
    /// What is on it.
    pub fn layout(&self) -> PictureLayout {
        self.layout
    }
    /// Whether its memory is of this device.
    pub fn is_on(&self, device: &Arc<dyn Device>) -> bool {
        let own = self.memory.device();
        own.is_cuda() == device.is_cuda() && own.chip().ordinal == device.chip().ordinal
    }
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.memory.bytes()
    }
    /// Lets a stream wait until the picture is there.
    ///
    /// # Errors
    /// As the driver tells.
    pub fn await_in(&self, stream: &CudaStream) -> Result<()> {
        self.ready.as_ref().map_or(Ok(()), |fence| stream.after(fence))
    }
    /// What is reached when the picture is there; none where it is.
    pub fn fence(&self) -> Option<&Arc<PooledFence>> {
        self.ready.as_ref()
    }

    /// A picture whose planes lie packed in `memory`, or will once `ready` is reached.
    pub(super) fn at(
        layout: PictureLayout,
        memory: Lease<Buffer>,
        starts: [usize; 3],
        ready: Option<Arc<PooledFence>>,
    ) -> Self {
        Surface {
            layout,
            memory,
            starts,
            strides: planes(layout).0.map(|[_, row]| row as u32),
            ready,
        }
    }

    /// Whose memory it lies in.
    pub(super) fn device(&self) -> &Arc<dyn Device> {
        self.memory.device()
    }

    /// Where it is.
    pub(super) fn address(&self) -> Address {
        self.memory.address()
    }

    /// How a kernel is told of it.
    pub(super) fn placed(&self, fit: &Fit) -> Placed {
        Placed {
            planes: self.starts.map(|start| self.memory.address() + start as Address),
            strides: self.strides,
            format: format_number(self.layout.format),
            width: self.layout.size.width,
            height: self.layout.size.height,
            inner_width: fit.inner[0],
            inner_height: fit.inner[1],
            left: fit.margins[0],
            top: fit.margins[1],
            black: fit.luma[0],
            luma: fit.luma[1],
            red_by_v: fit.chroma[0],
            green_by_u: fit.chroma[1],
            green_by_v: fit.chroma[2],
            blue_by_u: fit.chroma[3],
        }
    }
}

impl Drop for Surface {
    fn drop(&mut self) {
        // Its slot may go to a picture that another stream writes: what is on its way here must have come.
        let coming = self.ready.as_ref().filter(|fence| !fence.is_reached().unwrap_or(true));
        if let Some(Err(fault)) = coming.map(|fence| fence.wait()) {
            tracing::debug!(%fault, "a picture never came to its surface");
        }
    }
}

impl fmt::Debug for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Surface({:?}, {} bytes)", self.layout, self.bytes())
    }
}

/// The pools that pictures go through, shared by the lanes of a node.
#[derive(Clone, Debug)]
pub struct FramePools {
    /// On the device.
    pub device: Arc<DevicePool>,
    /// On the host.
    pub pinned: Arc<PinnedPool>,
    /// How many slots a class has.
    pub slots: usize,
}

impl FramePools {
    /// Pools without classes.
    pub fn new(device: &Arc<dyn Device>, slots: usize) -> Self {
        FramePools {
            device: DevicePool::new(device),
            pinned: PinnedPool::new(device),
            slots,
        }
    }

    /// Makes the classes for pictures of so many bytes.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn reserve(&self, bytes: usize) -> Result<()> {
        self.device.reserve(bytes, self.slots)?;
        self.pinned.reserve(bytes, self.slots)
    }

    fn take(&self, bytes: usize) -> Result<(Lease<Buffer>, Lease<Pinned>)> {
        let both = || self.device.take(bytes).zip(self.pinned.take(bytes));
        if let Some(leases) = both() {
            return Ok(leases);
        }
        // The first picture of a size: a slot for each that can be under way, once.
        self.reserve(bytes)?;
        both().ok_or(Fault::OutOfMemory(bytes))
    }

    /// Sends a picture of the host to the device. The pinned memory must be kept until the stream was drained.
    ///
    /// # Errors
    /// When it has less memory than its layout needs, or the device has no place for it.
    pub(super) fn send(
        &self,
        stream: &CudaStream,
        layout: PictureLayout,
        memory: &dyn PictureMemory,
    ) -> Result<(Surface, Lease<Pinned>)> {
        let (shapes, count) = planes(layout);
        let (starts, bytes) = packed(layout);
        for (index, [rows, row]) in shapes.into_iter().take(count).enumerate() {
            let (stride, plane) = (memory.stride(index), memory.plane(index));
            let needed = stride
                .checked_mul(rows.saturating_sub(1))
                .and_then(|before| before.checked_add(row));
            if rows == 0 || row == 0 || stride < row || needed.is_none_or(|needed| needed > plane.len()) {
                let (size, format) = (layout.size, layout.format);
                let cause = format!(
                    "a {format:?} picture of {}x{} has too few bytes",
                    size.width, size.height
                );
                return Err(Fault::Unfit(cause));
            }
        }
        let (there, mut here) = self.take(bytes)?;
        let to = here.bytes_mut();
        for (index, [rows, row]) in shapes.into_iter().take(count).enumerate() {
            pack(
                memory.plane(index),
                memory.stride(index),
                &mut to[starts[index]..][..rows * row],
                row,
            );
        }
        // SAFETY: both slots hold so many bytes, and the caller keeps both until the stream was drained.
        unsafe {
            stream
                .device()
                .upload(stream.handle(), here.bytes_ref().as_ptr(), there.address(), bytes)?
        };
        Ok((Surface::at(layout, there, starts, None), here))
    }

    /// Puts a picture of the host onto the device, and waits until it is there.
    ///
    /// # Errors
    /// As the driver tells, or when the picture is broken.
    pub fn upload(
        &self,
        stream: &CudaStream,
        layout: PictureLayout,
        memory: &dyn PictureMemory,
    ) -> Result<Arc<Surface>> {
        let (surface, here) = self.send(stream, layout, memory)?;
        stream.drain()?;
        drop(here);
        Ok(Arc::new(surface))
    }
}

/// Where each plane of a packed picture begins, and how long the picture is.
pub(super) fn packed(layout: PictureLayout) -> ([usize; 3], usize) {
    let (shapes, count) = planes(layout);
    let (mut bytes, mut starts) = (0, [0; 3]);
    for (start, [rows, row]) in starts.iter_mut().zip(shapes).take(count) {
        *start = bytes;
        bytes += (rows * row).next_multiple_of(PLANE_ALIGNMENT);
    }
    (starts, bytes)
}

/// Each plane's rows and bytes of a row, and how many planes there are.
pub(super) fn planes(layout: PictureLayout) -> ([[usize; 2]; 3], usize) {
    let (width, height) = (layout.size.width as usize, layout.size.height as usize);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    match layout.format {
        PixelFormat::Yuv420 => (
            [[height, width], [half_height, half_width], [half_height, half_width]],
            3,
        ),
        PixelFormat::Yuv422 => ([[height, width], [height, half_width], [height, half_width]], 3),
        PixelFormat::Yuv444 => ([[height, width]; 3], 3),
        PixelFormat::Nv12 => ([[height, width], [half_height, 2 * half_width], [0, 0]], 2),
        PixelFormat::Gray => ([[height, width], [0, 0], [0, 0]], 1),
        PixelFormat::Rgb => ([[height, 3 * width], [0, 0], [0, 0]], 1),
    }
}

fn pack(plane: &[u8], stride: usize, to: &mut [u8], row: usize) {
    if stride == row {
        to.copy_from_slice(&plane[..to.len()]);
        return;
    }
    for (from, to) in plane.chunks(stride).zip(to.chunks_exact_mut(row)) {
        to.copy_from_slice(&from[..row]);
    }
}
