//! How far two detectors agree on the same pictures: matched boxes, how their scores drift, and how well each does where
//! somebody has labelled the pictures.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowrun_engine::rows::Rect;

use super::alone::Found;

/// Boxes of two detectors are the same when they overlap by this much.
const SAME: f32 = 0.5;

/// Boxes that a detector is less sure of by so much are asked for all the same, so that one near the bound is matched.
const MARGIN: f32 = 0.1;

/// From which score on boxes are asked for where those surer than `min_score` count.
pub fn asked_for(min_score: f32) -> f32 {
    (min_score - MARGIN).max(0.01)
}

/// How far two detectors agree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Pictures compared.
    pub pictures: usize,
    /// Boxes that both found.
    pub matched: usize,
    /// Boxes that only the first found.
    pub only_first: usize,
    /// Boxes that only the second found.
    pub only_second: usize,
    /// The mean overlap of matched boxes, and the least.
    pub overlap: [f32; 2],
    /// How far the scores of matched boxes are apart on average, and at most.
    pub drift: [f32; 2],
}

impl Agreement {
    /// Which share of all boxes both found, 0 to 1; 1 where neither found any.
    pub fn share(&self) -> f32 {
        let all = self.matched + self.only_first + self.only_second;
        if all == 0 {
            1.0
        } else {
            self.matched as f32 / all as f32
        }
    }

    /// Adds a picture. Boxes surer than `min_score` for one detector count; the other may be a little less sure.
    pub fn add(&mut self, first: &[Found], second: &[Found], min_score: f32) {
        self.pictures += 1;
        let mut taken = vec![false; second.len()];
        let before = self.matched as f32;
        let (mut overlaps, mut drifts) = (0.0, 0.0);
        for one in first {
            let same = |(at, other): &(usize, &Found)| {
                !taken[*at] && other.class == one.class && other.bbox.iou(&one.bbox) >= SAME
            };
            let candidates = second.iter().enumerate().filter(same);
            let best = candidates.max_by(|(_, a), (_, b)| a.bbox.iou(&one.bbox).total_cmp(&b.bbox.iou(&one.bbox)));
            let Some((at, other)) = best else {
                self.only_first += usize::from(one.score > min_score);
                continue;
            };
            taken[at] = true;
            if one.score <= min_score && other.score <= min_score {
                continue;
            }
            let (overlap, drift) = (other.bbox.iou(&one.bbox), (other.score - one.score).abs());
            self.overlap[1] = if self.matched == 0 {
                overlap
            } else {
                self.overlap[1].min(overlap)
            };
            self.drift[1] = self.drift[1].max(drift);
            self.matched += 1;
            overlaps += overlap;
            drifts += drift;
        }
        self.only_second += second
            .iter()
            .zip(&taken)
            .filter(|(other, taken)| !**taken && other.score > min_score)
            .count();
        if self.matched > 0 {
            let now = self.matched as f32;
            self.overlap[0] = (self.overlap[0] * before + overlaps) / now;
            self.drift[0] = (self.drift[0] * before + drifts) / now;
        }
    }
}

/// What somebody has labelled on a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// What it is.
    pub class: Arc<str>,
    /// Where, in the picture's pixels.
    pub bbox: Rect,
}

/// Mean average precision at an overlap of 0.5, over all classes that were labelled; none where nothing was.
/// The area under the precision of all points, as COCO's 101 recalls approach it.
pub fn mean_average_precision(pictures: &[(Vec<Found>, Vec<Label>)]) -> Option<f32> {
    let mut classes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
    for (_, labels) in pictures {
        labels
            .iter()
            .for_each(|label| *classes.entry(&label.class).or_default() += 1);
    }
    let precisions: Vec<f32> = classes
        .iter()
        .map(|(class, count)| average_precision(pictures, class, *count))
        .collect();
    (!precisions.is_empty()).then(|| precisions.iter().sum::<f32>() / precisions.len() as f32)
}

fn average_precision(pictures: &[(Vec<Found>, Vec<Label>)], class: &Arc<str>, labelled: usize) -> f32 {
    let mut all: Vec<(f32, usize, &Found)> = Vec::new();
    for (picture, (found, _)) in pictures.iter().enumerate() {
        all.extend(
            found
                .iter()
                .filter(|found| found.class == *class)
                .map(|found| (found.score, picture, found)),
        );
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut taken: Vec<Vec<bool>> = pictures.iter().map(|(_, labels)| vec![false; labels.len()]).collect();
    let (mut hits, mut points) = (0, Vec::new());
    for (rank, (_, picture, found)) in all.iter().enumerate() {
        let labels = pictures[*picture]
            .1
            .iter()
            .enumerate()
            .filter(|(_, label)| label.class == *class);
        let best = labels.max_by(|(_, a), (_, b)| a.bbox.iou(&found.bbox).total_cmp(&b.bbox.iou(&found.bbox)));
        if let Some((at, label)) = best
            && label.bbox.iou(&found.bbox) >= SAME
            && !std::mem::replace(&mut taken[*picture][at], true)
        {
            hits += 1;
        }
        points.push((hits as f32 / labelled as f32, hits as f32 / (rank + 1) as f32));
    }
    // Precision is made to fall with recall, from the right.
    let mut highest: f32 = 0.0;
    for point in points.iter_mut().rev() {
        highest = highest.max(point.1);
        point.1 = highest;
    }
    let mut before = 0.0;
    points.iter().fold(0.0, |area, (recall, precision)| {
        let step = recall - before;
        before = *recall;
        area + step * precision
    })
}

/// Labels as YOLO's trainers write them: a line each of class number, centre, width and height as shares of the picture.
///
/// # Errors
/// Says which line is none.
pub fn labels_from_text(text: &str, classes: &[Arc<str>], [width, height]: [f32; 2]) -> Result<Vec<Label>, String> {
    let line = |(number, line): (usize, &str)| {
        let wrong = || format!("line {} is no label: `{line}`", number + 1);
        let mut words = line.split_whitespace();
        let class: usize = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
        let class = classes
            .get(class)
            .ok_or_else(|| format!("line {} has an unknown class", number + 1))?;
        let shares: Vec<f32> = words.map_while(|word| word.parse().ok()).collect();
        let &[x, y, across, down] = shares.as_slice() else {
            return Err(wrong());
        };
        Ok(Label {
            class: class.clone(),
            bbox: Rect {
                x1: (x - across / 2.0) * width,
                y1: (y - down / 2.0) * height,
                x2: (x + across / 2.0) * width,
                y2: (y + down / 2.0) * height,
            },
        })
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(line)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(class: &str, score: f32, left: f32) -> Found {
        Found {
            class: class.into(),
            score,
            bbox: bbox(left),
        }
    }
    fn bbox(left: f32) -> Rect {
        Rect {
            x1: left,
            y1: 0.0,
            x2: left + 10.0,
            y2: 10.0,
        }
    }

    #[test]
    fn boxes_are_matched_once_and_by_class() {
        let mut agreement = Agreement::default();
        let first = [
            found("car", 0.9, 0.0),
            found("car", 0.8, 100.0),
            found("bus", 0.7, 200.0),
            found("car", 0.1, 300.0),
        ];
        let second = [found("car", 0.8, 0.0), found("car", 0.7, 1.0), found("car", 0.7, 200.0)];
        agreement.add(&first, &second, 0.25);
        assert_eq!(
            (agreement.matched, agreement.only_first, agreement.only_second),
            (1, 2, 2)
        );
        assert!((agreement.drift[0] - 0.1).abs() < 1e-6 && agreement.overlap == [1.0, 1.0]);
        agreement.add(&first[..1], &first[..1], 0.25);
        assert!((agreement.drift[0] - 0.05).abs() < 1e-6 && (agreement.share() - 2.0 / 6.0).abs() < 1e-6);
        assert_eq!(Agreement::default().share(), 1.0);
    }

    #[test]
    fn precision_falls_with_what_is_wrong() {
        let label = |left| Label {
            class: "car".into(),
            bbox: bbox(left),
        };
        let labels = vec![label(0.0), label(100.0)];
        let value = |found: Vec<Found>| mean_average_precision(&[(found, labels.clone())]).unwrap();
        assert_eq!(value(vec![found("car", 0.9, 0.0), found("car", 0.8, 100.0)]), 1.0);
        assert_eq!(value(vec![found("car", 0.9, 0.0)]), 0.5);
        let late = value(vec![
            found("car", 0.9, 0.0),
            found("car", 0.8, 50.0),
            found("car", 0.7, 100.0),
        ]);
        assert!((late - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-6);
        assert_eq!(value(vec![found("bus", 0.9, 0.0)]), 0.0);
        assert_eq!(mean_average_precision(&[(Vec::new(), Vec::new())]), None);
    }

    #[test]
    fn labels_are_read_as_trainers_write_them() {
        let classes = ["person".into(), "car".into()];
        let labels = labels_from_text("1 0.5 0.5 0.2 0.4\n\n0 0.1 0.1 0.2 0.2\n", &classes, [100.0, 50.0]).unwrap();
        assert_eq!((labels.len(), &*labels[0].class), (2, "car"));
        assert!((labels[0].bbox.x1 - 40.0).abs() < 1e-4 && (labels[0].bbox.y2 - 35.0).abs() < 1e-4);
        for wrong in ["2 0 0 1 1", "car 0 0 1 1", "1 0 0 1", "1 0 0 1 x"] {
            assert!(labels_from_text(wrong, &classes, [1.0, 1.0]).is_err(), "{wrong}");
        }
    }
}
