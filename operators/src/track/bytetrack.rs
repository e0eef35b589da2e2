//! ByteTrack: detections that the detector is unsure of still continue a track, they only never begin one.
//!
//! Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022, algorithm 1, with
//! the details of the authors' tracker that their paper leaves out and that Ultralytics' `bytetrack` shares: scores
//! fused into the first association, tracks on probation, duplicates merged. Pure arithmetic in f64, no clock: the
//! same detections give the same tracks.

use flowrun_engine::rows::{ClassId, Detection, Rect, Track, TrackId};
use serde::{Deserialize, Serialize};

use super::TrackParams;
use super::assignment::Pairs;
use super::kalman::{Measurement, Motion, measure};

/// Detections of one frame that are looked at: those with the best scores. A detector's own limit is far below.
pub const MOST_DETECTIONS: usize = 1_000;
/// Lost tracks that are remembered: those seen last. Ten times what a frame may hold.
pub const MOST_LOST: usize = 10_000;

/// The highest IoU distance at which an unsure detection continues a track.
const UNSURE_LIMIT: f64 = 0.5;
/// The highest cost at which a second detection confirms a new track.
const PROBATION_LIMIT: f64 = 0.7;
/// Below this IoU distance a tracked and a lost track are one thing.
const DUPLICATE_DISTANCE: f64 = 0.15;

/// One followed object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Followed {
    id: u64,
    class: ClassId,
    score: f32,
    motion: Motion,
    /// Whether it was seen a second time, or in the very first frame.
    confirmed: bool,
    /// The step in which it was first seen.
    began: u64,
    /// The step in which it was last seen.
    seen: u64,
}

impl Followed {
    /// Goes on with what was seen in this step.
    fn correct(&mut self, candidate: &Candidate, step: u64) {
        self.motion.correct(candidate.seen);
        self.class = candidate.class;
        self.score = candidate.score;
        self.confirmed = true;
        self.seen = step;
    }
}

/// A usable detection.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    corners: [f64; 4],
    seen: Measurement,
    class: ClassId,
    score: f32,
}

impl Candidate {
    /// None for what is no number, and for a box without an inside.
    fn new(detection: &Detection) -> Option<Self> {
        let Rect { x1, y1, x2, y2 } = detection.bbox;
        let corners = [x1, y1, x2, y2].map(f64::from);
        let finite = detection.score.is_finite() && corners.iter().all(|number| number.is_finite());
        Some(Candidate {
            corners,
            seen: measure(corners).filter(|_| finite)?,
            class: detection.class,
            score: detection.score,
        })
    }
}

/// The tracks of one camera.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ByteTrack {
    /// Steps made, one an admitted frame.
    step: u64,
    /// The number given last.
    last_id: u64,
    /// Seen in the last step, those on probation included; by id.
    tracked: Vec<Followed>,
    /// Confirmed, but not seen of late; by id.
    lost: Vec<Followed>,
}

/// 1 - intersection over union, of left, top, right, bottom.
fn distance(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let width = a[2].min(b[2]) - a[0].max(b[0]);
    let height = a[3].min(b[3]) - a[1].max(b[1]);
    if width <= 0.0 || height <= 0.0 {
        return 1.0;
    }
    let area = |[x1, y1, x2, y2]: &[f64; 4]| (x2 - x1) * (y2 - y1);
    let shared = width * height;
    1.0 - shared / (area(a) + area(b) - shared)
}

/// Tracks matched with candidates, and what is left of both.
struct Association {
    matches: Vec<(usize, usize)>,
    tracks: Vec<usize>,
    candidates: Vec<Candidate>,
}

/// Matches some of `pool` with candidates. With `fuse` a sure detection is preferred: IoU counts in the measure of its score.
fn associate(pool: &[Followed], members: Vec<usize>, candidates: &[Candidate], fuse: bool, limit: f64) -> Association {
    let boxes: Vec<_> = members.iter().map(|member| pool[*member].motion.corners()).collect();
    let pairs = Pairs::below(limit, members.len(), candidates.len(), |row, column| {
        let distance = distance(&boxes[row], &candidates[column].corners);
        if fuse {
            1.0 - (1.0 - distance) * f64::from(candidates[column].score)
        } else {
            distance
        }
    });
    let mut free = vec![true; candidates.len()];
    let (mut matches, mut tracks) = (Vec::new(), Vec::new());
    for (member, column) in members.into_iter().zip(pairs.assign()) {
        match column {
            Some(column) => {
                free[column] = false;
                matches.push((member, column));
            }
            None => tracks.push(member),
        }
    }
    let left = candidates.iter().zip(free).filter(|(_, free)| *free);
    Association {
        matches,
        tracks,
        candidates: left.map(|(candidate, _)| *candidate).collect(),
    }
}

impl ByteTrack {
    /// Ends all tracks: what comes next begins others, with numbers of their own.
    pub fn end_all(&mut self) {
        self.tracked.clear();
        self.lost.clear();
    }

    /// Goes on by one frame and tells the confirmed tracks seen in it, by id; boxes are the filter's.
    pub fn step<'a>(
        &'a mut self,
        detections: &[Detection],
        params: &TrackParams,
    ) -> impl Iterator<Item = Track> + use<'a> {
        self.step += 1;
        let step = self.step;
        let (sure, unsure) = candidates(detections, params);

        // Everything confirmed is predicted to now; what is on probation is compared where it was seen.
        let (mut pool, mut probation): (Vec<_>, Vec<_>) = std::mem::take(&mut self.tracked)
            .into_iter()
            .partition(|track| track.confirmed);
        let tracked_before = pool.len();
        pool.append(&mut self.lost);
        for (index, track) in pool.iter_mut().enumerate() {
            if index >= tracked_before {
                track.motion.stop_growing();
            }
            track.motion.predict();
        }

        let fuse = params.fuse_score;
        let first = associate(&pool, (0..pool.len()).collect(), &sure, fuse, params.match_thresh);
        for (track, candidate) in &first.matches {
            pool[*track].correct(&sure[*candidate], step);
        }
        let still_tracked = first
            .tracks
            .into_iter()
            .filter(|track| *track < tracked_before)
            .collect();
        let second = associate(&pool, still_tracked, &unsure, false, UNSURE_LIMIT);
        for (track, candidate) in &second.matches {
            pool[*track].correct(&unsure[*candidate], step);
        }
        let members = (0..probation.len()).collect();
        let third = associate(&probation, members, &first.candidates, fuse, PROBATION_LIMIT);
        for (track, candidate) in &third.matches {
            probation[*track].correct(&first.candidates[*candidate], step);
        }
        pool.append(&mut probation);

        let begins = |candidate: &&Candidate| candidate.score >= params.new_track_thresh;
        for candidate in third.candidates.iter().filter(begins) {
            self.last_id += 1;
            pool.push(Followed {
                id: self.last_id,
                class: candidate.class,
                score: candidate.score,
                motion: Motion::begin(candidate.seen),
                confirmed: step == 1,
                began: step,
                seen: step,
            });
        }
        self.keep(pool, u64::from(params.track_buffer));
        self.tracked.iter().filter(|track| track.confirmed).map(|track| {
            let [x1, y1, x2, y2] = track.motion.corners().map(|number| number as f32);
            Track {
                id: TrackId(track.id),
                class: track.class,
                score: track.score,
                bbox: Rect { x1, y1, x2, y2 },
            }
        })
    }

    /// Sorts all tracks into tracked, lost and forgotten: on probation and not confirmed, lost for more than `buffer`
    /// steps, beyond [`MOST_LOST`], duplicate, or no longer finite.
    fn keep(&mut self, mut tracks: Vec<Followed>, buffer: u64) {
        let step = self.step;
        tracks.retain(|track| track.motion.is_finite());
        tracks.sort_unstable_by_key(|track| track.id);
        let lost;
        (self.tracked, lost) = tracks.into_iter().partition(|track| track.seen == step);
        self.lost = lost;
        self.lost.retain(|track| track.confirmed && step - track.seen <= buffer);
        self.merge_duplicates();
        if self.lost.len() > MOST_LOST {
            self.lost.sort_by_key(|track| std::cmp::Reverse(track.seen));
            self.lost.truncate(MOST_LOST);
            self.lost.sort_unstable_by_key(|track| track.id);
        }
    }

    /// Where a tracked and a lost one lie on each other, the one followed for longer stays.
    fn merge_duplicates(&mut self) {
        let boxes = |tracks: &[Followed]| tracks.iter().map(|track| track.motion.corners()).collect::<Vec<_>>();
        let (tracked_boxes, lost_boxes) = (boxes(&self.tracked), boxes(&self.lost));
        let (mut tracked_stays, mut lost_stays) = (vec![true; tracked_boxes.len()], vec![true; lost_boxes.len()]);
        let age = |track: &Followed| track.seen - track.began;
        for (t, tracked) in self.tracked.iter().enumerate() {
            for (l, lost) in self.lost.iter().enumerate() {
                if distance(&tracked_boxes[t], &lost_boxes[l]) < DUPLICATE_DISTANCE {
                    let stays = if age(tracked) > age(lost) {
                        &mut lost_stays[l]
                    } else {
                        &mut tracked_stays[t]
                    };
                    *stays = false;
                }
            }
        }
        let (mut tracked_stays, mut lost_stays) = (tracked_stays.into_iter(), lost_stays.into_iter());
        self.tracked.retain(|_| tracked_stays.next().unwrap_or(true));
        self.lost.retain(|_| lost_stays.next().unwrap_or(true));
    }

    /// Tracks held in memory.
    pub fn held(&self) -> usize {
        self.tracked.len() + self.lost.len()
    }
}

/// Detections that may begin or continue a track, and those that may only continue one.
fn candidates(detections: &[Detection], params: &TrackParams) -> (Vec<Candidate>, Vec<Candidate>) {
    let mut usable: Vec<_> = detections.iter().filter_map(Candidate::new).collect();
    if usable.len() > MOST_DETECTIONS {
        usable.sort_by(|a, b| b.score.total_cmp(&a.score));
        usable.truncate(MOST_DETECTIONS);
    }
    let is_unsure =
        |candidate: &Candidate| candidate.score > params.track_low_thresh && candidate.score < params.track_high_thresh;
    let unsure = usable.iter().copied().filter(is_unsure).collect();
    usable.retain(|candidate| candidate.score >= params.track_high_thresh);
    (usable, unsure)
}
