//! `heartring`: shows what the library does (`demo`), what it would do (`explain`), what it
//! finds here (`doctor`), what it costs (`bench`), and what it withstands (`simulate`, `torment`).

mod backend_arg;
mod demo;
mod doctor;
mod duration;
mod explain;
mod failure;
mod footprint;
mod interrupt;
mod output;
mod random;
mod silent_death;
mod simulate;
mod system;
mod torment;
mod view;
mod wire;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use heartring_bench::BenchArgs;
use tracing_subscriber::EnvFilter;

use demo::DemoArgs;
use doctor::DoctorArgs;
use explain::ExplainArgs;
use failure::Failure;
use simulate::SimulateArgs;
use torment::TormentArgs;

/// A connection manager that always knows which peers are still there.
///
/// Without a command it runs the demo, and takes the demo's options.
#[derive(Parser, Debug)]
#[command(name = "heartring", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    demo: DemoArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// A gateway and a fleet of devices that vanish in every way, on this machine; it checks itself
    Demo(DemoArgs),
    /// What fails, who notices, and by when, for a given deadline
    Explain(ExplainArgs),
    /// What this machine means for a gateway, and what to set
    Doctor(DoctorArgs),
    Bench(BenchArgs),
    Simulate(SimulateArgs),
    /// Real faults against real gateways, in networks of their own; it checks every promise after each of them
    Torment(TormentArgs),
    /// Plays the devices of a demo, which starts it
    #[command(hide = true)]
    Fleet,
    /// Plays the gateway or devices of a torment, which starts it
    #[command(hide = true)]
    TormentPart,
}

fn main() -> ExitCode {
    log_to_stderr();
    match Cli::try_parse() {
        Ok(cli) => exit(run(cli)),
        Err(help) if asks_for_help(help.kind()) => help.exit(),
        Err(error) => exit(Err(Failure::from_clap(&error))),
    }
}

/// Asked for, or shown because a command is incomplete.
fn asks_for_help(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// The library's warnings, or what `RUST_LOG` asks for.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command.unwrap_or(Command::Demo(cli.demo)) {
        Command::Demo(args) => demo::run(&args),
        Command::Explain(args) => explain::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Doctor(args) => doctor::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Bench(args) => heartring_bench::run(args).map_err(|error| Failure::from_bench(&error)),
        Command::Fleet => demo::child::run().map(|()| ExitCode::SUCCESS),
        Command::Torment(args) => torment::run(&args),
        Command::TormentPart => torment::part::run().map(|()| ExitCode::SUCCESS),
    }
}

fn exit(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        ExitCode::from(failure.status())
    })
}
