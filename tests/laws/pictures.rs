//! Pictures that leave a run: the same bytes for the same input, made only for those who want them, and nobody waits for
//! a client that does not read.

use std::time::{Duration, Instant};

use flowrun::engine::run::{Options, Report, Running};
use flowrun::engine::site::{Body, Request};

use crate::scene::{Scene, ZONES, cameras, registry};

/// Draws what was found and encodes it.
const WALL: &str = r#"
flow vehicles from=junction { truth; track as=tracks; }
flow wall from=junction {
    draw tracks=vehicles.tracks zones="box,across" clock=utc
    encode h264 preset=ultrafast keyframe-every="500ms" lanes=2 as=video
}
"#;

#[test]
fn recordings_are_the_same_bytes_on_any_number_of_workers() {
    let record = |workers: usize| {
        let scene = Scene::new();
        let graph = format!(
            "{}{ZONES}{WALL}write {{ mp4 \"{{camera}}.mp4\" from=wall.video; }}\n",
            cameras(3, 40, 10)
        );
        let report = scene.run(&graph, workers);
        let encoded = report
            .nodes
            .iter()
            .find(|node| node.name == "wall.video")
            .expect("an encoder");
        assert_eq!((encoded.rows, encoded.errors), (120, 0));
        ["c0.mp4", "c1.mp4", "c2.mp4"].map(|file| scene.bytes(file))
    };
    let alone = record(1);
    assert!(alone.iter().all(|file| file.len() > 10_000));
    assert_ne!(alone[0], alone[1]);
    for workers in [2, 3] {
        assert!(record(workers) == alone, "{workers} workers");
    }
}

/// A live run of two cameras that are published.
struct Live {
    running: Option<Running>,
    runtime: tokio::runtime::Runtime,
    /// Relative paths of the graph begin here.
    _scene: Scene,
}

impl Live {
    fn new() -> Self {
        let scene = Scene::new();
        let graph = format!(
            "cameras junction {{\n    synthetic north fps=20 size=\"320x180\"\n    synthetic south seed=2 fps=20 size=\"320x180\"\n}}\n{ZONES}{WALL}publish {{ hls \"/live/{{camera}}\" segment=\"500ms\" from=wall.video; }}\n"
        );
        let (source, compiled) = flowrun::compile_text("live.kdl", graph, scene.path(), &registry())
            .unwrap_or_else(|error| panic!("{error}"));
        let prepared = flowrun::prepare_compiled(&source, compiled, &registry(), &Options { workers: 2 })
            .unwrap_or_else(|error| panic!("{error}"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build();
        Live {
            running: Some(prepared.start().expect("threads")),
            runtime: runtime.expect("a thread"),
            _scene: scene,
        }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("taken at the end only")
    }

    fn get(&self, path: &str) -> (u16, Body) {
        let site = &self.running().context().audience.site;
        let (path, query) = path
            .split_once('?')
            .map_or((path, None), |(path, query)| (path, Some(query.into())));
        let (resource, rest) = site.find(path).expect("the graph publishes it");
        let request = Request {
            rest,
            query,
            headers: Default::default(),
        };
        let response = self.runtime.block_on(async { resource.get(request).await });
        (response.status().as_u16(), response.into_body())
    }

    fn whole(&self, path: &str) -> Vec<u8> {
        match self.get(path) {
            (200, Body::Whole(bytes)) => bytes.to_vec(),
            (status, _) => panic!("{path}: {status}"),
        }
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8(self.whole(path)).expect("a playlist is text")
    }

    /// Waits until a report says so.
    fn until(&self, what: &str, enough: impl Fn(&Report) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !enough(&Report::of(self.running().context())) {
            assert!(Instant::now() < deadline, "never: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn encoded(&self) -> u64 {
        encoded(&Report::of(self.running().context()))
    }

    fn end(mut self) -> Report {
        let running = self.running.take().expect("taken at the end only");
        running.stop();
        running.wait()
    }
}

fn encoded(report: &Report) -> u64 {
    let node = report
        .nodes
        .iter()
        .find(|node| node.name == "wall.video")
        .expect("an encoder");
    assert_eq!(node.errors, 0);
    node.rows
}

fn answered(report: &Report) -> u64 {
    report
        .cameras
        .iter()
        .map(|camera| camera.counts.answered)
        .min()
        .expect("cameras")
}

/// The value behind the first line that begins so.
fn line<'t>(text: &'t str, begins: &str) -> &'t str {
    let found = text.lines().find_map(|line| line.strip_prefix(begins));
    found.unwrap_or_else(|| panic!("no {begins} in\n{text}"))
}

#[test]
fn pictures_are_encoded_for_whoever_watches_and_for_nobody_else() {
    let live = Live::new();
    live.until("frames come", |report| answered(report) >= 20);
    assert_eq!(live.encoded(), 0, "nobody watches");
    let playlist = live.text("/live/north/index.m3u8");
    assert!(live.encoded() > 0);
    let init = line(&playlist, "#EXT-X-MAP:URI=").trim_matches('"');
    let segment = playlist.lines().find(|line| !line.starts_with('#')).expect("a segment");
    let mut file = live.whole(&format!("/live/north/{init}"));
    file.extend(live.whole(&format!("/live/north/{segment}")));
    let report = live.end();
    let north = &report.cameras[0].counts;
    assert!(
        encoded(&report) <= north.answered - 20,
        "only north is watched, and not from the start"
    );
    assert_eq!(north.admitted, north.answered);
    // What was served is a video that begins with a keyframe: it is a camera for another run.
    let scene = Scene::new();
    std::fs::write(scene.path().join("seen.mp4"), file).expect("written");
    let graph = "cameras seen { file clip \"seen.mp4\" pace=max; }\nflow again from=seen { draw; encode h264; write { mp4 \"again.mp4\"; }; }\n";
    let report = scene.run(graph, 1);
    assert!(report.cameras[0].counts.admitted >= 9, "{:?}", report.cameras[0].counts);
    assert_eq!(report.cameras[0].counts.faults, 0);
    assert!(scene.bytes("again.mp4").len() > 1_000);
}

#[test]
fn a_client_that_does_not_read_keeps_nobody_waiting() {
    let live = Live::new();
    // Two streams that are opened and never read.
    let stalled: Vec<Body> = ["/live/north/stream.mp4", "/live/south/stream.mp4"]
        .map(|path| live.get(path))
        .map(|(status, body)| {
            assert_eq!(status, 200);
            body
        })
        .into();
    let number = |playlist: &str| {
        line(playlist, "#EXT-X-MEDIA-SEQUENCE:")
            .parse::<u64>()
            .expect("a number")
    };
    let first = number(&live.text("/live/north/index.m3u8"));
    let mut newest = first;
    while newest < first + 4 {
        let playlist = live.text(&format!("/live/north/index.m3u8?_HLS_msn={}&_HLS_part=0", newest + 1));
        newest = number(&playlist).max(newest + 1);
    }
    drop(stalled);
    let report = live.end();
    for camera in &report.cameras {
        assert_eq!(
            (camera.counts.admitted, camera.counts.doubled),
            (camera.counts.answered, 0),
            "{}",
            camera.name
        );
    }
}

#[test]
fn inputs_that_are_left_out_are_empty_on_every_picture() {
    let scene = Scene::new();
    let graph = format!(
        "{}flow seen from=junction {{ truth; }}\nflow wall from=junction {{\n    draw detections=seen.truth align=latest\n    encode h264 preset=ultrafast\n    write {{ mp4 \"{{camera}}.mp4\"; }}\n}}\n",
        cameras(1, 12, 10)
    );
    let report = scene.run(&graph, 1);
    assert!(report.nodes.iter().all(|node| node.errors == 0), "{:?}", report.nodes);
    assert!(scene.bytes("c0.mp4").len() > 1_000);
}
