//! Rows as cells: what expressions see, in the order of
//! [`flowrun_dsl::schema::common_columns`] followed by [`flowrun_dsl::schema::columns_of`].

use std::sync::Arc;

use flowrun_dsl::schema::Cell;

use crate::batch::{Answer, Batch};
use crate::names::Names;
use crate::rows::{Phase, Rect};

fn float(number: f32) -> Cell {
    Cell::Float(f64::from(number))
}

fn whole(number: u64) -> Cell {
    Cell::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn corners(bbox: &Rect) -> [Cell; 4] {
    [float(bbox.x1), float(bbox.y1), float(bbox.x2), float(bbox.y2)]
}

impl Phase {
    /// As rows spell it.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Enter => "enter",
            Phase::Dwell => "dwell",
            Phase::Leave => "leave",
        }
    }
}

/// Calls `each` with the cells of every row of an answer; frames have none.
pub fn for_each_row(answer: &Answer, names: &Names, mut each: impl FnMut(&[Cell])) {
    let at = &answer.at;
    let camera: Arc<str> = names.camera(at.camera);
    let mut cells = vec![Cell::Text(camera), whole(at.frame), Cell::Time(at.event_time.0)];
    let common = cells.len();
    let mut row = |own: &mut dyn Iterator<Item = Cell>| {
        cells.truncate(common);
        cells.extend(own);
        each(&cells);
    };
    match &answer.batch {
        Batch::Packets(_) | Batch::Frames(_) => {}
        Batch::Detections(rows) => rows.iter().for_each(|detection| {
            let own = [Cell::Text(names.class(detection.class)), float(detection.score)];
            row(&mut own.into_iter().chain(corners(&detection.bbox)));
        }),
        Batch::Tracks(rows) => rows.iter().for_each(|track| {
            let own = [
                whole(track.id.0),
                Cell::Text(names.class(track.class)),
                float(track.score),
            ];
            row(&mut own.into_iter().chain(corners(&track.bbox)));
        }),
        Batch::Visits(rows) => rows.iter().for_each(|visit| {
            let own = [
                whole(visit.track.0),
                Cell::Text(names.class(visit.class)),
                Cell::Text(names.zone(visit.zone)),
                Cell::Text(visit.phase.word().into()),
                Cell::Time(visit.entered.0),
                Cell::Duration(visit.dwell),
            ];
            row(&mut own.into_iter());
        }),
        Batch::Crossings(rows) => rows.iter().for_each(|crossing| {
            let own = [
                whole(crossing.track.0),
                Cell::Text(names.class(crossing.class)),
                Cell::Text(names.zone(crossing.line)),
                Cell::Text(names.way(crossing.line, crossing.direction)),
                float(crossing.point.0),
                float(crossing.point.1),
            ];
            row(&mut own.into_iter());
        }),
        Batch::Table(table) => table.rows.iter().for_each(|own| row(&mut own.iter().cloned())),
        Batch::Errors(rows) => rows.iter().for_each(|error| {
            row(&mut [Cell::Text(error.node.clone()), Cell::Text(error.cause.clone())].into_iter());
        }),
    }
}
