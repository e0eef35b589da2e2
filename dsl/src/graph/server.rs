//! `server listen="127.0.0.1:8080" ...`: whether and where a run is served over HTTP.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use super::given::{Given, Other};
use super::{Graph, Reader};
use crate::diagnostic::{Diagnostic, code};
use crate::document::Node;
use crate::params::{Params, Secret};
use crate::source::Span;
use crate::value::Value;

/// Serves a run over HTTP: its page, its state, its metrics and what it publishes.
#[derive(Clone, Debug, Params)]
pub struct ServerParams {
    /// Address and port. Beyond the machine itself a token is asked for. Port 0 takes any free one; a `+` behind the
    /// port takes the next free one of the sixteen from there.
    #[param(default = "127.0.0.1:8080")]
    pub listen: String,
    /// The token that clients must show, at least 16 letters. Without one the machine itself needs none, and others
    /// need the one that is drawn and printed when the run starts.
    pub token: Option<Secret>,
    /// Names by which clients may call the server, beside addresses and `localhost`: what a proxy or DNS calls it.
    #[param(default = "")]
    pub allow_host: Vec<String>,
    /// Connections at once; further ones are answered 503.
    #[param(default = "512", min = 1, max = 65536)]
    pub connections: usize,
    /// Connections at once from one address; behind a proxy all clients are one.
    #[param(default = "128", min = 1, max = 65536)]
    pub connections_per_address: usize,
}

/// A `server` node.
#[derive(Debug)]
pub struct Server {
    /// Its parameters.
    pub given: Given,
    /// From its name to its last property.
    pub span: Span,
}

/// What to do about a port that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Say so and stop.
    Refuse,
    /// Try the next ones.
    Next,
}

/// Where to listen, as in `127.0.0.1:8080`, `[::1]:8080`, `localhost:0` or `127.0.0.1:8080+`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// What a `+` says.
    pub taken: Taken,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (plain, taken) = match text.strip_suffix('+') {
            Some(plain) => (plain, Taken::Next),
            None => (text, Taken::Refuse),
        };
        let local = |port: &str| Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?));
        let address = match plain.strip_prefix("localhost:") {
            Some(port) => local(port),
            None => plain.parse().ok(),
        };
        let address = address.ok_or_else(|| {
            format!("`{text}` is no address with a port: write it as in \"127.0.0.1:8080\", \"[::1]:8080\" or \"0.0.0.0:8080\"")
        })?;
        Ok(Listen { address, taken })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = if self.taken == Taken::Next { "+" } else { "" };
        write!(f, "{}{next}", self.address)
    }
}

impl Reader<'_> {
    /// Reads a `server` node.
    pub fn read_server(&mut self, node: &Node, graph: &mut Graph<'_>) {
        if let Some(first) = &graph.server {
            return self.report(
                Diagnostic::error(code::DUPLICATE_NAME, "there are two servers")
                    .label(node.name.span, "again")
                    .label(first.span, "first")
                    .help("one server serves all that a graph publishes"),
            );
        }
        let given = self.given(node, &[&ServerParams::schema()], Other::default());
        if let Some(listen) = given.0.get("listen")
            && let Value::Text(text) = &listen.value
            && let Err(cause) = text.parse::<Listen>()
        {
            self.report(Diagnostic::error(code::WRONG_TYPE, cause).label(listen.span, "not an address"));
        }
        if let Some(hosts) = given.0.get("allow-host")
            && let Value::List(names) = &hosts.value
        {
            for name in names {
                let Value::Text(name) = name else { continue };
                let letters = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
                if name.is_empty() || !name.chars().all(letters) {
                    self.report(
                        Diagnostic::error(code::WRONG_TYPE, format!("`{name}` is no host's name"))
                            .label(hosts.span, "should be names")
                            .help("a name without scheme and port, as in allow-host=\"cam.example.org\""),
                    );
                }
            }
        }
        graph.server = Some(Server { given, span: node.span });
    }

    /// Warns of sinks that nobody can reach.
    pub fn check_served(&mut self, graph: &Graph<'_>) {
        if graph.server.is_some() {
            return;
        }
        let flows = graph.flows.iter().flat_map(|flow| &flow.steps);
        let publishes = |step: &&super::step::Step<'_>| step.spec.role == crate::port::Role::Publish;
        if let Some(step) = flows.chain(&graph.sinks).find(publishes) {
            self.report(
                Diagnostic::warning(code::NO_SERVER, "nothing serves what this graph publishes")
                    .label(step.kind.span, "nobody can reach this")
                    .help("add `server listen=\"127.0.0.1:8080\"`, or run it with --listen 127.0.0.1:8080"),
            );
        }
    }
}
