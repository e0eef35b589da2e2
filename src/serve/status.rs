//! `GET /api/status`: the whole run on one page of JSON.

use std::sync::atomic::Ordering;

use flowrun_dsl::port::Role;
use flowrun_engine::health::{CameraHealth, Condition};
use flowrun_engine::rows::CameraId;
use flowrun_engine::run::context::Context;
use flowrun_engine::site::Mount;
use serde::Serialize;

use crate::serve::devices::{Decoders, Engine, Lanes, Pool, Provider, Refused, Shadow};
use crate::serve::placement::Device;
use crate::serve::process::Process;
use crate::serve::rates::Now;
use crate::serve::settings::GraphText;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Models are loaded, cameras are opened.
    Starting,
    /// It runs.
    Running,
    /// It has been told to end, or has failed; what was let in is still answered.
    Ending,
}

impl State {
    /// That of a run, if there is one yet.
    pub fn of(context: Option<&Context>) -> Self {
        match context {
            Some(context) if context.stop.asked() => State::Ending,
            Some(context) if context.clock.has_begun() => State::Running,
            _ => State::Starting,
        }
    }
}

/// The document.
#[derive(Debug, Serialize)]
pub struct Status {
    run: Run,
    cameras: Vec<Camera>,
    nodes: Vec<Node>,
    decoders: Option<Decoders>,
    devices: Vec<Device>,
    engines: Vec<Engine>,
    errors: Vec<Error>,
    site: Vec<Mount>,
    process: Process,
}

#[derive(Debug, Serialize)]
struct Run {
    version: &'static str,
    graph: String,
    hash: String,
    state: State,
    clock: Option<&'static str>,
    elapsed_seconds: f64,
    time_ns: Option<i64>,
    failure: Option<String>,
}

#[derive(Debug, Serialize)]
struct Camera {
    name: String,
    group: String,
    kind: String,
    health: &'static str,
    last_frame_age_seconds: Option<f64>,
    fps: f64,
    width: Option<u32>,
    height: Option<u32>,
    admitted: u64,
    answered: u64,
    in_flight: u64,
    doubled: u64,
    lost: u64,
    shed_in_flight: u64,
    shed_delay: u64,
    shed_backlog: u64,
    faults: u64,
    last_fault: Option<Fault>,
}

#[derive(Debug, Serialize)]
struct Fault {
    age_seconds: f64,
    cause: String,
}

#[derive(Debug, Serialize)]
struct Node {
    name: String,
    kind: String,
    role: Role,
    answers: u64,
    rows: u64,
    errors: u64,
    queue: i64,
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    providers: Vec<Provider>,
    refused: Vec<Refused>,
    shadow: Option<Shadow>,
    lanes: Vec<Lanes>,
    pools: Vec<Pool>,
}

#[derive(Debug, Serialize)]
struct Error {
    number: u64,
    time_ns: i64,
    node: String,
    camera: String,
    frame: u64,
    cause: String,
}

/// Three digits behind the point are as many as anybody reads.
pub fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Milliseconds.
pub fn millis(micros: u64) -> f64 {
    rounded(micros as f64 / 1e3)
}

/// How a camera does now; before the run begins all wait.
pub fn health(context: &Context, camera: CameraId) -> CameraHealth {
    context.health.of_camera(camera, now_us(context))
}

/// Microseconds since the run began; asking the clock itself would begin it.
fn now_us(context: &Context) -> u64 {
    match context.clock.has_begun() {
        true => context.clock.now_us(),
        false => 0,
    }
}

/// The cameras of which nothing is known yet.
pub fn waiting(context: &Context) -> Vec<String> {
    let generation = context.generation();
    let cameras = generation.cameras();
    cameras
        .filter(|(id, _)| health(context, *id).condition == Condition::Waiting)
        .map(|(_, camera)| camera.name.clone())
        .collect()
}

fn cameras(context: &Context, now: &Now) -> Vec<Camera> {
    let generation = context.generation();
    let cameras = generation.cameras();
    cameras
        .map(|(id, camera)| {
            let health = health(context, id);
            let counts = context.ledger.counts(id);
            let elapsed = now_us(context);
            Camera {
                name: camera.name.clone(),
                group: camera.group.clone(),
                kind: camera.kind.clone(),
                health: health.condition.word(),
                last_frame_age_seconds: health.last_frame_age.map(|age| rounded(age.as_secs_f64())),
                fps: rounded(now.camera(&camera.name)),
                width: health.size.map(|size| size.width),
                height: health.size.map(|size| size.height),
                admitted: counts.admitted,
                answered: counts.answered,
                in_flight: counts.admitted.saturating_sub(counts.answered),
                doubled: counts.doubled,
                lost: counts.lost,
                shed_in_flight: counts.shed_in_flight,
                shed_delay: counts.shed_delay,
                shed_backlog: counts.shed_backlog,
                faults: counts.faults,
                last_fault: health.fault.map(|fault| Fault {
                    age_seconds: rounded(elapsed.saturating_sub(fault.at_us) as f64 / 1e6),
                    cause: fault.cause.to_string(),
                }),
            }
        })
        .collect()
}

fn nodes(context: &Context, now: &Now) -> Vec<Node> {
    let generation = context.generation();
    let nodes = generation.plan.nodes.iter().enumerate();
    nodes
        .map(|(index, node)| {
            let (metrics, rate) = (generation.node(index), now.node(&node.name));
            let compute = metrics.compute();
            Node {
                name: node.name.clone(),
                kind: node.kind.clone(),
                role: node.role,
                answers: metrics.answers.load(Ordering::Relaxed),
                rows: metrics.rows.load(Ordering::Relaxed),
                errors: metrics.errors.load(Ordering::Relaxed),
                queue: metrics.queue.load(Ordering::Relaxed),
                rate: rounded(rate.answers),
                p50_ms: millis(rate.p50_us),
                p99_ms: millis(rate.p99_us),
                providers: Provider::all(&compute),
                refused: Refused::all(&compute),
                shadow: Shadow::of(&compute),
                lanes: compute.lanes.iter().map(Lanes::of).collect(),
                pools: compute.pools.iter().map(Pool::of).collect(),
            }
        })
        .collect()
}

fn errors(context: &Context) -> Vec<Error> {
    let recent = context.recent.list().into_iter();
    recent
        .map(|error| Error {
            number: error.number,
            time_ns: error.time.0,
            node: error.node.to_string(),
            camera: error.camera.to_string(),
            frame: error.frame,
            cause: error.cause.to_string(),
        })
        .collect()
}

impl Status {
    /// Of a run that is under way, or of none yet.
    pub fn of(context: Option<&Context>, now: &Now, graph: &GraphText) -> Self {
        let begun = context.filter(|context| context.clock.has_begun());
        let run = Run {
            version: env!("CARGO_PKG_VERSION"),
            graph: graph.name.clone(),
            hash: graph.hash.clone(),
            state: State::of(context),
            clock: context.map(|context| if context.clock.is_offline() { "offline" } else { "live" }),
            elapsed_seconds: begun.map_or(0.0, |context| rounded(context.clock.elapsed().as_secs_f64())),
            time_ns: begun.map(|context| context.clock.wall().0),
            failure: context.and_then(Context::failure),
        };
        Status {
            run,
            cameras: context.map_or_else(Vec::new, |context| cameras(context, now)),
            nodes: context.map_or_else(Vec::new, |context| nodes(context, now)),
            decoders: context.map(Decoders::of),
            devices: context.map_or_else(Vec::new, Device::all),
            engines: context.map_or_else(Vec::new, Engine::all),
            errors: context.map_or_else(Vec::new, errors),
            site: context.map_or_else(Vec::new, |context| context.audience.site.list()),
            process: Process::now(),
        }
    }
}
