//! What changed between two reports.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The earlier report, as `--json` printed it
    before: PathBuf,
    /// The later one
    after: PathBuf,
}

pub(crate) fn run(_args: &CompareArgs) -> Result<ExitCode, Error> {
    Err(Error::Usage("to come".into()))
}
