//! Requests, made up and damaged, through the server's own rules and routes.

use axum::body::Body;
use flowrun::engine::run::Options;
use flowrun::prelude::*;
use flowrun::serve::{App, GraphText, Limits, Settings, Token};
use http::{Request, Response};

use crate::{mutate, rounds};

const SECRET: &str = "correct-horse-battery-staple";

const GRAPH: &str = "cameras c { synthetic a; }\nflow f from=c { truth-tracks as=tracks; }\npublish { sse \"/events/{camera}\" from=f.tracks; }";

const SEEDS: [&str; 7] = [
    "GET /api/status\nHost: 127.0.0.1:8080\nAccept: */*\nCookie: a=b; flowrun-8080=00ff",
    "GET /?token=correct-horse-battery-staple&x=1\nHost: localhost:8080\nSec-Fetch-Site: none\nSec-Fetch-Mode: navigate",
    "POST /api/stop\nHost: [::1]:8080\nOrigin: http://[::1]:8080\nAuthorization: Bearer correct-horse-battery-staple",
    "GET /events/a?recent=5&last-event-id=17\nHost: localhost\nLast-Event-ID: 1795524896439514\nAccept: text/event-stream",
    "GET /assets/../%2e%2e/index.html\nHost: evil.example\nIf-None-Match: \"abc\"",
    "GET http://localhost:8080/events/a\nHost: localhost:8080\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13",
    "OPTIONS *\nHost: localhost\nOrigin: null\nTransfer-Encoding: chunked",
];

/// What of some bytes is a request.
fn request(bytes: &[u8]) -> Option<Request<Body>> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut first = lines.next()?.splitn(2, |byte| *byte == b' ');
    let mut request = Request::builder().method(first.next()?).uri(first.next()?);
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        request = request.header(parts.next()?, parts.next()?.trim_ascii());
    }
    request.body(Body::from(bytes.to_vec())).ok()
}

/// Nobody gets in by a name that is not the server's or without the token, and every answer is guarded.
fn judged(text: &str, needs_token: bool, response: &Response<Body>) {
    let status = response.status().as_u16();
    assert!(status != 500, "{text}");
    for header in ["content-security-policy", "x-content-type-options", "cache-control"] {
        assert!(response.headers().contains_key(header), "{text}");
    }
    assert!(
        !response.headers().contains_key("access-control-allow-origin"),
        "{text}"
    );
    let lower = text.to_ascii_lowercase();
    if status < 400 && !lower.contains("localhost") && !lower.contains("127.") && !lower.contains("::1") {
        panic!("{status} for a name of another server: {text}");
    }
    if needs_token && status < 400 && !text.contains(SECRET) {
        assert!(
            text.contains("/healthz") || text.contains("/readyz"),
            "{status} without the token: {text}"
        );
    }
    if !needs_token && status < 300 {
        assert!(
            text.starts_with("GET ") || text.starts_with("HEAD "),
            "{status} for a change: {text}"
        );
    }
}

#[test]
fn requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let registry = Registry::builtin();
    let (source, compiled) = flowrun::compile_text("g.kdl", GRAPH, folder.path(), &registry).expect("it compiles");
    let prepared =
        flowrun::prepare_compiled(&source, compiled, &registry, &Options::default()).expect("it can be prepared");
    let app = |token: Option<Token>| {
        let settings = Settings {
            listen: "127.0.0.1:8080".parse().expect("an address"),
            token,
            allow_host: Vec::new(),
            limits: Limits::default(),
            graph: GraphText::default(),
        };
        let address = settings.listen.address;
        let app = App::new(settings, address);
        app.attach(prepared.context().clone());
        app
    };
    let apps = [app(None), app(Some(Token::chosen(SECRET).expect("it is long")))];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let seeds: Vec<Vec<u8>> = SEEDS.map(|seed| seed.as_bytes().to_vec()).into();
    let mut requests = 0;
    for round in 0..rounds(4_000) {
        let bytes = mutate::mutated(&seeds, round);
        for (app, needs_token) in apps.iter().zip([false, true]) {
            let Some(request) = request(&bytes) else { continue };
            requests += 1;
            let response = runtime.block_on(app.answer(request));
            judged(&String::from_utf8_lossy(&bytes), needs_token, &response);
        }
    }
    assert!(requests > 1_000, "most damage leaves a request: {requests}");
}
