//! `detect` on several devices: twins always, NVIDIA's where there are two.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flowrun_engine::device::{CudaStream, DeviceKind, Devices, MoveCause, Seat, Twin};

use super::*;
use crate::testing::kinds_of_two;

/// `detect` on devices, one of two recordings of time at hand.
fn on(provider: &str, device: &str, devices: &Devices, rest: &str) -> Detect {
    let model = [("provider", provider), ("device", device), ("rest", rest)];
    let model = ModelParams::from_values(&values::<ModelParams>(&model)).unwrap();
    let params = PerCamera::new(params(&[]), BTreeMap::new());
    let names = Arc::new(Names::default());
    let intern = |name: &str| Ok(names.intern(name)?);
    Detect::open(&fixtures().join("dynamic.onnx"), &model, params, devices, &intern).unwrap()
}

/// A lane of each device.
fn lanes(detect: &Detect) -> Vec<DetectLane> {
    (0..detect.groups())
        .map(|group| detect.lane_of(group).unwrap())
        .collect()
}

/// What it finds on a picture of each camera, by lanes of the cameras' devices; a batch a device.
fn answers(detect: &Detect, lanes: &mut [DetectLane], pictures: &[Arc<Picture>]) -> Vec<Vec<Detection>> {
    let mut answers = vec![Vec::new(); pictures.len()];
    for (group, lane) in lanes.iter_mut().enumerate() {
        let here = |camera: &usize| detect.group(CameraId(*camera as u32)) == group;
        let cameras: Vec<usize> = (0..pictures.len()).filter(here).collect();
        let mut jobs: Vec<_> = cameras
            .iter()
            .map(|camera| job(*camera as u32, std::slice::from_ref(&pictures[*camera])))
            .collect();
        detect.process(lane, &mut jobs);
        for (camera, job) in cameras.into_iter().zip(jobs) {
            answers[camera] = job.result.unwrap().unwrap();
        }
    }
    answers
}

fn pictures() -> Vec<Arc<Picture>> {
    (0..9).map(|camera| flat(64, 64, 70 + 20 * camera)).collect()
}

fn clock() -> (Arc<AtomicU64>, Arc<dyn Fn() -> Duration + Send + Sync>) {
    let seconds = Arc::new(AtomicU64::new(0));
    let reads = seconds.clone();
    (
        seconds,
        Arc::new(move || Duration::from_secs(reads.load(Ordering::Relaxed))),
    )
}

/// Providers of which there are two devices here; says so where there are not.
fn twice() -> Vec<(&'static str, DeviceKind)> {
    kinds_of_two().into_iter().map(|kind| (kind.word(), kind)).collect()
}

#[test]
fn gpu_two_devices_find_what_one_does_and_share_the_cameras() {
    if !has_runtime() {
        return;
    }
    for (provider, kind) in twice() {
        let (one, both) = (Devices::new(&[0], 1), Devices::new(&[0, 1], 1));
        let (alone, shared) = (on(provider, "0", &one, "30s"), on(provider, "0,1", &both, "30s"));
        assert_eq!(
            (alone.groups(), shared.groups()),
            (1, 2),
            "{provider}: {:?}",
            shared.refusals()
        );
        let pictures = pictures();
        assert_eq!(
            answers(&alone, &mut lanes(&alone), &pictures),
            answers(&shared, &mut lanes(&shared), &pictures),
            "{provider}"
        );
        let states: Vec<_> = both.open().iter().map(Seat::state).collect();
        let cameras: Vec<_> = states
            .iter()
            .map(|state| (state.kind, state.ordinal, state.cameras))
            .collect();
        assert_eq!(cameras.iter().map(|(.., cameras)| cameras).sum::<usize>(), 9);
        if kind == DeviceKind::Twin {
            assert_eq!(cameras, [(kind, 0, 5), (kind, 1, 4)]);
        }
        let served: Vec<_> = shared
            .providers()
            .iter()
            .map(|rung| (rung.device, rung.served, rung.failed))
            .collect();
        assert_eq!(
            served,
            [(Some(0), 1, 0), (Some(0), 0, 0), (Some(1), 1, 0), (Some(1), 0, 0)],
            "{provider}"
        );
    }
}

/// A decoder leaves pictures on the device that its camera is on, and they stay there; one that its camera has left comes to
/// the new device by way of the host.
#[test]
fn gpu_pictures_stay_on_the_device_of_their_camera() {
    if !has_runtime() {
        return;
    }
    for (provider, kind) in twice() {
        let devices = Devices::new(&[0, 1], 1);
        let detect = on(provider, "0,1", &devices, "30s");
        let (mut lanes, pictures, set) = (lanes(&detect), pictures(), devices.of_kind(kind));
        let resident = |camera: usize, device: usize| {
            let seat = set.seat(device).unwrap();
            let stream = Arc::new(CudaStream::open(seat.device()).unwrap());
            let picture = &pictures[camera];
            let surface = seat.pool().send(&stream, picture.layout(), picture.memory()).unwrap();
            Arc::new(seat.pool().picture(surface, &stream))
        };
        let fetched = || devices.open().iter().map(|seat| seat.pool().fetched()).sum::<u64>();
        let wanted = answers(&detect, &mut lanes, &pictures);
        let own: Vec<_> = (0..9)
            .map(|camera| resident(camera, set.home(CameraId(camera as u32))))
            .collect();
        assert_eq!(
            (answers(&detect, &mut lanes, &own), fetched()),
            (wanted.clone(), 0),
            "{provider}"
        );
        let other: Vec<_> = (0..9)
            .map(|camera| resident(camera, 1 - set.home(CameraId(camera as u32))))
            .collect();
        assert_eq!(
            (answers(&detect, &mut lanes, &other), fetched()),
            (wanted, 9),
            "{provider}"
        );
    }
}

#[test]
fn a_lost_twin_gives_its_cameras_to_the_other_until_it_was_tried() {
    if !has_runtime() {
        return;
    }
    let (seconds, now) = clock();
    let devices = Devices::with_clock(&[0, 1], 1, now);
    let detect = on("twin", "0,1", &devices, "1ms");
    let (mut lanes, pictures, set) = (lanes(&detect), pictures(), devices.of_kind(DeviceKind::Twin));
    let wanted = answers(&detect, &mut lanes, &pictures);
    let groups = || (0..9).map(|camera| detect.group(CameraId(camera))).collect::<Vec<_>>();
    let before = groups();
    let twin = set.twin(1, || Twin::new(1)).unwrap();
    twin.lose();
    let close = |got: &[Vec<Detection>]| {
        let scores = |all: &[Vec<Detection>]| all.iter().flatten().map(|found| found.score).collect::<Vec<_>>();
        let (got, wanted) = (scores(got), scores(&wanted));
        got.len() == wanted.len() && got.iter().zip(&wanted).all(|(got, wanted)| (got - wanted).abs() < 2e-3)
    };
    assert!(
        close(&answers(&detect, &mut lanes, &pictures)),
        "the processor stands in for the batch that is there"
    );
    assert_eq!(groups(), [0; 9], "and from then on the other device");
    let state = |device: usize| set.seat(device).unwrap().state();
    assert!(state(1).moves.contains(&(MoveCause::Lost, 4)) && !state(1).is_well);
    assert_eq!(answers(&detect, &mut lanes, &pictures), wanted);

    // A trial that fails costs one camera a batch by the processor, and the rest doubles.
    seconds.store(30, Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(groups().iter().sum::<usize>(), 1, "one camera tries it");
    assert!(close(&answers(&detect, &mut lanes, &pictures)));
    assert_eq!(groups(), [0; 9]);
    seconds.store(60, Ordering::Relaxed);
    assert_eq!(groups(), [0; 9]);

    twin.find();
    seconds.store(90, Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(2));
    for _ in 0..10 {
        assert_eq!(groups().iter().sum::<usize>(), 1, "ten batches are tried");
        assert!(close(&answers(&detect, &mut lanes, &pictures)));
    }
    assert_eq!(groups(), before, "those that were there are back");
    assert!(state(1).is_well && state(1).moves.contains(&(MoveCause::Returned, 4)));
}

/// One that stays full halves its batches first.
#[test]
fn a_full_twin_loses_its_cameras() {
    if !has_runtime() {
        return;
    }
    let devices = Devices::new(&[0, 1], 1);
    let set = devices.of_kind(DeviceKind::Twin);
    let memory = 1 << 26;
    set.twin(1, || Twin::numbered(1, memory)).unwrap();
    set.twin(0, || Twin::numbered(0, memory)).unwrap();
    let detect = on("twin", "0,1", &devices, "30s");
    let (mut lanes, pictures) = (lanes(&detect), pictures());
    let wanted = answers(&detect, &mut lanes, &pictures);
    let full = set.seat(1).unwrap();
    let rest = full.device().memory().unwrap().free;
    let taken = flowrun_engine::device::Buffer::new(full.device(), rest).unwrap();
    // A size that has no place there yet.
    let larger: Vec<_> = (0..9).map(|camera| flat(640, 480, 70 + 20 * camera)).collect();
    let mut calls = 0;
    while full.is_well() {
        let got = answers(&detect, &mut lanes, &larger);
        assert!(
            got.iter().zip(&wanted).all(|(got, wanted)| got.len() == wanted.len()),
            "all are answered"
        );
        calls += 1;
        assert!(calls < 10, "it stays full");
    }
    assert!(full.state().moves.contains(&(MoveCause::Full, 4)));
    assert!((0..9).all(|camera| detect.group(CameraId(camera)) == 0));
    drop(taken);
}

#[test]
fn a_device_that_does_not_take_the_model_gets_no_camera() {
    if !has_runtime() {
        return;
    }
    let devices = Devices::new(&[0, 1], 1);
    devices
        .of_kind(DeviceKind::Twin)
        .twin(1, || Twin::numbered(1, 1 << 10))
        .unwrap();
    let detect = on("twin", "0,1", &devices, "30s");
    assert_eq!(detect.groups(), 1);
    assert!(
        detect.refusals().iter().any(|refusal| refusal.cause.contains("no")),
        "{:?}",
        detect.refusals()
    );
    let homes = (0..4).map(|camera| devices.of_kind(DeviceKind::Twin).home(CameraId(camera)));
    assert_eq!(homes.collect::<Vec<_>>(), [0; 4]);
}
