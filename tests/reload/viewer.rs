//! Somebody who watches a stream of fragments and counts them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Watches in a thread of its own.
pub struct Viewer {
    leaves: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Viewer {
    /// Begins to watch `stream.mp4` of a camera.
    pub fn open(address: SocketAddr, target: &str) -> Self {
        let leaves = Arc::new(AtomicBool::new(false));
        let (gone, target) = (leaves.clone(), target.to_owned());
        let thread = std::thread::spawn(move || watch(address, &target, &gone));
        Viewer { leaves, thread }
    }

    /// Leaves, and gives the number of fragments that came, whose numbers followed each other.
    pub fn fragments(self) -> u64 {
        self.leaves.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn watch(address: SocketAddr, target: &str, gone: &AtomicBool) -> u64 {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
    // HTTP/1.0: the bytes come as they are, without chunks.
    write!(stream, "GET {target} HTTP/1.0\r\nHost: {address}\r\n\r\n").expect("the server reads");
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert_ne!(
            reader.read_line(&mut line).expect("an answer"),
            0,
            "{target}: no answer"
        );
    }
    let (mut seen, mut number) = (0, None);
    while !gone.load(Ordering::Relaxed) {
        let (kind, body) = read_box(&mut reader).unwrap_or_else(|| panic!("{target} ended after {seen} fragments"));
        if kind == *b"moof" {
            // ISO/IEC 14496-12, 8.8.5: mfhd comes first: size, name, version and flags, number.
            let now = u32::from_be_bytes(body[12..16].try_into().expect("four bytes"));
            if let Some(before) = number {
                assert_eq!(now, before + 1, "{target}: fragments follow each other");
            }
            (seen, number) = (seen + 1, Some(now));
        }
    }
    seen
}

/// The next box: its name and what is in it.
fn read_box(reader: &mut impl Read) -> Option<([u8; 4], Vec<u8>)> {
    let mut head = [0; 8];
    reader.read_exact(&mut head).ok()?;
    let (length, kind) = head.split_at(4);
    let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
    let mut body = vec![0; length as usize - 8];
    reader.read_exact(&mut body).ok()?;
    Some((kind.try_into().expect("four bytes"), body))
}
