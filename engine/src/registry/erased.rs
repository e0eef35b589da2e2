//! Operators with their types taken off: what the dataflow calls.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use flowrun_dsl::params::{ParamValues, Params};
use flowrun_dsl::plan::{CameraPlan, NodePlan, Plan};
use flowrun_dsl::port::{PortRows, RowKind};
use flowrun_dsl::schema::Schema;

use crate::batch::{Answer, Batch, Input, RowType};
use crate::errors::{OperatorError, Result};
use crate::metrics::ComputeState;
use crate::operator::{
    BatchPolicy, Datum, Job, LaneChoice, Next, Offload, Operator, Output, PerCamera, Query, Setup, Sink, SinkOrder,
    SinkWants, SinkWriter, Source, SourceSetup, SourceTraits, Thread, Window,
};
use crate::rows::{At, CameraId};
use crate::run::context::Context;

fn wrong_rows() -> OperatorError {
    OperatorError::new("rows of another kind arrived; the plan should have refused this")
}

fn params_of<P: Params>(values: &ParamValues) -> Result<P> {
    P::from_values(values).map_err(|error| OperatorError::new(error.to_string()))
}

// ---- one instance a camera ---------------------------------------------------------------------

/// An [`Operator`]'s instance for one camera.
pub trait Instance: Send {
    /// Answers one frame: one batch a port in, one out.
    ///
    /// # Errors
    /// As the operator reports it.
    fn process(&mut self, at: &At, inputs: &[Batch]) -> Result<Batch>;
    /// Takes new values of `live` parameters; what another instance was built from fits.
    fn update(&mut self, values: &ParamValues);
    /// See [`Operator::snapshot`].
    fn snapshot(&self) -> SavedState;
    /// See [`Operator::restore`]; what another operator saved is passed over.
    fn restore(&mut self, before: SavedState);
    /// See [`Operator::renew`].
    fn renew(&mut self);
}

/// What an [`Operator`] remembered, its type taken off.
pub type SavedState = Box<dyn Any + Send>;

/// Makes instances.
pub trait Keyed: Send + Sync {
    /// An instance for a camera.
    ///
    /// # Errors
    /// What is wrong with the parameters or the machine.
    fn instance(&self, camera: CameraId) -> Result<Box<dyn Instance>>;
    /// What it emits.
    fn output(&self) -> RowKind;
}

struct KeyedNode<O: Operator> {
    context: Arc<Context>,
    plan: Arc<Plan>,
    node: NodePlan,
    params: PerCamera<O::Params>,
}

struct KeyedInstance<O> {
    operator: O,
    ports: Arc<[PortFeed]>,
}

/// What a port holds on a frame.
enum PortFeed {
    /// The batch of this input of the node.
    Input(usize),
    /// Nothing feeds it.
    Empty(Batch),
}

/// The feeds of all ports, for a node that may leave some unfed.
fn feeds<O: Operator>(node: &NodePlan) -> Arc<[PortFeed]> {
    let ports = O::Input::ports().into_iter().enumerate();
    let feed = |(index, rows): (usize, PortRows)| {
        let name = O::PORTS.get(index).copied().unwrap_or_default();
        let input = node.inputs.iter().position(|input| input.port == name);
        match (input, rows) {
            (None, PortRows::Only(kind)) if O::OPTIONAL_PORTS.contains(&name) => PortFeed::Empty(Batch::empty(&kind)),
            (input, _) => PortFeed::Input(input.unwrap_or(index)),
        }
    };
    ports.map(feed).collect()
}

impl<O: Operator> Keyed for KeyedNode<O> {
    fn instance(&self, camera: CameraId) -> Result<Box<dyn Instance>> {
        let setup = Setup {
            node: self.context.setup(&self.plan, &self.node),
            camera,
        };
        Ok(Box::new(KeyedInstance {
            operator: O::new(self.params.get(camera).clone(), &setup)?,
            ports: feeds::<O>(&self.node),
        }))
    }
    fn output(&self) -> RowKind {
        O::Output::kind()
    }
}

impl<O: Operator> Instance for KeyedInstance<O> {
    fn process(&mut self, at: &At, inputs: &[Batch]) -> Result<Batch> {
        let held = if self.ports.len() == inputs.len() {
            O::Input::hold(inputs)
        } else {
            let of = |feed: &PortFeed| match feed {
                PortFeed::Input(index) => inputs.get(*index).cloned(),
                PortFeed::Empty(batch) => Some(batch.clone()),
            };
            let batches: Option<Vec<Batch>> = self.ports.iter().map(of).collect();
            batches.and_then(|batches| O::Input::hold(&batches))
        };
        let held = held.ok_or_else(wrong_rows)?;
        let mut out = Output::default();
        self.operator.process(at, O::Input::view(&held), &mut out)?;
        Ok(O::Output::into_batch(out.into_rows()))
    }

    fn update(&mut self, values: &ParamValues) {
        // They built an instance in prepare, or this one would not be asked.
        if let Ok(params) = params_of(values) {
            self.operator.update(params);
        }
    }

    fn snapshot(&self) -> SavedState {
        Box::new(self.operator.snapshot())
    }

    fn restore(&mut self, before: SavedState) {
        if let Ok(state) = before.downcast::<O::State>() {
            self.operator.restore(*state);
        }
    }

    fn renew(&mut self) {
        self.operator.renew();
    }
}

pub(super) fn keyed<O: Operator>(plan: &Arc<Plan>, node: &NodePlan, context: &Arc<Context>) -> Result<Arc<dyn Keyed>> {
    let params = per_camera::<O::Params>(plan, node)?;
    Ok(Arc::new(KeyedNode::<O> {
        context: context.clone(),
        plan: plan.clone(),
        node: node.clone(),
        params,
    }))
}

fn per_camera<P: Params>(plan: &Plan, node: &NodePlan) -> Result<PerCamera<P>> {
    let mut overrides = BTreeMap::new();
    for (camera, values) in &node.overrides {
        let index = plan.cameras.iter().position(|known| known.name == *camera);
        let index = index.ok_or_else(|| OperatorError::new(format!("no camera is called `{camera}`")))?;
        overrides.insert(CameraId(plan.camera_number(index)), params_of(values)?);
    }
    Ok(PerCamera::new(params_of(&node.params)?, overrides))
}

// ---- offload ---------------------------------------------------------------------------------

/// One frame for an offload, types taken off.
pub struct ErasedJob {
    /// Which frame.
    pub at: At,
    /// One batch a port.
    pub inputs: Vec<Batch>,
    /// The answer.
    pub result: Option<Result<Batch>>,
}

/// An [`Offload`] shared by its lanes.
pub trait ErasedOffload: Send + Sync {
    /// How jobs are gathered.
    fn policy(&self) -> BatchPolicy;
    /// See [`Offload::sizes`].
    fn sizes(&self) -> Vec<usize>;
    /// See [`Offload::compute`].
    fn compute(&self) -> ComputeState;
    /// See [`Offload::LANE`].
    fn lane_choice(&self) -> LaneChoice;
    /// See [`Offload::groups`].
    fn groups(&self) -> usize;
    /// See [`Offload::group`].
    fn group(&self, camera: CameraId) -> usize;
    /// See [`Offload::least_lanes`].
    fn least_lanes(&self) -> usize;
    /// See [`Offload::waits`].
    fn waits(&self, group: usize, jobs: usize);
    /// What a thread of a group keeps from batch to batch.
    ///
    /// # Errors
    /// When it cannot be had.
    fn lane(&self, group: usize) -> Result<Box<dyn Any + Send>>;
    /// Answers a batch; the lane is one of this operator's or of one that it follows.
    fn process(&self, lane: &mut (dyn Any + Send), jobs: &mut [ErasedJob]);
    /// See [`Offload::revise`].
    ///
    /// # Errors
    /// What is wrong with the new values.
    fn revise(&self, plan: &Plan, node: &NodePlan, context: &Context) -> Result<Option<Arc<dyn ErasedOffload>>>;
    /// What it emits.
    fn output(&self) -> RowKind;
}

struct OffloadNode<O>(O);

impl<O: Offload> ErasedOffload for OffloadNode<O> {
    fn policy(&self) -> BatchPolicy {
        self.0.policy()
    }
    fn sizes(&self) -> Vec<usize> {
        self.0.sizes()
    }
    fn compute(&self) -> ComputeState {
        self.0.compute()
    }
    fn lane_choice(&self) -> LaneChoice {
        O::LANE
    }
    fn groups(&self) -> usize {
        match O::LANE {
            LaneChoice::Any => self.0.groups().max(1),
            LaneChoice::ByCamera => 1,
        }
    }
    fn group(&self, camera: CameraId) -> usize {
        self.0.group(camera)
    }
    fn least_lanes(&self) -> usize {
        self.0.least_lanes()
    }
    fn waits(&self, group: usize, jobs: usize) {
        self.0.waits(group, jobs);
    }
    fn lane(&self, group: usize) -> Result<Box<dyn Any + Send>> {
        Ok(Box::new(self.0.lane_of(group)?))
    }
    fn process(&self, lane: &mut (dyn Any + Send), jobs: &mut [ErasedJob]) {
        let lane = lane
            .downcast_mut::<O::Lane>()
            .expect("an operator works on lanes of its own kind");
        let mut fit = Vec::with_capacity(jobs.len());
        let mut places = Vec::with_capacity(jobs.len());
        for (place, job) in jobs.iter_mut().enumerate() {
            match O::Input::hold(&job.inputs) {
                Some(input) => {
                    fit.push(Job {
                        at: job.at,
                        input,
                        result: None,
                    });
                    places.push(place);
                }
                None => job.result = Some(Err(wrong_rows())),
            }
        }
        self.0.process(lane, &mut fit);
        for (place, job) in places.into_iter().zip(fit) {
            jobs[place].result = job.result.map(|result| result.map(O::Output::into_batch));
        }
    }
    fn revise(&self, plan: &Plan, node: &NodePlan, context: &Context) -> Result<Option<Arc<dyn ErasedOffload>>> {
        let params = per_camera::<O::Params>(plan, node)?;
        let revised = self.0.revise(params, &context.setup(plan, node))?;
        Ok(revised.map(|revised| Arc::new(OffloadNode(revised)) as Arc<dyn ErasedOffload>))
    }
    fn output(&self) -> RowKind {
        O::Output::kind()
    }
}

pub(super) fn offload<O: Offload>(
    plan: &Plan,
    node: &NodePlan,
    context: &Arc<Context>,
) -> Result<Arc<dyn ErasedOffload>> {
    let params = per_camera::<O::Params>(plan, node)?;
    Ok(Arc::new(OffloadNode(O::new(params, &context.setup(plan, node))?)))
}

// ---- queries ---------------------------------------------------------------------------------

/// A [`Query`], types taken off.
pub trait ErasedQuery: Send + Sync {
    /// See [`Query::window`].
    fn window(&self) -> Window;
    /// See [`Query::schema`].
    fn schema(&self) -> Arc<Schema>;
    /// See [`Query::rows`].
    fn rows(&self, answer: &Answer, out: &mut Vec<(Vec<Datum>, Vec<Datum>)>);
    /// See [`Query::fold`].
    fn fold(&self, values: &[(&Vec<Datum>, isize)]) -> Vec<Datum>;
}

struct QueryNode<Q>(Q);

impl<Q: Query> ErasedQuery for QueryNode<Q> {
    fn window(&self) -> Window {
        self.0.window()
    }
    fn schema(&self) -> Arc<Schema> {
        self.0.schema()
    }
    fn rows(&self, answer: &Answer, out: &mut Vec<(Vec<Datum>, Vec<Datum>)>) {
        self.0.rows(answer, out);
    }
    fn fold(&self, values: &[(&Vec<Datum>, isize)]) -> Vec<Datum> {
        self.0.fold(values)
    }
}

pub(super) fn query<Q: Query>(plan: &Plan, node: &NodePlan, context: &Arc<Context>) -> Result<Arc<dyn ErasedQuery>> {
    Ok(Arc::new(QueryNode(Q::new(
        params_of(&node.params)?,
        &context.setup(plan, node),
    )?)))
}

// ---- sinks -----------------------------------------------------------------------------------

/// A [`Sink`], types taken off.
pub trait ErasedSink: Send + Sync {
    /// See [`Sink::ORDER`].
    fn order(&self) -> SinkOrder;
    /// See [`Sink::WANTS`].
    fn wants(&self) -> SinkWants;
    /// See [`Sink::open`].
    ///
    /// # Errors
    /// As the sink reports it.
    fn open(&self) -> Result<Box<dyn SinkWriter>>;
    /// See [`Sink::encode`].
    ///
    /// # Errors
    /// As the sink reports it.
    fn encode(&self, answer: &Answer, out: &mut Vec<u8>) -> Result<()>;
    /// See [`Sink::revise`].
    ///
    /// # Errors
    /// As the sink reports it.
    fn revise(&self, plan: &Plan, node: &NodePlan, context: &Context) -> Result<Option<Arc<dyn ErasedSink>>>;
}

struct SinkNode<S>(S);

impl<S: Sink> ErasedSink for SinkNode<S> {
    fn order(&self) -> SinkOrder {
        S::ORDER
    }
    fn wants(&self) -> SinkWants {
        S::WANTS
    }
    fn open(&self) -> Result<Box<dyn SinkWriter>> {
        self.0.open()
    }
    fn encode(&self, answer: &Answer, out: &mut Vec<u8>) -> Result<()> {
        self.0.encode(answer, out)
    }
    fn revise(&self, plan: &Plan, node: &NodePlan, context: &Context) -> Result<Option<Arc<dyn ErasedSink>>> {
        let revised = self.0.revise(params_of(&node.params)?, &context.setup(plan, node))?;
        Ok(revised.map(|revised| Arc::new(SinkNode(revised)) as Arc<dyn ErasedSink>))
    }
}

pub(super) fn sink<S: Sink>(plan: &Plan, node: &NodePlan, context: &Arc<Context>) -> Result<Arc<dyn ErasedSink>> {
    Ok(Arc::new(SinkNode(S::new(
        params_of(&node.params)?,
        &context.setup(plan, node),
    )?)))
}

// ---- sources ---------------------------------------------------------------------------------

/// A [`Source`], types taken off.
pub trait ErasedSource: Send {
    /// See [`Source::THREAD`].
    fn thread(&self) -> Thread;
    /// See [`Source::traits`].
    fn traits(&self) -> SourceTraits;
    /// See [`Source::next`].
    ///
    /// # Errors
    /// As the source reports it.
    fn next(&mut self) -> Result<Next>;
}

struct SourceNode<S>(S);

impl<S: Source> ErasedSource for SourceNode<S> {
    fn thread(&self) -> Thread {
        S::THREAD
    }
    fn traits(&self) -> SourceTraits {
        self.0.traits()
    }
    fn next(&mut self) -> Result<Next> {
        self.0.next()
    }
}

pub(super) fn source<S: Source>(setup: &SourceSetup<'_>, camera: &CameraPlan) -> Result<Box<dyn ErasedSource>> {
    Ok(Box::new(SourceNode(S::open(params_of(&camera.params)?, setup)?)))
}
