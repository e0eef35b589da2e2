//! What an operator may ask about its place in the graph while it is built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flowrun_dsl::params::{Line, Model, Ref, Zone};
use flowrun_dsl::plan::{NodePlan, Origin, Plan, Shape, Units};

use crate::audience::Audience;
use crate::demand::Demand;
use crate::device::Devices;
use crate::errors::{OperatorError, Result};
use crate::names::Names;
use crate::rows::{CameraId, Size, ZoneId};

/// A node's place in the graph.
#[derive(Clone, Copy)]
pub struct NodeSetup<'a> {
    /// The whole plan.
    pub plan: &'a Plan,
    /// The node.
    pub node: &'a NodePlan,
    /// The run's names.
    pub names: &'a std::sync::Arc<Names>,
    /// Those who watch the run.
    pub audience: &'a std::sync::Arc<Audience>,
    /// The run's devices, with the cameras that are on each.
    pub devices: &'a Devices,
}

impl NodeSetup<'_> {
    /// A path of the graph, made absolute against the graph file's folder.
    pub fn path(&self, written: &Path) -> PathBuf {
        self.plan.root.join(written)
    }

    /// Whether this node's rows of a camera are wanted; for operators whose work may rest while they are not.
    pub fn demand(&self, camera: CameraId) -> Demand {
        self.audience.demands.on(&self.node.name, camera)
    }

    /// The demands on the rows of a camera that this node reads: what a sink with viewers wants for them.
    pub fn demands_on_inputs(&self, camera: CameraId) -> Vec<Demand> {
        let inputs = self.node.inputs.iter().filter_map(|input| match input.origin {
            Origin::Node(node) => Some(self.audience.demands.on(&self.plan.nodes.get(node)?.name, camera)),
            Origin::Group(_) | Origin::ErrorsOf(_) | Origin::AllErrors => None,
        });
        inputs.collect()
    }

    /// The cameras that the node sees.
    pub fn cameras(&self) -> impl Iterator<Item = CameraId> {
        let cameras = self.node.cameras.iter();
        cameras.map(|camera| CameraId(self.plan.camera_number(*camera)))
    }

    /// A model's file and parameters.
    ///
    /// # Errors
    /// When the graph has no such model, which a checked plan rules out.
    pub fn model(&self, model: &Ref<Model>) -> Result<&flowrun_dsl::plan::ModelPlan> {
        self.plan
            .models
            .get(model.name())
            .ok_or_else(|| OperatorError::new(format!("no model is called `{}`", model.name())))
    }
}

/// A node's place in the graph for one camera.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// The node.
    pub node: NodeSetup<'a>,
    /// The camera.
    pub camera: CameraId,
}

impl Setup<'_> {
    /// The camera's name.
    pub fn camera_name(&self) -> std::sync::Arc<str> {
        self.node.names.camera(self.camera)
    }

    /// A polygon on this camera's picture; none where the name exists for other cameras only.
    pub fn polygon(&self, zone: &Ref<Zone>) -> Option<PolygonShape> {
        self.shapes(zone.name()).find_map(|(id, units, shape)| match shape {
            Shape::Polygon(corners) => Some(PolygonShape {
                id,
                corners: corners.clone(),
                units,
            }),
            Shape::Line { .. } => None,
        })
    }

    /// A line on this camera's picture; none where the name exists for other cameras only.
    pub fn line(&self, line: &Ref<Line>) -> Option<LineShape> {
        self.shapes(line.name()).find_map(|(id, units, shape)| match shape {
            Shape::Line { ends, .. } => Some(LineShape { id, ends: *ends, units }),
            Shape::Polygon(_) => None,
        })
    }

    fn shapes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (ZoneId, Units, &'a Shape)> {
        let plan = self.node.plan;
        let camera = plan.camera_index(self.camera.0);
        let zones = plan.zones.iter().enumerate();
        zones
            .filter(move |(_, zone)| zone.name == name && camera.is_some_and(|camera| zone.cameras.contains(&camera)))
            .map(|(index, zone)| (ZoneId(plan.zone_number(index)), zone.units, &zone.shape))
    }
}

/// A polygon on one camera's picture.
#[derive(Clone, Debug, PartialEq)]
pub struct PolygonShape {
    /// Which zone it is.
    pub id: ZoneId,
    /// Its corners.
    pub corners: Vec<[f64; 2]>,
    /// What they mean.
    pub units: Units,
}

/// A directed line on one camera's picture; forward is to its right.
#[derive(Clone, Debug, PartialEq)]
pub struct LineShape {
    /// Which line it is.
    pub id: ZoneId,
    /// Its ends, a then b.
    pub ends: [[f64; 2]; 2],
    /// What they mean.
    pub units: Units,
}

fn pixels([x, y]: [f64; 2], units: Units, size: Size) -> [f64; 2] {
    match units {
        Units::Pixels => [x, y],
        Units::Ratio => [x * f64::from(size.width), y * f64::from(size.height)],
    }
}

impl PolygonShape {
    /// The corners in pixels of a picture of this size.
    pub fn in_pixels(&self, size: Size) -> Vec<[f64; 2]> {
        self.corners
            .iter()
            .map(|corner| pixels(*corner, self.units, size))
            .collect()
    }
}

impl LineShape {
    /// The ends in pixels of a picture of this size.
    pub fn in_pixels(&self, size: Size) -> [[f64; 2]; 2] {
        self.ends.map(|end| pixels(end, self.units, size))
    }
}

/// Parameters that hold for all cameras but those that say otherwise (`for CAMERA`).
#[derive(Clone, Debug)]
pub struct PerCamera<P> {
    base: P,
    overrides: BTreeMap<CameraId, P>,
}

impl<P> PerCamera<P> {
    /// From the common value and the exceptions.
    pub fn new(base: P, overrides: BTreeMap<CameraId, P>) -> Self {
        PerCamera { base, overrides }
    }
    /// What holds for cameras without an exception.
    pub fn base(&self) -> &P {
        &self.base
    }
    /// What holds for a camera.
    pub fn get(&self, camera: CameraId) -> &P {
        self.overrides.get(&camera).unwrap_or(&self.base)
    }
    /// The same cameras with something worked out for each.
    ///
    /// # Errors
    /// The first that `f` gives.
    pub fn try_map<Q, E>(&self, mut f: impl FnMut(&P) -> Result<Q, E>) -> Result<PerCamera<Q>, E> {
        let base = f(&self.base)?;
        let overrides = self.overrides.iter().map(|(camera, value)| Ok((*camera, f(value)?)));
        Ok(PerCamera {
            base,
            overrides: overrides.collect::<Result<_, E>>()?,
        })
    }
    /// All values: the common one, then the exceptions.
    pub fn all(&self) -> impl Iterator<Item = &P> {
        std::iter::once(&self.base).chain(self.overrides.values())
    }
}
