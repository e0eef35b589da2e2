//! Opening and draining files costs no memory that lasts. Alone in its process, because it looks at the whole of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowrun_engine::names::Names;
use flowrun_engine::operator::{Next, Pace, Source, SourceSetup};
use flowrun_engine::rows::CameraId;
use flowrun_operators::source::{AtEnd, DecodeWhich, FileParams, FileSource};

/// Growth that is called flat: less than one leaked picture of QCIF size a pass.
const ALLOWED_KIB: i64 = 6 * 1024;

fn resident_kib() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: i64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("a number of pages");
    pages * 4
}

/// Frames after which a file that is looped counts as drained: three passes of the longest that is.
const LOOPED_FRAMES: usize = 51;

fn drain(path: PathBuf, at_end: AtEnd, names: &Arc<Names>) {
    let params = FileParams {
        path,
        pace: Pace::Max,
        at_end,
        fps: None,
        decode: DecodeWhich::All,
        decode_threads: 1,
        decoder: flowrun_operators::decode::DecoderChoice::Auto,
    };
    let setup = SourceSetup::new(Path::new("/"), names, CameraId(0));
    let Ok(mut source) = FileSource::open(params, &setup) else {
        return;
    };
    let mut frames = 0;
    while frames < LOOPED_FRAMES {
        match source.next() {
            Ok(Next::Item(_)) => frames += 1,
            Ok(Next::Fault(_)) => {}
            Ok(Next::End) | Err(_) => break,
        }
    }
}

#[test]
fn opening_and_draining_files_again_and_again_leaks_nothing() {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    let data = std::env::var_os("FLOWRUN_DATA").map_or_else(beside, PathBuf::from);
    if !data.is_dir() || !Path::new("/proc/self/statm").exists() {
        eprintln!("skipped: no reference data");
        return;
    }
    let names = Arc::new(Names::default());
    let pass = || {
        for name in [
            "h264-conformance/SVA_FM1_E.264",
            "h264-conformance/sps_subsetsps_bothVUI.264",
            "torchcodec/h265_video.mp4",
            "LICENSE-intel-sample-videos",
        ] {
            drain(data.join("video").join(name), AtEnd::Stop, &names);
            drain(data.join("video").join(name), AtEnd::Loop, &names);
        }
    };
    (0..20).for_each(|_| pass());
    let before = resident_kib();
    (0..200).for_each(|_| pass());
    let grown = resident_kib() - before;
    eprintln!("{before} KiB, grown by {grown} KiB in 200 passes");
    assert!(grown < ALLOWED_KIB, "{before} KiB, grown by {grown} KiB");
}
