//! Recordings whose camera goes to another device on the way.

use engine::device::{Decoders, DeviceKind, Devices, MoveCause, Seat, Twin};
use engine::frame::Picture;

use super::*;
use crate::testing::video::{decoder_on, device_of, samples};
use crate::testing::{kinds_of_two, reference_data};

/// A file on two devices of a kind.
fn opened(name: &str, decoder: DecoderChoice, at_end: AtEnd) -> Option<(FileSource, Decoders, Vec<Seat>)> {
    let data = reference_data()?;
    let decoders = Decoders::on(Devices::new(&[0, 1], 1));
    let kind = match decoder {
        DecoderChoice::Nvdec => DeviceKind::Cuda,
        _ => DeviceKind::Twin,
    };
    let seats = [0, 1].map(|device| decoders.devices().of_kind(kind).seat(device).unwrap());
    let names = Arc::new(Names::default());
    let setup = SourceSetup {
        decoders: decoders.clone(),
        ..SourceSetup::new(Path::new("/"), &names, CameraId(0))
    };
    let file = FileParams {
        decoder,
        at_end,
        ..params(data.join("video").join(name))
    };
    Some((FileSource::open(file, &setup).unwrap(), decoders, seats.into()))
}

/// The next picture, with what was told before it.
fn next(source: &mut FileSource, told: &mut Vec<String>) -> Option<Arc<Picture>> {
    loop {
        match source.next().unwrap() {
            Next::Item(item) => return Some(Frame::from_batch(&item.batch).unwrap()[0].picture.clone()),
            Next::Fault(cause) => told.push(cause),
            Next::End => return None,
        }
    }
}

#[test]
fn gpu_a_camera_that_moves_is_decoded_on_at_a_keyframe() {
    for way in kinds_of_two().into_iter().map(decoder_on) {
        // The second has no key picture to leave at that no later one looks behind, which its decoder says.
        for (name, notices) in [("intel_car-detection.mp4", 0), ("odd/hw2_h264_opengop_b3.mp4", 1)] {
            let mut wanted = Vec::new();
            let Some((mut source, ..)) = opened(name, DecoderChoice::Cpu, AtEnd::Loop) else {
                return;
            };
            while wanted.len() < 700 {
                wanted.push(next(&mut source, &mut Vec::new()).unwrap());
            }
            let (mut source, decoders, seats) = opened(name, way, AtEnd::Loop).unwrap();
            let (mut told, mut on) = (Vec::new(), Vec::<usize>::new());
            let mut differ = 0;
            for (index, wanted) in wanted.iter().enumerate() {
                // It begins where more memory is free, which others of this process have a say in.
                if index == 20 {
                    seats[on[0]].fail(MoveCause::Full);
                }
                let picture = next(&mut source, &mut told).unwrap();
                on.push(device_of(&picture, &seats).unwrap_or_else(|| panic!("{name} by {way:?}: {index} is on none")));
                differ += usize::from(samples(&picture) != samples(wanted));
            }
            let (from, to) = (on[0], 1 - on[0]);
            assert_eq!(on.last().copied(), Some(to), "{name} by {way:?}: {told:?}");
            assert!(on.is_sorted_by_key(|seat| *seat == to), "{name} by {way:?} goes back");
            assert_eq!(differ, 0, "{name} by {way:?}: {told:?}");
            assert!(told.len() <= notices, "{name} by {way:?}: {told:?}");
            let sessions = [from, to].map(|seat| seats[seat].state().sessions);
            assert_eq!((sessions, decoders.counts().spilled), ([0, 1], 0));
        }
    }
}

#[test]
fn a_twin_that_is_lost_costs_no_picture() {
    let Some((mut source, decoders, seats)) = opened("intel_car-detection.mp4", DecoderChoice::Twin, AtEnd::Stop)
    else {
        return;
    };
    let set = decoders.devices().of_kind(DeviceKind::Twin);
    let lost = set.twin(0, || Twin::new(1)).unwrap();
    let (mut told, mut on) = (Vec::new(), Vec::new());
    while let Some(picture) = next(&mut source, &mut told) {
        on.push(device_of(&picture, &seats));
        if on.len() == 20 {
            lost.lose();
        }
    }
    let (mut alone, ..) = opened("intel_car-detection.mp4", DecoderChoice::Cpu, AtEnd::Stop).unwrap();
    let count = std::iter::from_fn(|| next(&mut alone, &mut Vec::new())).count();
    assert_eq!((on.len(), told), (count, Vec::<String>::new()));
    assert_eq!(
        (on[19], on[20]),
        (Some(0), None),
        "until the next keyframe they stay on the host"
    );
    let state = seats[0].state();
    assert!(
        !state.is_well && state.moves.contains(&(MoveCause::Lost, 1)),
        "{state:?}"
    );
    let last = on.iter().rposition(|on| on.is_none()).unwrap();
    assert!(on[last + 1..].iter().all(|on| *on == Some(1)));
}
