//! Cameras that go away, fall silent or are not there.

use crate::probe::{Seen, Watched, assert_sound};
use crate::server::{Server, USER};

#[test]
fn a_wrong_password_is_told_once() {
    for auth in ["basic", "digest"] {
        let Some(server) = Server::start(&["--auth", auth]) else {
            return;
        };
        let Some(other) = Server::start(&[]) else { return };
        // The name of the package is not its version.
        let wrong = format!("rtsp wrong \"{}\" user=env.{USER} password=env.{USER}", server.url(0));
        let run = Watched::start(&[wrong, format!("rtsp right \"{}\"", other.url(0))]);
        run.until("the fault", |seen| !seen.told().is_empty());
        run.until("the other's frames", |seen| seen.of(1).len() >= 40);
        let (_, seen) = run.stop();
        let told = seen.told();
        let [(camera, cause)] = told.as_slice() else {
            panic!("{:?}", seen.faults)
        };
        assert_eq!(camera, "wrong");
        let place = format!("127.0.0.1:{}", server.port);
        assert_eq!(
            *cause,
            format!(
                "{place} refuses the user name or the password (401); set {USER} and {USER} to what the camera takes, \
                 and start again"
            )
        );
    }
}

#[test]
fn a_password_that_is_asked_for_and_not_given_is_named() {
    let Some(server) = Server::start(&["--auth", "digest"]) else {
        return;
    };
    let run = Watched::start(&[format!("rtsp north \"{}\"", server.url(0))]);
    run.until("the fault", |seen| {
        seen.faults_with("asks for a user name and a password (401); add user=env.NAME") == 1
    });
    run.stop();
}

#[test]
fn a_camera_comes_back_and_the_others_go_on() {
    let Some(first) = Server::start(&[]) else { return };
    let Some(other) = Server::start(&[]) else { return };
    let port = first.port;
    let run = Watched::start(&[
        format!("rtsp north \"{}\"", first.url(0)),
        format!("rtsp south \"{}\"", other.url(0)),
    ]);
    let count = |seen: &Seen, camera: usize| seen.of(camera).len();
    run.until("frames of both", |seen| count(seen, 0) >= 10 && count(seen, 1) >= 10);
    drop(first);
    run.until("the loss", |seen| !seen.told().is_empty());
    let (before, meanwhile) = run.look(|seen| (count(seen, 0), count(seen, 1)));
    run.until("the refusal", |seen| seen.faults_with("refused") == 1);
    run.until("the other's frames", |seen| count(seen, 1) >= meanwhile + 20);
    let again = Server::start_at(port, &[]).expect("it was there before");
    run.until("frames again", |seen| count(seen, 0) >= before + 20);
    drop(again);
    let (_, seen) = run.stop();
    assert_sound(&seen, 2);
    assert_eq!(seen.faults_with("pictures come again, after "), 1, "{:?}", seen.faults);
    assert!(
        seen.faults.iter().all(|(camera, _)| camera == "north"),
        "{:?}",
        seen.faults
    );
    // A new session shows as a gap, for whoever passes packets on.
    let frames = seen.of(0);
    let sequences: Vec<u64> = frames
        .iter()
        .flat_map(|frame| &frame.packets)
        .map(|packet| packet.sequence)
        .collect();
    assert!(sequences.windows(2).any(|pair| pair[1] > pair[0] + 1));
}

#[test]
fn a_silent_camera_is_told_and_asked_again() {
    let Some(mut server) = Server::start(&[]) else { return };
    let run = Watched::start(&[format!("rtsp north \"{}\" silent-after=\"1s\"", server.url(0))]);
    run.until("frames", |seen| seen.frames.len() >= 10);
    server.order("mute");
    run.until("silence", |seen| seen.faults_with("has sent no picture for 1 s") == 1);
    let before = run.look(|seen| seen.frames.len());
    server.order("unmute");
    run.until("frames again", |seen| seen.frames.len() >= before + 10);
    let (_, seen) = run.stop();
    assert_sound(&seen, 1);
    assert_eq!(seen.faults_with("pictures come again"), 1, "{:?}", seen.faults);
}

#[test]
fn a_path_without_a_stream_is_named() {
    let Some(server) = Server::start(&[]) else { return };
    let run = Watched::start(&[format!("rtsp north \"rtsp://127.0.0.1:{}/elsewhere\"", server.port)]);
    run.until("the fault", |seen| {
        seen.faults_with("has no stream at /elsewhere (404)") == 1
    });
    run.stop();
}

#[test]
fn a_camera_that_is_not_there_does_not_keep_a_run_from_starting() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let run = Watched::start(&[format!("rtsp north \"rtsp://127.0.0.1:{port}/main\"")]);
    run.until("the fault", |seen| seen.faults_with("Connection refused") == 1);
    let (report, seen) = run.stop();
    assert_eq!((report.cameras[0].counts.admitted, seen.faults.len()), (0, 1));
}
