//! What is encoded decodes to what went in, begins with a keyframe whenever somebody comes, and rests while nobody does.

use std::sync::Arc;

use bytes::Bytes;
use flowrun_dsl::value::Value;
use flowrun_engine::frame::{Frame, Matrix, Picture, PictureLayout, PixelFormat, PlainMemory, Range};
use flowrun_engine::packet::{Codec, CodecConfig, Packet};
use flowrun_engine::rows::{At, Rows, Size};
use flowrun_engine::time::EventTime;

use crate::publish::cmaf::{self, Step, Timeline};
use crate::testing::video::{Encoding, decoded, difference, junction, packets};

/// A fragmented file of packets that belong to one stretch.
fn file_of(packets: &[Packet]) -> Vec<u8> {
    let (mut timeline, mut steps) = (Timeline::default(), Vec::new());
    packets.iter().for_each(|packet| timeline.push(packet, &mut steps));
    timeline.finish(&mut steps);
    let mut file = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Begin(stretch) => file.extend_from_slice(&cmaf::init(&stretch.config).unwrap()),
            Step::Sample(sample) => {
                file.extend_from_slice(&cmaf::chunk(number as u32, cmaf::Place::Later, &[sample]));
            }
        }
    }
    file
}

fn at(ms: i64, size: Size) -> At {
    At {
        event_time: EventTime(ms * 1_000_000),
        size,
        ..At::default()
    }
}

/// A picture with a slope of luma, in any format and size.
fn slope(format: PixelFormat, width: usize, height: usize, range: Range) -> Frame {
    let value = |row: usize, column: usize| (60 + (row * 60 / height) + (column * 60 / width)) as u8;
    let luma: Vec<u8> = (0..height)
        .flat_map(|row| (0..width).map(move |column| value(row, column)))
        .collect();
    let (half, low) = (width.div_ceil(2), height.div_ceil(2));
    let flat = |width: usize, height: usize| (width, vec![128; width * height]);
    let planes = match format {
        PixelFormat::Yuv420 => vec![(width, luma), flat(half, low), flat(half, low)],
        PixelFormat::Yuv422 => vec![(width, luma), flat(half, height), flat(half, height)],
        PixelFormat::Yuv444 => vec![(width, luma), flat(width, height), flat(width, height)],
        PixelFormat::Nv12 => vec![(width, luma), flat(2 * half, low)],
        PixelFormat::Gray => vec![(width, luma)],
        PixelFormat::Rgb => vec![(3 * width, luma.iter().flat_map(|grey| [*grey; 3]).collect())],
    };
    let layout = PictureLayout {
        size: Size {
            width: width as u32,
            height: height as u32,
        },
        format,
        matrix: Matrix::Bt709,
        range,
    };
    Frame {
        picture: Arc::new(Picture::new(layout, Box::new(PlainMemory::new(planes)))),
        truth: None,
        packets: Rows::default(),
        taken: None,
    }
}

#[test]
fn what_is_decoded_is_what_was_encoded() {
    let frames = junction("320x180", 25, 12.5);
    let packets = Encoding::new(&[("crf", Value::Int(12))]).unwrap().all(&frames);
    assert_eq!(packets.len(), frames.len());
    let back = decoded(&file_of(&packets));
    assert_eq!(back.len(), frames.len());
    for ((at, frame), (time, picture)) in frames.iter().zip(&back) {
        assert!((at.event_time.0 - time).abs() < 20_000, "{} {time}", at.event_time.0);
        assert!(difference(&frame.picture, picture) < 3.0);
    }
}

#[test]
fn every_format_and_odd_sizes_are_encoded_with_their_levels() {
    for (format, range) in [
        (PixelFormat::Yuv420, Range::Limited),
        (PixelFormat::Yuv420, Range::Full),
        (PixelFormat::Yuv422, Range::Limited),
        (PixelFormat::Yuv444, Range::Limited),
        (PixelFormat::Nv12, Range::Full),
        (PixelFormat::Gray, Range::Full),
        (PixelFormat::Rgb, Range::Full),
    ] {
        let frame = slope(format, 101, 67, range);
        let mut encoding = Encoding::new(&[("crf", Value::Int(4))]).unwrap();
        let packets = encoding.all(&[(at(0, frame.picture.layout().size), frame.clone())]);
        assert_eq!(packets[0].config.size, Size { width: 100, height: 66 });
        let back = decoded(&file_of(&packets)).remove(0).1;
        let layout = back.layout();
        assert_eq!(layout.matrix, Matrix::Bt709, "{format:?}");
        let expected = if format == PixelFormat::Rgb {
            Range::Limited
        } else {
            range
        };
        assert_eq!(layout.range, expected, "{format:?}");
        let middle = back.memory().plane(0)[33 * back.memory().stride(0) + 50];
        let level = if format == PixelFormat::Rgb {
            16 + 119 * 219 / 255
        } else {
            119
        };
        assert!(middle.abs_diff(level as u8) <= 4, "{format:?} {middle}");
    }
}

#[test]
fn pictures_are_scaled_down_and_never_up() {
    let wide = packets("640x360", 3, 10.0, &[("height", Value::Int(180))]);
    assert_eq!(
        wide[0].config.size,
        Size {
            width: 320,
            height: 180
        }
    );
    assert_eq!(decoded(&file_of(&wide)).len(), 3);
    let small = packets("320x180", 1, 10.0, &[("height", Value::Int(720))]);
    assert_eq!(
        small[0].config.size,
        Size {
            width: 320,
            height: 180
        }
    );
}

#[test]
fn a_change_of_size_is_a_new_description_and_a_keyframe() {
    let (small, large) = (
        slope(PixelFormat::Yuv420, 64, 48, Range::Limited),
        slope(PixelFormat::Yuv420, 96, 64, Range::Limited),
    );
    let size = Size::default();
    let frames = [
        (at(0, size), small.clone()),
        (at(100, size), small),
        (at(200, size), large.clone()),
        (at(300, size), large),
    ];
    let packets = Encoding::new(&[]).unwrap().all(&frames);
    let keys: Vec<bool> = packets.iter().map(|packet| packet.keyframe).collect();
    assert_eq!(keys, [true, false, true, false]);
    assert!(Arc::ptr_eq(&packets[0].config, &packets[1].config));
    assert_ne!(packets[1].config, packets[2].config);
    let numbers: Vec<u64> = packets.iter().map(|packet| packet.sequence).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
}

#[test]
fn keyframes_stand_by_media_time_whatever_the_rate() {
    let packets = packets(
        "320x180",
        45,
        7.5,
        &[("keyframe-every", Value::Duration(std::time::Duration::from_secs(2)))],
    );
    let keys: Vec<i64> = packets
        .iter()
        .filter(|packet| packet.keyframe)
        .map(|packet| packet.presented / 1_000_000)
        .collect();
    assert_eq!(keys, [0, 2_000, 4_000]);
}

#[test]
fn nothing_is_encoded_while_nobody_wants_it() {
    let frames = junction("320x180", 40, 10.0);
    let mut encoding = Encoding::new(&[]).unwrap();
    let mut answer = |range: std::ops::Range<usize>| {
        let answers = frames[range]
            .iter()
            .map(|(at, frame)| encoding.frame(*at, frame).unwrap());
        answers.flatten().collect::<Vec<Packet>>()
    };
    assert!(answer(0..10).is_empty());
    let watching = encoding.demand.watch();
    let mut answer = |range: std::ops::Range<usize>| {
        let answers = frames[range]
            .iter()
            .map(|(at, frame)| encoding.frame(*at, frame).unwrap());
        answers.flatten().collect::<Vec<Packet>>()
    };
    let first = answer(10..20);
    assert_eq!(first.len(), 10);
    assert!(first[0].keyframe && first[1..].iter().all(|packet| !packet.keyframe));
    drop(watching);
    assert!(answer(20..30).is_empty());
    let _watching = encoding.demand.watch();
    let answers = frames[30..]
        .iter()
        .map(|(at, frame)| encoding.frame(*at, frame).unwrap());
    let again: Vec<Packet> = answers.flatten().collect();
    assert!(again[0].keyframe && again.len() == 10);
    assert_eq!(decoded(&file_of(&again)).len(), 10);
}

#[test]
fn a_limit_to_the_rate_leaves_pictures_out_evenly() {
    let packets = packets("320x180", 60, 30.0, &[("fps", Value::Float(10.0))]);
    let times: Vec<i64> = packets.iter().map(|packet| packet.presented / 1_000_000).collect();
    assert_eq!(times, (0..20).map(|index| index * 100).collect::<Vec<_>>());
}

#[test]
fn the_bit_rate_holds_at_any_frame_rate() {
    for fps in [5.0, 25.0] {
        let given = [
            ("bitrate", Value::Bitrate(300_000)),
            ("crf", Value::Int(5)),
            ("preset", Value::Text("ultrafast".into())),
        ];
        let seconds = 8.0;
        let packets = packets("320x180", (seconds * fps) as i64, fps, &given);
        // After the first two seconds, in which the true rate is found out.
        let late = packets.iter().filter(|packet| packet.presented >= 2_000_000_000);
        let rate = late.map(|packet| packet.data.len() * 8).sum::<usize>() as f64 / (seconds - 2.0);
        assert!(
            (150_000.0..450_000.0).contains(&rate),
            "{rate} bits a second at {fps} pictures a second"
        );
    }
}

/// A frame with a camera's packets.
fn sent(packets: Vec<Packet>) -> Frame {
    Frame {
        packets: packets.into(),
        ..slope(PixelFormat::Yuv420, 64, 48, Range::Limited)
    }
}

fn packet(config: &Arc<CodecConfig>, sequence: u64, keyframe: bool, shift_ms: i64) -> Packet {
    Packet {
        config: config.clone(),
        data: Bytes::from(vec![sequence as u8; 10]),
        presented: shift_ms * 1_000_000,
        decoded: shift_ms * 1_000_000,
        keyframe,
        sequence,
    }
}

fn config(codec: Codec) -> Arc<CodecConfig> {
    Arc::new(CodecConfig {
        codec,
        size: Size { width: 64, height: 48 },
        record: Bytes::from_static(&[1, 66, 0, 10]),
    })
}

#[test]
fn a_cameras_own_packets_pass_unchanged_in_event_time() {
    let config = config(Codec::H264);
    let size = Size::default();
    let mut encoding = Encoding::new(&[]).unwrap();
    let frames: Vec<(At, Frame)> = vec![
        (at(1_000, size), sent(vec![packet(&config, 7, true, 0)])),
        (
            at(1_100, size),
            sent(vec![packet(&config, 8, false, 0), packet(&config, 9, false, 50)]),
        ),
        // Held back by the decoder: no packet came with it.
        (at(1_200, size), sent(Vec::new())),
        // Number 10 was lost: nothing before the next keyframe.
        (at(1_300, size), sent(vec![packet(&config, 11, false, 0)])),
        (at(1_400, size), sent(vec![packet(&config, 12, true, 0)])),
    ];
    let passed = encoding.all(&frames);
    let seen: Vec<(u64, i64)> = passed
        .iter()
        .map(|packet| (packet.sequence, packet.presented / 1_000_000))
        .collect();
    assert_eq!(seen, [(7, 1_000), (8, 1_100), (9, 1_150), (12, 1_400)]);
    for packet in &passed {
        assert_eq!(packet.data[..], [packet.sequence as u8; 10]);
        assert!(Arc::ptr_eq(&packet.config, &config));
    }
    assert!(passed.windows(2).all(|pair| pair[0].decoded < pair[1].decoded));
}

#[test]
fn packets_are_not_passed_on_where_pictures_must_change() {
    let size = Size::default();
    let encoded = |given: &[(&str, Value)], codec: Codec| {
        let frames = [(at(0, size), sent(vec![packet(&config(codec), 0, true, 0)]))];
        let packets = Encoding::new(given).unwrap().all(&frames);
        packets[0].data[..] != [0; 10]
    };
    assert!(!encoded(&[], Codec::H264));
    assert!(encoded(&[("copy", Value::Text("never".into()))], Codec::H264));
    assert!(encoded(&[("height", Value::Int(32))], Codec::H264));
    assert!(encoded(&[("fps", Value::Float(5.0))], Codec::H264));
    assert!(encoded(&[], Codec::H265));
}

#[test]
fn a_picture_that_cannot_be_read_costs_itself_and_the_next_is_a_keyframe() {
    let frames = junction("320x180", 4, 10.0);
    let broken = Frame {
        picture: Arc::new(Picture::deferred(frames[0].1.picture.layout(), || {
            panic!("rendering fails on purpose")
        })),
        ..frames[0].1.clone()
    };
    let mut encoding = Encoding::new(&[]).unwrap();
    let _watching = encoding.demand.watch();
    assert!(encoding.frame(frames[0].0, &frames[0].1).unwrap()[0].keyframe);
    assert!(encoding.frame(frames[1].0, &broken).is_err());
    assert!(encoding.frame(frames[2].0, &frames[2].1).unwrap()[0].keyframe);
}
