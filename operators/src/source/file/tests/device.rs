//! Recordings decoded on devices: the twin always, NVIDIA's where there is one. Against the same on the processor.

use engine::device::{DecoderCounts, Decoders, every_device};
use engine::frame::Picture;

use super::*;
use crate::testing::reference_data;
use crate::testing::video::samples;

/// The ways over a device that can be tested here.
fn ways() -> Vec<DecoderChoice> {
    let devices = every_device();
    let way = |cuda| {
        if cuda {
            DecoderChoice::Nvdec
        } else {
            DecoderChoice::Twin
        }
    };
    devices.iter().map(|device| way(device.is_cuda())).collect()
}

/// Pictures of a file with their media times, and what was told.
fn decoded(params: FileParams, decoders: &Decoders, most: usize) -> (Vec<(i64, Arc<Picture>)>, Vec<String>) {
    let names = Arc::new(Names::default());
    let setup = SourceSetup {
        decoders: decoders.clone(),
        ..SourceSetup::new(Path::new("/"), &names, CameraId(0))
    };
    let mut source = FileSource::open(params, &setup).unwrap();
    let (mut pictures, mut told) = (Vec::new(), Vec::new());
    while pictures.len() < most {
        match source.next().unwrap() {
            Next::Item(item) => {
                let frames = Frame::from_batch(&item.batch).unwrap();
                pictures.push((item.media_time, frames[0].picture.clone()));
            }
            Next::Fault(cause) => told.push(cause),
            Next::End => break,
        }
    }
    (pictures, told)
}

#[test]
fn gpu_recordings_are_decoded_as_on_the_processor() {
    let Some(data) = reference_data() else { return };
    for name in [
        "intel_car-detection.mp4",
        "odd/hw2_h264_opengop_b3.mp4",
        "odd/hw2_h265_opengop_b3.mp4",
        "odd/hw2_opengop.ts",
        "odd/resolution_change_640x480_to_320x240.h264",
        "torchcodec/bt709_full_range.mp4",
        "torchcodec/h265_10bits.mp4",
        "h264-conformance/CVFC1_Sony_C.jsv",
    ] {
        let file = |decoder| FileParams {
            decoder,
            ..params(data.join("video").join(name))
        };
        let (wanted, _) = decoded(file(DecoderChoice::Cpu), &Decoders::default(), 90);
        for way in ways() {
            let decoders = Decoders::default();
            let (got, told) = decoded(file(way), &decoders, 90);
            assert_eq!(got.len(), wanted.len(), "{name} by {way:?}: {told:?}");
            let mut on_device = 0;
            for (index, ((time, picture), (wanted_time, wanted))) in got.iter().zip(&wanted).enumerate() {
                let (layout, wanted_layout) = (picture.layout(), wanted.layout());
                assert_eq!(
                    (*time, layout.size),
                    (*wanted_time, wanted_layout.size),
                    "{name} by {way:?}, {index}"
                );
                let colours = (wanted_layout.matrix, wanted_layout.range);
                assert_eq!((layout.matrix, layout.range), colours, "{name} by {way:?}, {index}");
                on_device += usize::from(picture.memory().surface().is_some());
                assert!(
                    samples(picture) == samples(wanted),
                    "{name} by {way:?}: picture {index} differs"
                );
            }
            let is_wide = name.contains("10bits");
            if way == DecoderChoice::Nvdec && is_wide {
                // What the engine does not read there is the processor's, and that is told.
                assert!(
                    told.iter().any(|cause| cause.contains("the processor does")),
                    "{name}: {told:?}"
                );
                assert_eq!((on_device, decoders.counts().spilled), (0, 1), "{name}");
            } else {
                assert_eq!(on_device, got.len(), "{name} by {way:?}: {told:?}");
            }
            drop(got);
            let lent: usize = decoders
                .pools()
                .iter()
                .map(|pool| pool.state().lent + pool.staging().lent)
                .sum();
            assert_eq!(lent, 0, "{name} by {way:?} leaks");
            let left = decoders.counts();
            assert_eq!((left.on_device, left.on_host), (0, 0));
        }
    }
}

#[test]
fn gpu_loops_go_on_with_the_decoder_they_have() {
    let Some(data) = reference_data() else { return };
    for way in ways() {
        let decoders = Decoders::default();
        let file = FileParams {
            decoder: way,
            at_end: AtEnd::Loop,
            ..params(data.join("video/odd/hw2_h264_opengop_b3.mp4"))
        };
        let (once, _) = decoded(
            FileParams {
                at_end: AtEnd::Stop,
                ..file.clone()
            },
            &decoders,
            usize::MAX,
        );
        let (thrice, told) = decoded(file, &decoders, 3 * once.len());
        assert_eq!(told, [""; 0], "{way:?}");
        for (index, (_, picture)) in thrice.iter().enumerate() {
            let wanted = &once[index % once.len()].1;
            assert!(samples(picture) == samples(wanted), "{way:?}: picture {index} differs");
        }
    }
}

/// A file that begins with an IDR picture is not drained where it begins again, and gives the same.
#[test]
fn gpu_loops_run_on_from_an_idr_picture() {
    let Some(data) = reference_data() else { return };
    for way in ways() {
        let decoders = Decoders::default();
        let names = Arc::new(Names::default());
        let setup = SourceSetup {
            decoders: decoders.clone(),
            ..SourceSetup::new(Path::new("/"), &names, CameraId(0))
        };
        let file = FileParams {
            decoder: way,
            ..params(data.join("video/intel_car-detection.mp4"))
        };
        let (once, _) = decoded(file.clone(), &decoders, usize::MAX);
        let at_end = AtEnd::Loop;
        let mut source = FileSource::open(FileParams { at_end, ..file }, &setup).unwrap();
        let (mut count, mut before) = (0, -1);
        while count < 2 * once.len() + 10 {
            let Next::Item(item) = source.next().unwrap() else {
                panic!("{way:?}: nothing is wrong with it");
            };
            assert_eq!(
                source.phase,
                Phase::Reading,
                "{way:?}: it was drained after {count} pictures"
            );
            let frames = Frame::from_batch(&item.batch).unwrap();
            let (time, wanted) = &once[count % once.len()];
            assert!(
                samples(&frames[0].picture) == samples(wanted),
                "{way:?}: picture {count} differs"
            );
            assert_eq!(item.frame, count as u64);
            assert!(item.media_time > before, "{way:?}: {count}");
            if count < once.len() {
                assert_eq!(item.media_time, *time);
            }
            // The pictures that ride on a frame are its own pass's.
            let packets = frames[0].packets.iter().count();
            assert!(packets <= 8, "{way:?}: {packets} packets on picture {count}");
            before = item.media_time;
            count += 1;
        }
        let last = once.last().unwrap().0 + (once[1].0 - once[0].0);
        assert!((before - 2 * last).abs() < 20 * (once[1].0 - once[0].0), "{way:?}");
    }
}

/// Key pictures of H.264 alone would open the chip's session anew for each, so `auto` leaves them to the processor.
#[test]
fn gpu_key_pictures_alone_are_the_processors() {
    let Some(data) = reference_data() else { return };
    let there = ways().contains(&DecoderChoice::Nvdec);
    for (clip, which, on_device) in [
        ("hw2_h264_opengop_b3.mp4", DecodeWhich::Keyframes, false),
        ("hw2_h264_opengop_b3.mp4", DecodeWhich::All, there),
        ("hw2_h265_opengop_b3.mp4", DecodeWhich::Keyframes, there),
    ] {
        let decoders = Decoders::default();
        let file = FileParams {
            decoder: DecoderChoice::Auto,
            decode: which,
            ..params(data.join("video/odd").join(clip))
        };
        let (pictures, told) = decoded(file, &decoders, usize::MAX);
        assert!(pictures.len() >= 2 && told.is_empty(), "{clip}: {told:?}");
        assert_eq!(!decoders.pools().is_empty(), on_device, "{clip} {which:?}");
    }
}

#[test]
fn a_device_that_is_not_there_is_told_once_and_done_without() {
    let Some(data) = reference_data() else { return };
    if ways().contains(&DecoderChoice::Nvdec) {
        return;
    }
    let clip = data.join("video/odd/hw2_h264_opengop_b3.mp4");
    for (decoder, notices) in [
        (DecoderChoice::Auto, 0),
        (DecoderChoice::Nvdec, 1),
        (DecoderChoice::Cpu, 0),
    ] {
        let decoders = Decoders::default();
        let file = FileParams {
            decoder,
            ..params(clip.clone())
        };
        let (pictures, told) = decoded(file, &decoders, 5);
        assert_eq!((pictures.len(), told.len()), (5, notices), "{decoder:?}: {told:?}");
        assert!(
            told.iter()
                .all(|cause| cause.contains("NVDEC") && cause.contains("libcuda")),
            "{told:?}"
        );
        let counts = DecoderCounts {
            spilled: notices as u64,
            ..DecoderCounts::default()
        };
        assert_eq!(decoders.counts(), counts, "{decoder:?}");
    }
}
