//! Whole graphs against the outputs of Ultralytics on the same pictures. Needs the reference data; the
//! photos need ONNX Runtime too.

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Folder, flowrun};

fn reference_data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("FLOWRUN_DATA").map_or_else(beside, PathBuf::from);
    if folder.join("golden").is_dir() {
        return Some(folder);
    }
    println!("skipped: no reference data");
    None
}

/// A detection: class, score, box.
type Found = (String, f64, [f64; 4]);

fn corners(value: &Value) -> [f64; 4] {
    std::array::from_fn(|index| value[index].as_f64().expect("a corner"))
}

fn iou(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let side = |low: usize, high: usize| (a[high].min(b[high]) - a[low].max(b[low])).max(0.0);
    let (shared, area) = (side(0, 2) * side(1, 3), |r: &[f64; 4]| (r[2] - r[0]) * (r[3] - r[1]));
    shared / (area(a) + area(b) - shared)
}

/// Holds detections of one photo to the expected ones, both ways, from score 0.35 on.
fn agree(photo: &str, expected: &[Found], found: &[Found]) {
    let close = |a: &Found, b: &Found| a.0 == b.0 && iou(&a.2, &b.2) >= 0.98 && (a.1 - b.1).abs() <= 0.02;
    for one in expected.iter().filter(|one| one.1 >= 0.35) {
        assert!(
            found.iter().any(|other| close(one, other)),
            "{photo}: {one:?} was not found in {found:?}"
        );
    }
    for one in found.iter().filter(|one| one.1 > 0.35) {
        assert!(
            expected.iter().any(|other| close(one, other)),
            "{photo}: {one:?} is not in {expected:?}"
        );
    }
}

#[test]
fn photos_give_the_golden_detections_from_file_to_rows() {
    let Some(data) = reference_data() else { return };
    if !support::has_onnx_runtime() {
        println!("skipped: no ONNX Runtime");
        return;
    }
    let golden = std::fs::read_to_string(data.join("golden/detect_nms.json")).expect("golden detections");
    let golden: Value = serde_json::from_str(&golden).expect("JSON");
    let photos = ["bus", "zidane", "roboflow_truck", "dlstreamer_dog_bike_car"];
    let camera = |photo: &&str| {
        format!(
            "    file {photo} \"{}\" pace=max\n",
            data.join(format!("images/{photo}.jpg")).display()
        )
    };
    let folder = Folder::new();
    let graph = format!(
        "cameras photos {{\n{}}}\nmodel yolo11n \"{}\"\nflow seen from=photos {{ detect yolo11n iou=0.7; }}\nwrite {{ jsonl \"seen.jsonl\" from=seen; }}\n",
        photos.iter().map(camera).collect::<String>(),
        data.join("models/yolo11n-coco.onnx").display()
    );
    let path = folder.write("photos.kdl", graph);
    let output = flowrun()
        .args(["run", "--root"])
        .arg(&data)
        .arg(path)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Value> = folder
        .read("seen.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    for photo in photos {
        let own = rows.iter().filter(|row| row["camera"] == photo);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let number = |value: &Value| value.as_f64().expect("a number");
        let found: Vec<Found> = own
            .map(|row| (text(&row["class"]), number(&row["score"]), corners(&row["box"])))
            .collect();
        let expected = golden["images"][photo]["detections"].as_array().expect("a list");
        let expected: Vec<Found> = expected
            .iter()
            .map(|one| (text(&one["name"]), number(&one["conf"]), corners(&one["xyxy"])))
            .collect();
        assert!(!expected.is_empty());
        agree(photo, &expected, &found);
    }
}
