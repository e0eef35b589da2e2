//! What viewers get, asked for as they ask: requests to a camera's resource while packets come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flowrun_dsl::value::Value;
use flowrun_engine::demand::Demand;
use flowrun_engine::packet::{Codec, CodecConfig, Packet};
use flowrun_engine::rows::Size;
use flowrun_engine::site::{About, Body, Request, Resource};
use futures_util::StreamExt;
use http::{HeaderMap, Response, StatusCode};
use mp4_atom::{Any, ReadFrom};

use super::cmaf::{self, Sample, Step, TIMESCALE, Timeline};
use super::hls_channel::Channel;
use super::hls_resource::HlsResource;
use super::hls_ring::Cut;
use crate::testing::video::{decoded, packets};

const CUT: Cut = Cut {
    segment: 2 * TIMESCALE as u64,
    part: TIMESCALE as u64 / 5,
    window: 6,
    memory: 32 << 20,
};

/// A channel whose clock the test moves.
struct Live {
    channel: Arc<Channel>,
    demand: Demand,
    clock_ms: Arc<AtomicU64>,
}

impl Live {
    /// With a viewer from the start.
    fn new(cut: Cut) -> Self {
        let live = Live::unwatched(cut);
        live.channel.ask();
        live
    }

    fn unwatched(cut: Cut) -> Self {
        let (demand, clock_ms) = (Demand::default(), Arc::new(AtomicU64::new(0)));
        let clock = clock_ms.clone();
        let clock = Arc::new(move || Duration::from_millis(clock.load(Ordering::Relaxed)));
        Live {
            channel: Arc::new(Channel::new(cut, vec![demand.clone()], clock)),
            demand,
            clock_ms,
        }
    }

    fn wait(&self, ms: u64) {
        self.clock_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn push(&self, packets: &[Packet]) {
        packets
            .iter()
            .for_each(|packet| self.channel.push(std::slice::from_ref(packet)).unwrap());
    }

    async fn get(&self, path: &str) -> Response<Body> {
        self.get_with(path, HeaderMap::new()).await
    }

    async fn get_with(&self, path: &str, headers: HeaderMap) -> Response<Body> {
        let (rest, query) = path
            .split_once('?')
            .map_or((path, None), |(rest, query)| (rest, Some(query)));
        let request = Request {
            rest: rest.into(),
            query: query.map(Into::into),
            headers,
        };
        let about = About::default();
        let channel = self.channel.clone();
        HlsResource { channel, about }.get(request).await
    }

    async fn bytes(&self, path: &str) -> Bytes {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        whole(response)
    }

    async fn text(&self, path: &str) -> String {
        String::from_utf8(self.bytes(path).await.to_vec()).unwrap()
    }
}

fn whole(response: Response<Body>) -> Bytes {
    match response.into_body() {
        Body::Whole(bytes) => bytes,
        Body::Pieces(_) => panic!("a whole body was expected"),
    }
}

/// The lines of a playlist that are not tags.
fn names(playlist: &str) -> Vec<&str> {
    playlist.lines().filter(|line| !line.starts_with('#')).collect()
}

/// The quoted value of an attribute in each line with this tag.
fn uris<'p>(playlist: &'p str, tag: &str) -> Vec<&'p str> {
    let lines = playlist.lines().filter(|line| line.starts_with(tag));
    lines
        .filter_map(|line| line.split_once("URI=\"")?.1.split('"').next())
        .collect()
}

fn tag<'p>(playlist: &'p str, name: &str) -> &'p str {
    let line = playlist.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{playlist}"))
}

/// Begin and end in media time of each fragment.
fn spans(mut bytes: &[u8]) -> Vec<(u64, u64)> {
    let mut spans = Vec::new();
    while let Ok(Some(atom)) = Option::<Any>::read_from(&mut bytes) {
        if let Any::Moof(moof) = atom {
            let begin = moof.traf[0].tfdt.as_ref().unwrap().base_media_decode_time;
            let samples = moof.traf[0].trun.iter().flat_map(|run| run.samples.iter());
            let length: u64 = samples.map(|sample| u64::from(sample.duration.unwrap())).sum();
            spans.push((begin, begin + length));
        }
    }
    spans
}

#[tokio::test]
async fn segments_begin_with_keyframes_and_join_without_a_gap() {
    let live = Live::new(CUT);
    let packets = packets("320x180", 95, 10.0, &[]);
    live.push(&packets);
    let playlist = live.text("index.m3u8").await;
    let segments = names(&playlist);
    assert_eq!(segments.len(), 4, "{playlist}");
    assert_eq!(tag(&playlist, "#EXT-X-TARGETDURATION:"), "2");
    assert_eq!(playlist.matches("#EXTINF:2.00000,").count(), 4);
    assert_eq!(playlist.matches("EXT-X-DISCONTINUITY\n").count(), 0);
    assert_eq!(tag(&playlist, "#EXT-X-PROGRAM-DATE-TIME:"), "1970-01-01T00:00:00.000Z");
    let inits = uris(&playlist, "#EXT-X-MAP");
    assert_eq!(inits.len(), 1);
    let init = live.bytes(inits[0]).await;
    let mut joined = init.to_vec();
    for name in segments {
        let segment = live.bytes(name).await;
        let alone = [&init[..], &segment[..]].concat();
        assert_eq!(decoded(&alone).len(), 20, "{name} by itself");
        joined.extend_from_slice(&segment);
    }
    assert_eq!(decoded(&joined).len(), 80);
    let spans = spans(&joined);
    assert_eq!(spans.len(), 40, "parts of two pictures");
    assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0), "{spans:?}");
}

#[tokio::test]
async fn parts_are_what_segments_are_made_of() {
    let live = Live::new(CUT);
    live.push(&packets("320x180", 55, 10.0, &[]));
    let playlist = live.text("index.m3u8").await;
    assert_eq!(tag(&playlist, "#EXT-X-PART-INF:"), "PART-TARGET=0.20000");
    assert!(tag(&playlist, "#EXT-X-SERVER-CONTROL:").contains("CAN-BLOCK-RELOAD=YES"));
    let parts = uris(&playlist, "#EXT-X-PART:");
    // Two whole segments, and of the open one all but what may still grow.
    assert_eq!(parts.len(), 10 + 10 + 7, "{playlist}");
    assert_eq!(playlist.matches("INDEPENDENT=YES").count(), 3);
    assert_eq!(uris(&playlist, "#EXT-X-PRELOAD-HINT"), ["seg-2.7.m4s"]);
    for (number, segment) in names(&playlist).into_iter().enumerate() {
        let mut joined = Vec::new();
        for part in &parts[10 * number..10 * number + 10] {
            joined.extend_from_slice(&live.bytes(part).await);
        }
        assert!(joined == live.bytes(segment).await, "{segment}");
    }
}

#[tokio::test]
async fn a_request_waits_for_what_was_promised() {
    let live = Live::new(CUT);
    let packets = packets("320x180", 60, 10.0, &[]);
    live.push(&packets[..41]);
    // Three things that are not there yet, asked for at once, while pictures come.
    let coming = async {
        for packet in &packets[41..] {
            tokio::task::yield_now().await;
            live.push(std::slice::from_ref(packet));
        }
    };
    let (part, reload, next, ()) = tokio::join!(
        live.bytes("seg-2.0.m4s"),
        live.text("index.m3u8?_HLS_msn=2&_HLS_part=3"),
        live.text("index.m3u8?_HLS_msn=2&_HLS_part=8"),
        coming
    );
    assert_eq!(spans(&part).len(), 1);
    assert_eq!(uris(&reload, "#EXT-X-PART:").last(), Some(&"seg-2.3.m4s"));
    assert_eq!(uris(&next, "#EXT-X-PART:").last(), Some(&"seg-2.8.m4s"));
    // At the end of a segment the hint is the next one's first part, and a part too many means that one.
    assert_eq!(uris(&next, "#EXT-X-PRELOAD-HINT"), ["seg-2.9.m4s"]);
    live.channel.end();
    let ended = live.text("index.m3u8?_HLS_msn=2&_HLS_part=10").await;
    assert!(ended.ends_with("#EXT-X-ENDLIST\n"), "{ended}");
    assert_eq!(live.get("seg-3.0.m4s").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_last_part_of_a_segment_is_followed_by_the_next_segments_first() {
    let live = Live::new(CUT);
    let packets = packets("320x180", 41, 10.0, &[]);
    live.push(&packets);
    let playlist = live.text("index.m3u8").await;
    // The second segment is as long as the first, though not closed before its next keyframe has a duration.
    assert_eq!(names(&playlist), ["seg-0.m4s"]);
    assert_eq!(uris(&playlist, "#EXT-X-PART:").last(), Some(&"seg-1.9.m4s"));
    assert_eq!(uris(&playlist, "#EXT-X-PRELOAD-HINT"), ["seg-2.0.m4s"]);
}

#[tokio::test]
async fn the_first_viewer_starts_the_pictures_and_the_last_one_stops_them() {
    let live = Live::unwatched(CUT);
    assert!(!live.demand.wanted());
    let packets = packets("320x180", 60, 10.0, &[]);
    let first = async {
        while !live.demand.wanted() {
            tokio::task::yield_now().await;
        }
        live.push(&packets[..30]);
    };
    let (playlist, ()) = tokio::join!(live.text("index.m3u8"), first);
    assert_eq!(names(&playlist).len(), 1);
    live.wait(9_000);
    live.push(&packets[30..31]);
    assert!(live.demand.wanted());
    live.wait(2_000);
    live.push(&packets[31..32]);
    assert!(!live.demand.wanted(), "nobody asked for more than ten seconds");
    assert_eq!(live.channel.lock().ring.listed().count(), 0, "and the memory is free");
    // Who comes later sees what is then, not what was.
    live.wait(60_000);
    let mut later: Vec<Packet> = packets[..30].to_vec();
    for packet in &mut later {
        packet.presented += 90_000_000_000;
        packet.decoded += 90_000_000_000;
        packet.sequence += 1_000;
    }
    let again = async {
        while !live.demand.wanted() {
            tokio::task::yield_now().await;
        }
        live.push(&later);
    };
    let (playlist, ()) = tokio::join!(live.text("index.m3u8"), again);
    assert_eq!(tag(&playlist, "#EXT-X-PROGRAM-DATE-TIME:"), "1970-01-01T00:01:30.000Z");
    assert_eq!(tag(&playlist, "#EXT-X-DISCONTINUITY-SEQUENCE:"), "2");
    assert!(names(&playlist)[0] > "seg-1.m4s", "{playlist}");
}

#[tokio::test]
async fn a_browsers_own_player_gets_a_first_playlist_of_three_segments() {
    let live = Live::new(CUT);
    let packets = packets("320x180", 75, 10.0, &[]);
    live.push(&packets[..35]);
    let mut headers = HeaderMap::new();
    headers.insert("sec-fetch-dest", http::HeaderValue::from_static("video"));
    let coming = async {
        for packet in &packets[35..] {
            tokio::task::yield_now().await;
            live.push(std::slice::from_ref(packet));
        }
    };
    let (response, ()) = tokio::join!(live.get_with("index.m3u8", headers), coming);
    let playlist = String::from_utf8(whole(response).to_vec()).unwrap();
    assert_eq!(names(&playlist).len(), 3, "{playlist}");
}

#[tokio::test]
async fn another_description_is_a_discontinuity_with_a_header_of_its_own() {
    let live = Live::new(CUT);
    let small = packets("320x180", 41, 10.0, &[]);
    let mut large = packets("480x270", 41, 10.0, &[]);
    for packet in &mut large {
        packet.presented += 4_100_000_000;
        packet.decoded += 4_100_000_000;
        packet.sequence += 41;
    }
    live.push(&small);
    live.push(&large);
    let playlist = live.text("index.m3u8").await;
    assert_eq!(playlist.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{playlist}");
    let inits = uris(&playlist, "#EXT-X-MAP");
    assert_eq!(inits.len(), 2);
    let from = playlist.find("#EXT-X-DISCONTINUITY\n").unwrap();
    let after = names(&playlist[from..]);
    let second = [&live.bytes(inits[1]).await[..], &live.bytes(after[0]).await[..]].concat();
    assert_eq!(decoded(&second)[0].1.layout().size.width, 480);
    let mut all = Vec::new();
    for name in names(&playlist) {
        all.extend(spans(&live.bytes(name).await));
    }
    assert!(
        all.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "media time never goes back: {all:?}"
    );
}

/// The pieces of a stream that are there now.
async fn pieces(body: &mut Body) -> Vec<u8> {
    let Body::Pieces(stream) = body else {
        panic!("a stream was expected")
    };
    let mut bytes = Vec::new();
    while let Ok(Some(piece)) = tokio::time::timeout(Duration::from_millis(50), stream.next()).await {
        bytes.extend_from_slice(&piece);
    }
    bytes
}

#[tokio::test]
async fn a_stream_begins_at_the_newest_keyframe_and_goes_on() {
    let live = Live::new(CUT);
    let packets = packets("320x180", 100, 10.0, &[]);
    live.push(&packets[..45]);
    let response = live.get("stream.mp4").await;
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("video/mp4; codecs=\"avc1.64"), "{kind}");
    assert_eq!(response.headers()["flowrun-origin-ns"], "0");
    let mut body = response.into_body();
    let mut all = pieces(&mut body).await;
    assert_eq!(spans(&all)[0].0, 4 * u64::from(TIMESCALE));
    live.push(&packets[45..80]);
    all.extend(pieces(&mut body).await);
    // A stream holds the demand whatever the clock says.
    live.wait(60_000);
    live.push(&packets[80..82]);
    assert!(live.demand.wanted());
    all.extend(pieces(&mut body).await);
    let spans = spans(&all);
    assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0));
    assert_eq!(decoded(&all).len(), 40);
    drop(body);
    live.wait(11_000);
    live.push(&packets[82..83]);
    assert!(!live.demand.wanted());
}

#[tokio::test]
async fn a_stream_ends_with_its_timeline_or_when_it_is_read_too_slowly() {
    let live = Live::new(CUT);
    let before = packets("320x180", 30, 10.0, &[]);
    live.push(&before);
    let mut body = live.get("stream.mp4").await.into_body();
    let Body::Pieces(stream) = &mut body else { panic!() };
    stream.next().await.expect("the header");
    let mut after = packets("480x270", 30, 10.0, &[]);
    after.iter_mut().for_each(|packet| packet.sequence += 30);
    live.push(&after);
    let mut seen = 0;
    while stream.next().await.is_some() {
        seen += 1;
    }
    assert_eq!(seen, 5, "what is left of the first: a second of pictures");
    let slow = Live::new(CUT);
    let packets = packets("320x180", 80, 10.0, &[]);
    slow.push(&packets[..10]);
    let mut body = slow.get("stream.mp4").await.into_body();
    let Body::Pieces(stream) = &mut body else { panic!() };
    stream.next().await.expect("the header");
    slow.push(&packets[10..]);
    assert!(stream.next().await.is_none(), "eight seconds behind");
}

/// Packets that no decoder reads: of a size, a keyframe every so many.
fn heavy(count: u64, bytes: usize, keyframe_every: u64) -> Vec<Packet> {
    let config = Arc::new(CodecConfig {
        codec: Codec::H264,
        size: Size { width: 64, height: 64 },
        record: packets("64x64", 1, 10.0, &[])[0].config.record.clone(),
    });
    let packet = |sequence: u64| Packet {
        config: config.clone(),
        data: Bytes::from(vec![0; bytes]),
        presented: sequence as i64 * 100_000_000,
        decoded: sequence as i64 * 100_000_000,
        keyframe: sequence.is_multiple_of(keyframe_every),
        sequence,
    };
    (0..count).map(packet).collect()
}

#[tokio::test]
async fn memory_is_bounded_whatever_comes() {
    let cut = Cut { memory: 1 << 20, ..CUT };
    let held = |live: &Live| {
        let state = live.channel.lock();
        let all = state.ring.listed().chain(state.ring.open());
        all.flat_map(|segment| segment.parts.iter())
            .map(|part| part.bytes.len())
            .sum::<usize>()
    };
    let many = Live::new(cut);
    for packet in heavy(2_000, 10_000, 20) {
        many.push(&[packet]);
        assert!(held(&many) <= (1 << 20) + (1 << 19));
    }
    let playlist = many.text("index.m3u8").await;
    assert!((2..=6).contains(&names(&playlist).len()), "{playlist}");
    // A group of pictures without an end is cut off, and its next keyframe begins anew.
    let endless = Live::new(cut);
    for packet in heavy(3_000, 10_000, 1_000) {
        endless.push(&[packet]);
        assert!(held(&endless) <= (1 << 20) + (1 << 19));
    }
    let playlist = endless.text("index.m3u8").await;
    assert_eq!(
        playlist.matches("#EXT-X-DISCONTINUITY\n").count(),
        names(&playlist).len() - 1,
        "{playlist}"
    );
}

#[tokio::test]
async fn nonsense_is_refused_and_known_things_are_not_sent_again() {
    let live = Live::new(CUT);
    live.push(&packets("320x180", 45, 10.0, &[]));
    for (path, status) in [
        ("", StatusCode::NOT_FOUND),
        ("index.html", StatusCode::NOT_FOUND),
        ("seg-77.m4s", StatusCode::NOT_FOUND),
        ("seg-0.77.m4s", StatusCode::NOT_FOUND),
        ("init-9.mp4", StatusCode::NOT_FOUND),
        ("index.m3u8?_HLS_msn=99", StatusCode::BAD_REQUEST),
        ("index.m3u8?_HLS_part=1", StatusCode::BAD_REQUEST),
        ("index.m3u8?_HLS_msn=x", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(live.get(path).await.status(), status, "{path}");
    }
    for path in ["index.m3u8", "seg-0.m4s", "init-0.mp4", "seg-1.2.m4s"] {
        let tag = live.get(path).await.headers()["etag"].clone();
        let mut headers = HeaderMap::new();
        headers.insert("if-none-match", tag);
        let again = live.get_with(path, headers).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
        assert!(whole(again).is_empty());
    }
    assert_eq!(
        live.get("seg-0.m4s").await.headers()["cache-control"],
        "max-age=600, immutable"
    );
    assert_eq!(live.get("index.m3u8").await.headers()["cache-control"], "no-cache");
}

/// Samples of packets at these times in milliseconds: (sequence, time, keyframe).
fn placed(packets: &[(u64, i64, bool)]) -> Vec<(usize, Sample)> {
    let config = heavy(1, 1, 1)[0].config.clone();
    let (mut timeline, mut steps) = (Timeline::default(), Vec::new());
    for (sequence, ms, keyframe) in packets {
        let packet = Packet {
            config: config.clone(),
            data: Bytes::new(),
            presented: ms * 1_000_000,
            decoded: ms * 1_000_000,
            keyframe: *keyframe,
            sequence: *sequence,
        };
        timeline.push(&packet, &mut steps);
    }
    timeline.finish(&mut steps);
    let mut stretch = 0;
    let sample = |step| match step {
        Step::Begin(_) => {
            stretch += 1;
            None
        }
        Step::Sample(sample) => Some((stretch, sample)),
    };
    steps.into_iter().filter_map(sample).collect()
}

#[test]
fn media_time_is_event_time_and_never_goes_back() {
    let times = |packets: &[(u64, i64, bool)]| {
        let samples = placed(packets).into_iter();
        samples
            .map(|(stretch, sample)| (stretch, sample.decode / 90, sample.duration / 90))
            .collect::<Vec<_>>()
    };
    // Variable rate: durations are the times between pictures.
    assert_eq!(
        times(&[(0, 500, true), (1, 540, false), (2, 700, false)]),
        [(1, 0, 40), (1, 40, 160), (1, 200, 160)]
    );
    // What was lost lengthens the picture before it; nothing is shown that cannot be decoded.
    assert_eq!(
        times(&[(0, 0, true), (2, 80, false), (3, 120, false), (4, 160, true)]),
        [(1, 0, 160), (1, 160, 160)]
    );
    // A pause ends a stretch at the next keyframe; within a group of pictures it is a long picture.
    assert_eq!(
        times(&[(0, 0, true), (1, 40, false), (2, 9_000, true)])[2],
        (2, 9_000, 40)
    );
    assert_eq!(
        times(&[(0, 0, true), (1, 40, false), (2, 9_000, false)])[1],
        (1, 40, 8_960)
    );
    // A slow camera is not paused.
    assert_eq!(
        times(&[(0, 0, true), (1, 1_500, true), (2, 4_000, true)]),
        [(1, 0, 1_500), (1, 1_500, 2_500), (1, 4_000, 2_500)]
    );
    // A clock that was set back begins a stretch behind the last; one that trembles does not.
    assert_eq!(
        times(&[
            (0, 5_000, true),
            (1, 5_100, false),
            (2, 1_000, false),
            (3, 1_100, true),
            (4, 1_200, false)
        ]),
        [(1, 0, 100), (1, 100, 100), (2, 200, 100), (2, 300, 100)]
    );
    let trembling = placed(&[(0, 100, true), (1, 90, false), (2, 300, false)]);
    let decodes: Vec<u64> = trembling.iter().map(|(_, sample)| sample.decode).collect();
    assert_eq!(decodes, [0, 1, 18_000]);
    assert!(
        placed(&[(0, 0, false), (1, 40, false)]).is_empty(),
        "no keyframe, no picture"
    );
}

#[test]
fn reordered_pictures_keep_their_time_of_showing() {
    let config = heavy(1, 1, 1)[0].config.clone();
    let packet = |sequence, decoded: i64, presented: i64| Packet {
        config: config.clone(),
        data: Bytes::from_static(b"x"),
        presented: presented * 1_000_000,
        decoded: decoded * 1_000_000,
        keyframe: sequence == 0,
        sequence,
    };
    let (mut timeline, mut steps) = (Timeline::default(), Vec::new());
    for packet in [
        packet(0, 0, 40),
        packet(1, 40, 160),
        packet(2, 80, 80),
        packet(3, 120, 120),
    ] {
        timeline.push(&packet, &mut steps);
    }
    timeline.finish(&mut steps);
    let samples: Vec<Sample> = steps
        .into_iter()
        .filter_map(|step| match step {
            Step::Sample(sample) => Some(sample),
            Step::Begin(_) => None,
        })
        .collect();
    let offsets: Vec<i32> = samples.iter().map(|sample| sample.offset / 90).collect();
    assert_eq!(offsets, [40, 120, 0, 0]);
    let chunk = cmaf::chunk(1, cmaf::Place::First, &samples);
    assert_eq!(spans(&chunk), [(0, 4 * 3_600)]);
}

#[test]
fn the_header_keeps_the_description_and_names_the_codec() {
    let packet = packets("320x180", 1, 10.0, &[("preset", Value::Text("ultrafast".into()))]).remove(0);
    let init = cmaf::init(&packet.config).unwrap();
    let record = &packet.config.record;
    assert!(
        init.windows(record.len()).any(|window| window == &record[..]),
        "avcC is kept byte for byte"
    );
    assert!(cmaf::codec_string(&packet.config).starts_with("avc1.42c0"));
    let broken = CodecConfig {
        record: Bytes::from_static(&[1, 2]),
        ..(*packet.config).clone()
    };
    assert!(cmaf::init(&broken).unwrap_err().remedy.is_some());
}
