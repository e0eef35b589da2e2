//! Accelerators: what this machine has, and all that is done on one.
//!
//! Three levels over the driver: `sys` is its own calls, `result` checks what they answer, and `Gpu` with what is built
//! on it owns what it names. [`Device`] is what a device can do; [`Gpu`] is NVIDIA's, [`Twin`] the same in the host's
//! memory. Only this folder writes `unsafe` for the driver.

mod backend;
mod chip;
mod decoders;
mod devices;
mod fault;
mod fences;
mod findings;
mod gpu;
mod kernels;
mod memory;
mod pictures;
mod placement;
mod pool;
mod probe;
mod resident;
mod result;
mod slots;
mod stream;
mod surface;
mod sys;
mod tiers;
mod trial;
mod turns;
mod twin;

pub use backend::{Address, Device, Handle, MemoryLeft, RowShape, RowsAt};
pub use chip::Chip;
pub use decoders::{DecodedOn, DecoderCounts, Decoders, Session};
pub use devices::{DeviceKind, DeviceSet, DeviceState, Devices, Seat};
pub use fault::{Fault, is_out_of_memory};
pub use fences::PooledFence;
pub use findings::{Findings, HeadShape};
pub use gpu::Gpu;
pub use kernels::{BINS, BoxForm, Choice, Kept, Outline, anchors_of};
pub use memory::{Buffer, Pinned};
pub use pictures::{Fit, Pictures};
pub use placement::{Load, Move, MoveCause, Placement};
pub use pool::{BATCHES, DevicePool, FRAMES, Lease, PinnedPool, Pool, PoolState, Poolable};
pub use probe::{
    Cuda, CudaDevice, Driver, NVDEC_LIBRARY, TENSORRT_LIBRARIES, TensorRtLibrary, cuda, is_loadable, tensorrt_library,
};
pub use resident::ResidentPool;
pub use slots::Slots;
pub use stream::{CudaStream, Fence};
pub use surface::{FramePools, Surface};
pub use tiers::{Retained, Tier, TierBudgets, TierState, Tiers, TiersState};
pub use trial::{complexity, every_device, found, letterboxed, overlaid};
pub use turns::{Admitted, Working, admitted, working};
pub(crate) use turns::{alone, opening};
pub use twin::Twin;
