//! Fences that are used again: a picture's is made no more often than pictures are under way at once.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use super::backend::Device;
use super::fault::Result;
use super::stream::{CudaStream, Fence};

/// Fences of a device that nobody waits for.
#[derive(Debug)]
pub struct Fences {
    device: Arc<dyn Device>,
    free: Mutex<Vec<Fence>>,
}

impl Fences {
    /// None yet.
    pub fn new(device: &Arc<dyn Device>) -> Arc<Self> {
        Arc::new(Fences {
            device: device.clone(),
            free: Mutex::default(),
        })
    }

    /// A fence behind all that a stream was given so far.
    ///
    /// # Errors
    /// As the driver tells.
    pub fn raise(self: &Arc<Self>, stream: &CudaStream) -> Result<PooledFence> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let fence = match free {
            Some(fence) => fence,
            None => Fence::new(&self.device)?,
        };
        fence.raise(stream)?;
        Ok(PooledFence {
            fence: Some(fence),
            from: self.clone(),
        })
    }
}

/// A fence that goes back when it is dropped.
pub struct PooledFence {
    /// There until the drop.
    fence: Option<Fence>,
    from: Arc<Fences>,
}

impl Deref for PooledFence {
    type Target = Fence;
    fn deref(&self) -> &Fence {
        self.fence.as_ref().expect("a fence is there until it is dropped")
    }
}

impl Drop for PooledFence {
    fn drop(&mut self) {
        let mut free = self.from.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.extend(self.fence.take());
    }
}

impl fmt::Debug for PooledFence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fence.fmt(f)
    }
}
