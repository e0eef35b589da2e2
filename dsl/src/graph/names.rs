//! The one namespace of groups, cameras, models, flows and queries.

use std::collections::{BTreeMap, HashMap};

use super::{Graph, Reader};
use crate::diagnostic::{Diagnostic, code};
use crate::source::{Named, Span};

/// What a name stands for; the index is into the graph's list of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A group of cameras.
    Group(usize),
    /// A camera.
    Camera(usize),
    /// A model.
    Model(usize),
    /// A flow.
    Flow(usize),
    /// A query.
    Query(usize),
}

impl Thing {
    /// How messages call it.
    pub fn noun(self) -> &'static str {
        match self {
            Thing::Group(_) => "a group of cameras",
            Thing::Camera(_) => "a camera",
            Thing::Model(_) => "a model",
            Thing::Flow(_) => "a flow",
            Thing::Query(_) => "a query",
        }
    }
}

/// All names of a graph.
#[derive(Debug, Default)]
pub struct Names {
    things: HashMap<String, (Thing, Span)>,
}

impl Names {
    /// What a name stands for.
    pub fn get(&self, name: &str) -> Option<Thing> {
        self.things.get(name).map(|(thing, _)| *thing)
    }

    /// The names of those things that `which` picks, in alphabetical order.
    pub fn of(&self, which: impl Fn(Thing) -> bool) -> Vec<&str> {
        let sorted: BTreeMap<&str, ()> = self
            .things
            .iter()
            .filter(|(_, (thing, _))| which(*thing))
            .map(|(name, _)| (name.as_str(), ()))
            .collect();
        sorted.into_keys().collect()
    }
}

impl Reader<'_> {
    /// Collects the names of a graph; each may stand for one thing only.
    pub fn names(&mut self, graph: &Graph) -> Names {
        let mut names = Names::default();
        let groups = graph
            .groups
            .iter()
            .enumerate()
            .map(|(index, group)| (&group.name, Thing::Group(index)));
        let cameras = graph
            .cameras
            .iter()
            .enumerate()
            .map(|(index, camera)| (&camera.name, Thing::Camera(index)));
        let models = graph
            .models
            .iter()
            .enumerate()
            .map(|(index, model)| (&model.name, Thing::Model(index)));
        let flows = graph
            .flows
            .iter()
            .enumerate()
            .map(|(index, flow)| (&flow.name, Thing::Flow(index)));
        let queries = graph
            .queries
            .iter()
            .enumerate()
            .map(|(index, query)| (&query.name, Thing::Query(index)));
        let mut all: Vec<(&Named, Thing)> = groups
            .chain(cameras)
            .chain(models)
            .chain(flows)
            .chain(queries)
            .collect();
        all.sort_by_key(|(name, _)| name.span);
        for (name, thing) in all.into_iter().filter(|(name, _)| !name.value.is_empty()) {
            match names.things.get(&name.value) {
                None => {
                    names.things.insert(name.value.clone(), (thing, name.span));
                }
                Some((first, span)) => self.report(
                    Diagnostic::error(
                        code::DUPLICATE_NAME,
                        format!("`{}` is already the name of {}", name.value, first.noun()),
                    )
                    .label(name.span, format!("{} of the same name", thing.noun()))
                    .label(*span, "first")
                    .help("groups, cameras, models, flows and queries share one namespace"),
                ),
            }
        }
        names
    }
}
