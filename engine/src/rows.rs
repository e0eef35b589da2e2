//! What travels between operators: small plain rows, in source pixels and event time.

use std::ops::Deref;
use std::sync::Arc;

use flowrun_dsl::schema::{Cell, Schema};
use serde::{Deserialize, Serialize};

use crate::time::EventTime;

/// A camera: its index in the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CameraId(pub u32);

/// A class of objects: an index into the run's [`crate::names::Names`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClassId(pub u16);

/// An object followed over time, unique within its camera and tracker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrackId(pub u64);

/// A polygon or line: its index in the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ZoneId(pub u16);

/// Width and height of a picture in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Where and when a row belongs. Every answer carries one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// The camera; meaningless for rows of a query.
    pub camera: CameraId,
    /// The frame's index in its source, from 0; decimation leaves gaps.
    pub frame: u64,
    /// When the picture was taken.
    pub event_time: EventTime,
    /// The picture's size: what pixel coordinates refer to. It may change between frames.
    pub size: Size,
}

/// An axis-aligned box in source pixels; `(x1, y1)` is the upper left corner.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Rect {
    /// Left.
    pub x1: f32,
    /// Top.
    pub y1: f32,
    /// Right.
    pub x2: f32,
    /// Bottom.
    pub y2: f32,
}

impl Rect {
    /// Pixels across.
    pub fn width(&self) -> f32 {
        self.x2 - self.x1
    }
    /// Pixels down.
    pub fn height(&self) -> f32 {
        self.y2 - self.y1
    }
    /// Square pixels; nought for a box turned inside out.
    pub fn area(&self) -> f32 {
        self.width().max(0.0) * self.height().max(0.0)
    }
    /// The middle.
    pub fn centre(&self) -> (f32, f32) {
        (0.5 * (self.x1 + self.x2), 0.5 * (self.y1 + self.y2))
    }
    /// The middle of the lower edge: where a standing thing touches the ground.
    pub fn feet(&self) -> (f32, f32) {
        (0.5 * (self.x1 + self.x2), self.y2)
    }
    /// Intersection over union, 0 for boxes that do not meet.
    pub fn iou(&self, other: &Rect) -> f32 {
        let width = self.x2.min(other.x2) - self.x1.max(other.x1);
        let height = self.y2.min(other.y2) - self.y1.max(other.y1);
        if width <= 0.0 || height <= 0.0 {
            return 0.0;
        }
        let shared = width * height;
        shared / (self.area() + other.area() - shared)
    }
}

/// An object seen on one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// What it is.
    pub class: ClassId,
    /// How sure the detector is, 0 to 1.
    pub score: f32,
    /// Where it is.
    pub bbox: Rect,
}

/// An object followed over pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Track {
    /// Which one it is.
    pub id: TrackId,
    /// What it is.
    pub class: ClassId,
    /// Score of the detection it was last matched with.
    pub score: f32,
    /// Where the tracker holds it to be.
    pub bbox: Rect,
}

/// Where in its stay a track is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// First seen inside.
    Enter,
    /// Still inside; sent at every change of the dwell bucket.
    Dwell,
    /// Gone: outside, or vanished for longer than the grace.
    Leave,
}

/// A stay of a track in a polygon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Who.
    pub track: TrackId,
    /// What it is.
    pub class: ClassId,
    /// Where.
    pub zone: ZoneId,
    /// What just happened.
    pub phase: Phase,
    /// When it was first seen inside.
    pub entered: EventTime,
    /// Nanoseconds it has stayed so far.
    pub dwell: i64,
}

/// Which way a line was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To the right of a -> b as seen on the picture.
    Forward,
    /// To the left.
    Backward,
}

/// A track passing a directed line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crossing {
    /// Who.
    pub track: TrackId,
    /// What it is.
    pub class: ClassId,
    /// Which line.
    pub line: ZoneId,
    /// Which way.
    pub direction: Direction,
    /// Where on the picture, in source pixels.
    pub point: (f32, f32),
}

/// What went wrong, where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorRow {
    /// The node or camera.
    pub node: Arc<str>,
    /// One sentence.
    pub cause: Arc<str>,
}

/// Rows of a researcher's own type, or of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Their columns.
    pub schema: Arc<Schema>,
    /// Their values.
    pub rows: Rows<Arc<[Cell]>>,
}

/// Rows of one answer; sharing them costs a reference count, and none at all when empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows<T>(Option<Arc<[T]>>);

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Rows(None)
    }
}

impl<T> From<Vec<T>> for Rows<T> {
    fn from(rows: Vec<T>) -> Self {
        Rows((!rows.is_empty()).then(|| rows.into()))
    }
}

impl<T> Deref for Rows<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.0.as_deref().unwrap_or(&[])
    }
}
