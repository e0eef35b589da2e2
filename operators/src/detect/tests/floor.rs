//! Floors, against a model whose answers are disturbed.

use std::fs;

use super::super::accelerated::Wanted;
use super::super::floor::Floor;
use super::super::ladder::Climb;
use flowrun_engine::device::{DeviceKind, Devices};

use super::*;

/// A folder with pictures of grey, the model `net.onnx`, and `other.onnx`, which is surer of one of its two boxes.
pub(super) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("photos")).unwrap();
    for level in [180, 220, 250] {
        fs::write(folder.path().join(format!("photos/{level}.bmp")), bitmap(level)).unwrap();
    }
    let model = fs::read(fixtures().join("dynamic.onnx")).unwrap();
    let (half, more) = (0.5_f32.to_le_bytes(), 0.6_f32.to_le_bytes());
    let places: Vec<usize> = (0..model.len() - 4).filter(|at| model[*at..at + 4] == half).collect();
    assert_eq!(places.len(), 1, "the score of a box stands there once");
    let mut other = model.clone();
    other[places[0]..places[0] + 4].copy_from_slice(&more);
    fs::write(folder.path().join("net.onnx"), model).unwrap();
    fs::write(folder.path().join("other.onnx"), other).unwrap();
    folder
}

/// A picture of 32 by 32 in one level of grey, as Windows' bitmaps are written.
fn bitmap(level: u8) -> Vec<u8> {
    let pixels = vec![level; 32 * 32 * 3];
    let mut bytes = b"BM".to_vec();
    bytes.extend((54 + pixels.len() as u32).to_le_bytes());
    bytes.extend([0; 4]);
    for number in [54_u32, 40, 32, 32] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    bytes.extend(pixels);
    bytes
}

/// `detect` over a model of the folder, held to a floor.
fn held(folder: &Path, model: &str, provider: &str, more: &[(&str, &str)]) -> Result<(Detect, Arc<Names>)> {
    let (photos, model) = (folder.join("photos"), folder.join(model));
    let given = [("provider", provider), ("floor-images", photos.to_str().unwrap())];
    detect_of(
        &model,
        &[&given, more].concat(),
        PerCamera::new(params(&[]), BTreeMap::new()),
    )
}

#[test]
fn a_provider_that_agrees_is_used() {
    if !has_runtime() {
        return;
    }
    let folder = folder();
    let (detect, _) = held(folder.path(), "net.onnx", "twin", &[("floor-score-drift", "0.001")]).unwrap();
    assert_eq!((detect.provider(), detect.refusals()), (Provider::Twin, &[][..]));
    let pictures = [flat(64, 64, 255)];
    let mut jobs = [job(0, &pictures)];
    detect.process(&mut detect.lane().unwrap(), &mut jobs);
    assert_eq!(jobs[0].result.as_ref().unwrap().as_ref().unwrap().len(), 2);
    assert_eq!(detect.device_pool().unwrap().lent, 0);
}

#[test]
fn one_that_is_named_and_under_the_floor_is_an_error_with_the_figures() {
    if !has_runtime() {
        return;
    }
    let folder = folder();
    let reference = folder.path().join("net.onnx");
    let reference = ("floor-reference", reference.to_str().unwrap());
    for provider in ["twin", "cpu"] {
        let refused = held(folder.path(), "other.onnx", provider, &[reference]).err().unwrap();
        for words in [
            "on the 3 pictures of",
            "1.0000 of all boxes matched where 0.98 are asked for",
            "scores drift by 0.0500 on average where 0.03 may, 0.1000 at most",
            "under the floor",
        ] {
            assert!(
                refused.cause.contains(words),
                "{provider}: `{words}` is not in {refused:?}"
            );
        }
        let lower = [reference, ("floor-score-drift", "0.06")];
        held(folder.path(), "other.onnx", provider, &lower).unwrap();
    }
}

#[test]
fn one_that_is_not_named_makes_way_for_the_next() {
    if !has_runtime() {
        return;
    }
    let folder = folder();
    let photos = folder.path().join("photos");
    let given = [("floor-images", photos.to_str().unwrap())];
    let model_params = ModelParams::from_values(&values::<ModelParams>(&given)).unwrap();
    let detect_params = params(&[]);
    let (net, other) = (folder.path().join("net.onnx"), folder.path().join("other.onnx"));
    let floor = Floor::of(&net, &model_params, &detect_params).unwrap().unwrap();
    for (model, provider) in [(&net, Provider::Twin), (&other, Provider::Cpu)] {
        let (detect, _) = detect_with(&net, None, PerCamera::new(params(&[]), BTreeMap::new())).unwrap();
        let mut opened = Arc::into_inner(detect.opened).unwrap();
        let input = input_of(
            &Model::open(&net, &ModelOptions::new(1, &[Provider::Cpu])).unwrap(),
            None,
        )
        .unwrap();
        let (undecoded, form) = (opened.host.is_undecoded, opened.host.head.form(USUAL_MOST));
        let climb = Climb {
            wanted: &|seat| Wanted {
                seat,
                name: "m",
                // What the device computes is another model than what the host does.
                model,
                params: &model_params,
                input: &input,
                input_name: "images",
                symbol: Some("batch"),
                undecoded,
                head: form,
                batch: None,
                lanes: LANES,
            },
            params: &model_params,
            floor: Some(&floor),
            open: &Accelerator::new,
            closed: &[],
            again: &|_| panic!("the host's provider is what is to be agreed with"),
        };
        let seat = Devices::default().of_kind(DeviceKind::Twin).seat(0).unwrap();
        climb
            .climb(&mut opened, &[Provider::Twin, Provider::Cpu], vec![seat])
            .unwrap();
        assert_eq!(opened.posts.get(0).serving(), provider);
        let refused: Vec<_> = opened
            .refusals
            .iter()
            .map(|refusal| (refusal.provider, refusal.is_loss))
            .collect();
        match provider {
            Provider::Twin => assert_eq!(refused, []),
            _ => assert_eq!(refused, [(Provider::Twin, true)], "{:?}", opened.refusals),
        }
    }
}

#[test]
fn a_floor_without_pictures_is_an_error() {
    if !has_runtime() {
        return;
    }
    let folder = folder();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let given = [("provider", "cpu"), ("floor-images", empty.to_str().unwrap())];
    let of = |given: &[(&str, &str)]| {
        let params = PerCamera::new(params(&[]), BTreeMap::new());
        detect_of(&folder.path().join("net.onnx"), given, params)
            .err()
            .unwrap()
            .cause
    };
    assert!(of(&given).contains("holds no pictures"));
    let alone = [("provider", "cpu"), ("floor-reference", "net.onnx")];
    assert!(of(&alone).contains("without `floor-images`"));
}

#[test]
fn int8_without_a_word_on_what_bytes_mean_is_an_error_on_every_machine() {
    if !has_runtime() {
        return;
    }
    let folder = folder();
    let table = folder.path().join("ranges.flatbuffers");
    fs::write(&table, "ranges").unwrap();
    let of = |given: &[(&str, &str)]| {
        let params = PerCamera::new(params(&[]), BTreeMap::new());
        detect_of(
            &folder.path().join("net.onnx"),
            &[&[("provider", "cpu")], given].concat(),
            params,
        )
    };
    let refused = of(&[("precision", "int8")]).err().unwrap();
    assert!(refused.cause.contains("a calibration table"), "{refused:?}");
    assert!(refused.remedy.unwrap().contains("QuantizeLinear"));
    let calibration = ("calibration", table.to_str().unwrap());
    of(&[("precision", "int8"), calibration]).unwrap();
    let idle = of(&[("precision", "fp16"), calibration]).err().unwrap();
    assert!(idle.cause.contains("is for `precision=int8`"), "{idle:?}");
    let absent = of(&[("precision", "int8"), ("calibration", "/nowhere")]).err().unwrap();
    assert!(absent.cause.contains("is no file"), "{absent:?}");
}
