//! What is published over HLS, by another's eyes: ffprobe reads every segment behind its header. Without ffprobe this says
//! so and passes.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::client::{download, get, until};
use crate::served::{Served, settings};
use crate::support::Folder;

const WALL: &str = r#"
cameras junction { synthetic north fps=10 size="320x180"; }
flow wall from=junction {
    draw clock=utc
    encode h264 preset=ultrafast keyframe-every="500ms" as=video
    publish { hls "/live/{camera}" segment="500ms" window=20; }
}
"#;

/// How many segments are looked at.
const SEGMENTS: usize = 8;

/// A segment as the playlist has it.
#[derive(Debug)]
struct Listed {
    header: String,
    name: String,
    seconds: f64,
    /// Whether it goes on where the one before it ends.
    continues: bool,
}

fn listed(playlist: &str) -> Vec<Listed> {
    let (mut header, mut seconds, mut continues, mut found) = (String::new(), 0.0, true, Vec::new());
    for line in playlist.lines() {
        if let Some(uri) = line.strip_prefix("#EXT-X-MAP:URI=") {
            uri.trim_matches('"').clone_into(&mut header);
        } else if let Some(span) = line.strip_prefix("#EXTINF:") {
            seconds = span.trim_end_matches(',').parse().unwrap();
        } else if line == "#EXT-X-DISCONTINUITY" {
            continues = false;
        } else if !line.starts_with('#') {
            found.push(Listed {
                header: header.clone(),
                name: line.to_owned(),
                seconds,
                continues: std::mem::replace(&mut continues, true),
            });
        }
    }
    found
}

/// What ffprobe finds in a file: pictures that it decoded, and of each packet when it is shown and its flags.
fn probed(file: &std::path::Path) -> (usize, Vec<(f64, String)>) {
    let output = Command::new("ffprobe")
        .args(["-v", "warning", "-select_streams", "v", "-count_frames", "-of", "json"])
        // Not their durations: ffprobe tells those of the stream's nominal rate.
        .args(["-show_entries", "stream=nb_read_frames:packet=pts_time,flags"])
        .arg(file)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |value: &Value| value.as_str().expect("a number").parse::<f64>().unwrap();
    let packets = found["packets"].as_array().unwrap().iter();
    let packet = |packet: &Value| {
        (
            number(&packet["pts_time"]),
            packet["flags"].as_str().unwrap().to_owned(),
        )
    };
    (
        number(&found["streams"][0]["nb_read_frames"]) as usize,
        packets.map(packet).collect(),
    )
}

#[test]
fn ffprobe_decodes_every_segment_and_finds_them_to_join() {
    let found = Command::new("ffprobe").arg("-version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        println!("skipped: no ffprobe");
        return;
    }
    let served = Served::of(WALL, settings());
    let segments = until("segments", || {
        let playlist = get(served.address, "/live/north/index.m3u8").body;
        let segments = listed(&playlist);
        (segments.len() >= SEGMENTS).then_some(segments)
    });
    let folder = Folder::new();
    let mut end = None;
    for segment in &segments {
        let part = |name: &str| download(served.address, &format!("/live/north/{name}"));
        let file = folder.write(&segment.name, [part(&segment.header), part(&segment.name)].concat());
        let (pictures, packets) = probed(&file);
        assert_eq!(pictures, packets.len(), "every picture decodes: {segment:?}");
        let (first, flags) = &packets[0];
        assert!(flags.starts_with('K'), "{segment:?} begins with {flags}");
        let before = end.filter(|_| segment.continues);
        assert!(
            before.is_none_or(|end: f64| (end - first).abs() < 1e-3),
            "{segment:?}: {before:?}, then {first}"
        );
        // Pictures are 0.1 s apart, or a multiple of it where a machine with too much to do left some out.
        let times = packets.iter().map(|(time, _)| *time).chain([first + segment.seconds]);
        let times: Vec<f64> = times.collect();
        for pair in times.windows(2) {
            let steps = (pair[1] - pair[0]) / 0.1;
            assert!(
                steps > 0.5 && (steps - steps.round()).abs() < 0.02,
                "{segment:?}: {times:?}"
            );
        }
        end = times.last().copied();
    }
    assert!(segments.iter().filter(|segment| segment.continues).count() >= SEGMENTS - 1);
}
