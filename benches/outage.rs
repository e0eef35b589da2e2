//! Does a camera that goes away hold up the others?
//!
//! Four network cameras of two of GStreamer's servers, each decoded and looked at by a flow of its own; then the first one's
//! server ends, and comes back ten seconds later. Prints, for each of the three spans, the frames of every camera and
//! the time from their admission to their answer. Needs GStreamer's Python bindings (`make setup-tests`). It measures
//! and never fails on what it measures.

#![allow(clippy::unwrap_used, missing_docs)]

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Instant;

use flowrun::engine::metrics::Counts;
use flowrun::engine::run::{Options, Running};
use flowrun::prelude::*;

#[path = "support/brightness.rs"]
mod brightness;
#[path = "../tests/support/rtsp.rs"]
mod server;
#[path = "../tests/support/mod.rs"]
mod support;

use brightness::Brightness;
use server::Server;

/// How long the server is away, and how long is measured before and after.
const SPAN: Duration = Duration::from_secs(10);
/// Longer than any machine takes to show the first pictures.
const PATIENCE: Duration = Duration::from_secs(60);
/// All cameras: the first is on a server of its own.
const CAMERAS: usize = 4;
/// What the cameras send.
const PICTURES: [&str; 4] = ["--size", "640x360", "--fps", "25"];

/// Starts a graph with one camera at each of these places.
fn start(urls: &[String], folder: &std::path::Path) -> Running {
    let graph: String = urls
        .iter()
        .enumerate()
        .map(|(index, url)| {
            format!("cameras site{index} {{ rtsp camera{index} \"{url}\"; }}\nflow flow{index} from=site{index} {{ brightness as=light; }}\n")
        })
        .collect();
    let registry = Registry::builtin().with::<Brightness>();
    let (source, compiled) =
        flowrun::compile_text("outage.kdl", graph, folder, &registry).unwrap_or_else(|error| panic!("{error}"));
    let prepared = flowrun::prepare_compiled(&source, compiled, &registry, &Options::default())
        .unwrap_or_else(|error| panic!("{error}"));
    prepared.start().unwrap()
}

/// Of each camera the latencies so far.
fn latencies(running: &Running) -> Vec<Counts> {
    let generation = running.context().generation();
    let nodes = 0..generation.plan.nodes.len();
    nodes.map(|node| generation.node(node).latency_us.counts()).collect()
}

/// Lets a span pass and prints what it brought.
fn measure(what: &str, running: &Running) {
    let before = latencies(running);
    sleep(SPAN);
    println!("{what}");
    for (camera, (now, then)) in latencies(running).iter().zip(&before).enumerate() {
        let counts = now.since(then);
        let milliseconds = |share: f64| counts.quantile(share) as f64 / 1000.0;
        println!(
            "  camera{camera} {:>5} frames  p50 {:>6.1} ms  p99 {:>6.1} ms",
            counts.count(),
            milliseconds(0.5),
            milliseconds(0.99)
        );
    }
}

fn main() -> ExitCode {
    let others = (CAMERAS - 1).to_string();
    let Some(lone) = Server::start(&PICTURES) else {
        return ExitCode::SUCCESS;
    };
    let Some(rest) = Server::start(&[&PICTURES[..], &["--mounts", &others]].concat()) else {
        return ExitCode::SUCCESS;
    };
    let mut urls = vec![lone.url(0)];
    urls.extend((0..CAMERAS - 1).map(|mount| rest.url(mount)));
    let (folder, port) = (support::Folder::new(), lone.port);
    let running = start(&urls, &folder.path(""));
    let generation = running.context().generation();
    let answers = |node: usize| generation.node(node).answers.load(Ordering::Relaxed);
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < PATIENCE, "{what} never came");
            sleep(Duration::from_millis(10));
        }
        began.elapsed()
    };
    until("pictures of all", &|| (0..CAMERAS).all(|node| answers(node) > 25));
    measure("before", &running);
    drop(lone);
    measure("camera0's server is away", &running);
    let before = answers(0);
    let _again = Server::start_at(port, &PICTURES).expect("it was there before");
    let back = until("camera0", &|| answers(0) > before);
    measure("it is back", &running);
    println!("camera0 showed pictures again after {:.1} s", back.as_secs_f64());
    running.stop();
    match running.wait().failure {
        None => ExitCode::SUCCESS,
        Some(cause) => {
            eprintln!("error: {cause}");
            ExitCode::FAILURE
        }
    }
}
