//! Why a benchmark run ended without a report, and the exit status that says so.

use std::io;

/// Why `heartring bench` gave no report. Each displays as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was asked for cannot be done; the text names the remedy. Nothing was started.
    #[error("{0}")]
    Usage(String),
    /// Every contender failed; the text says why the first one did.
    #[error("no contender could be measured: {0}")]
    NothingMeasured(String),
    /// Ctrl-C or SIGTERM; all children are gone.
    #[error("interrupted")]
    Interrupted,
    /// The system refused something that the benchmark itself needs.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// The exit status: 2 for bad input, 130 after an interrupt (as a shell reports SIGINT), 1 otherwise.
    pub fn exit_status(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Interrupted => 130,
            Error::NothingMeasured(_) | Error::System { .. } => 1,
        }
    }

    pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> Error {
        move |source| Error::System { what, source }
    }
}
