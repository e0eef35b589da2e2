//! Outlines on NV12: the reference of `overlay` in `pictures.cu`.

use super::{Shape, host, host_mut};

/// A rectangle's edge. The layout is the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Outline {
    /// Left, top, right, bottom, in pixels, all of them on the edge.
    pub corners: [i32; 4],
    /// How thick the edge is, inwards.
    pub thickness: u32,
    /// Y, U and V.
    pub colour: [u8; 3],
    /// Fills the kernel's layout.
    pub unused: u8,
}

/// Draws outlines, the last on top.
#[derive(Clone, Copy, Debug)]
pub struct Overlay {
    /// The plane of Y.
    pub luma: u64,
    /// The plane of U and V.
    pub chroma: u64,
    /// Bytes from one row of Y to the next.
    pub luma_stride: u32,
    /// Bytes from one row of U and V to the next.
    pub chroma_stride: u32,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Where the outlines lie.
    pub outlines: u64,
    /// How many there are.
    pub count: u32,
}

impl Overlay {
    pub(super) fn shape(&self) -> Shape {
        Shape {
            grid: [self.width.div_ceil(64), self.height.div_ceil(16), 1],
            block: [32, 8, 1],
        }
    }

    pub(super) fn arguments(&self) -> [u64; 8] {
        [
            self.luma,
            self.chroma,
            self.luma_stride.into(),
            self.chroma_stride.into(),
            self.width.into(),
            self.height.into(),
            self.outlines,
            self.count.into(),
        ]
    }

    pub(super) unsafe fn on_host(&self) {
        let (rows, chroma_rows) = (self.height as usize, self.height.div_ceil(2) as usize);
        let (luma_stride, chroma_stride) = (self.luma_stride as usize, self.chroma_stride as usize);
        // SAFETY: the caller of `Work::on_host` promises planes of this size and so many outlines.
        let (luma, chroma, outlines) = unsafe {
            (
                host_mut::<u8>(self.luma, rows * luma_stride),
                host_mut::<u8>(self.chroma, chroma_rows * chroma_stride),
                host::<Outline>(self.outlines, self.count as usize),
            )
        };
        for outline in outlines {
            let [x1, y1, x2, y2] = outline.corners;
            let thick = outline.thickness as i32;
            let [luma_level, u, v] = outline.colour;
            for y in y1.max(0)..=y2.min(self.height as i32 - 1) {
                for x in x1.max(0)..=x2.min(self.width as i32 - 1) {
                    if x < x1 + thick || x > x2 - thick || y < y1 + thick || y > y2 - thick {
                        luma[y as usize * luma_stride + x as usize] = luma_level;
                        let at = y as usize / 2 * chroma_stride + x as usize / 2 * 2;
                        chroma[at..at + 2].copy_from_slice(&[u, v]);
                    }
                }
            }
        }
    }
}
