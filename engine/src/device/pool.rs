//! Memory that is taken once and lent out by size class: nothing is allocated for a frame.
//!
//! A class is blocks cut into equal slots, mostly one. Taking a slot and giving it back neither locks nor allocates.
//! Classes are made in prepare; where the size of a camera's pictures shows only with the first of them, one more is made
//! then. A pool whose users nobody can count beforehand grows by an eighth whenever all slots are out, so that it holds
//! little more than was once needed; it never shrinks.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::backend::{Address, Device};
use super::fault::{Fault, Result};
use super::memory::{Buffer, Pinned};
use super::slots::Slots;

/// The sizes of batches that are pooled.
pub const BATCHES: [usize; 5] = [1, 4, 8, 16, 32];
/// Bytes of a picture in YUV 4:2:0: 1080p, 720p and 480p. The classes that pools of pictures begin with.
pub const FRAMES: [usize; 3] = [1920 * 1080 * 3 / 2, 1280 * 720 * 3 / 2, 854 * 480 * 3 / 2];
/// More classes than cameras of one run have sizes.
const MOST_CLASSES: usize = 32;
/// More blocks than a class comes to have: growing by an eighth, they are twenty thousand slots.
const MOST_BLOCKS: usize = 64;
/// Slots that a growing class begins with, and the least that it grows by.
const LEAST_GROWTH: usize = 4;
/// As CUDA aligns; so each slot is aligned for any kernel.
const ALIGNMENT: usize = 256;

/// What can be pooled.
pub trait Poolable: Sized + Send + Sync {
    /// Takes a block of it.
    ///
    /// # Errors
    /// When there is none left.
    fn block(device: &Arc<dyn Device>, bytes: usize) -> Result<Self>;
}

impl Poolable for Buffer {
    fn block(device: &Arc<dyn Device>, bytes: usize) -> Result<Self> {
        Buffer::new(device, bytes)
    }
}

impl Poolable for Pinned {
    fn block(device: &Arc<dyn Device>, bytes: usize) -> Result<Self> {
        Pinned::new(device, bytes)
    }
}

/// Pooled device memory.
pub type DevicePool = Pool<Buffer>;
/// Pooled pinned memory of the host.
pub type PinnedPool = Pool<Pinned>;

/// Slots of one size.
struct Class<M> {
    bytes: usize,
    /// Filled from the first on.
    blocks: Box<[OnceLock<Block<M>>]>,
}

/// Memory cut into slots.
struct Block<M> {
    memory: M,
    slots: Slots,
}

impl<M> Class<M> {
    fn made(&self) -> impl Iterator<Item = &Block<M>> {
        self.blocks.iter().map_while(OnceLock::get)
    }

    /// A free slot, and the block that it is of.
    fn take(&self) -> Option<(usize, u32)> {
        let mut blocks = self.made().enumerate();
        blocks.find_map(|(index, block)| Some((index, block.slots.take()?)))
    }
}

/// A pool.
pub struct Pool<M> {
    device: Arc<dyn Device>,
    classes: [OnceLock<Class<M>>; MOST_CLASSES],
    /// Held while a class is made, so that two threads do not both make it.
    making: Mutex<()>,
    gauges: Gauges,
}

#[derive(Debug, Default)]
struct Gauges {
    reserved_bytes: AtomicUsize,
    lent_bytes: AtomicUsize,
    asked_bytes: AtomicUsize,
    most_lent_bytes: AtomicUsize,
    lent: AtomicUsize,
    taken: AtomicU64,
    refused: AtomicU64,
}

/// How a pool stood at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolState {
    /// Bytes that it holds.
    pub reserved_bytes: usize,
    /// Bytes of slots that are out.
    pub lent_bytes: usize,
    /// The most that ever were.
    pub most_lent_bytes: usize,
    /// Slots that are out.
    pub lent: usize,
    /// Slots that were ever taken.
    pub taken: u64,
    /// How often there was none.
    pub refused: u64,
    /// Which share of the bytes of slots that are out nobody asked for, 0 to 1.
    pub fragmentation: f32,
}

impl PoolState {
    /// Which share of what it holds is out, 0 to 1.
    pub fn occupancy(&self) -> f32 {
        match self.reserved_bytes {
            0 => 0.0,
            reserved => self.lent_bytes as f32 / reserved as f32,
        }
    }
    /// Which share of what it holds was out at the busiest moment, 0 to 1.
    pub fn efficiency(&self) -> f32 {
        match self.reserved_bytes {
            0 => 0.0,
            reserved => self.most_lent_bytes as f32 / reserved as f32,
        }
    }
}

impl<M: Poolable> Pool<M> {
    /// An empty pool.
    pub fn new(device: &Arc<dyn Device>) -> Arc<Self> {
        Arc::new(Pool {
            device: device.clone(),
            classes: std::array::from_fn(|_| OnceLock::new()),
            making: Mutex::new(()),
            gauges: Gauges::default(),
        })
    }

    /// Makes a class of slots of at least so many bytes, unless one of that size is there.
    ///
    /// # Errors
    /// When there is no memory for it, or there are too many classes.
    pub fn reserve(&self, bytes: usize, slots: usize) -> Result<()> {
        let bytes = whole(bytes);
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        match self.made().any(|(_, class)| class.bytes == bytes) {
            true => Ok(()),
            false => self.enlarge(bytes, slots),
        }
    }

    /// Adds slots to a class, which is made where it is not there. `making` is held.
    fn enlarge(&self, bytes: usize, slots: usize) -> Result<()> {
        let count = u32::try_from(slots).map_err(|_| Fault::OutOfMemory(usize::MAX))?;
        let all = bytes.checked_mul(slots).ok_or(Fault::OutOfMemory(usize::MAX))?;
        let class = self.classes.iter().find(|class| match class.get() {
            Some(class) => class.bytes == bytes,
            None => true,
        });
        let class = class.ok_or_else(|| Fault::Other(format!("a pool has no more than {MOST_CLASSES} sizes")))?;
        let full = || Fault::Other(format!("a size of a pool has no more than {MOST_BLOCKS} blocks"));
        if class.get().is_some_and(|class| class.made().count() == MOST_BLOCKS) {
            return Err(full());
        }
        let memory = M::block(&self.device, all)?;
        let class = class.get_or_init(|| Class {
            bytes,
            blocks: (0..MOST_BLOCKS).map(|_| OnceLock::new()).collect(),
        });
        let place = class
            .blocks
            .iter()
            .find(|block| block.get().is_none())
            .ok_or_else(full)?;
        self.gauges.reserved_bytes.fetch_add(all, Ordering::Relaxed);
        // Nobody else writes: `making` is held.
        let _ = place.set(Block {
            memory,
            slots: Slots::new(count),
        });
        Ok(())
    }

    /// Takes a slot of at least so many bytes from the smallest class that has one; none where all that fit are out.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Lease<M>> {
        let mut above = bytes;
        // A handful of classes: looking through them costs less than keeping them sorted would.
        for _ in 0..MOST_CLASSES {
            let fitting = self.made().filter(|(_, class)| class.bytes >= above);
            let Some((index, class)) = fitting.min_by_key(|(_, class)| class.bytes) else {
                break;
            };
            if let Some(lease) = self.lend(index, class, bytes) {
                return Some(lease);
            }
            above = class.bytes + 1;
        }
        self.gauges.refused.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Takes a slot of just this size, for which the pool grows where all are out; where there is no memory to grow, one
    /// of a larger size.
    ///
    /// # Errors
    /// When there is neither.
    pub fn take_or_grow(self: &Arc<Self>, bytes: usize) -> Result<Lease<M>> {
        let size = whole(bytes);
        let own = || {
            let (index, class) = self.made().find(|(_, class)| class.bytes == size)?;
            self.lend(index, class, bytes)
        };
        loop {
            if let Some(lease) = own() {
                return Ok(lease);
            }
            let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            // Another thread may have made room meanwhile.
            if let Some(lease) = own() {
                return Ok(lease);
            }
            let class = self.made().find(|(_, class)| class.bytes == size);
            let slots: usize = class.map_or(0, |(_, class)| class.made().map(|block| block.slots.count()).sum());
            if let Err(fault) = self.enlarge(size, (slots / 8).max(LEAST_GROWTH)) {
                return self.take(bytes).ok_or(fault);
            }
        }
    }

    fn lend(self: &Arc<Self>, index: usize, class: &Class<M>, asked: usize) -> Option<Lease<M>> {
        let (block, slot) = class.take()?;
        self.gauges.lend(class.bytes, asked);
        Some(Lease {
            pool: self.clone(),
            class: index,
            block,
            slot,
            asked,
        })
    }

    /// How it stands.
    pub fn state(&self) -> PoolState {
        let load = |gauge: &AtomicUsize| gauge.load(Ordering::Relaxed);
        let gauges = &self.gauges;
        let (lent, asked) = (load(&gauges.lent_bytes), load(&gauges.asked_bytes));
        PoolState {
            reserved_bytes: load(&gauges.reserved_bytes),
            lent_bytes: lent,
            most_lent_bytes: load(&gauges.most_lent_bytes),
            lent: load(&gauges.lent),
            taken: gauges.taken.load(Ordering::Relaxed),
            refused: gauges.refused.load(Ordering::Relaxed),
            fragmentation: if lent == 0 {
                0.0
            } else {
                1.0 - asked.min(lent) as f32 / lent as f32
            },
        }
    }

    /// The classes that are there, with their places.
    fn made(&self) -> impl Iterator<Item = (usize, &Class<M>)> {
        let classes = self.classes.iter().enumerate();
        classes.filter_map(|(index, class)| Some((index, class.get()?)))
    }

    fn class(&self, index: usize) -> &Class<M> {
        self.classes[index]
            .get()
            .expect("a slot is lent by a class that is there")
    }
}

/// As long as slots are made, so that each is aligned.
fn whole(bytes: usize) -> usize {
    bytes.max(1).next_multiple_of(ALIGNMENT)
}

impl Gauges {
    fn lend(&self, bytes: usize, asked: usize) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.lent.fetch_add(1, Ordering::Relaxed);
        self.asked_bytes.fetch_add(asked, Ordering::Relaxed);
        let lent = self.lent_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.most_lent_bytes.fetch_max(lent, Ordering::Relaxed);
    }
    fn come_back(&self, bytes: usize, asked: usize) {
        self.lent.fetch_sub(1, Ordering::Relaxed);
        self.asked_bytes.fetch_sub(asked, Ordering::Relaxed);
        self.lent_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl<M> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("gauges", &self.gauges)
            .finish_non_exhaustive()
    }
}

/// A slot that is out; dropping it gives it back.
pub struct Lease<M: Poolable> {
    pool: Arc<Pool<M>>,
    class: usize,
    block: usize,
    slot: u32,
    asked: usize,
}

impl<M: Poolable> Lease<M> {
    /// Bytes that were asked for; the slot may be longer.
    pub fn bytes(&self) -> usize {
        self.asked
    }

    /// Where it is.
    pub(super) fn device(&self) -> &Arc<dyn Device> {
        &self.pool.device
    }

    fn start(&self) -> usize {
        self.slot as usize * self.pool.class(self.class).bytes
    }

    fn block(&self) -> &Block<M> {
        self.pool.class(self.class).blocks[self.block]
            .get()
            .expect("a slot is lent by a block that is there")
    }
}

impl Lease<Buffer> {
    /// Where it is.
    pub fn address(&self) -> Address {
        self.block().memory.address() + self.start() as Address
    }
}

impl Lease<Pinned> {
    /// Its bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, block) = (self.start(), &self.block().memory);
        // SAFETY: the slot lies within the block, and is lent to this lease alone, which is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(block.start().add(start), self.asked) }
    }
    pub(super) fn bytes_ref(&self) -> &[u8] {
        let (start, block) = (self.start(), &self.block().memory);
        // SAFETY: the slot lies within the block, and is lent to this lease alone.
        unsafe { std::slice::from_raw_parts(block.start().add(start), self.asked) }
    }
}

impl<M: Poolable> Drop for Lease<M> {
    fn drop(&mut self) {
        self.block().slots.give(self.slot);
        self.pool
            .gauges
            .come_back(self.pool.class(self.class).bytes, self.asked);
    }
}

impl<M: Poolable> fmt::Debug for Lease<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Lease({} bytes, slot {} of block {} of class {})",
            self.asked, self.slot, self.block, self.class
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::Twin;
    use super::*;

    fn pool(classes: &[(usize, usize)]) -> (Arc<Twin>, Arc<DevicePool>) {
        let twin = Twin::new(1 << 30);
        let device: Arc<dyn Device> = twin.clone();
        let pool = Pool::new(&device);
        for (bytes, slots) in classes {
            pool.reserve(*bytes, *slots).unwrap();
        }
        (twin, pool)
    }

    #[test]
    fn a_million_takes_leave_no_trace() {
        let (twin, pool) = pool(&FRAMES.map(|bytes| (bytes, 8)));
        let (taken, handles) = (twin.taken_bytes(), twin.open_handles());
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..500_000_usize {
                        let lease = pool.take(FRAMES[(round + thread) % 3]).unwrap();
                        assert_eq!(lease.address() % ALIGNMENT as u64, 0);
                    }
                });
            }
        });
        let state = pool.state();
        assert_eq!((state.lent, state.lent_bytes, state.refused), (0, 0, 0));
        assert_eq!(state.taken, 1_000_000);
        assert_eq!(
            (twin.taken_bytes(), twin.open_handles()),
            (taken, handles),
            "nothing was allocated"
        );
        drop(pool);
        assert_eq!((twin.taken_bytes(), twin.open_handles()), (0, 0));
    }

    #[test]
    fn the_smallest_that_fits_is_lent_then_the_next() {
        let (_, pool) = pool(&[(1000, 1), (100, 1), (5000, 1)]);
        let [small, middle, large] = [50, 50, 50].map(|bytes| pool.take(bytes).unwrap());
        assert!(pool.take(1).is_none() && pool.take(6000).is_none());
        let state = pool.state();
        assert_eq!((state.lent, state.refused), (3, 2));
        assert_eq!(state.lent_bytes, 256 + 1024 + 5120);
        assert!((state.fragmentation - (1.0 - 150.0 / 6400.0)).abs() < 1e-6);
        assert_eq!((state.occupancy(), state.efficiency()), (1.0, 1.0));
        drop(small);
        assert_eq!(pool.take(5000).map(|lease| lease.bytes()), None);
        drop((middle, large));
        assert_eq!(pool.take(2000).unwrap().class, 2);
    }

    #[test]
    fn a_pool_grows_by_what_is_needed_and_little_more() {
        let (twin, pool) = pool(&[]);
        let leases: Vec<_> = (0..500).map(|_| pool.take_or_grow(1000).unwrap()).collect();
        let mut places: Vec<_> = leases.iter().map(Lease::address).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= 1024), "none overlap");
        let state = pool.state();
        assert_eq!((state.lent, state.lent_bytes), (500, 500 * 1024));
        assert!(state.efficiency() >= 0.88, "{state:?}");
        drop(leases);
        let blocks = twin.open_handles();
        let again: Vec<_> = (0..500).map(|_| pool.take_or_grow(1000).unwrap()).collect();
        assert_eq!(twin.open_handles(), blocks, "what is there serves");
        drop((again, pool));
        assert_eq!((twin.taken_bytes(), twin.open_handles()), (0, 0));
    }

    #[test]
    fn a_pool_that_cannot_grow_lends_a_larger_slot_or_says_so() {
        let device: Arc<dyn Device> = Twin::new(8 * 1024);
        let pool: Arc<DevicePool> = Pool::new(&device);
        pool.reserve(4096, 1).unwrap();
        let four: Vec<_> = (0..4).map(|_| pool.take_or_grow(1024).unwrap()).collect();
        assert_eq!(pool.take_or_grow(1024).unwrap().class, 0, "no memory is left to grow");
        let _large = pool.take(4000).unwrap();
        assert_eq!(pool.take_or_grow(1024).unwrap_err(), Fault::OutOfMemory(4096));
        drop(four);
    }

    #[test]
    fn slots_do_not_overlap() {
        let twin = Twin::new(1 << 20);
        let device: Arc<dyn Device> = twin;
        let pool: Arc<PinnedPool> = Pool::new(&device);
        pool.reserve(300, 4).unwrap();
        let mut leases: Vec<_> = (0..4).map(|_| pool.take(300).unwrap()).collect();
        for (number, lease) in leases.iter_mut().enumerate() {
            lease.bytes_mut().fill(number as u8);
        }
        for (number, lease) in leases.iter().enumerate() {
            assert!(lease.bytes_ref().iter().all(|byte| *byte == number as u8));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let twin = Twin::new(1000);
        let device: Arc<dyn Device> = twin;
        let pool: Arc<DevicePool> = Pool::new(&device);
        assert_eq!(pool.reserve(256, 4).unwrap_err(), Fault::OutOfMemory(1024));
        assert_eq!(pool.state(), PoolState::default());
        assert!(pool.reserve(usize::MAX / 2, 4).is_err());
        pool.reserve(256, 3).unwrap();
        pool.reserve(200, 9).unwrap();
        assert_eq!(pool.state().reserved_bytes, 768, "a class of that size was there");
    }
}
