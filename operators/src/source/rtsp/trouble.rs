//! What can go wrong with a camera, in words that help.

use super::params::{Address, Credentials, Transport};
use super::retry::Hope;

/// Why there are no pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What is wrong; the same words for the same cause.
    pub cause: String,
    /// What mends it.
    pub remedy: String,
    /// Whether it may mend itself.
    pub hope: Hope,
}

/// The camera asks for other credentials (RFC 2326, sections 7.1.1 and 11.3).
const UNAUTHORIZED: u16 = 401;
const FORBIDDEN: u16 = 403;
const NOT_FOUND: u16 = 404;
const NOT_ENOUGH_BANDWIDTH: u16 = 453;
/// It does not send over what was asked for.
const UNSUPPORTED_TRANSPORT: u16 = 461;

impl Trouble {
    fn new(cause: String, remedy: impl Into<String>, hope: Hope) -> Self {
        Trouble {
            cause,
            remedy: remedy.into(),
            hope,
        }
    }

    /// What retina reports.
    pub fn of(error: &retina::Error, address: &Address) -> Self {
        let place = &address.place;
        match error.status_code() {
            Some(UNAUTHORIZED | FORBIDDEN) => Trouble::credentials(address),
            Some(NOT_FOUND) => Trouble::new(
                format!("{place} has no stream at {} (404)", address.url.path()),
                "put the path from the camera's manual or its web page into the URL",
                Hope::Late,
            ),
            Some(NOT_ENOUGH_BANDWIDTH) => Trouble::new(
                format!("{place} has no bandwidth or session left (453)"),
                "end other viewers of the camera, or take its second stream",
                Hope::Late,
            ),
            Some(UNSUPPORTED_TRANSPORT) => Trouble::new(
                format!("{place} does not send over this transport (461)"),
                match address.transport {
                    Transport::Udp => "use transport=tcp or transport=auto",
                    _ => "use transport=udp or transport=auto",
                },
                Hope::Late,
            ),
            _ => Trouble::new(
                format!("{place}: {}", address.quote(&error.to_string())),
                "check that the camera is on, that its address and port are right, and that this machine reaches it",
                Hope::Soon,
            ),
        }
    }

    fn credentials(address: &Address) -> Self {
        let place = &address.place;
        match &address.credentials {
            Some(Credentials { variables, .. }) => Trouble::new(
                format!("{place} refuses the user name or the password (401)"),
                format!("set {variables} to what the camera takes, and start again"),
                Hope::Late,
            ),
            None => Trouble::new(
                format!("{place} asks for a user name and a password (401)"),
                "add user=env.NAME and password=env.NAME",
                Hope::Late,
            ),
        }
    }

    /// It did not answer in time.
    pub fn slow(address: &Address, seconds: u64) -> Self {
        Trouble::new(
            format!("{} does not answer within {seconds} s", address.place),
            "check that the camera is on and that no firewall is between",
            Hope::Soon,
        )
    }

    /// It answers and sends no picture.
    pub fn silent(address: &Address) -> Self {
        let place = &address.place;
        let seconds = address.silent_after.as_secs_f64();
        Trouble::new(
            format!("{place} has sent no picture for {seconds} s"),
            match address.transport {
                Transport::Udp => "check the camera, or use transport=tcp where a firewall keeps datagrams out",
                _ => "check the camera; silent-after= sets how long is waited",
            },
            Hope::Soon,
        )
    }

    /// The session has ended without a word.
    pub fn ended(address: &Address) -> Self {
        Trouble::new(
            format!("{} has ended the session", address.place),
            "it is asked again; some cameras do so when too many watch",
            Hope::Soon,
        )
    }

    /// It has no stream that is understood.
    pub fn no_video(address: &Address, offered: &str) -> Self {
        Trouble::new(
            format!(
                "{} offers no H.264 or H.265 ({})",
                address.place,
                address.quote(offered)
            ),
            "set the camera's encoding to H.264 or H.265, or take another of its streams",
            Hope::Late,
        )
    }

    /// A defect of ours or of a library.
    pub fn panicked(address: &Address) -> Self {
        Trouble::new(
            format!("what {} sends made its session fail unexpectedly", address.place),
            "report this with the camera's model and firmware",
            Hope::Soon,
        )
    }
}
