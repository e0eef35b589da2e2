//! The file source against files made here, hostile ones among them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::batch::RowType;
use engine::frame::{Frame, PixelFormat, Range};
use engine::names::Names;
use engine::rows::{CameraId, Size};

use super::*;

mod device;
mod moves;
mod reference;

const MILLISECOND: i64 = 1_000_000;

fn params(path: impl Into<PathBuf>) -> FileParams {
    FileParams {
        path: path.into(),
        pace: Pace::Max,
        at_end: AtEnd::Stop,
        fps: None,
        decode: DecodeWhich::All,
        decode_threads: 1,
        decoder: DecoderChoice::Cpu,
    }
}

fn open_with(params: FileParams, stop: &Stop) -> Result<FileSource> {
    let names = Arc::new(Names::default());
    let setup = SourceSetup {
        stop: stop.clone(),
        ..SourceSetup::new(Path::new("/"), &names, CameraId(0))
    };
    FileSource::open(params, &setup)
}

fn open(params: FileParams) -> Result<FileSource> {
    open_with(params, &Stop::default())
}

/// What a source gave until it ended, or until this many frames.
#[derive(Debug, Default)]
struct Given {
    frames: Vec<(u64, i64, Size)>,
    faults: Vec<String>,
    error: Option<OperatorError>,
}

fn drain(source: &mut FileSource, most: usize) -> Given {
    let mut given = Given::default();
    while given.frames.len() < most {
        match source.next() {
            Ok(Next::Item(item)) => {
                let frames = Frame::from_batch(&item.batch).expect("a file gives frames");
                assert_eq!(frames.len(), 1);
                read_all(&frames[0]);
                assert_eq!(frames[0].picture.layout().size, item.size);
                given.frames.push((item.frame, item.media_time, item.size));
            }
            Ok(Next::Fault(cause)) => given.faults.push(cause),
            Ok(Next::End) => {
                assert!(matches!(source.next(), Ok(Next::End)), "the end is final");
                break;
            }
            Err(error) => {
                given.error = Some(error);
                break;
            }
        }
    }
    for pair in given.frames.windows(2) {
        assert!(pair[0].0 < pair[1].0, "frame numbers increase");
        assert!(pair[0].1 < pair[1].1, "media time increases");
    }
    given
}

fn all(params: FileParams) -> Given {
    drain(&mut open(params).unwrap(), usize::MAX)
}

/// Touches the first and last byte of each row that a reader may touch.
fn read_all(frame: &Frame) -> u64 {
    let layout = frame.picture.layout();
    let memory = frame.picture.memory();
    let (width, height) = (layout.size.width as usize, layout.size.height as usize);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let shapes: &[(usize, usize)] = match layout.format {
        PixelFormat::Yuv420 => &[(width, height), (half_width, half_height), (half_width, half_height)],
        PixelFormat::Yuv422 => &[(width, height), (half_width, height), (half_width, height)],
        PixelFormat::Yuv444 => &[(width, height), (width, height), (width, height)],
        PixelFormat::Nv12 => &[(width, height), (2 * half_width, half_height)],
        PixelFormat::Gray => &[(width, height)],
        PixelFormat::Rgb => &[(3 * width, height)],
    };
    let mut sum = 0;
    for (index, (row_bytes, rows)) in shapes.iter().enumerate() {
        let (plane, stride) = (memory.plane(index), memory.stride(index));
        for row in 0..*rows {
            let row = &plane[row * stride..][..*row_bytes];
            sum += u64::from(row[0]) + u64::from(row[row_bytes - 1]);
        }
    }
    sum
}

/// An uncompressed video: picture n is gray with value n.
fn yuv4mpeg(size: (usize, usize), rate: &str, pictures: usize) -> Vec<u8> {
    let mut bytes = format!("YUV4MPEG2 W{} H{} F{rate} Ip A1:1 C420jpeg\n", size.0, size.1).into_bytes();
    for picture in 0..pictures {
        bytes.extend(b"FRAME\n");
        bytes.resize(bytes.len() + size.0 * size.1, picture as u8);
        bytes.resize(bytes.len() + 2 * size.0.div_ceil(2) * size.1.div_ceil(2), 128);
    }
    bytes
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Files(tempfile::tempdir().unwrap())
    }
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

#[test]
fn frames_have_their_number_time_size_and_pixels() {
    let files = Files::new();
    let path = files.write("clip.y4m", yuv4mpeg((37, 23), "20:1", 10));
    let mut source = open(params(path)).unwrap();
    assert!(source.traits().finite);
    for index in 0..10u64 {
        let Ok(Next::Item(item)) = source.next() else { panic!() };
        assert_eq!((item.frame, item.media_time), (index, index as i64 * 50 * MILLISECOND));
        assert_eq!(item.size, Size { width: 37, height: 23 });
        let frames = Frame::from_batch(&item.batch).unwrap();
        let memory = frames[0].picture.memory();
        assert!(memory.plane(0)[..37].iter().all(|sample| u64::from(*sample) == index));
        assert_eq!(memory.plane(1)[18], 128);
    }
    assert!(matches!(source.next(), Ok(Next::End)));
    assert_eq!(source.converted(), 0);
}

#[test]
fn pictures_outlive_their_source() {
    let files = Files::new();
    let path = files.write("clip.y4m", yuv4mpeg((64, 48), "25:1", 30));
    let mut source = open(params(path)).unwrap();
    let mut kept = Vec::new();
    while let Ok(Next::Item(item)) = source.next() {
        kept.push(Frame::from_batch(&item.batch).unwrap()[0].clone());
    }
    drop(source);
    let values = kept.iter().map(|frame| frame.picture.memory().plane(0)[0]);
    assert!(values.eq(0..30u8), "nobody wrote into a picture that is held");
}

#[test]
fn a_still_picture_is_a_camera_of_one_frame() {
    let files = Files::new();
    let gray = [b"P5\n3 2\n255\n".to_vec(), vec![1, 2, 3, 4, 5, 6]].concat();
    let colour = [b"P6\n2 1\n255\n".to_vec(), vec![10, 20, 30, 40, 50, 60]].concat();
    for (name, bytes, format, pixels) in [
        ("a.pgm", gray, PixelFormat::Gray, vec![1, 2, 3]),
        ("a%03d.ppm", colour, PixelFormat::Rgb, vec![10, 20, 30, 40, 50, 60]),
    ] {
        let mut source = open(params(files.write(name, bytes))).unwrap();
        let Ok(Next::Item(item)) = source.next() else {
            panic!("{name}")
        };
        let frame = &Frame::from_batch(&item.batch).unwrap()[0];
        assert_eq!((item.frame, item.media_time), (0, 0));
        assert_eq!(
            (frame.picture.layout().format, frame.picture.layout().range),
            (format, Range::Full)
        );
        assert_eq!(frame.picture.memory().plane(0)[..pixels.len()], pixels);
        assert!(matches!(source.next(), Ok(Next::End)), "{name}");
    }
}

#[test]
fn loops_continue_number_and_time() {
    let files = Files::new();
    let path = files.write("clip.y4m", yuv4mpeg((16, 16), "25:1", 7));
    let mut source = open(FileParams {
        at_end: AtEnd::Loop,
        ..params(path)
    })
    .unwrap();
    assert!(!source.traits().finite);
    let given = drain(&mut source, 50);
    assert!(given.faults.is_empty());
    for (index, frame) in given.frames.iter().enumerate() {
        assert_eq!((frame.0, frame.1), (index as u64, index as i64 * 40 * MILLISECOND));
    }
    let still = files.write("a.pgm", [b"P5\n1 1\n255\n".as_slice(), &[9]].concat());
    let mut source = open(FileParams {
        at_end: AtEnd::Loop,
        ..params(still)
    })
    .unwrap();
    assert_eq!(drain(&mut source, 20).frames[19].1, 19 * 40 * MILLISECOND);
}

#[test]
fn decimation_takes_the_first_frame_of_each_instant_and_keeps_numbers() {
    let files = Files::new();
    let path = files.write("clip.y4m", yuv4mpeg((16, 16), "30000:1001", 90));
    let chosen = |fps| {
        let params = FileParams {
            fps: Some(fps),
            ..params(&path)
        };
        all(params).frames.iter().map(|frame| frame.0).collect::<Vec<_>>()
    };
    assert_eq!(chosen(1.0), [0, 30, 60]);
    assert_eq!(chosen(10.0)[..5], [0, 3, 6, 9, 12]);
    assert_eq!(chosen(12.0)[..6], [0, 3, 5, 8, 10, 13]);
    assert_eq!(chosen(29.97).len(), 90, "its own rate takes all");
    assert_eq!(chosen(120.0).len(), 90, "a higher rate duplicates nothing");
    assert!(
        open(FileParams {
            fps: Some(f64::NAN),
            ..params(&path)
        })
        .is_err()
    );
}

#[test]
fn it_ends_when_asked() {
    let files = Files::new();
    let path = files.write("clip.y4m", yuv4mpeg((16, 16), "25:1", 5));
    let stop = Stop::default();
    let mut source = open_with(
        FileParams {
            at_end: AtEnd::Loop,
            ..params(&path)
        },
        &stop,
    )
    .unwrap();
    assert!(matches!(source.next(), Ok(Next::Item(_))));
    stop.ask();
    assert!(matches!(source.next(), Ok(Next::End)));
    assert!(open_with(params(&path), &stop).is_err(), "nothing is opened any more");
}

#[test]
fn what_cannot_be_opened_says_why() {
    let files = Files::new();
    let folder = files.0.path().to_owned();
    let cause = |path: PathBuf| open(params(path)).err().expect("does not open");
    let missing = cause(folder.join("none.mp4"));
    assert!(
        missing.cause.contains("there is no file") && missing.remedy.is_some(),
        "{missing}"
    );
    assert!(cause(folder.clone()).cause.contains("is a folder"));
    assert!(cause("/dev/zero".into()).cause.contains("no regular file"));
    assert!(cause(files.write("empty.mp4", b"")).cause.contains("is empty"));
    let text = cause(files.write("notes.md", b"# just text\n".repeat(100)));
    assert!(text.cause.contains("no video or picture"), "{text}");
    let sound = [
        b"RIFF\x24\x08\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\x08\0\0".as_slice(),
        &[0; 2048],
    ]
    .concat();
    let sound = cause(files.write("sound.wav", sound));
    assert!(sound.cause.contains("has no video stream"), "{sound}");
    let wide = cause(files.write("wide.y4m", yuv4mpeg((20_000, 2), "25:1", 1)));
    assert!(
        wide.cause.contains("20000x2 are larger") && wide.remedy.is_some(),
        "{wide}"
    );
    let huge = "YUV4MPEG2 W40000 H40000 F25:1 C420jpeg\nFRAME\nxx";
    assert!(cause(files.write("huge.y4m", huge)).remedy.is_some());
}

#[test]
fn playlists_cannot_reach_other_files() {
    let files = Files::new();
    let victim = files.write("victim.y4m", yuv4mpeg((16, 16), "25:1", 5));
    let victim = victim.display();
    let concat = format!("ffconcat version 1.0\nfile {victim}\n");
    let media = format!("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{victim}\n#EXT-X-ENDLIST\n");
    let dash = r#"<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011"><Period/></MPD>"#;
    let sdp = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n";
    for (name, text) in [
        ("list.ffconcat", concat.as_str()),
        ("list.mp4", &concat),
        ("list.m3u8", &media),
        ("list.ts", &media),
        ("list.mpd", dash),
        ("list.sdp", sdp),
        ("list.txt", "words\n"),
    ] {
        let path = files.write(name, text);
        let error = open(params(path)).err().unwrap_or_else(|| panic!("{name} was opened"));
        assert!(error.remedy.is_some(), "{name}: {error}");
        eprintln!("{name}: {error}");
    }
}

#[test]
fn names_are_no_urls_and_no_patterns() {
    let files = Files::new();
    for name in [
        "http:x.y4m",
        "concat:a|b.y4m",
        "a%d.y4m",
        "*.y4m",
        "-i.y4m",
        "\u{e9} \u{1f600}.y4m",
    ] {
        let given = all(params(files.write(name, yuv4mpeg((16, 16), "25:1", 3))));
        assert_eq!(given.frames.len(), 3, "{name}");
    }
}

/// xorshift64*: noise that is the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[test]
fn noise_ends_with_an_error_or_faults_and_never_spins() {
    let files = Files::new();
    let mut noise = Noise(7);
    let bytes: Vec<u8> = (0..300_000).map(|_| noise.next() as u8).collect();
    for ending in [
        "mp4", "mkv", "ts", "264", "h265", "mjpeg", "avi", "jpg", "png", "webp", "m4v", "mpg", "bin", "gif",
    ] {
        for at_end in [AtEnd::Stop, AtEnd::Loop] {
            let path = files.write(&format!("noise.{ending}"), &bytes);
            let Ok(mut source) = open(FileParams { at_end, ..params(path) }) else {
                continue;
            };
            let given = drain(&mut source, 1000);
            assert!(!given.faults.is_empty() || given.error.is_some(), "{ending}");
            assert!(given.faults.len() < 2000, "{ending}: {}", given.faults.len());
        }
    }
}
