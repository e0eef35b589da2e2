//! What does a frame of the synthetic junction cost: its truth, and its picture?
//!
//! `cargo bench -p flowrun-operators --bench synthetic`

use std::path::Path;
use std::sync::Arc;

use flowrun_dsl::params::Params;
use flowrun_engine::batch::Batch;
use flowrun_engine::frame::Frame;
use flowrun_engine::names::Names;
use flowrun_engine::operator::{Next, Source, SourceSetup};
use flowrun_engine::rows::CameraId;
use flowrun_operators::source::synthetic::{Synthetic, SyntheticParams};

fn main() {
    divan::main();
}

/// A camera with the declared defaults: 640x360, by day.
fn camera() -> Synthetic {
    let declared = SyntheticParams::schema().params.into_iter();
    let values = declared
        .filter_map(|param| Some((param.name, param.default?)))
        .collect();
    let params = SyntheticParams::from_values(&values).expect("defaults are valid");
    let names = Arc::new(Names::default());
    let setup = SourceSetup::new(Path::new("."), &names, CameraId(0));
    Synthetic::open(params, &setup).expect("defaults can be drawn")
}

fn next(camera: &mut Synthetic) -> Frame {
    match camera.next() {
        Ok(Next::Item(item)) => match item.batch {
            Batch::Frames(frames) => frames[0].clone(),
            other => panic!("not a frame: {other:?}"),
        },
        other => panic!("the camera never ends: {other:?}"),
    }
}

/// Traffic moved on by a tenth of a second, outlines, truth with visibility.
#[divan::bench]
fn truth(bencher: divan::Bencher) {
    let mut camera = camera();
    bencher.bench_local(|| next(&mut camera).truth.map(|truth| truth.len()));
}

/// The pixels of a frame; the backdrop, drawn once a camera, is not in it.
#[divan::bench]
fn picture(bencher: divan::Bencher) {
    let mut camera = camera();
    assert!(next(&mut camera).picture.memory().stride(0) > 0);
    bencher
        .with_inputs(|| next(&mut camera))
        .bench_local_refs(|frame| frame.picture.memory().stride(0));
}
