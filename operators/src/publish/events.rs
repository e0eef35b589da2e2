//! A stream of server-sent events (WHATWG HTML, section 9.2) that any number of clients read, each at its own pace.
//!
//! There is one ring of encoded events and no queue a client: a client is a position in the ring. One that reads
//! slowly costs the others nothing, and when the ring has moved past it, it is told how many events it has lost.
//! Events are numbered without gaps from the run's start in microseconds since the Unix epoch, so that a number
//! from an earlier run is known for one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use flowrun_engine::site::{About, Answering, Body, Request, Resource};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use tokio::sync::watch;

/// How often a client hears something although there is nothing: proxies cut what is silent for half a minute.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// As much as a client is given at once.
const PIECE_BYTES: usize = 64 * 1024;

/// What is said first: the pause before a client that was cut off comes back, in milliseconds.
const GREETING: &[u8] = b"retry: 2000\n\n";

/// How many events are kept for clients that come back, and at most how many bytes of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub events: usize,
    pub bytes: usize,
}

/// The events of one path.
pub(super) struct Events {
    ring: Mutex<Ring>,
    /// Moves with every change of the ring.
    changed: watch::Sender<()>,
    about: About,
}

struct Ring {
    kept: Kept,
    events: VecDeque<Bytes>,
    bytes: usize,
    /// The number of the run's first event.
    start: u64,
    /// The number of the next event.
    next: u64,
    ended: bool,
}

impl Ring {
    /// The number of the oldest event that is kept.
    fn oldest(&self) -> u64 {
        self.next - self.events.len() as u64
    }

    fn push(&mut self, event: &[u8]) {
        let mut whole = BytesMut::with_capacity(event.len() + 32);
        whole.put_slice(format!("id: {}\n", self.next).as_bytes());
        whole.put_slice(event);
        self.bytes += whole.len();
        self.events.push_back(whole.freeze());
        self.next += 1;
        // The newest stays, however large.
        while self.events.len() > self.kept.events.max(1) || (self.bytes > self.kept.bytes && self.events.len() > 1) {
            let gone = self.events.pop_front().expect("looked above");
            self.bytes -= gone.len();
        }
    }
}

/// Where a client stands.
struct Position {
    /// The number of the next event that it wants.
    next: u64,
    /// Whether it comes from another run, whose losses nobody can count.
    foreign: bool,
}

impl Events {
    /// None yet; the first will have the number `start`.
    pub fn new(kept: Kept, start: u64, about: About) -> Self {
        let ring = Ring {
            kept,
            events: VecDeque::new(),
            bytes: 0,
            start,
            next: start,
            ended: false,
        };
        Events {
            ring: Mutex::new(ring),
            changed: watch::Sender::new(()),
            about,
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Adds events, each with its `event:` and `data:` lines and an empty one.
    pub fn push<'e>(&self, events: impl IntoIterator<Item = &'e [u8]>) {
        {
            let mut ring = self.ring();
            events.into_iter().for_each(|event| ring.push(event));
        }
        self.changed.send_replace(());
    }

    /// No more will come: clients get what they have not got yet, and the end.
    pub fn end(&self) {
        self.ring().ended = true;
        self.changed.send_replace(());
    }

    /// Where a client begins: behind the event that it had last, with the last few, or with what comes now.
    fn position(&self, last: Option<u64>, recent: Option<u64>) -> Position {
        let ring = self.ring();
        let at = |next: u64| Position { next, foreign: false };
        match (last.and_then(|last| last.checked_add(1)), recent) {
            (Some(next), _) if (ring.start..=ring.next).contains(&next) => at(next),
            (Some(_), _) => Position {
                next: ring.oldest(),
                foreign: true,
            },
            (None, Some(recent)) => at(ring.next.saturating_sub(recent).max(ring.oldest())),
            (None, None) => at(ring.next),
        }
    }

    /// What a client gets next, and whether that is all there will ever be. Moves it on.
    fn read(&self, position: &mut Position) -> (Bytes, bool) {
        let ring = self.ring();
        let mut piece = BytesMut::new();
        let oldest = ring.oldest();
        let lost = match position.foreign {
            true => Some("null".to_owned()),
            false if position.next < oldest => Some((oldest - position.next).to_string()),
            false => None,
        };
        if let Some(lost) = lost {
            // The number of the last one lost: whoever is cut off here goes on from there.
            position.next = position.next.max(oldest);
            position.foreign = false;
            let text = format!(
                "id: {}\nevent: lost\ndata: {{\"count\":{lost}}}\n\n",
                position.next.saturating_sub(1)
            );
            piece.put_slice(text.as_bytes());
        }
        let skip = usize::try_from(position.next - oldest).unwrap_or(usize::MAX);
        for event in ring.events.iter().skip(skip) {
            if !piece.is_empty() && piece.len() + event.len() > PIECE_BYTES {
                break;
            }
            piece.put_slice(event);
            position.next += 1;
        }
        (piece.freeze(), ring.ended && position.next == ring.next)
    }
}

/// One client's stream.
struct Client {
    events: Arc<Events>,
    changed: watch::Receiver<()>,
    position: Position,
    greeted: bool,
}

impl Client {
    async fn next(mut self) -> Option<(Bytes, Client)> {
        if !self.greeted {
            self.greeted = true;
            return Some((Bytes::from_static(GREETING), self));
        }
        loop {
            // Marked before the ring is read: what comes in between is seen at once or wakes the next wait.
            self.changed.mark_unchanged();
            let (piece, over) = self.events.read(&mut self.position);
            if !piece.is_empty() {
                return Some((piece, self));
            }
            if over {
                return None;
            }
            match tokio::time::timeout(HEARTBEAT, self.changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some((Bytes::from_static(b":\n\n"), self)),
            }
        }
    }
}

/// What of a query string stands behind a name.
fn asked(query: Option<&str>, name: &str) -> Option<u64> {
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(key, _)| *key == name)
        .find_map(|(_, value)| value.parse().ok())
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// The resource of a path.
pub(super) struct EventStream(pub Arc<Events>);

impl Resource for EventStream {
    fn kind(&self) -> &'static str {
        "sse"
    }

    fn about(&self) -> About {
        self.0.about.clone()
    }

    fn get(&self, request: Request) -> Answering {
        let events = self.0.clone();
        Box::pin(async move {
            if !request.rest.is_empty() {
                return plain(StatusCode::NOT_FOUND);
            }
            let last = request.headers.get("last-event-id");
            let last = last
                .and_then(|value| value.to_str().ok())
                .and_then(|text| text.parse().ok());
            let query = request.query.as_deref();
            let position = events.position(last.or(asked(query, "last-event-id")), asked(query, "recent"));
            {
                let ring = events.ring();
                if ring.ended && position.next == ring.next {
                    // The one answer after which a browser does not ask again.
                    return plain(StatusCode::NO_CONTENT);
                }
            }
            let client = Client {
                changed: events.changed.subscribe(),
                events,
                position,
                greeted: false,
            };
            let pieces = futures_util::stream::unfold(client, Client::next);
            let mut response = Response::new(Body::Pieces(Box::pin(pieces)));
            let headers = response.headers_mut();
            let mut set = |name: HeaderName, value: &'static str| {
                headers.insert(name, HeaderValue::from_static(value));
            };
            set(header::CONTENT_TYPE, "text/event-stream");
            set(header::CACHE_CONTROL, "no-store");
            // Proxies that gather answers before they pass them on leave this one alone.
            set(HeaderName::from_static("x-accel-buffering"), "no");
            response
        })
    }
}

#[cfg(test)]
mod tests;
