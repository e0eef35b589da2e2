//! `flowrun run`: runs a graph file to its end, or until it is told to stop.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use flowrun_dsl::diagnostic::code;
use flowrun_dsl::graph::server::Listen;
use flowrun_dsl::{Compiled, Diagnostic, Diagnostics, SourceFile};
use flowrun_engine::registry::Registry;
use flowrun_engine::reload::Probation;
use flowrun_engine::run::{Options, Report};

use crate::cmd::file::GraphFile;
use crate::cmd::{Exit, Format, present, refuse};
use crate::engines::ChildBuilder;
use crate::graph::{GraphError, prepare_compiled};
use crate::live::{EditError, Found, History, Live, Rules, Watcher};
use crate::serve::{GraphText, Server, Settings};

/// How often the status line is written anew in a terminal, and a plain line elsewhere.
const STATUS_EVERY: Duration = Duration::from_millis(500);
const PLAIN_EVERY: Duration = Duration::from_secs(10);

#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    graph: GraphFile,
    /// Dataflow workers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Stop after this long, as in 30s or 10m
    #[arg(long = "for", value_name = "DURATION", value_parser = flowrun_dsl::value::parse_duration)]
    duration: Option<Duration>,
    /// Serve the run over HTTP at this address and port, as in 127.0.0.1:8080; port 0 takes any that is free, 8080+ the
    /// next that is free
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<Listen>,
    /// Take a saved graph file as an edit of what runs
    #[arg(long)]
    watch: bool,
    /// Let edits that come over the server name paths and variables that the graph at work does not
    #[arg(long)]
    allow_paths: bool,
    /// How long an edit is watched, and taken back where it fails or is slow; 0s trusts every edit
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = flowrun_dsl::value::parse_duration)]
    probation: Duration,
    /// Write no status while running and no summary at the end
    #[arg(long)]
    quiet: bool,
}

impl Run {
    pub fn execute(&self, registry: &Registry) -> Exit {
        let signals = Signals::listen();
        match self.run(registry, &signals) {
            Ok(report) => {
                if !self.quiet {
                    eprint!("{}", summary(&report));
                }
                match report.failure {
                    Some(cause) => refuse(&GraphError::Failed(cause), Format::Text),
                    None => Exit::Done,
                }
            }
            Err(error) => refuse(&error, Format::Text),
        }
    }

    fn run(&self, registry: &Registry, signals: &Signals) -> Result<Report, GraphError> {
        let history = History::of(self.graph.path());
        // What is saved from now on is an edit.
        let began_with = self.watch.then(|| std::fs::read(self.graph.path()).unwrap_or_default());
        let (source, compiled) = self.begin(registry, &history)?;
        let mut warnings = Diagnostics::default();
        // What `--listen` mends is not worth a word.
        let served = |warning: &&Diagnostic| self.listen.is_some() && warning.code == code::NO_SERVER;
        let worth_saying = compiled.warnings.iter().filter(|warning| !served(warning));
        worth_saying.cloned().for_each(|warning| warnings.push(warning));
        present::diagnostics(&source, &warnings, Format::Text);
        let server = self.serve(&source, &compiled)?;
        let options = Options {
            workers: usize::from(self.workers),
        };
        let text = source.clone();
        let prepared = prepare_compiled(&source, compiled, registry, &options)?;
        if let Some(server) = &server {
            server.attach(prepared.context());
        }
        if let Some(builder) = ChildBuilder::own() {
            prepared.context().builds.build_by(Arc::new(builder));
        }
        let running = prepared
            .start()
            .map_err(|error| GraphError::Failed(format!("cannot start: {error}")))?;
        let live = Live::new(
            self.graph.path(),
            text,
            registry,
            running.editor().clone(),
            Rules {
                system: self.graph.system()?,
                allow_paths: self.allow_paths,
                probation: (!self.probation.is_zero()).then(|| Probation {
                    time: self.probation,
                    ..Probation::default()
                }),
            },
            history,
        );
        if let Some(server) = &server {
            server.edit(&live);
        }
        let watcher = Watcher::start(live, began_with, Box::new(tell_edit))
            .map_err(|error| GraphError::Failed(format!("cannot watch the graph: {error}")))?;
        let (began, mut status) = (Instant::now(), Status::new(self.quiet));
        let mut stopping = false;
        while !running.is_finished() {
            std::thread::sleep(Duration::from_millis(20));
            let over = self.duration.is_some_and(|duration| began.elapsed() >= duration);
            if !stopping && (signals.count() > 0 || over) {
                stopping = true;
                running.stop();
            }
            status.show(|| Report::of(running.context()));
        }
        status.clear();
        drop(watcher);
        let report = running.wait();
        if let Some(server) = server {
            server.close();
        }
        Ok(report)
    }

    /// The graph to begin with: what the file says; or what was applied last, where that was not the file's text or the
    /// file no longer runs.
    fn begin(&self, registry: &Registry, history: &History) -> Result<(SourceFile, Compiled), GraphError> {
        let path = self.graph.path();
        let found = history.find(path).filter(|_| self.watch);
        let last = |found: &Found| {
            let compiled = self.graph.compile_text(found.text.clone().into_bytes(), registry);
            compiled.inspect(|_| eprintln!("going on with the graph that was applied last (edit {})", found.number))
        };
        match found {
            Some(found) if found.differs && !found.file_changed => last(&found),
            Some(found) => match self.graph.compile(registry) {
                Ok(compiled) => {
                    let words = match found.file_changed {
                        true => "beginning with the file as it is now; it has changed since edit",
                        false => "beginning with the file, as of edit",
                    };
                    eprintln!("{words} {}", found.number);
                    Ok(compiled)
                }
                Err(error) => {
                    refuse(&error, Format::Text);
                    last(&found)
                }
            },
            None => self.graph.compile(registry),
        }
    }

    /// Starts the server that the graph or the command line asks for, and says where it is.
    fn serve(&self, source: &SourceFile, compiled: &Compiled) -> Result<Option<Server>, GraphError> {
        let text = GraphText::of(source.name(), source.text());
        let settings = Settings::of(compiled.plan.server.as_ref(), self.listen, text, |name| {
            std::env::var(name).ok()
        });
        let started = settings.and_then(|settings| settings.map(Server::start).transpose());
        let server = started.map_err(|error| {
            let finding = Diagnostic::error("flowrun::cannot-run", error.cause).maybe_help(error.remedy);
            let mut diagnostics = Diagnostics::default();
            diagnostics.push(match &compiled.spans.server {
                Some(place) if self.listen.is_none() => finding.label(place.name, ""),
                _ => finding,
            });
            GraphError::Unfit(Box::new(source.clone()), diagnostics)
        })?;
        if let Some(server) = &server {
            eprintln!("listening on {}", server.url());
        }
        Ok(server)
    }
}

/// Says what became of an edit.
fn tell_edit(outcome: Result<String, &EditError>) {
    match outcome {
        Ok(line) => eprintln!("{line}"),
        Err(EditError::Graph(error)) => {
            refuse(error, Format::Text);
            eprintln!("the edit was not made: what ran before runs on");
        }
        Err(error) => eprintln!("error: {error}\nthe edit was not made: what ran before runs on"),
    }
}

/// SIGINT and SIGTERM end a run in good order; a second one ends the process at once.
struct Signals(Arc<AtomicUsize>);

impl Signals {
    fn listen() -> Self {
        let count = Arc::new(AtomicUsize::new(0));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
            // Registering fails for forbidden signals only. The order matters: the first signal arms the
            // second's exit.
            let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, armed.clone());
            let _ = signal_hook::flag::register(signal, armed);
            let _ = signal_hook::flag::register_usize(signal, count.clone(), 1);
        }
        Signals(count)
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The line that says how a run goes.
struct Status {
    terminal: bool,
    every: Option<Duration>,
    last: Instant,
    admitted: u64,
}

impl Status {
    fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let every = (!quiet).then_some(if terminal { STATUS_EVERY } else { PLAIN_EVERY });
        Status {
            terminal,
            every,
            last: Instant::now(),
            admitted: 0,
        }
    }

    fn show(&mut self, report: impl FnOnce() -> Report) {
        let elapsed = self.last.elapsed();
        if self.every.is_none_or(|every| elapsed < every) {
            return;
        }
        self.last = Instant::now();
        let report = report();
        let admitted: u64 = report.cameras.iter().map(|camera| camera.counts.admitted).sum();
        let shed: u64 = report.cameras.iter().map(|camera| camera.counts.shed()).sum();
        let rate = (admitted - self.admitted) as f64 / elapsed.as_secs_f64();
        self.admitted = admitted;
        let slowest = report.nodes.iter().max_by_key(|node| node.p99);
        let slowest = slowest.map_or_else(String::new, |node| format!(", p99 {} at {}", time(node.p99), node.name));
        let line = format!(
            "{:.0}s  {} cameras  {admitted} frames  {rate:.1} fps  {shed} shed{slowest}",
            report.elapsed.as_secs_f64(),
            report.cameras.len()
        );
        let mut out = std::io::stderr().lock();
        // A terminal that is gone is no reason to end a run.
        let _ = if self.terminal {
            write!(out, "\r\x1b[2K{line}")
        } else {
            writeln!(out, "{line}")
        };
        let _ = out.flush();
    }

    fn clear(&self) {
        if self.terminal && self.every.is_some() {
            eprint!("\r\x1b[2K");
        }
    }
}

fn time(span: Duration) -> String {
    match span.as_micros() {
        0 => "-".into(),
        us if us < 10_000 => format!("{:.2} ms", us as f64 / 1e3),
        us if us < 10_000_000 => format!("{:.0} ms", us as f64 / 1e3),
        us => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// The tables at the end of a run.
fn summary(report: &Report) -> String {
    let mut text = format!("{:.2} s\n\n", report.elapsed.as_secs_f64());
    let mut rows = vec![
        [
            "camera",
            "admitted",
            "answered",
            "shed: in flight",
            "shed: delay",
            "shed: backlog",
            "faults",
        ]
        .map(str::to_owned),
    ];
    for camera in &report.cameras {
        let counts = &camera.counts;
        let numbers = [
            counts.admitted,
            counts.answered,
            counts.shed_in_flight,
            counts.shed_delay,
            counts.shed_backlog,
            counts.faults,
        ]
        .map(|number| number.to_string());
        let [admitted, answered, in_flight, delay, backlog, faults] = numbers;
        rows.push([
            camera.name.clone(),
            admitted,
            answered,
            in_flight,
            delay,
            backlog,
            faults,
        ]);
    }
    table(&mut text, &rows);
    let mut rows = vec![["node", "frames", "rows", "errors", "p50", "p99"].map(str::to_owned)];
    for node in &report.nodes {
        rows.push([
            node.name.clone(),
            node.answers.to_string(),
            node.rows.to_string(),
            node.errors.to_string(),
            time(node.p50),
            time(node.p99),
        ]);
    }
    text.push('\n');
    table(&mut text, &rows);
    text
}

fn table<const N: usize>(text: &mut String, rows: &[[String; N]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<width$}", width = widths[0]),
            _ => format!("{cell:>width$}", width = widths[column]),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
}
