//! What ends the program before it has begun: one line that says what is wrong and what to do about it.

use std::error::Error;
use std::fmt;

/// Bad input, an impossible configuration, a port in use, a refused backend.
const EXIT_REFUSED: u8 = 2;

/// Printed as `error: …` on one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    line: String,
    status: u8,
}

impl Failure {
    /// What is wrong, and in brackets what to do about it.
    pub(crate) fn new(problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self { line: one_line(&format!("{problem} ({remedy})")), status: EXIT_REFUSED }
    }

    /// A message of the library, which names its remedy itself.
    pub(crate) fn from_library(error: &dyn Error) -> Self {
        Self { line: one_line(&error.to_string()), status: EXIT_REFUSED }
    }

    /// The benchmark tells bad input from a measurement that failed.
    pub(crate) fn from_bench(error: &heartring_bench::Error) -> Self {
        Self { status: error.exit_status(), ..Self::from_library(error) }
    }

    /// The first paragraph of clap's message; the usage that follows it is in `--help`.
    pub(crate) fn from_clap(error: &clap::Error) -> Self {
        let text = error.to_string();
        let paragraph = text.split("\n\n").next().unwrap_or_default();
        Self::new(paragraph.trim_start_matches("error: "), "see `heartring --help`")
    }

    /// The program's exit status.
    pub(crate) const fn status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_several_lines_becomes_one() {
        let failure = Failure::new("the port\n  is taken", "choose another");
        assert_eq!(failure.to_string(), "the port is taken (choose another)");
    }
}
