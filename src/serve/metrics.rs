//! `GET /metrics`: counts and latencies in Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use flowrun_engine::health::Condition;
use flowrun_engine::metrics::Counts;
use flowrun_engine::run::context::Context;

use crate::serve::process::Process;
use crate::serve::settings::GraphText;
use crate::serve::status::health;
use crate::serve::{devices, placement};

/// The upper ends of the latency histogram, in microseconds.
const LATENCY_US: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// Text in the format.
pub struct Exposition(String);

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Exposition {
    /// Begins a family of samples.
    pub fn family(&mut self, name: &str, ty: &str, help: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {ty}\n"));
    }

    /// One sample of the family that was begun last.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            // A string takes any text.
            let _ = write!(self.0, "{before}{label}=\"{}\"", escaped(text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, ty: &str, help: &str, value: impl Display) {
        self.family(name, ty, help);
        self.sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, label: (&str, &str), counts: &Counts) {
        let bucket = format!("{name}_bucket");
        for upper in LATENCY_US {
            let end = (upper as f64 / 1e6).to_string();
            self.sample(&bucket, &[label, ("le", &end)], counts.through(upper));
        }
        self.sample(&bucket, &[label, ("le", "+Inf")], counts.count());
        self.sample(&format!("{name}_sum"), &[label], counts.sum as f64 / 1e6);
        self.sample(&format!("{name}_count"), &[label], counts.count());
    }
}

/// What the server knows of itself.
pub struct Own {
    /// Connections now.
    pub connections: usize,
    /// Connections for which there was no room.
    pub refused: u64,
}

/// All metrics of a run that is under way, or of none yet.
pub fn text(context: Option<&Context>, graph: &GraphText, own: &Own) -> String {
    let mut out = Exposition(String::new());
    out.family("flowrun_build_info", "gauge", "The program's version.");
    out.sample("flowrun_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    out.family(
        "flowrun_graph_info",
        "gauge",
        "The graph that runs, by the SHA-256 of its text.",
    );
    out.sample("flowrun_graph_info", &[("hash", &graph.hash)], 1);
    let begun = context.filter(|context| context.clock.has_begun());
    if let Some(context) = begun {
        let elapsed = context.clock.elapsed().as_secs_f64();
        out.single("flowrun_run_seconds", "gauge", "Time since the run began.", elapsed);
        cameras(&mut out, context);
        nodes(&mut out, context);
        devices::expose(&mut out, context);
        placement::expose(&mut out, context);
    }
    let help = "Connections to this server now.";
    out.single("flowrun_server_connections", "gauge", help, own.connections);
    let help = "Connections that this server had no room for.";
    out.single("flowrun_server_connections_refused_total", "counter", help, own.refused);
    let process = Process::now();
    let help = "Resident memory size in bytes.";
    out.single("process_resident_memory_bytes", "gauge", help, process.rss_bytes);
    let help = "Total user and system CPU time spent in seconds.";
    out.single("process_cpu_seconds_total", "counter", help, process.cpu_seconds);
    let help = "Number of open file descriptors.";
    out.single("process_open_fds", "gauge", help, process.open_files);
    out.0
}

fn cameras(out: &mut Exposition, context: &Context) {
    let generation = context.generation();
    let all: Vec<_> = generation
        .cameras()
        .map(|(id, camera)| {
            let labels = [("camera", camera.name.as_str()), ("group", camera.group.as_str())];
            (labels, context.ledger.counts(id), health(context, id))
        })
        .collect();
    out.family("flowrun_camera_admitted_total", "counter", "Frames let in.");
    for (labels, counts, _) in &all {
        out.sample("flowrun_camera_admitted_total", labels, counts.admitted);
    }
    out.family(
        "flowrun_camera_answered_total",
        "counter",
        "Frames that every end of the graph has answered.",
    );
    for (labels, counts, _) in &all {
        out.sample("flowrun_camera_answered_total", labels, counts.answered);
    }
    out.family(
        "flowrun_camera_doubled_total",
        "counter",
        "Answers beyond one a frame: always 0.",
    );
    for (labels, counts, _) in &all {
        out.sample("flowrun_camera_doubled_total", labels, counts.doubled);
    }
    out.family(
        "flowrun_camera_lost_total",
        "counter",
        "Frames that an end of the graph went past without an answer: always 0.",
    );
    for (labels, counts, _) in &all {
        out.sample("flowrun_camera_lost_total", labels, counts.lost);
    }
    out.family(
        "flowrun_camera_shed_total",
        "counter",
        "Frames turned away at the door, by reason.",
    );
    for ([camera, group], counts, _) in &all {
        for (reason, count) in [
            ("in-flight", counts.shed_in_flight),
            ("delay", counts.shed_delay),
            ("backlog", counts.shed_backlog),
        ] {
            out.sample(
                "flowrun_camera_shed_total",
                &[*camera, *group, ("reason", reason)],
                count,
            );
        }
    }
    out.family(
        "flowrun_camera_faults_total",
        "counter",
        "What the camera's source could not read.",
    );
    for (labels, counts, _) in &all {
        out.sample("flowrun_camera_faults_total", labels, counts.faults);
    }
    out.family(
        "flowrun_camera_up",
        "gauge",
        "Whether a frame has come within the last two seconds.",
    );
    for (labels, _, health) in &all {
        out.sample(
            "flowrun_camera_up",
            labels,
            u8::from(health.condition == Condition::Live),
        );
    }
    let name = "flowrun_camera_last_frame_age_seconds";
    out.family(
        name,
        "gauge",
        "Time since the camera's last frame; none before the first.",
    );
    for (labels, _, health) in &all {
        if let Some(age) = health.last_frame_age {
            out.sample(name, labels, age.as_secs_f64());
        }
    }
}

fn nodes(out: &mut Exposition, context: &Context) {
    let generation = context.generation();
    let nodes = generation.plan.nodes.iter().enumerate();
    let all: Vec<_> = nodes
        .map(|(index, node)| (("node", node.name.as_str()), generation.node(index)))
        .collect();
    out.family(
        "flowrun_node_answers_total",
        "counter",
        "Frames that the node has answered.",
    );
    for (label, node) in &all {
        out.sample(
            "flowrun_node_answers_total",
            &[*label],
            node.answers.load(Ordering::Relaxed),
        );
    }
    out.family("flowrun_node_rows_total", "counter", "Rows that the node has emitted.");
    for (label, node) in &all {
        out.sample("flowrun_node_rows_total", &[*label], node.rows.load(Ordering::Relaxed));
    }
    out.family(
        "flowrun_node_errors_total",
        "counter",
        "Frames that the node failed on.",
    );
    for (label, node) in &all {
        out.sample(
            "flowrun_node_errors_total",
            &[*label],
            node.errors.load(Ordering::Relaxed),
        );
    }
    out.family("flowrun_node_queue", "gauge", "Frames that wait inside the node.");
    for (label, node) in &all {
        out.sample("flowrun_node_queue", &[*label], node.queue.load(Ordering::Relaxed));
    }
    out.family(
        "flowrun_node_busy_seconds_total",
        "counter",
        "Time spent in the node's own code.",
    );
    for (label, node) in &all {
        let busy = node.busy_ns.load(Ordering::Relaxed) as f64 / 1e9;
        out.sample("flowrun_node_busy_seconds_total", &[*label], busy);
    }
    let name = "flowrun_node_latency_seconds";
    out.family(name, "histogram", "Time from a frame's admission to the node's answer.");
    for (label, node) in &all {
        out.histogram(name, *label, &node.latency_us.counts());
    }
}
