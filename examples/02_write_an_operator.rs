//! An operator of one's own: tells what stands still. It has parameters that `flowrun ops` documents, rows
//! with columns that queries know, and a test that needs no runtime.
//!
//! ```text
//! cargo run --release --example 02_write_an_operator
//! ```
//!
//! In a binary of its own, `flowrun::main(Registry::builtin().with::<StandsStill>())` is all of `main`, and
//! that binary has the whole command line.

use std::collections::BTreeMap;

use flowrun::engine::run::Options;
use flowrun::prelude::*;

/// Tells which tracks stand still, once for each time they do.
#[derive(Clone, Debug, Params)]
pub struct StandsStillParams {
    /// How long a track must stand still before it counts.
    #[param(live, default = "3s")]
    after: Duration,
    /// How far its feet may wander meanwhile, in picture heights.
    #[param(live, default = "0.02", min = 0.0, max = 1.0)]
    wander: f32,
}

/// What the operator says: a table with the columns `track` and `stood`, after `camera`, `frame` and `time`.
#[derive(Clone, Debug, PartialEq, Row)]
pub struct Standing {
    track: u64,
    stood: Duration,
}

/// Where and since when a track stands, and whether that has been told.
type Spot = ((f32, f32), EventTime, bool);

/// One instance a camera: the engine makes them.
pub struct StandsStill {
    params: StandsStillParams,
    spots: BTreeMap<TrackId, Spot>,
}

impl Operator for StandsStill {
    const KIND: &'static str = "stands-still";
    type Params = StandsStillParams;
    type Input = Track;
    type Output = Standing;
    type State = BTreeMap<TrackId, Spot>;

    fn new(params: StandsStillParams, _: &Setup<'_>) -> Result<Self> {
        Ok(StandsStill {
            params,
            spots: BTreeMap::new(),
        })
    }

    fn process(&mut self, at: &At, tracks: &[Track], out: &mut Output<Standing>) -> Result<()> {
        let reach = self.params.wander * at.size.height as f32;
        // Called for every frame, so a track that is gone is forgotten at once and memory stays bounded.
        let before = std::mem::take(&mut self.spots);
        for track in tracks {
            let (x, y) = track.bbox.feet();
            let stays = |spot: &&Spot| (x - spot.0.0).hypot(y - spot.0.1) <= reach;
            let mut spot = *before
                .get(&track.id)
                .filter(stays)
                .unwrap_or(&((x, y), at.event_time, false));
            let stood = at.event_time.since(spot.1);
            if !spot.2 && stood >= self.params.after {
                spot.2 = true;
                out.push(Standing {
                    track: track.id.0,
                    stood,
                });
            }
            self.spots.insert(track.id, spot);
        }
        Ok(())
    }

    fn update(&mut self, params: StandsStillParams) {
        self.params = params;
    }
    fn snapshot(&self) -> Self::State {
        self.spots.clone()
    }
    fn restore(&mut self, before: Self::State) {
        self.spots = before;
    }
}

/// The operator in a graph, and a query over its rows.
const GRAPH: &str = r#"
cameras junction { synthetic north frames=600 pace=max; }

flow still from=junction {
    truth-tracks min-visible=0.5
    stands-still after="5s" as=standing
}

query stops from=still.standing {
    window "1m"
    select stops="count(distinct track)"
}

write {
    jsonl "out/stands-still/standing.jsonl" from=still.standing
    jsonl "out/stands-still/stops.jsonl" from=stops
}
"#;

/// Runs the graph with the operator in it.
pub fn main() -> Result<(), flowrun::GraphError> {
    let registry = Registry::builtin().with::<StandsStill>();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let report = flowrun::run_text(GRAPH, folder, &registry, &Options::default())?;
    for node in &report.nodes {
        println!("{}: {} rows, {} errors", node.name, node.rows, node.errors);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A track whose feet are here.
    fn track(x: f32) -> Track {
        let bbox = Rect {
            x1: x - 5.0,
            y1: 80.0,
            x2: x + 5.0,
            y2: 100.0,
        };
        Track {
            id: TrackId(7),
            class: Default::default(),
            score: 1.0,
            bbox,
        }
    }

    #[test]
    fn a_track_that_stays_is_told_once_and_again_after_it_has_moved() {
        // 10 frames a second on a picture 720 high: 14 pixels are wandering, 100 are not.
        let mut run = Harness::<StandsStill>::new().param("after", "1s");
        for frame in 0..40 {
            let x = if frame < 20 { 50.0 + frame as f32 % 2.0 } else { 150.0 };
            run = run.frame(frame, [track(x)]);
        }
        let told: Vec<u64> = run.rows().iter().map(|(frame, _)| *frame).collect();
        assert_eq!(told, [10, 30]);
        assert_eq!(run.rows()[0].1.stood, Duration::from_secs(1));
    }

    #[test]
    fn a_track_that_was_gone_begins_anew_and_a_restart_changes_nothing() {
        let run = Harness::<StandsStill>::new()
            .param("after", "200ms")
            .frame(0, [track(50.0)])
            .frame(1, [])
            .frame(2, [track(50.0)])
            .restart()
            .frame(3, [track(50.0)])
            .frame(4, [track(50.0)]);
        assert_eq!(run.rows().len(), 1);
        assert_eq!(run.rows()[0].0, 4);
    }
}
