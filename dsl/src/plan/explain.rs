//! The plan as people read it.

use std::fmt::Write;

use super::{Align, InputPlan, NodePlan, OnError, Origin, Plan, Shape};
use crate::expr::columns_seen;
use crate::graph::server::ServerParams;
use crate::params::{ParamValues, Params, ParamsSchema};
use crate::port::{Catalogue, Role};
use crate::value::format_duration;

/// One line a camera, zone, model and node; of parameters those that differ from their defaults.
pub fn explain(plan: &Plan, catalogue: &dyn Catalogue) -> String {
    let mut out = String::new();
    write_plan(&mut out, plan, catalogue).expect("a string takes any text");
    out
}

fn write_plan(out: &mut String, plan: &Plan, catalogue: &dyn Catalogue) -> std::fmt::Result {
    writeln!(out, "plan {}", &plan.hash[..12])?;
    writeln!(out, "cameras")?;
    for camera in &plan.cameras {
        let own = catalogue
            .find(Role::Source, &camera.kind)
            .map(|spec| changed(&camera.params, &spec.params))
            .unwrap_or_default();
        let common = changed(&camera.common, catalogue.camera_params());
        writeln!(
            out,
            "  {}.{} = {}{own}{common} -> {}",
            camera.group,
            camera.name,
            camera.kind,
            camera.output.name()
        )?;
    }
    if !plan.models.is_empty() {
        writeln!(out, "models")?;
    }
    for (name, model) in &plan.models {
        writeln!(
            out,
            "  {name} = {}{}",
            model.path.display(),
            changed(&model.params, catalogue.model_params())
        )?;
    }
    if !plan.zones.is_empty() {
        writeln!(out, "zones")?;
    }
    for zone in &plan.zones {
        let shape = match &zone.shape {
            Shape::Polygon(corners) => format!("polygon of {} corners", corners.len()),
            Shape::Line { forward, backward, .. } => format!("line {forward}/{backward}"),
        };
        writeln!(out, "  {} = {shape} on {}", zone.name, cameras(plan, &zone.cameras))?;
    }
    if let Some(server) = &plan.server {
        writeln!(out, "server{}", changed(server, &ServerParams::schema()))?;
    }
    for fragment in &plan.fragments {
        writeln!(out, "{}", fragment.name)?;
        for index in &fragment.nodes {
            write_node(out, plan, &plan.nodes[*index], catalogue)?;
        }
    }
    Ok(())
}

fn write_node(out: &mut String, plan: &Plan, node: &NodePlan, catalogue: &dyn Catalogue) -> std::fmt::Result {
    let spec = catalogue.find(node.role, &node.kind);
    let params = |values: &ParamValues| spec.map(|spec| changed(values, &spec.params)).unwrap_or_default();
    let inputs = node
        .inputs
        .iter()
        .map(|input| input_text(plan, input))
        .collect::<Vec<_>>()
        .join(", ");
    write!(out, "  {} = {}({inputs}){}", node.name, node.kind, params(&node.params))?;
    if let Some(output) = &node.output {
        write!(out, " -> {}", output.name())?;
    }
    write!(out, " for {}", cameras(plan, &node.cameras))?;
    match node.on_error {
        OnError::Skip => writeln!(out)?,
        OnError::Restart => writeln!(out, ", on error restart")?,
        OnError::Stop => writeln!(out, ", on error stop")?,
    }
    for (camera, values) in &node.overrides {
        let differing = values
            .iter()
            .filter(|(name, value)| node.params.get(*name) != Some(value));
        let text = differing
            .map(|(name, value)| format!(" {name}={value}"))
            .collect::<String>();
        writeln!(out, "    for {camera}:{text}")?;
    }
    let (Some(query), Some(input)) = (&node.query, node.inputs.first()) else {
        return Ok(());
    };
    let columns = columns_seen(&input.rows);
    if let Some(filter) = &query.filter {
        writeln!(out, "    where {}", filter.to_sql(&columns))?;
    }
    let (size, every) = (format_duration(query.window.size), format_duration(query.window.every));
    writeln!(
        out,
        "    window {size} every {every}, retained {}",
        format_duration(query.retain)
    )?;
    if !query.group_by.is_empty() {
        let groups: Vec<&str> = query.group_by.iter().map(|column| column.name.as_str()).collect();
        writeln!(out, "    group by {}", groups.join(", "))?;
    }
    for (name, aggregate) in &query.select {
        writeln!(out, "    {name} = {}", aggregate.to_sql(&columns))?;
    }
    Ok(())
}

fn input_text(plan: &Plan, input: &InputPlan) -> String {
    let from = match &input.origin {
        Origin::Group(group) => group.clone(),
        Origin::Node(index) => plan.nodes[*index].name.clone(),
        Origin::ErrorsOf(index) => format!("{}.errors", plan.nodes[*index].name),
        Origin::AllErrors => "*.errors".into(),
    };
    let align = if input.align == Align::Latest { " latest" } else { "" };
    format!("{}: {from}{align}", input.port)
}

fn cameras(plan: &Plan, indices: &[usize]) -> String {
    match indices {
        [] => "no camera".into(),
        [.., _, _, _, _, _, _, _] => format!("{} cameras", indices.len()),
        few => few
            .iter()
            .map(|index| plan.cameras[*index].name.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The parameters that are not as their schema has them by default, in the schema's order.
fn changed(values: &ParamValues, schema: &ParamsSchema) -> String {
    let given = schema
        .params
        .iter()
        .filter_map(|spec| values.get(&spec.name).map(|value| (spec, value)));
    let differing = given.filter(|(spec, value)| spec.default.as_ref() != Some(*value));
    differing
        .map(|(spec, value)| format!(" {}={value}", spec.name))
        .collect()
}
