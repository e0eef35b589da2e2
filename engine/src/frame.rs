//! Decoded pictures on their way through the graph.
//!
//! A [`Frame`] shares its picture: passing one on copies a pointer, never pixels. What memory holds
//! the pixels is the source's business ([`PictureMemory`]): a decoder's pooled buffer, or a renderer's.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::device::Surface;
use crate::errors::Result;
use crate::packet::Packet;
use crate::rows::{At, ClassId, Rect, Rows, Size, TrackId};
use crate::time::EventTime;

/// A decoded picture, and the truth about it where the source knows it.
#[derive(Clone)]
pub struct Frame {
    /// The pixels.
    pub picture: Arc<Picture>,
    /// What is really on the picture, for synthetic cameras.
    pub truth: Option<Arc<[TruthBox]>>,
    /// Where a camera sends packets and the picture is as it sent it: those that came since the frame before, in decoding
    /// order. Whoever changes the picture leaves them out.
    pub packets: Rows<Packet>,
    /// When it was taken, where that is not its answer's event time: of a picture that was kept back.
    pub taken: Option<EventTime>,
}

impl Frame {
    /// Where it belongs: its answer's place, at the time when it was itself taken.
    pub fn at(&self, answer: &At) -> At {
        At {
            event_time: self.taken.unwrap_or(answer.event_time),
            ..*answer
        }
    }
}

/// An object that a synthetic camera drew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TruthBox {
    /// Its identity, never reused within a camera.
    pub id: TrackId,
    /// What it is.
    pub class: ClassId,
    /// Its whole extent, clipped to the picture.
    pub bbox: Rect,
    /// Which part of it is not hidden behind something nearer, 0 to 1.
    pub visible: f32,
}

/// How pixels are laid out. All are 8 bits a sample; decoders convert what is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Planar Y, U, V; chroma halved both ways.
    Yuv420,
    /// Planar Y, U, V; chroma halved across.
    Yuv422,
    /// Planar Y, U, V; full chroma.
    Yuv444,
    /// Planar Y, interleaved UV; chroma halved both ways.
    Nv12,
    /// Y alone.
    Gray,
    /// Interleaved R, G, B.
    Rgb,
}

/// Which coefficients turn YUV into RGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// ITU-R BT.601: SD video, JPEG, and what does not say.
    Bt601,
    /// ITU-R BT.709: HD video.
    Bt709,
    /// ITU-R BT.2020, non-constant luminance.
    Bt2020,
}

/// Which part of 0..=255 the samples use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Range {
    /// Luma 16 to 235.
    Limited,
    /// 0 to 255.
    Full,
}

/// What is needed to read the pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PictureLayout {
    /// Width and height.
    pub size: Size,
    /// The planes.
    pub format: PixelFormat,
    /// The colours.
    pub matrix: Matrix,
    /// The levels.
    pub range: Range,
}

/// Memory with a picture in it; dropping it gives the memory back to its pool.
pub trait PictureMemory: Send + Sync {
    /// The bytes of a plane, rows `stride` apart. Grey where they could not be brought to the host: see
    /// [`fetch`](Self::fetch).
    fn plane(&self, index: usize) -> &[u8];
    /// Bytes from one row to the next.
    fn stride(&self, index: usize) -> usize;
    /// The same picture on a device, where it is there already.
    fn surface(&self) -> Option<&Arc<Surface>> {
        None
    }
    /// Brings the pixels to the host where they are not there; who looks at them and can fail asks this first.
    ///
    /// # Errors
    /// When the device that has them fails.
    fn fetch(&self) -> Result<()> {
        Ok(())
    }
}

type Render = Arc<dyn Fn() -> Box<dyn PictureMemory> + Send + Sync>;

/// A picture, in memory or still to be rendered.
pub struct Picture {
    layout: PictureLayout,
    memory: OnceLock<Box<dyn PictureMemory>>,
    render: Option<Render>,
    /// Whether it is read rather than rendered, and so better read again than held.
    retained: bool,
}

impl Picture {
    /// A picture that is there.
    pub fn new(layout: PictureLayout, memory: Box<dyn PictureMemory>) -> Self {
        Picture {
            layout,
            memory: OnceLock::from(memory),
            render: None,
            retained: false,
        }
    }

    /// A picture that is rendered when somebody looks at it; `render` must give the same pixels whenever it is called.
    pub fn deferred(
        layout: PictureLayout,
        render: impl Fn() -> Box<dyn PictureMemory> + Send + Sync + 'static,
    ) -> Self {
        Picture {
            layout,
            memory: OnceLock::new(),
            render: Some(Arc::new(render)),
            retained: false,
        }
    }

    /// A picture that is kept elsewhere: `read` brings it when somebody looks, as often as somebody does.
    pub fn retained(layout: PictureLayout, read: impl Fn() -> Box<dyn PictureMemory> + Send + Sync + 'static) -> Self {
        Picture {
            retained: true,
            ..Picture::deferred(layout, read)
        }
    }

    /// Whether it is kept elsewhere and read when somebody looks.
    pub fn is_retained(&self) -> bool {
        self.retained
    }

    /// For whoever looks once: the picture itself, or where it is kept elsewhere one that lets go of its pixels when it is
    /// dropped, so that an answer with many pictures is not in memory all at once.
    pub fn passing(self: &Arc<Self>) -> Arc<Picture> {
        if !self.retained || self.memory.get().is_some() {
            return self.clone();
        }
        Arc::new(Picture {
            layout: self.layout,
            memory: OnceLock::new(),
            render: self.render.clone(),
            retained: true,
        })
    }

    /// Its size, format and colours.
    pub fn layout(&self) -> PictureLayout {
        self.layout
    }

    /// Its pixels.
    pub fn memory(&self) -> &dyn PictureMemory {
        self.memory
            .get_or_init(|| {
                self.render
                    .as_ref()
                    .expect("a picture has memory or a way to render it")()
            })
            .as_ref()
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("picture", &self.picture)
            .field("truth", &self.truth.as_ref().map(|truth| truth.len()))
            .field("packets", &self.packets.len())
            .finish()
    }
}

/// Pixels in ordinary memory, planes one behind the other; what renderers and tests use.
pub struct PlainMemory {
    bytes: Vec<u8>,
    planes: Vec<(usize, usize)>,
}

impl PlainMemory {
    /// From planes of `(stride, bytes)`.
    pub fn new(planes: impl IntoIterator<Item = (usize, Vec<u8>)>) -> Self {
        let (mut bytes, mut offsets) = (Vec::new(), Vec::new());
        for (stride, plane) in planes {
            offsets.push((bytes.len(), stride));
            bytes.extend(plane);
        }
        PlainMemory { bytes, planes: offsets }
    }
}

impl PictureMemory for PlainMemory {
    fn plane(&self, index: usize) -> &[u8] {
        let end = self.planes.get(index + 1).map_or(self.bytes.len(), |next| next.0);
        &self.bytes[self.planes[index].0..end]
    }
    fn stride(&self, index: usize) -> usize {
        self.planes[index].1
    }
}
