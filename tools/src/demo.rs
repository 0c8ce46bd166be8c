//! `heartring demo`: a gateway in this process, devices in others, and a comparison of what both say.

mod account;
pub(crate) mod child;
mod children;
mod device;
mod expectation;
mod fleet;
mod fleet_scenario;
mod gateway;
mod plan;
mod progress;
mod reboot_devices;
mod reboot_gateway;
mod reboot_scenario;
mod reboot_summary;
mod reboot_verdict;
mod summary;
mod verdict;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use heartring::{BackendChoice, Config, DeadlineStrategy, Overrides};

use fleet_scenario::FleetArgs;
use reboot_scenario::RebootArgs;

use crate::backend_arg;
use crate::duration;
use crate::failure::Failure;
use crate::interrupt::EXIT_INTERRUPTED;

/// Something was reported otherwise than it happened.
const EXIT_MISMATCH: u8 = 1;

/// The options of the demo.
#[derive(Args, Clone, Debug)]
pub(crate) struct DemoArgs {
    /// What the devices do
    #[arg(long, value_enum, default_value_t = Scenario::Fleet)]
    scenario: Scenario,
    /// By when a device that vanished must be known dead
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse)]
    dead_within: Duration,
    /// How often devices beat [default: a third of the deadline]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    heartbeat: Option<Duration>,
    /// Which interface of the kernel the gateway uses
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = backend_arg::parser())]
    backend: BackendChoice,
    /// Who keeps the deadlines [default: linked on io_uring, sweep on epoll]
    #[arg(long, value_enum)]
    deadlines: Option<DeadlinesArg>,
    /// How many shards the gateway has [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    shards: Option<u16>,
    /// Where the gateway listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,
    /// Print one JSON object at the end and nothing else
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    reboots: RebootArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Devices vanish in every way, once each
    Fleet,
    /// Devices reboot again and again before their old connection is noticed, while healthy clients connect
    RebootLoop,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DeadlinesArg {
    Linked,
    Lease,
    Sweep,
}

pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode, Failure> {
    match args.scenario {
        Scenario::Fleet => {
            refuse_stray(args.reboots.given(), "--scenario reboot-loop")?;
            fleet_scenario::run(args)
        }
        Scenario::RebootLoop => {
            refuse_stray(args.fleet.given(), "--scenario fleet")?;
            reboot_scenario::run(args)
        }
    }
}

/// An option of another scenario would be ignored; better to say so.
fn refuse_stray(option: Option<&str>, belongs_to: &str) -> Result<(), Failure> {
    option.map_or(Ok(()), |option| {
        Err(Failure::new(format!("{option} belongs to {belongs_to}"), "drop it, or run that scenario"))
    })
}

impl DemoArgs {
    fn config(&self) -> Config {
        Config {
            dead_within: self.dead_within,
            overrides: Overrides { beat_every: self.heartbeat, ..Overrides::default() },
            backend: self.backend,
            deadlines: self.deadlines.map(|deadlines| match deadlines {
                DeadlinesArg::Linked => DeadlineStrategy::Linked,
                DeadlinesArg::Lease => DeadlineStrategy::Lease,
                DeadlinesArg::Sweep => DeadlineStrategy::Sweep,
            }),
            shards: self.shards,
            // The fleet shares the cores: a pinned shard would wait behind it.
            pin: false,
            handle_signals: false,
            ..Config::default()
        }
    }
}

pub(crate) fn exit_code(interrupted: bool, good: bool) -> ExitCode {
    match (interrupted, good) {
        (true, _) => ExitCode::from(EXIT_INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(EXIT_MISMATCH),
    }
}

pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
