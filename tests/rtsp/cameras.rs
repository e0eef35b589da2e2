//! Cameras in good order.

use flowrun::engine::packet::Codec;

use crate::probe::{Watched, assert_sound};
use crate::server::{PASSWORD, Server, USER};

/// Some seconds of one camera.
fn sees(server: &Server, settings: &str) -> Option<()> {
    let camera = format!("rtsp north \"{}\" {settings}", server.url(0));
    let run = Watched::start(&[camera]);
    run.until("frames", |seen| seen.frames.len() >= 40);
    let (report, seen) = run.stop();
    assert_sound(&seen, 1);
    assert!(seen.frames.iter().all(|frame| frame.size == (160, 120)));
    assert_eq!(report.cameras[0].counts.doubled, 0);
    assert_eq!(report.cameras[0].counts.admitted, report.cameras[0].counts.answered);
    // Bars of full and no light: what was decoded is what was sent.
    assert!((60.0..200.0).contains(&seen.frames.last().unwrap().luma));
    assert!(seen.told().is_empty(), "{:?}", seen.faults);
    Some(())
}

#[test]
fn h264_over_tcp() {
    let Some(server) = Server::start(&[]) else { return };
    sees(&server, "transport=tcp");
}

#[test]
fn h264_over_udp() {
    let Some(server) = Server::start(&[]) else { return };
    sees(&server, "transport=udp");
}

#[test]
fn h265_over_tcp_and_udp() {
    let Some(server) = Server::start(&["--codec", "h265"]) else {
        return;
    };
    sees(&server, "transport=tcp");
    sees(&server, "transport=udp");
}

#[test]
fn a_camera_that_refuses_tcp_is_heard_over_udp() {
    let Some(server) = Server::start(&["--transport", "udp"]) else {
        return;
    };
    sees(&server, "transport=auto");
}

#[test]
fn basic_and_digest() {
    for auth in ["basic", "digest"] {
        let Some(server) = Server::start(&["--auth", auth]) else {
            return;
        };
        sees(&server, &format!("user=env.{USER} password=env.{PASSWORD}"));
    }
}

#[test]
fn fewer_frames_carry_all_packets() {
    let Some(server) = Server::start(&[]) else { return };
    for settings in ["fps=3", "decode=keyframes"] {
        let run = Watched::start(&[format!("rtsp north \"{}\" {settings}", server.url(0))]);
        run.until("frames", |seen| seen.frames.len() >= 4);
        let (_, seen) = run.stop();
        assert_sound(&seen, 1);
        let sequences: Vec<u64> = seen
            .frames
            .iter()
            .flat_map(|frame| frame.packets.iter().map(|packet| packet.sequence))
            .collect();
        assert!(
            sequences.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{settings}: {sequences:?}"
        );
        assert!(seen.frames[2].packets.len() >= 4, "{settings}");
    }
}

#[test]
fn reordered_pictures_come_in_the_order_of_time() {
    let Some(server) = Server::start(&["--bframes", "2"]) else {
        return;
    };
    let run = Watched::start(&[format!("rtsp north \"{}\"", server.url(0))]);
    run.until("frames", |seen| seen.frames.len() >= 60);
    let (_, seen) = run.stop();
    assert_sound(&seen, 1);
    let apart: Vec<i64> = seen.frames[30..]
        .windows(2)
        .map(|pair| pair[1].time - pair[0].time)
        .collect();
    let usual = apart
        .iter()
        .filter(|apart| (**apart - 66_666_667).abs() < 20_000_000)
        .count();
    assert!(usual * 10 >= apart.len() * 8, "{apart:?}");
    let late = |frame: &crate::probe::SeenFrame| frame.packets.iter().any(|packet| packet.decoded < packet.presented);
    assert!(
        seen.frames[30..].iter().any(late),
        "a decoding time before its presentation time"
    );
}

#[test]
fn many_at_once() {
    let Some(server) = Server::start(&["--mounts", "12", "--size", "96x64", "--fps", "10"]) else {
        return;
    };
    let cameras: Vec<String> = (0..12)
        .map(|index| format!("rtsp camera{index} \"{}\"", server.url(index)))
        .collect();
    let run = Watched::start(&cameras);
    run.until("frames of each", |seen| {
        (0..12).all(|camera| seen.of(camera).len() >= 10)
    });
    let (_, seen) = run.stop();
    assert_sound(&seen, 12);
    assert!(seen.told().is_empty(), "{:?}", seen.faults);
}

#[test]
fn a_new_size_is_no_error() {
    let Some(mut server) = Server::start(&[]) else { return };
    let run = Watched::start(&[format!("rtsp north \"{}\"", server.url(0))]);
    run.until("frames", |seen| seen.frames.len() >= 10);
    server.order("size 320x240");
    let wide = |seen: &crate::probe::Seen| seen.frames.iter().filter(|frame| frame.size == (320, 240)).count();
    run.until("wide frames", |seen| wide(seen) >= 20);
    let (_, seen) = run.stop();
    assert_sound(&seen, 1);
    assert_eq!(
        seen.faults_with("now sends H.264 of 320x240; before it was H.264 of 160x120"),
        1,
        "{:?}",
        seen.faults
    );
    let last = seen.frames.last().unwrap();
    let config = &last.packets.last().unwrap().config;
    assert_eq!(
        (config.codec, config.size.width, config.size.height),
        (Codec::H264, 320, 240)
    );
}
