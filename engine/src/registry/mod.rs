//! Which operators there are, and how the engine builds them without knowing their types.

mod erased;

use std::marker::PhantomData;
use std::sync::Arc;

use flowrun_dsl::params::{Params, ParamsSchema};
use flowrun_dsl::plan::{CameraPlan, NodePlan, Plan};
use flowrun_dsl::port::{Catalogue, OperatorSpec, PortRows, PortSpec, Role, RowKind};

use crate::batch::{Input, RowType};
use crate::errors::Result;
use crate::operator::{Offload, Operator, Query, Sink, Source, SourceOutput, SourceSetup};
use crate::run::context::Context;

pub use erased::{ErasedJob, ErasedOffload, ErasedQuery, ErasedSink, ErasedSource, Instance, Keyed, SavedState};

/// One registered operator.
pub trait OperatorDef: Send + Sync {
    /// What the language must know.
    fn spec(&self) -> OperatorSpec;

    /// Builds it for a node of a plan.
    ///
    /// # Errors
    /// What is wrong with the node or the machine.
    fn prepare(&self, plan: &Arc<Plan>, node: &NodePlan, context: &Arc<Context>) -> Result<Prepared>;

    /// Opens a camera.
    ///
    /// # Errors
    /// What is wrong with the camera.
    fn open(&self, setup: &SourceSetup<'_>, camera: &CameraPlan) -> Result<Box<dyn ErasedSource>>;
}

impl<D: OperatorDef + ?Sized> OperatorDef for &D {
    fn spec(&self) -> OperatorSpec {
        (**self).spec()
    }
    fn prepare(&self, plan: &Arc<Plan>, node: &NodePlan, context: &Arc<Context>) -> Result<Prepared> {
        (**self).prepare(plan, node, context)
    }
    fn open(&self, setup: &SourceSetup<'_>, camera: &CameraPlan) -> Result<Box<dyn ErasedSource>> {
        (**self).open(setup, camera)
    }
}

/// A node ready to be rendered.
pub enum Prepared {
    /// One instance a camera, on the worker.
    Keyed(Arc<dyn Keyed>),
    /// On threads of its own.
    Offload(Arc<dyn ErasedOffload>),
    /// A differential collection.
    Query(Arc<dyn ErasedQuery>),
    /// The way out.
    Sink(Arc<dyn ErasedSink>),
}

macro_rules! definitions {
    ($($(#[$doc:meta])* $name:ident: $bound:ident;)*) => { $(
        $(#[$doc])*
        pub struct $name<T>(PhantomData<fn() -> T>);
        impl<T: $bound> $name<T> {
            /// The registration.
            #[allow(clippy::new_without_default, reason = "a definition is written once, in a list of constants")]
            pub const fn new() -> Self { $name(PhantomData) }
        }
    )* };
}
definitions! {
    /// Registers an [`Operator`].
    Def: Operator;
    /// Registers an [`Offload`].
    OffloadDef: Offload;
    /// Registers a [`Source`].
    SourceDef: Source;
    /// Registers a [`Sink`].
    SinkDef: Sink;
    /// Registers a [`Query`].
    QueryDef: Query;
}

fn spec<P: Params>(kind: &str, role: Role, inputs: Vec<PortSpec>, output: Option<RowKind>) -> OperatorSpec {
    OperatorSpec {
        kind: kind.into(),
        role,
        params: P::schema(),
        inputs,
        output,
        output_by: None,
    }
}

fn ports<I: Input>(names: &[&str], optional: &[&str]) -> Vec<PortSpec> {
    let rows = I::ports();
    let name = |index: usize| {
        names
            .get(index)
            .map_or_else(|| format!("in{}", index + 1), ToString::to_string)
    };
    rows.into_iter()
        .enumerate()
        .map(|(index, rows)| PortSpec {
            required: !optional.contains(&name(index).as_str()),
            name: name(index),
            rows,
        })
        .collect()
}

fn no_camera<T>(kind: &str) -> Result<T> {
    Err(format!("`{kind}` is no camera").into())
}

fn no_node<T>(kind: &str) -> Result<T> {
    Err(format!("`{kind}` stands in a `cameras` block only").into())
}

impl<O: Operator> OperatorDef for Def<O> {
    fn spec(&self) -> OperatorSpec {
        spec::<O::Params>(
            O::KIND,
            Role::Operator,
            ports::<O::Input>(O::PORTS, O::OPTIONAL_PORTS),
            Some(O::Output::kind()),
        )
    }
    fn prepare(&self, plan: &Arc<Plan>, node: &NodePlan, context: &Arc<Context>) -> Result<Prepared> {
        Ok(Prepared::Keyed(erased::keyed::<O>(plan, node, context)?))
    }
    fn open(&self, _: &SourceSetup<'_>, _: &CameraPlan) -> Result<Box<dyn ErasedSource>> {
        no_camera(O::KIND)
    }
}

impl<O: Offload> OperatorDef for OffloadDef<O> {
    fn spec(&self) -> OperatorSpec {
        spec::<O::Params>(
            O::KIND,
            Role::Operator,
            ports::<O::Input>(O::PORTS, &[]),
            Some(O::Output::kind()),
        )
    }
    fn prepare(&self, plan: &Arc<Plan>, node: &NodePlan, context: &Arc<Context>) -> Result<Prepared> {
        Ok(Prepared::Offload(erased::offload::<O>(plan, node, context)?))
    }
    fn open(&self, _: &SourceSetup<'_>, _: &CameraPlan) -> Result<Box<dyn ErasedSource>> {
        no_camera(O::KIND)
    }
}

impl<Q: Query> OperatorDef for QueryDef<Q> {
    fn spec(&self) -> OperatorSpec {
        let input = PortSpec {
            name: "rows".into(),
            rows: PortRows::AnyRows,
            required: true,
        };
        spec::<Q::Params>(Q::KIND, Role::Query, vec![input], None)
    }
    fn prepare(&self, plan: &Arc<Plan>, node: &NodePlan, context: &Arc<Context>) -> Result<Prepared> {
        Ok(Prepared::Query(erased::query::<Q>(plan, node, context)?))
    }
    fn open(&self, _: &SourceSetup<'_>, _: &CameraPlan) -> Result<Box<dyn ErasedSource>> {
        no_camera(Q::KIND)
    }
}

impl<S: Sink> OperatorDef for SinkDef<S> {
    fn spec(&self) -> OperatorSpec {
        let input = PortSpec {
            name: "rows".into(),
            rows: S::takes(),
            required: true,
        };
        spec::<S::Params>(S::KIND, S::ROLE, vec![input], None)
    }
    fn prepare(&self, plan: &Arc<Plan>, node: &NodePlan, context: &Arc<Context>) -> Result<Prepared> {
        Ok(Prepared::Sink(erased::sink::<S>(plan, node, context)?))
    }
    fn open(&self, _: &SourceSetup<'_>, _: &CameraPlan) -> Result<Box<dyn ErasedSource>> {
        no_camera(S::KIND)
    }
}

impl<S: Source> OperatorDef for SourceDef<S> {
    fn spec(&self) -> OperatorSpec {
        let spec = spec::<S::Params>(S::KIND, Role::Source, Vec::new(), None);
        match S::output() {
            SourceOutput::Always(rows) => OperatorSpec {
                output: Some(rows),
                ..spec
            },
            SourceOutput::ByParam(param, choices) => {
                let choices = choices
                    .into_iter()
                    .map(|(value, rows)| (value.to_owned(), rows))
                    .collect();
                OperatorSpec {
                    output_by: Some((param.to_owned(), choices)),
                    ..spec
                }
            }
        }
    }
    fn prepare(&self, _: &Arc<Plan>, _: &NodePlan, _: &Arc<Context>) -> Result<Prepared> {
        no_node(S::KIND)
    }
    fn open(&self, setup: &SourceSetup<'_>, camera: &CameraPlan) -> Result<Box<dyn ErasedSource>> {
        erased::source::<S>(setup, camera)
    }
}

/// All operators of a binary: the built-in ones and a researcher's own.
#[derive(Clone)]
pub struct Registry {
    definitions: Vec<Arc<dyn OperatorDef>>,
    specs: Vec<OperatorSpec>,
    camera_params: ParamsSchema,
    model_params: ParamsSchema,
}

impl Registry {
    /// No operators; `M` are the parameters of a `model` block.
    pub fn new<M: Params>() -> Self {
        Registry {
            definitions: Vec::new(),
            specs: Vec::new(),
            camera_params: crate::admission::CameraParams::schema(),
            model_params: M::schema(),
        }
    }

    /// Adds a definition. One of a kind that is there already takes its place.
    pub fn add(&mut self, definition: Arc<dyn OperatorDef>) {
        let spec = definition.spec();
        match self
            .specs
            .iter()
            .position(|known| known.kind == spec.kind && known.role == spec.role)
        {
            Some(index) => {
                self.definitions[index] = definition;
                self.specs[index] = spec;
            }
            None => {
                self.definitions.push(definition);
                self.specs.push(spec);
            }
        }
    }

    /// Adds an [`Operator`].
    #[must_use]
    pub fn with<O: Operator>(mut self) -> Self {
        self.add(Arc::new(Def::<O>::new()));
        self
    }

    /// Adds a [`Source`].
    #[must_use]
    pub fn with_source<S: Source>(mut self) -> Self {
        self.add(Arc::new(SourceDef::<S>::new()));
        self
    }

    /// Adds an [`Offload`].
    #[must_use]
    pub fn with_offload<O: Offload>(mut self) -> Self {
        self.add(Arc::new(OffloadDef::<O>::new()));
        self
    }

    /// Adds a [`Sink`].
    #[must_use]
    pub fn with_sink<S: Sink>(mut self) -> Self {
        self.add(Arc::new(SinkDef::<S>::new()));
        self
    }

    /// The definition of a kind in a role.
    pub fn definition(&self, role: Role, kind: &str) -> Option<&Arc<dyn OperatorDef>> {
        let index = self
            .specs
            .iter()
            .position(|spec| spec.role == role && spec.kind == kind)?;
        Some(&self.definitions[index])
    }
}

impl Catalogue for Registry {
    fn operators(&self) -> &[OperatorSpec] {
        &self.specs
    }
    fn camera_params(&self) -> &ParamsSchema {
        &self.camera_params
    }
    fn model_params(&self) -> &ParamsSchema {
        &self.model_params
    }
}
