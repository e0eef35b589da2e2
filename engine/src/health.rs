//! How each camera does: when it last delivered a frame, what it last could not read, whether it has ended.
//!
//! The ledger counts frames; this says whether there are any, for those who watch a run. Written by the cameras'
//! threads, read by anyone.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use flowrun_dsl::plan::Plan;

use crate::roster::Roster;
use crate::rows::{CameraId, Size};

/// A camera that has delivered nothing for this long is silent; queries go on without it after the same time.
pub const SILENT_AFTER: Duration = Duration::from_secs(2);

/// How a camera does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing has come yet, and nothing is known to be wrong.
    Waiting,
    /// Frames come.
    Live,
    /// Frames came, and for two seconds none has.
    Silent,
    /// Its source gave up, or the last that it said is what it cannot read.
    Failed,
    /// It has come to its end.
    Ended,
}

impl Condition {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Condition::Waiting => "waiting",
            Condition::Live => "live",
            Condition::Silent => "silent",
            Condition::Failed => "failed",
            Condition::Ended => "ended",
        }
    }
}

/// What a source could not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Microseconds since the run began.
    pub at_us: u64,
    /// One sentence.
    pub cause: Arc<str>,
}

/// What is known of a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraHealth {
    /// How it does.
    pub condition: Condition,
    /// Since its last frame, admitted or shed; none before the first.
    pub last_frame_age: Option<Duration>,
    /// Of its last picture; none before the first.
    pub size: Option<Size>,
    /// The last thing it could not read.
    pub fault: Option<Fault>,
}

const RUNNING: u8 = 0;
const OVER: u8 = 1;
const BROKEN: u8 = 2;

#[derive(Default)]
struct Vitals {
    /// Microseconds since the run began, plus one; 0 before the first frame.
    last_frame: AtomicU64,
    /// Width and height of the last picture, 32 bits each.
    size: AtomicU64,
    end: AtomicU8,
    fault: Mutex<Option<Fault>>,
}

/// The health of all cameras of a plan.
pub struct Health {
    cameras: Roster<Vitals>,
}

impl Health {
    /// Nobody has delivered anything.
    pub fn of(plan: &Plan) -> Self {
        let cameras = (0..plan.cameras.len()).map(|index| CameraId(plan.camera_number(index)));
        Health {
            cameras: cameras.map(|camera| (camera, Arc::default())).collect(),
        }
    }

    /// A camera begins, or begins anew.
    pub fn open(&self, camera: CameraId) {
        self.cameras.set(camera, Some(Arc::default()));
    }

    /// A camera is no longer part of the run.
    pub fn close(&self, camera: CameraId) {
        self.cameras.set(camera, None);
    }

    /// A camera delivered a picture of this size.
    pub fn delivered(&self, camera: CameraId, now_us: u64, size: Size) {
        let packed = u64::from(size.width) << 32 | u64::from(size.height);
        self.cameras.with(camera, |vitals| {
            vitals.size.store(packed, Ordering::Relaxed);
            vitals.last_frame.store(now_us.saturating_add(1), Ordering::Relaxed);
        });
    }

    /// A camera could not read something.
    pub fn faulted(&self, camera: CameraId, now_us: u64, cause: &str) {
        self.cameras.with(camera, |vitals| {
            *vitals.fault() = Some(Fault {
                at_us: now_us,
                cause: cause.into(),
            });
        });
    }

    /// A camera has come to its end.
    pub fn ended(&self, camera: CameraId) {
        // What has broken does not end well later.
        self.cameras.with(camera, |vitals| {
            let end = &vitals.end;
            end.compare_exchange(RUNNING, OVER, Ordering::Relaxed, Ordering::Relaxed)
                .ok()
        });
    }

    /// A camera's source gave up.
    pub fn broke(&self, camera: CameraId) {
        self.cameras
            .with(camera, |vitals| vitals.end.store(BROKEN, Ordering::Relaxed));
    }

    /// How a camera does at a moment, in microseconds since the run began.
    pub fn of_camera(&self, camera: CameraId, now_us: u64) -> CameraHealth {
        let vitals = self.cameras.get(camera).unwrap_or_default();
        let last = vitals.last_frame.load(Ordering::Relaxed).checked_sub(1);
        let age = last.map(|last| Duration::from_micros(now_us.saturating_sub(last)));
        let packed = vitals.size.load(Ordering::Relaxed);
        let fault = vitals.fault().clone();
        // What it cannot read counts for more than the frames before it.
        let faulty = fault
            .as_ref()
            .is_some_and(|fault| last.is_none_or(|last| fault.at_us >= last));
        let condition = match (vitals.end.load(Ordering::Relaxed), age) {
            (OVER, _) => Condition::Ended,
            (BROKEN, _) => Condition::Failed,
            (_, Some(age)) if age <= SILENT_AFTER => Condition::Live,
            _ if faulty => Condition::Failed,
            (_, Some(_)) => Condition::Silent,
            (_, None) => Condition::Waiting,
        };
        CameraHealth {
            condition,
            last_frame_age: age,
            size: last.is_some().then_some(Size {
                width: (packed >> 32) as u32,
                height: packed as u32,
            }),
            fault,
        }
    }
}

impl Vitals {
    fn fault(&self) -> MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: CameraId = CameraId(0);
    const SIZE: Size = Size {
        width: 640,
        height: 360,
    };

    fn health() -> Health {
        let health = Health {
            cameras: Roster::default(),
        };
        health.open(CAMERA);
        health
    }

    fn at(health: &Health, seconds: u64) -> Condition {
        health.of_camera(CAMERA, seconds * 1_000_000).condition
    }

    #[test]
    fn a_camera_lives_while_it_delivers() {
        let health = health();
        assert_eq!(at(&health, 9), Condition::Waiting);
        health.delivered(CAMERA, 9_500_000, SIZE);
        assert_eq!(at(&health, 10), Condition::Live);
        assert_eq!(at(&health, 12), Condition::Silent);
        let seen = health.of_camera(CAMERA, 10_000_000);
        assert_eq!(
            (seen.size, seen.last_frame_age),
            (Some(SIZE), Some(Duration::from_millis(500)))
        );
        health.ended(CAMERA);
        assert_eq!(at(&health, 10), Condition::Ended);
    }

    #[test]
    fn a_fault_counts_until_frames_come_again() {
        let health = health();
        health.faulted(CAMERA, 1_000_000, "401");
        assert_eq!(at(&health, 1), Condition::Failed);
        health.delivered(CAMERA, 2_000_000, SIZE);
        assert_eq!(at(&health, 3), Condition::Live);
        assert_eq!(at(&health, 5), Condition::Silent);
        health.faulted(CAMERA, 6_000_000, "gone");
        assert_eq!(at(&health, 7), Condition::Failed);
        health.broke(CAMERA);
        health.ended(CAMERA);
        assert_eq!(at(&health, 7), Condition::Failed);
    }
}
