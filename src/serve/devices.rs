//! What devices do for a run, in metrics and in the status: providers behind their breakers, pools, decoders.

use flowrun_engine::device::{PoolState, Tier, TierState, TiersState};
use flowrun_engine::infer::BreakerState;
use flowrun_engine::metrics::{ComputeState, LaneState};
use flowrun_engine::run::context::Context;
use serde::Serialize;

use crate::serve::metrics::Exposition;
use crate::serve::status::rounded;

/// A model's provider.
#[derive(Debug, Serialize)]
pub struct Provider {
    name: String,
    device: Option<usize>,
    serves: bool,
    breaker: &'static str,
    opened: u64,
    served: u64,
    failed: u64,
    batch: usize,
}

/// A pool of memory.
#[derive(Debug, Serialize)]
pub struct Pool {
    name: &'static str,
    device: usize,
    reserved_bytes: usize,
    lent_bytes: usize,
    most_lent_bytes: usize,
    occupancy: f64,
    fragmentation: f64,
    refused: u64,
}

/// A provider that does not compute a node's model.
#[derive(Debug, Serialize)]
pub struct Refused {
    name: String,
    cause: String,
    is_loss: bool,
}

/// A second model that looks at a share of a node's frames.
#[derive(Debug, Serialize)]
pub struct Shadow {
    model: String,
    provider: String,
    compared: u64,
    skipped: u64,
    failed: u64,
    matched: u64,
    only_main: u64,
    only_shadow: u64,
    share: f64,
    mean_score_drift: f64,
    most_score_drift: f64,
}

/// An engine that was not there when a model was opened.
#[derive(Debug, Serialize)]
pub struct Engine {
    model: String,
    provider: String,
    stage: &'static str,
    cause: Option<String>,
}

/// The lanes of a device, or of the host.
#[derive(Debug, Serialize)]
pub struct Lanes {
    least: usize,
    most: usize,
    open: usize,
    busy: usize,
}

impl Lanes {
    /// As they stand.
    pub fn of(state: &LaneState) -> Self {
        let LaneState {
            least,
            most,
            open,
            busy,
        } = *state;
        Lanes {
            least,
            most,
            open,
            busy,
        }
    }
}

/// Where cameras decode.
#[derive(Debug, Serialize)]
pub struct Decoders {
    on_device: u64,
    on_host: u64,
    spilled: u64,
    fetched: u64,
    pools: Vec<Pool>,
}

impl Provider {
    /// The providers that a node's model has.
    pub fn all(state: &ComputeState) -> Vec<Self> {
        let providers = state.providers.iter();
        providers
            .map(|rung| Provider {
                name: rung.provider.to_string(),
                device: rung.device,
                serves: rung.serves,
                breaker: rung.breaker.word(),
                opened: rung.opened,
                served: rung.served,
                failed: rung.failed,
                batch: rung.most,
            })
            .collect()
    }
}

impl Refused {
    /// Why better providers do not compute a node's model.
    pub fn all(state: &ComputeState) -> Vec<Self> {
        let refusals = state.refusals.iter();
        refusals
            .map(|refusal| Refused {
                name: refusal.provider.to_string(),
                cause: refusal.cause.clone(),
                is_loss: refusal.is_loss,
            })
            .collect()
    }
}

impl Shadow {
    /// How far a node's shadow agrees.
    pub fn of(state: &ComputeState) -> Option<Self> {
        let shadow = state.shadow.as_ref()?;
        let [mean, most] = shadow.score_drift;
        Some(Shadow {
            model: shadow.model.clone(),
            provider: shadow.provider.to_string(),
            compared: shadow.compared,
            skipped: shadow.skipped,
            failed: shadow.failed,
            matched: shadow.matched,
            only_main: shadow.only_main,
            only_shadow: shadow.only_shadow,
            share: shadow.share(),
            mean_score_drift: mean,
            most_score_drift: most,
        })
    }
}

impl Engine {
    /// Those that a run has wanted.
    pub fn all(context: &Context) -> Vec<Self> {
        let builds = context.builds.list().into_iter();
        builds
            .map(|build| Engine {
                model: build.wanted.name,
                provider: build.wanted.provider.to_string(),
                stage: build.stage.word(),
                cause: build.stage.cause().map(str::to_owned),
            })
            .collect()
    }
}

impl Pool {
    /// A pool as it stands.
    pub fn of((name, device, state): &(&'static str, usize, PoolState)) -> Self {
        Pool {
            name,
            device: *device,
            reserved_bytes: state.reserved_bytes,
            lent_bytes: state.lent_bytes,
            most_lent_bytes: state.most_lent_bytes,
            occupancy: rounded(state.occupancy().into()),
            fragmentation: rounded(state.fragmentation.into()),
            refused: state.refused,
        }
    }
}

/// The pools that decoded pictures go through.
fn decoded_pools(context: &Context) -> Vec<(&'static str, usize, PoolState)> {
    let open = context.decoders.devices().open();
    let both = open.iter().flat_map(|seat| {
        let (device, pool) = (seat.ordinal(), seat.pool());
        [("decoded", device, pool.state()), ("fetched", device, pool.staging())]
    });
    both.filter(|(_, _, state)| *state != PoolState::default()).collect()
}

fn fetched(context: &Context) -> u64 {
    context.decoders.pools().iter().map(|pool| pool.fetched()).sum()
}

impl Decoders {
    /// Those of a run.
    pub fn of(context: &Context) -> Self {
        let counts = context.decoders.counts();
        Decoders {
            on_device: counts.on_device,
            on_host: counts.on_host,
            spilled: counts.spilled,
            fetched: fetched(context),
            pools: decoded_pools(context).iter().map(Pool::of).collect(),
        }
    }
}

/// All of it as metrics.
pub fn expose(out: &mut Exposition, context: &Context) {
    let counts = context.decoders.counts();
    let name = "flowrun_decoder_sessions";
    out.family(name, "gauge", "Cameras that decode, on a device and on the processor.");
    out.sample(name, &[("on", "device")], counts.on_device);
    out.sample(name, &[("on", "host")], counts.on_host);
    let help = "Cameras that a device was to decode and the processor had to.";
    out.single("flowrun_decoder_spilled_total", "counter", help, counts.spilled);
    let help = "Pictures that were brought from a device to the host.";
    out.single("flowrun_pictures_fetched_total", "counter", help, fetched(context));
    let generation = context.generation();
    let nodes = generation.plan.nodes.iter().enumerate();
    let all: Vec<(&str, ComputeState)> = nodes
        .map(|(index, node)| (node.name.as_str(), generation.node(index).compute()))
        .filter(|(_, state)| *state != ComputeState::default())
        .collect();
    providers(out, &all);
    refusals(out, &all);
    shadows(out, &all);
    let name = "flowrun_model_engine";
    out.family(
        name,
        "gauge",
        "Engines that were not there when a model was opened: 1 at how far each has come.",
    );
    for engine in Engine::all(context) {
        let labels = [
            ("model", engine.model.as_str()),
            ("provider", &engine.provider),
            ("stage", engine.stage),
            ("cause", engine.cause.as_deref().unwrap_or_default()),
        ];
        out.sample(name, &labels, 1);
    }
    let decoded = decoded_pools(context);
    let own = all
        .iter()
        .flat_map(|(node, state)| state.pools.iter().map(move |pool| (*node, *pool)));
    let pools: Vec<_> = own.chain(decoded.into_iter().map(|pool| ("", pool))).collect();
    self::pools(out, &pools);
    lanes(out, &all);
    tiers(out, &all);
}

/// How many batches of a node are computed at once.
fn lanes(out: &mut Exposition, all: &[(&str, ComputeState)]) {
    let name = "flowrun_lanes";
    let help = "Lanes that compute batches, on a GPU each with a stream of its own: how many may now, have one now, and may at \
                least and at most. `group` is the place among the node's devices.";
    out.family(name, "gauge", help);
    for (node, state) in all {
        for (group, lanes) in state.lanes.iter().enumerate() {
            let group = group.to_string();
            let counts = [
                ("open", lanes.open),
                ("busy", lanes.busy),
                ("least", lanes.least),
                ("most", lanes.most),
            ];
            for (what, count) in counts {
                out.sample(name, &[("node", node), ("group", &group), ("what", what)], count as u64);
            }
        }
    }
}

/// Where nodes keep pictures.
fn tiers(out: &mut Exposition, all: &[(&str, ComputeState)]) {
    let kept: Vec<(&str, TiersState)> = all
        .iter()
        .filter_map(|(node, state)| Some((*node, state.tiers?)))
        .collect();
    type Read = fn(&TierState) -> u64;
    let families: [(&str, &str, &str, Read); 6] = [
        (
            "flowrun_tier_bytes",
            "gauge",
            "Bytes of kept pictures, by tier.",
            |tier| tier.bytes,
        ),
        (
            "flowrun_tier_high_water_bytes",
            "gauge",
            "The most bytes of kept pictures that there ever were, by tier.",
            |tier| tier.most_bytes,
        ),
        (
            "flowrun_tier_budget_bytes",
            "gauge",
            "The most bytes that the tier may hold.",
            |tier| tier.budget_bytes,
        ),
        ("flowrun_tier_pictures", "gauge", "Kept pictures, by tier.", |tier| {
            tier.pictures
        }),
        (
            "flowrun_tier_demotions_total",
            "counter",
            "Pictures that went from the tier to a lower one.",
            |tier| tier.demoted,
        ),
        (
            "flowrun_tier_promotions_total",
            "counter",
            "Pictures that came back from the tier to a higher one.",
            |tier| tier.promoted,
        ),
    ];
    for (name, ty, help, read) in families {
        out.family(name, ty, help);
        for (node, state) in &kept {
            for tier in Tier::ALL {
                out.sample(name, &[("node", node), ("tier", tier.word())], read(state.of(tier)));
            }
        }
    }
    let name = "flowrun_tier_lost_total";
    out.family(
        name,
        "counter",
        "Kept pictures that are gone before their time, by reason: no room, or a failure.",
    );
    for (node, state) in &kept {
        for (reason, count) in [("budget", state.forgotten), ("failure", state.failed)] {
            out.sample(name, &[("node", node), ("reason", reason)], count);
        }
    }
}

fn providers(out: &mut Exposition, all: &[(&str, ComputeState)]) {
    let each = || {
        all.iter().flat_map(|(node, state)| {
            let providers = state.providers.iter();
            providers.map(move |rung| {
                let device = rung.device.map(|device| device.to_string()).unwrap_or_default();
                (*node, rung.provider.to_string(), device, rung)
            })
        })
    };
    let name = "flowrun_model_serving";
    out.family(name, "gauge", "Whether the provider computes the node's model now.");
    for (node, provider, device, rung) in each() {
        let labels = [("node", node), ("provider", &*provider), ("device", &*device)];
        out.sample(name, &labels, u8::from(rung.serves));
    }
    let name = "flowrun_model_breaker";
    out.family(name, "gauge", "How the provider's breaker stands: 1 at its state.");
    for (node, provider, device, rung) in each() {
        for state in [BreakerState::Closed, BreakerState::HalfOpen, BreakerState::Open] {
            let labels = [
                ("node", node),
                ("provider", &*provider),
                ("device", &*device),
                ("state", state.word()),
            ];
            out.sample(name, &labels, u8::from(rung.breaker == state));
        }
    }
    let name = "flowrun_model_breaker_opened_total";
    out.family(name, "counter", "How often the provider's breaker has opened.");
    for (node, provider, device, rung) in each() {
        let labels = [("node", node), ("provider", &*provider), ("device", &*device)];
        out.sample(name, &labels, rung.opened);
    }
    let name = "flowrun_model_batches_total";
    out.family(name, "counter", "Batches that the provider was given, by outcome.");
    for (node, provider, device, rung) in each() {
        for (outcome, count) in [("served", rung.served), ("failed", rung.failed)] {
            let labels = [
                ("node", node),
                ("provider", &*provider),
                ("device", &*device),
                ("outcome", outcome),
            ];
            out.sample(name, &labels, count);
        }
    }
    let name = "flowrun_model_batch_limit";
    out.family(name, "gauge", "The largest batch that the provider is given now.");
    for (node, provider, device, rung) in each() {
        let labels = [("node", node), ("provider", &*provider), ("device", &*device)];
        out.sample(name, &labels, rung.most);
    }
}

fn shadows(out: &mut Exposition, all: &[(&str, ComputeState)]) {
    let shadows = || {
        all.iter()
            .filter_map(|(node, state)| Some((*node, state.shadow.as_ref()?)))
    };
    let name = "flowrun_shadow_frames_total";
    out.family(
        name,
        "counter",
        "Frames that the node's shadow model was to look at, by outcome.",
    );
    for (node, shadow) in shadows() {
        let outcomes = [
            ("compared", shadow.compared),
            ("skipped", shadow.skipped),
            ("failed", shadow.failed),
        ];
        for (outcome, count) in outcomes {
            out.sample(
                name,
                &[("node", node), ("model", &shadow.model), ("outcome", outcome)],
                count,
            );
        }
    }
    let name = "flowrun_shadow_boxes_total";
    out.family(
        name,
        "counter",
        "Boxes on those frames, by which of the two models found them.",
    );
    for (node, shadow) in shadows() {
        let boxes = [
            ("both", shadow.matched),
            ("main", shadow.only_main),
            ("shadow", shadow.only_shadow),
        ];
        for (by, count) in boxes {
            out.sample(name, &[("node", node), ("model", &shadow.model), ("found", by)], count);
        }
    }
    let name = "flowrun_shadow_score_drift";
    out.family(
        name,
        "gauge",
        "How far the scores of boxes that both found are apart, on average and at most.",
    );
    for (node, shadow) in shadows() {
        for (what, drift) in ["mean", "most"].into_iter().zip(shadow.score_drift) {
            out.sample(name, &[("node", node), ("model", &shadow.model), ("what", what)], drift);
        }
    }
}

fn refusals(out: &mut Exposition, all: &[(&str, ComputeState)]) {
    let name = "flowrun_model_refused";
    out.family(
        name,
        "gauge",
        "Providers that do not compute the node's model, and why; a loss makes the run slower than it need be.",
    );
    for (node, state) in all {
        for refused in Refused::all(state) {
            let loss = if refused.is_loss { "yes" } else { "no" };
            let labels = [
                ("node", *node),
                ("provider", &refused.name),
                ("loss", loss),
                ("cause", &refused.cause),
            ];
            out.sample(name, &labels, 1);
        }
    }
}

/// `node` is empty for those of decoders.
fn pools(out: &mut Exposition, all: &[(&str, (&'static str, usize, PoolState))]) {
    let name = "flowrun_pool_bytes";
    out.family(
        name,
        "gauge",
        "Bytes of pooled memory: reserved, lent now, and the most that ever was lent.",
    );
    for (node, (pool, device, state)) in all {
        let device = device.to_string();
        let bytes = [
            ("reserved", state.reserved_bytes),
            ("lent", state.lent_bytes),
            ("most-lent", state.most_lent_bytes),
        ];
        for (what, bytes) in bytes {
            out.sample(
                name,
                &[("node", node), ("pool", pool), ("device", &device), ("what", what)],
                bytes,
            );
        }
    }
    let name = "flowrun_pool_fragmentation_ratio";
    out.family(
        name,
        "gauge",
        "Which share of the bytes that are lent nobody asked for.",
    );
    for (node, (pool, device, state)) in all {
        let device = device.to_string();
        out.sample(
            name,
            &[("node", node), ("pool", pool), ("device", &device)],
            state.fragmentation,
        );
    }
    let name = "flowrun_pool_refused_total";
    out.family(name, "counter", "How often a pool had nothing to lend.");
    for (node, (pool, device, state)) in all {
        let device = device.to_string();
        out.sample(
            name,
            &[("node", node), ("pool", pool), ("device", &device)],
            state.refused,
        );
    }
}
