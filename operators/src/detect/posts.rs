//! The model on each device that computes it, with what stands in for it there.
//!
//! A camera's pictures go to the device that the run has placed it on. A device whose breaker opens is told to the run,
//! which sends its cameras elsewhere; one of them tries it after a rest, and they come back once its breaker has closed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flowrun_engine::device::{DeviceKind, DeviceSet, Devices, MoveCause, PoolState, Seat};
use flowrun_engine::errors::Result;
use flowrun_engine::infer::{BreakerPolicy, BreakerState, Failure, Outcome, Pipeline, Provider, RungState, Rungs};
use flowrun_engine::rows::CameraId;

use super::accelerated::Accelerator;

/// The devices that a model is to be tried on, and why there is none with a number that it is to be tried on too.
pub(super) fn seats(ladder: &[Provider], devices: &Devices, asked: &[usize]) -> (Vec<Seat>, Vec<String>) {
    let Some(best) = ladder.iter().find(|provider| provider.is_on_device()) else {
        return Default::default();
    };
    let set = devices.of_kind(match best {
        Provider::Twin => DeviceKind::Twin,
        _ => DeviceKind::Cuda,
    });
    let ordinals = set.ordinals().into_iter();
    let (mut seats, mut closed) = (Vec::new(), Vec::new());
    for ordinal in ordinals.filter(|ordinal| asked.is_empty() || asked.contains(ordinal)) {
        match set.seat(ordinal) {
            Ok(seat) => seats.push(seat),
            Err(fault) => closed.push(format!("device {ordinal} cannot be opened: {fault}")),
        }
    }
    (seats, closed)
}

/// A model on a device, or on the host's processor alone.
pub(super) struct Post {
    seat: Option<Seat>,
    accelerator: Option<Accelerator>,
    /// Pipelines that no lane has taken yet; all are opened before the first frame.
    pipelines: Mutex<Vec<Pipeline>>,
    rungs: Rungs,
    /// How often the device's breaker had opened when the run was last told.
    told: Mutex<u64>,
    waiting: AtomicUsize,
}

impl Post {
    /// On the processor, where `host` says what computes there and in batches of how many.
    pub fn on_host(host: (Provider, usize), policy: BreakerPolicy) -> Self {
        Post {
            seat: None,
            accelerator: None,
            pipelines: Mutex::default(),
            rungs: Rungs::new(&[host], policy),
            told: Mutex::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    /// On a device, with a pipeline for each lane; the processor stands in.
    pub fn on_device(
        seat: Seat,
        (accelerator, pipelines): (Accelerator, Vec<Pipeline>),
        host: (Provider, usize),
        policy: BreakerPolicy,
    ) -> Self {
        let providers = [(accelerator.provider(), accelerator.most()), host];
        Post {
            rungs: Rungs::new(&providers, policy).of_device(seat.ordinal()),
            seat: Some(seat),
            accelerator: Some(accelerator),
            pipelines: Mutex::new(pipelines),
            ..Post::on_host(host, policy)
        }
    }

    /// What computes on its device.
    pub fn accelerator(&self) -> Option<&Accelerator> {
        self.accelerator.as_ref()
    }

    /// How its providers stand, the best first.
    pub fn providers(&self) -> Vec<RungState> {
        self.rungs.states()
    }

    /// What computes the next batch.
    pub fn serving(&self) -> Provider {
        self.rungs.serving().unwrap_or(Provider::Cpu)
    }

    /// The pipeline of a lane; a lane that panicked is replaced, and gets a new one.
    ///
    /// # Errors
    /// When none can be opened.
    pub fn pipeline(&self, model: &std::path::Path) -> Result<Option<Pipeline>> {
        let ready = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match (ready, &self.accelerator) {
            (None, Some(accelerator)) => accelerator.pipeline(model).map(Some),
            (ready, _) => Ok(ready),
        }
    }

    /// As [`Rungs::serve`], and tells the run when its device fails or works again.
    ///
    /// # Errors
    /// The last failure, when no provider served.
    pub fn serve(&self, call: impl FnMut(Provider, usize) -> Outcome<()>) -> Result<()> {
        let served = self.rungs.serve(call);
        if let (Some(seat), Some(best)) = (&self.seat, self.rungs.states().first()) {
            self.tell(seat, best);
        }
        served
    }

    fn tell(&self, seat: &Seat, best: &RungState) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if best.opened > *told {
            *told = best.opened;
            seat.fail(match best.failure {
                Some(Failure::Lost) => MoveCause::Lost,
                Some(Failure::Memory) => MoveCause::Full,
                Some(Failure::Other) | None => MoveCause::Failing,
            });
        } else if best.breaker == BreakerState::Closed && !seat.is_well() {
            seat.recover();
        }
    }

    fn waits(&self, jobs: usize) {
        let before = self.waiting.swap(jobs, Ordering::Relaxed);
        if let Some(seat) = &self.seat {
            seat.waits(before, jobs);
        }
    }
}

/// A model on all devices that compute it, at least one.
pub(super) struct Posts(Vec<Post>);

impl Posts {
    /// Those of the devices that took the model; `host` alone where none did.
    pub fn new(posts: Vec<Post>, host: impl FnOnce() -> Post) -> Self {
        match posts.is_empty() {
            true => Posts(vec![host()]),
            false => Posts(posts),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
    /// The one of a group of lanes.
    pub fn get(&self, group: usize) -> &Post {
        &self.0[group.min(self.0.len() - 1)]
    }
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Post> {
        self.0.iter()
    }
    /// Whether no device computes.
    pub fn is_host(&self) -> bool {
        self.accelerators().next().is_none()
    }
    /// What computes on devices.
    pub fn accelerators(&self) -> impl Iterator<Item = &Accelerator> {
        self.0.iter().filter_map(Post::accelerator)
    }

    /// The pools of all devices, by name and the device's number.
    pub fn pools(&self) -> Vec<(&'static str, usize, PoolState)> {
        let with_device = |post: &Post| {
            let (seat, accelerator) = (post.seat.as_ref()?, post.accelerator.as_ref()?);
            let pools = accelerator.pools();
            Some([
                ("device", seat.ordinal(), pools.device.state()),
                ("pinned", seat.ordinal(), pools.pinned.state()),
            ])
        };
        self.0.iter().filter_map(with_device).flatten().collect()
    }

    /// The one that answers a camera's pictures now. A camera on a device that does not compute this model goes to the same
    /// one of them each time.
    pub fn of(&self, camera: CameraId) -> usize {
        let Some(set) = self.set() else { return 0 };
        let ordinal = set.serving(camera);
        let on = |post: &Post| post.seat.as_ref().is_some_and(|seat| seat.ordinal() == ordinal);
        let own = self.0.iter().position(on);
        own.unwrap_or(camera.0 as usize % self.0.len())
    }

    fn set(&self) -> Option<&Arc<DeviceSet>> {
        self.0.first()?.seat.as_ref().map(Seat::set)
    }

    /// So many pictures wait for the lanes of one.
    pub fn waits(&self, group: usize, jobs: usize) {
        self.get(group).waits(jobs);
    }
}

impl Drop for Posts {
    fn drop(&mut self) {
        self.0.iter().for_each(|post| post.waits(0));
    }
}
