//! The devices of a run, in metrics and in the status: which cameras are on each, and what it has left.

use flowrun_engine::device::{DeviceState, Seat};
use flowrun_engine::run::context::Context;
use serde::Serialize;

use crate::serve::metrics::Exposition;

/// A device.
#[derive(Debug, Serialize)]
pub struct Device {
    kind: &'static str,
    number: usize,
    name: String,
    well: bool,
    cameras: usize,
    decoding: usize,
    waiting: usize,
    free_bytes: Option<usize>,
    memory_bytes: Option<usize>,
    moves: Vec<Moves>,
}

/// How many cameras moved for a cause.
#[derive(Debug, Serialize)]
pub struct Moves {
    cause: &'static str,
    cameras: u64,
}

/// Those of a run that are open.
fn states(context: &Context) -> Vec<DeviceState> {
    let open = context.decoders.devices().open();
    open.iter().map(Seat::state).collect()
}

impl Device {
    /// Those of a run that are open.
    pub fn all(context: &Context) -> Vec<Self> {
        let device = |state: DeviceState| Device {
            kind: state.kind.word(),
            number: state.ordinal,
            well: state.is_well,
            cameras: state.cameras,
            decoding: state.sessions,
            waiting: state.waiting,
            free_bytes: state.memory.map(|memory| memory.free),
            memory_bytes: state.memory.map(|memory| memory.whole),
            moves: state
                .moves
                .iter()
                .map(|(cause, cameras)| Moves {
                    cause: cause.word(),
                    cameras: *cameras,
                })
                .collect(),
            name: state.name,
        };
        states(context).into_iter().map(device).collect()
    }
}

/// All of it as metrics.
pub fn expose(out: &mut Exposition, context: &Context) {
    let states = states(context);
    let gauges: [(&str, &str, fn(&DeviceState) -> Option<usize>); 6] = [
        (
            "flowrun_device_well",
            "Whether cameras may go to the device: 0 while it is left alone.",
            |state| Some(usize::from(state.is_well)),
        ),
        ("flowrun_device_cameras", "Cameras that are on the device.", |state| {
            Some(state.cameras)
        }),
        (
            "flowrun_device_decoder_sessions",
            "Cameras that decode on the device.",
            |state| Some(state.sessions),
        ),
        (
            "flowrun_device_waiting",
            "Pictures that wait for the device's lanes.",
            |state| Some(state.waiting),
        ),
        (
            "flowrun_device_free_bytes",
            "Memory of the device that can be had.",
            |state| state.memory.map(|memory| memory.free),
        ),
        ("flowrun_device_memory_bytes", "Memory of the device.", |state| {
            state.memory.map(|memory| memory.whole)
        }),
    ];
    for (name, help, value) in gauges {
        out.family(name, "gauge", help);
        for state in &states {
            if let Some(value) = value(state) {
                out.sample(
                    name,
                    &[("kind", state.kind.word()), ("device", &state.ordinal.to_string())],
                    value,
                );
            }
        }
    }
    let name = "flowrun_device_moves_total";
    let help = "Cameras that left the device, and those that came back to it (`returned`), by cause.";
    out.family(name, "counter", help);
    for state in &states {
        let device = state.ordinal.to_string();
        for (cause, cameras) in &state.moves {
            let labels = [
                ("kind", state.kind.word()),
                ("device", &*device),
                ("cause", cause.word()),
            ];
            out.sample(name, &labels, cameras);
        }
    }
}
