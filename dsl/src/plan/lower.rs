//! A graph with bound names, made a plan: inputs connected, rows checked, parameters complete.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use serde::Serialize;

use super::connect::connect;
use super::declare::{self, Files, output_of};
use super::points::{Points, Slot, Source};
use super::references::{self, Declared, Scope, Zones};
use super::{
    Align, CameraPlan, FragmentPlan, InputPlan, ModelPlan, NodePlan, Numbers, OnError, Origin, PLAN_VERSION, Plan,
};
use super::{fingerprint, place, query, targets};
use crate::compile::{Place, Spans};
use crate::diagnostic::{Diagnostic, code};
use crate::expr::QueryPlan;
use crate::graph::names::{Names, Thing};
use crate::graph::server::ServerParams;
use crate::graph::{Graph, Reader};
use crate::params::{ParamValues, Params};
use crate::port::{PortRows, PortSpec, Role, RowKind};
use crate::source::{Named, Span};
use crate::suggest;
use crate::system::System;

/// What a node emits, as far as it is known.
#[derive(Clone)]
struct Emitted {
    /// None when it could not be found out; the cause is reported already.
    rows: Option<RowKind>,
    cameras: Vec<usize>,
}

/// What the walk over the nodes needs.
struct Lower<'l, 'g, 'a> {
    declared: Declared<'l, 'a>,
    cameras: &'l [CameraPlan],
    models: &'l BTreeMap<String, ModelPlan>,
    points: &'l Points<'g, 'a>,
    files: Files<'l>,
    /// By slot; present once its node is made.
    emitted: Vec<Option<Emitted>>,
    /// By slot: the index of its node.
    place: Vec<usize>,
}

/// Makes the plan; none, with the causes reported, where there can be none.
pub fn lower(
    reader: &mut Reader,
    graph: &Graph,
    names: &Names,
    root: &Path,
    system: &dyn System,
) -> Option<(Plan, Spans)> {
    let files = Files { root, system };
    let cameras = declare::cameras(reader, graph, files);
    let models = declare::models(reader, graph, files);
    let (zones, zone_spans) = declare::zones(reader, graph, names);
    let mut points = Points::of(reader, graph, names);
    connect(reader, graph, names, &mut points);
    targets::check(reader, &points);
    let (order, fragment_order) = place::order(reader, &points)?;
    let mut place = vec![0; points.slots.len()];
    for (position, slot) in order.iter().enumerate() {
        place[*slot] = position;
    }
    let mut fragment_place = vec![0; points.fragments.len()];
    for (position, fragment) in fragment_order.iter().enumerate() {
        fragment_place[*fragment] = position;
    }
    let mut walk = Lower {
        declared: Declared {
            graph,
            names,
            zones: Zones::of(&zones),
        },
        cameras: &cameras,
        models: &models,
        points: &points,
        files,
        emitted: vec![None; points.slots.len()],
        place,
    };
    let nodes: Vec<NodePlan> = order
        .iter()
        .map(|slot| walk.node(reader, *slot, &fragment_place))
        .collect();
    let mut fragments: Vec<FragmentPlan> = fragment_order
        .iter()
        .map(|fragment| FragmentPlan {
            name: points.fragments[*fragment].clone(),
            nodes: Vec::new(),
        })
        .collect();
    for (index, node) in nodes.iter().enumerate() {
        fragments[node.fragment].nodes.push(index);
    }
    let server = graph.server.as_ref().map(|server| {
        let schema = ServerParams::schema();
        reader.complete(&schema, &[&server.given], "server", server.span)
    });
    let spans = spans(graph, &points, zone_spans);
    let mut plan = Plan {
        version: PLAN_VERSION,
        root: root.to_owned(),
        hash: String::new(),
        cameras,
        models,
        zones,
        nodes,
        fragments,
        server,
        numbers: Numbers::default(),
    };
    plan.hash = fingerprint::of(&plan);
    Some((plan, spans))
}

fn spans(graph: &Graph, points: &Points, zones: Vec<Span>) -> Spans {
    let nodes = points.slots.iter().map(|slot| {
        (
            slot.name.clone(),
            Place {
                name: slot.place(),
                params: slot.step.given.spans(),
            },
        )
    });
    let cameras = graph.cameras.iter().map(|camera| {
        let mut params = camera.defaults.spans();
        params.extend(camera.given.spans());
        (
            camera.name.value.clone(),
            Place {
                name: camera.name.span,
                params,
            },
        )
    });
    let models = graph.models.iter().map(|model| {
        let mut params = model.given.spans();
        params.insert("path".into(), model.path.span);
        (
            model.name.value.clone(),
            Place {
                name: model.name.span,
                params,
            },
        )
    });
    Spans {
        nodes: nodes.collect(),
        cameras: cameras.collect(),
        models: models.collect(),
        server: graph.server.as_ref().map(|server| Place {
            name: server.span,
            params: server.given.spans(),
        }),
        zones,
    }
}

fn wanted(port: &PortSpec) -> String {
    match &port.rows {
        PortRows::Only(RowKind::Table(schema)) => format!("rows of `{}`", schema.name),
        PortRows::Only(kind) => kind.name().into(),
        PortRows::AnyRows => "rows with columns".into(),
        PortRows::AnyTable => "table rows".into(),
    }
}

impl Lower<'_, '_, '_> {
    fn node(&mut self, reader: &mut Reader, index: usize, fragments: &[usize]) -> NodePlan {
        let points = self.points;
        let slot = &points.slots[index];
        let step = slot.step;
        let (mut inputs, mut cameras, mut known) = (Vec::new(), Vec::new(), true);
        for (port, source, span) in &slot.inputs {
            let Some(source) = source else {
                known = false;
                continue;
            };
            let emitted = self.emitted(reader, source, *span);
            if *port == 0 {
                cameras = emitted.cameras;
            } else if known {
                self.same_cameras(reader, slot, *port, &cameras, &emitted.cameras, *span);
            }
            let Some(rows) = emitted.rows else {
                known = false;
                continue;
            };
            let spec = &step.spec.inputs[*port];
            if !spec.rows.takes(&rows) {
                known &= !matches!(step.spec.role, Role::Query);
                self.wrong_rows(reader, slot, spec, source, &rows, *span);
            }
            let align = if *port == 0 {
                Align::Frame
            } else {
                step.align.map(|align| align.value).unwrap_or_default()
            };
            inputs.push(InputPlan {
                port: spec.name.clone(),
                origin: self.origin(source),
                align,
                rows,
            });
        }
        let params = reader.complete(&step.spec.params, &[&step.given], &step.kind.value, step.span);
        let overrides = self.overrides(reader, slot, &cameras, known);
        let place = |param: &str| step.given.0.get(param).map_or(step.span, |value| value.span);
        for values in std::iter::once(&params).chain(overrides.values()) {
            let names = cameras.iter().map(|camera| self.cameras[*camera].name.as_str());
            declare::paths_outside(reader, &step.spec.params, values, names, self.files, place);
        }
        self.references(reader, slot, &params, &overrides, &cameras, known);
        let query = match (slot.query, inputs.first()) {
            (Some(query), Some(input)) if known => query::compile(reader, query, &input.rows),
            _ => None,
        };
        let output = match (&query, slot.query) {
            (Some(query), _) => Some(RowKind::Table(query.schema.clone())),
            (None, Some(_)) => None,
            (None, None) => output_of(step.spec, &params),
        };
        self.emitted[index] = Some(Emitted {
            rows: output.clone(),
            cameras: cameras.clone(),
        });
        let mut node = NodePlan {
            name: slot.name.clone(),
            kind: step.spec.kind.clone(),
            role: step.spec.role,
            fragment: fragments[slot.fragment],
            params,
            overrides,
            inputs,
            output,
            cameras,
            on_error: step.on_error,
            query,
            fingerprint: String::new(),
        };
        node.fingerprint = self.fingerprint(&node, slot);
        node
    }

    fn origin(&self, source: &Source) -> Origin {
        match source {
            Source::Group(group) => Origin::Group(self.declared.graph.groups[*group].name.value.clone()),
            Source::Slot(slot) => Origin::Node(self.place[*slot]),
            Source::Errors(slot) => Origin::ErrorsOf(self.place[*slot]),
            Source::AllErrors => Origin::AllErrors,
        }
    }

    fn name_of(&self, source: &Source) -> String {
        match source {
            Source::Group(group) => self.declared.graph.groups[*group].name.value.clone(),
            Source::Slot(slot) => self.points.slots[*slot].name.clone(),
            Source::Errors(slot) => format!("{}.errors", self.points.slots[*slot].name),
            Source::AllErrors => "*.errors".into(),
        }
    }

    fn emitted(&self, reader: &mut Reader, source: &Source, span: Span) -> Emitted {
        let of_slot = |slot: usize| self.emitted[slot].clone().expect("nodes are made in topological order");
        match source {
            Source::Slot(slot) => of_slot(*slot),
            Source::Errors(slot) => Emitted {
                rows: Some(RowKind::Error),
                cameras: of_slot(*slot).cameras,
            },
            Source::AllErrors => Emitted {
                rows: Some(RowKind::Error),
                cameras: (0..self.cameras.len()).collect(),
            },
            Source::Group(group) => {
                let cameras = self.declared.graph.groups[*group].cameras.clone();
                let Some(first) = cameras.first().map(|camera| &self.cameras[*camera]) else {
                    return Emitted { rows: None, cameras };
                };
                let other = cameras
                    .iter()
                    .map(|camera| (*camera, &self.cameras[*camera]))
                    .find(|(_, camera)| camera.output != first.output);
                let Some((other_index, other)) = other else {
                    return Emitted {
                        rows: Some(first.output.clone()),
                        cameras,
                    };
                };
                let message = format!(
                    "the cameras of `{}` emit different rows: `{}` {}, `{}` {}",
                    first.group,
                    first.name,
                    first.output.name(),
                    other.name,
                    other.output.name()
                );
                reader.report(
                    Diagnostic::error(code::MIXED_GROUP, message)
                        .label(span, "read here")
                        .label(self.declared.graph.cameras[cameras[0]].name.span, first.output.name())
                        .label(self.declared.graph.cameras[other_index].name.span, other.output.name())
                        .help("put them into groups of their own"),
                );
                Emitted { rows: None, cameras }
            }
        }
    }

    fn wrong_rows(
        &self,
        reader: &mut Reader,
        slot: &Slot,
        port: &PortSpec,
        source: &Source,
        rows: &RowKind,
        span: Span,
    ) {
        let wanted = wanted(port);
        let message = format!(
            "`{}` reads {wanted}, but `{}` emits {}",
            slot.step.kind.value,
            self.name_of(source),
            rows.name()
        );
        let mut diagnostic =
            Diagnostic::error(code::WRONG_ROWS, message).label(span, format!("{wanted} are needed here"));
        let producer = match source {
            Source::Slot(from) => Some(self.points.slots[*from].place()),
            Source::Group(group) => Some(self.declared.graph.groups[*group].name.span),
            Source::Errors(_) | Source::AllErrors => None,
        };
        if let Some(producer) = producer.filter(|producer| *producer != span) {
            diagnostic = diagnostic.label(producer, format!("{} come from here", rows.name()));
        }
        let fitting = reader.words(|| {
            let slots = self.points.slots.iter();
            let fits = |output: &RowKind| port.rows.takes(output);
            let fitting = slots.filter(|slot| slot.step.spec.output.as_ref().is_some_and(fits));
            let sorted: BTreeSet<&str> = fitting.map(|slot| slot.name.as_str()).collect();
            sorted.into_iter().take(4).collect()
        });
        if !fitting.is_empty() {
            diagnostic = diagnostic.help(format!("{wanted} come from {}", fitting.join(", ")));
        }
        reader.report(diagnostic);
    }

    fn same_cameras(
        &self,
        reader: &mut Reader,
        slot: &Slot,
        port: usize,
        first: &[usize],
        other: &[usize],
        span: Span,
    ) {
        let has: HashSet<usize> = other.iter().copied().collect();
        let Some(lacking) = first.iter().find(|camera| !has.contains(camera)) else {
            return;
        };
        let port = &slot.step.spec.inputs[port].name;
        reader.report(
            Diagnostic::error(
                code::CAMERAS_DIFFER,
                format!("`{port}` has nothing from the camera `{}`", self.cameras[*lacking].name),
            )
            .label(span, "does not cover all cameras of the first input")
            .help("inputs are matched frame by frame, camera by camera: let both begin at the same group"),
        );
    }

    fn overrides(
        &self,
        reader: &mut Reader,
        slot: &Slot,
        cameras: &[usize],
        known: bool,
    ) -> BTreeMap<String, ParamValues> {
        let mut complete = BTreeMap::new();
        for change in &slot.step.overrides {
            let Named { value: name, span } = &change.camera;
            match self.declared.names.get(name) {
                Some(Thing::Camera(camera)) if !known || cameras.contains(&camera) => {}
                Some(Thing::Camera(_)) => {
                    reader.report(
                        Diagnostic::error(
                            code::UNKNOWN_NAME,
                            format!("`{}` does not see the camera `{name}`", slot.name),
                        )
                        .label(*span, "not among its cameras"),
                    );
                    continue;
                }
                _ => {
                    let known = reader.words(|| self.declared.names.of(|thing| matches!(thing, Thing::Camera(_))));
                    reader.report(
                        Diagnostic::error(code::UNKNOWN_NAME, format!("there is no camera `{name}`"))
                            .label(*span, "unknown")
                            .maybe_help(suggest::help(name, "cameras", known)),
                    );
                    continue;
                }
            }
            let values = reader.complete(
                &slot.step.spec.params,
                &[&slot.step.given, &change.given],
                &slot.step.kind.value,
                slot.step.span,
            );
            complete.insert(name.clone(), values);
        }
        complete
    }

    fn references(
        &self,
        reader: &mut Reader,
        slot: &Slot,
        params: &ParamValues,
        overrides: &BTreeMap<String, ParamValues>,
        cameras: &[usize],
        known: bool,
    ) {
        let schema = &slot.step.spec.params;
        let own: HashSet<usize> = cameras
            .iter()
            .copied()
            .filter(|camera| overrides.contains_key(&self.cameras[*camera].name))
            .collect();
        let rest: Vec<usize> = cameras.iter().copied().filter(|camera| !own.contains(camera)).collect();
        let shared = Scope {
            owner: &slot.name,
            span: slot.step.kind.span,
            cameras: if known { &rest } else { &[] },
            values: params,
            given: &slot.step.given,
        };
        references::check(reader, &self.declared, schema, &shared);
        for change in &slot.step.overrides {
            let (Some(values), Some(Thing::Camera(camera))) = (
                overrides.get(&change.camera.value),
                self.declared.names.get(&change.camera.value),
            ) else {
                continue;
            };
            let single = [camera];
            let mut given = slot.step.given.clone();
            given.0.extend(change.given.0.clone());
            let (owner, span) = (slot.name.as_str(), change.camera.span);
            let scope = Scope {
                owner,
                span,
                cameras: &single,
                values,
                given: &given,
            };
            references::check(reader, &self.declared, schema, &scope);
        }
    }

    /// Kind, parameters, names of inputs and types; and the models, because another file is another operator.
    fn fingerprint(&self, node: &NodePlan, slot: &Slot) -> String {
        #[derive(Serialize)]
        struct Local<'n> {
            kind: &'n str,
            role: Role,
            params: &'n ParamValues,
            overrides: &'n BTreeMap<String, ParamValues>,
            inputs: Vec<(&'n str, String, Align, &'n RowKind)>,
            output: &'n Option<RowKind>,
            on_error: OnError,
            query: &'n Option<QueryPlan>,
            models: Vec<(&'n str, &'n ModelPlan)>,
        }
        let sources: Vec<String> = slot
            .inputs
            .iter()
            .filter_map(|(_, source, _)| source.as_ref())
            .map(|source| self.name_of(source))
            .collect();
        let inputs = node.inputs.iter().zip(sources);
        let all = std::iter::once(&node.params).chain(node.overrides.values());
        let models = references::models_of(&slot.step.spec.params, all).into_iter();
        fingerprint::of(&Local {
            kind: &node.kind,
            role: node.role,
            params: &node.params,
            overrides: &node.overrides,
            inputs: inputs
                .map(|(input, name)| (input.port.as_str(), name, input.align, &input.rows))
                .collect(),
            output: &node.output,
            on_error: node.on_error,
            query: &node.query,
            models: models
                .filter_map(|name| self.models.get_key_value(name))
                .map(|(name, model)| (name.as_str(), model))
                .collect(),
        })
    }
}
