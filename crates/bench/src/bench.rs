//! From what was asked for to a report: all setups, one after the other, with progress and an ear for Ctrl-C.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::Error;
use crate::machine::Machine;
use crate::outlet::Outlet;
use crate::process;
use crate::progress::Progress;
use crate::report::Report;
use crate::suite::{self, Results, Setup};

/// Runs `setups`, which are parts of `name` if they have titles, and writes the report.
pub(crate) fn run(
    name: &'static str,
    machine: Machine,
    setups: Vec<Setup>,
    outlet: Outlet,
) -> Result<ExitCode, Error> {
    let interrupt = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, interrupt.clone()).map_err(Error::system("signal handler"))?;
    }
    // The suite itself stays off the server's core.
    process::pin(machine.generator_core).map_err(Error::system("pinning the suite"))?;
    let progress = Progress::new(&setups);
    let measure = |setup: Setup| {
        let results = suite::run(&setup, &progress, &interrupt)?;
        Ok((setup, results))
    };
    let measured: Result<Vec<(Setup, Results)>, Error> = setups.into_iter().map(measure).collect();
    progress.finish();
    let report = report(name, machine, measured?);
    match report.failures.first() {
        Some(failure) if report.rows.is_empty() => {
            Err(Error::NothingMeasured(format!("{}: {}", failure.contender.name(), failure.why)))
        }
        Some(_) | None => outlet.write(&report).map(|()| ExitCode::SUCCESS),
    }
}

fn report(name: &str, machine: Machine, mut measured: Vec<(Setup, Results)>) -> Report {
    if measured.len() == 1 && measured[0].0.part.is_none() {
        let (setup, results) = measured.remove(0);
        return Report::of_one(&setup, results);
    }
    Report::of_several(name, machine, measured)
}
