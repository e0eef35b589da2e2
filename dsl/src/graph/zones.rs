//! `zones camera=NAME | cameras=GROUP { polygon NAME x y ...; line NAME ax ay bx by ... }`

use super::{Graph, Reader};
use crate::diagnostic::{Diagnostic, code};
use crate::document::{Entry, Literal, Node};
use crate::plan::{Shape, Units};
use crate::source::{Named, Span};
use crate::suggest;

/// A polygon or line with the cameras on whose pictures it lies.
#[derive(Debug)]
pub struct Zone {
    /// Its name.
    pub name: Named,
    /// `camera=` or `cameras=`.
    pub on: On,
    /// Its corners.
    pub shape: Shape,
    /// What its coordinates mean.
    pub units: Units,
}

/// Where a zone lies.
#[derive(Clone, Debug)]
pub enum On {
    /// On one camera's picture.
    Camera(Named),
    /// On the pictures of all cameras of a group.
    Group(Named),
}

/// Corners of a polygon: crossings are looked for between each two edges.
const MAX_CORNERS: usize = 1_000;

impl<'a> Reader<'a> {
    /// Reads a `zones` block.
    pub fn read_zones(&mut self, node: &Node, graph: &mut Graph<'a>) {
        self.only_properties(node, &["camera", "cameras", "units"]);
        self.no_more_arguments(node, 0);
        let (camera, cameras) = (self.name_property(node, "camera"), self.name_property(node, "cameras"));
        let on = match (camera, cameras) {
            (Some(camera), None) => Some(On::Camera(camera)),
            (None, Some(group)) => Some(On::Group(group)),
            (Some(camera), Some(group)) => {
                let message = "zones lie on one camera or on a group, not on both";
                self.report(
                    Diagnostic::error(code::DUPLICATE_PROPERTY, message)
                        .label(group.span, "a group")
                        .label(camera.span, "a camera"),
                );
                None
            }
            (None, None) => {
                if node.prop("camera").is_none() && node.prop("cameras").is_none() {
                    self.report(
                        Diagnostic::error(code::MISSING_PARAMETER, "zones of which camera?")
                            .label(node.name.span, "without a camera")
                            .help("write `zones camera=NAME` or `zones cameras=GROUP`"),
                    );
                }
                None
            }
        };
        let units = self.read_units(node);
        if node.children.is_empty() {
            self.report(Diagnostic::error(code::EMPTY, "`zones` declares none").label(node.name.span, "empty"));
        }
        for child in &node.children {
            let shape = match child.name.value.as_str() {
                "polygon" => self.read_polygon(child, units),
                "line" => self.read_line(child, units),
                _ => {
                    self.unknown_node(&child.name, "in `zones`", &["polygon", "line"]);
                    None
                }
            };
            if let (Some((name, shape)), Some(on)) = (shape, &on) {
                graph.zones.push(Zone {
                    name,
                    on: on.clone(),
                    shape,
                    units,
                });
            }
        }
    }

    fn read_units(&mut self, node: &Node) -> Units {
        match self.name_property(node, "units") {
            Some(name) if name.value == "pixels" => Units::Pixels,
            Some(name) if name.value != "ratio" => {
                self.report(
                    Diagnostic::error(
                        code::UNKNOWN_CHOICE,
                        format!("`{}` is no choice for `units`", name.value),
                    )
                    .label(name.span, "unknown")
                    .maybe_help(suggest::help(&name.value, "choices", ["pixels", "ratio"])),
                );
                Units::Pixels
            }
            _ => Units::Ratio,
        }
    }

    fn read_polygon(&mut self, node: &Node, units: Units) -> Option<(Named, Shape)> {
        self.only_properties(node, &[]);
        self.no_children(node);
        let name = self.declared_name(node, "a polygon")?;
        let (corners, spans) = self.points(node, units)?;
        let (corners, spans) = without_repeats(corners, &spans);
        let bad =
            |message: String, span: Span, label: &str| Diagnostic::error(code::BAD_SHAPE, message).label(span, label);
        let whole = spans.iter().copied().reduce(Span::to).unwrap_or(name.span);
        if corners.len() < 3 {
            self.report(
                bad(
                    format!("the polygon `{}` has {} distinct corners", name.value, corners.len()),
                    whole,
                    "too few",
                )
                .help("a polygon has at least three corners: x y  x y  x y"),
            );
            return None;
        }
        if corners.len() > MAX_CORNERS {
            self.report(bad(
                format!("the polygon `{}` has more than {MAX_CORNERS} corners", name.value),
                whole,
                "too many",
            ));
            return None;
        }
        if let Some((first, second)) = crossing(&corners) {
            let edge = |index: usize| (index + 1, (index + 1) % corners.len() + 1);
            let ((a, b), (c, d)) = (edge(first), edge(second));
            let span = |index: usize| {
                spans[index].to(if index + 1 < spans.len() {
                    spans[index + 1]
                } else {
                    spans[index]
                })
            };
            self.report(
                bad(
                    format!(
                        "the polygon `{}` crosses itself: edge {a}-{b} meets edge {c}-{d}",
                        name.value
                    ),
                    span(first),
                    &format!("edge {a}-{b}"),
                )
                .label(span(second), format!("edge {c}-{d}"))
                .help("name the corners in their order around the polygon"),
            );
            return None;
        }
        if area(&corners).abs() <= f64::EPSILON {
            self.report(bad(
                format!("the polygon `{}` has no area", name.value),
                whole,
                "all on one line",
            ));
            return None;
        }
        Some((name, Shape::Polygon(corners)))
    }

    fn read_line(&mut self, node: &Node, units: Units) -> Option<(Named, Shape)> {
        self.only_properties(node, &["forward", "backward"]);
        self.no_children(node);
        let name = self.declared_name(node, "a line")?;
        let word = |word: Option<Named>, default: &str| word.map_or_else(|| default.to_owned(), |word| word.value);
        let forward = self.name_property(node, "forward");
        let backward = self.name_property(node, "backward");
        let same = forward
            .as_ref()
            .zip(backward.as_ref())
            .filter(|(forward, backward)| forward.value == backward.value);
        if let Some((forward, backward)) = same {
            self.report(
                Diagnostic::error(code::BAD_SHAPE, "both directions of the line have one name")
                    .label(backward.span, "the same")
                    .label(forward.span, "first"),
            );
        }
        let (points, spans) = self.points(node, units)?;
        let &[a, b] = points.as_slice() else {
            let whole = spans.iter().copied().reduce(Span::to).unwrap_or(name.span);
            self.report(
                Diagnostic::error(
                    code::BAD_SHAPE,
                    format!("the line `{}` has {} points", name.value, points.len()),
                )
                .label(whole, "two are needed")
                .help("write line NAME ax ay  bx by"),
            );
            return None;
        };
        if a == b {
            let message = format!("the line `{}` begins and ends at one point", name.value);
            self.report(Diagnostic::error(code::BAD_SHAPE, message).label(spans[0].to(spans[1]), "the same point"));
            return None;
        }
        let shape = Shape::Line {
            ends: [a, b],
            forward: word(forward, "forward"),
            backward: word(backward, "backward"),
        };
        Some((name, shape))
    }

    /// The points behind a name, each with its place.
    fn points(&mut self, node: &Node, units: Units) -> Option<(Vec<[f64; 2]>, Vec<Span>)> {
        let entries = &node.args[1..];
        // The first that is wrong speaks for the others: units are mistaken for all of them at once.
        let numbers = entries
            .iter()
            .map(|entry| coordinate(entry, units))
            .collect::<Result<Vec<f64>, _>>();
        if let Some(last) = entries.last().filter(|_| entries.len() % 2 == 1) {
            self.report(
                Diagnostic::error(
                    code::BAD_SHAPE,
                    format!("`{}` ends with half a point", node.args[0].text().unwrap_or_default()),
                )
                .label(last.span, "an x without its y"),
            );
            return None;
        }
        let numbers = numbers.map_err(|diagnostic| self.report(diagnostic)).ok()?;
        let points = numbers.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
        let spans = entries
            .chunks_exact(2)
            .map(|pair| pair[0].span.to(pair[1].span))
            .collect();
        Some((points, spans))
    }
}

fn coordinate(entry: &Entry, units: Units) -> Result<f64, Diagnostic> {
    let number = match entry.value {
        Literal::Int(number) => number as f64,
        Literal::Float(number) if number.is_finite() => number,
        ref other => {
            let message = format!("a coordinate is a finite number, not {}", other.describe());
            return Err(Diagnostic::error(code::WRONG_TYPE, message)
                .label(entry.span, "should be a number")
                .help("write the numbers with spaces between: 0.1 0.2"));
        }
    };
    if units == Units::Ratio && !(0.0..=1.0).contains(&number) {
        return Err(Diagnostic::error(code::OUT_OF_RANGE, format!("{number} is no ratio of the picture"))
            .label(entry.span, "not from 0 to 1")
            .help("coordinates are ratios of the picture's width and height; for pixels write units=pixels behind `zones`"));
    }
    Ok(number)
}

/// Drops corners equal to the one before, around the polygon.
fn without_repeats(corners: Vec<[f64; 2]>, spans: &[Span]) -> (Vec<[f64; 2]>, Vec<Span>) {
    let count = corners.len();
    let kept = (0..count).filter(|index| corners[*index] != corners[(index + count - 1) % count] || (count == 1));
    kept.map(|index| (corners[index], spans[index])).unzip()
}

fn area(corners: &[[f64; 2]]) -> f64 {
    let next = corners.iter().cycle().skip(1);
    corners
        .iter()
        .zip(next)
        .map(|(a, b)| a[0] * b[1] - b[0] * a[1])
        .sum::<f64>()
        / 2.0
}

/// On which side of a-b the point c lies.
fn side(a: [f64; 2], b: [f64; 2], c: [f64; 2]) -> f64 {
    let turn = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
    if turn == 0.0 { 0.0 } else { turn.signum() }
}

fn within(a: [f64; 2], b: [f64; 2], c: [f64; 2]) -> bool {
    let between = |axis: usize| (a[axis].min(b[axis])..=a[axis].max(b[axis])).contains(&c[axis]);
    side(a, b, c) == 0.0 && between(0) && between(1)
}

/// Two edges that have a point in common which is not a shared corner.
fn crossing(corners: &[[f64; 2]]) -> Option<(usize, usize)> {
    let count = corners.len();
    let edge = |index: usize| (corners[index], corners[(index + 1) % count]);
    for first in 0..count {
        let (a, b) = edge(first);
        for second in first + 1..count {
            let (c, d) = edge(second);
            let meets = if second == first + 1 {
                count > 3 && (within(a, b, d) || within(c, d, a))
            } else if first == 0 && second == count - 1 {
                count > 3 && (within(a, b, c) || within(c, d, b))
            } else {
                let straddles = side(a, b, c) != side(a, b, d) && side(c, d, a) != side(c, d, b);
                straddles || within(a, b, c) || within(a, b, d) || within(c, d, a) || within(c, d, b)
            };
            if meets {
                return Some((first, second));
            }
        }
    }
    None
}
