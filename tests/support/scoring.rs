//! How good detections and tracks are, against what a synthetic camera knows about its own pictures.
//!
//! Average precision is the area under the precision envelope over all points of recall, as in PASCAL VOC 2010 and
//! later, at an overlap of 0.5. IDF1 is that of Ristani et al., "Performance Measures and a Data Set for Multi-Target,
//! Multi-Camera Tracking", ECCV workshops 2016: tracks and things are matched once for a whole camera, at the least cost.
//! Boxes below a floor are neither to be found nor wrong where they are.

#![allow(dead_code, reason = "each test binary and bench uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

/// From this overlap on, two boxes are the same thing's.
const OVERLAP: f64 = 0.5;

/// A row of detections, tracks or the truth.
#[derive(Clone, Debug, Deserialize)]
pub struct Boxed {
    pub camera: String,
    pub frame: u64,
    pub class: String,
    #[serde(default)]
    pub track: u64,
    pub score: f64,
    #[serde(rename = "box")]
    pub corners: [f64; 4],
}

/// Rows by camera and frame.
pub type Rows = BTreeMap<(String, u64), Vec<Boxed>>;

/// Reads what the sink `jsonl` wrote.
pub fn read(path: &Path) -> Rows {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut rows = Rows::new();
    for line in text.lines() {
        let row: Boxed = serde_json::from_str(line).expect("a row with a box");
        rows.entry((row.camera.clone(), row.frame)).or_default().push(row);
    }
    rows
}

fn overlap(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let side = |low: usize, high: usize| (a[high].min(b[high]) - a[low].max(b[low])).max(0.0);
    let area = |r: &[f64; 4]| (r[2] - r[0]) * (r[3] - r[1]);
    let shared = side(0, 2) * side(1, 3);
    shared / (area(a) + area(b) - shared).max(f64::MIN_POSITIVE)
}

/// The truth in two parts: what must be found, and what need not be.
pub struct Truth {
    pub graded: Rows,
    pub ignored: Rows,
}

impl Truth {
    /// Of all things those that are clear enough, and of these those whose shorter side has at least so many pixels.
    pub fn new(all: &Rows, clear: &Rows, shortest: f64) -> Self {
        let (mut graded, mut ignored) = (Rows::new(), Rows::new());
        for (at, rows) in all {
            let seen: BTreeSet<u64> = clear.get(at).into_iter().flatten().map(|row| row.track).collect();
            for row in rows {
                let [x1, y1, x2, y2] = row.corners;
                let counts = seen.contains(&row.track) && (x2 - x1).min(y2 - y1) >= shortest;
                let part = if counts { &mut graded } else { &mut ignored };
                part.entry(at.clone()).or_default().push(row.clone());
            }
        }
        Truth { graded, ignored }
    }

    pub fn graded_boxes(&self) -> usize {
        self.graded.values().map(Vec::len).sum()
    }
}

/// Average precision of each class of which there are graded boxes, with how many.
pub fn precision(truth: &Truth, found: &Rows) -> BTreeMap<String, (f64, usize)> {
    let mut totals: BTreeMap<String, usize> = BTreeMap::new();
    for row in truth.graded.values().flatten() {
        *totals.entry(row.class.clone()).or_default() += 1;
    }
    let mut judged: BTreeMap<String, Vec<(f64, bool)>> = BTreeMap::new();
    for (at, rows) in found {
        let graded = truth.graded.get(at).map_or(&[][..], Vec::as_slice);
        let ignored = truth.ignored.get(at).map_or(&[][..], Vec::as_slice);
        let mut taken = vec![false; graded.len()];
        let mut rows: Vec<&Boxed> = rows.iter().collect();
        rows.sort_by(|a, b| b.score.total_cmp(&a.score));
        for row in rows {
            let free = graded
                .iter()
                .enumerate()
                .filter(|(index, other)| !taken[*index] && other.class == row.class);
            let best = free
                .map(|(index, other)| (overlap(&row.corners, &other.corners), index))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .filter(|(overlap, _)| *overlap >= OVERLAP);
            let is_ignored =
                |other: &Boxed| other.class == row.class && overlap(&row.corners, &other.corners) >= OVERLAP;
            match best {
                Some((_, index)) => taken[index] = true,
                None if ignored.iter().any(is_ignored) => continue,
                None => {}
            }
            judged
                .entry(row.class.clone())
                .or_default()
                .push((row.score, best.is_some()));
        }
    }
    let area = |(class, total): (String, usize)| {
        let judged = judged.remove(&class).unwrap_or_default();
        (class, (average(judged, total), total))
    };
    totals.into_iter().map(area).collect()
}

/// The mean over classes.
pub fn mean(precision: &BTreeMap<String, (f64, usize)>) -> f64 {
    precision.values().map(|(average, _)| average).sum::<f64>() / precision.len().max(1) as f64
}

fn average(mut judged: Vec<(f64, bool)>, total: usize) -> f64 {
    judged.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut hits = 0;
    let mut points: Vec<(bool, f64)> = Vec::with_capacity(judged.len());
    for (index, (_, is_hit)) in judged.iter().enumerate() {
        hits += usize::from(*is_hit);
        points.push((*is_hit, hits as f64 / (index + 1) as f64));
    }
    let (mut envelope, mut area) = (0.0f64, 0.0);
    for (is_hit, precision) in points.into_iter().rev() {
        envelope = envelope.max(precision);
        area += if is_hit { envelope } else { 0.0 };
    }
    area / total as f64
}

/// How often who was told apart rightly, in boxes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity {
    pub right: usize,
    pub truth: usize,
    pub tracked: usize,
}

impl Identity {
    pub fn idf1(&self) -> f64 {
        2.0 * self.right as f64 / (self.truth + self.tracked).max(1) as f64
    }
}

/// Matches tracks with things, camera by camera. Boxes of tracks that lie on what need not be found do not count.
pub fn identity(truth: &Truth, tracks: &Rows) -> Identity {
    let mut sum = Identity::default();
    let cameras: BTreeSet<&String> = truth.graded.keys().map(|(camera, _)| camera).collect();
    for camera in cameras {
        let mut shared: BTreeMap<(u64, u64), i64> = BTreeMap::new();
        let (mut things, mut tracked) = (BTreeSet::new(), BTreeSet::new());
        for row in truth
            .graded
            .iter()
            .filter(|(at, _)| at.0 == *camera)
            .flat_map(|(_, rows)| rows)
        {
            things.insert(row.track);
            sum.truth += 1;
        }
        for (at, rows) in tracks.iter().filter(|(at, _)| at.0 == *camera) {
            let graded = truth.graded.get(at).map_or(&[][..], Vec::as_slice);
            let ignored = truth.ignored.get(at).map_or(&[][..], Vec::as_slice);
            for row in rows {
                let near: Vec<u64> = graded
                    .iter()
                    .filter(|other| overlap(&row.corners, &other.corners) >= OVERLAP)
                    .map(|other| other.track)
                    .collect();
                let is_ignored = |other: &Boxed| overlap(&row.corners, &other.corners) >= OVERLAP;
                if near.is_empty() && ignored.iter().any(is_ignored) {
                    continue;
                }
                sum.tracked += 1;
                tracked.insert(row.track);
                for thing in near {
                    *shared.entry((thing, row.track)).or_default() += 1;
                }
            }
        }
        sum.right += most_shared(&things, &tracked, &shared);
    }
    sum
}

/// The most boxes that things and tracks share when each has at most one partner: what is left over is the least cost.
fn most_shared(things: &BTreeSet<u64>, tracked: &BTreeSet<u64>, shared: &BTreeMap<(u64, u64), i64>) -> usize {
    let (rows, columns): (Vec<u64>, Vec<u64>) = (things.iter().copied().collect(), tracked.iter().copied().collect());
    let side = rows.len().max(columns.len());
    let place = |list: &[u64], value: u64| list.binary_search(&value).expect("the lists hold all of them");
    let mut costs = vec![vec![0i64; side]; side];
    for ((thing, track), count) in shared {
        costs[place(&rows, *thing)][place(&columns, *track)] = -count;
    }
    -least_cost(&costs) as usize
}

/// The cost of the cheapest assignment of a square matrix, by shortest augmenting paths (Kuhn, "The Hungarian method for
/// the assignment problem", 1955; with potentials, cubic in the side).
fn least_cost(costs: &[Vec<i64>]) -> i64 {
    let side = costs.len();
    // Row and column 0 stand for none.
    let (mut of_row, mut of_column) = (vec![0i64; side + 1], vec![0i64; side + 1]);
    let mut owner = vec![0usize; side + 1];
    for row in 1..=side {
        owner[0] = row;
        let (mut column, mut before) = (0, vec![0usize; side + 1]);
        let (mut slack, mut done) = (vec![i64::MAX; side + 1], vec![false; side + 1]);
        while owner[column] != 0 {
            done[column] = true;
            let (from, mut next, mut step) = (owner[column], 0, i64::MAX);
            for other in (1..=side).filter(|other| !done[*other]) {
                let reduced = costs[from - 1][other - 1] - of_row[from] - of_column[other];
                if reduced < slack[other] {
                    slack[other] = reduced;
                    before[other] = column;
                }
                if slack[other] < step {
                    (step, next) = (slack[other], other);
                }
            }
            for other in 0..=side {
                if done[other] {
                    of_row[owner[other]] += step;
                    of_column[other] -= step;
                } else if slack[other] < i64::MAX {
                    slack[other] -= step;
                }
            }
            column = next;
        }
        while column != 0 {
            owner[column] = owner[before[column]];
            column = before[column];
        }
    }
    (1..=side).map(|column| costs[owner[column] - 1][column - 1]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(frame: u64, track: u64, score: f64, x: f64) -> Boxed {
        Boxed {
            camera: "north".into(),
            frame,
            class: "car".into(),
            track,
            score,
            corners: [x, 0.0, x + 10.0, 10.0],
        }
    }

    fn rows(list: &[Boxed]) -> Rows {
        let mut rows = Rows::new();
        for row in list {
            rows.entry((row.camera.clone(), row.frame))
                .or_default()
                .push(row.clone());
        }
        rows
    }

    #[test]
    fn average_precision_is_the_area_under_the_envelope() {
        // Hit, miss, hit of four: precision 1 and 2/3 at recalls of 1/4 and 2/4.
        let truth = [0.0, 20.0, 40.0, 60.0].map(|x| row(0, x as u64, 1.0, x));
        let truth = Truth::new(&rows(&truth), &rows(&truth), 5.0);
        let found = [row(0, 0, 0.9, 1.0), row(0, 0, 0.8, 100.0), row(0, 0, 0.7, 40.0)];
        let (average, total) = precision(&truth, &rows(&found))["car"];
        assert_eq!(total, 4);
        assert!((average - (0.25 + 0.25 * 2.0 / 3.0)).abs() < 1e-9, "{average}");
    }

    #[test]
    fn what_is_hidden_or_small_is_neither_hit_nor_miss() {
        let all = [row(0, 1, 1.0, 0.0), row(0, 2, 1.0, 20.0)];
        let truth = Truth::new(&rows(&all), &rows(&all[..1]), 5.0);
        let found = [row(0, 0, 0.9, 20.0), row(0, 0, 0.8, 0.0)];
        assert_eq!(precision(&truth, &rows(&found))["car"], (1.0, 1));
        assert_eq!(Truth::new(&rows(&all), &rows(&all), 11.0).graded_boxes(), 0);
    }

    #[test]
    fn idf1_pairs_each_thing_with_the_one_track_that_serves_best() {
        let truth: Vec<Boxed> = (0..10).map(|frame| row(frame, 7, 1.0, 0.0)).collect();
        let truth = Truth::new(&rows(&truth), &rows(&truth), 5.0);
        // The track's number changes after six of ten frames.
        let tracks: Vec<Boxed> = (0..10).map(|frame| row(frame, 1 + frame / 6, 1.0, 0.0)).collect();
        let identity = identity(&truth, &rows(&tracks));
        assert_eq!((identity.right, identity.truth, identity.tracked), (6, 10, 10));
        assert!((identity.idf1() - 0.6).abs() < 1e-9);
    }

    #[test]
    fn the_cheapest_assignment_is_not_the_greedy_one() {
        assert_eq!(least_cost(&[vec![-5, -4], vec![-4, 0]]), -8);
        assert_eq!(least_cost(&[vec![0, -2, -3], vec![-9, 0, 0], vec![0, -1, -9]]), -20);
    }
}
