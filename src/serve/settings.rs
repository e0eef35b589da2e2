//! What a server is told: where to listen, who may come in, and what is too much.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use flowrun_dsl::graph::server::{Listen, ServerParams};
use flowrun_dsl::params::{ParamValues, Params};
use sha2::{Digest, Sha256};

/// The least that a token from the environment may have. One of 16 letters cannot be guessed over a network.
const TOKEN_LETTERS: usize = 16;

/// Random bytes in a token that is drawn.
const DRAWN_BYTES: usize = 24;

/// Why nothing can be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct ServeError {
    /// One sentence.
    pub cause: String,
    /// What mends it.
    pub remedy: Option<String>,
}

impl ServeError {
    /// A failure with its cause.
    pub fn new(cause: impl Into<String>) -> Self {
        ServeError {
            cause: cause.into(),
            remedy: None,
        }
    }
    /// The same failure with what mends it.
    #[must_use]
    pub fn help(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// What clients must show. The token itself is kept only where it must be printed.
#[derive(Clone)]
pub struct Token {
    digest: [u8; 32],
    cookie: String,
    drawn: Option<String>,
}

/// A token is never shown by accident.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

fn digest(purpose: &str, secret: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(purpose.as_bytes());
    hash.update([0]);
    hash.update(secret.as_bytes());
    hash.finalize().into()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes the same time wherever two digests differ.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

impl Token {
    fn of(secret: &str) -> Self {
        Token {
            digest: digest("bearer", secret),
            cookie: hexadecimal(&digest("cookie", secret)),
            drawn: None,
        }
    }

    /// A token that somebody chose.
    ///
    /// # Errors
    /// When it could be guessed.
    pub fn chosen(secret: &str) -> Result<Self, ServeError> {
        let letters = |letter: char| letter.is_ascii_graphic();
        if secret.len() < TOKEN_LETTERS || !secret.chars().all(letters) {
            return Err(ServeError::new(format!(
                "the server's token has fewer than {TOKEN_LETTERS} letters, or some that a header cannot carry"
            ))
            .help("make one with `openssl rand -hex 24`"));
        }
        Ok(Token::of(secret))
    }

    /// A new one, which the server's address shows.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn drawn() -> Result<Self, ServeError> {
        let mut bytes = [0; DRAWN_BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|error| ServeError::new(format!("no random numbers for a token: {error}")))?;
        let secret = hexadecimal(&bytes);
        Ok(Token {
            drawn: Some(secret.clone()),
            ..Token::of(&secret)
        })
    }

    /// The token, where it was drawn and has to be told.
    pub fn to_tell(&self) -> Option<&str> {
        self.drawn.as_deref()
    }

    /// Whether this is the token. Digests are compared, so that the time it takes tells nothing about the token.
    pub fn is(&self, secret: &str) -> bool {
        same(&self.digest, &digest("bearer", secret))
    }

    /// What a browser's cookie holds instead of the token.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Whether this is what the cookie holds.
    pub fn is_cookie(&self, value: &str) -> bool {
        same(&digest("compare", &self.cookie), &digest("compare", value))
    }
}

/// The graph that runs.
#[derive(Clone, Debug, Default)]
pub struct GraphText {
    /// The file's name.
    pub name: String,
    /// SHA-256 of the text, in hexadecimal.
    pub hash: String,
}

impl GraphText {
    /// Of a text.
    pub fn of(name: &str, text: &str) -> Self {
        GraphText {
            name: name.into(),
            hash: hexadecimal(&Sha256::digest(text.as_bytes())),
        }
    }
}

/// What is too much.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address; of IPv6 from one network of 64 bits.
    pub connections_per_address: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// For a request's head, and between two requests of a connection.
    pub head: Duration,
    /// For a request's body.
    pub body: Duration,
    /// Until an answer begins.
    pub answer: Duration,
    /// For which a client may read nothing although there is something.
    pub stall: Duration,
    /// For answers under way when the server closes.
    pub close: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 512,
            connections_per_address: 128,
            head_bytes: 16 * 1024,
            headers: 64,
            body_bytes: 16 * 1024,
            head: Duration::from_secs(15),
            body: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            close: Duration::from_secs(2),
        }
    }
}

/// All that a server is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: Listen,
    /// What clients must show; without one all may look and nobody may change anything.
    pub token: Option<Token>,
    /// Names by which it may be called, beside addresses and `localhost`.
    pub allow_host: Vec<String>,
    /// What is too much.
    pub limits: Limits,
    /// The graph that runs.
    pub graph: GraphText,
}

impl Settings {
    /// For a graph's `server` node, for `--listen`, or both: the command line says where, the graph all else.
    /// `variable` reads the environment.
    ///
    /// # Errors
    /// When the token is missing, too short or cannot be drawn.
    pub fn of(
        server: Option<&ParamValues>,
        listen: Option<Listen>,
        graph: GraphText,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Settings>, ServeError> {
        let schema = ServerParams::schema();
        let defaults = || {
            schema
                .params
                .iter()
                .filter_map(|spec| Some((spec.name.clone(), spec.default.clone()?)))
        };
        let values: ParamValues = match (server, listen) {
            (None, None) => return Ok(None),
            (Some(server), _) => server.clone(),
            (None, Some(_)) => defaults().collect(),
        };
        let params = ServerParams::from_values(&values).expect("the plan's values follow the declaration");
        let listen = match listen {
            Some(listen) => listen,
            None => params.listen.parse().map_err(ServeError::new)?,
        };
        let token = match &params.token {
            Some(name) => {
                let unset = || {
                    ServeError::new(format!(
                        "the environment variable `{}`, the server's token, is not set",
                        name.0
                    ))
                    .help(format!("set it: export {}=$(openssl rand -hex 24)", name.0))
                };
                Some(Token::chosen(&variable(&name.0).ok_or_else(unset)?)?)
            }
            None if is_own(listen.address) => None,
            None => Some(Token::drawn()?),
        };
        Ok(Some(Settings {
            listen,
            token,
            allow_host: params.allow_host,
            limits: Limits {
                connections: params.connections,
                connections_per_address: params.connections_per_address,
                ..Limits::default()
            },
            graph,
        }))
    }
}

/// Whether an address is reached from the machine itself alone.
fn is_own(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(ip.is_loopback(), |ip| ip.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(listen: &str, variable: Option<&str>) -> Result<Option<Settings>, ServeError> {
        let mut server: ParamValues = ServerParams::schema()
            .params
            .into_iter()
            .filter_map(|spec| Some((spec.name, spec.default?)))
            .collect();
        if variable.is_some() {
            server.insert("token".into(), flowrun_dsl::value::Value::Secret("T".into()));
        }
        let listen = Some(listen.parse().unwrap());
        let value = variable.filter(|value| !value.is_empty()).map(str::to_owned);
        Settings::of(Some(&server), listen, GraphText::default(), |_| value.clone())
    }

    #[test]
    fn without_a_token_only_the_machine_itself_is_served() {
        assert!(
            Settings::of(None, None, GraphText::default(), |_| None)
                .unwrap()
                .is_none()
        );
        assert!(settings("127.0.0.1:0", None).unwrap().unwrap().token.is_none());
        assert!(settings("[::1]:0", None).unwrap().unwrap().token.is_none());
        assert!(settings("[::ffff:127.0.0.1]:0", None).unwrap().unwrap().token.is_none());
        for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
            let token = settings(open, None).unwrap().unwrap().token.unwrap();
            let told = token.to_tell().unwrap();
            assert!(told.len() == 48 && token.is(told) && !token.is("x"));
            assert!(token.is_cookie(token.cookie()) && token.cookie() != told);
            assert!(!format!("{token:?}").contains(told));
        }
    }

    #[test]
    fn a_token_comes_from_the_environment_and_is_long() {
        let chosen = settings("127.0.0.1:0", Some("0123456789abcdef"))
            .unwrap()
            .unwrap()
            .token;
        assert!(chosen.is_some_and(|token| token.is("0123456789abcdef") && token.to_tell().is_none()));
        assert!(settings("127.0.0.1:0", Some("")).unwrap_err().cause.contains("`T`"));
        for wrong in ["short", "with spaces in the middle"] {
            assert!(
                settings("127.0.0.1:0", Some(wrong))
                    .unwrap_err()
                    .cause
                    .contains("letters")
            );
        }
    }
}
