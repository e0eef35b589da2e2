//! What real cameras answered to DESCRIBE, SETUP and PLAY, recorded by retina's authors: each text is served to a whole
//! run by a camera that then sends nothing. Silence is the one thing to be told; whatever else is told is listed here.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use crate::probe::Watched;

/// What is no answer that a session gets before it plays.
const NO_ANSWERS: [&str; 4] = ["request", "response", "dahua_options", "reolink_teardown"];

/// Answers that end otherwise than in silence, with a part of what is told.
const EXCEPTIONS: [(&str, &str); 1] = [("longse_unauthorized", "refuses the user name or the password (401)")];

const DESCRIBE: &str = "RTSP/1.0 200 OK\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=a\r\nt=0 0\r\n\
                        m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n";
const SETUP: &str =
    "RTSP/1.0 200 OK\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1;timeout=60\r\n\r\n";
const PLAY: &str = "RTSP/1.0 200 OK\r\nSession: 1\r\n\r\n";

type Texts = BTreeMap<String, String>;

fn recorded() -> Option<Texts> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data"));
    let folder = std::env::var_os("FLOWRUN_DATA")
        .map_or_else(beside, PathBuf::from)
        .join("rtsp/retina/src");
    let mut texts = Texts::new();
    for part in ["client/testdata", "rtsp/testdata"] {
        for entry in std::fs::read_dir(folder.join(part)).into_iter().flatten().flatten() {
            let name = entry.path().file_stem().unwrap().to_str().unwrap().to_owned();
            texts.insert(name, std::fs::read_to_string(entry.path()).unwrap());
        }
    }
    if texts.is_empty() {
        eprintln!("skipped: no reference data");
        return None;
    }
    Some(texts)
}

/// The text to send to a request of a camera: the case's own where it is of this kind, else its maker's, else a plain one.
fn answer(texts: &Texts, case: &str, method: &str) -> String {
    let kinds: &[&str] = match method {
        "DESCRIBE" => &["describe", "sdp", "unauthorized"],
        "SETUP" => &["setup"],
        "PLAY" => &["play", "rtptime"],
        _ => &[],
    };
    let of_kind = |name: &str| kinds.iter().any(|kind| name.split('_').any(|part| part == *kind));
    let maker = match case {
        // A copy of another's with one thing changed.
        "bad_rtptime" => "bunny",
        _ => case.split_once("_describe").map_or(case, |(maker, _)| maker),
    };
    let maker = ["_setup", "_play", "_sdp"]
        .iter()
        .find_map(|cut| maker.split_once(cut))
        .map_or(maker, |(maker, _)| maker);
    let theirs = || {
        texts
            .keys()
            .find(|name| name.starts_with(maker) && of_kind(name) && !name.contains("audio"))
    };
    let name = if of_kind(case) {
        Some(case)
    } else {
        theirs().map(String::as_str)
    };
    let text = name.map(|name| texts[name].clone());
    let text = text.map(|text| {
        if text.starts_with("v=0") {
            format!("RTSP/1.0 200 OK\r\nContent-Type: application/sdp\r\n\r\n{text}")
        } else {
            text
        }
    });
    text.unwrap_or_else(|| {
        match method {
            "DESCRIBE" => DESCRIBE,
            "SETUP" => SETUP,
            _ => PLAY,
        }
        .to_owned()
    })
}

/// Answers the requests of one connection.
fn serve(stream: TcpStream, texts: &Texts) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut case = String::new();
    loop {
        let (mut first, mut number) = (String::new(), String::from("0"));
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("cseq:") {
                number = value.trim().to_owned();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut words = first.split_whitespace();
        let (method, url) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if method == "DESCRIBE" {
            case = url.rsplit('/').next().unwrap_or_default().to_owned();
        }
        let text = answer(texts, &case, method);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let kept = head.lines().filter(|line| {
            let line = line.to_ascii_lowercase();
            !line.starts_with("cseq:") && !line.starts_with("content-length:")
        });
        let mut sent: String = kept.flat_map(|line| [line, "\r\n"]).collect();
        sent += &format!("CSeq: {number}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        writer.write_all(sent.as_bytes())?;
    }
}

#[test]
fn what_real_cameras_answer_is_understood() {
    let Some(texts) = recorded() else { return };
    let texts = Arc::new(texts);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let shared = texts.clone();
    // Ends with the process, as the listener has no other end.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let texts = shared.clone();
            // A connection that breaks is what its camera's run reports.
            std::thread::spawn(move || drop(serve(stream, &texts)));
        }
    });
    let cases: Vec<&String> = texts
        .keys()
        .filter(|name| !NO_ANSWERS.contains(&name.as_str()))
        .collect();
    assert!(cases.len() >= 41, "{cases:?}");
    let camera = |name: &&String| {
        let transport = if name.contains("udp") { "udp" } else { "auto" };
        format!(
            "rtsp {} \"rtsp://127.0.0.1:{port}/{name}\" transport={transport} silent-after=\"1s\" \
             user=env.CARGO_PKG_NAME password=env.CARGO_PKG_NAME",
            name.replace('_', "-")
        )
    };
    let cameras: Vec<String> = cases.iter().map(camera).collect();
    let run = Watched::start(&cameras);
    run.until("a word of each", |seen| {
        let told = |name: &&String| seen.faults.iter().any(|(camera, _)| *camera == name.replace('_', "-"));
        cases.iter().all(told)
    });
    let (_, seen) = run.stop();
    let mut wrong = Vec::new();
    for (camera, cause) in &seen.faults {
        let name = camera.replace('-', "_");
        let expected = EXCEPTIONS
            .iter()
            .find(|(exception, _)| *exception == name)
            .map_or("has sent no picture for 1 s", |(_, part)| part);
        if !cause.contains(expected) {
            wrong.push(format!("{name}: {cause}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
