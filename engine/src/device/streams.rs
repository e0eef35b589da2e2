//! Streams that are kept and handed out: as many as the chip has use for, and no more than the work that waits asks for.

use std::sync::{Arc, Mutex, PoisonError};

use super::backend::Device;
use super::fault::Result;
use super::stream::CudaStream;

/// How many streams there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamBounds {
    /// The fewest that are kept open, at least 1.
    pub least: usize,
    /// The most that are opened.
    pub most: usize,
}

/// Streams of a device.
#[derive(Debug)]
pub struct StreamPool {
    device: Arc<dyn Device>,
    bounds: StreamBounds,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    free: Vec<CudaStream>,
    out: usize,
}

impl StreamPool {
    /// A pool within what the chip has use for; `asked` narrows it.
    ///
    /// # Errors
    /// When the driver opens no stream.
    pub fn new(device: &Arc<dyn Device>, asked: Option<StreamBounds>) -> Result<Arc<Self>> {
        let chip = device.chip().most_streams();
        let most = asked.map_or(chip, |asked| asked.most.clamp(1, chip));
        let bounds = StreamBounds {
            least: asked.map_or(1, |asked| asked.least).clamp(1, most),
            most,
        };
        let free = (0..bounds.least)
            .map(|_| CudaStream::open(device))
            .collect::<Result<_>>()?;
        Ok(Arc::new(StreamPool {
            device: device.clone(),
            bounds,
            inner: Mutex::new(Inner { free, out: 0 }),
        }))
    }

    /// Within what it stays.
    pub fn bounds(&self) -> StreamBounds {
        self.bounds
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.free.len() + inner.out
    }

    /// Takes a stream; none where as many as may be are out.
    ///
    /// # Errors
    /// When the driver opens no further one.
    pub fn take(&self) -> Result<Option<CudaStream>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.free.is_empty() && inner.out < self.bounds.most {
            inner.free.push(CudaStream::open(&self.device)?);
        }
        let taken = inner.free.pop();
        inner.out += usize::from(taken.is_some());
        Ok(taken)
    }

    /// Gives a stream back.
    pub fn give(&self, stream: CudaStream) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.out = inner.out.saturating_sub(1);
        inner.free.push(stream);
    }

    /// Opens or closes streams so that each has about one of the `waiting` pieces of work, within the bounds. Those that
    /// are out stay open.
    ///
    /// # Errors
    /// When the driver opens no further one; those that are open serve on.
    pub fn suit(&self, waiting: usize) -> Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = waiting.clamp(self.bounds.least, self.bounds.most);
        let keep = wanted.saturating_sub(inner.out);
        inner.free.truncate(keep);
        while inner.free.len() < keep {
            inner.free.push(CudaStream::open(&self.device)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Twin;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_grows_and_shrinks_within_its_bounds() {
        let twin = Twin::new(1);
        let device: Arc<dyn Device> = twin.clone();
        let pool = StreamPool::new(&device, None).unwrap();
        assert_eq!(pool.bounds(), StreamBounds { least: 1, most: 8 });
        for (waiting, open) in [(0, 1), (5, 5), (100, 8), (2, 2)] {
            pool.suit(waiting).unwrap();
            assert_eq!(pool.open(), open, "{waiting}");
        }
        let out: Vec<_> = std::iter::from_fn(|| pool.take().unwrap()).collect();
        assert_eq!((out.len(), pool.open()), (8, 8));
        pool.suit(0).unwrap();
        assert_eq!(pool.open(), 8, "those that are out stay open");
        out.into_iter().for_each(|stream| pool.give(stream));
        drop(pool);
        assert_eq!(twin.open_handles(), 0);
    }

    proptest! {
        #[test]
        fn bounds_hold_whatever_is_asked(least in 0usize..20, most in 0usize..20, waits in proptest::collection::vec(0usize..40, 0..10)) {
            let device: Arc<dyn Device> = Twin::new(1);
            let pool = StreamPool::new(&device, Some(StreamBounds { least, most })).unwrap();
            for waiting in waits {
                pool.suit(waiting).unwrap();
                let StreamBounds { least, most } = pool.bounds();
                prop_assert!(least >= 1 && most <= 8 && (least..=most).contains(&pool.open()));
            }
        }
    }
}
