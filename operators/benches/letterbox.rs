//! What does a frame cost on one core around the inference: to letterbox, and to read the head?

use divan::{Bencher, black_box};
use flowrun_engine::frame::{Matrix, Picture, PictureLayout, PixelFormat, PlainMemory, Range};
use flowrun_engine::rows::Size;
use flowrun_operators::detect::head::{HeadScratch, head_of};
use flowrun_operators::detect::letterbox::{Letterbox, LetterboxScratch, Sample};
use flowrun_operators::detect::nms::Settings;
use half::f16;

const SIZES: [(u32, u32); 3] = [(768, 432), (1920, 1080), (320, 240)];
const SIDE: u32 = 640;

fn main() {
    divan::main();
}

fn picture(format: PixelFormat, (width, height): (u32, u32)) -> Picture {
    let luma = (0..width * height).map(|at| (at * 7 % 251) as u8).collect();
    let chroma = |count: u32| (0..count).map(|at| (at * 3 % 241) as u8).collect::<Vec<u8>>();
    let (half, quarter) = (width as usize / 2, width * height / 4);
    let mut planes = vec![(width as usize, luma)];
    match format {
        PixelFormat::Nv12 => planes.push((2 * half, chroma(2 * quarter))),
        _ => planes.extend([(half, chroma(quarter)), (half, chroma(quarter))]),
    }
    let layout = PictureLayout {
        size: Size { width, height },
        format,
        matrix: Matrix::Bt709,
        range: Range::Limited,
    };
    Picture::new(layout, Box::new(PlainMemory::new(planes)))
}

fn write<T: Sample>(bencher: Bencher<'_, '_>, format: PixelFormat, size: (u32, u32)) {
    let picture = picture(format, size);
    let target = Size {
        width: SIDE,
        height: SIDE,
    };
    let letterbox = Letterbox::new(picture.layout(), target).expect("the sizes are sound");
    let mut scratch = LetterboxScratch::default();
    let mut tensor = vec![T::of(0.0); 3 * (SIDE * SIDE) as usize];
    bencher.bench_local(|| letterbox.write(black_box(&picture), &mut scratch, &mut tensor));
}

#[divan::bench(args = SIZES)]
fn planar_to_fp32(bencher: Bencher<'_, '_>, size: (u32, u32)) {
    write::<f32>(bencher, PixelFormat::Yuv420, size);
}

#[divan::bench(args = SIZES)]
fn nv12_to_fp32(bencher: Bencher<'_, '_>, size: (u32, u32)) {
    write::<f32>(bencher, PixelFormat::Nv12, size);
}

#[divan::bench(args = SIZES)]
fn planar_to_fp16(bencher: Bencher<'_, '_>, size: (u32, u32)) {
    write::<f16>(bencher, PixelFormat::Yuv420, size);
}

/// An answer of 84x8400 in which so many anchors are sure of something; they overlap in clumps.
#[divan::bench(args = [0, 100, 1000])]
fn read_head(bencher: Bencher<'_, '_>, sure: usize) {
    const ANCHORS: usize = 8400;
    let mut output = vec![0.01; 84 * ANCHORS];
    for index in 0..sure {
        let anchor = index * ANCHORS / sure.max(1);
        let clump = (index / 10) as f32;
        let (x, y) = (clump * 37.0 % 600.0, clump * 53.0 % 600.0);
        for (row, value) in [x, y + (index % 10) as f32, 40.0, 60.0].into_iter().enumerate() {
            output[row * ANCHORS + anchor] = value;
        }
        output[(4 + index / 10 % 80) * ANCHORS + anchor] = 0.3 + 0.6 * (index % 10) as f32 / 10.0;
    }
    let settings = Settings {
        min_score: 0.25,
        iou: 0.45,
        max: 100,
        agnostic: false,
        classes: None,
    };
    let head = head_of(&[1, 84, ANCHORS], 1, Some(80)).expect("the shape is a head's");
    let (mut scratch, mut found) = (HeadScratch::default(), Vec::new());
    bencher.bench_local(|| head.read(black_box(&output), &settings, &mut scratch, &mut found));
}
