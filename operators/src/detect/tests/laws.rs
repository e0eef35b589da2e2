//! What holds for any picture and any head tensor.

use super::*;

fn rect() -> impl Strategy<Value = Rect> {
    (0f32..600.0, 0f32..600.0, 1f32..80.0, 1f32..80.0).prop_map(|(x1, y1, width, height)| Rect {
        x1,
        y1,
        x2: x1 + width,
        y2: y1 + height,
    })
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let candidate = (rect(), 0f32..1.0, 0usize..4);
    proptest::collection::vec(
        candidate.prop_map(|(bbox, score, class)| Candidate { bbox, score, class }),
        0..200,
    )
}

/// Numbers as a broken model may answer them.
fn garbage() -> impl Strategy<Value = f32> {
    prop_oneof![
        any::<f32>(),
        Just(f32::NAN),
        Just(f32::INFINITY),
        Just(f32::NEG_INFINITY),
        Just(f32::MAX),
        Just(-f32::MAX),
        0f32..1.0,
        0f32..640.0,
    ]
}

fn thresholds() -> impl Strategy<Value = Settings> {
    (0f32..1.0, 0f32..1.0, 1usize..50, any::<bool>()).prop_map(|(min_score, iou, max, agnostic)| Settings {
        min_score,
        iou,
        max,
        agnostic,
        classes: None,
    })
}

fn picture(format: PixelFormat, size: Size, range: Range, planes: Vec<(usize, Vec<u8>)>) -> Picture {
    let layout = PictureLayout {
        size,
        format,
        matrix: Matrix::Bt709,
        range,
    };
    Picture::new(layout, Box::new(PlainMemory::new(planes)))
}

fn letterboxed<T: Sample>(picture: &Picture, target: Size) -> Vec<T> {
    let letterbox = Letterbox::new(picture.layout(), target).unwrap();
    let mut tensor = vec![T::of(0.0); 3 * (target.width * target.height) as usize];
    letterbox.fill_margins(&mut tensor);
    letterbox
        .write(picture, &mut LetterboxScratch::default(), &mut tensor)
        .unwrap();
    tensor
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length).map(next).collect()
}

proptest! {
    #[test]
    fn what_is_kept_is_sorted_apart_and_stays_kept(mut found in candidates(), settings in thresholds()) {
        let given = found.clone();
        nms::suppress(&mut found, &settings, &mut Vec::new());
        prop_assert!(found.len() <= settings.max);
        prop_assert!(found.iter().all(|kept| given.contains(kept)));
        prop_assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        for (index, kept) in found.iter().enumerate() {
            for other in &found[..index] {
                if settings.agnostic || kept.class == other.class {
                    // Boxes are compared where their class moves them to: to within an eighth of a percent here.
                    prop_assert!(kept.bbox.iou(&other.bbox) <= settings.iou + 0.01, "{:?} {:?}", kept, other);
                }
            }
        }
        let once = found.clone();
        nms::suppress(&mut found, &settings, &mut Vec::new());
        prop_assert_eq!(found, once);
    }

    #[test]
    fn garbage_gives_no_garbage(
        numbers in proptest::collection::vec(garbage(), 8 * 12),
        settings in thresholds(),
        dims in prop_oneof![Just([1usize, 8, 12]), Just([1, 16, 6])],
    ) {
        let head = head_of(&dims, 1, None).unwrap();
        let mut found = Vec::new();
        head.read(&numbers, &settings, &mut HeadScratch::default(), &mut found);
        let geometry = Geometry::new(Size { width: 1920, height: 1080 }, Size { width: 640, height: 640 });
        for candidate in found {
            let bbox = geometry.to_source(&candidate.bbox);
            prop_assert!(candidate.score > settings.min_score && candidate.score <= 1.0);
            prop_assert!([bbox.x1, bbox.x2].iter().all(|x| (0.0..=1920.0).contains(x)), "{:?}", bbox);
            prop_assert!([bbox.y1, bbox.y2].iter().all(|y| (0.0..=1080.0).contains(y)), "{:?}", bbox);
        }
    }

    #[test]
    fn boxes_come_back_to_where_they_were(
        (width, height) in (16u32..4000, 16u32..4000),
        (side, other) in (32u32..1300, 32u32..1300),
        (x1, y1, x2, y2) in (0f32..1.0, 0f32..1.0, 0f32..1.0, 0f32..1.0),
    ) {
        let geometry = Geometry::new(Size { width, height }, Size { width: side, height: other });
        let (across, down) = (width as f32, height as f32);
        let bbox = Rect { x1: x1 * across, y1: y1 * down, x2: x2 * across, y2: y2 * down };
        let back = geometry.to_source(&geometry.to_input(&bbox));
        // fp32 holds a coordinate of the input to 2^-14; a picture that shrinks 100 times magnifies that.
        let within = 1e-3f32.max(2e-4 * (across / side as f32).max(down / other as f32));
        prop_assert!(same_box(&back, &bbox, within), "{bbox:?} {back:?}");
    }

    #[test]
    fn interleaved_chroma_is_the_same_picture(
        (width, height) in (1u32..90, 1u32..90),
        (side, other) in (1u32..70, 1u32..70),
        seed in any::<u64>(),
    ) {
        let size = Size { width, height };
        let (half_width, half_height) = (width.div_ceil(2) as usize, height.div_ceil(2) as usize);
        let luma = (width as usize, noise(seed, (width * height) as usize));
        let [u, v] = [1, 2].map(|plane| noise(seed ^ plane, half_width * half_height));
        let both = u.iter().zip(&v).flat_map(|(u, v)| [*u, *v]).collect();
        let planar = picture(PixelFormat::Yuv420, size, Range::Limited, vec![luma.clone(), (half_width, u), (half_width, v)]);
        let interleaved = picture(PixelFormat::Nv12, size, Range::Limited, vec![luma, (2 * half_width, both)]);
        let target = Size { width: side, height: other };
        prop_assert_eq!(letterboxed::<f32>(&planar, target), letterboxed::<f32>(&interleaved, target));
    }

    #[test]
    fn half_tensors_are_the_rounded_full_ones((width, height) in (1u32..60, 1u32..60), seed in any::<u64>()) {
        let planes = vec![(3 * width as usize, noise(seed, 3 * (width * height) as usize))];
        let picture = picture(PixelFormat::Rgb, Size { width, height }, Range::Full, planes);
        let target = Size { width: 48, height: 32 };
        let full: Vec<f16> = letterboxed::<f32>(&picture, target).into_iter().map(f16::from_f32).collect();
        prop_assert_eq!(full, letterboxed::<f16>(&picture, target));
    }
}

/// OpenCV's INTER_LINEAR as its documentation states it, in doubles, on RGB.
fn resized(source: &[u8], size: Size, inner: Size) -> Vec<f64> {
    let axis = |output: u32, outputs: u32, length: u32| {
        let at = (f64::from(output) + 0.5) * f64::from(length) / f64::from(outputs) - 0.5;
        let at = at.clamp(0.0, f64::from(length - 1));
        (at as usize, (at as usize + 1).min(length as usize - 1), at.fract())
    };
    let mut out = Vec::new();
    for channel in 0..3 {
        for row in 0..inner.height {
            let (upper, lower, down) = axis(row, inner.height, size.height);
            for column in 0..inner.width {
                let (left, right, across) = axis(column, inner.width, size.width);
                let level = |y: usize, x: usize| f64::from(source[(y * size.width as usize + x) * 3 + channel]);
                let line = |y: usize| level(y, left) * (1.0 - across) + level(y, right) * across;
                out.push(line(upper) * (1.0 - down) + line(lower) * down);
            }
        }
    }
    out
}

#[test]
fn pictures_are_resized_as_opencv_does() {
    let target = Size { width: 64, height: 64 };
    for (width, height) in [(77, 43), (31, 64), (200, 100), (64, 64), (5, 3)] {
        let size = Size { width, height };
        let bytes = noise(7, 3 * (width * height) as usize);
        let picture = picture(
            PixelFormat::Rgb,
            size,
            Range::Full,
            vec![(3 * width as usize, bytes.clone())],
        );
        let tensor: Vec<f32> = letterboxed(&picture, target);
        let gain = (64.0 / f64::from(width)).min(64.0 / f64::from(height));
        let fit = |length: u32| (f64::from(length) * gain).round_ties_even() as u32;
        let inner = Size {
            width: fit(width),
            height: fit(height),
        };
        let (left, top) = ((64 - inner.width) / 2, (64 - inner.height) / 2);
        let mut wanted = resized(&bytes, size, inner).into_iter();
        for (at, value) in tensor.iter().enumerate() {
            let (x, y) = (at as u32 % 64, at as u32 / 64 % 64);
            let inside = (left..left + inner.width).contains(&x) && (top..top + inner.height).contains(&y);
            let wanted = if inside { wanted.next().unwrap() } else { 114.0 };
            assert!(
                (f64::from(*value) * 255.0 - wanted).abs() <= 0.501,
                "{width}x{height} at {x},{y}: {value}"
            );
        }
        assert_eq!(wanted.next(), None);
    }
}

#[test]
fn colours_are_those_of_the_standards() {
    // Pure red, 100 % bars, by matrix and range: (Y, U, V) rounded to 8 bits.
    let cases = [
        (Matrix::Bt601, Range::Limited, [81, 90, 240]),
        (Matrix::Bt601, Range::Full, [76, 85, 255]),
        (Matrix::Bt709, Range::Limited, [63, 102, 240]),
        (Matrix::Bt2020, Range::Limited, [74, 97, 240]),
    ];
    for (matrix, range, sample) in cases {
        let layout = PictureLayout {
            matrix,
            range,
            ..layout(4, 4, PixelFormat::Yuv444)
        };
        let planes = sample.map(|level| (4, vec![level; 16]));
        let picture = Picture::new(layout, Box::new(PlainMemory::new(planes)));
        let tensor: Vec<f32> = letterboxed(&picture, Size { width: 2, height: 2 });
        for (at, value) in tensor.iter().enumerate() {
            let wanted = if at < 4 { 1.0 } else { 0.0 };
            assert!((value - wanted).abs() < 0.012, "{matrix:?} {range:?}: {tensor:?}");
        }
    }
    let grey = flat(4, 4, 51);
    assert!(
        letterboxed::<f32>(&grey, Size { width: 4, height: 4 })
            .iter()
            .all(|value| (value - 0.2).abs() < 1e-6)
    );
}
