//! Outputs of the `ultralytics` package with the same model on the same photos.

use ffmpeg_next as ffmpeg;
use serde_json::Value;

use super::*;

pub(super) const PHOTOS: [&str; 4] = ["bus", "zidane", "roboflow_truck", "dlstreamer_dog_bike_car"];

fn golden(data: &Path) -> Value {
    serde_json::from_reader(std::fs::File::open(data.join("golden/detect_nms.json")).unwrap()).unwrap()
}

/// A `.npy` file of little-endian fp32.
fn numbers(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[10 + header..]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

fn floats(value: &Value) -> Vec<f32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap() as f32)
        .collect()
}

fn settings(args: &Value) -> Settings {
    let classes: Option<Vec<u64>> = args["classes"]
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_u64).collect());
    Settings {
        min_score: args["conf_thres"].as_f64().unwrap() as f32,
        iou: args["iou_thres"].as_f64().unwrap() as f32,
        max: args["max_det"].as_u64().unwrap_or(300) as usize,
        agnostic: args["agnostic"].as_bool().unwrap_or(false),
        classes: classes.map(|wanted| (0..80).map(|class| wanted.contains(&class)).collect()),
    }
}

#[test]
fn head_tensors_give_ultralytics_boxes_at_every_setting() {
    let Some(data) = reference_data() else { return };
    let golden = golden(&data);
    for photo in ["bus", "zidane"] {
        let output = numbers(&data.join(format!("golden/{photo}_output0.npy")));
        let head = head_of(&[1, 84, 8400], 1, Some(80)).unwrap();
        let runs = golden["images"][photo]["nms"].as_array().unwrap();
        assert_eq!(runs.len(), 5);
        for run in runs {
            let mut kept = Vec::new();
            head.read(&output, &settings(&run["args"]), &mut HeadScratch::default(), &mut kept);
            let wanted: Vec<_> = run["boxes640"].as_array().unwrap().iter().map(floats).collect();
            assert_eq!(kept.len(), wanted.len(), "{photo} {}", run["args"]);
            for (kept, wanted) in kept.iter().zip(&wanted) {
                let bbox = Rect {
                    x1: wanted[0],
                    y1: wanted[1],
                    x2: wanted[2],
                    y2: wanted[3],
                };
                assert!(
                    same_box(&kept.bbox, &bbox, 0.01),
                    "{photo} {}: {kept:?}, not {wanted:?}",
                    run["args"]
                );
                assert!(
                    (kept.score - wanted[4]).abs() <= 1e-4 && kept.class == wanted[5] as usize,
                    "{kept:?}, not {wanted:?}"
                );
            }
        }
    }
}

/// A photo that was turned on its side: chroma is halved down only, which no [`PixelFormat`] is. Its rows are doubled as libjpeg does.
fn from_440(frame: &ffmpeg::frame::Video) -> Picture {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let rows = |plane: usize| {
        frame
            .data(plane)
            .chunks(frame.stride(plane))
            .map(move |row| &row[..width])
    };
    let luma: Vec<u8> = rows(0).take(height).flatten().copied().collect();
    let doubled = |plane: usize| {
        let rows: Vec<&[u8]> = rows(plane).take(height.div_ceil(2)).collect();
        let row = |line: usize| {
            let near = line / 2;
            let far = if line.is_multiple_of(2) {
                near.saturating_sub(1)
            } else {
                (near + 1).min(rows.len() - 1)
            };
            let blend = |(near, far): (&u8, &u8)| ((3 * u16::from(*near) + u16::from(*far) + 2) / 4) as u8;
            rows[near].iter().zip(rows[far]).map(blend).collect::<Vec<_>>()
        };
        (0..height).flat_map(row).collect::<Vec<_>>()
    };
    let planes = [luma, doubled(1), doubled(2)].map(|plane| (width, plane));
    let layout = layout(frame.width(), frame.height(), PixelFormat::Yuv444);
    Picture::new(layout, Box::new(PlainMemory::new(planes)))
}

pub(super) fn photo(path: &Path) -> Arc<Picture> {
    ffmpeg::init().unwrap();
    let mut input = ffmpeg::format::input(path).unwrap();
    let parameters = input.stream(0).unwrap().parameters();
    let mut decoder = ffmpeg::codec::Context::from_parameters(parameters)
        .unwrap()
        .decoder()
        .video()
        .unwrap();
    let (_, packet) = input.packets().next().unwrap();
    decoder.send_packet(&packet).unwrap();
    decoder.send_eof().unwrap();
    let mut frame = ffmpeg::frame::Video::empty();
    decoder.receive_frame(&mut frame).unwrap();
    if frame.format() == ffmpeg::format::Pixel::YUVJ440P {
        return Arc::new(from_440(&frame));
    }
    let format = match frame.format() {
        ffmpeg::format::Pixel::YUVJ420P => PixelFormat::Yuv420,
        ffmpeg::format::Pixel::YUVJ422P => PixelFormat::Yuv422,
        ffmpeg::format::Pixel::YUVJ444P => PixelFormat::Yuv444,
        other => panic!("{other:?}"),
    };
    let planes = [0, 1, 2].map(|plane| (frame.stride(plane), frame.data(plane).to_vec()));
    let layout = layout(frame.width(), frame.height(), format);
    Arc::new(Picture::new(layout, Box::new(PlainMemory::new(planes))))
}

#[test]
fn photos_give_ultralytics_detections() {
    let Some(data) = reference_data() else { return };
    if !has_runtime() {
        return;
    }
    let golden = golden(&data);
    let model = data.join("models/yolo11n-coco.onnx");
    let params = PerCamera::new(params(&[("iou", "0.7"), ("max", "300")]), BTreeMap::new());
    let (detect, names) = detect_with(&model, None, params).unwrap();
    let mut lane = detect.lane().unwrap();
    for name in PHOTOS {
        let picture = photo(&data.join(format!("images/{name}.jpg")));
        let mut jobs = [job(0, &[picture])];
        detect.process(&mut lane, &mut jobs);
        let mut found = jobs[0].result.take().unwrap().unwrap();
        for wanted in golden["images"][name]["detections"].as_array().unwrap() {
            let [x1, y1, x2, y2] = floats(&wanted["xyxy"])[..] else {
                panic!()
            };
            let bbox = Rect { x1, y1, x2, y2 };
            let (class, score) = (
                wanted["name"].as_str().unwrap(),
                wanted["conf"].as_f64().unwrap() as f32,
            );
            let best = (0..found.len())
                .filter(|index| &*names.class(found[*index].class) == class)
                .max_by(|a, b| found[*a].bbox.iou(&bbox).total_cmp(&found[*b].bbox.iou(&bbox)));
            let (iou, other) = best.map_or((0.0, 0.0), |best| (found[best].bbox.iou(&bbox), found[best].score));
            println!("{name} {class} {score:.3} against {other:.3}, IoU {iou:.4}");
            if score >= 0.35 {
                assert!(iou >= 0.98 && (other - score).abs() <= 0.02, "{name} {class}");
            }
            if let Some(best) = best.filter(|_| iou >= 0.9) {
                found.swap_remove(best);
            }
        }
        assert!(
            found.iter().all(|unmatched| unmatched.score < 0.35),
            "{name}: {found:?}"
        );
    }
}
