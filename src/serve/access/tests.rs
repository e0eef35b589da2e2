//! Requests that browsers, programs and attackers send, against the rules.

use http::Request;

use super::*;
use crate::serve::settings::{GraphText, Limits};

const SECRET: &str = "correct-horse-battery-staple";

fn access(listen: &str, token: Option<&str>) -> Access {
    let settings = Settings {
        listen: listen.parse().unwrap(),
        token: token.map(|secret| Token::chosen(secret).unwrap()),
        allow_host: vec!["Cam.example.org".into()],
        limits: Limits::default(),
        graph: GraphText::default(),
    };
    Access::of(&settings, settings.listen.address)
}

fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn status(access: &Access, method: &str, target: &str, headers: &[(&str, &str)]) -> u16 {
    match access.check(&request(method, target, headers)) {
        Ok(Entry::Granted) => 200,
        Ok(Entry::Exchange) => 303,
        Err(denied) => denied.status.as_u16(),
    }
}

#[test]
fn it_answers_to_its_own_names() {
    let own = access("127.0.0.1:8080", None);
    let of = |access: &Access, host: &str| status(access, "GET", "/api/status", &[("host", host)]);
    for host in [
        "127.0.0.1:8080",
        "localhost",
        "LOCALHOST:1",
        "[::1]:8080",
        "127.9.9.9",
        "cam.example.org",
        "CAM.example.org:443",
    ] {
        assert_eq!(of(&own, host), 200, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "evil.localhost",
        "192.0.2.7",
        "0.0.0.0",
        "2130706433",
        "cam.example.org.",
    ] {
        assert_eq!(of(&own, host), 421, "{host}");
    }
    for host in ["", "a b", "user@localhost", "localhost:port", "http://localhost"] {
        assert_eq!(of(&own, host), 400, "{host}");
    }
    // An address cannot be rebound; a name can.
    let everywhere = access("0.0.0.0:8080", Some(SECRET));
    let bearer = format!("Bearer {SECRET}");
    let with = |host: &str| status(&everywhere, "GET", "/", &[("host", host), ("authorization", &bearer)]);
    assert_eq!((with("192.0.2.7:8080"), with("evil.example")), (200, 421));
}

#[test]
fn a_host_is_said_once_and_the_same_everywhere() {
    let own = access("127.0.0.1:8080", None);
    let none = status(&own, "GET", "/", &[]);
    let twice = status(&own, "GET", "/", &[("host", "localhost"), ("host", "localhost")]);
    let other = status(&own, "GET", "http://evil.example/", &[("host", "localhost")]);
    assert_eq!((none, twice, other), (400, 400, 421));
}

#[test]
fn pages_of_other_sites_get_nothing() {
    let own = access("127.0.0.1:8080", None);
    let of = |site: &str, mode: &str| {
        let headers = [
            ("host", "localhost"),
            ("sec-fetch-site", site),
            ("sec-fetch-mode", mode),
        ];
        status(&own, "GET", "/live/north/x.mp4", &headers)
    };
    assert_eq!(
        (
            of("same-origin", "cors"),
            of("none", "navigate"),
            of("cross-site", "navigate")
        ),
        (200, 200, 200)
    );
    assert_eq!((of("cross-site", "no-cors"), of("cross-site", "cors")), (403, 403));
}

#[test]
fn nothing_is_changed_without_the_token() {
    let open = access("127.0.0.1:8080", None);
    let closed = access("127.0.0.1:8080", Some(SECRET));
    let bearer = format!("bearer {SECRET}");
    let cookie = closed.set_cookie().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let post = |access: &Access, headers: &[(&str, &str)]| {
        let mut all = vec![("host", "localhost:8080")];
        all.extend(headers);
        status(access, "POST", "/api/stop", &all)
    };
    assert_eq!(post(&open, &[]), 403);
    assert_eq!(post(&open, &[("authorization", &bearer)]), 403);
    assert_eq!(post(&closed, &[]), 401);
    assert_eq!(post(&closed, &[("authorization", "Bearer wrong")]), 401);
    assert_eq!(post(&closed, &[("authorization", &bearer)]), 200);
    assert_eq!(post(&closed, &[("cookie", cookie)]), 403);
    let same = ("origin", "http://localhost:8080");
    assert_eq!(post(&closed, &[("cookie", cookie), same]), 200);
    for origin in [
        "http://evil.example",
        "null",
        "http://localhost:9",
        "http://localhost:8080.evil.example",
        "localhost:8080",
        "",
    ] {
        assert_eq!(
            post(&closed, &[("cookie", cookie), ("origin", origin)]),
            403,
            "{origin}"
        );
        assert_eq!(
            post(&closed, &[("authorization", &bearer), ("origin", origin)]),
            403,
            "{origin}"
        );
    }
    assert_eq!(post(&closed, &[("cookie", cookie), same, same]), 403);
    assert_eq!(
        post(
            &closed,
            &[("authorization", &bearer), same, ("sec-fetch-site", "same-site")]
        ),
        403
    );
    assert_eq!(
        post(&closed, &[("authorization", &bearer), ("authorization", &bearer)]),
        401
    );
}

#[test]
fn with_a_token_nobody_else_looks() {
    let closed = access("0.0.0.0:8080", Some(SECRET));
    let cookie = closed.set_cookie().unwrap();
    let (pair, attributes) = cookie.split_once(';').unwrap();
    assert!(!cookie.contains(SECRET) && pair.starts_with("flowrun-8080="));
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Strict");
    let get = |target: &str, headers: &[(&str, &str)]| {
        let mut all = vec![("host", "localhost")];
        all.extend(headers);
        status(&closed, "GET", target, &all)
    };
    assert_eq!((get("/healthz", &[]), get("/readyz", &[])), (200, 200));
    for target in [
        "/",
        "/metrics",
        "/api/status",
        "/events/a",
        "/nothing",
        "/assets/style.css",
        "/healthz/x",
    ] {
        assert_eq!(get(target, &[]), 401, "{target}");
        assert_eq!(get(target, &[("cookie", pair)]), 200, "{target}");
    }
    let several = format!("a=b; {pair}; c=d");
    assert_eq!(get("/", &[("cookie", &several)]), 200);
    assert_eq!(get("/", &[("cookie", &pair.replace("8080", "8081"))]), 401);
    assert_eq!(get(&format!("/?a=b&token={SECRET}"), &[]), 303);
    assert_eq!((get("/?token=wrong", &[]), get("/?token=", &[])), (401, 401));
    assert_eq!(get(&format!("/api/status?token={SECRET}"), &[]), 401);
}
