//! Failures: what stops a run before it starts, and what an operator may report about one frame.

use std::fmt;

/// Why a plan cannot be run here. `place` is a name of the plan, so that the text can be pointed at.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {cause}")]
pub struct PrepareError {
    /// The node, camera or model.
    pub place: String,
    /// What is wrong.
    pub cause: String,
    /// What mends it.
    pub remedy: Option<String>,
}

/// Why an operator could not be built or could not answer a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorError {
    /// One sentence: what is wrong, with the value that is.
    pub cause: String,
    /// What mends it, where that is known.
    pub remedy: Option<String>,
}

/// What operators return.
pub type Result<T, E = OperatorError> = std::result::Result<T, E>;

impl OperatorError {
    /// A failure with its cause.
    pub fn new(cause: impl Into<String>) -> Self {
        OperatorError {
            cause: cause.into(),
            remedy: None,
        }
    }
    /// The same failure with what mends it.
    #[must_use]
    pub fn help(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
    /// The same failure, its cause preceded by what it is about.
    #[must_use]
    pub fn about(mut self, what: impl fmt::Display) -> Self {
        self.cause = format!("{what}: {}", self.cause);
        self
    }
}

impl fmt::Display for OperatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for OperatorError {}

impl From<String> for OperatorError {
    fn from(cause: String) -> Self {
        OperatorError::new(cause)
    }
}
impl From<&str> for OperatorError {
    fn from(cause: &str) -> Self {
        OperatorError::new(cause)
    }
}
impl From<std::io::Error> for OperatorError {
    fn from(error: std::io::Error) -> Self {
        OperatorError::new(error.to_string())
    }
}
impl From<crate::names::TooManyClasses> for OperatorError {
    fn from(error: crate::names::TooManyClasses) -> Self {
        OperatorError::new(error.to_string())
    }
}

/// Whether one more failure of a kind is worth a line in the log: the first ten, then ever more rarely.
pub fn worth_logging(before: u64) -> bool {
    before < 10 || (before + 1).is_power_of_two()
}
