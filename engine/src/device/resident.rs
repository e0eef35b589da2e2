//! Decoded pictures that stay on a device until somebody wants to see them on the host.
//!
//! A decoder lends few pictures and wants them back, so each is copied once, on the device. How many are under way depends
//! on how many cameras there are and on how long their frames take to answer: the pool grows to what that comes to.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::backend::{Device, RowShape, RowsAt};
use super::fault::{Fault, Result};
use super::fences::Fences;
use super::memory::Pinned;
use super::pool::{DevicePool, Lease, PinnedPool, Pool, PoolState};
use super::stream::CudaStream;
use super::surface::{Surface, packed, planes};
use super::turns::working;
use crate::errors::{Result as Outcome, worth_logging};
use crate::frame::{Picture, PictureLayout, PictureMemory};

/// Luma and chroma of what could not be brought to the host.
const GREY: u8 = 128;

/// Where decoded pictures lie on a device.
pub struct ResidentPool {
    device: Arc<dyn Device>,
    surfaces: Arc<DevicePool>,
    staging: Arc<PinnedPool>,
    fences: Arc<Fences>,
    fetched: AtomicU64,
    failed: AtomicU64,
}

impl ResidentPool {
    /// An empty one.
    pub fn new(device: &Arc<dyn Device>) -> Arc<Self> {
        Arc::new(ResidentPool {
            device: device.clone(),
            surfaces: Pool::new(device),
            staging: Pool::new(device),
            fences: Fences::new(device),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    /// Where it is.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }
    /// How the pool of pictures on the device stands.
    pub fn state(&self) -> PoolState {
        self.surfaces.state()
    }
    /// How the pool of memory stands through which pictures come to the host.
    pub fn staging(&self) -> PoolState {
        self.staging.state()
    }
    /// How many pictures were brought to the host.
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// Copies a picture that lies on this device, plane by plane, in `stream`: at once for whoever reads it there, and
    /// over when the surface's fence is reached.
    ///
    /// # Safety
    /// Each plane of the layout holds its rows on this device, and does until the copy is over.
    ///
    /// # Errors
    /// When the device has no memory for it, or as the driver tells.
    pub unsafe fn keep(&self, stream: &CudaStream, layout: PictureLayout, from: [RowsAt; 3]) -> Result<Surface> {
        let _working = working();
        let ((shapes, count), (starts, bytes)) = (planes(layout), packed(layout));
        let memory = self.surfaces.take_or_grow(bytes)?;
        let mut copied = Ok(());
        for index in 0..count {
            let [rows, bytes] = shapes[index];
            let to = RowsAt {
                start: memory.address() + starts[index] as u64,
                stride: bytes,
            };
            // SAFETY: the slot holds the packed picture; for the rest, as the caller promises.
            let plane = unsafe {
                self.device
                    .copy(stream.handle(), from[index], to, RowShape { bytes, rows })
            };
            copied = copied.and(plane);
        }
        match copied.and_then(|()| self.fences.raise(stream)) {
            Ok(ready) => Ok(Surface::at(layout, memory, starts, Some(Arc::new(ready)))),
            Err(fault) => {
                // The slot goes back: nothing may be on its way there.
                stream.drain()?;
                Err(fault)
            }
        }
    }

    /// Copies a picture of the host, and waits until it is there.
    ///
    /// # Errors
    /// When it is broken, the device has no memory for it, or as the driver tells.
    pub fn send(&self, stream: &CudaStream, layout: PictureLayout, memory: &dyn PictureMemory) -> Result<Surface> {
        let _working = working();
        let ((shapes, count), (starts, bytes)) = (planes(layout), packed(layout));
        let there = self.surfaces.take_or_grow(bytes)?;
        let mut here = self.staging.take_or_grow(bytes)?;
        for index in 0..count {
            let [rows, row] = shapes[index];
            let (plane, stride) = (memory.plane(index), memory.stride(index));
            if stride < row || plane.len() < stride * (rows - 1) + row {
                return Err(Fault::Unfit("a picture has too few bytes".into()));
            }
            let to = here.bytes_mut()[starts[index]..][..rows * row].chunks_exact_mut(row);
            to.zip(plane.chunks(stride))
                .for_each(|(to, from)| to.copy_from_slice(&from[..row]));
        }
        // SAFETY: both slots hold so many bytes, and live until the stream was drained, two lines down.
        let sent = unsafe {
            self.device
                .upload(stream.handle(), here.bytes_ref().as_ptr(), there.address(), bytes)
        };
        let drained = stream.drain();
        sent.and(drained)?;
        Ok(Surface::at(layout, there, starts, None))
    }

    /// A surface of this pool as a picture; `stream` is what it comes to the host by, where somebody wants it there.
    pub fn picture(self: &Arc<Self>, surface: Surface, stream: &Arc<CudaStream>) -> Picture {
        let memory = Resident {
            surface: Arc::new(surface),
            stream: stream.clone(),
            pool: self.clone(),
            here: OnceLock::new(),
        };
        Picture::new(memory.surface.layout(), Box::new(memory))
    }

    /// Brings a picture to the host.
    fn bring(&self, surface: &Surface, stream: &CudaStream) -> Result<Lease<Pinned>> {
        let _working = working();
        let (_, bytes) = packed(surface.layout());
        let mut here = self.staging.take_or_grow(bytes)?;
        surface.await_in(stream)?;
        let to = here.bytes_mut().as_mut_ptr();
        // SAFETY: both slots hold so many bytes, and live until the stream was drained, one line down.
        let brought = unsafe { self.device.download(stream.handle(), surface.address(), to, bytes) };
        let drained = stream.drain();
        brought.and(drained)?;
        self.fetched.fetch_add(1, Ordering::Relaxed);
        Ok(here)
    }
}

impl fmt::Debug for ResidentPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResidentPool")
            .field("device", &self.device)
            .field("surfaces", &self.surfaces)
            .finish_non_exhaustive()
    }
}

/// A picture on a device that is brought to the host when somebody looks, once.
struct Resident {
    surface: Arc<Surface>,
    stream: Arc<CudaStream>,
    pool: Arc<ResidentPool>,
    here: OnceLock<Here>,
}

/// What came to the host.
enum Here {
    Brought(Lease<Pinned>),
    /// Nothing: so many bytes of grey stand for it.
    Failed(Fault, Vec<u8>),
}

impl Resident {
    fn here(&self) -> &Here {
        self.here.get_or_init(|| match self.pool.bring(&self.surface, &self.stream) {
            Ok(brought) => Here::Brought(brought),
            Err(fault) => {
                if worth_logging(self.pool.failed.fetch_add(1, Ordering::Relaxed)) {
                    tracing::error!(device = %self.pool.device.chip(), %fault, "a picture cannot be brought to the host");
                }
                Here::Failed(fault, vec![GREY; packed(self.surface.layout()).1])
            }
        })
    }
}

impl PictureMemory for Resident {
    fn plane(&self, index: usize) -> &[u8] {
        let bytes = match self.here() {
            Here::Brought(memory) => memory.bytes_ref(),
            Here::Failed(_, grey) => grey,
        };
        let ((shapes, _), (starts, _)) = (planes(self.surface.layout()), packed(self.surface.layout()));
        let [rows, row] = shapes[index];
        &bytes[starts[index]..][..rows * row]
    }
    fn stride(&self, index: usize) -> usize {
        planes(self.surface.layout()).0[index][1]
    }
    fn surface(&self) -> Option<&Arc<Surface>> {
        Some(&self.surface)
    }
    fn fetch(&self) -> Outcome<()> {
        match self.here() {
            Here::Brought(_) => Ok(()),
            Here::Failed(fault, _) => Err(fault.clone().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Twin;
    use super::super::trial::every_device;
    use super::*;
    use crate::frame::{Matrix, PixelFormat, PlainMemory, Range};
    use crate::rows::Size;

    fn layout(width: u32, height: u32, format: PixelFormat) -> PictureLayout {
        PictureLayout {
            size: Size { width, height },
            format,
            matrix: Matrix::Bt709,
            range: Range::Limited,
        }
    }

    /// Planes whose every byte tells its place, with padding behind the rows.
    fn planes_of(layout: PictureLayout, seed: usize) -> PlainMemory {
        let (shapes, count) = planes(layout);
        let shapes = shapes.into_iter().take(count);
        PlainMemory::new(shapes.enumerate().map(|(plane, [rows, row])| {
            let stride = row + 5;
            let byte = |at: usize| (seed + 31 * plane + at * 7 + at / stride) as u8;
            (stride, (0..rows * stride).map(byte).collect())
        }))
    }

    #[track_caller]
    fn assert_same(picture: &Picture, wanted: &PlainMemory) {
        let (shapes, count) = planes(picture.layout());
        let memory = picture.memory();
        memory.fetch().unwrap();
        for (plane, [rows, row]) in shapes.into_iter().take(count).enumerate() {
            for line in 0..rows {
                let of =
                    |memory: &dyn PictureMemory| memory.plane(plane)[line * memory.stride(plane)..][..row].to_vec();
                assert_eq!(of(memory), of(wanted), "plane {plane}, row {line}");
            }
        }
    }

    #[test]
    fn gpu_pictures_come_to_the_host_as_they_went() {
        for device in every_device() {
            let (pool, stream) = (ResidentPool::new(&device), Arc::new(CudaStream::open(&device).unwrap()));
            for (seed, format) in [PixelFormat::Nv12, PixelFormat::Yuv420, PixelFormat::Rgb]
                .into_iter()
                .enumerate()
            {
                let layout = layout(37, 23, format);
                let sent = planes_of(layout, seed);
                let surface = pool.send(&stream, layout, &sent).unwrap();
                let picture = pool.picture(surface, &stream);
                assert_eq!(pool.fetched(), seed as u64, "nobody looked");
                assert_same(&picture, &sent);
                assert_same(&picture, &sent);
                assert_eq!(pool.fetched(), seed as u64 + 1, "it is brought once");
            }
            assert_eq!((pool.state().lent, pool.staging().lent), (0, 0));
        }
    }

    /// As a decoder hands them over: rows further apart than they are long, gone when the copy is over.
    #[test]
    fn gpu_pictures_of_a_decoder_are_kept() {
        for device in every_device() {
            let (pool, stream) = (ResidentPool::new(&device), Arc::new(CudaStream::open(&device).unwrap()));
            let layout = layout(64, 48, PixelFormat::Nv12);
            let mut kept = Vec::new();
            for seed in 0..9 {
                let sent = planes_of(layout, seed);
                let decoders = pool.send(&stream, layout, &sent).unwrap();
                let at = |start: u64| RowsAt {
                    start: decoders.address() + start,
                    stride: 64,
                };
                let from = [at(0), at(64 * 48), at(0)];
                // SAFETY: a surface of this layout holds both planes, packed; it lives until the copy is over.
                let surface = unsafe { pool.keep(&stream, layout, from) }.unwrap();
                surface.fence().unwrap().wait().unwrap();
                drop(decoders);
                kept.push((pool.picture(surface, &stream), sent));
            }
            kept.iter().for_each(|(picture, sent)| assert_same(picture, sent));
            drop(kept);
            assert_eq!((pool.state().lent, pool.staging().lent), (0, 0));
        }
    }

    #[test]
    fn a_lost_device_gives_grey_and_says_so() {
        let twin = Twin::new(1 << 20);
        let device: Arc<dyn Device> = twin.clone();
        let (pool, stream) = (ResidentPool::new(&device), Arc::new(CudaStream::open(&device).unwrap()));
        let layout = layout(8, 4, PixelFormat::Nv12);
        let surface = pool.send(&stream, layout, &planes_of(layout, 0)).unwrap();
        let picture = pool.picture(surface, &stream);
        twin.lose();
        assert!(picture.memory().fetch().unwrap_err().cause.contains("lost"));
        assert_eq!(picture.memory().plane(1), [GREY; 16]);
        twin.find();
        drop(picture);
        assert_eq!((pool.state().lent, pool.staging().lent), (0, 0));
    }

    #[test]
    fn a_full_device_refuses_and_keeps_nothing() {
        let device: Arc<dyn Device> = Twin::new(3000);
        let (pool, stream) = (ResidentPool::new(&device), Arc::new(CudaStream::open(&device).unwrap()));
        let layout = layout(640, 480, PixelFormat::Nv12);
        let refused = pool.send(&stream, layout, &planes_of(layout, 0)).unwrap_err();
        assert!(matches!(refused, Fault::OutOfMemory(_)));
        assert_eq!(pool.state().lent, 0);
    }
}
