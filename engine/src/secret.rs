//! Secrets between the environment and whoever needs them; nothing prints one.

use std::fmt;

use flowrun_dsl::params::Secret;

use crate::errors::{OperatorError, Result};

/// A secret's value. It has no form that could be printed, logged or stored: [`Revealed::expose`] is the one way to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Revealed(String);

impl Revealed {
    /// Looks the secret up in the environment.
    ///
    /// # Errors
    /// When the variable is not set, is empty or is no text; names the variable and never its value.
    pub fn of(secret: &Secret) -> Result<Self> {
        let Secret(name) = secret;
        let remedy = format!("set it for the process that runs flowrun, as in `{name}=... flowrun run GRAPH`");
        let wrong =
            |what: &str| Err(OperatorError::new(format!("the environment variable {name} {what}")).help(remedy));
        match std::env::var(name) {
            Ok(value) if value.is_empty() => wrong("is empty"),
            Ok(value) => Ok(Revealed(value)),
            Err(std::env::VarError::NotPresent) => wrong("is not set"),
            Err(std::env::VarError::NotUnicode(_)) => wrong("is not UTF-8 text"),
        }
    }

    /// The value, for handing it to the one who asks for it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A text from outside with the secret blotted out, should somebody have sent it back.
    pub fn blot(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_variable_is_named() {
        let error = Revealed::of(&Secret("FLOWRUN_TEST_NOT_SET".into())).unwrap_err();
        assert_eq!(error.cause, "the environment variable FLOWRUN_TEST_NOT_SET is not set");
        assert!(error.remedy.unwrap().contains("FLOWRUN_TEST_NOT_SET=..."));
    }

    #[test]
    fn has_no_printable_form() {
        let secret = Revealed("hunter2".into());
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(secret.blot("no hunter2 here"), "no *** here");
        assert_eq!(secret.expose(), "hunter2");
    }
}
