//! Cameras, models and zones of the plan.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::{CameraPlan, ModelPlan, Shape, ZonePlan, fingerprint};
use crate::diagnostic::{Diagnostic, code};
use crate::graph::given::Given;
use crate::graph::names::{Names, Thing};
use crate::graph::zones::On;
use crate::graph::{Graph, Reader};
use crate::params::{ParamType, ParamValues, ParamsSchema};
use crate::port::{OperatorSpec, RowKind};
use crate::source::{Named, Span};
use crate::suggest;
use crate::system::System;
use crate::value::Value;

/// Where files are looked for.
#[derive(Clone, Copy)]
pub struct Files<'s> {
    pub root: &'s Path,
    pub system: &'s dyn System,
}

/// All cameras, each with its parameters complete.
pub fn cameras(reader: &mut Reader, graph: &Graph, files: Files) -> Vec<CameraPlan> {
    let common_schema = reader.catalogue.camera_params();
    let mut plans = Vec::with_capacity(graph.cameras.len());
    for camera in &graph.cameras {
        let layers = [&camera.defaults, &camera.given];
        let (name, spec) = (&camera.name.value, camera.spec);
        let params = reader.complete(&spec.params, &layers, name, camera.name.span);
        let common = reader.complete(common_schema, &layers, name, camera.name.span);
        let place = |param: &str| given_at(&layers, param).unwrap_or(camera.name.span);
        missing_files(reader, &spec.params, &params, files, place);
        missing_files(reader, common_schema, &common, files, place);
        let mut plan = CameraPlan {
            name: name.clone(),
            group: graph.groups[camera.group].name.value.clone(),
            kind: spec.kind.clone(),
            output: output_of(spec, &params).unwrap_or(RowKind::Frame),
            params,
            common,
            fingerprint: String::new(),
        };
        plan.fingerprint = fingerprint::of(&plan);
        plans.push(plan);
    }
    plans
}

fn given_at(layers: &[&Given], param: &str) -> Option<Span> {
    layers
        .iter()
        .rev()
        .find_map(|layer| layer.0.get(param))
        .map(|value| value.span)
}

/// What an operator emits with these parameters.
pub fn output_of(spec: &OperatorSpec, params: &ParamValues) -> Option<RowKind> {
    let Some((param, choices)) = &spec.output_by else {
        return spec.output.clone();
    };
    let Some(Value::Text(chosen)) = params.get(param) else {
        return spec.output.clone();
    };
    choices
        .iter()
        .find(|(choice, _)| choice == chosen)
        .map(|(_, rows)| rows.clone())
        .or_else(|| spec.output.clone())
}

fn missing_files(
    reader: &mut Reader,
    schema: &ParamsSchema,
    values: &ParamValues,
    files: Files,
    place: impl Fn(&str) -> Span,
) {
    for spec in schema.params.iter().filter(|spec| spec.ty == ParamType::Path) {
        if let Some(Value::Text(path)) = values.get(&spec.name) {
            missing_file(reader, path, files, place(&spec.name));
        }
    }
}

/// What the paths among a node's parameters may not be: not even with one of its cameras' names filled in, since a link
/// may be called like a camera.
pub fn paths_outside<'c>(
    reader: &mut Reader,
    schema: &ParamsSchema,
    values: &ParamValues,
    cameras: impl Iterator<Item = &'c str> + Clone,
    files: Files,
    place: impl Fn(&str) -> Span,
) {
    for spec in schema.params.iter().filter(|spec| spec.ty == ParamType::Path) {
        let Some(Value::Text(path)) = values.get(&spec.name) else {
            continue;
        };
        let own = path.contains(CAMERA).then(|| cameras.clone()).into_iter().flatten();
        let filled = own.map(|camera| path.replace(CAMERA, camera));
        for path in std::iter::once(path.clone()).chain(filled) {
            if !is_allowed(reader, &path, files, place(&spec.name)) {
                break;
            }
        }
    }
}

/// Where a path has the name of the camera that it is of.
const CAMERA: &str = "{camera}";

fn is_allowed(reader: &mut Reader, path: &str, files: Files, span: Span) -> bool {
    let allowed = files.system.allows(&files.root.join(path));
    if !allowed {
        reader.report(
            Diagnostic::error(
                code::PATH_OUTSIDE,
                format!("`{path}` lies outside of the graph's folder"),
            )
            .label(span, "not a graph's to read or write")
            .help("move it there, or let graphs use another folder with --root FOLDER"),
        );
    }
    allowed
}

fn missing_file(reader: &mut Reader, path: &str, files: Files, span: Span) {
    if !is_allowed(reader, path, files, span) {
        return;
    }
    if !files.system.exists(&files.root.join(path)) {
        reader.report(
            Diagnostic::error(code::MISSING_FILE, format!("there is no file `{path}`"))
                .label(span, "not found")
                .help("paths are relative to the folder of the graph"),
        );
    }
}

/// All models by name.
pub fn models(reader: &mut Reader, graph: &Graph, files: Files) -> BTreeMap<String, ModelPlan> {
    let schema = reader.catalogue.model_params();
    let mut plans = BTreeMap::new();
    for model in &graph.models {
        let params = reader.complete(schema, &[&model.given], &model.name.value, model.name.span);
        missing_files(reader, schema, &params, files, |param| {
            given_at(&[&model.given], param).unwrap_or(model.name.span)
        });
        if !model.path.value.is_empty() {
            missing_file(reader, &model.path.value, files, model.path.span);
        }
        plans.insert(
            model.name.value.clone(),
            ModelPlan {
                path: PathBuf::from(&model.path.value),
                params,
            },
        );
    }
    plans
}

/// All zones with their places; each name at most once for a camera, and for one kind of shape.
pub fn zones(reader: &mut Reader, graph: &Graph, names: &Names) -> (Vec<ZonePlan>, Vec<Span>) {
    let (mut plans, mut spans) = (Vec::new(), Vec::new());
    let mut taken: HashMap<(&str, usize), Span> = HashMap::new();
    let mut kinds: HashMap<&str, (bool, Span)> = HashMap::new();
    for zone in &graph.zones {
        let Named { value: name, span } = &zone.name;
        let line = matches!(zone.shape, Shape::Line { .. });
        let (known, first) = *kinds.entry(name).or_insert((line, *span));
        if known != line {
            let (this, other) = if line { ("line", "polygon") } else { ("polygon", "line") };
            reader.report(
                Diagnostic::error(
                    code::DUPLICATE_NAME,
                    format!("`{name}` is already the name of a {other}"),
                )
                .label(*span, format!("a {this} of the same name"))
                .label(first, "first"),
            );
        }
        let cameras = cameras_of(reader, graph, names, &zone.on);
        let doubled = cameras
            .iter()
            .find_map(|camera| taken.get(&(name.as_str(), *camera)).map(|first| (*camera, *first)));
        if let Some((camera, first)) = doubled {
            let camera = &graph.cameras[camera].name.value;
            reader.report(
                Diagnostic::error(
                    code::DUPLICATE_NAME,
                    format!("the camera `{camera}` already has a zone `{name}`"),
                )
                .label(*span, "again")
                .label(first, "first"),
            );
        }
        for camera in &cameras {
            taken.entry((name, *camera)).or_insert(*span);
        }
        plans.push(ZonePlan {
            name: name.clone(),
            cameras,
            shape: zone.shape.clone(),
            units: zone.units,
        });
        spans.push(*span);
    }
    (plans, spans)
}

fn cameras_of(reader: &mut Reader, graph: &Graph, names: &Names, on: &On) -> Vec<usize> {
    let (name, what) = match on {
        On::Camera(name) => (name, "camera"),
        On::Group(name) => (name, "group of cameras"),
    };
    let help = match (on, names.get(&name.value)) {
        (On::Camera(_), Some(Thing::Camera(camera))) => return vec![camera],
        (On::Group(_), Some(Thing::Group(group))) => return graph.groups[group].cameras.clone(),
        (On::Camera(_), Some(Thing::Group(_))) => Some(format!("it is a group: write cameras={}", name.value)),
        (On::Group(_), Some(Thing::Camera(_))) => Some(format!("it is a camera: write camera={}", name.value)),
        (On::Camera(_), _) => suggest::help(
            &name.value,
            "cameras",
            reader.words(|| names.of(|thing| matches!(thing, Thing::Camera(_)))),
        ),
        (On::Group(_), _) => suggest::help(
            &name.value,
            "groups",
            reader.words(|| names.of(|thing| matches!(thing, Thing::Group(_)))),
        ),
    };
    reader.report(
        Diagnostic::error(code::UNKNOWN_NAME, format!("there is no {what} `{}`", name.value))
            .label(name.span, "unknown")
            .maybe_help(help),
    );
    Vec::new()
}
