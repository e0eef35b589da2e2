//! Tiny models of every shape; `fixtures/make_models.py` says what they answer.

use std::slice::from_ref;

use super::*;

/// Box 0 and box 1 of the tiny models, on a picture of 64x64.
const BOXES: [Rect; 2] = [
    Rect {
        x1: 12.0,
        y1: 16.0,
        x2: 28.0,
        y2: 32.0,
    },
    Rect {
        x1: 42.0,
        y1: 44.0,
        x2: 54.0,
        y2: 52.0,
    },
];

fn answers(detect: &Detect, levels: &[u8]) -> Vec<Vec<Detection>> {
    let mut jobs: Vec<_> = levels.iter().map(|level| job(0, &[flat(64, 64, *level)])).collect();
    detect.process(&mut detect.lane().unwrap(), &mut jobs);
    jobs.into_iter().map(|job| job.result.unwrap().unwrap()).collect()
}

fn refused(model: &str, written: &[(&str, &str)]) -> OperatorError {
    match detect(model, written) {
        Err(error) => error,
        Ok(_) => panic!("{model} was taken"),
    }
}

#[test]
fn every_shape_answers_each_picture_with_its_own_boxes() {
    if !has_runtime() {
        return;
    }
    let levels = [255, 100, 20, 200, 64, 255, 90];
    let cases = [
        ("fixed.onnx", &[][..], 1),
        ("unnamed.onnx", &[], 1),
        ("weights_beside.onnx", &[], 1),
        ("fixed_of_four.onnx", &[], 4),
        ("fixed_of_four.onnx", &[("batch", "2")], 4),
        ("dynamic.onnx", &[], 1),
        ("dynamic.onnx", &[("batch", "3")], 3),
        ("dynamic.onnx", &[("batch", "64"), ("threads", "1")], 64),
        ("half.onnx", &[("batch", "4")], 4),
        ("end_to_end.onnx", &[], 1),
    ];
    for (model, written, size) in cases {
        let (detect, names) = detect(model, written).unwrap();
        assert_eq!((detect.policy().size, detect.policy().lanes), (size, 2), "{model}");
        assert_eq!(detect.provider(), Provider::Cpu);
        for (level, found) in levels.iter().zip(answers(&detect, &levels)) {
            let bright = f32::from(*level) / 255.0;
            let mut wanted = vec![(0.5, BOXES[1], 1)];
            if bright > 0.25 {
                wanted.insert(usize::from(bright <= 0.5), (bright, BOXES[0], 0));
            }
            assert_eq!(found.len(), wanted.len(), "{model} {level}: {found:?}");
            for (found, (score, bbox, class)) in found.iter().zip(wanted) {
                assert!((found.score - score).abs() < 2e-3, "{model} {level}: {found:?}");
                assert!(same_box(&found.bbox, &bbox, 1e-3), "{model} {level}: {found:?}");
                let name = if model == "unnamed.onnx" {
                    ["class0", "class1"]
                } else {
                    ["person", "car"]
                }[class];
                assert_eq!(&*names.class(found.class), name);
            }
        }
    }
}

#[test]
fn a_bad_frame_fails_alone() {
    if !has_runtime() {
        return;
    }
    let (detect, _) = detect("dynamic.onnx", &[("batch", "8")]).unwrap();
    let short = Picture::new(
        layout(64, 64, PixelFormat::Gray),
        Box::new(PlainMemory::new([(64, vec![0; 100])])),
    );
    let empty = Picture::new(
        layout(0, 64, PixelFormat::Gray),
        Box::new(PlainMemory::new([(64, vec![0; 100])])),
    );
    let panics = Picture::deferred(layout(64, 64, PixelFormat::Gray), || panic!("a renderer's bug"));
    let good = flat(64, 64, 255);
    let mut jobs = [
        job(0, from_ref(&good)),
        job(0, &[Arc::new(short)]),
        job(0, &[]),
        job(0, &[Arc::new(panics)]),
        job(0, from_ref(&good)),
        job(0, &[Arc::new(empty)]),
        job(0, from_ref(&good)),
    ];
    detect.process(&mut detect.lane().unwrap(), &mut jobs);
    let counts: Vec<_> = jobs
        .iter()
        .map(|job| job.result.as_ref().unwrap().as_ref().map(Vec::len).ok())
        .collect();
    assert_eq!(counts, [Some(2), None, Some(0), None, Some(2), None, Some(2)]);
}

#[test]
fn what_does_not_fit_is_refused_before_a_frame_is_admitted() {
    if !has_runtime() {
        return;
    }
    let cases = [
        ("grey_input.onnx", "[1, 1, 32, 32]", "[batch, 3, height, width]"),
        ("yolov5_head.onnx", "[1, 16, 8]", "[1, boxes, 6]"),
        ("flat_head.onnx", "[1, 16]", "4 + classes, anchors"),
        ("segments.onnx", "segment", "detection"),
        ("end_to_end_unnamed.onnx", "name", "classes"),
        (
            "weights_outside.onnx",
            "../fixtures/weights_beside.bin",
            "outside its folder",
        ),
        ("make_models.py", "make_models.py", "no ONNX model"),
        ("absent.onnx", "absent.onnx", "cannot be read"),
    ];
    for (model, found, expected) in cases {
        let error = refused(model, &[]);
        assert!(
            error.cause.contains(found) && error.cause.contains(expected),
            "{model}: {error}"
        );
    }
    let error = refused("fixed_of_four.onnx", &[("batch", "5")]);
    assert!(error.cause.contains("batches of 4"), "{error}");
}

#[test]
fn a_model_that_is_cut_short_is_refused() {
    if !has_runtime() {
        return;
    }
    let whole = std::fs::read(fixtures().join("fixed.onnx")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    // Every cut inside the graph breaks the protobuf; what follows the graph is metadata, whose loss still leaves a model.
    for length in (0..900).step_by(60) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let refused = detect_with(&path, None, PerCamera::new(params(&[]), BTreeMap::new()));
        assert!(refused.is_err(), "cut to {length}");
    }
}

#[test]
fn classes_are_chosen_by_name_and_per_camera() {
    if !has_runtime() {
        return;
    }
    let error = refused("fixed.onnx", &[("classes", "person,cra")]);
    assert!(error.cause.contains("`cra`") && error.remedy.unwrap().contains("car"));
    let error = refused("fixed.onnx", &[("classes", "submarine")]);
    assert!(error.remedy.unwrap().contains("driver's cat"));

    let overrides = BTreeMap::from([
        (CameraId(1), params(&[("classes", "car")])),
        (CameraId(2), params(&[("min-score", "0.6")])),
        (CameraId(3), params(&[("max", "1")])),
    ]);
    let (detect, names) = detect_with(Path::new("fixed.onnx"), None, PerCamera::new(params(&[]), overrides)).unwrap();
    let mut jobs: Vec<_> = (0..4).map(|camera| job(camera, &[flat(64, 64, 255)])).collect();
    detect.process(&mut detect.lane().unwrap(), &mut jobs);
    let classes = |job: &Job<Frame, Detection>| {
        let found = job.result.as_ref().unwrap().as_ref().unwrap();
        found
            .iter()
            .map(|found| names.class(found.class).to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(classes(&jobs[0]), ["person", "car"]);
    assert_eq!(classes(&jobs[1]), ["car"]);
    assert_eq!(classes(&jobs[2]), ["person"]);
    assert_eq!(classes(&jobs[3]), ["person"]);

    let overrides = BTreeMap::from([(CameraId(1), params(&[("threads", "7")]))]);
    assert!(detect_with(Path::new("fixed.onnx"), None, PerCamera::new(params(&[]), overrides)).is_err());
}

#[test]
fn labels_come_from_data_yaml() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let with = |text: &str| {
        let path = folder.path().join("data.yaml");
        std::fs::write(&path, text).unwrap();
        let params = PerCamera::new(params(&[]), BTreeMap::new());
        detect_with(Path::new("end_to_end_unnamed.onnx"), path.to_str(), params)
    };
    let (detect, names) = with("names: [cyclist, tram]").unwrap();
    let found = answers(&detect, &[255]).remove(0);
    assert_eq!(&*names.class(found[0].class), "cyclist");
    assert_eq!(&*names.class(found[1].class), "tram");
    let (detect, _) = with("names: [cyclist]").unwrap();
    assert_eq!(
        answers(&detect, &[255])[0].len(),
        1,
        "a class without a name is nothing"
    );
    assert!(with("names: []").is_err());
    assert!(with("nc: 3").is_err());
}

#[test]
fn two_lanes_share_one_session_and_have_two() {
    if !has_runtime() {
        return;
    }
    for threads in ["1", "2", "3"] {
        let (detect, _) = detect("fixed.onnx", &[("threads", threads)]).unwrap();
        std::thread::scope(|scope| {
            for level in [255, 20] {
                let detect = &detect;
                scope.spawn(move || {
                    for _ in 0..200 {
                        assert_eq!(answers(detect, &[level])[0].len(), if level == 255 { 2 } else { 1 });
                    }
                });
            }
        });
    }
}
