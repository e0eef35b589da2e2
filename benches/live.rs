//! How long after a picture is taken are its detections there, while the demo is watched?
//!
//! `graphs/junction.kdl`: four synthetic cameras of 640x360 at 10 frames a second, detected at 416 pixels, tracked, drawn, encoded and
//! watched by four viewers of video and three of events on the same machine. The bar on two cores: 150 ms at the 99th
//! percentile, nothing shed. Prints the time from capture to answer of every node over `FLOWRUN_BENCH_SECONDS` (60), after
//! ten seconds of settling, and the processor time that the whole took, viewers included. Needs ONNX Runtime.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Instant;

use flowrun::engine::metrics::Counts;
use flowrun::engine::run::{Options, Report, Running};
use flowrun::prelude::*;
use flowrun::serve::{GraphText, Limits, Server, Settings};

/// The binary's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const CAMERAS: [&str; 4] = ["north", "south", "east", "west"];
const EVENTS: [&str; 3] = ["/events/tracks", "/events/passed", "/events/waiting"];
const SETTLING: Duration = Duration::from_secs(10);

/// Takes whatever comes, in a thread of its own.
struct Client {
    bytes: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Client {
    fn open(address: SocketAddr, target: &str, leaves: &Arc<AtomicBool>) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        write!(stream, "GET {target} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let (bytes, gone) = (Arc::new(AtomicU64::new(0)), leaves.clone());
        let count = bytes.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while !gone.load(Ordering::Relaxed) {
                if let Ok(read) = stream.read(&mut buffer) {
                    count.fetch_add(read as u64, Ordering::Relaxed);
                }
            }
        });
        Ok(Client { bytes, thread })
    }
}

fn cpu_seconds() -> f64 {
    // SAFETY: `usage` is a plain struct of integers, valid when zeroed, and getrusage fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn latencies(running: &Running) -> Vec<(String, Counts)> {
    let generation = running.context().generation();
    let nodes = generation.plan.nodes.iter().enumerate();
    nodes
        .map(|(index, node)| (node.name.clone(), generation.node(index).latency_us.counts()))
        .collect()
}

fn main() -> ExitCode {
    let seconds = std::env::var("FLOWRUN_BENCH_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(60);
    let graphs = Path::new(env!("CARGO_MANIFEST_DIR")).join("graphs");
    let mut graph = std::fs::read_to_string(graphs.join("junction.kdl")).expect("the demo's graph");
    if let Ok(detect) = std::env::var("FLOWRUN_BENCH_DETECT") {
        graph = graph.replace("detect demo", &format!("detect demo {detect}"));
    }
    let registry = Registry::builtin();
    let (source, compiled) =
        flowrun::compile_text("junction.kdl", graph.as_str(), &graphs, &registry).expect("it is right");
    let prepared = match flowrun::prepare_compiled(&source, compiled, &registry, &Options { workers: 2 }) {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("cannot run: {error}");
            return ExitCode::FAILURE;
        }
    };
    let settings = Settings {
        listen: "127.0.0.1:0".parse().expect("an address"),
        token: None,
        allow_host: Vec::new(),
        limits: Limits::default(),
        graph: GraphText::of("junction.kdl", &graph),
    };
    let server = Server::start(settings).expect("a port");
    server.attach(prepared.context());
    let running = prepared.start().expect("threads");
    let leaves = Arc::new(AtomicBool::new(false));
    let targets = CAMERAS.iter().map(|camera| format!("/live/{camera}/stream.mp4"));
    let targets = targets.chain(EVENTS.iter().map(|events| (*events).to_owned()));
    let clients: Result<Vec<(String, Client)>, _> = targets
        .map(|target| Client::open(server.address(), &target, &leaves).map(|client| (target, client)))
        .collect();
    let clients = clients.expect("the server listens");
    sleep(SETTLING);
    let (before, cpu, began) = (latencies(&running), cpu_seconds(), Instant::now());
    sleep(Duration::from_secs(seconds));
    let (after, cpu) = (
        latencies(&running),
        (cpu_seconds() - cpu) / began.elapsed().as_secs_f64(),
    );
    leaves.store(true, Ordering::Relaxed);
    running.stop();
    let report: Report = running.wait();
    println!("capture to answer, {seconds} s, {:.2} cores busy", cpu);
    println!(
        "{:<22} {:>8} {:>8} {:>8} {:>8}  ms",
        "node", "answers", "p50", "p90", "p99"
    );
    for ((name, after), (_, before)) in after.iter().zip(&before) {
        let counts = after.since(before);
        let ms = |share: f64| counts.quantile(share) as f64 / 1e3;
        println!(
            "{name:<22} {:>8} {:>8.1} {:>8.1} {:>8.1}",
            counts.count(),
            ms(0.5),
            ms(0.9),
            ms(0.99)
        );
    }
    let shed: u64 = report.cameras.iter().map(|camera| camera.counts.shed()).sum();
    println!("{shed} frames shed (bar: none, and 150 ms at p99 for vehicles.seen)");
    for (target, client) in clients {
        println!("{target:<28} {:>9} KiB", client.bytes.load(Ordering::Relaxed) / 1024);
        // It has been asked to end, and reads with a limit.
        let _ = client.thread.join();
    }
    server.close();
    ExitCode::SUCCESS
}
