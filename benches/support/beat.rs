//! Cameras of rows and an operator with a little state, for benches that measure the dataflow alone.

use flowrun::dsl::port::RowKind;
use flowrun::engine::operator::{
    Item, Next, Overload, Pace, Source, SourceOutput, SourceSetup, SourceTraits, Thread, Times,
};
use flowrun::engine::rows::ClassId;
use flowrun::prelude::*;

/// A camera that sends one detection a frame.
pub struct Beat {
    frame: u64,
    period_ns: i64,
}

/// A camera that sends one detection a frame.
#[derive(Clone, Debug, Params)]
pub struct BeatParams {
    /// Frames a second.
    #[param(default = "30", min = 1)]
    fps: u32,
}

impl Source for Beat {
    const KIND: &'static str = "beat";
    const THREAD: Thread = Thread::Shared;
    type Params = BeatParams;

    fn output() -> SourceOutput {
        SourceOutput::Always(RowKind::Detection)
    }
    fn open(params: BeatParams, _: &SourceSetup<'_>) -> Result<Self> {
        Ok(Beat {
            frame: 0,
            period_ns: 1_000_000_000 / i64::from(params.fps),
        })
    }
    fn traits(&self) -> SourceTraits {
        SourceTraits {
            finite: false,
            pace: Pace::Media,
            times: Times::Media,
            overload: Overload::Shed,
        }
    }
    fn next(&mut self) -> Result<Next> {
        let frame = self.frame;
        self.frame += 1;
        let bbox = Rect {
            x1: (frame % 500) as f32,
            y1: 10.0,
            x2: (frame % 500) as f32 + 50.0,
            y2: 60.0,
        };
        let batch = Detection::into_batch(vec![Detection {
            class: ClassId(0),
            score: 0.9,
            bbox,
        }]);
        let size = Size {
            width: 640,
            height: 360,
        };
        Ok(Next::Item(Item {
            frame,
            media_time: frame as i64 * self.period_ns,
            size,
            batch,
        }))
    }
}

/// Smooths boxes: a little state, a little arithmetic.
pub struct Smooth {
    params: SmoothParams,
    last: Option<Rect>,
}

/// Smooths boxes: a little state, a little arithmetic.
#[derive(Clone, Debug, Params)]
pub struct SmoothParams {
    /// How much of the new box counts.
    #[param(live, default = "0.5", min = 0.0, max = 1.0)]
    weight: f32,
}

impl Operator for Smooth {
    const KIND: &'static str = "smooth";
    type Params = SmoothParams;
    type Input = Detection;
    type Output = Detection;
    type State = Option<Rect>;

    fn new(params: SmoothParams, _: &Setup<'_>) -> Result<Self> {
        Ok(Smooth { params, last: None })
    }
    fn process(&mut self, _: &At, detections: &[Detection], out: &mut Output<Detection>) -> Result<()> {
        for detection in detections {
            let (new, old, weight) = (detection.bbox, self.last.unwrap_or(detection.bbox), self.params.weight);
            let blend = |new: f32, old: f32| old + (new - old) * weight;
            let bbox = Rect {
                x1: blend(new.x1, old.x1),
                y1: blend(new.y1, old.y1),
                x2: blend(new.x2, old.x2),
                y2: blend(new.y2, old.y2),
            };
            self.last = Some(bbox);
            out.push(Detection { bbox, ..*detection });
        }
        Ok(())
    }
    fn update(&mut self, params: SmoothParams) {
        self.params = params;
    }
    fn snapshot(&self) -> Option<Rect> {
        self.last
    }
    fn restore(&mut self, before: Option<Rect>) {
        self.last = before;
    }
}
