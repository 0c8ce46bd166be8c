//! `heartring doctor`: what this machine means for a gateway. It reads and judges, and writes nothing.

mod accepting;
mod capacity;
mod cgroup;
mod diagnosis;
mod finding;
mod machine;
mod network;
mod settings;
mod silence;
mod uring;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use heartring::{BackendChoice, Config, Limits};

use diagnosis::Diagnosis;
use machine::Machine;
use settings::{SHARDS_MAX, Settings};

use crate::backend_arg;
use crate::duration;
use crate::failure::Failure;
use crate::output;

/// Something keeps this gateway from working as it is set up.
const EXIT_UNFIT: u8 = 1;

/// The options of the doctor.
#[derive(Args, Debug)]
#[command(after_help = "\
Verdicts: `ok`; `note`, worth knowing; `warn`, harms this gateway; `fail`, it cannot work as it is set up.
Exit status: 0 without a `fail`, 1 with one, 2 for wrong options.

It writes nothing and needs no privileges. Limits, seccomp, cgroups and the network belong to a process: run it where the
gateway runs, as its user, in its container, under its service manager.")]
pub(crate) struct DoctorArgs {
    /// By when a peer that vanished must be known dead
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    dead_within: Duration,
    /// How many connections the gateway takes [default: as many as the descriptors allow]
    #[arg(long, value_name = "N")]
    conns_max: Option<u32>,
    /// How many shards the gateway has [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(SHARDS_MAX)))]
    shards: Option<u16>,
    /// How many clients may wait in the queue of each listener
    #[arg(long, value_name = "N", default_value_t = Config::default().backlog)]
    backlog: u32,
    /// Which interface of the kernel the gateway uses
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = backend_arg::parser())]
    backend: BackendChoice,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let config = args.config();
    config.validate().map_err(|error| Failure::from_library(&error))?;
    let machine = Machine::read(&config);
    let settings = Settings::new(config, &machine).map_err(|error| Failure::from_library(&error))?;
    let diagnosis = Diagnosis::new(&machine, &settings);
    if args.json {
        output::line(format_args!("{:#}", diagnosis.to_json(&settings)));
    } else {
        output::line(diagnosis.to_text(&settings));
    }
    Ok(if diagnosis.failures() == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_UNFIT) })
}

impl DoctorArgs {
    fn config(&self) -> Config {
        Config {
            dead_within: self.dead_within,
            backend: self.backend,
            shards: self.shards,
            limits: Limits { conns_max: self.conns_max, ..Limits::default() },
            backlog: self.backlog,
            ..Config::default()
        }
    }
}
