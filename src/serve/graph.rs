//! `GET /api/graph`: what is connected with what, and what flows there now.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use flowrun_dsl::plan::{Align, Origin};
use flowrun_engine::run::context::Context;
use serde::Serialize;

use crate::serve::rates::{NodeRate, Now};
use crate::serve::settings::GraphText;
use crate::serve::status::{millis, rounded};

/// The document.
#[derive(Debug, Serialize)]
pub struct Graph {
    name: String,
    hash: String,
    plan: Option<String>,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

#[derive(Debug, Serialize)]
struct Node {
    id: String,
    kind: String,
    role: &'static str,
    fragment: String,
    cameras: Vec<String>,
    rows: Option<&'static str>,
    errors: u64,
    queue: i64,
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
}

#[derive(Debug, Serialize)]
struct Edge {
    from: String,
    to: String,
    port: String,
    rows: &'static str,
    align: Align,
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// What all error ports together are called.
const ALL_ERRORS: &str = "*.errors";

fn role(node: &flowrun_dsl::plan::NodePlan) -> &'static str {
    use flowrun_dsl::port::Role;
    match node.role {
        Role::Source => "source",
        Role::Operator => "operator",
        Role::Query => "query",
        Role::Write => "write",
        Role::Publish => "publish",
    }
}

/// The cameras of a block are one node; what they deliver has waited for nothing.
fn groups(context: &Context, now: &Now) -> Vec<Node> {
    let mut groups: BTreeMap<String, Node> = BTreeMap::new();
    for (id, camera) in context.generation().cameras() {
        let node = groups.entry(camera.group.clone()).or_insert_with(|| Node {
            id: camera.group.clone(),
            kind: "cameras".into(),
            role: "source",
            fragment: camera.group.clone(),
            cameras: Vec::new(),
            rows: Some(camera.output.name()),
            errors: 0,
            queue: 0,
            rate: 0.0,
            p50_ms: 0.0,
            p99_ms: 0.0,
        });
        node.cameras.push(camera.name.clone());
        node.errors += context.ledger.counts(id).faults;
        node.rate = rounded(node.rate + now.camera(&camera.name));
    }
    groups.into_values().collect()
}

impl Graph {
    /// Of a run that is under way, or of none yet.
    pub fn of(context: Option<&Context>, now: &Now, graph: &GraphText) -> Self {
        let mut document = Graph {
            name: graph.name.clone(),
            hash: graph.hash.clone(),
            plan: context.map(|context| context.generation().plan.hash.clone()),
            nodes: Vec::new(),
            edges: Vec::new(),
        };
        let Some(context) = context else { return document };
        document.nodes = groups(context, now);
        let generation = context.generation();
        let plan = &generation.plan;
        let rate = |index: usize| now.node(&plan.nodes[index].name);
        for (index, node) in plan.nodes.iter().enumerate() {
            let NodeRate {
                answers,
                p50_us,
                p99_us,
            } = rate(index);
            let metrics = generation.node(index);
            document.nodes.push(Node {
                id: node.name.clone(),
                kind: node.kind.clone(),
                role: role(node),
                fragment: plan.fragments[node.fragment].name.clone(),
                cameras: node
                    .cameras
                    .iter()
                    .map(|camera| plan.cameras[*camera].name.clone())
                    .collect(),
                rows: node.output.as_ref().map(|rows| rows.name()),
                errors: metrics.errors.load(Ordering::Relaxed),
                queue: metrics.queue.load(Ordering::Relaxed),
                rate: rounded(answers),
                p50_ms: millis(p50_us),
                p99_ms: millis(p99_us),
            });
            for input in &node.inputs {
                let group = |name: &String| {
                    let of = document
                        .nodes
                        .iter()
                        .find(|node| node.role == "source" && node.id == *name);
                    of.map_or(0.0, |node| node.rate)
                };
                // An edge carries what its origin answers.
                let (
                    from,
                    NodeRate {
                        answers,
                        p50_us,
                        p99_us,
                    },
                ) = match &input.origin {
                    Origin::Group(name) => {
                        let answers = group(name);
                        (
                            name.clone(),
                            NodeRate {
                                answers,
                                ..NodeRate::default()
                            },
                        )
                    }
                    Origin::Node(index) => (plan.nodes[*index].name.clone(), rate(*index)),
                    Origin::ErrorsOf(index) => (plan.nodes[*index].name.clone(), NodeRate::default()),
                    Origin::AllErrors => (ALL_ERRORS.to_owned(), NodeRate::default()),
                };
                document.edges.push(Edge {
                    from,
                    to: node.name.clone(),
                    port: input.port.clone(),
                    rows: input.rows.name(),
                    align: input.align,
                    rate: rounded(answers),
                    p50_ms: millis(p50_us),
                    p99_ms: millis(p99_us),
                });
            }
        }
        if document.edges.iter().any(|edge| edge.from == ALL_ERRORS) {
            let all = Node {
                id: ALL_ERRORS.into(),
                kind: "errors".into(),
                role: "errors",
                fragment: ALL_ERRORS.into(),
                cameras: Vec::new(),
                rows: Some("errors"),
                errors: 0,
                queue: 0,
                rate: 0.0,
                p50_ms: 0.0,
                p99_ms: 0.0,
            };
            document.nodes.push(all);
        }
        document
    }
}
