//! `detect` on devices: the twin always, NVIDIA's where there is one. Against the same on the host.

use flowrun_engine::device::{
    BoxForm, CudaStream, Device, HeadShape, ResidentPool, anchors_of, every_device, found, letterboxed,
};

use super::super::head::Head;
use super::super::letterbox::fit;
use super::super::undecoded;
use super::*;
use crate::testing::video::junction;

const FORMATS: [PixelFormat; 6] = [
    PixelFormat::Yuv420,
    PixelFormat::Yuv422,
    PixelFormat::Yuv444,
    PixelFormat::Nv12,
    PixelFormat::Gray,
    PixelFormat::Rgb,
];

/// Bytes that look random and are the same for the same seed.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn noisy(layout: PictureLayout, padding: usize, seed: u64) -> Picture {
    let (width, height) = (layout.size.width as usize, layout.size.height as usize);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let planes: &[(usize, usize)] = match layout.format {
        PixelFormat::Yuv420 => &[(width, height), (half_width, half_height), (half_width, half_height)],
        PixelFormat::Yuv422 => &[(width, height), (half_width, height), (half_width, height)],
        PixelFormat::Yuv444 => &[(width, height); 3],
        PixelFormat::Nv12 => &[(width, height), (2 * half_width, half_height)],
        PixelFormat::Gray => &[(width, height)],
        PixelFormat::Rgb => &[(3 * width, height)],
    };
    let planes = planes.iter().enumerate().map(|(index, (row, rows))| {
        let stride = row + padding;
        (stride, noise(seed + index as u64, stride * rows))
    });
    Picture::new(layout, Box::new(PlainMemory::new(planes)))
}

fn on_host<T: Sample>(picture: &Picture, target: Size) -> Vec<T> {
    let letterbox = Letterbox::new(picture.layout(), target).unwrap();
    let mut tensor = vec![T::of(0.0); 3 * (target.width * target.height) as usize];
    letterbox.fill_margins(&mut tensor);
    letterbox
        .write(picture, &mut LetterboxScratch::default(), &mut tensor)
        .unwrap();
    tensor
}

#[track_caller]
fn assert_letterboxed(device: &Arc<dyn Device>, pictures: &[Picture], target: Size) {
    let fitted: Vec<_> = pictures
        .iter()
        .map(|picture| (picture, fit(picture.layout(), target).unwrap().1))
        .collect();
    let size = [target.width, target.height];
    let whole: Vec<f32> = pictures
        .iter()
        .flat_map(|picture| on_host::<f32>(picture, target))
        .collect();
    let halves = pictures.iter().flat_map(|picture| on_host::<f16>(picture, target));
    let halves: Vec<f32> = halves.map(f16::to_f32).collect();
    for (half, wanted, within) in [(false, whole, 1e-5), (true, halves, 2e-3)] {
        let got = letterboxed(device, &fitted, size, half).unwrap();
        assert_eq!(got.len(), wanted.len());
        let worst = got
            .iter()
            .zip(&wanted)
            .map(|(got, wanted)| (got - wanted).abs())
            .fold(0.0, f32::max);
        let differ = got.iter().zip(&wanted).filter(|(got, wanted)| got != wanted).count();
        assert!(
            worst <= within,
            "{device:?} half {half}: off by {worst}, {differ} differ of {}",
            got.len()
        );
    }
}

#[test]
fn gpu_letterbox_is_the_hosts_for_every_layout() {
    for device in every_device() {
        let sizes = [(1920, 1080), (641, 363), (64, 48), (33, 97), (1, 1), (2, 300)];
        for (width, height) in if device.is_cuda() { &sizes[..] } else { &sizes[1..] } {
            for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
                let range = if matrix == Matrix::Bt709 {
                    Range::Limited
                } else {
                    Range::Full
                };
                let pictures: Vec<Picture> = FORMATS
                    .into_iter()
                    .map(|format| PictureLayout {
                        matrix,
                        range,
                        ..layout(*width, *height, format)
                    })
                    .enumerate()
                    .map(|(index, layout)| noisy(layout, 7 * (index % 2), 1 + index as u64))
                    .collect();
                assert_letterboxed(&device, &pictures, Size { width: 160, height: 96 });
            }
        }
    }
}

#[test]
fn gpu_letterbox_fills_a_models_input() {
    for device in every_device().into_iter().filter(|device| device.is_cuda()) {
        let pictures: Vec<Picture> = (0..8)
            .map(|index| noisy(layout(1280, 720, FORMATS[index % 4]), 0, index as u64))
            .collect();
        assert_letterboxed(
            &device,
            &pictures,
            Size {
                width: 640,
                height: 640,
            },
        );
    }
}

fn settings(min_score: f32, iou: f32, max: usize, agnostic: bool, classes: Option<Vec<bool>>) -> Settings {
    Settings {
        min_score,
        iou,
        max,
        agnostic,
        classes,
    }
}

/// Heads whose boxes overlap a lot, with scores that come twice; of a place one score is no number, and one box is endless.
fn heads(shape: HeadShape, pictures: usize, seed: u64, sure: u8) -> Vec<f32> {
    let bytes = noise(seed, pictures * shape.rows() * shape.anchors);
    let box_rows = shape.boxes.rows();
    let rows: Vec<usize> = shape
        .boxes
        .grids(shape.anchors)
        .flat_map(|grid| (0..shape.rows()).flat_map(move |row| std::iter::repeat_n(row, grid.len())))
        .collect();
    let number = |(at, byte): (usize, &u8)| {
        let (row, level) = (rows[at % rows.len()], f32::from(*byte));
        match shape.boxes {
            BoxForm::Decoded if row < 2 => level / 2.0,
            BoxForm::Decoded if row < box_rows => 10.0 + level / 8.0,
            BoxForm::Decoded if *byte < sure => 0.0,
            BoxForm::Decoded => level / 256.0,
            BoxForm::Undecoded(_) if row < box_rows => level / 32.0 - 4.0,
            BoxForm::Undecoded(_) if *byte < sure => -9.0,
            BoxForm::Undecoded(_) => level / 32.0 - 4.0,
        }
    };
    let mut numbers: Vec<f32> = bytes.iter().enumerate().map(number).collect();
    numbers[box_rows * shape.boxes.grid(shape.anchors, 0).len() + 3] = f32::NAN;
    numbers[2] = f32::INFINITY;
    numbers
}

/// Holds what devices find in such heads to what `head` does.
fn assert_boxes_are_the_hosts(head: &dyn Head, shape: HeadShape, sure: u8) {
    let odd = |class: usize| class.is_multiple_of(2);
    let all = [
        settings(0.25, 0.45, 100, false, None),
        settings(0.5, 0.7, 300, true, None),
        settings(0.0, 0.0, 5, false, None),
        settings(0.25, 0.45, 1000, false, Some((0..shape.classes).map(odd).collect())),
    ];
    let choices: Vec<_> = all
        .iter()
        .map(|settings| (accelerated::choice(settings), settings.classes.as_deref()))
        .collect();
    let mut numbers = heads(shape, all.len(), 9 + shape.classes as u64, sure);
    for half in [false, true] {
        if half {
            numbers
                .iter_mut()
                .for_each(|number| *number = f16::from_f32(*number).to_f32());
        }
        for device in every_device() {
            let got = found(&device, &numbers, half, shape, &choices).unwrap();
            for (place, settings) in all.iter().enumerate() {
                let mut wanted = Vec::new();
                let numbers = &numbers[place * head.picture_len()..][..head.picture_len()];
                head.read(numbers, settings, &mut HeadScratch::default(), &mut wanted);
                let got: Vec<Candidate> = got[place].iter().map(accelerated::candidate).collect();
                assert_eq!(got, wanted, "{device:?} {shape:?} half {half} {settings:?}");
                assert!(!got.is_empty(), "{shape:?} {settings:?}: nothing is held to anything");
            }
        }
    }
}

#[test]
fn gpu_boxes_are_the_hosts() {
    for (classes, anchors, sure) in [(1, 7, 40), (3, 33, 128), (80, 8400, 250)] {
        let shape = HeadShape {
            boxes: BoxForm::Decoded,
            classes,
            anchors,
        };
        let head = head_of(&[1, shape.rows(), anchors], 1, Some(classes)).unwrap();
        assert_boxes_are_the_hosts(&*head, shape, sure);
    }
}

#[test]
fn gpu_boxes_of_a_model_without_its_last_steps_are_the_hosts() {
    for (classes, width, height, sure) in [(1, 64, 32, 40), (3, 96, 160, 128), (80, 640, 640, 250)] {
        let size = Size { width, height };
        let shape = HeadShape {
            boxes: BoxForm::Undecoded([width, height]),
            classes,
            anchors: anchors_of([width, height]),
        };
        let head = undecoded::grid(size, shape.rows() * shape.anchors).unwrap();
        assert_boxes_are_the_hosts(&head, shape, sure);
    }
}

/// `detect` over a model with a provider.
pub(super) fn detect_by(model: &Path, provider: &str, written: &[(&str, &str)]) -> (Detect, Arc<Names>) {
    let params = PerCamera::new(params(written), BTreeMap::new());
    detect_of(model, &[("provider", provider)], params).unwrap()
}

fn answers(detect: &Detect, pictures: &[Arc<Picture>]) -> Vec<Result<Vec<Detection>>> {
    let mut jobs: Vec<_> = pictures
        .iter()
        .map(|picture| job(0, std::slice::from_ref(picture)))
        .collect();
    detect.process(&mut detect.lane().unwrap(), &mut jobs);
    jobs.into_iter().map(|job| job.result.unwrap()).collect()
}

/// Providers with a device that can be tried here.
fn on_devices() -> Vec<(&'static str, Provider)> {
    let cuda = every_device().iter().any(|device| device.is_cuda());
    let all = [("twin", Provider::Twin), ("cuda", Provider::Cuda)];
    all.into_iter().take(if cuda { 2 } else { 1 }).collect()
}

#[test]
fn streams_are_bounded_by_the_graph_and_the_chip() {
    if !has_runtime() {
        return;
    }
    let model = fixtures().join("dynamic.onnx");
    let lanes = |provider, written: &[_]| {
        let (detect, _) = detect_by(&model, provider, written);
        (detect.least_lanes(), detect.policy().lanes)
    };
    assert_eq!(lanes("twin", &[]), (1, 2));
    assert_eq!(lanes("twin", &[("min-streams", "2"), ("max-streams", "3")]), (2, 3));
    // A twin has use for eight.
    assert_eq!(lanes("twin", &[("max-streams", "9"), ("batch", "2")]), (1, 8));
    assert_eq!(lanes("cpu", &[("max-streams", "3")]), (2, 2));
    let written = PerCamera::new(params(&[("min-streams", "3")]), BTreeMap::new());
    let error = detect_of(&model, &[("provider", "twin")], written).err().unwrap();
    assert_eq!(error.cause, "`min-streams=3` is more than `max-streams=2`");
}

#[test]
fn gpu_detect_answers_as_the_host_does_for_every_model() {
    if !has_runtime() {
        return;
    }
    let pictures: Vec<_> = [255, 100, 20, 200, 64, 255, 90].map(|level| flat(64, 64, level)).into();
    for (name, provider) in on_devices() {
        for (model, written) in [
            ("fixed.onnx", &[][..]),
            ("fixed_of_four.onnx", &[]),
            ("dynamic.onnx", &[]),
            ("dynamic.onnx", &[("batch", "3")]),
            ("half.onnx", &[("batch", "4")]),
            ("end_to_end.onnx", &[]),
        ] {
            let path = fixtures().join(model);
            let (host, _) = detect_by(&path, "cpu", written);
            let (device, _) = detect_by(&path, name, written);
            assert_eq!(device.provider(), provider, "{model}: {:?}", device.refusals());
            let (wanted, got) = (answers(&host, &pictures), answers(&device, &pictures));
            for (wanted, got) in wanted.iter().zip(&got) {
                let (wanted, got) = (wanted.as_ref().unwrap(), got.as_ref().unwrap());
                assert_eq!(wanted.len(), got.len(), "{model} on {name}");
                for (wanted, got) in wanted.iter().zip(got) {
                    assert_eq!(wanted.class, got.class);
                    assert!(
                        (wanted.score - got.score).abs() < 2e-3,
                        "{model} on {name}: {got:?}, not {wanted:?}"
                    );
                    assert!(
                        same_box(&wanted.bbox, &got.bbox, 0.1),
                        "{model} on {name}: {got:?}, not {wanted:?}"
                    );
                }
            }
            let pool = device.device_pool().unwrap();
            assert_eq!((pool.lent, pool.lent_bytes), (0, 0), "{model} on {name} leaks");
            assert!(pool.taken >= 7);
        }
    }
}

/// As a decoder leaves them there.
#[test]
fn gpu_pictures_that_are_there_never_come_to_the_host() {
    if !has_runtime() {
        return;
    }
    for (name, provider) in on_devices() {
        let own = every_device()
            .into_iter()
            .find(|device| device.is_cuda() == (provider == Provider::Cuda));
        let own = own.expect("a provider has its device");
        let (pool, stream) = (ResidentPool::new(&own), Arc::new(CudaStream::open(&own).unwrap()));
        let pictures: Vec<_> = (0..5)
            .map(|index| Arc::new(noisy(layout(96, 64, FORMATS[index]), 3, index as u64)))
            .chain([flat(64, 64, 255)])
            .collect();
        let resident: Vec<_> = pictures
            .iter()
            .map(|picture| {
                let surface = pool.send(&stream, picture.layout(), picture.memory()).unwrap();
                Arc::new(pool.picture(surface, &stream))
            })
            .collect();
        let (device, _) = detect_by(&fixtures().join("dynamic.onnx"), name, &[("batch", "4")]);
        assert_eq!(device.provider(), provider, "{:?}", device.refusals());
        let (wanted, got) = (answers(&device, &pictures), answers(&device, &resident));
        assert!(wanted.iter().any(|found| !found.as_ref().unwrap().is_empty()));
        assert_eq!(wanted, got, "on {name}");
        assert_eq!(pool.fetched(), 0, "{name} looked at them on the host");
        let (host, _) = detect_by(&fixtures().join("dynamic.onnx"), "cpu", &[]);
        assert_eq!(answers(&host, &pictures), answers(&host, &resident), "on the host");
        assert_eq!(pool.fetched(), 6);
        drop(resident);
        assert_eq!((pool.state().lent, pool.staging().lent), (0, 0));
    }
}

/// Large pictures take longer to send than a small model to run: a run that does not wait for them shows.
#[test]
fn gpu_batches_answer_each_picture_with_its_own_boxes() {
    if !has_runtime() {
        return;
    }
    for (name, provider) in on_devices() {
        let (detect, _) = detect_by(&fixtures().join("dynamic.onnx"), name, &[]);
        assert_eq!(detect.provider(), provider);
        let side = if provider == Provider::Cuda { 1920 } else { 128 };
        let pictures: Vec<_> = (0..32).map(|index| flat(side, side, 70 + 5 * index as u8)).collect();
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (detect, pictures) = (&detect, &pictures);
                scope.spawn(move || {
                    let mut lane = detect.lane().unwrap();
                    for round in 0..24_usize {
                        let count = [32, 3, 17, 1, 8, 30][round % 6];
                        let shown = |place: usize| (7 * place + 5 * round + thread) % 32;
                        let mut jobs: Vec<_> = (0..count)
                            .map(|place| job(0, std::slice::from_ref(&pictures[shown(place)])))
                            .collect();
                        detect.process(&mut lane, &mut jobs);
                        for (place, job) in jobs.into_iter().enumerate() {
                            let bright = (70 + 5 * shown(place)) as f32 / 255.0;
                            let found = job.result.unwrap().unwrap();
                            let near = found.iter().any(|found| (found.score - bright).abs() < 2e-3);
                            assert!(
                                near,
                                "{name}, round {round}, place {place} of {count}: {found:?}, not {bright}"
                            );
                        }
                    }
                });
            }
        });
        assert_eq!(detect.device_pool().unwrap().lent, 0);
    }
}

/// Opening a lane looks for kernels and records runs, which must not show in what others answer meanwhile.
#[test]
fn gpu_a_lane_that_is_opened_late_disturbs_no_other() {
    if !has_runtime() {
        return;
    }
    for (name, provider) in on_devices() {
        let (detect, _) = detect_by(&fixtures().join("dynamic.onnx"), name, &[]);
        assert_eq!(detect.provider(), provider);
        let pictures: Vec<_> = (0..32).map(|index| flat(256, 256, 70 + 5 * index as u8)).collect();
        let over = std::sync::atomic::AtomicBool::new(false);
        let answer = |lane: &mut DetectLane, round: usize| {
            let count = [32, 8, 1][round % 3];
            let mut jobs: Vec<_> = (0..count)
                .map(|place| job(0, std::slice::from_ref(&pictures[(place + round) % 32])))
                .collect();
            detect.process(lane, &mut jobs);
            for (place, job) in jobs.into_iter().enumerate() {
                let bright = (70 + 5 * ((place + round) % 32)) as f32 / 255.0;
                let found = job.result.unwrap().unwrap();
                let near = found.iter().any(|found| (found.score - bright).abs() < 2e-3);
                assert!(near, "{name}, round {round}, place {place}: {found:?}, not {bright}");
            }
        };
        std::thread::scope(|scope| {
            // One lane works while the other is opened: pools have slots for as many as there are lanes.
            let mut lane = detect.lane().unwrap();
            let (over, answer) = (&over, &answer);
            scope.spawn(move || {
                let mut round = 0;
                // Bounded, so that a failure below is not waited for for ever.
                while round < 10_000 && !over.load(std::sync::atomic::Ordering::Relaxed) {
                    answer(&mut lane, round);
                    round += 1;
                }
            });
            for _ in 0..2 {
                let mut late = detect.lane().unwrap();
                (0..9).for_each(|round| answer(&mut late, round));
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(detect.providers()[0].failed, 0, "{name}");
    }
}

#[test]
fn gpu_bad_frames_fail_alone() {
    if !has_runtime() {
        return;
    }
    let broken = |width, bytes| {
        let memory = PlainMemory::new([(64, vec![0; bytes])]);
        Arc::new(Picture::new(layout(width, 64, PixelFormat::Gray), Box::new(memory)))
    };
    let unreadable = Picture::deferred(layout(64, 64, PixelFormat::Gray), || panic!("no pixels"));
    let pictures = [
        flat(64, 64, 255),
        broken(64, 100),
        broken(0, 100),
        Arc::new(unreadable),
        flat(64, 64, 255),
    ];
    for (name, _) in on_devices() {
        let (detect, _) = detect_by(&fixtures().join("dynamic.onnx"), name, &[]);
        let answers = answers(&detect, &pictures);
        let causes = ["too few bytes", "cannot be scaled", "cannot be read"];
        assert_eq!(answers[0].as_ref().unwrap().len(), 2);
        assert_eq!(answers[0], answers[4]);
        for (answer, cause) in answers[1..4].iter().zip(causes) {
            assert!(answer.as_ref().unwrap_err().cause.contains(cause), "{answer:?}");
        }
        assert_eq!(
            detect.providers()[0].failed,
            0,
            "a broken picture is not the device's fault"
        );
        assert_eq!(detect.device_pool().unwrap().lent, 0);
    }
}

/// Holds what each device finds with a model of YOLO's, opened without its last steps, to what the host finds.
fn assert_found_as_on_the_host(model: &Path, pictures: &[Arc<Picture>]) {
    let (host, _) = detect_by(model, "cpu", &[]);
    assert!(host.opened.host.is_undecoded, "{}", model.display());
    let wanted = answers(&host, pictures);
    let sure = |found: &Detection| found.score >= 0.35;
    assert!(wanted.iter().any(|found| found.as_ref().unwrap().iter().any(sure)));
    for (name, provider) in on_devices() {
        let (device, _) = detect_by(model, name, &[]);
        assert_eq!(device.provider(), provider, "{:?}", device.refusals());
        for (picture, (wanted, got)) in wanted.iter().zip(answers(&device, pictures)).enumerate() {
            let mut got = got.unwrap();
            for wanted in wanted.as_ref().unwrap().iter().filter(|wanted| sure(wanted)) {
                let near = |other: &Detection| other.class == wanted.class && other.bbox.iou(&wanted.bbox) >= 0.97;
                let best = got
                    .iter()
                    .position(near)
                    .unwrap_or_else(|| panic!("picture {picture} on {name}: no {wanted:?}"));
                let other = got.swap_remove(best);
                assert!(
                    (other.score - wanted.score).abs() <= 0.03,
                    "picture {picture} on {name}: {other:?}, not {wanted:?}"
                );
            }
            assert!(
                got.iter().all(|unmatched| unmatched.score < 0.38),
                "picture {picture} on {name}: {got:?}"
            );
        }
    }
}

#[test]
fn gpu_photos_are_found_as_on_the_host() {
    let Some(data) = reference_data() else { return };
    if !has_runtime() {
        return;
    }
    let photo = |name: &&str| golden::photo(&data.join(format!("images/{name}.jpg")));
    let pictures: Vec<_> = golden::PHOTOS.iter().map(photo).collect();
    assert_found_as_on_the_host(&data.join("models/yolo11n-coco.onnx"), &pictures);
}

#[test]
fn gpu_vehicles_are_found_as_on_the_host() {
    if !has_runtime() {
        return;
    }
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/demo-yolo11n.onnx");
    let frames = junction("640x360", 40, 2.0);
    let pictures: Vec<_> = frames
        .iter()
        .skip(20)
        .step_by(8)
        .map(|(_, frame)| frame.picture.clone())
        .collect();
    assert_found_as_on_the_host(&model, &pictures);
}
