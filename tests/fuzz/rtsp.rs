//! A camera that answers nonsense: what it says and sends is damaged, a whole session at a time, and goes the whole way
//! from the socket to the decoder.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use flowrun::dsl::params::{ParamValues, Params};
use flowrun::dsl::value::Value;
use flowrun::engine::names::Names;
use flowrun::engine::network::Network;
use flowrun::engine::operator::{Next, Source, SourceSetup};
use flowrun::engine::rows::CameraId;
use flowrun::operators::source::rtsp::{RtspParams, RtspSource};

use crate::mutate::mutated;

/// Between the answers of a conversation: to DESCRIBE, SETUP and PLAY, and the packets after them.
const CUT: &[u8] = b"\n--cut--\n";
/// What a session may say and show before it is over.
const STEPS_AT_MOST: usize = 1_000;

/// Three pictures of 32x32, by x264, and of 64x64, by x265; NAL units in hexadecimal.
const H264: [&str; 5] = [
    "6742c00ada25b011000003000100000300148f1226a0",
    "68ce0fc8",
    "6588843a118a00021291c00042ce3800082e49d75e",
    "419a20328b",
    "419a40368b",
];
const H265: [&str; 6] = [
    "40010c01ffff01600000030090000003000003001eba0240",
    "42010101600000030090000003000003001ea020810596e92930bc05a02000000300200000030141",
    "4401c0718112",
    "2801ade0c7a6175167ff915296d370fbcbf8",
    "0201d0097881dc8b1db0",
    "0201d011fe207d868350",
];

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits"))
        .collect()
}

/// A conversation in good order.
fn conversation(codec: &str, nals: &[&str]) -> Vec<u8> {
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\n\
         a=rtpmap:96 {codec}/90000\r\na=framerate:10\r\na=control:trackID=1\r\n"
    );
    let describe = format!(
        "RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    let setup =
        "RTSP/1.0 200 OK\r\nCSeq: 2\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 7;timeout=60\r\n\r\n";
    let play = "RTSP/1.0 200 OK\r\nCSeq: 3\r\nSession: 7\r\n\r\n";
    let mut packets = Vec::new();
    // A sender report first (RFC 3550, 6.4.1).
    let report = "80c80006000000070000000000000000000000000000000000000000";
    packets.extend([&[b'$', 1, 0, 28][..], &bytes(report)].concat());
    for (index, nal) in nals.iter().map(|nal| bytes(nal)).enumerate() {
        let picture = (index + 3).saturating_sub(nals.len());
        let last = index + 3 >= nals.len();
        let mut packet = vec![0x80, if last { 0xe0 } else { 0x60 }, 0, index as u8];
        packet.extend((picture as u32 * 9_000).to_be_bytes());
        packet.extend([0, 0, 0, 7]);
        packet.extend(&nal);
        packets.extend([b'$', 0, 0, packet.len() as u8]);
        packets.extend(packet);
    }
    [describe.as_bytes(), setup.as_bytes(), play.as_bytes(), &packets].join(CUT)
}

/// Answers each request with the next part, whatever is asked; then goes.
fn converse(mut stream: TcpStream, conversation: &[u8]) -> std::io::Result<()> {
    // A camera that is not asked any more has nobody to wait for.
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut rest = conversation;
    for _ in 0..3 {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            request.push(byte[0]);
        }
        let end = rest.windows(CUT.len()).position(|window| window == CUT);
        let (part, others) = end.map_or((rest, &[][..]), |end| (&rest[..end], &rest[end + CUT.len()..]));
        stream.write_all(part)?;
        rest = others;
    }
    stream.write_all(rest)?;
    stream.shutdown(Shutdown::Write)?;
    // Until the other side has read it all and closes.
    let mut ignored = Vec::new();
    stream.read_to_end(&mut ignored).map(drop)
}

struct Camera {
    port: u16,
    conversations: Sender<Vec<u8>>,
    network: Network,
}

impl Camera {
    fn new() -> Camera {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let (conversations, waiting): (_, Receiver<Vec<u8>>) = channel();
        std::thread::spawn(move || {
            // Each conversation is for one connection; further attempts find the listener closed to them.
            while let Ok(conversation) = waiting.recv() {
                let Ok((stream, _)) = listener.accept() else { return };
                // A conversation that breaks off is what is looked for.
                drop(converse(stream, &conversation));
            }
        });
        Camera {
            port,
            conversations,
            network: Network::default(),
        }
    }

    /// How many pictures came before the session was over.
    fn play(&self, conversation: Vec<u8>) -> usize {
        self.conversations.send(conversation).expect("the camera is on");
        let declared = RtspParams::schema().params.into_iter();
        let mut values: ParamValues = declared
            .filter_map(|param| Some((param.name, param.default?)))
            .collect();
        let place = format!("127.0.0.1:{}", self.port);
        values.insert("url".into(), Value::Text(format!("rtsp://{place}/main")));
        values.insert("transport".into(), Value::Text("tcp".into()));
        values.insert("silent-after".into(), Value::Duration(Duration::from_secs(1)));
        let params = RtspParams::from_values(&values).expect("the parameters are complete");
        let names = Arc::new(Names::default());
        let setup = SourceSetup {
            network: self.network.clone(),
            ..SourceSetup::new(Path::new("."), &names, CameraId(0))
        };
        let mut source = RtspSource::open(params, &setup).expect("an address");
        let (mut pictures, mut last) = (0, i64::MIN);
        for _ in 0..STEPS_AT_MOST {
            match source.next().expect("a camera never ends by itself") {
                Next::Item(item) => {
                    assert!(item.media_time > last, "time goes forward");
                    last = item.media_time;
                    pictures += 1;
                }
                Next::Fault(cause) => {
                    assert!(cause.len() < 1_000, "a message is short: {cause}");
                    assert!(!cause.contains("failed unexpectedly"), "{cause}");
                    if cause.contains(&place) {
                        return pictures;
                    }
                }
                Next::End => panic!("a camera never ends by itself"),
            }
        }
        panic!("a session without end");
    }
}

#[test]
fn what_cameras_send() {
    let seeds = [conversation("H264", &H264), conversation("H265", &H265)];
    let camera = Camera::new();
    for seed in &seeds {
        assert_eq!(camera.play(seed.clone()), 3, "an undamaged session shows its pictures");
    }
    (0..super::rounds(400)).for_each(|round| {
        camera.play(mutated(&seeds, round));
    });
}
