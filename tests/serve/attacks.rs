//! What a hostile page, a hostile name and a hostile client can do: nothing, and not for long.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use flowrun::engine::site::{Answering, Body, Request, Resource};
use flowrun::serve::{Server, Settings};
use tokio::net::TcpSocket;

use crate::client::{Answer, ask, connect, get, raw, until};
use crate::served::{SECRET, Served, prepared, settings, with_token};

const QUIET: &str = "cameras c { synthetic a fps=1; }\nflow f from=c { truth-tracks as=tracks; }\npublish { sse \"/events/{camera}\" from=f.tracks; }";

fn quiet(settings: Settings) -> Served {
    Served::of(QUIET, settings)
}

/// Headers that every answer has.
#[track_caller]
fn is_guarded(answer: &Answer) {
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("-inline") && !policy.contains("*"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    assert!(
        answer
            .headers
            .iter()
            .all(|(name, _)| !name.starts_with("access-control-"))
    );
}

#[test]
fn a_name_that_leads_here_is_not_enough() {
    let served = quiet(settings());
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example"] {
        for target in ["/", "/api/status", "/events/a", "/healthz"] {
            let answer = ask(served.address, "GET", target, &[("Host", host)]);
            assert_eq!(answer.status, 421, "{host} {target}");
            assert!(answer.json()["remedy"].as_str().unwrap().contains("allow-host"));
            is_guarded(&answer);
        }
    }
    let mut named = settings();
    named.allow_host = vec!["cam.example.org".into()];
    let named = quiet(named);
    assert_eq!(
        ask(named.address, "GET", "/healthz", &[("Host", "cam.example.org")]).status,
        200
    );
}

#[test]
fn a_page_elsewhere_changes_nothing_and_reads_nothing() {
    let served = quiet(with_token());
    let bearer = format!("Bearer {SECRET}");
    let evil = ("Origin", "http://evil.example");
    let post = |headers: &[(&str, &str)]| ask(served.address, "POST", "/api/stop", headers);
    assert_eq!(post(&[evil]).status, 403);
    assert_eq!(post(&[evil, ("Authorization", &bearer)]).status, 403);
    assert_eq!(post(&[("Origin", "null"), ("Authorization", &bearer)]).status, 403);
    let preflight = [
        evil,
        ("Access-Control-Request-Method", "POST"),
        ("Authorization", &bearer),
    ];
    let preflight = ask(served.address, "OPTIONS", "/api/stop", &preflight);
    assert_eq!(preflight.status, 403);
    is_guarded(&preflight);
    let read = ask(
        served.address,
        "GET",
        "/api/status",
        &[evil, ("Authorization", &bearer)],
    );
    assert_eq!(read.status, 200);
    is_guarded(&read);
    let socket = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Authorization", &bearer),
        evil,
    ];
    assert_eq!(ask(served.address, "GET", "/events/a", &socket).status, 403);
    assert!(!served.is_finished());
    let stopped = post(&[("Authorization", &bearer)]);
    assert_eq!(
        (stopped.status, stopped.json()["stopping"].as_bool()),
        (202, Some(true))
    );
    until("the end of the run", || served.is_finished().then_some(()));
}

#[test]
fn a_browser_takes_a_cookie_for_the_token() {
    let served = quiet(with_token());
    let get = |target: &str, headers: &[(&str, &str)]| ask(served.address, "GET", target, headers);
    let refused = get("/api/status", &[]);
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (401, Some("Bearer realm=\"flowrun\""))
    );
    is_guarded(&refused);
    assert_eq!(get("/?token=wrong-but-long-enough", &[]).status, 401);
    let taken = get(&format!("/?token={SECRET}"), &[]);
    assert_eq!((taken.status, taken.header("location")), (303, Some("/")));
    let cookie = taken.header("set-cookie").unwrap();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict") && !cookie.contains(SECRET));
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(get("/", &[("Cookie", pair)]).status, 200);
    assert_eq!(get("/api/status", &[("Cookie", pair)]).status, 200);
}

#[test]
fn paths_lead_nowhere_else() {
    let served = quiet(settings());
    for target in [
        "/assets/../../../../etc/passwd",
        "/assets/..",
        "/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2fetc%2fpasswd",
        "/assets/%252e%252e/x",
        "/assets/..\\..\\etc\\passwd",
        "/assets/index.html/../../api/status",
        "/assets//etc/passwd",
        "/assets/%00",
        "/assets/style.css%00.html",
        "/events/../api/status",
        "/events/%61",
        "/events/a/../../api/status",
        "//api/status",
        "/./api/status",
        "/api//status",
        "/API/STATUS",
        "/assets/",
        "/events",
    ] {
        let answer = get(served.address, target);
        assert!([400, 404].contains(&answer.status), "{target}: {answer:?}");
        assert!(!answer.body.contains("root:"));
        is_guarded(&answer);
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
        assert_eq!(ask(served.address, method, "/api/status", &[]).status, 403, "{method}");
    }
    let tokened = quiet(with_token());
    let bearer = format!("Bearer {SECRET}");
    for target in ["/api/status", "/events/a", "/"] {
        let answer = ask(tokened.address, "PUT", target, &[("Authorization", &bearer)]);
        assert_eq!(answer.status, 405, "{target}");
    }
}

#[test]
fn requests_have_a_size() {
    let served = quiet(settings());
    let start = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n", served.address);
    let many: String = (0..500).map(|index| format!("X-{index}: 1\r\n")).collect();
    let long = format!("X: {}\r\n", "x".repeat(1 << 20));
    for (bytes, allowed) in [
        (format!("{start}{many}\r\n"), [431, 400]),
        (format!("{start}{long}\r\n"), [431, 400]),
        (
            format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(1 << 20)),
            [431, 414],
        ),
        ("NONSENSE\r\n\r\n".to_owned(), [400, 400]),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), [400, 400]),
    ] {
        // Or it hangs up before all of it has been sent.
        if let Some(answer) = raw(served.address, bytes.as_bytes()) {
            assert!(allowed.contains(&answer.status), "{answer:?}");
        }
    }
    assert_eq!(get(served.address, "/healthz").status, 200);
}

#[test]
fn bodies_have_a_size_and_a_time() {
    let mut hasty = with_token();
    hasty.limits.body = Duration::from_millis(200);
    let served = quiet(hasty);
    let start = format!(
        "POST /api/stop HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {SECRET}\r\n",
        served.address
    );
    let large = format!("{start}Content-Length: {}\r\n\r\n{}", 1 << 30, "x".repeat(1 << 20));
    let chunks = format!(
        "{start}Transfer-Encoding: chunked\r\n\r\n{}",
        "8000\r\n".to_owned() + &"x".repeat(0x8000) + "\r\n"
    );
    for bytes in [large, chunks] {
        if let Some(answer) = raw(served.address, bytes.as_bytes()) {
            assert_eq!(answer.status, 413);
        }
    }
    let slow = raw(served.address, format!("{start}Content-Length: 5\r\n\r\nxx").as_bytes()).unwrap();
    assert_eq!((slow.status, slow.header("connection")), (408, Some("close")));
    let smuggled =
        format!("{start}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    if let Some(answer) = raw(served.address, smuggled.as_bytes()) {
        assert!([202, 400].contains(&answer.status), "{answer:?}");
    }
}

/// Whether the server has closed a connection on which it says nothing more.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    match stream.read(&mut [0; 4096]) {
        Ok(count) => count == 0,
        Err(error) => !matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
    }
}

#[test]
fn slow_heads_and_idle_connections_are_closed() {
    let mut hasty = settings();
    hasty.limits.head = Duration::from_millis(200);
    let served = quiet(hasty);
    let mut dripping = connect(served.address);
    let mut drips = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "
        .iter()
        .chain(std::iter::repeat(&b'x'));
    until("the end of the dripping client", || {
        let sent = dripping.write_all(&[*drips.next().unwrap()]);
        (sent.is_err() || is_closed(&mut dripping)).then_some(())
    });
    let mut silent = connect(served.address);
    until("the end of the silent client", || is_closed(&mut silent).then_some(()));
    let mut idle = connect(served.address);
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", served.address);
    idle.write_all(request.as_bytes()).unwrap();
    until("the end of the idle client", || is_closed(&mut idle).then_some(()));
}

/// From another address of this machine.
fn from_elsewhere(address: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        socket.connect(address).await.unwrap()
    });
    let stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}

#[test]
fn a_thousand_idle_connections_leave_room_for_others() {
    let mut tight = settings();
    tight.limits.connections = 64;
    tight.limits.connections_per_address = 16;
    let served = quiet(tight);
    let address = served.address;
    let (mut held, mut turned_away) = (Vec::new(), 0);
    for _ in 0..1_000 {
        let mut stream = connect(address);
        // Those for whom there is no room hear so at once; a moment of silence means to be in.
        stream
            .set_read_timeout(Some(Duration::from_millis(if held.len() < 16 { 1 } else { 60_000 })))
            .unwrap();
        let mut text = String::new();
        match stream.read_to_string(&mut text) {
            Ok(_) if text.starts_with("HTTP/1.1 503 ") => turned_away += 1,
            _ => held.push(stream),
        }
    }
    assert_eq!((held.len(), turned_away), (16, 984));
    let mut other = from_elsewhere(address);
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
    other.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    other.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.0 200 OK"), "{text}");
    assert!(text.contains("\nflowrun_server_connections 17\n"), "{text}");
    assert!(
        text.contains("\nflowrun_server_connections_refused_total 984\n"),
        "{text}"
    );
    drop(held);
    until("room again", || {
        let answer = raw(
            address,
            format!("GET /healthz HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes(),
        );
        answer.filter(|answer| answer.status == 200).map(drop)
    });
}

/// A resource that fails in its own way.
enum Broken {
    Panics,
    NeverAnswers,
    PanicsWhileSending,
}

impl Resource for Broken {
    fn kind(&self) -> &'static str {
        "broken"
    }
    fn get(&self, _: Request) -> Answering {
        match self {
            Broken::Panics => panic!("on purpose"),
            Broken::NeverAnswers => Box::pin(std::future::pending()),
            Broken::PanicsWhileSending => Box::pin(async {
                let pieces = futures_util::stream::once(async { panic!("on purpose, later") });
                http::Response::new(Body::Pieces(Box::pin(pieces)))
            }),
        }
    }
}

#[test]
fn what_fails_in_one_answer_fails_in_no_other() {
    let mut hasty = settings();
    hasty.limits.answer = Duration::from_millis(200);
    let server = Server::start(hasty).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let prepared = prepared(QUIET, folder.path());
    let site = &prepared.context().audience.site;
    for (path, broken) in [
        ("/panics", Broken::Panics),
        ("/never", Broken::NeverAnswers),
        ("/later", Broken::PanicsWhileSending),
    ] {
        site.mount(path, Arc::new(broken)).unwrap();
    }
    server.attach(prepared.context());
    for _ in 0..3 {
        let failed = get(server.address(), "/panics");
        assert_eq!((failed.status, failed.json()["remedy"].is_null()), (500, true));
        assert!(
            !failed.body.contains("on purpose"),
            "what went wrong inside is nobody's business"
        );
        is_guarded(&failed);
        assert_eq!(get(server.address(), "/never").status, 503);
        // The connection breaks before or after its head.
        let head = format!("GET /later HTTP/1.0\r\nHost: {}\r\n\r\n", server.address());
        drop(raw(server.address(), head.as_bytes()));
        assert_eq!(get(server.address(), "/healthz").status, 200);
    }
    let metrics = until("all places back", || {
        let text = get(server.address(), "/metrics").body;
        text.contains("\nflowrun_server_connections 1\n").then_some(text)
    });
    assert!(metrics.contains("\nflowrun_server_connections_refused_total 0\n"));
    server.close();
}
