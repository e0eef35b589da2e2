//! What a synthetic camera knows about its own picture, as rows.
//!
//! `truth` stands where a detector would and `truth-tracks` where a tracker would: graphs are tried out
//! without a model, and detectors and trackers are measured against them. Neither looks at a pixel, so
//! pictures that are rendered on demand never are.

use flowrun_dsl::params::Params;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::{Frame, TruthBox};
use flowrun_engine::operator::{Operator, Output, Setup};
use flowrun_engine::rows::{At, Detection, Track};

/// The objects that a synthetic camera drew, as a perfect detector would see them: with a score of 1.
#[derive(Clone, Debug, Params)]
pub struct TruthParams {
    /// The part of an object that must not be hidden behind something nearer.
    #[param(live, default = "0.1", min = 0.0, max = 1.0)]
    pub min_visible: f32,
}

/// The objects that a synthetic camera drew, with their identities, as a perfect tracker would follow
/// them: also while they are hidden, as long as they are on the picture.
#[derive(Clone, Debug, Params)]
pub struct TruthTracksParams {
    /// The part of an object that must not be hidden behind something nearer.
    #[param(live, default = "0.0", min = 0.0, max = 1.0)]
    pub min_visible: f32,
}

/// The operator `truth`.
#[derive(Debug)]
pub struct Truth {
    params: TruthParams,
}

/// The operator `truth-tracks`.
#[derive(Debug)]
pub struct TruthTracks {
    params: TruthTracksParams,
}

/// The objects of which at least this part is visible; the first frame of an answer is the only one.
fn objects(frames: &[Frame], min_visible: f32) -> Result<impl Iterator<Item = &TruthBox>> {
    let truth = match frames.first() {
        None => &[],
        Some(frame) => frame.truth.as_deref().ok_or_else(|| {
            OperatorError::new("this camera does not know what is on its pictures")
                .help("use `truth` on synthetic cameras, and `detect` and `track` on others")
        })?,
    };
    Ok(truth.iter().filter(move |object| object.visible >= min_visible))
}

impl Operator for Truth {
    const KIND: &'static str = "truth";
    const PORTS: &'static [&'static str] = &["frames"];
    type Params = TruthParams;
    type Input = Frame;
    type Output = Detection;
    type State = ();

    fn new(params: TruthParams, _: &Setup<'_>) -> Result<Self> {
        Ok(Truth { params })
    }
    fn process(&mut self, _: &At, frames: &[Frame], out: &mut Output<Detection>) -> Result<()> {
        out.extend(objects(frames, self.params.min_visible)?.map(|object| Detection {
            class: object.class,
            score: 1.0,
            bbox: object.bbox,
        }));
        Ok(())
    }
    fn update(&mut self, params: TruthParams) {
        self.params = params;
    }
    fn snapshot(&self) {}
    fn restore(&mut self, _: ()) {}
}

impl Operator for TruthTracks {
    const KIND: &'static str = "truth-tracks";
    const PORTS: &'static [&'static str] = &["frames"];
    type Params = TruthTracksParams;
    type Input = Frame;
    type Output = Track;
    type State = ();

    fn new(params: TruthTracksParams, _: &Setup<'_>) -> Result<Self> {
        Ok(TruthTracks { params })
    }
    fn process(&mut self, _: &At, frames: &[Frame], out: &mut Output<Track>) -> Result<()> {
        out.extend(objects(frames, self.params.min_visible)?.map(|object| Track {
            id: object.id,
            class: object.class,
            score: 1.0,
            bbox: object.bbox,
        }));
        Ok(())
    }
    fn update(&mut self, params: TruthTracksParams) {
        self.params = params;
    }
    fn snapshot(&self) {}
    fn restore(&mut self, _: ()) {}
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flowrun_engine::frame::{Matrix, Picture, PictureLayout, PixelFormat, Range};
    use flowrun_engine::rows::{ClassId, Rect, Size, TrackId};

    use super::*;

    fn frame(visible: &[f32]) -> Frame {
        let layout = PictureLayout {
            size: Size { width: 8, height: 8 },
            format: PixelFormat::Gray,
            matrix: Matrix::Bt601,
            range: Range::Full,
        };
        let boxes = visible.iter().enumerate().map(|(index, visible)| TruthBox {
            id: TrackId(index as u64),
            class: ClassId(1),
            bbox: Rect::default(),
            visible: *visible,
        });
        Frame {
            picture: Arc::new(Picture::deferred(layout, || panic!("nobody looks at the pixels"))),
            truth: Some(boxes.collect()),
            packets: flowrun_engine::rows::Rows::default(),
            taken: None,
        }
    }

    #[test]
    fn hidden_objects_are_followed_but_not_detected() {
        let frames = [frame(&[0.0, 0.05, 0.1, 1.0])];
        let mut seen = Output::default();
        let mut truth = Truth {
            params: TruthParams { min_visible: 0.1 },
        };
        truth.process(&At::default(), &frames, &mut seen).unwrap();
        assert_eq!(seen.into_rows().len(), 2);
        let mut followed = Output::default();
        let mut tracks = TruthTracks {
            params: TruthTracksParams { min_visible: 0.0 },
        };
        tracks.process(&At::default(), &frames, &mut followed).unwrap();
        let ids: Vec<_> = followed.into_rows().iter().map(|track| track.id.0).collect();
        assert_eq!(ids, [0, 1, 2, 3]);
    }

    #[test]
    fn a_camera_without_truth_is_an_error_with_a_remedy() {
        let mut frame = frame(&[]);
        frame.truth = None;
        let mut truth = Truth {
            params: TruthParams { min_visible: 0.1 },
        };
        let error = truth
            .process(&At::default(), &[frame], &mut Output::default())
            .unwrap_err();
        assert!(error.remedy.is_some());
        assert!(
            truth.process(&At::default(), &[], &mut Output::default()).is_ok(),
            "a frame that failed before"
        );
    }
}
