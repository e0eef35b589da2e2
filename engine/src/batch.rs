//! The one thing that travels on every edge: an [`Answer`] a camera and frame, rows inside.
//!
//! The set of row kinds is closed, so that exchange, files and other languages know all of it; a
//! researcher's own type travels as a [`Table`].

use std::sync::Arc;

use flowrun_dsl::port::{PortRows, RowKind};
use flowrun_dsl::schema::Row;

use crate::frame::Frame;
use crate::packet::Packet;
use crate::rows::{At, Crossing, Detection, ErrorRow, Rows, Table, Track, Visit};

/// Rows of one kind.
#[derive(Clone, Debug)]
pub enum Batch {
    /// Encoded pictures, in decoding order.
    Packets(Rows<Packet>),
    /// Decoded pictures: one, or of an operator that keeps pictures back any number, each with its own time.
    Frames(Rows<Frame>),
    /// Objects seen.
    Detections(Rows<Detection>),
    /// Objects followed.
    Tracks(Rows<Track>),
    /// Stays in polygons.
    Visits(Rows<Visit>),
    /// Lines passed.
    Crossings(Rows<Crossing>),
    /// Rows with columns of their own.
    Table(Table),
    /// What went wrong.
    Errors(Rows<ErrorRow>),
}

impl Batch {
    /// How many rows.
    pub fn len(&self) -> usize {
        match self {
            Batch::Packets(rows) => rows.len(),
            Batch::Frames(rows) => rows.len(),
            Batch::Detections(rows) => rows.len(),
            Batch::Tracks(rows) => rows.len(),
            Batch::Visits(rows) => rows.len(),
            Batch::Crossings(rows) => rows.len(),
            Batch::Table(table) => table.rows.len(),
            Batch::Errors(rows) => rows.len(),
        }
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// No rows, of a kind.
    pub fn empty(kind: &RowKind) -> Batch {
        match kind {
            RowKind::Packet => Batch::Packets(Rows::default()),
            RowKind::Frame => Batch::Frames(Rows::default()),
            RowKind::Detection => Batch::Detections(Rows::default()),
            RowKind::Track => Batch::Tracks(Rows::default()),
            RowKind::Visit => Batch::Visits(Rows::default()),
            RowKind::Crossing => Batch::Crossings(Rows::default()),
            RowKind::Table(schema) => Batch::Table(Table {
                schema: Arc::new(schema.clone()),
                rows: Rows::default(),
            }),
            RowKind::Error => Batch::Errors(Rows::default()),
        }
    }
}

/// What a node says about one admitted frame of one camera. There is exactly one, empty or not.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Which frame of which camera.
    pub at: At,
    /// The rows.
    pub batch: Batch,
    /// The frame's number among those of its camera that were admitted, from 0; for the ledger only.
    pub number: u64,
    /// Microseconds since the run began at which the frame was admitted; for metrics only, no operator sees it.
    pub admitted_us: u64,
    /// Whether this node or one before it failed on the frame: then the rows are not the whole truth.
    pub failed: bool,
}

/// A type of row that operators read and write.
#[diagnostic::on_unimplemented(message = "`{Self}` is no row type", note = "derive Row for your own struct")]
pub trait RowType: Sized + Clone + Send + Sync + 'static {
    /// Its kind.
    fn kind() -> RowKind;
    /// The rows of a batch of this kind; none for another kind.
    fn from_batch(batch: &Batch) -> Option<Rows<Self>>;
    /// A batch of rows.
    fn into_batch(rows: Vec<Self>) -> Batch;
}

macro_rules! row_types {
    ($($ty:ident $kind:ident $batch:ident;)*) => { $(
        impl RowType for $ty {
            fn kind() -> RowKind { RowKind::$kind }
            fn from_batch(batch: &Batch) -> Option<Rows<Self>> {
                match batch { Batch::$batch(rows) => Some(rows.clone()), _ => None }
            }
            fn into_batch(rows: Vec<Self>) -> Batch { Batch::$batch(rows.into()) }
        }
    )* };
}
row_types! {
    Packet Packet Packets;
    Frame Frame Frames;
    Detection Detection Detections;
    Track Track Tracks;
    Visit Visit Visits;
    Crossing Crossing Crossings;
    ErrorRow Error Errors;
}

/// Rows of a researcher's type as a table; what `#[derive(Row)]` calls.
pub fn table_of<T: Row>(rows: &[T]) -> Batch {
    let rows = rows.iter().map(|row| row.to_cells().into()).collect::<Vec<_>>();
    Batch::Table(Table {
        schema: Arc::new(T::schema()),
        rows: rows.into(),
    })
}

/// The rows of a table of this type; none for another schema.
pub fn rows_of<T: Row>(batch: &Batch) -> Option<Rows<T>> {
    let Batch::Table(table) = batch else { return None };
    let rows: Option<Vec<T>> = table.rows.iter().map(|cells| T::from_cells(cells)).collect();
    rows.map(Rows::from)
}

/// What an operator reads: one row type, or a tuple of them aligned by frame.
pub trait Input: 'static {
    /// The rows, kept alive while the operator looks at them.
    type Held;
    /// What `process` gets: a slice, or a tuple of slices.
    type View<'a>;
    /// What each port takes.
    fn ports() -> Vec<PortRows>;
    /// Takes one batch a port; none when one is of another kind.
    fn hold(batches: &[Batch]) -> Option<Self::Held>;
    /// Looks at them.
    fn view(held: &Self::Held) -> Self::View<'_>;
}

impl<T: RowType> Input for T {
    type Held = Rows<T>;
    type View<'a> = &'a [T];
    fn ports() -> Vec<PortRows> {
        vec![PortRows::Only(T::kind())]
    }
    fn hold(batches: &[Batch]) -> Option<Rows<T>> {
        T::from_batch(batches.first()?)
    }
    fn view(held: &Rows<T>) -> &[T] {
        held
    }
}

macro_rules! tuples {
    ($($($ty:ident $index:tt),+;)*) => { $(
        impl<$($ty: RowType),+> Input for ($($ty,)+) {
            type Held = ($(Rows<$ty>,)+);
            type View<'a> = ($(&'a [$ty],)+);
            fn ports() -> Vec<PortRows> { vec![$(PortRows::Only($ty::kind())),+] }
            fn hold(batches: &[Batch]) -> Option<Self::Held> { Some(($($ty::from_batch(batches.get($index)?)?,)+)) }
            fn view(held: &Self::Held) -> Self::View<'_> { ($(&held.$index[..],)+) }
        }
    )* };
}
tuples! {
    A 0, B 1;
    A 0, B 1, C 2;
}
