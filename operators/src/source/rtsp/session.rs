//! A camera's task on the network: it connects, listens, and when that ends connects again.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use flowrun_engine::clock::WallClock;
use flowrun_engine::time::EventTime;
use futures_util::{FutureExt, StreamExt};
use retina::client::{
    Demuxed, Described, PlayOptions, Session, SessionGroup, SessionOptions, SetupOptions, TcpTransportOptions,
    UdpTransportOptions,
};
use retina::codec::{CodecItem, FrameFormat, ParametersRef, VideoFrame};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::params::{Address, Transport};
use super::queue::Queue;
use super::retry::{Backoff, STABLE_AFTER};
use super::stream::Assembler;
use super::trouble::Trouble;

/// How long a camera may take to describe itself and begin to play.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long is waited for a camera to take leave.
pub(super) const LEAVE_WITHIN: Duration = Duration::from_secs(1);
/// Damaged packets in a row after which a session counts as broken.
const ERRORS_AT_MOST: u32 = 50;

/// What a task knows.
pub(super) struct Camera {
    pub address: Address,
    pub wall: WallClock,
    pub queue: Arc<Queue>,
}

/// Says that the task has ended, however it did.
struct Finish(Arc<Queue>);

impl Drop for Finish {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// Keeps a camera connected until the other end of `cancelled` is dropped.
pub(super) async fn attend(camera: Camera, cancelled: oneshot::Receiver<()>) {
    let _finish = Finish(camera.queue.clone());
    let group = Arc::new(SessionGroup::default().named(camera.address.place.clone()));
    let mut watch = Watch {
        camera,
        group: group.clone(),
        assembler: Assembler::new(),
        backoff: Backoff::default(),
        told: None,
        without_since: None,
    };
    tokio::select! {
        _ = cancelled => {}
        _ = watch.forever() => {}
    }
    // The session is gone and with it its connection, once it has said so to the camera.
    leave(&group).await;
}

/// Gives a camera the time to end stale sessions; some have room for two.
async fn leave(group: &SessionGroup) {
    // A camera that does not take leave forgets the session by itself.
    let _ = timeout(LEAVE_WITHIN, group.await_teardown()).await;
}

struct Watch {
    camera: Camera,
    group: Arc<SessionGroup>,
    assembler: Assembler,
    backoff: Backoff,
    /// The cause that was told last.
    told: Option<String>,
    /// Since when there are no pictures, while there are none.
    without_since: Option<EventTime>,
}

impl Watch {
    async fn forever(&mut self) -> Infallible {
        loop {
            let ended = AssertUnwindSafe(self.session()).catch_unwind().await;
            let trouble = match ended {
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::panicked(&self.camera.address),
            };
            self.without_since.get_or_insert_with(|| self.camera.wall.now());
            let Trouble { cause, remedy, hope } = trouble;
            if self.told.as_ref() != Some(&cause) {
                self.camera.queue.tell(format!("{cause}; {remedy}"));
                self.told = Some(cause);
            }
            let wait = self.backoff.wait(hope);
            tracing::debug!(camera = %self.camera.address.place, ?wait, "no pictures");
            leave(&self.group).await;
            sleep(wait).await;
        }
    }

    /// One session, from connecting to its end.
    async fn session(&mut self) -> Result<Infallible, Trouble> {
        let address = &self.camera.address;
        let (mut demuxed, stream) = timeout(CONNECT_WITHIN, connect(address, &self.group))
            .await
            .map_err(|_| Trouble::slow(address, CONNECT_WITHIN.as_secs()))??;
        self.assembler.restart();
        self.camera.queue.begin();
        let mut began: Option<EventTime> = None;
        loop {
            let silent_after = self.camera.address.silent_after;
            let frame = timeout(silent_after, self.next_frame(&mut demuxed))
                .await
                .map_err(|_| Trouble::silent(&self.camera.address))??;
            let heard = self.camera.wall.at(frame.end_ctx().received());
            match began {
                None => {
                    began = Some(heard);
                    self.pictures_again(heard);
                }
                Some(began) if self.told.is_some() && heard.since(began) >= STABLE_AFTER => {
                    self.backoff.reset();
                    self.told = None;
                }
                Some(_) => {}
            }
            let parameters = match demuxed.streams()[stream].parameters() {
                Some(ParametersRef::Video(parameters)) => Some(parameters),
                _ => None,
            };
            let assembled = self.assembler.frame(frame, parameters, heard);
            assembled
                .faults
                .into_iter()
                .for_each(|fault| self.camera.queue.tell(fault));
            if let Some(unit) = assembled.unit {
                self.camera.queue.offer(unit);
            }
        }
    }

    fn pictures_again(&mut self, heard: EventTime) {
        let Some(since) = self.without_since.take() else { return };
        let seconds = heard.since(since).as_secs_f64();
        let attempts = match self.backoff.attempts() {
            1 => "1 attempt".into(),
            several => format!("{several} attempts"),
        };
        self.camera.queue.tell(format!(
            "pictures come again, after {seconds:.1} s without and {attempts}"
        ));
    }

    /// The next video frame; what comes between is dealt with.
    async fn next_frame(&mut self, demuxed: &mut Demuxed) -> Result<VideoFrame, Trouble> {
        let mut errors = 0;
        loop {
            match demuxed.next().await {
                Some(Ok(CodecItem::VideoFrame(frame))) => return Ok(frame),
                Some(Ok(CodecItem::Rtcp(compound))) => {
                    let report = compound
                        .pkts()
                        .next()
                        .and_then(|first| first.as_sender_report().ok().flatten());
                    if let (Some(rtp), Some(report)) = (compound.rtp_timestamp(), report) {
                        let heard = self.camera.wall.at(compound.ctx().received());
                        let told = self.assembler.report(report.ntp_timestamp().0, rtp, heard);
                        told.into_iter().for_each(|fault| self.camera.queue.tell(fault));
                    }
                }
                Some(Ok(_)) => {}
                // A damaged packet costs its picture; a broken connection fails again at once.
                Some(Err(error)) => {
                    errors += 1;
                    if errors >= ERRORS_AT_MOST {
                        return Err(Trouble::of(&error, &self.camera.address));
                    }
                    if errors == 1 {
                        tracing::debug!(camera = %self.camera.address.place, cause = %self.camera.address.quote(&error.to_string()), "a packet");
                    }
                }
                None => return Err(Trouble::ended(&self.camera.address)),
            }
        }
    }
}

/// Connects and begins to play; gives the session and the number of its video stream.
async fn connect(address: &Address, group: &Arc<SessionGroup>) -> Result<(Demuxed, usize), Trouble> {
    let trouble = |error: retina::Error| Trouble::of(&error, address);
    let credentials = address.credentials.as_ref().map(|known| retina::client::Credentials {
        username: known.user.expose().to_owned(),
        password: known.password.expose().to_owned(),
    });
    let options = SessionOptions::default()
        .creds(credentials)
        .user_agent(concat!("flowrun/", env!("CARGO_PKG_VERSION")).to_owned())
        .session_group(group.clone());
    let mut session = Session::describe(address.url.clone(), options).await.map_err(trouble)?;
    let stream = video(&session, address)?;
    set_up(&mut session, stream, address).await.map_err(trouble)?;
    let playing = session.play(PlayOptions::default()).await.map_err(trouble)?;
    Ok((playing.demuxed().map_err(trouble)?, stream))
}

/// The first stream that can be decoded.
fn video(session: &Session<Described>, address: &Address) -> Result<usize, Trouble> {
    let known = |stream: &retina::client::Stream| {
        stream.media() == "video" && matches!(stream.encoding_name(), "h264" | "h265")
    };
    session.streams().iter().position(known).ok_or_else(|| {
        let offered: Vec<String> = session
            .streams()
            .iter()
            .map(|stream| format!("{} {}", stream.media(), stream.encoding_name()))
            .collect();
        Trouble::no_video(address, &offered.join(", "))
    })
}

async fn set_up(session: &mut Session<Described>, stream: usize, address: &Address) -> Result<(), retina::Error> {
    let options = |transport| {
        SetupOptions::default()
            .transport(transport)
            .frame_format(FrameFormat::MP4)
    };
    let tcp = || retina::client::Transport::Tcp(TcpTransportOptions::default());
    let udp = || retina::client::Transport::Udp(UdpTransportOptions::default());
    match address.transport {
        Transport::Tcp => session.setup(stream, options(tcp())).await,
        Transport::Udp => session.setup(stream, options(udp())).await,
        Transport::Auto => match session.setup(stream, options(tcp())).await {
            // Some say 461, others answer as if they had been asked for UDP.
            Err(error) if error.status_code().is_some() => session.setup(stream, options(udp())).await,
            done => done,
        },
    }
}
