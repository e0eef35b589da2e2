//! A run with its server, in this process.

use std::net::SocketAddr;
use std::sync::Arc;

use flowrun::dsl::system::Confined;
use flowrun::engine::reload::Editor;
use flowrun::engine::run::{Options, PreparedRun, Report, Running};
use flowrun::live::{History, Live, Rules};
use flowrun::prelude::*;
use flowrun::serve::{GraphText, Limits, Server, Settings, Token};

pub const SECRET: &str = "correct-horse-battery-staple";

/// Two cameras without an end, and all that a graph can publish of rows.
pub const JUNCTION: &str = r#"
cameras junction {
    synthetic north seed=7 fps=50
    synthetic south seed=8 fps=20
}
zones cameras=junction {
    line across 0.0 0.55 1.0 0.55
}
flow vehicles from=junction {
    truth
    track as=tracks
    cross lines=across as=crossings
}
query passed from=vehicles.crossings {
    window   "1s"
    group-by camera
    select   passed="count(distinct track)"
}
publish {
    sse "/events/tracks/{camera}" from=vehicles.tracks group=frame
    sse "/events/crossings" from=vehicles.crossings
    sse "/events/passed" from=passed
    sse "/events/errors" from="*.errors"
}
"#;

pub struct Served {
    pub address: SocketAddr,
    server: Option<Server>,
    running: Option<Running>,
    /// Paths of the graph start here.
    _folder: tempfile::TempDir,
}

pub fn settings() -> Settings {
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        token: None,
        allow_host: Vec::new(),
        limits: Limits::default(),
        graph: GraphText::of("graph.kdl", JUNCTION),
    }
}

pub fn with_token() -> Settings {
    Settings {
        token: Some(Token::chosen(SECRET).unwrap()),
        ..settings()
    }
}

pub fn prepared(graph: &str, folder: &std::path::Path) -> PreparedRun {
    let registry = Registry::builtin();
    let (source, compiled) =
        flowrun::compile_text("graph.kdl", graph, folder, &registry).unwrap_or_else(|error| panic!("{error}"));
    flowrun::prepare_compiled(&source, compiled, &registry, &Options::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A graph of a folder that may be edited.
fn live(graph: &str, folder: &std::path::Path, editor: Editor) -> Arc<Live> {
    let registry = Registry::builtin();
    let (source, _) = flowrun::compile_text("graph.kdl", graph, folder, &registry).unwrap();
    let rules = Rules {
        system: Confined::to(vec![folder.canonicalize().unwrap()]),
        allow_paths: false,
        probation: None,
    };
    let path = folder.join("graph.kdl");
    Live::new(&path, source, &registry, editor, rules, History::none())
}

impl Served {
    /// Runs a graph beside files of these names.
    pub fn beside(graph: &str, settings: Settings, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let server = Server::start(settings).unwrap();
        let prepared = prepared(graph, folder.path());
        server.attach(prepared.context());
        let running = prepared.start().unwrap();
        server.edit(&live(graph, folder.path(), running.editor().clone()));
        Served {
            address: server.address(),
            server: Some(server),
            running: Some(running),
            _folder: folder,
        }
    }

    pub fn of(graph: &str, settings: Settings) -> Self {
        Self::beside(graph, settings, &[])
    }

    pub fn junction() -> Self {
        Self::of(JUNCTION, settings())
    }

    pub fn editor(&self) -> &Editor {
        self.running.as_ref().expect("not ended yet").editor()
    }

    pub fn is_finished(&self) -> bool {
        self.running.as_ref().is_none_or(Running::is_finished)
    }

    /// Ends the run and gives what became of it; the server stays.
    pub fn end(&mut self) -> Report {
        let running = self.running.take().expect("it ends once");
        running.stop();
        running.wait()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
            running.wait();
        }
        if let Some(server) = self.server.take() {
            server.close();
        }
    }
}
