//! A camera whose packets come from a recording, on devices that it has to leave. Sessions and what networks do to them:
//! `tests/rtsp`.

use std::path::Path;

use engine::device::{Devices, MoveCause, Seat};
use engine::names::Names;
use flowrun_dsl::value::Value;

use super::*;
use crate::decode::DecoderChoice;
use crate::source::packets::Unit;
use crate::source::{FileParams, FileSource};
use crate::testing::video::{decoder_on, device_of, samples};
use crate::testing::{kinds_of_two, params, reference_data};

/// What the task on the network tells where nothing more is to come for now.
const PAUSE: &str = "nothing more is there";
/// The frame after which the camera's device is taken away.
const LEAVES_AFTER: usize = 20;

fn word(text: &str) -> Value {
    Value::Text(text.into())
}

fn setup<'a>(names: &'a Arc<Names>, decoders: &Decoders) -> SourceSetup<'a> {
    SourceSetup {
        decoders: decoders.clone(),
        ..SourceSetup::new(Path::new("/"), names, CameraId(0))
    }
}

/// The access units of a recording, as a camera would send them.
fn units(path: &Path) -> Vec<Taken> {
    let (names, decoders) = (Arc::new(Names::default()), Decoders::default());
    let params = params::<FileParams>(&[
        ("path", word(&path.display().to_string())),
        ("pace", word("max")),
        ("decoder", word("cpu")),
    ]);
    let mut file = FileSource::open(params, &setup(&names, &decoders)).unwrap();
    let mut units = Vec::new();
    while let Next::Item(item) = file.next().unwrap() {
        let frames = Frame::from_batch(&item.batch).unwrap();
        let packets = frames[0].packets.iter();
        units.extend(packets.map(|packet| Taken {
            unit: Unit {
                config: packet.config.clone(),
                data: packet.data.clone(),
                keyframe: packet.keyframe,
                presented: item.media_time + packet.presented,
                decoded: item.media_time + packet.decoded,
                sequence: packet.sequence,
            },
            taken: item.media_time + packet.presented,
        }));
    }
    units
}

/// A picture's samples, and the device that it was decoded on.
type Shown = (Vec<u8>, Option<usize>);

/// All pictures of a camera that sends this, and what it told. After some, `at_the_turn` is called.
fn shown(
    units: &[Taken],
    decoder: DecoderChoice,
    decoders: &Decoders,
    seats: &[Seat],
    at_the_turn: impl Fn(usize),
) -> (Vec<Shown>, Vec<String>) {
    let names = Arc::new(Names::default());
    let params = RtspParams {
        decoder,
        ..params(&[("url", word("rtsp://127.0.0.1/recorded"))])
    };
    let mut source = <RtspSource as Source>::open(params, &setup(&names, decoders)).unwrap();
    // Nobody asks a camera.
    let (task, _cancelled) = oneshot::channel();
    source.task = Some(task);
    source.queue.finish();
    let (mut pictures, mut told) = (Vec::<Shown>::new(), Vec::new());
    for unit in units {
        source.queue.offer(unit.clone());
        source.queue.tell(PAUSE.into());
        loop {
            match source.next().unwrap() {
                Next::Fault(cause) if cause == PAUSE => break,
                Next::Fault(cause) => told.push(cause),
                Next::End => panic!("a camera does not end"),
                Next::Item(item) => {
                    let picture = &Frame::from_batch(&item.batch).unwrap()[0].picture;
                    pictures.push((samples(picture), device_of(picture, seats)));
                    if pictures.len() == LEAVES_AFTER {
                        at_the_turn(pictures[0].1.unwrap_or(0));
                    }
                }
            }
        }
    }
    (pictures, told)
}

#[test]
fn gpu_a_camera_that_moves_is_decoded_on_at_a_keyframe() {
    let Some(data) = reference_data() else { return };
    let units = units(&data.join("video/intel_car-detection.mp4"));
    let (wanted, _) = shown(&units, DecoderChoice::Cpu, &Decoders::default(), &[], |_| {});
    assert!(wanted.len() > 300, "{}", wanted.len());
    for kind in kinds_of_two() {
        let way = decoder_on(kind);
        for cause in [MoveCause::Full, MoveCause::Lost] {
            let decoders = Decoders::on(Devices::new(&[0, 1], 1));
            let seats = [0, 1].map(|device| decoders.devices().of_kind(kind).seat(device).unwrap());
            let (pictures, told) = shown(&units, way, &decoders, &seats, |on| seats[on].fail(cause));
            let on: Vec<usize> = pictures.iter().filter_map(|(_, on)| *on).collect();
            assert_eq!((pictures.len(), told), (wanted.len(), Vec::new()), "{way:?}");
            assert_eq!(on.len(), pictures.len(), "{way:?}: some are on no device");
            let (from, to) = (on[0], 1 - on[0]);
            assert!(on.is_sorted_by_key(|seat| *seat == to), "{way:?} goes back");
            assert!(
                on[LEAVES_AFTER - 1] == from && on.ends_with(&[to]),
                "{way:?} does not move"
            );
            let differ = pictures
                .iter()
                .zip(&wanted)
                .filter(|(here, there)| here.0 != there.0)
                .count();
            assert_eq!(differ, 0, "{way:?}");
            assert_eq!(decoders.counts().spilled, 0, "{way:?}");
        }
    }
}
