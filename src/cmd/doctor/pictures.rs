//! FFmpeg: what recordings can be read.

use flowrun_operators::decode::probe::{Codec, Libraries, libraries};

use super::Finding;

/// Without these most cameras' recordings cannot be read.
const NEEDED: [&str; 2] = ["h264", "hevc"];

/// Examines the libraries that this binary is linked to.
pub fn examine(findings: &mut Vec<Finding>) -> Libraries {
    let ffmpeg = libraries();
    let versions: Vec<String> = ffmpeg
        .versions
        .iter()
        .map(|library| format!("{} {}", library.name, library.version))
        .collect();
    let found = format!("{} ({}): {}", ffmpeg.release, ffmpeg.licence, versions.join(", "));
    findings.push(Finding::ok("FFmpeg", found));
    let lacking: Vec<&str> = NEEDED
        .into_iter()
        .filter(|name| {
            !ffmpeg
                .decoders
                .iter()
                .any(|codec| codec.name == *name && codec.available)
        })
        .collect();
    findings.push(if lacking.is_empty() {
        Finding::ok("decoders", names(&ffmpeg.decoders))
    } else {
        Finding::missing(
            "decoders",
            format!("this FFmpeg was built without {}", lacking.join(" and ")),
            "apt-get install --yes libavcodec-extra",
        )
    });
    findings.push(Finding::ok("encoders", names(&ffmpeg.encoders)));
    ffmpeg
}

fn names(codecs: &[Codec]) -> String {
    let available: Vec<&str> = codecs
        .iter()
        .filter(|codec| codec.available)
        .map(|codec| codec.name)
        .collect();
    match available.is_empty() {
        true => "none".into(),
        false => available.join(" "),
    }
}
