//! `flowrun fmt`: graph files laid out in one way.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use flowrun_dsl::{Diagnostics, SourceFile, fmt};

use crate::cmd::{Exit, Format, present};
use crate::graph::read_bounded;

#[derive(Args)]
pub struct Fmt {
    /// The graph files; `-` reads standard input and prints the result
    #[arg(required = true, value_name = "GRAPH")]
    graphs: Vec<PathBuf>,
    /// Change nothing, name the files that are not laid out so, and end with exit code 1 if there are any
    #[arg(long)]
    check: bool,
    /// How to print what is wrong with a file
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What became of one file.
enum Outcome {
    /// It is as it should be, or is now.
    Done,
    /// It would be changed.
    Unformatted,
    /// It is no KDL, or cannot be read.
    Wrong,
    /// It cannot be written.
    Failed,
}

impl Fmt {
    pub fn execute(&self) -> Exit {
        let outcomes: Vec<Outcome> = self.graphs.iter().map(|graph| self.file(graph)).collect();
        let any = |wanted: fn(&Outcome) -> bool| outcomes.iter().any(wanted);
        if any(|outcome| matches!(outcome, Outcome::Wrong)) {
            Exit::Wrong
        } else if any(|outcome| matches!(outcome, Outcome::Failed | Outcome::Unformatted)) {
            Exit::Failed
        } else {
            Exit::Done
        }
    }

    fn file(&self, graph: &Path) -> Outcome {
        let name = graph.display().to_string();
        let standard = name == "-";
        let read = if standard {
            read_bounded(io::stdin().lock())
        } else {
            std::fs::File::open(graph).and_then(read_bounded)
        };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                eprintln!("error: {name}: {error}");
                return Outcome::Wrong;
            }
        };
        let laid_out = SourceFile::new(name.clone(), bytes)
            .map_err(|refused| {
                let nothing = SourceFile::new(name.clone(), "").expect("an empty text is a text");
                (nothing, Diagnostics::from(refused))
            })
            .and_then(|source| match fmt::format(&source) {
                Ok(text) => Ok((source, text)),
                Err(found) => Err((source, found)),
            });
        let (source, text) = match laid_out {
            Ok(laid_out) => laid_out,
            Err((source, found)) => {
                present::diagnostics(&source, &found, self.format);
                return Outcome::Wrong;
            }
        };
        let same = text == source.text();
        if self.check {
            if same {
                return Outcome::Done;
            }
            println!("{name}");
            return Outcome::Unformatted;
        }
        let written = match (standard, same) {
            (true, _) => io::stdout().write_all(text.as_bytes()),
            (false, true) => Ok(()),
            (false, false) => replace(graph, &text),
        };
        match written {
            Ok(()) => Outcome::Done,
            Err(error) => {
                eprintln!("error: {name} cannot be written: {error}; it is as it was");
                Outcome::Failed
            }
        }
    }
}

/// Puts a text in the place of a file's, whole or not at all, with the file's permissions; a link stays one.
fn replace(graph: &Path, text: &str) -> io::Result<()> {
    let graph = graph.canonicalize()?;
    let name = graph.file_name().unwrap_or_default().to_string_lossy();
    let beside = graph.with_file_name(format!(".{name}.{}.partial", std::process::id()));
    let written = write_new(&beside, text, &graph).and_then(|()| std::fs::rename(&beside, &graph));
    if written.is_err() {
        // The error that is told is the one before.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn write_new(beside: &Path, text: &str, like: &Path) -> io::Result<()> {
    let mut file = std::fs::File::create_new(beside)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(std::fs::metadata(like)?.permissions())?;
    file.sync_all()
}
