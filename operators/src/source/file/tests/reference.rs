//! The file source against real files, whole, cut and scribbled on, with ffprobe as the judge.

use std::process::Command;
use std::sync::Mutex;

use super::*;
use crate::testing::reference_data;

#[test]
fn a_file_without_pictures_cannot_be_looped() {
    let Some(data) = reference_data() else { return };
    let given = drain(
        &mut open(FileParams {
            at_end: AtEnd::Loop,
            ..params(data.join("video/odd/hw2_midstart_truncated.ts"))
        })
        .unwrap(),
        usize::MAX,
    );
    assert!(given.frames.is_empty());
    assert!(given.error.unwrap().cause.contains("cannot be looped"));
}

fn videos(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(videos(&path));
        } else if !path.file_name().unwrap().to_string_lossy().starts_with("LICENSE") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// How many pictures ffprobe decodes, and whether it complained; none without ffprobe.
fn ffprobe(path: &Path) -> Option<(usize, bool)> {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-count_frames",
            "-select_streams",
            "v:0",
            "-show_entries",
            "stream=nb_read_frames",
        ])
        .args(["-of", "csv=p=0"])
        .arg(path)
        .output()
        .map_err(|_| eprintln!("skipped: no ffprobe"))
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let count = text
        .lines()
        .next()
        .and_then(|line| line.trim_end_matches(',').parse().ok());
    Some((count.unwrap_or(0), !output.stderr.is_empty()))
}

/// Lines that ffprobe prints about the first video stream; none without ffprobe.
fn ffprobe_lines(path: &Path, entries: &str) -> Option<Vec<String>> {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v:0",
            "-of",
            "csv=p=0",
            "-show_entries",
            entries,
        ])
        .arg(path)
        .output()
        .map_err(|_| eprintln!("skipped: no ffprobe"))
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Some(
        text.lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

/// Runs a check on each item, on as many threads as the machine has.
fn in_parallel<T: Sync>(items: &[T], check: impl Fn(&T) + Sync) {
    let next = Mutex::new(items.iter());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let item = next.lock().unwrap().next();
                    let Some(item) = item else { break };
                    check(item);
                }
            });
        }
    });
}

fn counts_as_ffprobe(path: &Path, threads: u32) {
    let Some((expected, complained)) = ffprobe(path) else {
        return;
    };
    let name = path.display();
    let given = match open(FileParams {
        decode_threads: threads,
        ..params(path)
    }) {
        Ok(mut source) => drain(&mut source, usize::MAX),
        Err(error) => {
            assert!(complained && expected == 0, "{name}: {error}");
            return;
        }
    };
    let count = given.frames.len();
    eprintln!(
        "{name}: {count} of {expected}, {} faults, ffprobe complained: {complained}",
        given.faults.len()
    );
    assert!(given.error.is_none(), "{name}");
    if complained {
        assert!(
            count <= expected && !given.faults.is_empty(),
            "{name}: {count} of {expected}"
        );
    } else {
        assert_eq!(count, expected, "{name}");
        assert!(
            given.frames.iter().zip(0..).all(|(frame, index)| frame.0 == index),
            "{name}"
        );
    }
}

#[test]
fn recordings_give_as_many_frames_as_ffprobe_counts() {
    let Some(data) = reference_data() else { return };
    let mut files = videos(&data.join("video"));
    files.retain(|path| path.parent() == Some(&data.join("video")));
    in_parallel(&files, |path| counts_as_ffprobe(path, 1));
}

#[test]
fn odd_files_give_as_many_frames_as_ffprobe_counts() {
    let Some(data) = reference_data() else { return };
    let mut files = videos(&data.join("video"));
    files.retain(|path| path.parent() != Some(&data.join("video")));
    in_parallel(&files, |path| counts_as_ffprobe(path, 1));
}

#[test]
fn threads_lose_no_frames() {
    let Some(data) = reference_data() else { return };
    in_parallel(&videos(&data.join("video/torchcodec")), |path| {
        counts_as_ffprobe(path, 4)
    });
    in_parallel(&videos(&data.join("video/h264-conformance")), |path| {
        counts_as_ffprobe(path, 3)
    });
}

#[test]
fn keyframes_only_gives_each_packet_marked_so_in_order() {
    let Some(data) = reference_data() else { return };
    for name in [
        "odd/hw2_h264_baseline_g25.mp4",
        "odd/hw2_fmp4.mp4",
        "odd/hw2_h265_opengop_b3.mp4",
        "bgslibrary_video02.avi",
        "odd/hw2_opengop.ts",
        "odd/hw2_mjpeg.avi",
        "torchcodec/av1_video.mkv",
    ] {
        let path = data.join("video").join(name);
        let Some(packets) = ffprobe_lines(&path, "packet=pts_time,size,flags") else {
            return;
        };
        // XviD marks the placeholders of its packed B-frames, one byte long, as key too.
        let keys = || {
            packets
                .iter()
                .filter(|line| line.contains(",K") && !line.contains(",1,"))
        };
        let times: Vec<f64> = keys().filter_map(|line| line.split(',').next()?.parse().ok()).collect();
        for threads in [1, 2] {
            let given = all(FileParams {
                decode: DecodeWhich::Keyframes,
                decode_threads: threads,
                ..params(&path)
            });
            assert!(given.faults.is_empty(), "{name}: {:?}", given.faults);
            assert_eq!(given.frames.len(), keys().count(), "{name}");
            // AVI has no presentation times in its packets.
            for (frame, time) in given.frames.iter().zip(&times) {
                let apart = (frame.1 as f64 / 1e9 - (time - times[0])).abs();
                assert!(apart < 2e-6, "{name}: {frame:?} {time}");
            }
        }
    }
}

#[test]
fn variable_frame_rate_keeps_the_files_timestamps() {
    let Some(data) = reference_data() else { return };
    let path = data.join("video/odd/hw2_h264_vfr.mp4");
    let Some(lines) = ffprobe_lines(&path, "frame=best_effort_timestamp_time") else {
        return;
    };
    let seconds = lines
        .iter()
        .filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok());
    let seconds: Vec<_> = seconds.collect();
    let given = all(params(path));
    assert_eq!(given.frames.len(), seconds.len());
    for (frame, time) in given.frames.iter().zip(&seconds) {
        assert!(
            (frame.1 as f64 / 1e9 - (time - seconds[0])).abs() < 2e-6,
            "{frame:?} {time}"
        );
    }
    let steps: std::collections::BTreeSet<_> = given.frames.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    assert!(steps.len() > 1, "the rate does vary");
}

#[test]
fn a_change_of_size_goes_on() {
    let Some(data) = reference_data() else { return };
    let given = all(params(data.join("video/odd/resolution_change_640x480_to_320x240.h264")));
    let sizes: std::collections::BTreeSet<_> = given
        .frames
        .iter()
        .map(|frame| (frame.2.width, frame.2.height))
        .collect();
    assert_eq!(sizes, [(320, 240), (640, 480)].into());
    assert!(given.faults.is_empty());
}

#[test]
fn loops_of_real_files_repeat_the_same_frames() {
    let Some(data) = reference_data() else { return };
    for name in [
        "torchcodec/h265_video.mp4",
        "odd/hw2_opengop.ts",
        "h264-conformance/MIDR_MW_D.264",
        "torchcodec/av1_video.mkv",
    ] {
        let path = data.join("video").join(name);
        let once = all(params(&path)).frames;
        let mut source = open(FileParams {
            at_end: AtEnd::Loop,
            ..params(&path)
        })
        .unwrap();
        let twice = drain(&mut source, 2 * once.len()).frames;
        assert_eq!(twice[..once.len()], once, "{name}");
        let shift = twice[once.len()].1;
        let duration = shift - once.last().unwrap().1;
        assert!((1..=200 * MILLISECOND).contains(&duration), "{name}: {duration}");
        for (again, first) in twice[once.len()..].iter().zip(&once) {
            assert_eq!(
                (again.0, again.1),
                (first.0 + once.len() as u64, first.1 + shift),
                "{name}"
            );
        }
    }
}

#[test]
fn ten_bit_pictures_are_converted_and_counted() {
    let Some(data) = reference_data() else { return };
    let mut source = open(params(data.join("video/torchcodec/h265_10bits.mp4"))).unwrap();
    let count = drain(&mut source, usize::MAX).frames.len() as u64;
    assert!(count > 0 && source.converted() == count);
}

#[test]
fn the_colours_are_what_the_stream_says() {
    let Some(data) = reference_data() else { return };
    use engine::frame::Matrix;
    for (name, matrix, range) in [
        ("torchcodec/bt709_full_range.mp4", Matrix::Bt709, Range::Full),
        ("torchcodec/nasa_13013.mp4", Matrix::Bt709, Range::Limited),
        ("intel_car-detection.mp4", Matrix::Bt601, Range::Limited),
        ("odd/hw2_mjpeg.avi", Matrix::Bt601, Range::Full),
        ("bgslibrary_video02.avi", Matrix::Bt601, Range::Limited),
    ] {
        let mut source = open(params(data.join("video").join(name))).unwrap();
        let Ok(Next::Item(item)) = source.next() else {
            panic!("{name}")
        };
        let layout = Frame::from_batch(&item.batch).unwrap()[0].picture.layout();
        assert_eq!(
            (layout.format, layout.matrix, layout.range),
            (PixelFormat::Yuv420, matrix, range),
            "{name}"
        );
    }
}

#[test]
fn photos_are_one_frame_of_their_size() {
    let Some(data) = reference_data() else { return };
    for (name, width, height) in [("bus.jpg", 810, 1080), ("zidane.jpg", 1280, 720)] {
        let given = all(params(data.join("images").join(name)));
        assert_eq!(given.frames, [(0, 0, Size { width, height })], "{name}");
        assert!(given.faults.is_empty());
    }
}

#[test]
fn cut_and_scribbled_files_cost_frames_only() {
    let Some(data) = reference_data() else { return };
    let files = Files::new();
    let sources = [
        "h264-conformance/MIDR_MW_D.264",
        "torchcodec/h265_video.mp4",
        "odd/hw2_fmp4.mp4",
        "odd/hw2_opengop.ts",
        "odd/hw2_mjpeg.avi",
        "torchcodec/av1_video.mkv",
        "../images/zidane.jpg",
    ];
    let mut cases = Vec::new();
    for (index, name) in sources.into_iter().enumerate() {
        let path = data.join("video").join(name);
        let whole = fs::read(&path).unwrap();
        let ending = path.extension().unwrap().to_string_lossy().into_owned();
        cases.push(files.write(&format!("{index}cut.{ending}"), &whole[..whole.len() * 6 / 10]));
        cases.push(files.write(&format!("{index}head.{ending}"), &whole[..whole.len().min(700)]));
        cases.push(files.write(&format!("{index}tail.{ending}"), &whole[whole.len() / 3..]));
        let mut noise = Noise(index as u64 + 1);
        let mut scribbled = whole;
        for _ in 0..scribbled.len() / 3000 + 3 {
            let place = noise.next() as usize % scribbled.len();
            scribbled[place] = noise.next() as u8;
        }
        cases.push(files.write(&format!("{index}scribbled.{ending}"), scribbled));
    }
    in_parallel(&cases, |path| {
        let name = path.file_name().unwrap().to_string_lossy();
        let Some((expected, complained)) = ffprobe(path) else {
            return;
        };
        let Ok(mut source) = open(params(path)) else {
            eprintln!("{name}: does not open, ffprobe {expected} {complained}");
            assert!(complained);
            return;
        };
        let given = drain(&mut source, usize::MAX);
        eprintln!(
            "{name}: {} of {expected}, {} faults, ffprobe complained: {complained}",
            given.frames.len(),
            given.faults.len()
        );
        assert!(given.frames.len() <= expected, "{name}");
        assert!(complained || given.frames.len() == expected, "{name}");
        assert!(!complained || !given.faults.is_empty(), "{name}");
        assert!(given.faults.len() <= 2 * expected + 20, "{name}");
    });
}

#[test]
fn prints_how_fast_a_clip_decodes() {
    let Some(data) = reference_data() else { return };
    for threads in [1, 2] {
        let mut source = open(FileParams {
            decode_threads: threads,
            ..params(data.join("video/intel_car-detection.mp4"))
        })
        .unwrap();
        let start = std::time::Instant::now();
        let count = drain(&mut source, usize::MAX).frames.len();
        let rate = count as f64 / start.elapsed().as_secs_f64();
        eprintln!("intel_car-detection.mp4, {threads} threads: {rate:.0} frames/s");
    }
}

/// What rides on the frames is every packet of the file, once, in decoding order, and its times are those of the frames.
#[test]
fn packets_ride_on_the_frames_of_mp4() {
    let Some(data) = reference_data() else { return };
    for name in ["intel_car-detection.mp4", "intel_one-by-one-person-detection.mp4"] {
        let mut source = open(params(data.join("video").join(name))).unwrap();
        let (mut packets, mut times) = (Vec::new(), Vec::new());
        while times.len() < 200 {
            let Next::Item(item) = source.next().unwrap() else {
                continue;
            };
            let frames = Frame::from_batch(&item.batch).unwrap();
            times.push(item.media_time);
            packets.extend(frames[0].packets.iter().map(|packet| {
                let at = |relative: i64| item.media_time + relative;
                (
                    at(packet.presented),
                    at(packet.decoded),
                    packet.keyframe,
                    packet.sequence,
                )
            }));
        }
        assert!(packets.len() >= times.len() && packets[0].2, "{name}");
        assert!(
            packets
                .windows(2)
                .all(|pair| pair[1].3 == pair[0].3 + 1 && pair[0].1 < pair[1].1),
            "{name}"
        );
        assert!(packets.iter().all(|packet| packet.1 <= packet.0), "{name}");
        let shown: std::collections::BTreeSet<i64> = packets.iter().map(|packet| packet.0 / 1_000_000).collect();
        assert!(times.iter().all(|time| shown.contains(&(time / 1_000_000))), "{name}");
    }
}
