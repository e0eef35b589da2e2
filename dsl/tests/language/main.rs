//! The language from outside: plans, diagnostics and properties over a catalogue like the real one.

#![allow(clippy::unwrap_used, missing_docs)]

mod catalogue;
mod derives;
mod diagnostics;
mod diffs;
mod drawings;
mod expressions;
mod includes;
mod plans;
mod properties;
mod reaches;
mod suite;
mod templates;

use std::path::Path;

use flowrun_dsl::system::Anything;
use flowrun_dsl::{Compiled, Diagnostics, SourceFile, compile_with};

/// The graph of the introduction, without what serves it to viewers.
pub const JUNCTION: &str = r#"// junction.kdl: what passes this junction, and who waits too long.
cameras junction {
    defaults fps=15 lateness="150ms"
    rtsp north "rtsp://10.0.0.11/main" user=env.CAM_USER password=env.CAM_PASSWORD priority=high
    file south "clips/south.mp4" at-end=loop
    synthetic east scene=junction seed=7 { override fps=10; }
}

model yolo11n "models/yolo11n.onnx" names="coco.yaml"

zones camera=north {
    polygon box  0.10 0.55  0.42 0.50  0.48 0.98  0.08 0.98
    line    stop 0.30 0.90  0.72 0.90  forward=out backward=in
}

flow vehicles from=junction {
    detect yolo11n min-score=0.25 iou=0.45 max=100 { classes car bus truck; for north min-score=0.4; }
    track  bytetrack as=tracks
    visit  zones=box as=visits
    cross  lines=stop from=tracks as=crossings
}

query waiting from=vehicles.visits {
    where    "zone = 'box' and dwell > '5s'"
    window   "1m" every="1s"
    group-by camera
    select   vehicles="count(distinct track)" longest="max(dwell)"
}

write { jsonl "out/crossings.jsonl" from=vehicles.crossings; jsonl "out/errors.jsonl" from="*.errors"; }
"#;

pub fn source(text: &str) -> SourceFile {
    SourceFile::new("test.kdl", text).unwrap()
}

/// Compiles where every file exists.
pub fn compile(text: &str) -> Result<Compiled, Diagnostics> {
    compile_with(&source(text), Path::new("/graphs"), &*catalogue::CATALOGUE, &Anything)
}

/// The findings as text.
pub fn findings(text: &str) -> String {
    match compile(text) {
        Err(diagnostics) => diagnostics.to_text(&source(text)),
        Ok(compiled) => {
            let mut warnings = Diagnostics::default();
            compiled.warnings.into_iter().for_each(|warning| warnings.push(warning));
            format!("a plan, and\n{}", warnings.to_text(&source(text)))
        }
    }
}

/// The plan as text.
pub fn explained(text: &str) -> String {
    match compile(text) {
        Ok(compiled) => {
            let text = flowrun_dsl::plan::explain(&compiled.plan, &*catalogue::CATALOGUE);
            // The hash has a test of its own.
            text.lines().skip(1).map(|line| format!("{line}\n")).collect()
        }
        Err(diagnostics) => panic!("{}", diagnostics.to_text(&source(text))),
    }
}
