//! The derive macros: what they declare and read.

use std::path::PathBuf;
use std::time::Duration;

use flowrun_dsl::params::{Change, Choice, ParamSpec, ParamType, ParamValues, Params, Ref, RefKind, Zone};
use flowrun_dsl::schema::{Cell, Column, ColumnType, Row};
use flowrun_dsl::value::Value;

/// What it does.
/// In two lines.
#[derive(Clone, Debug, PartialEq, Params)]
struct Everything {
    /// A file.
    #[param(positional)]
    path: PathBuf,
    /// A share.
    #[param(live, default = "0.5", min = 0.0, max = 1.0)]
    share: f64,
    /// How it is done.
    #[param(reset, default = "round-robin")]
    way_of_doing: Way,
    /// Zones.
    zones: Vec<Ref<Zone>>,
    /// Perhaps a span.
    span: Option<Duration>,
    /// A word of Rust.
    #[param(name = "type", default = "3")]
    r#type: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Choice)]
enum Way {
    RoundRobin,
    Fixed,
}

#[derive(Clone, Debug, PartialEq, Row)]
struct HeatCell {
    column: u32,
    heat: f64,
    name: String,
    since: Duration,
    hot: bool,
}

fn spec(name: &str) -> ParamSpec {
    Everything::schema()
        .get(name)
        .cloned()
        .unwrap_or_else(|| panic!("no parameter {name}"))
}

#[test]
fn fields_become_parameters() {
    let schema = Everything::schema();
    assert_eq!(schema.doc, "What it does.\nIn two lines.");
    let names: Vec<&str> = schema.params.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names, ["path", "share", "way-of-doing", "zones", "span", "type"]);
    assert!(spec("path").positional && spec("path").change == Change::Kept && spec("path").default.is_none());
    let share = spec("share");
    assert_eq!(
        (share.min, share.max, share.change, share.default),
        (Some(0.0), Some(1.0), Change::Live, Some(Value::Float(0.5)))
    );
    let way = spec("way-of-doing");
    assert_eq!(
        (way.change, way.default),
        (Change::Reset, Some(Value::Text("round-robin".into())))
    );
    assert_eq!(way.ty, ParamType::Choice(vec!["round-robin".into(), "fixed".into()]));
    assert_eq!(
        spec("zones").ty,
        ParamType::List(Box::new(ParamType::Ref(RefKind::Zone)))
    );
    assert!(spec("span").optional && spec("span").ty == ParamType::Duration && !spec("zones").optional);
    assert_eq!(
        (spec("type").ty, spec("type").doc.as_str()),
        (ParamType::Int, "A word of Rust.")
    );
}

#[test]
fn values_become_fields() {
    let mut values = ParamValues::from([
        ("path".to_owned(), Value::Text("a.mp4".into())),
        ("share".to_owned(), Value::Float(0.25)),
        ("way-of-doing".to_owned(), Value::Text("fixed".into())),
        ("zones".to_owned(), Value::List(vec![Value::Text("box".into())])),
        ("type".to_owned(), Value::Int(4)),
    ]);
    let read = Everything::from_values(&values).unwrap();
    let expected = Everything {
        path: "a.mp4".into(),
        share: 0.25,
        way_of_doing: Way::Fixed,
        zones: vec![Ref::new("box")],
        span: None,
        r#type: 4,
    };
    assert_eq!(read, expected);
    values.insert("type".into(), Value::Int(-1));
    assert_eq!(
        Everything::from_values(&values).unwrap_err().to_string(),
        "parameter `type`: -1 is out of range"
    );
    values.remove("share");
    assert_eq!(
        Everything::from_values(&values).unwrap_err().to_string(),
        "parameter `share`: is required"
    );
    values.insert("share".into(), Value::Float(0.0));
    values.insert("way-of-doing".into(), Value::Text("sideways".into()));
    let error = Everything::from_values(&values).unwrap_err().to_string();
    assert_eq!(
        error,
        "parameter `way-of-doing`: `sideways` is none of round-robin, fixed"
    );
}

#[test]
fn rows_go_to_cells_and_back() {
    let schema = HeatCell::schema();
    assert_eq!(schema.name, "heat-cell");
    assert_eq!(
        schema.columns[0],
        Column {
            name: "column".into(),
            ty: ColumnType::Int
        }
    );
    assert_eq!(schema.columns[3].ty, ColumnType::Duration);
    let row = HeatCell {
        column: 3,
        heat: 0.5,
        name: "a".into(),
        since: Duration::from_millis(5),
        hot: true,
    };
    let cells = row.to_cells();
    assert_eq!(cells[3], Cell::Duration(5_000_000));
    assert_eq!(HeatCell::from_cells(&cells), Some(row));
    assert_eq!(HeatCell::from_cells(&cells[..4]), None);
    assert_eq!(
        HeatCell::from_cells(&[
            Cell::Int(-1),
            cells[1].clone(),
            cells[2].clone(),
            cells[3].clone(),
            cells[4].clone()
        ]),
        None
    );
}
