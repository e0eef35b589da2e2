//! An operator that reads a frame's rows by two ways, and edits of it while frames have come by one and not yet by the other.

use flowrun::prelude::*;

use crate::scene::Edited;

/// What came of a frame by either way.
#[derive(Clone, Debug, PartialEq, Row)]
pub struct Paired {
    version: i64,
    /// Frames so far, over all versions.
    count: i64,
    /// Detections that came at once.
    early: i64,
    /// Detections that came later.
    late: i64,
}

/// Counts what comes by either way.
#[derive(Clone, Debug, Params)]
pub struct PairParams {
    /// Another one is built anew and takes over the count.
    #[param(default = "1")]
    version: i64,
}

/// Counts what comes by either way.
pub struct Pair {
    version: i64,
    count: i64,
}

impl Operator for Pair {
    const KIND: &'static str = "pair";
    const PORTS: &'static [&'static str] = &["early", "late"];
    type Params = PairParams;
    type Input = (Detection, Detection);
    type Output = Paired;
    type State = i64;

    fn new(params: PairParams, _: &Setup<'_>) -> Result<Self> {
        Ok(Pair {
            version: params.version,
            count: 0,
        })
    }
    fn process(&mut self, _: &At, (early, late): (&[Detection], &[Detection]), out: &mut Output<Paired>) -> Result<()> {
        self.count += 1;
        out.push(Paired {
            version: self.version,
            count: self.count,
            early: early.len() as i64,
            late: late.len() as i64,
        });
        Ok(())
    }
    fn update(&mut self, params: PairParams) {
        self.version = params.version;
    }
    fn snapshot(&self) -> i64 {
        self.count
    }
    fn restore(&mut self, before: i64) {
        self.count = before;
    }
}

/// Every other edit changes the slow way too: what it lets go on its way must not be overtaken by what comes after.
fn graph(version: i64) -> String {
    let time = if version % 4 < 2 { "10ms" } else { "1ms" };
    format!(
        r#"cameras live {{
    defaults size="160x90" fps=200
    synthetic north seed=1
    synthetic south seed=2
    synthetic east seed=3
    synthetic west seed=4
}}
flow seen from=live {{
    truth as=truth
    linger time="{time}" as=late
}}
flow met from=seen.truth {{ pair late=seen.late version={version} as=pairs; }}
write {{ jsonl "pairs.jsonl" from=met.pairs; }}
"#
    )
}

#[test]
fn a_frame_that_comes_by_two_ways_comes_by_both_to_one_version() {
    let mut run = Edited::start(&graph(1), 2);
    run.frames(5);
    for version in 2..=80 {
        run.edit(&graph(version));
    }
    run.frames(2);
    let report = run.end();
    let rows = run.rows("pairs.jsonl");
    for camera in &report.cameras {
        let rows: Vec<[i64; 5]> = rows
            .iter()
            .filter(|row| row["camera"] == camera.name.as_str())
            .map(|row| {
                ["frame", "version", "count", "early", "late"].map(|key| row[key].as_i64().expect("a whole number"))
            })
            .collect();
        assert_eq!(rows.len() as u64, camera.counts.admitted, "{}", camera.name);
        for (index, [_, _, count, early, late]) in rows.iter().enumerate() {
            assert_eq!(
                (*count, early),
                (index as i64 + 1, late),
                "{}: {:?}",
                camera.name,
                rows[index]
            );
        }
        for pair in rows.windows(2) {
            assert!(
                pair[0][0] < pair[1][0] && pair[0][1] <= pair[1][1],
                "{}: {pair:?}",
                camera.name
            );
        }
    }
}
