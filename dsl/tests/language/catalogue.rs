//! Operators with the shapes of the real ones.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use flowrun_dsl::params::{
    Bitrate, Bytes, Choice, Line, Model, Params, ParamsSchema, Ref, Secret, Shape, Template, Url, Zone,
};
use flowrun_dsl::port::{Catalogue, OperatorSpec, PortRows, PortSpec, Role, RowKind};

#[derive(Clone, Copy, Debug, PartialEq, Choice)]
pub enum AtEnd {
    Stop,
    Loop,
}

#[derive(Clone, Copy, Debug, PartialEq, Choice)]
pub enum Priority {
    Low,
    Normal,
    High,
}

#[derive(Clone, Copy, Debug, PartialEq, Choice)]
pub enum RowsType {
    Detection,
    Track,
}

#[derive(Clone, Copy, Debug, PartialEq, Choice)]
pub enum Scene {
    Junction,
    Corridor,
}

#[derive(Clone, Copy, Debug, PartialEq, Choice)]
pub enum Method {
    Bytetrack,
    Botsort,
}

#[derive(Clone, Copy, Debug, PartialEq, Choice)]
pub enum Anchor {
    Feet,
    Centre,
}

macro_rules! params {
    ($($(#[$doc:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $ty:ty,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Params)]
        pub struct $name { $($(#[$meta])* pub $field: $ty,)* }
    )* };
}
params! {
    /// What every camera has.
    Common {
        /// How long a row may be late.
        #[param(default = "100ms")] lateness: Duration,
        /// Who is shed last.
        #[param(live, default = "normal")] priority: Priority,
        /// How much may be read ahead.
        #[param(default = "1MiB")] buffer: Bytes,
    }
    /// What every model has.
    OfModel {
        /// Names of its classes.
        names: Option<PathBuf>,
        /// Pictures in one call.
        #[param(default = "1", min = 1, max = 64)] batch: u32,
    }
    /// A camera on the network.
    Rtsp {
        /// Where it is.
        #[param(positional)] url: Url,
        /// The user.
        user: Option<Secret>,
        /// The password.
        password: Option<Secret>,
        /// Pictures a second.
        #[param(default = "25", min = 1, max = 240)] fps: f64,
    }
    /// A file played as a camera.
    FileSource {
        /// The file.
        #[param(positional)] path: PathBuf,
        /// What follows its end.
        #[param(default = "stop")] at_end: AtEnd,
        /// Pictures a second.
        #[param(default = "25", min = 1, max = 240)] fps: f64,
    }
    /// Pictures that are computed.
    Synthetic {
        /// What is shown.
        #[param(default = "corridor")] scene: Scene,
        /// The random numbers' beginning.
        #[param(default = "1")] seed: u64,
        /// Pictures a second.
        #[param(default = "25", min = 1, max = 240)] fps: f64,
    }
    /// Recorded rows played as a camera.
    Rows {
        /// The file.
        #[param(positional)] path: PathBuf,
        /// What it holds.
        #[param(name = "type", default = "detection")] kind: RowsType,
    }
    /// Finds objects with a model.
    Detect {
        /// The model.
        #[param(positional)] model: Ref<Model>,
        /// The least score.
        #[param(live, default = "0.25", min = 0.0, max = 1.0)] min_score: f64,
        /// The overlap at which one of two boxes is dropped.
        #[param(live, default = "0.45", min = 0.0, max = 1.0)] iou: f64,
        /// The most boxes of a picture.
        #[param(live, default = "300", min = 1)] max: u32,
        /// The classes to keep; all when empty.
        #[param(live, default = "")] classes: Vec<String>,
        /// Whether to keep the raw output.
        #[param(default = "false")] raw: bool,
    }
    /// Draws what is known.
    Draw {
        /// The text at a box.
        #[param(live, default = "{class}")] label: Template,
        /// What of the zones is drawn.
        #[param(default = "")] shapes: Vec<Ref<Shape>>,
        /// Bits a second of the picture.
        #[param(default = "4M", min = 1000)] rate: Bitrate,
    }
    /// Follows objects.
    Track {
        /// How.
        #[param(positional, reset, default = "bytetrack")] method: Method,
        /// How long one may be lost.
        #[param(default = "1s", max = 60)] lost: Duration,
    }
    /// Tells how long a track is inside a zone.
    Visit {
        /// Zones to test.
        zones: Vec<Ref<Zone>>,
        /// How long a track may vanish.
        #[param(live, default = "800ms")] grace: Duration,
        /// Which point must be inside.
        #[param(reset, default = "feet")] anchor: Anchor,
    }
    /// Tells which tracks pass a line.
    Cross {
        /// Lines to test.
        lines: Vec<Ref<Line>>,
    }
    /// Writes rows as lines of JSON.
    Jsonl {
        /// The file.
        #[param(positional)] path: Template,
    }
    /// Serves rows as events.
    Sse {
        /// The address.
        #[param(positional)] path: Template,
        /// What clients must show.
        key: Option<Secret>,
    }
}

pub struct TestCatalogue {
    operators: Vec<OperatorSpec>,
    common: ParamsSchema,
    model: ParamsSchema,
}

impl Catalogue for TestCatalogue {
    fn operators(&self) -> &[OperatorSpec] {
        &self.operators
    }
    fn camera_params(&self) -> &ParamsSchema {
        &self.common
    }
    fn model_params(&self) -> &ParamsSchema {
        &self.model
    }
}

fn port(name: &str, rows: PortRows) -> PortSpec {
    PortSpec {
        name: name.into(),
        rows,
        required: true,
    }
}

fn operator<P: Params>(kind: &str, role: Role, inputs: Vec<PortSpec>, output: Option<RowKind>) -> OperatorSpec {
    OperatorSpec {
        kind: kind.into(),
        role,
        params: P::schema(),
        inputs,
        output,
        output_by: None,
    }
}

pub static CATALOGUE: LazyLock<TestCatalogue> = LazyLock::new(|| {
    use RowKind::{Crossing, Detection, Frame, Track as Tracks, Visit as Visits};
    let source = |output| (Role::Source, Vec::new(), Some(output));
    let of = |name: &str, kind: RowKind| vec![port(name, PortRows::Only(kind))];
    let (role, inputs, output) = source(Frame);
    let mut rows = operator::<Rows>("rows", role, inputs.clone(), Some(Detection));
    rows.output_by = Some((
        "type".into(),
        vec![("detection".into(), Detection), ("track".into(), Tracks)],
    ));
    let draw_inputs = vec![
        port("frames", PortRows::Only(Frame)),
        port("tracks", PortRows::Only(Tracks)),
        PortSpec {
            required: false,
            ..port("detections", PortRows::Only(Detection))
        },
    ];
    let any = || vec![port("rows", PortRows::AnyRows)];
    TestCatalogue {
        operators: vec![
            operator::<Rtsp>("rtsp", role, inputs.clone(), output.clone()),
            operator::<FileSource>("file", role, inputs.clone(), output.clone()),
            operator::<Synthetic>("synthetic", role, inputs, output),
            rows,
            operator::<Detect>("detect", Role::Operator, of("frames", Frame), Some(Detection)),
            operator::<()>("truth", Role::Operator, of("frames", Frame), Some(Detection)),
            operator::<Track>("track", Role::Operator, of("detections", Detection), Some(Tracks)),
            operator::<Visit>("visit", Role::Operator, of("tracks", Tracks), Some(Visits)),
            operator::<Cross>("cross", Role::Operator, of("tracks", Tracks), Some(Crossing)),
            operator::<Draw>("draw", Role::Operator, draw_inputs, Some(Frame)),
            operator::<()>("query", Role::Query, any(), None),
            operator::<Jsonl>("jsonl", Role::Write, any(), None),
            operator::<Sse>("sse", Role::Publish, any(), None),
        ],
        common: Common::schema(),
        model: OfModel::schema(),
    }
});
