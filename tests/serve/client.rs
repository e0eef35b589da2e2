//! A client that says exactly what it is told to, as no library would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Far more than anything here takes; a test that hangs fails after it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads status and headers.
fn head(reader: &mut impl BufRead) -> Option<(u16, Vec<(String, String)>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Some((status, headers)),
        }
    }
}

/// Sends bytes and reads an answer; none when the server just closed. What it does not want to read it need not.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let (status, headers, body) = exchange(address, bytes)?;
    Some(Answer {
        status,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn exchange(address: SocketAddr, bytes: &[u8]) -> Option<(u16, Vec<(String, String)>, Vec<u8>)> {
    let mut stream = connect(address);
    let _ = stream.write_all(bytes);
    let mut reader = BufReader::new(stream);
    let (status, headers) = head(&mut reader)?;
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = Vec::new();
    match length {
        Some((_, length)) => drop(reader.take(length.parse().unwrap()).read_to_end(&mut body)),
        None => drop(reader.read_to_end(&mut body)),
    }
    Some((status, headers, body))
}

/// The bytes that are there.
pub fn download(address: SocketAddr, target: &str) -> Vec<u8> {
    let text = format!("GET {target} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let (status, _, body) = exchange(address, text.as_bytes()).unwrap_or_else(|| panic!("no answer to {text}"));
    assert_eq!(status, 200, "{target}");
    body
}

/// A request with these headers, `Host` among them.
pub fn ask(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    // HTTP/1.0: the answer comes without chunks and ends with the connection.
    let mut text = format!("{method} {target} HTTP/1.0\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text += &format!("Host: {address}\r\n");
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    raw(address, text.as_bytes()).unwrap_or_else(|| panic!("no answer to {text}"))
}

/// A request with a body.
pub fn send(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut text = format!(
        "{method} {target} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    text += body;
    raw(address, text.as_bytes()).unwrap_or_else(|| panic!("no answer to {text}"))
}

pub fn get(address: SocketAddr, target: &str) -> Answer {
    ask(address, "GET", target, &[])
}

/// Asks until something holds.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what} never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: u64,
    pub event: String,
    pub data: Value,
}

/// A stream of events as it comes.
pub struct Events(BufReader<TcpStream>);

impl Events {
    pub fn open(address: SocketAddr, target: &str, last: Option<u64>) -> Self {
        Self::over(connect(address), address, target, last)
    }

    pub fn over(mut stream: TcpStream, address: SocketAddr, target: &str, last: Option<u64>) -> Self {
        let last = last.map_or_else(String::new, |last| format!("Last-Event-ID: {last}\r\n"));
        let text = format!("GET {target} HTTP/1.0\r\nHost: {address}\r\n{last}\r\n");
        stream.write_all(text.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let (status, headers) = head(&mut reader).expect("an answer");
        assert_eq!(status, 200);
        let media = headers.iter().find(|(name, _)| name == "content-type");
        assert_eq!(media.map(|(_, value)| value.as_str()), Some("text/event-stream"));
        Events(reader)
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let (mut id, mut event) = (None, None);
        let mut line = String::new();
        loop {
            line.clear();
            if self.0.read_line(&mut line).expect("the server keeps talking") == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", text)) => id = text.parse().ok(),
                Some(("event", text)) => event = Some(text.to_owned()),
                Some(("data", text)) => {
                    return Some(Event {
                        id: id.expect("each event has a number"),
                        event: event.expect("each event has a name"),
                        data: serde_json::from_str(text).expect("JSON"),
                    });
                }
                _ => {}
            }
        }
    }
}
