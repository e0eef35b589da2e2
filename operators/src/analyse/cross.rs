//! `cross`: which track passes which directed line, and which way.

use std::collections::BTreeMap;
use std::time::Duration;

use flowrun_dsl::params::{Line, Params, Ref};
use flowrun_engine::errors::Result;
use flowrun_engine::operator::{LineShape, Operator, Output, Setup};
use flowrun_engine::rows::{At, Crossing, Direction, Size, Track, ZoneId};
use serde::{Deserialize, Serialize};

use super::Anchor;
use super::geometry::{Point, distance, passing};
use super::roster::Roster;

/// Counts tracks that pass a directed line.
///
/// A row is sent when the way of a track's anchor from its last to its present place passes the line between its ends;
/// forward is to the right of a -> b as seen on the picture. A place exactly on the line counts as to its right, so
/// none is missed or counted twice, and one that goes back counts backward. The class is what the track has been taken
/// for most often so far; of equals, what it was taken for first.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct CrossParams {
    /// Lines to watch; those that lie on other cameras only are passed over.
    pub lines: Vec<Ref<Line>>,
    /// Which point of the box must pass.
    #[param(reset, default = "feet")]
    pub anchor: Anchor,
    /// How long the last place of an absent track is remembered; after that it begins anew.
    #[param(live, default = "2s")]
    pub memory: Duration,
    /// How far beyond the line a track must get before it counts, in picture heights; one that turns back before that does not.
    #[param(live, default = "0", min = 0.0, max = 1.0)]
    pub hysteresis: f64,
}

/// A passing that does not count yet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Pending {
    forward: bool,
    point: Point,
}

/// What is known of one track.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Way {
    /// Its last place, in pixels.
    last: Option<Point>,
    /// Passings that are not far enough beyond the line.
    pending: BTreeMap<ZoneId, Pending>,
}

impl Way {
    /// Takes a step against one line. Gives the passings that count now, two at most.
    fn step(&mut self, line: ZoneId, [a, b]: [Point; 2], here: Point, margin: f64) -> [Option<Pending>; 2] {
        let mut overtaken = None;
        if let Some(passed) = self.last.and_then(|last| passing(a, b, last, here)) {
            let passed = Pending {
                forward: passed.forward,
                point: passed.point,
            };
            match self.pending.remove(&line) {
                Some(before) if before.forward != passed.forward => {}
                before => {
                    // Twice the same way: it came back round the line's end, so both count.
                    overtaken = before;
                    self.pending.insert(line, passed);
                }
            }
        }
        let is_beyond = self.pending.contains_key(&line) && distance(a, b, here) >= margin;
        let counted = if is_beyond { self.pending.remove(&line) } else { None };
        [overtaken, counted]
    }
}

/// A line on this camera's picture.
#[derive(Debug)]
struct Gate {
    shape: LineShape,
    name: String,
    ends: [Point; 2],
}

/// Watches the lines of one camera.
#[derive(Debug)]
pub struct CrossLines {
    params: CrossParams,
    gates: Vec<Gate>,
    size: Size,
    roster: Roster<Way>,
}

/// What [`CrossLines`] remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CrossState {
    /// Of flowrun 0.1.
    V1 {
        /// Names of the lines: an edited graph numbers them anew.
        lines: BTreeMap<ZoneId, String>,
        /// The picture's size that places are told in.
        size: Size,
        /// Tracks and their ways.
        roster: Roster<Way>,
    },
}

impl CrossLines {
    /// Tells lines and remembered places in pixels of a picture of another size.
    fn fit(&mut self, size: Size) {
        if size == self.size {
            return;
        }
        let scale = |now: u32, before: u32| {
            if before == 0 {
                1.0
            } else {
                f64::from(now) / f64::from(before)
            }
        };
        let by = [scale(size.width, self.size.width), scale(size.height, self.size.height)];
        let scaled = |point: &mut Point| *point = [point[0] * by[0], point[1] * by[1]];
        for way in self.roster.all_mut() {
            way.last.iter_mut().for_each(scaled);
            way.pending.values_mut().for_each(|pending| scaled(&mut pending.point));
        }
        self.size = size;
        self.place_gates();
    }

    fn place_gates(&mut self) {
        for gate in &mut self.gates {
            gate.ends = gate.shape.in_pixels(self.size);
        }
    }
}

impl Operator for CrossLines {
    const KIND: &'static str = "cross";
    type Params = CrossParams;
    type Input = Track;
    type Output = Crossing;
    type State = CrossState;

    fn new(params: CrossParams, setup: &Setup<'_>) -> Result<Self> {
        let mut gates: Vec<Gate> = Vec::new();
        for line in &params.lines {
            // A name given twice is one line.
            if let Some(shape) = setup
                .line(line)
                .filter(|shape| gates.iter().all(|gate| gate.shape.id != shape.id))
            {
                gates.push(Gate {
                    ends: shape.in_pixels(Size::default()),
                    name: line.name().to_owned(),
                    shape,
                });
            }
        }
        Ok(CrossLines {
            gates,
            params,
            size: Size::default(),
            roster: Roster::default(),
        })
    }

    fn process(&mut self, at: &At, tracks: &[Track], out: &mut Output<Crossing>) -> Result<()> {
        self.fit(at.size);
        self.roster.begin_frame();
        let margin = self.params.hysteresis * f64::from(at.size.height);
        for track in tracks {
            let Some(here) = self.params.anchor.of(&track.bbox) else {
                continue;
            };
            let (_, entry) = self.roster.see(track, at.event_time, self.params.memory);
            let class = entry.class();
            for gate in &self.gates {
                let counted = entry.about.step(gate.shape.id, gate.ends, here, margin);
                out.extend(counted.into_iter().flatten().map(|passed| Crossing {
                    track: track.id,
                    class,
                    line: gate.shape.id,
                    direction: if passed.forward {
                        Direction::Forward
                    } else {
                        Direction::Backward
                    },
                    point: (passed.point[0] as f32, passed.point[1] as f32),
                }));
            }
            entry.about.last = Some(here);
        }
        drop(self.roster.vanished(at.event_time, self.params.memory));
        Ok(())
    }

    fn update(&mut self, params: CrossParams) {
        self.params = params;
    }

    fn snapshot(&self) -> CrossState {
        CrossState::V1 {
            lines: self
                .gates
                .iter()
                .map(|gate| (gate.shape.id, gate.name.clone()))
                .collect(),
            size: self.size,
            roster: self.roster.clone(),
        }
    }

    fn restore(&mut self, before: CrossState) {
        let CrossState::V1 {
            lines,
            size,
            mut roster,
        } = before;
        let now_called = |line: &ZoneId| {
            let name = lines.get(line)?;
            self.gates
                .iter()
                .find(|gate| gate.name == *name)
                .map(|gate| gate.shape.id)
        };
        for way in roster.all_mut() {
            let renumbered = way
                .pending
                .iter()
                .filter_map(|(line, pending)| Some((now_called(line)?, *pending)));
            way.pending = renumbered.collect();
        }
        (self.size, self.roster) = (size, roster);
        self.place_gates();
    }
}

#[cfg(test)]
mod tests {
    use flowrun_dsl::plan::Units;
    use flowrun_engine::rows::{ClassId, Rect, TrackId};
    use flowrun_engine::testing::Harness;
    use flowrun_engine::time::EventTime;
    use proptest::prelude::*;

    use super::*;
    use crate::analyse::geometry::is_right;

    /// A track whose feet are here.
    fn feet(id: u64, class: u16, x: f32, y: f32) -> Track {
        Track {
            id: TrackId(id),
            class: ClassId(class),
            score: 0.9,
            bbox: Rect {
                x1: x - 5.0,
                y1: y - 20.0,
                x2: x + 5.0,
                y2: y,
            },
        }
    }

    /// A line to the right at y = 100: forward is down the picture.
    fn harness() -> Harness<CrossLines> {
        Harness::new()
            .line("stop", Units::Pixels, [[0.0, 100.0], [200.0, 100.0]])
            .param("lines", "stop")
    }

    /// Feeds one track's places, a frame each.
    fn down(harness: Harness<CrossLines>, heights: &[f32]) -> Vec<(u64, Direction)> {
        let frames = heights.iter().zip(0_u64..);
        let run = frames.fold(harness, |run, (y, number)| run.frame(number, [feet(1, 0, 50.0, *y)]));
        run.rows()
            .iter()
            .map(|(frame, crossing)| (*frame, crossing.direction))
            .collect()
    }

    use Direction::{Backward, Forward};

    #[test]
    fn down_is_forward_and_up_is_backward() {
        assert_eq!(down(harness(), &[90.0, 110.0]), [(1, Forward)]);
        assert_eq!(down(harness(), &[110.0, 90.0]), [(1, Backward)]);
        assert_eq!(down(harness(), &[110.0]), [], "where it came from is not known");
    }

    #[test]
    fn a_place_on_the_line_neither_doubles_nor_misses() {
        assert_eq!(down(harness(), &[90.0, 100.0, 100.0, 110.0]), [(1, Forward)]);
        assert_eq!(down(harness(), &[110.0, 100.0, 90.0]), [(2, Backward)]);
        assert_eq!(down(harness(), &[90.0, 100.0, 90.0]), [(1, Forward), (2, Backward)]);
    }

    #[test]
    fn a_line_named_twice_counts_once() {
        assert_eq!(
            down(harness().param("lines", "stop,stop"), &[90.0, 110.0]),
            [(1, Forward)]
        );
    }

    #[test]
    fn jitter_nets_to_nothing_and_hysteresis_silences_it() {
        let jitter = [90.0, 101.0, 99.0, 101.0, 99.0, 101.0, 120.0];
        assert_eq!(down(harness(), &jitter).len(), 5);
        // 10 of 720 pixels.
        let calm = || harness().param("hysteresis", "0.0138");
        assert_eq!(down(calm(), &jitter), [(6, Forward)]);
        assert_eq!(down(calm(), &[90.0, 101.0, 99.0]), []);
        assert_eq!(down(calm(), &[90.0, 120.0, 101.0, 99.0, 120.0]), [(1, Forward)]);
    }

    #[test]
    fn coming_back_round_the_end_counts_again() {
        let places = [
            (50.0, 90.0),
            (50.0, 101.0),
            (250.0, 101.0),
            (250.0, 90.0),
            (50.0, 90.0),
            (50.0, 120.0),
        ];
        let around = |harness: Harness<CrossLines>| {
            let frames = places.iter().zip(0_u64..);
            let run = frames.fold(harness, |run, ((x, y), number)| run.frame(number, [feet(1, 0, *x, *y)]));
            run.rows()
                .iter()
                .map(|(frame, crossing)| (*frame, crossing.direction))
                .collect::<Vec<_>>()
        };
        assert_eq!(around(harness()), [(1, Forward), (5, Forward)]);
        assert_eq!(
            around(harness().param("hysteresis", "0.02")),
            [(5, Forward), (5, Forward)]
        );
    }

    #[test]
    fn a_track_is_remembered_for_a_while() {
        let gap = |missing: u64| {
            let mut run = harness().frame(0, [feet(1, 0, 50.0, 90.0)]);
            for number in 1..=missing {
                run = run.frame(number, []);
            }
            run.frame(missing + 1, [feet(1, 0, 50.0, 110.0)]).rows().len()
        };
        assert_eq!(gap(19), 1, "2 s are remembered");
        assert_eq!(gap(20), 0, "2.1 s are not");
    }

    #[test]
    fn the_row_tells_where_and_what() {
        let run = harness()
            .frame(0, [feet(7, 2, 40.0, 90.0)])
            .frame(1, [feet(7, 3, 60.0, 110.0)]);
        let expected = Crossing {
            track: TrackId(7),
            class: ClassId(2),
            line: ZoneId(0),
            direction: Forward,
            point: (50.0, 100.0),
        };
        assert_eq!(run.rows(), [(1, expected)], "of two classes seen once, the earlier");
    }

    #[test]
    fn a_picture_of_another_size_is_the_same_scene() {
        let run = Harness::<CrossLines>::new()
            .line("stop", Units::Ratio, [[0.0, 0.5], [1.0, 0.5]])
            .param("lines", "stop")
            .size(400, 400)
            .frame(0, [feet(1, 0, 100.0, 190.0)])
            .size(200, 200)
            .frame(1, [feet(1, 0, 50.0, 96.0)])
            .restart()
            .size(400, 400)
            .frame(2, [feet(1, 0, 100.0, 198.0)])
            .frame(3, [feet(1, 0, 100.0, 202.0)]);
        let rows: Vec<_> = run
            .rows()
            .iter()
            .map(|(frame, crossing)| (*frame, crossing.direction))
            .collect();
        assert_eq!(rows, [(3, Forward)]);
    }

    /// Frames of some tracks all over the picture, absent now and then, at times that may step back.
    fn frames() -> impl Strategy<Value = Vec<(i64, Vec<Track>)>> {
        let track = (0..5_u64, 0..3_u16, 0..250_i32, 80..120_i32)
            .prop_map(|(id, class, x, y)| feet(id, class, x as f32, y as f32));
        let time = prop_oneof![6 => 0..400_i64, 1 => -3000..3000_i64, 1 => Just(i64::MIN / 2_000_000)];
        prop::collection::vec((time, prop::collection::vec(track, 0..4)), 1..60)
    }

    fn fed(mut harness: Harness<CrossLines>, frames: &[(i64, Vec<Track>)], first: usize) -> Harness<CrossLines> {
        let mut time = frames[..first]
            .iter()
            .fold(0_i64, |sum, (step, _)| sum.saturating_add(step * 1_000_000));
        for (number, (step, tracks)) in frames.iter().enumerate().skip(first) {
            time = time.saturating_add(step * 1_000_000);
            harness = harness.frame_at(number as u64, EventTime(time), tracks.clone());
        }
        harness
    }

    proptest! {
        #[test]
        fn the_net_count_is_where_it_ends_less_where_it_began(heights in prop::collection::vec(80..120_i32, 1..40)) {
            let heights: Vec<f32> = heights.into_iter().map(|y| y as f32).collect();
            let net: i32 = down(harness(), &heights).iter().map(|(_, way)| if *way == Forward { 1 } else { -1 }).sum();
            let side = |y: f32| i32::from(is_right([0.0, 100.0], [200.0, 100.0], [50.0, f64::from(y)]));
            prop_assert_eq!(net, side(heights[heights.len() - 1]) - side(heights[0]));
        }

        #[test]
        fn hysteresis_only_leaves_out_pairs(heights in prop::collection::vec(80..120_i32, 1..40)) {
            let mut heights: Vec<f32> = heights.into_iter().map(|y| y as f32).collect();
            // The way ends far from the line, where nothing is pending.
            heights.push(500.0);
            let net = |rows: Vec<(u64, Direction)>| -> i32 { rows.iter().map(|(_, way)| if *way == Forward { 1 } else { -1 }).sum() };
            let plain = net(down(harness(), &heights));
            prop_assert_eq!(net(down(harness().param("hysteresis", "0.01"), &heights)), plain);
        }

        #[test]
        fn a_restored_analysis_goes_on_identically(frames in frames(), cut in 0..60_usize) {
            let calm = || harness().param("hysteresis", "0.01");
            let cut = cut.min(frames.len());
            let resumed = fed(fed(calm(), &frames[..cut], 0).restart(), &frames, cut);
            let straight = fed(calm(), &frames, 0);
            prop_assert_eq!(resumed.rows(), straight.rows());
        }
    }
}
