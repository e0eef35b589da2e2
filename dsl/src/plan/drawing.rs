//! The plan as a picture: SVG in layers from cameras to sinks.
//!
//! Layers by longest path, edges over several layers bent through invisible points of their own, order within a layer by
//! barycentres (Sugiyama, Tagawa and Toda, 1981, steps one to three). Each node and edge carries its name as a data
//! attribute and each edge a place for text, so that a page can write live figures into the same picture. Colours are
//! presentation attributes, which a strict content security policy lets through, each under a class that a page may style.

use std::collections::HashMap;
use std::fmt::Write;

use super::{Origin, Plan};
use crate::port::{Role, RowKind};

const BOX: (f64, f64) = (160.0, 44.0);
const GAP: (f64, f64) = (88.0, 24.0);
const MARGIN: f64 = 16.0;
/// Height of a layer's slot that an edge merely passes through.
const PASSING: f64 = 10.0;
/// Passes over all layers, down and up by turns; the order has settled after a few.
const SWEEPS: usize = 8;

/// What stands in a layer's slot.
#[derive(Clone, PartialEq)]
enum Slot {
    Shown(Shown),
    /// An edge on its way through.
    Passing,
}

/// A box.
#[derive(Clone, PartialEq)]
struct Shown {
    name: String,
    kind: String,
    class: &'static str,
}

/// An edge from box to box, as the plan has it.
struct Arrow {
    from: usize,
    to: usize,
    rows: &'static str,
}

#[derive(Default)]
struct Layout {
    slots: Vec<Slot>,
    layer: Vec<usize>,
    arrows: Vec<Arrow>,
    /// Each arrow's slots from its first to its last box.
    ways: Vec<Vec<usize>>,
    /// Slots of each layer, from top to bottom.
    layers: Vec<Vec<usize>>,
    /// Each slot's middle.
    y: Vec<f64>,
}

/// Draws a plan.
pub fn draw(plan: &Plan) -> String {
    let mut layout = Layout::of(plan);
    layout.trail();
    layout.bend();
    layout.order();
    layout.place();
    layout.svg()
}

impl Layout {
    fn of(plan: &Plan) -> Self {
        let mut layout = Layout::default();
        let mut groups: HashMap<&str, usize> = HashMap::new();
        for camera in &plan.cameras {
            if !groups.contains_key(camera.group.as_str()) {
                let count = plan.cameras.iter().filter(|other| other.group == camera.group).count();
                let kind = match count {
                    1 => format!("{} camera", camera.kind),
                    _ => format!("{count} cameras"),
                };
                groups.insert(&camera.group, layout.add(&camera.group, kind, "source", 0));
            }
        }
        let mut nodes = Vec::new();
        for node in &plan.nodes {
            let mut sources: Vec<(usize, &'static str)> = Vec::new();
            for input in &node.inputs {
                let rows = input.rows.name();
                match &input.origin {
                    Origin::Group(group) => sources.extend(groups.get(group.as_str()).map(|slot| (*slot, rows))),
                    Origin::Node(index) => sources.push((nodes[*index], rows)),
                    Origin::ErrorsOf(index) => sources.push((nodes[*index], RowKind::Error.name())),
                    // An edge from everywhere tells nothing.
                    Origin::AllErrors => {}
                }
            }
            let layer = sources
                .iter()
                .map(|(slot, _)| layout.layer[*slot] + 1)
                .max()
                .unwrap_or(1);
            let class = match node.role {
                Role::Source => "source",
                Role::Operator => "operator",
                Role::Query => "query",
                Role::Write | Role::Publish => "sink",
            };
            let slot = layout.add(&node.name, node.kind.clone(), class, layer);
            nodes.push(slot);
            layout
                .arrows
                .extend(sources.into_iter().map(|(from, rows)| Arrow { from, to: slot, rows }));
        }
        layout
    }

    fn add(&mut self, name: &str, kind: String, class: &'static str, layer: usize) -> usize {
        self.slots.push(Slot::Shown(Shown {
            name: name.into(),
            kind,
            class,
        }));
        self.layer.push(layer);
        self.slots.len() - 1
    }

    /// Puts what reads from everywhere, and so from nothing in particular, behind everything else.
    fn trail(&mut self) {
        let deepest = self.layer.iter().copied().max().unwrap_or(0);
        for slot in 0..self.slots.len() {
            let read = self.arrows.iter().any(|arrow| arrow.to == slot);
            if !read && self.layer[slot] > 0 {
                self.layer[slot] = deepest;
            }
        }
    }

    /// Gives every edge a slot in each layer that it passes, and every layer its slots.
    fn bend(&mut self) {
        for arrow in &self.arrows {
            let mut way = vec![arrow.from];
            for layer in self.layer[arrow.from] + 1..self.layer[arrow.to] {
                self.slots.push(Slot::Passing);
                self.layer.push(layer);
                way.push(self.slots.len() - 1);
            }
            way.push(arrow.to);
            self.ways.push(way);
        }
        let depth = self.layer.iter().max().map_or(0, |deepest| deepest + 1);
        self.layers = vec![Vec::new(); depth];
        for (slot, layer) in self.layer.iter().enumerate() {
            self.layers[*layer].push(slot);
        }
    }

    /// Orders each layer by the mean place of what its slots are joined to in the layer before, then after.
    fn order(&mut self) {
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); self.slots.len()];
        let mut after = before.clone();
        for pair in self.ways.iter().flat_map(|way| way.windows(2)) {
            before[pair[1]].push(pair[0]);
            after[pair[0]].push(pair[1]);
        }
        let mut place = vec![0.0; self.slots.len()];
        let number = |layer: &[usize], place: &mut Vec<f64>| {
            layer.iter().enumerate().for_each(|(at, slot)| place[*slot] = at as f64);
        };
        self.layers.iter().for_each(|layer| number(layer, &mut place));
        for sweep in 0..SWEEPS {
            let down = sweep % 2 == 0;
            let joined = if down { &before } else { &after };
            let layers = self.layers.len();
            for step in 0..layers {
                let layer = &mut self.layers[if down { step } else { layers - 1 - step }];
                let mean = |slot: &usize| match joined[*slot].as_slice() {
                    [] => place[*slot],
                    others => others.iter().map(|other| place[*other]).sum::<f64>() / others.len() as f64,
                };
                let mut keyed: Vec<(f64, usize)> = layer.iter().map(|slot| (mean(slot), *slot)).collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
                *layer = keyed.into_iter().map(|(_, slot)| slot).collect();
                number(layer, &mut place);
            }
        }
    }

    fn height(&self, slot: usize) -> f64 {
        match self.slots[slot] {
            Slot::Shown(_) => BOX.1,
            Slot::Passing => PASSING,
        }
    }

    /// Stacks each layer and centres it beside the tallest.
    fn place(&mut self) {
        let tall = |layer: &Vec<usize>| {
            let boxes: f64 = layer.iter().map(|slot| self.height(*slot)).sum();
            boxes + GAP.1 * layer.len().saturating_sub(1) as f64
        };
        let heights: Vec<f64> = self.layers.iter().map(tall).collect();
        let tallest = heights.iter().copied().fold(0.0, f64::max);
        let mut y = vec![0.0; self.slots.len()];
        for (layer, height) in self.layers.iter().zip(&heights) {
            let mut top = MARGIN + (tallest - height) / 2.0;
            for slot in layer {
                y[*slot] = top + self.height(*slot) / 2.0;
                top += self.height(*slot) + GAP.1;
            }
        }
        self.y = y;
    }

    fn left(&self, slot: usize) -> f64 {
        MARGIN + self.layer[slot] as f64 * (BOX.0 + GAP.0)
    }

    fn svg(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a string takes any text");
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let bottom = (0..self.slots.len()).map(|slot| self.y[slot] + self.height(slot) / 2.0);
        let height = bottom.fold(0.0, f64::max) + MARGIN;
        let width = 2.0 * MARGIN + self.layers.len() as f64 * (BOX.0 + GAP.0) - GAP.0;
        let width = width.max(2.0 * MARGIN);
        writeln!(
            out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="graph" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" font-family="system-ui, sans-serif" role="img" aria-label="The graph">"#
        )?;
        for (arrow, way) in self.arrows.iter().zip(&self.ways) {
            self.write_edge(out, arrow, way)?;
        }
        for (slot, shown) in self.slots.iter().enumerate() {
            if let Slot::Shown(shown) = shown {
                self.write_box(out, slot, shown)?;
            }
        }
        writeln!(out, "</svg>")
    }

    fn write_edge(&self, out: &mut String, arrow: &Arrow, way: &[usize]) -> std::fmt::Result {
        let mut path = String::new();
        let mut at = (self.left(way[0]) + BOX.0, self.y[way[0]]);
        write!(path, "M{:.0} {:.0}", at.0, at.1)?;
        for slot in &way[1..] {
            let to = (self.left(*slot), self.y[*slot]);
            let middle = f64::midpoint(at.0, to.0);
            write!(
                path,
                " C{middle:.0} {:.0} {middle:.0} {:.0} {:.0} {:.0}",
                at.1, to.1, to.0, to.1
            )?;
            at = to;
            if self.slots[*slot] == Slot::Passing {
                at.0 += BOX.0;
                write!(path, " L{:.0} {:.0}", at.0, at.1)?;
            }
        }
        // The last bend is between the last two slots: text stands above its middle.
        let last = way[way.len() - 2];
        let text = (at.0 - GAP.0 / 2.0, f64::midpoint(self.y[last], at.1) - 5.0);
        let name = |slot: usize| match &self.slots[slot] {
            Slot::Shown(shown) => escaped(&shown.name),
            Slot::Passing => String::new(),
        };
        writeln!(
            out,
            r##"<g class="edge" data-from="{}" data-to="{}"><path d="{path}" fill="none" stroke="#8a94a6" stroke-width="1.5"/><path d="M{x:.0} {y:.0} l-7 -4 v8 z" fill="#8a94a6"/><text x="{tx:.0}" y="{ty:.0}" font-size="10" text-anchor="middle" fill="#6b7585" stroke="#ffffff" stroke-width="3" paint-order="stroke">{rows}</text></g>"##,
            name(arrow.from),
            name(arrow.to),
            x = at.0,
            y = at.1,
            tx = text.0,
            ty = text.1,
            rows = escaped(arrow.rows),
        )
    }

    fn write_box(&self, out: &mut String, slot: usize, shown: &Shown) -> std::fmt::Result {
        let stroke = match shown.class {
            "source" => "#2f7d5b",
            "query" => "#9a5b13",
            "sink" => "#6a4fb0",
            _ => "#2b6cb0",
        };
        let (x, y) = (self.left(slot), self.y[slot] - BOX.1 / 2.0);
        let (name, kind) = (escaped(&shown.name), escaped(&shown.kind));
        writeln!(
            out,
            r##"<g class="node {class}" data-name="{name}"><title>{name} ({kind})</title><rect x="{x:.0}" y="{y:.0}" width="{w:.0}" height="{h:.0}" rx="7" fill="#ffffff" stroke="{stroke}" stroke-width="1.5"/><text class="name" x="{tx:.0}" y="{ty:.0}" font-size="12" font-weight="600" fill="#1b2430">{label}</text><text class="kind" x="{tx:.0}" y="{ky:.0}" font-size="10.5" fill="#6b7585">{kind}</text></g>"##,
            class = shown.class,
            w = BOX.0,
            h = BOX.1,
            tx = x + 10.0,
            ty = y + 18.0,
            ky = y + 34.0,
            label = escaped(&shortened(&shown.name)),
        )
    }
}

/// A name that fits its box: the end tells more than the beginning.
fn shortened(name: &str) -> String {
    const FITS: usize = 23;
    match name.chars().count() {
        count if count > FITS => format!("…{}", name.chars().skip(count - FITS + 1).collect::<String>()),
        _ => name.into(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
