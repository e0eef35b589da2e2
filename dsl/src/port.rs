//! What travels between nodes, and what the language must know of an operator to check a graph.

use serde::Serialize;

use crate::params::ParamsSchema;
use crate::schema::Schema;

/// The kind of rows on an edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowKind {
    /// Encoded pictures.
    Packet,
    /// Decoded pictures.
    Frame,
    /// Boxes with a class and a score.
    Detection,
    /// Detections with an identity over time.
    Track,
    /// Stays of tracks in zones.
    Visit,
    /// Tracks passing directed lines.
    Crossing,
    /// Rows of a researcher's own type, or of a query.
    Table(Schema),
    /// What went wrong.
    Error,
}

impl RowKind {
    /// As people read it.
    pub fn name(&self) -> &'static str {
        match self {
            RowKind::Packet => "packets",
            RowKind::Frame => "frames",
            RowKind::Detection => "detections",
            RowKind::Track => "tracks",
            RowKind::Visit => "visits",
            RowKind::Crossing => "crossings",
            RowKind::Table(_) => "table rows",
            RowKind::Error => "errors",
        }
    }
}

/// Which rows a port takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortRows {
    /// Just these.
    Only(RowKind),
    /// Any kind that has columns: all but packets and frames.
    AnyRows,
    /// Any [`RowKind::Table`].
    AnyTable,
}

impl PortRows {
    /// Whether rows of this kind may enter.
    pub fn takes(&self, rows: &RowKind) -> bool {
        match self {
            PortRows::Only(only) => only == rows,
            PortRows::AnyRows => !matches!(rows, RowKind::Packet | RowKind::Frame),
            PortRows::AnyTable => matches!(rows, RowKind::Table(_)),
        }
    }
}

/// One input of an operator. The first is fed by the line above or `from=`, others by a property of this name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortSpec {
    /// The property's name, and how messages call it.
    pub name: String,
    /// What it takes.
    pub rows: PortRows,
    /// Whether the operator works only when something feeds it; the first always is required.
    pub required: bool,
}

/// Where an operator may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// In a `cameras` block.
    Source,
    /// In a flow.
    Operator,
    /// In a `write` block.
    Write,
    /// In a `publish` block.
    Publish,
    /// A `query` block.
    Query,
}

/// All the language knows of an operator.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OperatorSpec {
    /// The node's name in a graph.
    pub kind: String,
    /// Where it may stand.
    pub role: Role,
    /// Its parameters; the schema's doc says what it does.
    pub params: ParamsSchema,
    /// What it reads.
    pub inputs: Vec<PortSpec>,
    /// What it emits; none for a sink. A source whose parameters decide (`rows type=track`) lists its choices in `output_by`.
    pub output: Option<RowKind>,
    /// The parameter whose value chooses the output, with the output for each value.
    pub output_by: Option<(String, Vec<(String, RowKind)>)>,
}

/// The operators that a graph may use.
pub trait Catalogue {
    /// All of them, in a fixed order.
    fn operators(&self) -> &[OperatorSpec];
    /// Parameters that every camera has, whatever its source.
    fn camera_params(&self) -> &ParamsSchema;
    /// Parameters of a `model` block.
    fn model_params(&self) -> &ParamsSchema;
    /// The operator of this kind in this role.
    fn find(&self, role: Role, kind: &str) -> Option<&OperatorSpec> {
        self.operators()
            .iter()
            .find(|spec| spec.role == role && spec.kind == kind)
    }
}
