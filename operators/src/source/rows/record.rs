//! One line: JSON, checked value by value.

use flowrun_engine::rows::{Rect, Size};
use serde::Deserialize;

use crate::source::size::MAX_SIDE;

/// The longest name of a class; names are kept for the whole run.
const MAX_CLASS_BYTES: usize = 256;

/// The longest message: a hostile line must not come back in full.
const MAX_CAUSE_CHARS: usize = 200;

/// The furthest event time from its origin; what is computed from it still fits.
const MAX_TIME_NS: u64 = 1 << 62;

/// What a line may say. Keys that are not here are ignored.
#[derive(Deserialize)]
struct Written {
    frame: Option<u64>,
    class: Option<String>,
    score: Option<f32>,
    #[serde(rename = "box")]
    corners: Option<[f32; 4]>,
    track: Option<u64>,
    time_ns: Option<i64>,
    camera: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
}

/// A checked line of the camera that is read.
pub(super) struct Record {
    pub frame: u64,
    pub class: String,
    pub score: f32,
    pub bbox: Rect,
    pub track: Option<u64>,
    pub time_ns: Option<i64>,
    pub size: Option<Size>,
}

impl Record {
    /// Reads a line; none for one of another camera.
    pub fn read(line: &[u8], camera: &str) -> Result<Option<Record>, String> {
        let written: Written = serde_json::from_slice(line).map_err(|error| bounded(&error.to_string()))?;
        if written.camera.is_some_and(|other| other != camera) {
            return Ok(None);
        }
        let frame = written.frame.ok_or("it has no `frame`")?;
        let [x1, y1, x2, y2] = written.corners.ok_or("it has no `box`")?;
        if ![x1, y1, x2, y2].iter().all(|side| side.is_finite()) {
            return Err("a number of `box` is not finite".into());
        }
        if x2 < x1 || y2 < y1 {
            return Err("`box` is inside out: it is [x1, y1, x2, y2], upper left then lower right corner".into());
        }
        let score = written.score.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&score) {
            return Err(format!("`score` is {score}, not between 0 and 1"));
        }
        let class = written.class.unwrap_or_else(|| "object".into());
        if class.len() > MAX_CLASS_BYTES {
            return Err(format!(
                "`class` is {} bytes long, more than {MAX_CLASS_BYTES}",
                class.len()
            ));
        }
        if written.time_ns.is_some_and(|time| time.unsigned_abs() > MAX_TIME_NS) {
            return Err("`time_ns` is further away than 146 years".into());
        }
        let size = match (written.width, written.height) {
            (Some(width), Some(height)) => Some(Size { width, height }),
            _ => None,
        };
        if size.is_some_and(|size| !(1..=MAX_SIDE).contains(&size.width) || !(1..=MAX_SIDE).contains(&size.height)) {
            return Err(format!("`width` and `height` are not between 1 and {MAX_SIDE}"));
        }
        Ok(Some(Record {
            frame,
            class,
            score,
            bbox: Rect { x1, y1, x2, y2 },
            track: written.track,
            time_ns: written.time_ns,
            size,
        }))
    }
}

fn bounded(cause: &str) -> String {
    match cause.char_indices().nth(MAX_CAUSE_CHARS) {
        Some((end, _)) => format!("{}...", &cause[..end]),
        None => cause.to_owned(),
    }
}
