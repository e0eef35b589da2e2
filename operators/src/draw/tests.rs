//! What is drawn lies where the rows say, on every pixel format, and nothing else changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flowrun_dsl::plan::Units;
use flowrun_engine::frame::{Frame, Matrix, Picture, PictureLayout, PictureMemory, PixelFormat, PlainMemory, Range};
use flowrun_engine::rows::{ClassId, Detection, Rect, Rows, Size, Track, TrackId};
use flowrun_engine::testing::Harness;

use super::Draw;

const SIZE: Size = Size { width: 160, height: 90 };

fn layout(format: PixelFormat) -> PictureLayout {
    PictureLayout {
        size: SIZE,
        format,
        matrix: Matrix::Bt601,
        range: match format {
            PixelFormat::Gray | PixelFormat::Rgb => Range::Full,
            _ => Range::Limited,
        },
    }
}

/// A picture of one grey, with rows that are longer than they need be.
fn grey(format: PixelFormat) -> Picture {
    let (width, height) = (SIZE.width as usize, SIZE.height as usize);
    let (half, low) = (width.div_ceil(2), height.div_ceil(2));
    let plane = |width: usize, height: usize, value: u8| (width + 5, vec![value; (width + 5) * height]);
    let planes = match format {
        PixelFormat::Yuv420 => vec![plane(width, height, 90), plane(half, low, 128), plane(half, low, 128)],
        PixelFormat::Yuv422 => vec![
            plane(width, height, 90),
            plane(half, height, 128),
            plane(half, height, 128),
        ],
        PixelFormat::Yuv444 => vec![
            plane(width, height, 90),
            plane(width, height, 128),
            plane(width, height, 128),
        ],
        PixelFormat::Nv12 => vec![plane(width, height, 90), plane(2 * half, low, 128)],
        PixelFormat::Gray => vec![plane(width, height, 90)],
        PixelFormat::Rgb => vec![plane(3 * width, height, 86)],
    };
    Picture::new(layout(format), Box::new(PlainMemory::new(planes)))
}

fn frame(picture: Picture) -> Frame {
    Frame {
        picture: Arc::new(picture),
        truth: None,
        packets: Rows::default(),
        taken: None,
    }
}

fn track(id: u64, bbox: Rect) -> Track {
    Track {
        id: TrackId(id),
        class: ClassId(0),
        score: 0.9,
        bbox,
    }
}

const BOX: Rect = Rect {
    x1: 40.0,
    y1: 40.0,
    x2: 80.0,
    y2: 70.0,
};

const NOTHING: [Detection; 0] = [];

/// Which pixels have another luma than before.
fn touched(memory: &dyn PictureMemory, before: u8) -> Vec<(usize, usize)> {
    let mut touched = Vec::new();
    for y in 0..SIZE.height as usize {
        for x in 0..SIZE.width as usize {
            if memory.plane(0)[y * memory.stride(0) + x].abs_diff(before) > 1 {
                touched.push((x, y));
            }
        }
    }
    touched
}

#[test]
fn a_box_is_drawn_on_every_format_and_the_rest_stays() {
    for format in [
        PixelFormat::Yuv420,
        PixelFormat::Yuv422,
        PixelFormat::Yuv444,
        PixelFormat::Nv12,
        PixelFormat::Gray,
        PixelFormat::Rgb,
    ] {
        let harness = Harness::<Draw>::new().param("label", "").size(SIZE.width, SIZE.height);
        let run = harness.frame(0, ([frame(grey(format))], [track(1, BOX)], NOTHING));
        let drawn = run.rows_of(0).remove(0).picture;
        assert_eq!(drawn.layout().format, PixelFormat::Yuv420);
        let memory = drawn.memory();
        let touched = touched(memory, 90);
        assert!(touched.contains(&(40, 55)) && touched.contains(&(60, 40)), "{format:?}");
        let inside = |x: usize, y: usize| (38..=82).contains(&x) && (38..=72).contains(&y);
        assert!(touched.iter().all(|(x, y)| inside(*x, *y)), "{format:?}");
        assert!(!touched.contains(&(60, 55)), "{format:?}: a box is no plate");
        let chroma = |plane: usize| memory.plane(plane)[20 * memory.stride(plane) + 5];
        assert_eq!((chroma(1), chroma(2)), (128, 128), "{format:?}");
    }
}

#[test]
fn a_picture_is_drawn_when_somebody_looks_and_leaves_packets_out() {
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = looks.clone();
    let source = Picture::deferred(layout(PixelFormat::Gray), move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Box::new(PlainMemory::new([(160, vec![90; 160 * 90])]))
    });
    let run = Harness::<Draw>::new().frame(0, ([frame(source)], [track(1, BOX)], NOTHING));
    let drawn = run.rows_of(0).remove(0);
    assert_eq!(looks.load(Ordering::Relaxed), 0);
    assert!(drawn.packets.is_empty());
    let first = drawn.picture.memory().plane(0).to_vec();
    assert_eq!(looks.load(Ordering::Relaxed), 1);
    assert_eq!(drawn.picture.memory().plane(0), first);
}

#[test]
fn labels_zones_and_the_clock_are_drawn_where_they_belong() {
    let region = |run: &Harness<Draw>, left: usize, top: usize, right: usize, bottom: usize| {
        let drawn = run.rows_of(0).remove(0).picture;
        touched(drawn.memory(), 90)
            .iter()
            .filter(|(x, y)| (left..right).contains(x) && (top..bottom).contains(y))
            .count()
    };
    let plain = || Harness::<Draw>::new().size(SIZE.width, SIZE.height);
    let picture = || [frame(grey(PixelFormat::Yuv420))];
    let labelled = plain()
        .param("label", "{track}")
        .frame(0, (picture(), [track(42, BOX)], NOTHING));
    assert!(region(&labelled, 40, 28, 60, 38) > 50);
    let timed = plain().param("clock", "utc").frame(0, (picture(), [], NOTHING));
    assert!(region(&timed, 0, 0, 160, 12) > 300);
    assert_eq!(region(&timed, 0, 12, 160, 90), 0);
    let zoned = plain()
        .polygon("yard", Units::Ratio, [[0.1, 0.6], [0.3, 0.6], [0.3, 0.9], [0.1, 0.9]])
        .line("stop", Units::Pixels, [[100.0, 50.0], [150.0, 50.0]])
        .param("zones", "yard,stop")
        .frame(0, (picture(), [], NOTHING));
    assert!(region(&zoned, 14, 52, 50, 84) > 100, "the polygon's edges");
    assert!(region(&zoned, 98, 48, 152, 53) > 100, "the line");
    assert!(
        region(&zoned, 122, 53, 128, 56) > 5,
        "its arrow points to the right of a -> b: down"
    );
    assert_eq!(region(&zoned, 98, 0, 152, 46), 0);
}

#[test]
fn colours_are_stable_and_boxes_may_lie_anywhere() {
    let far = Rect {
        x1: f32::NEG_INFINITY,
        y1: -1e30,
        x2: f32::NAN,
        y2: 1e30,
    };
    let edge = Rect {
        x1: -20.0,
        y1: -20.0,
        x2: 400.0,
        y2: 300.0,
    };
    let drawn = |id| {
        let rows = [track(id, far), track(id, edge), track(id, BOX)];
        let run = Harness::<Draw>::new().frame(0, ([frame(grey(PixelFormat::Yuv420))], rows, NOTHING));
        run.rows_of(0).remove(0).picture
    };
    let planes = |picture: &Picture| [0, 1, 2].map(|plane| picture.memory().plane(plane).to_vec());
    assert_eq!(planes(&drawn(3)), planes(&drawn(3)));
    assert_ne!(planes(&drawn(3)), planes(&drawn(4)));
}

#[test]
fn a_label_that_cannot_be_filled_in_is_refused_before_the_first_frame() {
    assert!(Harness::<Draw>::new().param("label", "{colour}").build().is_err());
}
