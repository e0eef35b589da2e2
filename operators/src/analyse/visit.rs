//! `visit`: which track stays in which zone, since when, for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use flowrun_dsl::params::{Params, Ref, Zone};
use flowrun_engine::errors::Result;
use flowrun_engine::operator::{Operator, Output, PolygonShape, Setup};
use flowrun_engine::rows::{At, ClassId, Phase, Size, Track, TrackId, Visit, ZoneId};
use flowrun_engine::time::{EventTime, nanos};
use serde::{Deserialize, Serialize};

use super::Anchor;
use super::geometry::{Point, contains};
use super::roster::Roster;

/// Tells when a track is inside a zone, and for how long.
///
/// One row when it enters, one when it leaves, and while it stays one at every change of the dwell bucket. The dwell is
/// the time from the first to the last sight inside. A track leaves when it is seen outside, or when it is absent for
/// longer than the grace. An edge belongs to its zone, and what reaches over the picture's edge counts as on it. The
/// class is what the track has been taken for most often so far; of equals, what it was taken for first.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct VisitParams {
    /// Zones to test; those that lie on other cameras only are passed over.
    pub zones: Vec<Ref<Zone>>,
    /// How long a track may be absent and still be on the same visit.
    #[param(live, default = "800ms")]
    pub grace: Duration,
    /// Which point of the box must be inside.
    #[param(reset, default = "feet")]
    pub anchor: Anchor,
    /// Steps of the dwell at which a row is sent while the visit lasts; nought sends one a frame.
    #[param(live, default = "1s")]
    pub bucket: Duration,
}

/// A visit that is going on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stay {
    /// First sight inside.
    entered: EventTime,
    /// Last sight inside.
    last_inside: EventTime,
}

impl Stay {
    /// Nanoseconds; never negative, though event time may step back.
    fn dwell(&self) -> i64 {
        self.last_inside.0.saturating_sub(self.entered.0).max(0)
    }
}

type Stays = BTreeMap<ZoneId, Stay>;

/// A zone on this camera's picture.
#[derive(Debug)]
struct Area {
    shape: PolygonShape,
    name: String,
    corners: Vec<Point>,
}

/// Watches the zones of one camera.
#[derive(Debug)]
pub struct VisitZones {
    params: VisitParams,
    areas: Vec<Area>,
    size: Size,
    roster: Roster<Stays>,
}

/// What [`VisitZones`] remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum VisitState {
    /// Of flowrun 0.1.
    V1 {
        /// Names of the zones: an edited graph numbers them anew.
        zones: BTreeMap<ZoneId, String>,
        /// Tracks and their visits.
        roster: Roster<Stays>,
    },
}

/// Whether both lie in the same step of `bucket`.
fn is_same_bucket(before: i64, after: i64, bucket: Duration) -> bool {
    match nanos(bucket) {
        0 => before == after,
        bucket => before / bucket == after / bucket,
    }
}

/// A point that reaches over the picture's edge is on the edge: the filter's boxes do, though things do not.
fn within(size: Size, [x, y]: Point) -> Point {
    if size.width == 0 || size.height == 0 {
        return [x, y];
    }
    [
        x.clamp(0.0, f64::from(size.width)),
        y.clamp(0.0, f64::from(size.height)),
    ]
}

/// A row about a visit.
fn row(track: TrackId, class: ClassId, zone: ZoneId, phase: Phase, stay: &Stay) -> Visit {
    Visit {
        track,
        class,
        zone,
        phase,
        entered: stay.entered,
        dwell: stay.dwell(),
    }
}

impl VisitZones {
    fn fit(&mut self, size: Size) {
        if size != self.size {
            self.size = size;
            for area in &mut self.areas {
                area.corners = area.shape.in_pixels(size);
            }
        }
    }
}

fn close(track: TrackId, class: ClassId, stays: &Stays, out: &mut Output<Visit>) {
    out.extend(
        stays
            .iter()
            .map(|(zone, stay)| row(track, class, *zone, Phase::Leave, stay)),
    );
}

impl Operator for VisitZones {
    const KIND: &'static str = "visit";
    type Params = VisitParams;
    type Input = Track;
    type Output = Visit;
    type State = VisitState;

    fn new(params: VisitParams, setup: &Setup<'_>) -> Result<Self> {
        let mut areas: Vec<Area> = Vec::new();
        for zone in &params.zones {
            // A name given twice is one zone.
            if let Some(shape) = setup
                .polygon(zone)
                .filter(|shape| areas.iter().all(|area| area.shape.id != shape.id))
            {
                areas.push(Area {
                    corners: shape.in_pixels(Size::default()),
                    name: zone.name().to_owned(),
                    shape,
                });
            }
        }
        Ok(VisitZones {
            areas,
            params,
            size: Size::default(),
            roster: Roster::default(),
        })
    }

    fn process(&mut self, at: &At, tracks: &[Track], out: &mut Output<Visit>) -> Result<()> {
        self.fit(at.size);
        self.roster.begin_frame();
        let (now, grace) = (at.event_time, self.params.grace);
        for track in tracks {
            let Some(point) = self.params.anchor.of(&track.bbox) else {
                continue;
            };
            let point = within(at.size, point);
            let (vanished, entry) = self.roster.see(track, now, grace);
            if let Some(vanished) = vanished {
                close(track.id, vanished.class(), &vanished.about, out);
            }
            let class = entry.class();
            for Area { shape, corners, .. } in &self.areas {
                let zone = shape.id;
                let tell = |phase, stay: &Stay| row(track.id, class, zone, phase, stay);
                if !contains(corners, point) {
                    out.extend(entry.about.remove(&zone).map(|stay| tell(Phase::Leave, &stay)));
                } else if let Some(stay) = entry.about.get_mut(&zone) {
                    let before = stay.dwell();
                    stay.last_inside = stay.last_inside.max(now);
                    if !is_same_bucket(before, stay.dwell(), self.params.bucket) {
                        out.push(tell(Phase::Dwell, stay));
                    }
                } else {
                    let stay = Stay {
                        entered: now,
                        last_inside: now,
                    };
                    entry.about.insert(zone, stay);
                    out.push(tell(Phase::Enter, &stay));
                }
            }
        }
        for (track, vanished) in self.roster.vanished(now, grace) {
            close(track, vanished.class(), &vanished.about, out);
        }
        Ok(())
    }

    fn update(&mut self, params: VisitParams) {
        self.params = params;
    }

    fn snapshot(&self) -> VisitState {
        VisitState::V1 {
            zones: self
                .areas
                .iter()
                .map(|area| (area.shape.id, area.name.clone()))
                .collect(),
            roster: self.roster.clone(),
        }
    }

    fn restore(&mut self, before: VisitState) {
        let VisitState::V1 { zones, mut roster } = before;
        let now_called = |zone: &ZoneId| {
            let name = zones.get(zone)?;
            self.areas
                .iter()
                .find(|area| area.name == *name)
                .map(|area| area.shape.id)
        };
        for stays in roster.all_mut() {
            let renumbered = stays.iter().filter_map(|(zone, stay)| Some((now_called(zone)?, *stay)));
            *stays = renumbered.collect();
        }
        self.roster = roster;
    }
}

#[cfg(test)]
mod tests {
    use flowrun_dsl::plan::{Shape, Units, ZonePlan};
    use flowrun_engine::rows::Rect;
    use flowrun_engine::testing::Harness;
    use proptest::prelude::*;

    use super::*;

    const SQUARE: [[f64; 2]; 4] = [[100.0, 100.0], [200.0, 100.0], [200.0, 200.0], [100.0, 200.0]];

    /// A track whose feet are here.
    fn feet(id: u64, x: f32, y: f32) -> Track {
        Track {
            id: TrackId(id),
            class: ClassId(0),
            score: 0.9,
            bbox: Rect {
                x1: x - 5.0,
                y1: y - 20.0,
                x2: x + 5.0,
                y2: y,
            },
        }
    }

    fn harness() -> Harness<VisitZones> {
        Harness::new()
            .polygon("box", Units::Pixels, SQUARE)
            .param("zones", "box")
    }

    /// Frame, phase, entered and dwell in milliseconds.
    fn told(harness: &Harness<VisitZones>) -> Vec<(u64, Phase, i64, i64)> {
        let rows = harness.rows().iter();
        rows.map(|(frame, visit)| {
            (
                *frame,
                visit.phase,
                visit.entered.0 / 1_000_000,
                visit.dwell / 1_000_000,
            )
        })
        .collect()
    }

    #[test]
    fn a_stay_is_told_from_first_to_last_sight_inside() {
        let mut run = harness().frame(0, [feet(1, 90.0, 150.0)]);
        for frame in 1..=25 {
            run = run.frame(frame, [feet(1, 150.0, 150.0)]);
        }
        let run = run.frame(26, [feet(1, 210.0, 150.0)]);
        let expected = [
            (1, Phase::Enter, 100, 0),
            (11, Phase::Dwell, 100, 1000),
            (21, Phase::Dwell, 100, 2000),
            (26, Phase::Leave, 100, 2400),
        ];
        assert_eq!(told(&run), expected);
    }

    #[test]
    fn a_short_absence_is_the_same_visit_and_a_long_one_ends_it() {
        let inside = || [feet(1, 150.0, 150.0)];
        let mut run = harness().frame(0, inside());
        for frame in 1..8 {
            run = run.frame(frame, []);
        }
        run = run.frame(8, inside());
        assert_eq!(told(&run), [(0, Phase::Enter, 0, 0)], "800 ms are within the grace");
        for frame in 9..20 {
            run = run.frame(frame, []);
        }
        assert_eq!(told(&run)[1..], [(17, Phase::Leave, 0, 800)], "900 ms are not");
        let run = run.frame(20, inside());
        assert_eq!(told(&run)[2..], [(20, Phase::Enter, 2000, 0)]);
    }

    #[test]
    fn a_track_back_after_a_pause_of_the_camera_begins_anew() {
        let run = harness()
            .frame(0, [feet(1, 150.0, 150.0)])
            .frame(1, [])
            .frame(50, [feet(1, 150.0, 150.0)]);
        assert_eq!(
            told(&run),
            [
                (0, Phase::Enter, 0, 0),
                (50, Phase::Leave, 0, 0),
                (50, Phase::Enter, 5000, 0)
            ]
        );
        let slow = harness()
            .fps(0.5)
            .frame(0, [feet(1, 150.0, 150.0)])
            .frame(1, [feet(1, 150.0, 150.0)]);
        assert_eq!(
            told(&slow)[1..],
            [(1, Phase::Dwell, 0, 2000)],
            "in every frame of a slow camera"
        );
    }

    #[test]
    fn grace_and_bucket_change_in_place() {
        let run = harness()
            .frame(0, [feet(1, 150.0, 150.0)])
            .live("grace", "0s")
            .frame(1, []);
        assert_eq!(told(&run)[1..], [(1, Phase::Leave, 0, 0)]);
        let run = harness()
            .frame(0, [feet(1, 150.0, 150.0)])
            .live("bucket", "0s")
            .frame(1, [feet(1, 150.0, 150.0)]);
        assert_eq!(told(&run)[1..], [(1, Phase::Dwell, 0, 100)]);
    }

    #[test]
    fn ratios_follow_the_picture_and_its_edge_is_inside() {
        let zone = [[0.5, 0.5], [1.0, 0.5], [1.0, 1.0], [0.5, 1.0]];
        let run = Harness::<VisitZones>::new()
            .polygon("corner", Units::Ratio, zone)
            .param("zones", "corner")
            .size(400, 400)
            .frame(0, [feet(1, 150.0, 150.0)])
            .size(200, 200)
            .frame(1, [feet(1, 150.0, 150.0)])
            .frame(2, [feet(1, 150.0, 200.7)])
            .size(400, 400)
            .frame(3, [feet(1, 150.0, 150.0)]);
        assert_eq!(told(&run), [(1, Phase::Enter, 100, 0), (3, Phase::Leave, 100, 100)]);
    }

    #[test]
    fn the_anchor_may_be_the_centre() {
        let run = harness().param("anchor", "centre").frame(0, [feet(1, 150.0, 205.0)]);
        assert_eq!(told(&run), [(0, Phase::Enter, 0, 0)]);
    }

    #[test]
    fn zones_of_other_cameras_are_passed_over() {
        let elsewhere = ZonePlan {
            name: "far".into(),
            cameras: vec![1],
            shape: Shape::Polygon(SQUARE.to_vec()),
            units: Units::Pixels,
        };
        let run = Harness::<VisitZones>::new()
            .zone(elsewhere)
            .param("zones", "far")
            .frame(0, [feet(1, 150.0, 150.0)]);
        assert_eq!(told(&run), []);
    }

    #[test]
    fn a_visit_goes_on_when_an_edit_renumbers_its_zone() {
        let polygon = |name: &str| ZonePlan {
            name: name.into(),
            cameras: vec![0],
            shape: Shape::Polygon(SQUARE.to_vec()),
            units: Units::Pixels,
        };
        let run = harness()
            .frame(0, [feet(1, 150.0, 150.0)])
            .replace_zones(vec![polygon("new"), polygon("box")])
            .param("zones", "new,box")
            .restart()
            .frame(1, [feet(1, 150.0, 150.0)])
            .frame(2, [feet(1, 0.0, 0.0)]);
        let rows: Vec<_> = run
            .rows()
            .iter()
            .map(|(frame, visit)| (*frame, visit.zone.0, visit.phase))
            .collect();
        use Phase::{Enter, Leave};
        assert_eq!(rows, [(0, 0, Enter), (1, 0, Enter), (2, 0, Leave), (2, 1, Leave)]);
        assert_eq!(run.rows_of(2)[1].dwell, 100_000_000, "entered before the edit");
    }

    /// Frames of some tracks in and around the square, absent now and then, at times that may step back.
    fn frames() -> impl Strategy<Value = Vec<(i64, Vec<Track>)>> {
        let track = (0..5_u64, 50..250_i32, 50..250_i32).prop_map(|(id, x, y)| feet(id, x as f32, y as f32));
        let time = prop_oneof![6 => 0..400_i64, 1 => -2000..2000_i64, 1 => Just(i64::MIN / 2_000_000)];
        prop::collection::vec((time, prop::collection::vec(track, 0..4)), 1..60)
    }

    fn fed(mut harness: Harness<VisitZones>, frames: &[(i64, Vec<Track>)], first: usize) -> Harness<VisitZones> {
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
        fn visits_open_once_close_once_and_never_run_backwards(frames in frames()) {
            let run = fed(harness(), &frames, 0);
            let mut open: BTreeMap<TrackId, Visit> = BTreeMap::new();
            for (_, visit) in run.rows() {
                prop_assert!(visit.dwell >= 0);
                match (visit.phase, open.get(&visit.track)) {
                    (Phase::Enter, None) => prop_assert_eq!(visit.dwell, 0),
                    (Phase::Dwell | Phase::Leave, Some(before)) => {
                        prop_assert_eq!(visit.entered, before.entered);
                        prop_assert!(visit.dwell >= before.dwell);
                    }
                    (phase, before) => prop_assert!(false, "{:?} after {:?}", phase, before),
                }
                if visit.phase == Phase::Leave { open.remove(&visit.track); } else { open.insert(visit.track, *visit); }
            }
        }

        #[test]
        fn a_restored_analysis_goes_on_identically(frames in frames(), cut in 0..60_usize) {
            let cut = cut.min(frames.len());
            let resumed = fed(fed(harness(), &frames[..cut], 0).restart(), &frames, cut);
            let straight = fed(harness(), &frames, 0);
            prop_assert_eq!(resumed.rows(), straight.rows());
        }
    }
}
