//! `track`: gives detections an identity over time.

mod assignment;
mod bytetrack;
mod kalman;

#[cfg(test)]
mod tests;

use flowrun_dsl::params::{Choice, Params};
use flowrun_engine::errors::Result;
use flowrun_engine::operator::{Operator, Output, Setup};
use flowrun_engine::rows::{At, Detection, Track};
use serde::{Deserialize, Serialize};

pub use bytetrack::{ByteTrack, MOST_DETECTIONS, MOST_LOST};

/// How detections are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Algorithm {
    /// By motion and overlap, low scores included.
    Bytetrack,
}

/// Follows objects from frame to frame and numbers them from 1.
///
/// Names and defaults are those of Ultralytics' `bytetrack.yaml`. Boxes are smoothed by the motion filter and may
/// reach a little over the picture's edge. A track begins to show in its second frame, except in a camera's first.
/// Detections with an empty box or with numbers that are not finite are left out, as are those beyond the 1,000 best
/// of a frame; of lost tracks the 10,000 seen last are remembered.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct TrackParams {
    /// How objects are followed.
    #[param(positional, reset, default = "bytetrack")]
    pub algorithm: Algorithm,
    /// Detections with at least this score are matched first, and may begin a track.
    #[param(live, default = "0.25", min = 0.0, max = 1.0)]
    pub track_high_thresh: f32,
    /// Detections above this score may still continue a track that is seen.
    #[param(live, default = "0.1", min = 0.0, max = 1.0)]
    pub track_low_thresh: f32,
    /// The least score with which a track begins.
    #[param(live, default = "0.25", min = 0.0, max = 1.0)]
    pub new_track_thresh: f32,
    /// For how many frames of this camera, those left out not counted, a lost object may come back as the same track.
    #[param(live, default = "30", min = 0, max = 100_000)]
    pub track_buffer: u32,
    /// The highest cost, 1 - IoU (times score where scores are fused), of the first match.
    #[param(live, default = "0.8", min = 0.0, max = 1.0)]
    pub match_thresh: f64,
    /// Whether the first match prefers detections with a high score.
    #[param(live, default = "true")]
    pub fuse_score: bool,
    /// What becomes of tracks when an edit of the running graph puts another model before them.
    #[param(live, default = "bridge")]
    pub on_model_change: OnModelChange,
}

/// What becomes of tracks when their detections come from another model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum OnModelChange {
    /// They go on: what the new model finds where they are expected continues them.
    Bridge,
    /// They end: what the new model finds begins tracks of its own, with numbers of its own.
    End,
}

/// Follows the objects of one camera.
#[derive(Debug)]
pub struct TrackObjects {
    params: TrackParams,
    tracks: ByteTrack,
}

/// What [`TrackObjects`] remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TrackState {
    /// Of flowrun 0.1.
    V1 {
        /// The tracks.
        tracks: ByteTrack,
    },
}

impl Operator for TrackObjects {
    const KIND: &'static str = "track";
    type Params = TrackParams;
    type Input = Detection;
    type Output = Track;
    type State = TrackState;

    fn new(params: TrackParams, _: &Setup<'_>) -> Result<Self> {
        Ok(TrackObjects {
            params,
            tracks: ByteTrack::default(),
        })
    }

    fn process(&mut self, _: &At, detections: &[Detection], out: &mut Output<Track>) -> Result<()> {
        match self.params.algorithm {
            Algorithm::Bytetrack => out.extend(self.tracks.step(detections, &self.params)),
        }
        Ok(())
    }

    fn update(&mut self, params: TrackParams) {
        self.params = params;
    }

    fn snapshot(&self) -> TrackState {
        TrackState::V1 {
            tracks: self.tracks.clone(),
        }
    }

    fn restore(&mut self, before: TrackState) {
        let TrackState::V1 { tracks } = before;
        self.tracks = tracks;
    }

    fn renew(&mut self) {
        if self.params.on_model_change == OnModelChange::End {
            self.tracks.end_all();
        }
    }
}
