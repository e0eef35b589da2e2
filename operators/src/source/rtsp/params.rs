//! What a graph says about an RTSP camera, and what of it can be wrong without asking the camera.

use std::time::Duration;

use flowrun_dsl::params::{Choice, Params, Secret, Url};
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::secret::Revealed;

use crate::decode::DecoderChoice;
use crate::source::DecodeWhich;

/// How RTP packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Transport {
    /// Over TCP, and over UDP where the camera refuses that.
    Auto,
    /// Over the RTSP connection itself: nothing is lost, firewalls are no matter.
    Tcp,
    /// As datagrams: less delay on a good local network; late packets count as lost.
    Udp,
}

/// A network camera that speaks RTSP, with H.264 or H.265.
///
/// The run starts whether or not the camera answers; it is tried again and again, 0.5 to 30 seconds apart. What goes
/// wrong is an error row, once per cause. Event time is the camera's own clock where its sender reports are within
/// two seconds of this machine's, else the time of arrival, with an error row that says so. Sound is not asked for.
/// A change of the picture's size is no error. Frames that come faster than they can be answered are shed.
#[derive(Params, Clone, Debug)]
pub struct RtspParams {
    /// Where the camera is: `"rtsp://10.0.0.11/main"`, without user name and password.
    #[param(positional)]
    pub url: Url,
    /// The user name, as `env.NAME`.
    pub user: Option<Secret>,
    /// The password, as `env.NAME`. Basic and Digest are answered, as the camera asks.
    pub password: Option<Secret>,
    /// How packets travel.
    #[param(default = "auto")]
    pub transport: Transport,
    /// After how long without a picture the connection is given up and made anew.
    #[param(name = "silent-after", default = "10s", min = 1, max = 3600)]
    pub silent_after: Duration,
    /// At most this many pictures a second: the first at or after each instant k/fps. All when absent.
    #[param(min = 0.001, max = 1000.0)]
    pub fps: Option<f64>,
    /// Which pictures are decoded.
    #[param(default = "all")]
    pub decode: DecodeWhich,
    /// What decodes. On a device pictures stay there until somebody needs them on the host.
    #[param(default = "auto")]
    pub decoder: DecoderChoice,
}

/// The port of RTSP (RFC 2326, section 3.2).
const RTSP_PORT: u16 = 554;

/// A camera as its session needs it.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub url: url::Url,
    /// Host and port, for messages.
    pub place: String,
    pub credentials: Option<Credentials>,
    pub transport: Transport,
    pub silent_after: Duration,
}

/// What the camera asks for, with the names of the variables it came from.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub user: Revealed,
    pub password: Revealed,
    pub variables: String,
}

impl Address {
    /// Checks what can be checked without the camera, and looks up the secrets.
    pub fn of(params: &RtspParams) -> Result<Self> {
        let Url(text) = &params.url;
        let wrong = |cause: String| OperatorError::new(cause).help("write it as \"rtsp://10.0.0.11/main\"");
        let url = url::Url::parse(text).map_err(|error| wrong(format!("`{text}` is no URL: {error}")))?;
        if url.scheme() == "rtsps" {
            return Err(OperatorError::new("RTSP over TLS (rtsps) is not spoken")
                .help("use rtsp:// on a network that is yours, or through a tunnel"));
        }
        if url.scheme() != "rtsp" {
            return Err(wrong(format!("`{text}` is no RTSP address")));
        }
        let host = url.host_str().ok_or_else(|| wrong(format!("`{text}` names no host")))?;
        let place = format!("{host}:{}", url.port().unwrap_or(RTSP_PORT));
        let credentials = match (&params.user, &params.password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some(Credentials {
                user: Revealed::of(user)?,
                password: Revealed::of(password)?,
                variables: format!("{} and {}", user.0, password.0),
            }),
            (Some(_), None) => {
                return Err(OperatorError::new("there is a user and no password").help("add password=env.NAME"));
            }
            (None, Some(_)) => {
                return Err(OperatorError::new("there is a password and no user").help("add user=env.NAME"));
            }
        };
        Ok(Address {
            url,
            place,
            credentials,
            transport: params.transport,
            silent_after: params.silent_after,
        })
    }

    /// A text that came from the camera, short, in one line and without the password.
    pub fn quote(&self, text: &str) -> String {
        const LETTERS_AT_MOST: usize = 200;
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let plain: String = line
            .chars()
            .filter(|letter| !letter.is_control())
            .take(LETTERS_AT_MOST)
            .collect();
        match &self.credentials {
            Some(credentials) => credentials.password.blot(&plain),
            None => plain,
        }
    }
}
