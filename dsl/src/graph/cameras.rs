//! `cameras GROUP { defaults ...; KIND NAME ... { override ... } }`

use std::collections::{BTreeMap, HashMap};

use super::given::{Given, Other, find};
use super::{Graph, Reader};
use crate::diagnostic::{Diagnostic, code};
use crate::document::{Node, Property};
use crate::port::{OperatorSpec, Role};
use crate::source::{Named, Span};

/// A `cameras` block.
#[derive(Debug)]
pub struct Group {
    /// Its name.
    pub name: Named,
    /// Its cameras: indices into [`Graph::cameras`].
    pub cameras: Vec<usize>,
}

/// A camera.
#[derive(Debug)]
pub struct Camera<'a> {
    /// Its name.
    pub name: Named,
    /// Index of its group.
    pub group: usize,
    /// Its source.
    pub spec: &'a OperatorSpec,
    /// Of the group's `defaults`, those that this camera has.
    pub defaults: Given,
    /// Parameters of its line and its `override`.
    pub given: Given,
}

impl<'a> Reader<'a> {
    /// Reads a `cameras` block.
    pub fn read_cameras(&mut self, node: &Node, graph: &mut Graph<'a>) {
        self.only_properties(node, &[]);
        self.no_more_arguments(node, 1);
        let name = self
            .declared_name(node, "a group of cameras")
            .unwrap_or_else(|| Named::new(String::new(), node.name.span));
        let group = graph.groups.len();
        let first = graph.cameras.len();
        let (mut defaults, mut seen) = (Vec::new(), HashMap::new());
        for child in &node.children {
            match child.name.value.as_str() {
                "defaults" => self.read_defaults(child, &mut defaults, &mut seen),
                _ => self.read_camera(child, group, graph),
            }
        }
        if node.children.iter().all(|child| child.name.value == "defaults") {
            self.report(
                Diagnostic::error(code::EMPTY, format!("the group `{}` has no cameras", name.value))
                    .label(name.span, "empty")
                    .maybe_help(example_of(&self.kinds(Role::Source))),
            );
        }
        self.apply_defaults(&defaults, &mut graph.cameras[first..]);
        graph.groups.push(Group {
            name,
            cameras: (first..graph.cameras.len()).collect(),
        });
    }

    fn read_defaults<'n>(
        &mut self,
        child: &'n Node,
        defaults: &mut Vec<&'n Property>,
        seen: &mut HashMap<&'n str, Span>,
    ) {
        self.no_more_arguments(child, 0);
        self.no_children(child);
        for property in &child.props {
            match seen.get(property.name.value.as_str()) {
                Some(first) => self.given_twice(&property.name.value, property.name.span, *first),
                None => {
                    seen.insert(&property.name.value, property.name.span);
                    defaults.push(property);
                }
            }
        }
    }

    fn read_camera(&mut self, child: &Node, group: usize, graph: &mut Graph<'a>) {
        let catalogue = self.catalogue;
        let Some(spec) = catalogue.find(Role::Source, &child.name.value) else {
            let mut kinds = self.kinds(Role::Source);
            kinds.push("defaults");
            return self.unknown_node(&child.name, "in `cameras`", &kinds);
        };
        let Some(name) = self.declared_name(child, "a camera") else {
            return;
        };
        let schemas = [&spec.params, catalogue.camera_params()];
        let mut given = self.given(
            child,
            &schemas,
            Other {
                args: 1,
                children: &["override"],
                ..Other::default()
            },
        );
        for changes in child.children.iter().filter(|changes| changes.name.value == "override") {
            self.no_more_arguments(changes, 0);
            for (name, value) in self
                .given(
                    changes,
                    &schemas,
                    Other {
                        args: changes.args.len(),
                        ..Other::default()
                    },
                )
                .0
            {
                match given.0.get(&name) {
                    Some(first) => self.given_twice(&name, value.span, first.span),
                    None => {
                        given.0.insert(name, value);
                    }
                }
            }
        }
        graph.cameras.push(Camera {
            name,
            group,
            spec,
            defaults: Given::default(),
            given,
        });
    }

    /// Gives each camera those defaults that it has a parameter for. A default is read once for each kind of source.
    fn apply_defaults(&mut self, defaults: &[&Property], cameras: &mut [Camera<'a>]) {
        let catalogue = self.catalogue;
        let mut kinds: BTreeMap<&str, &OperatorSpec> = BTreeMap::new();
        for camera in cameras.iter() {
            kinds.insert(&camera.spec.kind, camera.spec);
        }
        for property in defaults {
            let mut takers: BTreeMap<&str, Given> = BTreeMap::new();
            for (kind, spec) in &kinds {
                let schemas = [&spec.params, catalogue.camera_params()];
                if find(&schemas, &property.name.value).is_some() {
                    let mut given = Given::default();
                    self.property(property, "defaults", &schemas, Other::default(), &mut given);
                    takers.insert(kind, given);
                }
            }
            if takers.is_empty() && !kinds.is_empty() {
                let mut words: Vec<&str> = catalogue
                    .camera_params()
                    .params
                    .iter()
                    .map(|spec| spec.name.as_str())
                    .collect();
                words.extend(
                    kinds
                        .values()
                        .flat_map(|spec| &spec.params.params)
                        .map(|spec| spec.name.as_str()),
                );
                words.sort_unstable();
                words.dedup();
                self.unknown_parameter(&property.name, "defaults", &words);
            }
            for camera in cameras.iter_mut() {
                if let Some(given) = takers.get(camera.spec.kind.as_str()) {
                    camera.defaults.0.extend(given.0.clone());
                }
            }
        }
    }
}

fn example_of(kinds: &[&str]) -> Option<String> {
    kinds.first().map(|kind| {
        format!(
            "a camera is a line `KIND NAME ...`, as in `{kind} north`; kinds: {}",
            kinds.join(", ")
        )
    })
}
