//! From a request to its answer.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use flowrun_engine::run::context::Context;
use flowrun_engine::site;
use futures_util::{FutureExt, StreamExt};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tower::ServiceExt;

use crate::live::Live;
use crate::serve::access::{Access, Denied, Entry};
use crate::serve::graph::Graph;
use crate::serve::listen::Connections;
use crate::serve::metrics::{self, Own};
use crate::serve::rates::{self, Now, Rates};
use crate::serve::settings::{GraphText, Limits, Settings, Token};
use crate::serve::status::{self, Status};
use crate::serve::{edits, openapi, page, socket};

/// Everything the server itself answers, as the OpenAPI document has it. What a graph publishes comes beside these.
pub const ROUTES: [(&str, &str); 16] = [
    ("get", "/"),
    ("get", "/assets/{name}"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/api/status"),
    ("get", "/api/graph"),
    ("put", "/api/graph"),
    ("get", "/api/graph.kdl"),
    ("post", "/api/graph/diff"),
    ("get", "/api/reloads"),
    ("get", "/api/reloads/events"),
    ("post", "/api/rollback"),
    ("get", "/api/graph.svg"),
    ("post", "/api/stop"),
    ("get", "/openapi.json"),
];

/// Headers of every answer. The page has no inline script or style, and nobody may put it into a frame.
const SECURITY: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Cameras that are named where some are still awaited.
const NAMED: usize = 20;

/// What a server knows.
struct Known {
    graph: GraphText,
    run: OnceLock<Arc<Context>>,
    live: OnceLock<Arc<Live>>,
    rates: Rates,
    refused: AtomicU64,
    /// Whether somebody asked for the run's end, even before there was one.
    stop: AtomicBool,
    connections: Connections,
}

/// What a server answers.
pub struct App {
    access: Access,
    token: Option<Token>,
    known: Arc<Known>,
    router: Router,
    pub(super) connections: Connections,
    pub(super) limits: Limits,
}

impl Known {
    fn run(&self) -> Option<&Context> {
        self.run.get().map(|context| &**context)
    }

    /// The graph that is at work.
    fn text(&self) -> GraphText {
        self.live.get().map_or_else(|| self.graph.clone(), |live| live.text())
    }

    fn begun(&self) -> Option<&Context> {
        self.run().filter(|context| context.clock.has_begun())
    }

    fn now(&self) -> Now {
        self.begun()
            .map_or_else(Now::default, |context| self.rates.now(context))
    }
}

impl App {
    /// For a server that listens at `address`; it says that it is starting.
    pub fn new(settings: Settings, address: SocketAddr) -> Arc<Self> {
        let access = Access::of(&settings, address);
        let connections = Connections::none();
        let known = Arc::new(Known {
            graph: settings.graph,
            run: OnceLock::new(),
            live: OnceLock::new(),
            rates: Rates::default(),
            refused: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            connections: connections.clone(),
        });
        Arc::new(App {
            access,
            token: settings.token,
            router: router(known.clone()),
            known,
            connections,
            limits: settings.limits,
        })
    }

    /// Serves this run from now on. The first one stays.
    pub fn attach(&self, context: Arc<Context>) {
        let _ = self.known.run.set(context);
        if let (true, Some(context)) = (self.known.stop.load(Ordering::SeqCst), self.known.run()) {
            context.end();
        }
    }

    /// Lets this graph be edited from now on.
    pub fn edit(&self, live: Arc<Live>) {
        let _ = self.known.live.set(live);
    }

    /// The address to open in a browser.
    pub(super) fn url(&self, address: SocketAddr) -> String {
        let mut shown = address;
        if address.ip().is_unspecified() {
            shown.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        match self.token.as_ref().and_then(Token::to_tell) {
            Some(token) => format!("http://{shown}/?token={token}"),
            None => format!("http://{shown}/"),
        }
    }

    /// Counts a connection for which there was no room.
    pub(super) fn refused(&self) {
        self.known.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Looks at the counts every second, for as long as the server runs.
    pub(super) async fn sample(self: Arc<Self>) {
        let mut every = tokio::time::interval(rates::EVERY);
        loop {
            every.tick().await;
            if let Some(context) = self.known.begun() {
                self.known.rates.look(context);
            }
        }
    }

    /// Answers a request. Whatever is in it, this neither panics nor waits for longer than the limits say.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let answered = AssertUnwindSafe(self.admit(request)).catch_unwind();
        let mut response = match tokio::time::timeout(self.limits.answer, answered).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the server failed on this request",
                None,
            ),
            Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long", None),
        };
        let headers = response.headers_mut();
        for (name, value) in SECURITY {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        response
    }

    async fn admit(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        match self.access.check(&parts) {
            Ok(Entry::Granted) => {}
            Ok(Entry::Exchange) => return self.exchange(),
            Err(Denied { status, cause, remedy }) => {
                let mut response = refusal(status, &cause, Some(remedy));
                if status == StatusCode::UNAUTHORIZED {
                    let scheme = HeaderValue::from_static("Bearer realm=\"flowrun\"");
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
                }
                return response;
            }
        }
        // No path of this server needs an escape, and none has a part that means another one.
        let odd = |part: &str| part == "." || part == ".." || part.contains(['%', '\\']);
        if parts.uri.path().split('/').any(odd) {
            return refusal(StatusCode::NOT_FOUND, "there is nothing at this path", None);
        }
        // Only edits read a body, but what was announced has to be taken from the connection or be cut off.
        let most = match edits::takes_graph(&parts) {
            true => flowrun_dsl::source::MAX_BYTES,
            false => self.limits.body_bytes,
        };
        let body = tokio::time::timeout(self.limits.body, axum::body::to_bytes(body, most)).await;
        let body = match body {
            Ok(Ok(body)) => Body::from(body),
            Ok(Err(_)) => return last(refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large", None)),
            Err(_) => return last(refusal(StatusCode::REQUEST_TIMEOUT, "the body took too long", None)),
        };
        match self.router.clone().oneshot(Request::from_parts(parts, body)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    fn exchange(&self) -> Response<Body> {
        let mut response = StatusCode::SEE_OTHER.into_response();
        let headers = response.headers_mut();
        headers.insert(header::LOCATION, HeaderValue::from_static("/"));
        if let Some(cookie) = self.access.set_cookie().and_then(|cookie| cookie.parse().ok()) {
            headers.insert(header::SET_COOKIE, cookie);
        }
        response
    }
}

/// What somebody gets who does not get what was asked for.
pub(super) fn refusal(status: StatusCode, cause: &str, remedy: Option<&str>) -> Response<Body> {
    json(status, &json!({ "error": cause, "remedy": remedy }))
}

/// A document.
pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_vec(document).expect("documents have text keys only and no failing values");
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (status, headers, text).into_response()
}

/// An answer after which the connection closes.
fn last(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn router(known: Arc<Known>) -> Router {
    Router::new()
        .route(
            "/",
            get(|headers: HeaderMap| async move { asset("index.html", &headers) }),
        )
        .route(
            "/assets/{name}",
            get(|Path(name): Path<String>, headers: HeaderMap| async move { asset(&name, &headers) }),
        )
        .route(
            "/healthz",
            get(|| async { json(StatusCode::OK, &json!({ "status": "ok" })) }),
        )
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/status", get(status))
        .route("/api/graph", get(graph).put(put_graph))
        .route("/api/graph.kdl", get(written))
        .route("/api/graph/diff", post(diff))
        .route("/api/reloads", get(reloads))
        .route("/api/reloads/events", get(reload_events))
        .route("/api/rollback", post(rollback))
        .route("/api/graph.svg", get(drawing))
        .route("/api/stop", post(stop))
        .route("/openapi.json", get(document))
        .method_not_allowed_fallback(|| async {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "this path takes no such method", None)
        })
        .fallback(published)
        .with_state(known)
}

fn asset(name: &str, asked: &HeaderMap) -> Response<Body> {
    let Some(asset) = page::find(name) else {
        return refusal(StatusCode::NOT_FOUND, "there is nothing at this path", None);
    };
    let tag = asset.etag();
    let known = asked
        .get(header::IF_NONE_MATCH)
        .is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let headers = [
        (header::CONTENT_TYPE, asset.media.to_owned()),
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    match known {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (headers, asset.bytes).into_response(),
    }
}

async fn ready(State(known): State<Arc<Known>>) -> Response<Body> {
    let waiting = known.run().map_or_else(Vec::new, status::waiting);
    let ready = known.begun().is_some() && waiting.is_empty();
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let named: Vec<&String> = waiting.iter().take(NAMED).collect();
    let body =
        json!({ "ready": ready, "state": status::State::of(known.run()), "waiting": waiting.len(), "cameras": named });
    json(status, &body)
}

async fn metrics(State(known): State<Arc<Known>>) -> impl IntoResponse {
    let own = Own {
        connections: known.connections.count(),
        refused: known.refused.load(Ordering::Relaxed),
    };
    let text = metrics::text(known.run(), &known.text(), &own);
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
}

async fn status(State(known): State<Arc<Known>>) -> Response<Body> {
    json(StatusCode::OK, &Status::of(known.run(), &known.now(), &known.text()))
}

async fn graph(State(known): State<Arc<Known>>) -> Response<Body> {
    let text = known.text();
    let document = Graph::of(known.run(), &known.now(), &text);
    // The tag names the text that runs; the figures in the answer are of the moment.
    let mut response = json(StatusCode::OK, &document);
    if let Ok(tag) = format!("\"{}\"", text.hash).parse() {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

async fn drawing(State(known): State<Arc<Known>>) -> Response<Body> {
    match known.run() {
        Some(context) => {
            let headers = [(header::CONTENT_TYPE, "image/svg+xml")];
            (headers, flowrun_dsl::plan::draw(&context.generation().plan)).into_response()
        }
        None => refusal(StatusCode::SERVICE_UNAVAILABLE, "the run is being prepared", None),
    }
}

async fn document(State(known): State<Arc<Known>>) -> Response<Body> {
    json(StatusCode::OK, &openapi::document(known.run()))
}

async fn put_graph(State(known): State<Arc<Known>>, headers: HeaderMap, body: axum::body::Bytes) -> Response<Body> {
    edits::put(known.live.get().cloned(), &headers, body).await
}

async fn diff(State(known): State<Arc<Known>>, body: axum::body::Bytes) -> Response<Body> {
    edits::diff(known.live.get().cloned(), body).await
}

async fn written(State(known): State<Arc<Known>>) -> Response<Body> {
    edits::written(known.live.get())
}

async fn reloads(State(known): State<Arc<Known>>) -> Response<Body> {
    edits::reloads(known.live.get())
}

async fn reload_events(State(known): State<Arc<Known>>, headers: HeaderMap) -> Response<Body> {
    edits::events(known.live.get(), &headers)
}

async fn rollback(State(known): State<Arc<Known>>) -> Response<Body> {
    edits::rollback(known.live.get().cloned()).await
}

async fn stop(State(known): State<Arc<Known>>) -> Response<Body> {
    // In this order, so that a run which is attached meanwhile hears of it one way or the other.
    known.stop.store(true, Ordering::SeqCst);
    if let Some(context) = known.run() {
        context.end();
    }
    json(StatusCode::ACCEPTED, &json!({ "stopping": true }))
}

/// What the graph publishes.
async fn published(State(known): State<Arc<Known>>, request: Request<Body>) -> Response<Body> {
    let method = request.method();
    let found = known
        .run()
        .and_then(|context| context.audience.site.find(request.uri().path()));
    let Some((resource, rest)) = found else {
        return refusal(StatusCode::NOT_FOUND, "there is nothing at this path", None);
    };
    if method != Method::GET && method != Method::HEAD {
        return refusal(StatusCode::METHOD_NOT_ALLOWED, "this path takes no such method", None);
    }
    let head = method == Method::HEAD;
    let asked = site::Request {
        rest,
        query: request.uri().query().map(str::to_owned),
        headers: request.headers().clone(),
    };
    let answer = resource.get(asked).await;
    if method == Method::GET && socket::is_asked_for(request.headers()) {
        return socket::answer(request.into_parts().0, answer).await;
    }
    let (parts, body) = answer.into_parts();
    let body = match body {
        _ if head => Body::empty(),
        site::Body::Whole(bytes) => Body::from(bytes),
        site::Body::Pieces(pieces) => Body::from_stream(pieces.map(Ok::<_, std::convert::Infallible>)),
    };
    Response::from_parts(parts, body)
}
