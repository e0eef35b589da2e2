//! Which sources of a run decode where, and what those that decode on a device share there.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::devices::{Devices, Seat};
use super::resident::ResidentPool;

/// The decoders of a run.
#[derive(Clone, Default)]
pub struct Decoders(Arc<Inner>);

#[derive(Default)]
struct Inner {
    devices: Devices,
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
    /// Those on the devices of a run, and on its processor.
    pub fn on(devices: Devices) -> Self {
        Decoders(Arc::new(Inner {
            devices,
            ..Inner::default()
        }))
    }

    /// The devices that they may be on.
    pub fn devices(&self) -> &Devices {
        &self.0.devices
    }

    /// The pools that are in use.
    pub fn pools(&self) -> Vec<Arc<ResidentPool>> {
        let open = self.0.devices.open();
        open.iter().map(|seat| seat.pool().clone()).collect()
    }

    /// Counts a session until it is dropped: one on a device, or on the processor.
    pub fn session(&self, seat: Option<&Seat>) -> Session {
        let session = Session {
            decoders: self.clone(),
            seat: seat.cloned(),
        };
        session.count().fetch_add(1, Ordering::Relaxed);
        seat.inspect(|seat| seat.decodes(true));
        session
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
    seat: Option<Seat>,
}

impl Session {
    /// Where it is.
    pub fn on(&self) -> DecodedOn {
        match self.seat {
            Some(_) => DecodedOn::Device,
            None => DecodedOn::Host,
        }
    }

    fn count(&self) -> &AtomicU64 {
        match self.on() {
            DecodedOn::Device => &self.decoders.0.on_device,
            DecodedOn::Host => &self.decoders.0.on_host,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::Relaxed);
        self.seat.as_ref().inspect(|seat| seat.decodes(false));
    }
}

#[cfg(test)]
mod tests {
    use super::super::devices::DeviceKind;
    use super::*;

    #[test]
    fn sessions_are_counted_while_they_last() {
        let decoders = Decoders::default();
        assert!(decoders.pools().is_empty(), "nothing is opened that nobody asked for");
        let twin = decoders.devices().of_kind(DeviceKind::Twin).seat(0).unwrap();
        let sessions = [Some(&twin), Some(&twin), None].map(|seat| decoders.session(seat));
        decoders.spill();
        let counts = |on_device, on_host| DecoderCounts {
            on_device,
            on_host,
            spilled: 1,
        };
        assert_eq!((decoders.counts(), twin.state().sessions), (counts(2, 1), 2));
        drop(sessions);
        assert_eq!((decoders.counts(), twin.state().sessions), (counts(0, 0), 0));
        assert!(Arc::ptr_eq(twin.pool(), &decoders.pools()[0]));
    }
}
