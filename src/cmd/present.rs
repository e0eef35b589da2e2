//! Where diagnostics meet a person, or a program.

use std::fmt;

use flowrun_dsl::diagnostic::{Label, Severity};
use flowrun_dsl::{Diagnostic, Diagnostics, SourceFile};
use miette::{GraphicalReportHandler, LabeledSpan, NamedSource, SourceCode};

use crate::cmd::Format;

/// Prints diagnostics: as JSON on standard output, else for people on standard error.
pub fn diagnostics(source: &SourceFile, diagnostics: &Diagnostics, format: Format) {
    match format {
        Format::Json => println!("{}", diagnostics.to_json(source)),
        Format::Text => {
            let handler = GraphicalReportHandler::new();
            let source = diagnostics.shown(source);
            for diagnostic in diagnostics.iter() {
                let part = source.part_at(diagnostic.span().unwrap_or_default().start);
                let shown = Shown {
                    diagnostic,
                    whole: &source,
                    start: part.start,
                    source: NamedSource::new(part.name, part.text.to_owned()).with_language("kdl"),
                };
                let mut text = String::new();
                // Writing to a String does not fail.
                let _ = handler.render_report(&mut text, &shown);
                eprint!("{text}");
            }
            let errors = diagnostics
                .iter()
                .filter(|diagnostic| diagnostic.severity == Severity::Error)
                .count();
            if errors > 1 {
                eprintln!("{errors} errors");
            }
        }
    }
}

#[derive(Debug)]
struct Shown<'a> {
    diagnostic: &'a Diagnostic,
    whole: &'a SourceFile,
    /// Where the file of the first label begins among all.
    start: usize,
    source: NamedSource<String>,
}

impl Shown<'_> {
    fn is_here(&self, label: &Label) -> bool {
        self.whole.part_at(label.span.start).start == self.start
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.diagnostic.code))
    }
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        // One file is shown; places in others are named.
        let elsewhere = self
            .diagnostic
            .labels
            .iter()
            .filter(|label| !self.is_here(label))
            .map(|label| {
                let start = label.span.start;
                let (file, line) = (self.whole.part_at(start).name, self.whole.position(start).line);
                format!("{file}:{line}: {}", label.text)
            });
        let lines: Vec<String> = elsewhere.chain(self.diagnostic.help.clone()).collect();
        (!lines.is_empty()).then(|| Box::new(lines.join("\n")) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self
            .diagnostic
            .labels
            .iter()
            .filter(|label| self.is_here(label))
            .map(|label| {
                let text = (!label.text.is_empty()).then(|| label.text.clone());
                LabeledSpan::new(text, label.span.start - self.start, label.span.len())
            });
        Some(Box::new(labels))
    }
}
