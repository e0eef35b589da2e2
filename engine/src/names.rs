//! The run's names: rows carry small numbers, people read words.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use flowrun_dsl::plan::{Plan, Shape};

use crate::rows::{CameraId, ClassId, Direction, ZoneId};

/// Names of cameras, zones and classes. Cameras and zones are fixed by the plan; classes come with models and rows.
#[derive(Debug, Default)]
pub struct Names {
    cameras: Vec<Arc<str>>,
    zones: Vec<Arc<str>>,
    /// What the forward and the backward way of each line are called.
    ways: Vec<[Arc<str>; 2]>,
    classes: RwLock<Classes>,
}

#[derive(Debug, Default)]
struct Classes {
    names: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, ClassId>,
}

/// More names of classes than a run can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this run knows 65536 classes already; the input invents new ones without end")]
pub struct TooManyClasses;

fn plain_ways() -> [Arc<str>; 2] {
    ["forward".into(), "backward".into()]
}

fn ways(shape: &Shape) -> [Arc<str>; 2] {
    match shape {
        Shape::Line { forward, backward, .. } => [forward.as_str().into(), backward.as_str().into()],
        Shape::Polygon(_) => plain_ways(),
    }
}

impl Names {
    /// The names of a plan.
    pub fn of(plan: &Plan) -> Self {
        Names {
            cameras: plan.cameras.iter().map(|camera| camera.name.as_str().into()).collect(),
            zones: plan.zones.iter().map(|zone| zone.name.as_str().into()).collect(),
            ways: plan.zones.iter().map(|zone| ways(&zone.shape)).collect(),
            classes: RwLock::default(),
        }
    }

    /// A camera's bare name.
    pub fn camera(&self, id: CameraId) -> Arc<str> {
        self.cameras.get(id.0 as usize).cloned().unwrap_or_else(|| "?".into())
    }

    /// A polygon's or line's name.
    pub fn zone(&self, id: ZoneId) -> Arc<str> {
        self.zones.get(id.0 as usize).cloned().unwrap_or_else(|| "?".into())
    }

    /// What the graph calls passing a line in a direction.
    pub fn way(&self, line: ZoneId, direction: Direction) -> Arc<str> {
        let ways = self.ways.get(usize::from(line.0)).cloned().unwrap_or_else(plain_ways);
        let [forward, backward] = ways;
        match direction {
            Direction::Forward => forward,
            Direction::Backward => backward,
        }
    }

    /// A class's name.
    pub fn class(&self, id: ClassId) -> Arc<str> {
        let classes = self.classes.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        classes
            .names
            .get(usize::from(id.0))
            .cloned()
            .unwrap_or_else(|| "?".into())
    }

    /// The number of a class, given now if the name is new.
    ///
    /// # Errors
    /// When 65,536 names are known already.
    pub fn intern(&self, name: &str) -> Result<ClassId, TooManyClasses> {
        {
            let classes = self.classes.read().unwrap_or_else(|poisoned| poisoned.into_inner());
            if let Some(id) = classes.ids.get(name) {
                return Ok(*id);
            }
        }
        let mut classes = self.classes.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(id) = classes.ids.get(name) {
            return Ok(*id);
        }
        let id = ClassId(u16::try_from(classes.names.len()).map_err(|_| TooManyClasses)?);
        let name: Arc<str> = name.into();
        classes.names.push(name.clone());
        classes.ids.insert(name, id);
        Ok(id)
    }
}
