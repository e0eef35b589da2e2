//! The run's names: rows carry small numbers, people read words.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use arc_swap::ArcSwap;
use flowrun_dsl::plan::{Plan, Shape};

use crate::rows::{CameraId, ClassId, Direction, ZoneId};

/// Names of cameras, zones and classes. Cameras and zones are the plan's; classes come with models and rows.
#[derive(Debug, Default)]
pub struct Names {
    places: ArcSwap<Places>,
    classes: RwLock<Classes>,
}

/// What the plan names. A number that no longer stands for anything keeps its name until it stands for something else,
/// since rows that carry it may still be under way.
#[derive(Clone, Debug, Default)]
struct Places {
    cameras: Vec<Option<Arc<str>>>,
    zones: Vec<Option<ZoneNames>>,
}

#[derive(Clone, Debug)]
struct ZoneNames {
    name: Arc<str>,
    /// What the forward and the backward way of a line are called.
    ways: [Arc<str>; 2],
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

fn put<T>(list: &mut Vec<Option<T>>, place: usize, entry: T, replace: bool) {
    if place >= list.len() {
        list.resize_with(place + 1, || None);
    }
    if replace || list[place].is_none() {
        list[place] = Some(entry);
    }
}

impl Names {
    /// The names of a plan.
    pub fn of(plan: &Plan) -> Self {
        let names = Names::default();
        names.learn(plan);
        names
    }

    /// Takes in the names of a plan that follows the running one, its edits included.
    pub fn learn(&self, plan: &Plan) {
        self.take_in(plan, |_| true, |_| true);
    }

    /// Takes in what a plan names that the running one does not, so that it can be made ready beside it.
    pub fn learn_fresh(&self, plan: &Plan, running: &Plan) {
        let zones: Vec<u16> = (0..running.zones.len()).map(|zone| running.zone_number(zone)).collect();
        self.take_in(
            plan,
            |number| running.camera_index(number).is_none(),
            |number| !zones.contains(&number),
        );
    }

    fn take_in(&self, plan: &Plan, cameras: impl Fn(u32) -> bool, zones: impl Fn(u16) -> bool) {
        let mut places = Places::clone(&self.places.load());
        for (index, camera) in plan.cameras.iter().enumerate() {
            let number = plan.camera_number(index);
            let fresh = cameras(number);
            put(&mut places.cameras, number as usize, camera.name.as_str().into(), fresh);
        }
        for (index, zone) in plan.zones.iter().enumerate() {
            let number = plan.zone_number(index);
            let names = ZoneNames {
                name: zone.name.as_str().into(),
                ways: ways(&zone.shape),
            };
            put(&mut places.zones, usize::from(number), names, zones(number));
        }
        self.places.store(Arc::new(places));
    }

    /// A camera's bare name.
    pub fn camera(&self, id: CameraId) -> Arc<str> {
        let places = self.places.load();
        let name = places.cameras.get(id.0 as usize).cloned().flatten();
        name.unwrap_or_else(|| "?".into())
    }

    /// A polygon's or line's name.
    pub fn zone(&self, id: ZoneId) -> Arc<str> {
        let places = self.places.load();
        let zone = places.zones.get(usize::from(id.0)).and_then(Option::as_ref);
        zone.map_or_else(|| "?".into(), |zone| zone.name.clone())
    }

    /// What the graph calls passing a line in a direction.
    pub fn way(&self, line: ZoneId, direction: Direction) -> Arc<str> {
        let places = self.places.load();
        let zone = places.zones.get(usize::from(line.0)).and_then(Option::as_ref);
        let [forward, backward] = zone.map_or_else(plain_ways, |zone| zone.ways.clone());
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
