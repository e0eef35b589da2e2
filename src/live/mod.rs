//! A graph at work: its text can be edited by its file, over HTTP and from the command line, and what was applied is
//! kept on disk, so that a process that dies comes back with a graph that worked.

mod answer;
mod history;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use flowrun_dsl::plan::{Plan, PlanDiff, Reach};
use flowrun_dsl::system::Confined;
use flowrun_dsl::value::Value;
use flowrun_dsl::{Compiled, Diagnostics, SourceFile};
use flowrun_engine::registry::Registry;
use flowrun_engine::reload::{Editor, Outcome, Probation, Receipt, ReloadError};

use crate::graph::{GraphError, compile_bytes, findings};
use crate::serve::GraphText;

pub use answer::{Answered, Refusal};
pub use history::{Found, History};
pub use watch::Watcher;

/// Where an edit comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Whoever may write the graph's file.
    File,
    /// Whoever has the server's token.
    Api,
}

/// How a graph is edited.
pub struct Rules {
    /// What graphs may read and write.
    pub system: Confined,
    /// Whether an edit over the network may name paths and variables that the graph at work does not.
    pub allow_paths: bool,
    /// When an edit is taken back by itself; never where there is none.
    pub probation: Option<Probation>,
}

/// A graph at work.
pub struct Live {
    path: PathBuf,
    registry: Registry,
    editor: Editor,
    rules: Rules,
    history: History,
    current: Mutex<Current>,
    /// The last edit, where it was not made: as it was answered.
    refused: Mutex<Option<serde_json::Value>>,
}

/// The text that is at work.
struct Current {
    source: SourceFile,
    text: GraphText,
    /// The text before it, for a rollback.
    before: Option<SourceFile>,
}

/// What came of an edit.
#[derive(Clone, Debug)]
pub enum Applied {
    /// It was made.
    Made(Arc<Receipt>),
    /// Only the text changed: what runs is the same.
    Unchanged,
}

/// Why an edit was not made.
#[derive(Debug)]
pub enum EditError {
    /// The graph is wrong, or this machine cannot do what it says.
    Graph(GraphError),
    /// It names what the graph at work does not: each path and variable.
    Beyond(Vec<String>),
    /// Somebody else's edit came first: what this one would change now.
    Conflict {
        /// The hash of the text at work.
        running: String,
        /// What the edit would change.
        diff: Box<PlanDiff>,
    },
    /// The engine did not make it.
    Reload(ReloadError),
}

impl std::fmt::Display for EditError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EditError::Graph(error) => write!(f, "{error}"),
            EditError::Beyond(names) => write!(
                f,
                "the edit names what the graph at work does not: {}",
                names.join(", ")
            ),
            EditError::Conflict { .. } => f.write_str("the graph has been edited meanwhile"),
            EditError::Reload(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for EditError {}

impl Live {
    /// A graph whose run has started.
    pub fn new(
        path: &Path,
        source: SourceFile,
        registry: &Registry,
        editor: Editor,
        rules: Rules,
        history: History,
    ) -> Arc<Self> {
        let text = GraphText::of(source.name(), source.text());
        Arc::new(Live {
            path: path.to_owned(),
            registry: registry.clone(),
            editor,
            rules,
            history,
            current: Mutex::new(Current {
                source,
                text,
                before: None,
            }),
            refused: Mutex::default(),
        })
    }

    /// The last edit, where it was not made: what was wrong with it.
    pub fn refused(&self) -> Option<serde_json::Value> {
        self.refused
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The name and hash of the text at work.
    pub fn text(&self) -> GraphText {
        self.current().text.clone()
    }

    /// The text at work.
    pub fn written(&self) -> String {
        self.current().source.text().to_owned()
    }

    /// What edits the run.
    pub fn editor(&self) -> &Editor {
        &self.editor
    }

    /// The files that the text at work is made of.
    fn files(&self) -> Vec<PathBuf> {
        let current = self.current();
        let included = current.source.included_names().map(PathBuf::from);
        std::iter::once(self.path.clone()).chain(included).collect()
    }

    fn compile(&self, bytes: Vec<u8>) -> Result<(SourceFile, Compiled), EditError> {
        compile_bytes(&self.path, bytes, &self.rules.system, &self.registry).map_err(EditError::Graph)
    }

    /// What a text would change.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn diff(&self, bytes: Vec<u8>) -> Result<PlanDiff, EditError> {
        let (_, compiled) = self.compile(bytes)?;
        Ok(self.editor.diff(&compiled.plan))
    }

    /// Edits the graph to be a text. `expected` is the hash of the text that it was edited from.
    ///
    /// # Errors
    /// Why that was not done; then what ran before runs on.
    pub fn apply(&self, bytes: Vec<u8>, expected: Option<&str>, by: By) -> Result<Applied, EditError> {
        let applied = self.try_apply(bytes, expected, by);
        let refused = applied.as_ref().err().map(|error| Refusal::from(error).document);
        *self.refused.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = refused;
        applied
    }

    /// What the graph at work touches.
    fn reach(&self, plan: &Plan) -> Reach {
        Reach::of(plan, &self.current().source, &self.registry)
    }

    fn try_apply(&self, bytes: Vec<u8>, expected: Option<&str>, by: By) -> Result<Applied, EditError> {
        let confined = by == By::Api && !self.rules.allow_paths;
        let reach = self.reach(&self.editor.context().generation().plan);
        let (source, compiled) = match confined {
            // Another's text may not even ask what files there are.
            true => compile_bytes(&self.path, bytes, &reach.within(&self.rules.system), &self.registry)
                .map_err(EditError::Graph)?,
            false => self.compile(bytes)?,
        };
        let running = {
            let current = self.current();
            let plan = self.editor.context().generation().plan.clone();
            if expected.is_some_and(|expected| expected != current.text.hash) {
                return Err(EditError::Conflict {
                    running: current.text.hash.clone(),
                    diff: Box::new(self.editor.diff(&compiled.plan)),
                });
            }
            if confined {
                let wanted = Reach::of(&compiled.plan, &source, &self.registry).beyond(&reach);
                let mut beyond: Vec<String> = wanted.iter().map(ToString::to_string).collect();
                beyond.extend(misdirected(&plan, &compiled.plan));
                if !beyond.is_empty() {
                    return Err(EditError::Beyond(beyond));
                }
            }
            plan
        };
        let expected = expected.map(|_| running.hash.as_str());
        let plan = compiled.plan.clone();
        let outcome = self
            .editor
            .reload(compiled.plan, expected, self.rules.probation.clone());
        match outcome {
            Ok(outcome) => Ok(self.made(source, outcome)),
            Err(ReloadError::Refused(errors)) => Err(EditError::Graph(findings(&source, &compiled.spans, errors))),
            Err(ReloadError::Conflict { .. }) => Err(EditError::Conflict {
                running: self.text().hash,
                diff: Box::new(self.editor.diff(&plan)),
            }),
            Err(error) => Err(EditError::Reload(error)),
        }
    }

    /// Takes the last edit back.
    ///
    /// # Errors
    /// Why that was not done.
    pub fn rollback(&self) -> Result<Applied, EditError> {
        let before = self.current().before.clone();
        let outcome = self.editor.rollback().map_err(EditError::Reload)?;
        let source = before.ok_or(EditError::Reload(ReloadError::NothingBefore))?;
        Ok(self.made(source, outcome))
    }

    /// Takes note of an edit that the engine has taken back by itself.
    fn taken_back(&self, receipt: &Arc<Receipt>) {
        let before = self.current().before.clone();
        if let Some(source) = before {
            self.made(source, Outcome::Made(receipt.clone()));
        }
    }

    fn made(&self, source: SourceFile, outcome: Outcome) -> Applied {
        let mut current = self.current();
        let text = GraphText::of(source.name(), source.text());
        let before = std::mem::replace(&mut current.source, source);
        current.text = text;
        let applied = match outcome {
            Outcome::Made(receipt) => {
                current.before = Some(before);
                Applied::Made(receipt)
            }
            Outcome::Unchanged => Applied::Unchanged,
        };
        let receipt = match &applied {
            Applied::Made(receipt) => Some(&**receipt),
            Applied::Unchanged => None,
        };
        if let Err(error) = self.history.record(&self.path, current.source.text(), receipt) {
            tracing::warn!("the history of applied graphs cannot be written: {error}");
        }
        applied
    }
}

/// Secrets that an edit would send where the graph at work does not: each with the camera that would.
fn misdirected(running: &Plan, edited: &Plan) -> Vec<String> {
    let sent = |plan: &Plan| -> Vec<(String, String, String)> {
        let mut pairs = Vec::new();
        for camera in &plan.cameras {
            let values = || camera.params.values();
            for secret in values() {
                let Value::Secret(name) = secret else { continue };
                let texts = values().filter_map(|value| match value {
                    Value::Text(text) => Some(text.clone()),
                    _ => None,
                });
                pairs.extend(texts.map(|text| (name.clone(), text, camera.name.clone())));
            }
        }
        pairs
    };
    let known = sent(running);
    let news = sent(edited).into_iter().filter(|(secret, text, _)| {
        text.contains("://") && !known.iter().any(|known| (&known.0, &known.1) == (secret, text))
    });
    news.map(|(secret, text, camera)| format!("`{secret}` sent to {text} (camera `{camera}`)"))
        .collect()
}

/// What went wrong with a graph, with its text to point at.
pub(crate) fn diagnostics_of(error: &GraphError) -> Option<(&SourceFile, &Diagnostics)> {
    match error {
        GraphError::Wrong(source, diagnostics) | GraphError::Unfit(source, diagnostics) => Some((source, diagnostics)),
        GraphError::Unreadable(_) | GraphError::Failed(_) => None,
    }
}
