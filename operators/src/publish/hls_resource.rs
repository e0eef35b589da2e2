//! What a camera's path answers: a playlist, headers, segments and parts, and one endless stream.
//!
//! Nothing here blocks: who asks for what is not there yet waits as a future, for a bounded time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flowrun_engine::site::{About, Answering, Body, Request, Resource};
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::cmaf::TIMESCALE;
use super::hls_channel::{Attendance, Channel, State};
use super::hls_playlist::{init_name, part_name, segment_name};
use super::hls_ring::{Ahead, Position};

/// How long a first request may wait for an encoder to start and a segment to be whole.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// How long, in longest segments, a request waits for what a playlist promised (8216bis, 6.2.5.2).
const PROMISE_SEGMENTS: u32 = 3;
/// A stream that its client reads so slowly ends; the client begins anew at the newest pictures.
const LAG: u64 = 5 * TIMESCALE as u64;
/// A browser's own player (its requests say that they are for a video element) knows no parts: Chromium 156 gives up on a
/// live playlist of one segment, and runs dry on two.
const BROWSER_SEGMENTS: usize = 3;
/// Names mean one thing for good; a cache need not keep them for long.
const LASTING: &str = "max-age=600, immutable";

/// The event time, in nanoseconds, at media time nought of a stream.
const ORIGIN: HeaderName = HeaderName::from_static("flowrun-origin-ns");

/// One camera's HLS.
pub(super) struct HlsResource {
    pub channel: Arc<Channel>,
    pub about: About,
}

impl Resource for HlsResource {
    fn kind(&self) -> &'static str {
        "hls"
    }
    fn about(&self) -> About {
        self.about.clone()
    }
    fn get(&self, request: Request) -> Answering {
        let channel = self.channel.clone();
        Box::pin(async move {
            let mut response = answer(&channel, &request).await;
            if request
                .headers
                .get(IF_NONE_MATCH)
                .is_some_and(|known| response.headers().get(ETAG) == Some(known))
            {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.body_mut() = Body::Whole(Bytes::new());
            }
            response
        })
    }
}

/// What a name below a camera's path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Playlist,
    Stream,
    Init(u64),
    Segment(u64),
    Part(Position),
}

fn wanted(rest: &str) -> Option<Wanted> {
    match rest {
        "index.m3u8" => return Some(Wanted::Playlist),
        "stream.mp4" => return Some(Wanted::Stream),
        _ => {}
    }
    let number = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten()
    };
    if let Some(name) = rest.strip_prefix("init-") {
        return number(name.strip_suffix(".mp4")?).map(Wanted::Init);
    }
    let name = rest.strip_prefix("seg-")?.strip_suffix(".m4s")?;
    match name.split_once('.') {
        None => number(name).map(Wanted::Segment),
        Some((segment, part)) => Some(Wanted::Part(Position {
            segment: number(segment)?,
            part: usize::try_from(number(part)?).ok()?,
        })),
    }
}

/// What is asked of a blocking reload: the playlist that has this part.
fn awaited(query: Option<&str>) -> Result<Option<Position>, ()> {
    let (mut segment, mut part) = (None, None);
    for (name, value) in query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter_map(|pair| pair.split_once('='))
    {
        match name {
            "_HLS_msn" => segment = Some(value.parse().map_err(|_| ())?),
            "_HLS_part" => part = Some(value.parse().map_err(|_| ())?),
            _ => {}
        }
    }
    match (segment, part) {
        (None, None) => Ok(None),
        // Without a part the whole segment is awaited: that is, the first part of the next.
        (Some(segment), None) => Ok(Some(Position {
            segment: u64::saturating_add(segment, 1),
            part: 0,
        })),
        (Some(segment), Some(part)) => Ok(Some(Position { segment, part })),
        (None, Some(_)) => Err(()),
    }
}

async fn answer(channel: &Arc<Channel>, request: &Request) -> Response<Body> {
    let Some(wanted) = wanted(&request.rest) else {
        return refused(StatusCode::NOT_FOUND, "there is nothing of this name");
    };
    channel.ask();
    match wanted {
        Wanted::Playlist => playlist(channel, request.query.as_deref(), patience(&request.headers)).await,
        Wanted::Stream => endless(channel).await,
        Wanted::Init(number) => match channel.lock().ring.init(number) {
            Some(init) => found(init.bytes.clone(), "video/mp4", &init_name(number), LASTING),
            None => gone(),
        },
        Wanted::Segment(number) => {
            let whole = |state: &mut State| {
                let segment = state.ring.segment(number)?;
                segment.whole.clone()
            };
            let coming = |state: &State| state.ring.open().is_some_and(|open| open.number == number);
            match wait(channel, promise(channel), whole, coming).await {
                Some(bytes) => found(bytes, "video/mp4", &segment_name(number), LASTING),
                None => gone(),
            }
        }
        Wanted::Part(at) => {
            let part = |state: &mut State| {
                let segment = state.ring.segment(at.segment)?;
                segment.parts.get(at.part).map(|part| part.bytes.clone())
            };
            let coming = |state: &State| {
                let open = state.ring.open().is_some_and(|open| open.number == at.segment);
                let next = state
                    .ring
                    .newest()
                    .is_some_and(|newest| at.segment == newest.segment + 1);
                !state.ring.has_ended() && (open || (next && at.part == 0))
            };
            match wait(channel, promise(channel), part, coming).await {
                Some(bytes) => found(bytes, "video/mp4", &part_name(at.segment, at.part), LASTING),
                None => gone(),
            }
        }
    }
}

/// How long a promised part is waited for.
fn promise(channel: &Channel) -> Duration {
    let (_, longest) = channel.lock().ring.longest();
    Duration::from_secs_f64(longest as f64 / f64::from(TIMESCALE)) * PROMISE_SEGMENTS
}

/// Waits until there is something, as long as it may still come.
async fn wait<T>(
    channel: &Channel,
    longest: Duration,
    mut look: impl FnMut(&mut State) -> Option<T>,
    mut may_come: impl FnMut(&State) -> bool,
) -> Option<T> {
    let mut changes = channel.changes();
    let waiting = async {
        loop {
            {
                let mut state = channel.lock();
                if let Some(found) = look(&mut state) {
                    return Some(found);
                }
                if !may_come(&state) {
                    return None;
                }
            }
            changes.changed().await.ok()?;
        }
    };
    tokio::time::timeout(longest, waiting).await.ok().flatten()
}

/// How many whole segments a first playlist needs.
fn patience(headers: &HeaderMap) -> Patience {
    match headers.get("sec-fetch-dest").map(HeaderValue::as_bytes) {
        Some(b"video") => Patience::Segments(BROWSER_SEGMENTS),
        _ => Patience::Cushion,
    }
}

/// What a first playlist waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// What a player that knows parts needs.
    Cushion,
    /// So many whole segments.
    Segments(usize),
}

async fn playlist(channel: &Channel, query: Option<&str>, patience: Patience) -> Response<Body> {
    let Ok(awaited) = awaited(query) else {
        return refused(
            StatusCode::BAD_REQUEST,
            "_HLS_msn and _HLS_part are whole numbers, the second beside the first",
        );
    };
    let newest = channel.lock().ring.newest();
    let longest = match (awaited, newest) {
        // Further ahead than anybody can have been told of (8216bis, 6.2.5.2).
        (Some(awaited), Some(newest)) if awaited.segment > newest.segment + 2 => {
            return refused(StatusCode::BAD_REQUEST, "_HLS_msn is too far ahead");
        }
        (_, None) => FIRST_WAIT,
        (_, Some(_)) => promise(channel).max(FIRST_WAIT),
    };
    let ready = |state: &mut State| {
        let ring = &state.ring;
        let enough = match patience {
            Patience::Cushion => ring.has_cushion(),
            Patience::Segments(count) => ring.listed().count() >= count,
        };
        let listed = enough || (ring.has_ended() && ring.newest().is_some());
        let reached = awaited.is_none_or(|awaited| ring.newest().is_some_and(|newest| newest > awaited));
        (listed && (reached || ring.has_ended())).then(|| (state.playlist(), state.ring.newest()))
    };
    let found_in_time = wait(channel, longest, ready, |state| !state.ring.has_ended()).await;
    // Keyframes may be so far apart that there are not enough segments by then: fewer are better than none.
    let late_but_some = || {
        let mut state = channel.lock();
        let some = awaited.is_none() && state.ring.listed().next().is_some();
        some.then(|| (state.playlist(), state.ring.newest()))
    };
    match found_in_time.or_else(late_but_some) {
        Some((text, newest)) => {
            let newest = newest.map_or_else(String::new, |at| format!("index-{}.{}", at.segment, at.part));
            found(text, "application/vnd.apple.mpegurl", &newest, "no-cache")
        }
        None => late(),
    }
}

/// A stream without end: the header, then each part as it comes, from the newest keyframe on.
async fn endless(channel: &Arc<Channel>) -> Response<Body> {
    let attendance = channel.attend();
    let entrance = |state: &mut State| {
        let segment = state.ring.entrance()?;
        let at = Position {
            segment: segment.number,
            part: 0,
        };
        Some((segment.init.clone(), segment.origin, segment.stretch, at))
    };
    let ready = wait(channel, FIRST_WAIT, entrance, |state| !state.ring.has_ended());
    let Some((init, origin, stretch, at)) = ready.await else {
        return late();
    };
    let reader = Reader {
        changes: channel.changes(),
        channel: channel.clone(),
        _attendance: attendance,
        header: Some(init.bytes.clone()),
        stretch,
        at,
    };
    let mut response = Response::new(Body::Pieces(Box::pin(stream::unfold(reader, Reader::next))));
    let kind = HeaderValue::from_str(&format!("video/mp4; codecs=\"{}\"", init.codec));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("video/mp4")));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ORIGIN, HeaderValue::from(origin.0));
    response
}

/// A client's place in the ring: all that is kept for it.
struct Reader {
    channel: Arc<Channel>,
    changes: tokio::sync::watch::Receiver<u64>,
    _attendance: Attendance,
    header: Option<Bytes>,
    stretch: u64,
    at: Position,
}

impl Reader {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if let Some(header) = self.header.take() {
            return Some((header, self));
        }
        loop {
            let ahead = {
                let state = self.channel.lock();
                if state.ring.lag(self.at) > LAG {
                    return None;
                }
                state.ring.ahead(self.at, self.stretch)
            };
            match ahead {
                Ahead::Part(bytes, next) => {
                    self.at = next;
                    return Some((bytes, self));
                }
                Ahead::Gone => return None,
                Ahead::Nothing => self.changes.changed().await.ok()?,
            }
        }
    }
}

fn found(bytes: Bytes, kind: &'static str, tag: &str, keep: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::Whole(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    tagged(headers, tag);
    response
}

fn tagged(headers: &mut HeaderMap, tag: &str) {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        headers.insert(ETAG, tag);
    }
}

fn refused(status: StatusCode, cause: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Bytes::from_static(cause.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn gone() -> Response<Body> {
    refused(StatusCode::NOT_FOUND, "it is not there any more, or not yet")
}

fn late() -> Response<Body> {
    let mut response = refused(StatusCode::SERVICE_UNAVAILABLE, "no picture came in time");
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_one_thing_or_nothing() {
        let part = |segment, part| Some(Wanted::Part(Position { segment, part }));
        assert_eq!(wanted("index.m3u8"), Some(Wanted::Playlist));
        assert_eq!(wanted("init-7.mp4"), Some(Wanted::Init(7)));
        assert_eq!(wanted("seg-12.m4s"), Some(Wanted::Segment(12)));
        assert_eq!(wanted("seg-12.3.m4s"), part(12, 3));
        for name in [
            "",
            "seg-.m4s",
            "seg-+1.m4s",
            "seg-1.2.3.m4s",
            "seg-99999999999999999999.m4s",
            "init-1",
            "../x",
        ] {
            assert_eq!(wanted(name), None, "{name}");
        }
    }

    #[test]
    fn a_blocking_reload_says_what_it_waits_for() {
        let at = |segment, part| Ok(Some(Position { segment, part }));
        assert_eq!(awaited(None), Ok(None));
        assert_eq!(awaited(Some("token=x")), Ok(None));
        assert_eq!(awaited(Some("_HLS_msn=4&_HLS_part=2")), at(4, 2));
        assert_eq!(awaited(Some("_HLS_msn=4")), at(5, 0));
        assert_eq!(awaited(Some("_HLS_msn=18446744073709551615")), at(u64::MAX, 0));
        for query in ["_HLS_part=1", "_HLS_msn=x", "_HLS_msn=1&_HLS_part=-1"] {
            assert_eq!(awaited(Some(query)), Err(()), "{query}");
        }
    }
}
