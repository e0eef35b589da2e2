//! Connections: where they are taken, how many there may be, and how long each may take.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowrun_dsl::graph::server::{Listen, Taken};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::serve::app::App;
use crate::serve::settings::{Limits, ServeError};
use crate::serve::stall::Stalling;

/// Ports that are tried where the next free one is asked for.
const PORTS_TRIED: u16 = 16;

/// Connections that the system may hold until they are taken.
const WAITING: u32 = 256;

/// Bytes that the system may hold for a client that does not read; it doubles what it is told.
const SEND_BUFFER: u32 = 128 * 1024;

/// The pause after the system has no more files to give.
const BREATH: Duration = Duration::from_millis(100);

/// What those get for whom there is no room.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: 5\r\n\r\n";

/// Listens there, or on one of the next ports.
pub fn bind(listen: &Listen) -> Result<TcpListener, ServeError> {
    let tries = match (listen.taken, listen.address.port()) {
        (Taken::Next, port) if port != 0 => PORTS_TRIED,
        _ => 1,
    };
    let mut last = None;
    for step in 0..tries {
        let mut address = listen.address;
        let Some(port) = address.port().checked_add(step) else {
            break;
        };
        address.set_port(port);
        match bind_to(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some((address, error)),
        }
    }
    let (address, error) = last.expect("one port is always tried");
    let cause = format!("cannot listen on {address}: {error}");
    let error = match error.kind() {
        io::ErrorKind::AddrInUse => ServeError::new(cause).help(
            "another program has this port; name another one, 0 for any that is free, or PORT+ for the next that is free",
        ),
        io::ErrorKind::PermissionDenied => ServeError::new(cause).help("ports below 1024 are root's; name a higher one"),
        io::ErrorKind::AddrNotAvailable => {
            ServeError::new(cause).help("this machine has no such address; 0.0.0.0 means all that it has")
        }
        _ => ServeError::new(cause),
    };
    Err(error)
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A port whose last connections are still fading away may be used again.
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

/// Who is connected.
#[derive(Clone)]
pub struct Connections {
    open: watch::Sender<usize>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Held by whoever uses a connection beyond its requests: it counts until the last holder is gone.
#[derive(Clone)]
pub struct Held {
    _place: Arc<Place>,
}

/// One connection's place among them.
struct Place {
    connections: Connections,
    address: IpAddr,
}

/// Whoever has an IPv6 network has all its addresses.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => IpAddr::V4(ip),
            None => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        },
    }
}

impl Connections {
    /// Nobody.
    pub fn none() -> Self {
        Connections {
            open: watch::Sender::new(0),
            by_address: Arc::default(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        *self.open.borrow()
    }

    /// Follows how many there are.
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.open.subscribe()
    }

    fn take(&self, peer: IpAddr, limits: &Limits) -> Option<Place> {
        let address = network(peer);
        let mut by_address = self.by_address.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let own = by_address.get(&address).copied().unwrap_or(0);
        if self.count() >= limits.connections || own >= limits.connections_per_address {
            return None;
        }
        by_address.insert(address, own + 1);
        self.open.send_modify(|open| *open += 1);
        Some(Place {
            connections: self.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let by_address = &self.connections.by_address;
        let mut by_address = by_address.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match by_address.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(by_address.remove(&self.address)),
        }
        self.connections.open.send_modify(|open| *open -= 1);
    }
}

/// Takes connections until the server closes.
pub async fn accept(listener: TcpListener, app: Arc<App>, mut closing: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            _ = closing.changed() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match app.connections.take(peer.ip(), &app.limits) {
                Some(place) => {
                    tokio::spawn(attend(stream, place, app.clone(), closing.clone()));
                }
                None => {
                    app.refused();
                    // Whether it gets there is of no importance.
                    let _ = stream.try_write(FULL);
                }
            },
            // Out of files, most likely: connections that end will give some back.
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
}

async fn attend(stream: TcpStream, place: Place, app: Arc<App>, mut closing: watch::Receiver<bool>) {
    // Small events must not wait for more to be sent with them.
    let _ = stream.set_nodelay(true);
    let limits = app.limits;
    let held = Held {
        _place: Arc::new(place),
    };
    let lent = held.clone();
    let io = TokioIo::new(Stalling::new(stream, limits.stall));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let app = app.clone();
        request.extensions_mut().insert(lent.clone());
        async move { Ok::<_, Infallible>(app.answer(request.map(axum::body::Body::new)).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes)
        .half_close(false)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut told = false;
    loop {
        tokio::select! {
            // However it ends, what it was is over: errors here are the client's.
            _ = connection.as_mut() => break,
            _ = closing.changed(), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
    drop(held);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_place() {
        let connections = Connections::none();
        let limits = Limits {
            connections: 4,
            connections_per_address: 2,
            ..Limits::default()
        };
        let take = |ip: &str| connections.take(ip.parse().unwrap(), &limits);
        let first = (take("192.0.2.1"), take("::ffff:192.0.2.1"));
        assert!(first.0.is_some() && first.1.is_some() && take("192.0.2.1").is_none());
        let second = (take("2001:db8::1"), take("2001:db8::2"));
        assert!(second.0.is_some() && second.1.is_some());
        assert!(take("192.0.2.9").is_none(), "all places are taken");
        drop(second);
        assert_eq!(connections.count(), 2);
        assert!(take("2001:db8::3").is_some());
        drop(first);
        assert_eq!(connections.count(), 0);
        assert!(connections.by_address.lock().unwrap().is_empty());
    }
}
