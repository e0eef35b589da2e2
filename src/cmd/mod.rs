//! The command line: one file a command.

mod check;
mod doctor;
mod file;
mod fmt;
mod graph;
mod model;
mod ops;
mod plan;
mod present;
mod reload;
mod remote;
mod run;
mod synth;

use std::io::{IsTerminal, Write};

use clap::{Parser, Subcommand, ValueEnum};
use flowrun_engine::registry::Registry;

use crate::graph::GraphError;

/// Video analytics as a graph in a file.
#[derive(Parser)]
#[command(name = "flowrun", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Says everything that is wrong with a graph file
    Check(check::Check),
    /// Shows what a graph file compiles to
    Plan(plan::Plan),
    /// Lays graph files out in one way
    Fmt(fmt::Fmt),
    /// Draws a graph file as SVG
    Graph(graph::Graph),
    /// Lists operators, or describes one
    Ops(ops::Ops),
    /// Runs a graph file
    Run(run::Run),
    /// Edits a run under way to be another graph
    Reload(reload::Reload),
    /// Takes the last edit of a run under way back
    Rollback(reload::Rollback),
    /// Draws pictures of the synthetic junction with labels, to train and measure detectors
    Synth(synth::Synth),
    /// Compares models and providers, and builds engines ahead of a run
    Model(model::Model),
    /// Says what this machine has and lacks
    Doctor(doctor::Doctor),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document, stable within a version.
    Json,
}

/// What the process ends with: 0 done, 1 failed, 2 the command or the graph is wrong.
enum Exit {
    Done,
    Failed,
    Wrong,
}

impl Exit {
    /// Ends the process, without what C libraries have left to be done at its end: those of ONNX Runtime's providers take
    /// things down in an order of their own, and now and then end a process by SIGABRT that had all its work done
    /// (<https://github.com/pykeio/ort/issues/564>).
    fn end(self) -> ! {
        // Who was to read it may be gone.
        let _ = std::io::stdout().flush();
        signal_hook::low_level::exit(match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Wrong => 2,
        })
    }
}

/// Runs the command line with these operators, and ends the process: what is registered to be called at its end is not.
pub fn main(registry: Registry) -> ! {
    let cli = Cli::parse();
    // ONNX Runtime warns of much that is as it should be, TensorRT of hundreds of tensors while it builds an engine; what
    // concerns a run is said by the engine.
    let filter = tracing_subscriber::EnvFilter::try_from_env("FLOWRUN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,ort=error"));
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    // Set once a process; a host program that has its own subscriber keeps it.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !is_plain)
        .try_init();
    let exit = match cli.command {
        Command::Check(command) => command.execute(&registry),
        Command::Plan(command) => command.execute(&registry),
        Command::Fmt(command) => command.execute(),
        Command::Graph(command) => command.execute(&registry),
        Command::Ops(command) => command.execute(&registry),
        Command::Run(command) => command.execute(&registry),
        Command::Reload(command) => command.execute(),
        Command::Rollback(command) => command.execute(),
        Command::Synth(command) => command.execute(),
        Command::Model(command) => command.execute(),
        Command::Doctor(command) => command.execute(),
    };
    exit.end()
}

/// Prints why a graph cannot be run and gives the exit code for it.
fn refuse(error: &GraphError, format: Format) -> Exit {
    match error {
        GraphError::Wrong(source, diagnostics) => {
            present::diagnostics(source, diagnostics, format);
            Exit::Wrong
        }
        GraphError::Unfit(source, diagnostics) => {
            present::diagnostics(source, diagnostics, format);
            Exit::Failed
        }
        GraphError::Unreadable(cause) => {
            eprintln!("error: {cause}");
            Exit::Wrong
        }
        GraphError::Failed(cause) => {
            eprintln!("error: {cause}");
            Exit::Failed
        }
    }
}
