//! How much there is to see on a picture: the reference of `complexity` in `pictures.cu`.

use super::{Shape, host, host_mut};

/// Adds up how much each sample of luma differs from its neighbours to the right and below.
#[derive(Clone, Copy, Debug)]
pub struct Complexity {
    /// The plane of Y.
    pub luma: u64,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// A `u64` that is added to.
    pub sum: u64,
}

impl Complexity {
    pub(super) fn shape(&self) -> Shape {
        Shape {
            grid: [self.width.div_ceil(32), self.height.div_ceil(64), 1],
            block: [32, 8, 1],
        }
    }

    pub(super) fn arguments(&self) -> [u64; 5] {
        [
            self.luma,
            self.stride.into(),
            self.width.into(),
            self.height.into(),
            self.sum,
        ]
    }

    pub(super) unsafe fn on_host(&self) {
        let (width, height, stride) = (self.width as usize, self.height as usize, self.stride as usize);
        // SAFETY: the caller of `Work::on_host` promises a plane of this size, and a sum.
        let (luma, sum) = unsafe {
            (
                host::<u8>(self.luma, (height - 1) * stride + width),
                &mut host_mut::<u64>(self.sum, 1)[0],
            )
        };
        for y in 0..height {
            for x in 0..width {
                let at = y * stride + x;
                if x + 1 < width {
                    *sum += u64::from(luma[at].abs_diff(luma[at + 1]));
                }
                if y + 1 < height {
                    *sum += u64::from(luma[at].abs_diff(luma[at + stride]));
                }
            }
        }
    }
}
