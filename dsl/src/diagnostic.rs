//! What the language has to say about a graph.
//!
//! One type for every stage, with stable codes and spans; it knows nothing of terminals. A compile
//! collects all of them, so that a file with five faults takes one round and not five.

use std::fmt::Write;

use serde::Serialize;

use crate::source::{Position, SourceFile, Span};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// The stable names of diagnostics.
        pub mod code {
            $($(#[doc = $doc])+ pub const $name: &str = concat!("flowrun::", $text);)+
            /// Every code with what it means.
            pub const ALL: &[(&str, &str)] = &[$(($name, concat!($($doc),+))),+];
        }
    };
}
codes! {
    /// There are more findings than are listed.
    MORE = "more";
    /// The file is larger than any graph.
    FILE_TOO_LARGE = "file-too-large";
    /// The file is not UTF-8 text.
    NOT_UTF8 = "not-utf8";
    /// The text is not KDL 2.
    SYNTAX = "syntax";
    /// A bare quantity such as `5s`, which KDL wants quoted.
    UNQUOTED = "unquoted";
    /// A word of KDL 1, such as `true` for `#true`.
    KDL_1 = "kdl-1";
    /// Blocks, or commented-out blocks, inside one another too deeply.
    TOO_DEEP = "too-deep";
    /// A property or parameter given twice.
    DUPLICATE_PROPERTY = "duplicate-property";
    /// A `(type)` annotation, which the language has no use for.
    TYPE_ANNOTATION = "type-annotation";
    /// A node that cannot stand where it stands.
    UNKNOWN_NODE = "unknown-node";
    /// A property or child that its node does not have.
    UNKNOWN_PARAMETER = "unknown-parameter";
    /// A value of another type than its parameter's.
    WRONG_TYPE = "wrong-type";
    /// A word that is none of a parameter's choices.
    UNKNOWN_CHOICE = "unknown-choice";
    /// A number outside its parameter's range.
    OUT_OF_RANGE = "out-of-range";
    /// A parameter that must be given and was not.
    MISSING_PARAMETER = "missing-parameter";
    /// An argument that its node has no place for.
    EXTRA_ARGUMENT = "extra-argument";
    /// A node without the name that it must have.
    MISSING_NAME = "missing-name";
    /// A name with letters that names do not have, or one that is reserved.
    BAD_NAME = "bad-name";
    /// Two things of one name.
    DUPLICATE_NAME = "duplicate-name";
    /// A reference to something that is nowhere declared.
    UNKNOWN_NAME = "unknown-name";
    /// A block with nothing in it that needs something.
    EMPTY = "empty";
    /// A secret as a literal, or `env.NAME` where no secret is taken.
    SECRET = "secret";
    /// A file that does not exist.
    MISSING_FILE = "missing-file";
    /// A file outside of the folders that graphs may use.
    PATH_OUTSIDE = "path-outside";
    /// A polygon or line that cannot be one.
    BAD_SHAPE = "bad-shape";
    /// A zone that some cameras of a flow do not have.
    ZONE_NOT_EVERYWHERE = "zone-not-everywhere";
    /// A node that nothing feeds.
    NO_INPUT = "no-input";
    /// Rows that a port does not take.
    WRONG_ROWS = "wrong-rows";
    /// A group whose cameras emit different kinds of rows.
    MIXED_GROUP = "mixed-group";
    /// An input that lacks cameras of the others.
    CAMERAS_DIFFER = "cameras-differ";
    /// A `from=` that nothing reads.
    UNUSED_FROM = "unused-from";
    /// A file that cannot be included.
    INCLUDE = "include";
    /// A template that cannot be written out.
    TEMPLATE = "template";
    /// A parameter of a template that no line reads.
    UNUSED_PARAMETER = "unused-parameter";
    /// Nodes that feed each other in a circle.
    CYCLE = "cycle";
    /// Something published that nothing serves.
    NO_SERVER = "no-server";
    /// Two sinks that write to one place.
    SAME_TARGET = "same-target";
    /// A window that cannot be kept.
    BAD_WINDOW = "bad-window";
    /// An expression that is no SQL expression, or uses what the language leaves out.
    EXPRESSION = "expression";
    /// A column that the rows do not have.
    UNKNOWN_COLUMN = "unknown-column";
    /// An expression whose parts do not go together.
    EXPRESSION_TYPE = "expression-type";
}

/// Of a file with more findings than this, the rest are counted.
pub const MAX_FINDINGS: usize = 200;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// There is no plan.
    Error,
    /// There is a plan, and probably not the intended one.
    Warning,
}

/// A place and what is to be said about it. The first label of a diagnostic is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What; may be empty.
    pub text: String,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// One of [`code::ALL`], or a later stage's own.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where, the place itself first.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error without a place yet.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            labels: Vec::new(),
            help: None,
        }
    }

    /// A warning without a place yet.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(code, message)
        }
    }

    /// Adds a place.
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
        });
        self
    }

    /// The same finding, its places so many bytes further on.
    pub(crate) fn shifted(mut self, by: usize) -> Self {
        for label in &mut self.labels {
            label.span = label.span.shifted(by);
        }
        self
    }

    /// Says what to do.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Says what to do, if there is something to say.
    pub fn maybe_help(mut self, text: Option<String>) -> Self {
        self.help = text.or(self.help);
        self
    }

    /// Where it is: the first label.
    pub fn span(&self) -> Option<Span> {
        self.labels.first().map(|label| label.span)
    }
}

/// All findings of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

/// The messages without their places; [`Diagnostics::to_text`] has both.
impl std::fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, diagnostic) in self.iter().enumerate() {
            let line = if index > 0 { "\n" } else { "" };
            write!(f, "{line}[{}] {}", diagnostic.code, diagnostic.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Diagnostics { list: vec![one] }
    }
}

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Adds all of another collection.
    pub fn extend(&mut self, other: Diagnostics) {
        self.list.extend(other.list);
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.list
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// In the order of the text; the same finding at the same place is said once, and of very many
    /// the first [`MAX_FINDINGS`] with the count of the others.
    pub fn sorted(mut self) -> Self {
        self.list.sort_by_key(|found| (found.span(), found.severity));
        self.list.dedup();
        let others = self.list.len().saturating_sub(MAX_FINDINGS);
        if others > 0 {
            // Errors first: a plan must not seem to exist because only warnings were kept.
            self.list.sort_by_key(|found| found.severity);
            self.list.truncate(MAX_FINDINGS);
            self.list.sort_by_key(|found| (found.span(), found.severity));
            let message = format!("and {others} more findings");
            self.list
                .push(Diagnostic::warning(code::MORE, message).help("put these right first"));
        }
        self
    }

    /// The form for machines: `{"version": 1, "file", "diagnostics": [{"code", "severity", "message",
    /// "help", "labels": [{"file", "start", "end", "from": {"line", "column"}, "to": {"line", "column"}, "text"}]}]}`.
    /// `start` and `end` are bytes; lines and columns count from one. A label's `file` may be one that is included.
    pub fn to_json(&self, source: &SourceFile) -> serde_json::Value {
        let labels = |diagnostic: &Diagnostic| {
            let label = |label: &Label| {
                let part = source.part_at(label.span.start);
                serde_json::json!({
                    "file": part.name,
                    "start": label.span.start - part.start,
                    "end": label.span.end.saturating_sub(part.start),
                    "from": source.position(label.span.start),
                    "to": source.position(label.span.end),
                    "text": label.text,
                })
            };
            diagnostic.labels.iter().map(label).collect::<Vec<_>>()
        };
        let diagnostic = |diagnostic: &Diagnostic| {
            serde_json::json!({
                "code": diagnostic.code,
                "severity": diagnostic.severity,
                "message": diagnostic.message,
                "help": diagnostic.help,
                "labels": labels(diagnostic),
            })
        };
        serde_json::json!({
            "version": 1,
            "file": source.name(),
            "diagnostics": self.iter().map(diagnostic).collect::<Vec<_>>(),
        })
    }

    /// The file as it may be shown: stars stand where a secret stands in it.
    #[must_use]
    pub fn shown(&self, source: &SourceFile) -> SourceFile {
        let secrets = self
            .iter()
            .filter(|found| found.code == code::SECRET)
            .flat_map(|found| {
                // A template's value is shown where it was given, too.
                let given = found.labels.iter().filter(|label| label.text == crate::template::GIVEN);
                found.span().into_iter().chain(given.map(|label| label.span))
            });
        // `env.NAME` where no secret is taken is a name and no secret.
        source.blotted(secrets.filter(|span| !source.slice(*span).trim_start_matches(['"', '#']).starts_with("env.")))
    }

    /// Plain text, for logs and tests; secrets in the file are blotted out.
    pub fn to_text(&self, source: &SourceFile) -> String {
        let source = &self.shown(source);
        let mut out = String::new();
        for diagnostic in self.iter() {
            write_text(&mut out, diagnostic, source).expect("a string takes any text");
        }
        out
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

fn write_text(out: &mut String, diagnostic: &Diagnostic, source: &SourceFile) -> std::fmt::Result {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    writeln!(out, "{severity}[{}]: {}", diagnostic.code, diagnostic.message)?;
    for label in &diagnostic.labels {
        let Position { line, column } = source.position(label.span.start);
        let text = source.line_at(label.span.start);
        let file = source.part_at(label.span.start).name;
        if file != source.name() {
            writeln!(out, "     > {file}")?;
        }
        let rest = text.chars().count().saturating_sub(column - 1);
        let marks = source
            .slice(label.span)
            .chars()
            .take_while(|letter| *letter != '\n')
            .count()
            .min(rest)
            .max(1);
        writeln!(out, "{line:>4} | {text}")?;
        let pointer = format!("     | {}{} {}", " ".repeat(column - 1), "^".repeat(marks), label.text);
        writeln!(out, "{}", pointer.trim_end())?;
    }
    match &diagnostic.help {
        Some(help) => writeln!(out, "     = {help}"),
        None => Ok(()),
    }
}
