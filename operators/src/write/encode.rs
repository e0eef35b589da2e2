//! Rows in their JSON form, schema version 1, in full with examples in `tests/spec/rows.md`: one object a row, keys
//! always in the order given there, numbers in the shortest form that reads back to the same `f32` or `f64`,
//! `null` for what is no number. Within a version keys are only ever added, at the end, so readers
//! ignore what they do not know. Rows carry no version of their own: they are data.

use std::collections::HashSet;
use std::sync::Arc;

use flowrun_dsl::plan::Origin;
use flowrun_dsl::port::Role;
use flowrun_engine::batch::{Answer, Batch};
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::names::Names;
use flowrun_engine::operator::NodeSetup;
use flowrun_engine::rows::{At, Table};

use crate::write::line::Line;

/// What a row tells of the frame that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// Where and when, in every row.
    Told,
    /// Nothing: what stands around the rows tells it.
    Around,
}

/// Writes the rows of one sink's inputs.
pub(crate) struct RowEncoder {
    names: Arc<Names>,
    /// Nodes that answer for no camera in particular.
    queries: HashSet<String>,
    /// Whether table rows come from a query and so belong to no frame.
    of_query: bool,
}

impl RowEncoder {
    /// For the sink at this place.
    pub fn of(setup: &NodeSetup<'_>) -> Self {
        let nodes = &setup.plan.nodes;
        let is_query = |index: usize| nodes.get(index).is_some_and(|node| node.role == Role::Query);
        RowEncoder {
            names: setup.names.clone(),
            queries: nodes
                .iter()
                .filter(|node| node.role == Role::Query)
                .map(|node| node.name.clone())
                .collect(),
            of_query: setup
                .node
                .inputs
                .iter()
                .any(|input| matches!(input.origin, Origin::Node(index) if is_query(index))),
        }
    }

    /// Whether the rows come from a query, and so belong to no frame.
    pub fn is_of_query(&self) -> bool {
        self.of_query
    }

    /// Appends the rows of an answer, each a line.
    ///
    /// # Errors
    /// For pictures, which have no such form.
    pub fn encode(&self, answer: &Answer, location: Location, out: &mut Vec<u8>) -> Result<()> {
        if matches!(&answer.batch, Batch::Packets(_) | Batch::Frames(_)) {
            return Err(OperatorError::new("pictures have no form as JSON")
                .help("`encode` them, or write the rows of a detector"));
        }
        if answer.batch.is_empty() {
            return Ok(());
        }
        // The same for every row of an answer, and a third of its bytes.
        let mut head = Vec::new();
        let camera = self.names.camera(answer.at.camera);
        let mut begun = Line::begin(&mut head);
        if location == Location::Told {
            begun.location(&camera, &answer.at, |_| false);
        }
        let names = &self.names;
        match &answer.batch {
            Batch::Packets(_) | Batch::Frames(_) => {}
            Batch::Detections(rows) => {
                for row in rows.iter() {
                    let mut line = Line::resume(out, &head);
                    line.text("class", &names.class(row.class));
                    line.float("score", row.score);
                    line.rect("box", &row.bbox);
                    line.end();
                }
            }
            Batch::Tracks(rows) => {
                for row in rows.iter() {
                    let mut line = Line::resume(out, &head);
                    line.unsigned("track", row.id.0);
                    line.text("class", &names.class(row.class));
                    line.float("score", row.score);
                    line.rect("box", &row.bbox);
                    line.end();
                }
            }
            Batch::Visits(rows) => {
                for row in rows.iter() {
                    let mut line = Line::resume(out, &head);
                    line.unsigned("track", row.track.0);
                    line.text("class", &names.class(row.class));
                    line.text("zone", &names.zone(row.zone));
                    line.text("phase", row.phase.word());
                    line.signed("entered_ns", row.entered.0);
                    line.signed("dwell_ns", row.dwell);
                    line.end();
                }
            }
            Batch::Crossings(rows) => {
                for row in rows.iter() {
                    let mut line = Line::resume(out, &head);
                    line.unsigned("track", row.track.0);
                    line.text("class", &names.class(row.class));
                    line.text("line", &names.zone(row.line));
                    line.text("direction", &names.way(row.line, row.direction));
                    line.floats("point", &[row.point.0, row.point.1]);
                    line.end();
                }
            }
            Batch::Errors(rows) => {
                for row in rows.iter() {
                    let mut line = match self.queries.contains(&*row.node) {
                        true => Line::begin(out),
                        false => Line::resume(out, &head),
                    };
                    line.text("node", &row.node);
                    line.text("cause", &row.cause);
                    line.end();
                }
            }
            Batch::Table(table) => self.table(&camera, &answer.at, table, location, out),
        }
        Ok(())
    }

    fn table(&self, camera: &str, at: &At, table: &Table, location: Location, out: &mut Vec<u8>) {
        let columns = &table.schema.columns;
        for row in table.rows.iter() {
            let mut line = Line::begin(out);
            if !self.of_query && location == Location::Told {
                line.location(camera, at, |word| columns.iter().any(|column| column.name == word));
            }
            for (column, value) in columns.iter().zip(row.iter()) {
                line.cell(&column.name, column.ty, value);
            }
            line.end();
        }
    }
}
