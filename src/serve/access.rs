//! Who may come in: by which name they call, from which page, with which token.
//!
//! A browser is a client that any page may send: so a request is believed to be meant for this server only when
//! its `Host` is a name of this server (against DNS rebinding), and one that changes something only when its `Origin`
//! is too (against cross-site requests). No answer carries CORS headers, so pages elsewhere read nothing.

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, StatusCode};

use crate::serve::settings::{Settings, Token};
use crate::serve::socket;

/// Why somebody is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The answer's status.
    pub status: StatusCode,
    /// One sentence.
    pub cause: String,
    /// What mends it.
    pub remedy: &'static str,
}

/// What a request may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Come in.
    Granted,
    /// Take a cookie for the token in its address, and come again without it.
    Exchange,
}

/// The rules of one server.
#[derive(Clone, Debug)]
pub struct Access {
    token: Option<Token>,
    listen: IpAddr,
    names: Vec<String>,
    cookie_name: String,
}

/// What may be asked without a token: whether the server lives, which a probe has to know and which says nothing else.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

fn denied(status: StatusCode, cause: impl Into<String>, remedy: &'static str) -> Denied {
    Denied {
        status,
        cause: cause.into(),
        remedy,
    }
}

/// The one value of a header; none where it is missing, given twice or no text.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok()).flatten()
}

/// Whether a method only looks.
fn looks(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

impl Access {
    /// The rules that follow from settings, for a server that listens at `address`.
    pub fn of(settings: &Settings, address: SocketAddr) -> Self {
        Access {
            token: settings.token.clone(),
            listen: address.ip(),
            names: settings
                .allow_host
                .iter()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
            // Cookies do not know ports: two servers of one machine must not take each other's.
            cookie_name: format!("flowrun-{}", address.port()),
        }
    }

    /// Whether a request may come in.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, request: &Parts) -> Result<Entry, Denied> {
        let host = self.host(request)?;
        self.origin(request, &host)?;
        if OPEN.contains(&request.uri.path()) && looks(&request.method) {
            return Ok(Entry::Granted);
        }
        let changes = !looks(&request.method);
        let Some(token) = &self.token else {
            if changes {
                return Err(denied(
                    StatusCode::FORBIDDEN,
                    "this server has no token, so nobody may change anything",
                    "give the graph's server node a token: token=env.NAME",
                ));
            }
            return Ok(Entry::Granted);
        };
        if self.bears(token, &request.headers) {
            return Ok(Entry::Granted);
        }
        if self.has_cookie(token, &request.headers) {
            // A cookie is sent by the browser and not by who wrote the request: the page's address must be there.
            if changes && only(&request.headers, &header::ORIGIN).is_none() {
                return Err(denied(
                    StatusCode::FORBIDDEN,
                    "a change asked for with a cookie does not say from which page",
                    "send the header `Authorization: Bearer TOKEN`",
                ));
            }
            return Ok(Entry::Granted);
        }
        if request.method == Method::GET && request.uri.path() == "/" && self.asks(token, request.uri.query()) {
            return Ok(Entry::Exchange);
        }
        Err(denied(
            StatusCode::UNAUTHORIZED,
            "this server asks for its token",
            "open /?token=TOKEN in a browser, or send the header `Authorization: Bearer TOKEN`",
        ))
    }

    /// The cookie that stands for the token in a browser.
    pub fn set_cookie(&self) -> Option<String> {
        let token = self.token.as_ref()?;
        Some(format!(
            "{}={}; Path=/; HttpOnly; SameSite=Strict",
            self.cookie_name,
            token.cookie()
        ))
    }

    /// By which name the server is called.
    fn host(&self, request: &Parts) -> Result<Authority, Denied> {
        let wrong = |cause: String| {
            let remedy = "call it by its address or localhost, or name the host in the graph: server allow-host=NAME";
            denied(StatusCode::MISDIRECTED_REQUEST, cause, remedy)
        };
        let parsed = only(&request.headers, &header::HOST).and_then(|host| host.parse::<Authority>().ok());
        let is_plain = |host: &Authority| {
            let port = host.as_str().strip_prefix(host.host());
            let port = port.map(|rest| rest.strip_prefix(':').unwrap_or(rest));
            port.is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok())
        };
        let Some(host) = parsed.filter(is_plain) else {
            return Err(denied(
                StatusCode::BAD_REQUEST,
                "the request has no Host header, or more than one",
                "send one",
            ));
        };
        // A request for a whole address says it twice.
        let others = request.uri.authority().into_iter();
        for name in std::iter::once(&host).chain(others) {
            if !self.is_own(name.host()) {
                return Err(wrong(format!(
                    "this server is not called `{}`",
                    name.host().escape_default()
                )));
            }
        }
        Ok(host)
    }

    fn is_own(&self, host: &str) -> bool {
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            // An address is no name that somebody else's DNS could give to this machine: where the server listens on
            // every address it has, any of them will do.
            return ip.is_loopback() || self.listen.is_unspecified() || ip == self.listen;
        }
        let name = bare.to_ascii_lowercase();
        name == "localhost" || self.names.contains(&name)
    }

    /// From which page a request comes.
    fn origin(&self, request: &Parts, host: &Authority) -> Result<(), Denied> {
        let site = request.headers.get("sec-fetch-site").map(|value| value.as_bytes());
        let elsewhere = |cause: &str| {
            denied(
                StatusCode::FORBIDDEN,
                cause,
                "use the server's own page, or a program that is no browser",
            )
        };
        // A socket is opened by a GET, and a browser lets any page open one.
        if looks(&request.method) && !socket::is_asked_for(&request.headers) {
            // A link may lead here; a picture, a script or a request of another site's page may not.
            let mode = request.headers.get("sec-fetch-mode").map(|value| value.as_bytes());
            if site == Some(b"cross-site") && mode != Some(b"navigate") {
                return Err(elsewhere("a page of another site asks for this"));
            }
            return Ok(());
        }
        if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
            return Err(elsewhere("a page of another origin asks for this"));
        }
        let same = |origin: &str| {
            let bare = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"));
            bare.is_some_and(|bare| bare.eq_ignore_ascii_case(host.as_str()))
        };
        let given = request.headers.contains_key(header::ORIGIN);
        match only(&request.headers, &header::ORIGIN) {
            Some(origin) if same(origin) => Ok(()),
            None if !given => Ok(()),
            _ => Err(elsewhere("a page of another origin asks for this")),
        }
    }

    fn bears(&self, token: &Token, headers: &HeaderMap) -> bool {
        let value = only(headers, &header::AUTHORIZATION);
        let scheme = value.and_then(|value| value.split_once(' '));
        scheme.is_some_and(|(scheme, secret)| scheme.eq_ignore_ascii_case("bearer") && token.is(secret.trim()))
    }

    fn has_cookie(&self, token: &Token, headers: &HeaderMap) -> bool {
        let lines = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let pairs = lines
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        pairs
            .filter(|(name, _)| *name == self.cookie_name)
            .any(|(_, value)| token.is_cookie(value))
    }

    fn asks(&self, token: &Token, query: Option<&str>) -> bool {
        let pairs = query.into_iter().flat_map(|query| query.split('&'));
        pairs
            .filter_map(|pair| pair.strip_prefix("token="))
            .any(|secret| token.is(secret))
    }
}

#[cfg(test)]
mod tests;
