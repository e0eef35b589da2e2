//! `flowrun ops`: the operators and blocks there are, from their own declarations.

use clap::Args;
use flowrun_dsl::graph::server::ServerParams;
use flowrun_dsl::params::{Change, ParamSpec, ParamType, Params, ParamsSchema, RefKind};
use flowrun_dsl::port::{Catalogue, OperatorSpec, PortRows, Role};
use flowrun_engine::registry::Registry;
use serde::Serialize;

use crate::cmd::{Exit, Format};

#[derive(Args)]
pub struct Ops {
    /// The operator to describe; without it all are listed
    name: Option<String>,
    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What can be asked about.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Operator(&'a OperatorSpec),
    /// A node that stands by itself in a graph and computes nothing.
    Block {
        kind: &'static str,
        role: &'static str,
        params: &'a ParamsSchema,
    },
}

impl Entry<'_> {
    fn kind(&self) -> &str {
        match self {
            Entry::Operator(spec) => &spec.kind,
            Entry::Block { kind, .. } => kind,
        }
    }
    fn role(&self) -> &'static str {
        match self {
            Entry::Operator(spec) => role(spec.role),
            Entry::Block { role, .. } => role,
        }
    }
    fn params(&self) -> &ParamsSchema {
        match self {
            Entry::Operator(spec) => &spec.params,
            Entry::Block { params, .. } => params,
        }
    }
}

impl Ops {
    pub fn execute(&self, registry: &Registry) -> Exit {
        let server = ServerParams::schema();
        let block = |kind, params| Entry::Block {
            kind,
            role: "block",
            params,
        };
        let blocks = [block("model", registry.model_params()), block("server", &server)];
        let operators = registry.operators().iter().map(Entry::Operator);
        let wanted: Vec<Entry<'_>> = operators
            .chain(blocks)
            .filter(|entry| self.name.as_ref().is_none_or(|name| name == entry.kind()))
            .collect();
        if wanted.is_empty() {
            let name = self.name.as_deref().unwrap_or_default();
            eprintln!("error: no operator is called `{name}`; `flowrun ops` lists all");
            return Exit::Wrong;
        }
        match (self.format, &self.name) {
            (Format::Json, _) => println!(
                "{}",
                serde_json::to_string_pretty(&wanted).expect("declarations are plain data")
            ),
            (Format::Text, None) => {
                for entry in &wanted {
                    println!("{:<14} {:<9} {}", entry.kind(), entry.role(), summary(entry.params()));
                }
                println!("\n{TEMPLATES}");
            }
            (Format::Text, Some(_)) => wanted.iter().for_each(|entry| describe(entry, registry)),
        }
        Exit::Done
    }
}

/// What no operator says of itself.
const TEMPLATES: &str = "Lines of a flow that are needed more than once: define NAME PARAMETER OTHER=DEFAULT { ... $PARAMETER ... }, \
     then use NAME as=FLOW from=GROUP PARAMETER=VALUE.";

fn role(role: Role) -> &'static str {
    match role {
        Role::Source => "camera",
        Role::Operator => "flow",
        Role::Write => "write",
        Role::Publish => "publish",
        Role::Query => "query",
    }
}

fn summary(params: &ParamsSchema) -> &str {
    let doc = params.doc.as_str();
    let line = doc.lines().next().unwrap_or_default();
    line.split_once(". ")
        .map_or(line, |(first, _)| first)
        .trim_end_matches('.')
}

fn describe(entry: &Entry<'_>, registry: &Registry) {
    println!("{} ({})\n\n{}\n", entry.kind(), entry.role(), entry.params().doc);
    let mut common: &[ParamSpec] = &[];
    if let Entry::Operator(spec) = entry {
        ports(spec);
        if spec.role == Role::Source {
            common = &registry.camera_params().params;
        }
    }
    for param in entry.params().params.iter().chain(common) {
        println!("\n  {}", header(param));
        param.doc.lines().for_each(|line| println!("      {line}"));
    }
    println!();
}

/// What an operator reads and gives.
fn ports(spec: &OperatorSpec) {
    for port in &spec.inputs {
        let optional = if port.required { "" } else { ", optional" };
        println!("  reads {:<10} {}{optional}", port.name, rows(&port.rows));
    }
    if let Some(output) = &spec.output {
        println!("  gives {}", output.name());
    }
    if let Some((param, choices)) = &spec.output_by {
        choices
            .iter()
            .for_each(|(value, output)| println!("  gives {} with {param}={value}", output.name()));
    }
}

fn rows(rows: &PortRows) -> String {
    match rows {
        PortRows::Only(kind) => kind.name().to_owned(),
        PortRows::AnyRows => "rows of any kind".to_owned(),
        PortRows::AnyTable => "table rows".to_owned(),
    }
}

fn header(param: &ParamSpec) -> String {
    let mut text = format!("{} ({})", param.name, type_name(&param.ty));
    match (&param.default, param.optional) {
        (Some(default), _) if default.to_string().is_empty() => {}
        (Some(default), _) => text += &format!(", default {default}"),
        (None, true) => text += ", optional",
        (None, false) => text += ", required",
    }
    match (param.min, param.max) {
        (Some(min), Some(max)) => text += &format!(", {min} to {max}"),
        (Some(min), None) => text += &format!(", at least {min}"),
        (None, Some(max)) => text += &format!(", at most {max}"),
        (None, None) => {}
    }
    match param.change {
        Change::Live => text += ", live",
        Change::Reset => text += ", reset",
        Change::Kept => {}
    }
    text
}

fn type_name(ty: &ParamType) -> String {
    match ty {
        ParamType::Bool => "#true or #false".into(),
        ParamType::Int => "whole number".into(),
        ParamType::Float => "number".into(),
        ParamType::Text => "text".into(),
        ParamType::Choice(choices) => choices.join("|"),
        ParamType::Duration => "duration".into(),
        ParamType::Bitrate => "bitrate".into(),
        ParamType::Bytes => "size".into(),
        ParamType::Path => "path".into(),
        ParamType::Template => "template".into(),
        ParamType::Url => "url".into(),
        ParamType::Secret => "env.NAME".into(),
        ParamType::Ref(RefKind::Zone) => "zone".into(),
        ParamType::Ref(RefKind::Line) => "line".into(),
        ParamType::Ref(RefKind::Shape) => "zone or line".into(),
        ParamType::Ref(RefKind::Model) => "model".into(),
        ParamType::Ref(RefKind::Camera) => "camera".into(),
        ParamType::List(item) => format!("list of {}", type_name(item)),
    }
}
