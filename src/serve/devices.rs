//! What devices do for a run, in metrics and in the status: providers behind their breakers, pools, decoders.

use flowrun_engine::device::PoolState;
use flowrun_engine::infer::BreakerState;
use flowrun_engine::metrics::ComputeState;
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
    let decoded = decoded_pools(context);
    let own = all
        .iter()
        .flat_map(|(node, state)| state.pools.iter().map(move |pool| (*node, *pool)));
    let pools: Vec<_> = own.chain(decoded.into_iter().map(|pool| ("", pool))).collect();
    self::pools(out, &pools);
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
