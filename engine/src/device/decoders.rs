//! Which sources of a run decode where, and what those that decode on a device share there.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::backend::Device;
use super::fault::Result;
use super::gpu::Gpu;
use super::resident::ResidentPool;
use super::twin::Twin;

/// The decoders of a run.
#[derive(Clone, Default)]
pub struct Decoders(Arc<Inner>);

#[derive(Default)]
struct Inner {
    gpu: OnceLock<Result<Arc<ResidentPool>>>,
    twin: OnceLock<Arc<ResidentPool>>,
    on_device: AtomicU64,
    on_host: AtomicU64,
    spilled: AtomicU64,
}

/// Where a run's pictures are decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecoderCounts {
    /// Sessions on a device now.
    pub on_device: u64,
    /// Sessions on the processor now.
    pub on_host: u64,
    /// Sessions that were to be on a device and had to go to the processor, so far.
    pub spilled: u64,
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodedOn {
    /// On a device.
    Device,
    /// On the processor.
    Host,
}

impl Decoders {
    /// NVIDIA's first device. It is opened once; what keeps it from opening is not asked again.
    ///
    /// # Errors
    /// When there is none, or it does not work.
    pub fn gpu(&self) -> Result<Arc<ResidentPool>> {
        let opened = self.0.gpu.get_or_init(|| {
            let device: Arc<dyn Device> =
                Gpu::open(0).inspect_err(|fault| tracing::info!(%fault, "cameras are decoded on the processor"))?;
            Ok(ResidentPool::new(&device))
        });
        opened.clone()
    }

    /// The twin, to test the way over a device.
    pub fn twin(&self) -> Arc<ResidentPool> {
        let opened = self.0.twin.get_or_init(|| {
            let device: Arc<dyn Device> = Twin::new(usize::MAX / 2);
            ResidentPool::new(&device)
        });
        opened.clone()
    }

    /// The pools that are in use.
    pub fn pools(&self) -> Vec<Arc<ResidentPool>> {
        let gpu = self.0.gpu.get().and_then(|opened| opened.as_ref().ok());
        gpu.into_iter().chain(self.0.twin.get()).cloned().collect()
    }

    /// Counts a session until it is dropped.
    pub fn session(&self, on: DecodedOn) -> Session {
        self.count(on).fetch_add(1, Ordering::Relaxed);
        Session {
            decoders: self.clone(),
            on,
        }
    }

    /// Counts a session that a device refused.
    pub fn spill(&self) {
        self.0.spilled.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn counts(&self) -> DecoderCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        DecoderCounts {
            on_device: load(&self.0.on_device),
            on_host: load(&self.0.on_host),
            spilled: load(&self.0.spilled),
        }
    }

    fn count(&self, on: DecodedOn) -> &AtomicU64 {
        match on {
            DecodedOn::Device => &self.0.on_device,
            DecodedOn::Host => &self.0.on_host,
        }
    }
}

impl fmt::Debug for Decoders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts().fmt(f)
    }
}

/// A session that decodes.
#[derive(Debug)]
pub struct Session {
    decoders: Decoders,
    on: DecodedOn,
}

impl Session {
    /// Where it is.
    pub fn on(&self) -> DecodedOn {
        self.on
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.decoders.count(self.on).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_while_they_last() {
        let decoders = Decoders::default();
        let sessions = [DecodedOn::Device, DecodedOn::Device, DecodedOn::Host].map(|on| decoders.session(on));
        decoders.spill();
        let counts = |on_device, on_host| DecoderCounts {
            on_device,
            on_host,
            spilled: 1,
        };
        assert_eq!(decoders.counts(), counts(2, 1));
        drop(sessions);
        assert_eq!(decoders.counts(), counts(0, 0));
        assert!(decoders.pools().is_empty(), "nothing is opened that nobody asked for");
        assert!(Arc::ptr_eq(&decoders.twin(), &decoders.pools()[0]));
    }
}
