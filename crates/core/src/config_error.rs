//! The refusal of a setting.

use thiserror::Error;

/// A setting that cannot work, and what to do about it. One line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// An error whose text says what is wrong and names the remedy.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
