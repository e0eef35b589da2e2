//! Names in parameters: models, cameras, polygons and lines that must be declared.

use std::collections::{BTreeSet, HashMap};

use super::{Shape, ZonePlan};
use crate::diagnostic::{Diagnostic, code};
use crate::graph::given::Given;
use crate::graph::names::{Names, Thing};
use crate::graph::{Graph, Reader};
use crate::params::{ParamType, ParamValues, ParamsSchema, RefKind};
use crate::source::Span;
use crate::suggest;
use crate::value::Value;

/// Zones by name.
pub struct Zones<'z> {
    plans: &'z [ZonePlan],
    by_name: HashMap<&'z str, Vec<usize>>,
}

/// What names may refer to.
pub struct Declared<'d, 'a> {
    /// The graph.
    pub graph: &'d Graph<'a>,
    /// Its one namespace.
    pub names: &'d Names,
    /// Its polygons and lines.
    pub zones: Zones<'d>,
}

/// What of a `zones` block a parameter takes.
#[derive(Clone, Copy)]
enum ZoneKind {
    Polygon,
    Line,
    Any,
}

impl ZoneKind {
    fn fits(self, shape: &Shape) -> bool {
        match self {
            ZoneKind::Polygon => matches!(shape, Shape::Polygon(_)),
            ZoneKind::Line => matches!(shape, Shape::Line { .. }),
            ZoneKind::Any => true,
        }
    }

    /// The word for it, the plural, and what else a name may turn out to be.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            ZoneKind::Polygon => ("polygon", "polygons", "line"),
            ZoneKind::Line => ("line", "lines", "polygon"),
            ZoneKind::Any => ("polygon or line", "polygons and lines", "shape"),
        }
    }
}

/// A node's parameters and the cameras for which they hold.
pub struct Scope<'s> {
    /// The node's name.
    pub owner: &'s str,
    /// Where it stands.
    pub span: Span,
    /// The cameras.
    pub cameras: &'s [usize],
    /// The parameters.
    pub values: &'s ParamValues,
    /// Where they were given.
    pub given: &'s Given,
}

impl<'z> Zones<'z> {
    pub fn of(plans: &'z [ZonePlan]) -> Self {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, zone) in plans.iter().enumerate() {
            by_name.entry(&zone.name).or_default().push(index);
        }
        Zones { plans, by_name }
    }

    fn names(&self, kind: ZoneKind) -> Vec<&str> {
        let of_kind = self.plans.iter().filter(|zone| kind.fits(&zone.shape));
        of_kind
            .map(|zone| zone.name.as_str())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }
}

/// Checks the references among a node's parameters for the cameras of `scope`.
pub fn check(reader: &mut Reader, declared: &Declared, schema: &ParamsSchema, scope: &Scope) {
    for spec in &schema.params {
        let Some(kind) = referent(&spec.ty) else { continue };
        let place = scope.given.0.get(&spec.name).map(|value| value.span);
        for text in scope.values.get(&spec.name).map(texts).unwrap_or_default() {
            let span = place.map_or(scope.span, |place| within(reader.source.slice(place), text, place));
            match kind {
                RefKind::Model => must_be(reader, declared.names, text, span, "model", |thing| {
                    matches!(thing, Thing::Model(_))
                }),
                RefKind::Camera => must_be(reader, declared.names, text, span, "camera", |thing| {
                    matches!(thing, Thing::Camera(_))
                }),
                RefKind::Zone => zone(reader, declared, text, span, ZoneKind::Polygon, scope),
                RefKind::Line => zone(reader, declared, text, span, ZoneKind::Line, scope),
                RefKind::Shape => zone(reader, declared, text, span, ZoneKind::Any, scope),
            }
        }
    }
}

/// What a parameter refers to, alone or in a list.
fn referent(ty: &ParamType) -> Option<RefKind> {
    match ty {
        ParamType::Ref(kind) => Some(*kind),
        ParamType::List(item) => referent(item),
        _ => None,
    }
}

/// The names in a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Text(text) => vec![text],
        Value::List(list) => list.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// The place of one name in the text of a list.
fn within(written: &str, name: &str, place: Span) -> Span {
    let whole = |at: usize| {
        let letter = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
        !written[..at].ends_with(letter) && !written[at + name.len()..].starts_with(letter)
    };
    match written.match_indices(name).map(|(at, _)| at).find(|at| whole(*at)) {
        Some(at) if !name.is_empty() => Span::new(place.start + at, place.start + at + name.len()),
        _ => place,
    }
}

fn must_be(reader: &mut Reader, names: &Names, text: &str, span: Span, what: &str, fits: impl Fn(Thing) -> bool) {
    let help = match names.get(text) {
        Some(thing) if fits(thing) => return,
        Some(thing) => Some(format!("it is {}", thing.noun())),
        None => suggest::help(text, &format!("{what}s"), reader.words(|| names.of(fits))),
    };
    let help = help.or_else(|| (what == "model").then(|| format!("declare it: `model {text} \"path.onnx\"`")));
    reader.report(
        Diagnostic::error(code::UNKNOWN_NAME, format!("there is no {what} `{text}`"))
            .label(span, "unknown")
            .maybe_help(help),
    );
}

fn zone(reader: &mut Reader, declared: &Declared, text: &str, span: Span, kind: ZoneKind, scope: &Scope) {
    let Declared { graph, zones, .. } = declared;
    let (what, whats, other) = kind.words();
    let known = zones.by_name.get(text).map(Vec::as_slice).unwrap_or_default();
    let of_kind: Vec<&ZonePlan> = known
        .iter()
        .map(|index| &zones.plans[*index])
        .filter(|zone| kind.fits(&zone.shape))
        .collect();
    if of_kind.is_empty() {
        let help = if known.is_empty() {
            suggest::help(text, whats, reader.words(|| zones.names(kind)))
                .or_else(|| Some("declare it in a `zones` block".into()))
        } else {
            Some(format!("it is a {other}"))
        };
        return reader.report(
            Diagnostic::error(code::UNKNOWN_NAME, format!("there is no {what} `{text}`"))
                .label(span, "unknown")
                .maybe_help(help),
        );
    }
    let covered: BTreeSet<usize> = of_kind.iter().flat_map(|zone| zone.cameras.iter().copied()).collect();
    let missing: Vec<&str> = scope
        .cameras
        .iter()
        .filter(|camera| !covered.contains(camera))
        .map(|camera| graph.cameras[*camera].name.value.as_str())
        .collect();
    if missing.is_empty() || covered.is_empty() {
        return;
    }
    let few = match missing.as_slice() {
        [.., _, _, _, _, _] => format!("{} and {} more", missing[..3].join(", "), missing.len() - 3),
        few => few.join(", "),
    };
    let has: Vec<&str> = covered
        .iter()
        .take(4)
        .map(|camera| graph.cameras[*camera].name.value.as_str())
        .collect();
    if missing.len() == scope.cameras.len() {
        return reader.report(
            Diagnostic::error(
                code::UNKNOWN_NAME,
                format!("no camera of `{}` has the {what} `{text}`", scope.owner),
            )
            .label(span, "on none of its pictures")
            .help(format!("it lies on {}; its cameras are {few}", has.join(", "))),
        );
    }
    reader.report(
        Diagnostic::warning(
            code::ZONE_NOT_EVERYWHERE,
            format!("the {what} `{text}` does not lie on every picture"),
        )
        .label(span, format!("not on {few}"))
        .help(format!("for these cameras `{}` never sees it", scope.owner)),
    );
}

/// Models that the references of a node's parameters name.
pub fn models_of<'p>(schema: &ParamsSchema, all: impl Iterator<Item = &'p ParamValues>) -> BTreeSet<&'p str> {
    named_by(schema, all, |kind| kind == RefKind::Model)
}

/// What the references of a node's parameters name, of the kinds that `which` picks.
pub fn named_by<'p>(
    schema: &ParamsSchema,
    all: impl Iterator<Item = &'p ParamValues>,
    which: impl Fn(RefKind) -> bool,
) -> BTreeSet<&'p str> {
    let picked = |name: &String| schema.get(name).and_then(|spec| referent(&spec.ty)).is_some_and(&which);
    all.flatten()
        .filter(|(name, _)| picked(name))
        .flat_map(|(_, value)| texts(value))
        .collect()
}
