//! Runs one operator without a runtime: what a test of an operator needs of the engine, and no more.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use flowrun_dsl::params::{self, ParamSpec, ParamValues, Params};
use flowrun_dsl::plan::{CameraPlan, NodePlan, OnError, PLAN_VERSION, Plan, Shape, Units, ZonePlan};
use flowrun_dsl::port::{Role, RowKind};
use flowrun_dsl::value::Value;

use crate::batch::{Batch, Input, RowType};
use crate::errors::OperatorError;
use crate::names::Names;
use crate::operator::{NodeSetup, Operator, Output, Setup};
use crate::rows::{At, CameraId, ClassId, Size};
use crate::time::EventTime;

/// One operator on one camera, fed by hand.
///
/// Parameters, shapes and the camera are told first; the operator is built when the first frame comes. A mistake of
/// the test itself (a parameter that does not exist, a value out of range) panics; what the operator refuses does so
/// too, unless the test asks with [`Harness::build`].
///
/// ```
/// use flowrun_engine::errors::Result;
/// use flowrun_engine::operator::{Operator, Output, Setup};
/// use flowrun_engine::rows::{At, Crossing, Detection};
/// use flowrun_engine::testing::Harness;
///
/// /// Passes every second detection on.
/// struct EverySecond(u64);
///
/// impl Operator for EverySecond {
///     const KIND: &'static str = "every-second";
///     type Params = ();
///     type Input = Detection;
///     type Output = Detection;
///     type State = u64;
///
///     fn new((): (), _: &Setup<'_>) -> Result<Self> {
///         Ok(EverySecond(0))
///     }
///     fn process(&mut self, _: &At, rows: &[Detection], out: &mut Output<Detection>) -> Result<()> {
///         for row in rows {
///             self.0 += 1;
///             if self.0 % 2 == 0 {
///                 out.push(*row);
///             }
///         }
///         Ok(())
///     }
///     fn update(&mut self, (): ()) {}
///     fn snapshot(&self) -> u64 {
///         self.0
///     }
///     fn restore(&mut self, before: u64) {
///         self.0 = before;
///     }
/// }
///
/// let mut harness = Harness::<EverySecond>::new();
/// let car = Detection { class: harness.class("car"), score: 0.9, bbox: Default::default() };
/// let run = harness.frame(0, [car]).frame(1, []).restart().frame(2, [car]);
/// assert_eq!(run.rows(), [(2, car)]);
/// ```
pub struct Harness<O: Operator> {
    params: ParamValues,
    plan: Plan,
    names: Option<Arc<Names>>,
    size: Size,
    frames_per_second: f64,
    operator: Option<O>,
    rows: Vec<(u64, O::Output)>,
    errors: Vec<(u64, OperatorError)>,
}

impl<O: Operator> fmt::Debug for Harness<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness")
            .field("kind", &O::KIND)
            .field("params", &self.params)
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

impl<O: Operator> Default for Harness<O> {
    fn default() -> Self {
        Harness::new()
    }
}

/// The camera under test: the only one of the plan.
const CAMERA: CameraId = CameraId(0);

impl<O: Operator> Harness<O> {
    /// With the parameters' defaults, on a camera `north` of 1280x720 pixels at 10 frames a second.
    pub fn new() -> Self {
        let schema = O::Params::schema();
        let defaults = schema.params.into_iter();
        Harness {
            params: defaults.filter_map(|spec| Some((spec.name, spec.default?))).collect(),
            plan: plan_of(O::KIND),
            names: None,
            size: Size {
                width: 1280,
                height: 720,
            },
            frames_per_second: 10.0,
            operator: None,
            rows: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Sets a parameter, written as in a graph: `"800ms"`, `"box,stop"`.
    ///
    /// # Panics
    /// When the operator has no such parameter or it forbids the value.
    #[must_use]
    pub fn param(mut self, name: &str, text: &str) -> Self {
        self.set(name, text);
        self
    }

    /// Edits a `live` parameter of the operator at work.
    ///
    /// # Panics
    /// As [`Harness::param`], and when the parameter is not live.
    #[must_use]
    pub fn live(mut self, name: &str, text: &str) -> Self {
        let spec = self.set(name, text);
        assert_eq!(spec.change, params::Change::Live, "`{name}` is no live parameter");
        let params = self.typed().expect("checked values fit");
        self.started().update(params);
        self
    }

    fn set(&mut self, name: &str, text: &str) -> ParamSpec {
        let schema = O::Params::schema();
        let Some(spec) = schema.get(name) else {
            panic!("`{}` has no parameter `{name}`", O::KIND);
        };
        let value = params::parse_text(&spec.ty, text).unwrap_or_else(|cause| panic!("`{name}`: {cause}"));
        if let Some(number) = number(&value) {
            let low = spec.min.is_some_and(|min| number < min);
            let high = spec.max.is_some_and(|max| number > max);
            assert!(!low && !high, "`{name}`: {number} is out of range");
        }
        self.params.insert(name.to_owned(), value);
        spec.clone()
    }

    /// Puts a polygon on the camera's picture.
    #[must_use]
    pub fn polygon(self, name: &str, units: Units, corners: impl IntoIterator<Item = [f64; 2]>) -> Self {
        self.shape(name, units, Shape::Polygon(corners.into_iter().collect()))
    }

    /// Puts a line a -> b on the camera's picture.
    #[must_use]
    pub fn line(self, name: &str, units: Units, ends: [[f64; 2]; 2]) -> Self {
        let (forward, backward) = ("forward".to_owned(), "backward".to_owned());
        self.shape(
            name,
            units,
            Shape::Line {
                ends,
                forward,
                backward,
            },
        )
    }

    fn shape(self, name: &str, units: Units, shape: Shape) -> Self {
        self.zone(ZonePlan {
            name: name.to_owned(),
            cameras: vec![CAMERA.0 as usize],
            shape,
            units,
        })
    }

    /// Adds a shape as the plan has it: for one that lies on other cameras only.
    #[must_use]
    pub fn zone(mut self, zone: ZonePlan) -> Self {
        assert!(self.names.is_none(), "shapes are told before the first frame or class");
        self.plan.zones.push(zone);
        self
    }

    /// Replaces all shapes, as an edited graph does; holds from the next [`Harness::restart`] on.
    #[must_use]
    pub fn replace_zones(mut self, zones: Vec<ZonePlan>) -> Self {
        self.plan.zones = zones;
        self
    }

    /// Names the camera.
    #[must_use]
    pub fn camera(mut self, name: &str) -> Self {
        assert!(
            self.names.is_none(),
            "the camera is told before the first frame or class"
        );
        self.plan.cameras[0].name = name.to_owned();
        self
    }

    /// Sets the picture's size, from the next frame on.
    #[must_use]
    pub fn size(mut self, width: u32, height: u32) -> Self {
        self.size = Size { width, height };
        self
    }

    /// Sets the rate: frame `n` is taken at `n` / rate seconds.
    #[must_use]
    pub fn fps(mut self, frames_per_second: f64) -> Self {
        self.frames_per_second = frames_per_second;
        self
    }

    /// The number of a class in this run.
    ///
    /// # Panics
    /// After 65,536 classes.
    pub fn class(&mut self, name: &str) -> ClassId {
        self.names().intern(name).expect("a test has few classes")
    }

    /// The run's names.
    pub fn names(&mut self) -> Arc<Names> {
        let plan = &self.plan;
        self.names.get_or_insert_with(|| Arc::new(Names::of(plan))).clone()
    }

    fn typed(&self) -> Result<O::Params, OperatorError> {
        O::Params::from_values(&self.params).map_err(|error| OperatorError::new(error.to_string()))
    }

    fn instance(&mut self) -> Result<O, OperatorError> {
        let names = self.names();
        self.plan.nodes[0].params = self.params.clone();
        let node = NodeSetup {
            plan: &self.plan,
            node: &self.plan.nodes[0],
            names: &names,
            audience: &Arc::default(),
            devices: &crate::device::Devices::default(),
        };
        O::new(self.typed()?, &Setup { node, camera: CAMERA })
    }

    /// Builds the operator now.
    ///
    /// # Errors
    /// What the operator refuses.
    pub fn build(mut self) -> Result<Self, OperatorError> {
        self.operator = Some(self.instance()?);
        Ok(self)
    }

    fn started(&mut self) -> &mut O {
        if self.operator.is_none() {
            let built = self.instance();
            self.operator = Some(built.unwrap_or_else(|error| panic!("`{}` cannot be built: {error}", O::KIND)));
        }
        self.operator.as_mut().expect("built above")
    }

    /// Feeds a frame: rows of the one input, or a tuple of them.
    #[must_use]
    pub fn frame(self, frame: u64, rows: impl InputRows<O::Input>) -> Self {
        let nanos = frame as f64 * 1e9 / self.frames_per_second;
        self.frame_at(frame, EventTime(nanos.round() as i64), rows)
    }

    /// Feeds a frame taken at any time.
    #[must_use]
    pub fn frame_at(mut self, frame: u64, event_time: EventTime, rows: impl InputRows<O::Input>) -> Self {
        let at = At {
            camera: CAMERA,
            frame,
            event_time,
            size: self.size,
        };
        let held = O::Input::hold(&rows.into_batches()).expect("rows of the input's own types");
        let mut out = Output::default();
        match self.started().process(&at, O::Input::view(&held), &mut out) {
            Ok(()) => self.rows.extend(out.into_rows().into_iter().map(|row| (frame, row))),
            Err(error) => self.errors.push((frame, error)),
        }
        self
    }

    /// Hands the state, written as JSON and read back, to a new instance.
    ///
    /// # Panics
    /// When the operator cannot be built again or its state does not survive JSON.
    #[must_use]
    pub fn restart(mut self) -> Self {
        let written = serde_json::to_string(&self.started().snapshot()).expect("a state can be written");
        let state = serde_json::from_str(&written).expect("a state can be read back");
        // Classes are the run's and keep their numbers; names of shapes are those of the plan as it is now.
        let before = self.names();
        let names = Names::of(&self.plan);
        let known = (0..=u16::MAX).map(|number| before.class(ClassId(number)));
        for class in known.take_while(|class| &**class != "?") {
            names.intern(&class).expect("no more classes than before");
        }
        self.names = Some(Arc::new(names));
        self.operator = None;
        self.started().restore(state);
        self
    }

    /// All rows so far with the frames that they answer.
    pub fn rows(&self) -> &[(u64, O::Output)] {
        &self.rows
    }

    /// The rows of one frame.
    pub fn rows_of(&self, frame: u64) -> Vec<O::Output> {
        let rows = self.rows.iter().filter(|(of, _)| *of == frame);
        rows.map(|(_, row)| row.clone()).collect()
    }

    /// All failures so far with the frames that they answer.
    pub fn errors(&self) -> &[(u64, OperatorError)] {
        &self.errors
    }

    /// What the operator would hand to a successor.
    pub fn snapshot(&mut self) -> O::State {
        self.started().snapshot()
    }
}

/// The number of a value that has one.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// A plan of one camera and one node.
fn plan_of(kind: &str) -> Plan {
    let camera = CameraPlan {
        name: "north".into(),
        group: "test".into(),
        kind: "test".into(),
        params: ParamValues::new(),
        common: ParamValues::new(),
        output: RowKind::Frame,
        fingerprint: String::new(),
    };
    let node = NodePlan {
        name: format!("test.{kind}"),
        kind: kind.to_owned(),
        role: Role::Operator,
        fragment: 0,
        params: ParamValues::new(),
        overrides: BTreeMap::new(),
        inputs: Vec::new(),
        output: None,
        cameras: vec![CAMERA.0 as usize],
        on_error: OnError::default(),
        query: None,
        fingerprint: String::new(),
    };
    Plan {
        version: PLAN_VERSION,
        root: ".".into(),
        hash: String::new(),
        cameras: vec![camera],
        models: BTreeMap::new(),
        zones: Vec::new(),
        nodes: vec![node],
        fragments: Vec::new(),
        server: None,
        numbers: Default::default(),
    }
}

/// Rows for an operator's input: a collection for one port, a tuple of collections for several.
pub trait InputRows<I: Input> {
    /// One batch a port.
    fn into_batches(self) -> Vec<Batch>;
}

impl<T: RowType, R: IntoIterator<Item = T>> InputRows<T> for R {
    fn into_batches(self) -> Vec<Batch> {
        vec![T::into_batch(self.into_iter().collect())]
    }
}

macro_rules! tuples {
    ($($($ty:ident $rows:ident $index:tt),+;)*) => { $(
        impl<$($ty: RowType, $rows: IntoIterator<Item = $ty>),+> InputRows<($($ty,)+)> for ($($rows,)+) {
            fn into_batches(self) -> Vec<Batch> {
                vec![$($ty::into_batch(self.$index.into_iter().collect())),+]
            }
        }
    )* };
}
tuples! {
    A RowsA 0, B RowsB 1;
    A RowsA 0, B RowsB 1, C RowsC 2;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::errors::Result;
    use crate::rows::{Detection, Rect, Track, TrackId};

    /// What the tests count.
    #[derive(Clone, Debug, flowrun_dsl::params::Params)]
    struct CountParams {
        /// The least score.
        #[param(live, default = "0.5", min = 0.0, max = 1.0)]
        score: f64,
        /// A span that only must be there.
        span: Duration,
    }

    /// Tells how many detections and tracks it has seen, as the id of a track.
    struct Count {
        params: CountParams,
        seen: u64,
    }

    impl Operator for Count {
        const KIND: &'static str = "count";
        const PORTS: &'static [&'static str] = &["detections", "tracks"];
        type Params = CountParams;
        type Input = (Detection, Track);
        type Output = Track;
        type State = u64;

        fn new(params: CountParams, _: &Setup<'_>) -> Result<Self> {
            if params.span.is_zero() {
                return Err("a span of nothing".into());
            }
            Ok(Count { params, seen: 0 })
        }
        fn process(
            &mut self,
            at: &At,
            (detections, tracks): (&[Detection], &[Track]),
            out: &mut Output<Track>,
        ) -> Result<()> {
            if at.event_time == EventTime(-1) {
                return Err("before all time".into());
            }
            let counted = detections
                .iter()
                .filter(|seen| f64::from(seen.score) >= self.params.score);
            self.seen += (counted.count() + tracks.len()) as u64;
            out.push(track(self.seen));
            Ok(())
        }
        fn update(&mut self, params: CountParams) {
            self.params = params;
        }
        fn snapshot(&self) -> u64 {
            self.seen
        }
        fn restore(&mut self, before: u64) {
            self.seen = before;
        }
    }

    fn track(id: u64) -> Track {
        Track {
            id: TrackId(id),
            class: ClassId(0),
            score: 1.0,
            bbox: Rect::default(),
        }
    }

    fn seen(score: f32) -> Detection {
        Detection {
            class: ClassId(0),
            score,
            bbox: Rect::default(),
        }
    }

    #[test]
    fn several_inputs_live_edits_restarts_and_failures() {
        let run = Harness::<Count>::new()
            .param("span", "1s")
            .frame(0, ([seen(0.4), seen(0.6)], [track(7)]))
            .live("score", "0.3")
            .frame(1, ([seen(0.4)], []))
            .frame_at(2, EventTime(-1), ([], []))
            .restart()
            .frame(3, ([], []));
        assert_eq!(run.rows(), [(0, track(2)), (1, track(3)), (3, track(3))]);
        assert_eq!(run.rows_of(1), [track(3)]);
        assert_eq!(run.errors(), [(2, "before all time".into())]);
    }

    #[test]
    fn what_the_operator_refuses_can_be_asked_for() {
        let refused = Harness::<Count>::new().param("span", "0s").build();
        assert_eq!(refused.expect_err("nothing is refused").cause, "a span of nothing");
        let incomplete = Harness::<Count>::new().build();
        assert!(incomplete.expect_err("span has no default").cause.contains("`span`"));
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_value_that_the_declaration_forbids_never_reaches_the_operator() {
        let _ = Harness::<Count>::new().param("score", "1.5");
    }
}
