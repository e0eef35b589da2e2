//! Streams of events: without gaps for those who come back, and unharmed by those who do not read.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpSocket;

use crate::client::{Events, get, until};
use crate::served::{JUNCTION, Served, settings};

#[test]
fn who_comes_back_has_missed_nothing() {
    let served = Served::junction();
    let path = "/events/tracks/north";
    let mut seen: Vec<_> = Events::open(served.address, path, None).take(20).collect();
    for _ in 0..3 {
        let last = seen.last().unwrap().id;
        // Cut off in the middle of whatever comes: only what was read counts.
        seen.extend(Events::open(served.address, path, Some(last)).take(20));
    }
    assert_eq!(seen.len(), 80);
    for pair in seen.windows(2) {
        assert_eq!(pair[1].id, pair[0].id + 1);
        let frame = |index: usize| pair[index].data["frame"].as_u64().unwrap();
        assert_eq!(frame(1), frame(0) + 1, "a frame is one event");
    }
    for event in &seen {
        assert_eq!(
            (event.event.as_str(), &event.data["camera"]),
            ("frame", &json!("north"))
        );
        assert_eq!(event.data["size"], json!([640, 360]));
        assert!(event.data["rows"].is_array() && event.data["time_ns"].is_i64());
    }
}

#[test]
fn who_comes_back_too_late_is_told_how_much_is_lost() {
    let graph = JUNCTION.replace("group=frame", "group=frame keep=5");
    let served = Served::of(&graph, settings());
    let path = "/events/tracks/north";
    let first = Events::open(served.address, path, None).next().unwrap();
    let gone = first.id + 40;
    let mut follow = Events::open(served.address, path, None);
    until("later events", || follow.next().filter(|event| event.id >= gone));
    let late: Vec<_> = Events::open(served.address, path, Some(first.id)).take(3).collect();
    let lost = late[0].data["count"].as_u64().unwrap();
    assert_eq!(late[0].event, "lost");
    assert!(lost >= 30);
    assert_eq!((late[0].id, late[1].id), (first.id + lost, first.id + lost + 1));
    assert_eq!(late[1].event, "frame");
}

#[test]
fn rows_are_events_of_their_kind() {
    let served = Served::junction();
    let crossing = Events::open(served.address, "/events/crossings?recent=1", None)
        .next()
        .unwrap();
    assert_eq!(crossing.event, "crossing");
    let keys: Vec<_> = crossing.data.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys,
        [
            "camera",
            "class",
            "direction",
            "frame",
            "line",
            "point",
            "time_ns",
            "track"
        ]
    );
    let row = Events::open(served.address, "/events/passed?recent=1", None)
        .next()
        .unwrap();
    assert_eq!(row.event, "row");
    assert!(row.data["complete_through_ns"].is_i64() || row.data["complete_through_ns"].is_null());
}

#[test]
fn streams_end_with_the_run() {
    let mut served = Served::junction();
    let mut events = Events::open(served.address, "/events/tracks/south", None);
    let first = events.next().unwrap();
    let address = served.address;
    let rest = std::thread::spawn(move || events.collect::<Vec<_>>());
    let report = served.end();
    let rest = rest.join().unwrap();
    let last = rest.last().unwrap_or(&first);
    // All that the camera let in came, to its last frame, and then the end.
    assert_eq!(last.id - first.id, rest.len() as u64);
    assert_eq!(report.cameras[1].counts.admitted, report.cameras[1].counts.answered);
    let target = format!("/events/tracks/south?last-event-id={}", last.id);
    assert_eq!(get(address, &target).status, 204);
}

/// Enough to fill what the system holds for a client that does not read.
const BUSY: &str = r#"
cameras junction { synthetic north seed=7 fps=200; synthetic south seed=8 fps=200; }
flow vehicles from=junction { truth; track as=tracks; }
publish { sse "/events/tracks" from=vehicles.tracks group=frame keep=100000; }
"#;

#[test]
fn a_client_that_does_not_read_changes_nobody_else() {
    let mut patient = settings();
    patient.limits.stall = Duration::from_millis(300);
    let served = Served::of(BUSY, patient);
    let address = served.address;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let stalled = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2_048).unwrap();
        let stream = socket.connect(address).await.unwrap();
        let request = format!("GET /events/tracks HTTP/1.1\r\nHost: {address}\r\n\r\n");
        assert_eq!(stream.try_write(request.as_bytes()).unwrap(), request.len());
        stream
    });
    let mut events = Events::open(address, "/events/tracks", None);
    let mut last = events.next().unwrap().id;
    // One connection is this question's, one the reader's: the stalled one is given up.
    until("the end of the stalled client", || {
        for event in events.by_ref().take(20) {
            assert_eq!(
                (event.id, event.event.as_str()),
                (last + 1, "frame"),
                "nobody else loses anything"
            );
            last = event.id;
        }
        let metrics = get(address, "/metrics").body;
        let open = metrics
            .lines()
            .find_map(|line| line.strip_prefix("flowrun_server_connections "));
        (open == Some("2")).then_some(())
    });
    assert!(!served.is_finished());
    drop(stalled);
    let status = get(address, "/api/status").json();
    for camera in status["cameras"].as_array().unwrap() {
        assert_eq!(
            (&camera["doubled"], &camera["shed_backlog"]),
            (&json!(0), &json!(0)),
            "{camera}"
        );
    }
}
