//! A media playlist: RFC 8216, and of its second edition (draft-pantos-hls-rfc8216bis) what low latency needs.

use std::fmt::Write;

use super::cmaf::TIMESCALE;
use super::hls_ring::{CUSHION_PARTS, Part, Ring, Segment};
use crate::utc::Utc;

/// A client that does not know parts stays so many segments behind.
const HOLD_BACK_SEGMENTS: u64 = 3;
/// Parts are listed of segments that end within so many of the longest before the newest.
const PARTS_WITHIN_SEGMENTS: u64 = 3;

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / f64::from(TIMESCALE)
}

/// The name of a segment's resource.
pub(super) fn segment_name(number: u64) -> String {
    format!("seg-{number}.m4s")
}

/// The name of a part's resource.
pub(super) fn part_name(segment: u64, part: usize) -> String {
    format!("seg-{segment}.{part}.m4s")
}

/// The name of a header's resource.
pub(super) fn init_name(number: u64) -> String {
    format!("init-{number}.mp4")
}

fn parts(text: &mut String, segment: &Segment) -> std::fmt::Result {
    for (
        index,
        Part {
            duration, independent, ..
        },
    ) in segment.parts.iter().enumerate()
    {
        let (name, span) = (part_name(segment.number, index), seconds(*duration));
        write!(text, "#EXT-X-PART:DURATION={span:.5},URI=\"{name}\"")?;
        text.push_str(if *independent { ",INDEPENDENT=YES\n" } else { "\n" });
    }
    Ok(())
}

/// The playlist of what there is now.
pub(super) fn playlist(ring: &Ring) -> String {
    let mut text = String::with_capacity(4_096);
    write_playlist(ring, &mut text).expect("a text takes what is written to it");
    text
}

fn write_playlist(ring: &Ring, text: &mut String) -> std::fmt::Result {
    let (longest_part, longest_segment) = ring.longest();
    // Rounded durations may not exceed it; a longer segment than any before is told as it is.
    let target = seconds(longest_segment).round().max(1.0);
    text.push_str("#EXTM3U\n#EXT-X-VERSION:9\n");
    writeln!(text, "#EXT-X-TARGETDURATION:{target}")?;
    writeln!(
        text,
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,HOLD-BACK={:.3},PART-HOLD-BACK={:.3}",
        target * HOLD_BACK_SEGMENTS as f64,
        seconds(longest_part * CUSHION_PARTS as u64)
    )?;
    writeln!(text, "#EXT-X-PART-INF:PART-TARGET={:.5}", seconds(longest_part))?;
    text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    let segments: Vec<&Segment> = ring
        .listed()
        .chain(ring.open().filter(|open| !open.parts.is_empty()))
        .collect();
    let first = segments.first();
    writeln!(text, "#EXT-X-MEDIA-SEQUENCE:{}", first.map_or(0, |first| first.number))?;
    writeln!(
        text,
        "#EXT-X-DISCONTINUITY-SEQUENCE:{}",
        first.map_or(0, |first| first.stretch)
    )?;
    // From the end: the parts of how much later media follow each segment.
    let mut behind: Vec<u64> = segments.iter().map(|segment| segment.duration).collect();
    let mut later = 0;
    for duration in behind.iter_mut().rev() {
        let own = *duration;
        *duration = later;
        later += own;
    }
    let (mut init, mut stretch) = (None, first.map(|first| first.stretch));
    for (segment, behind) in segments.iter().zip(behind) {
        if stretch != Some(segment.stretch) {
            text.push_str("#EXT-X-DISCONTINUITY\n");
            stretch = Some(segment.stretch);
        }
        if init != Some(segment.init.number) {
            init = Some(segment.init.number);
            writeln!(text, "#EXT-X-MAP:URI=\"{}\"", init_name(segment.init.number))?;
        }
        writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", Utc::from(segment.begins).rfc3339())?;
        if behind <= PARTS_WITHIN_SEGMENTS * longest_segment && !ring.has_ended() {
            parts(text, segment)?;
        }
        if segment.whole.is_some() {
            writeln!(
                text,
                "#EXTINF:{:.5},\n{}",
                seconds(segment.duration),
                segment_name(segment.number)
            )?;
        }
    }
    match ring.expected().filter(|_| !ring.has_ended()) {
        Some(next) => writeln!(
            text,
            "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}\"",
            part_name(next.segment, next.part)
        ),
        None => {
            text.push_str("#EXT-X-ENDLIST\n");
            Ok(())
        }
    }
}
