//! The command line of `heartring bench`: what may be asked for, and what is refused before anything starts.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::contender::{Contender, RUNTIMES_REMEDY};
use crate::error::Error;
use crate::machine::Machine;
use crate::plan::{self, LoadPlan, ServePlan};
use crate::progress::Progress;
use crate::report::Report;
use crate::service::BACKLOG;
use crate::suite::{self, Setup};
use crate::workload::{MESSAGE_BYTES_MAX, Workload};
use crate::{load, process, serve, table};

/// The deadline of contenders that keep one; what gateways commonly use.
const DEAD_WITHIN: Duration = Duration::from_secs(30);

/// Descriptors that a process needs beside its connections: pipes, listener, epoll, rings, and what a gateway
/// keeps in reserve.
const DESCRIPTORS_RESERVED: u64 = 128;

/// Ninety-nine rounds are more patience than anyone has, and enough for any verdict.
const ROUNDS_MAX: u32 = 99;

/// Measure what a server's work costs, against bare io_uring and bare epoll.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Busy connections, small messages returned: CPU per message, messages per second, latency
    Echo(EchoArgs),
    /// Mostly idle connections with one-way heartbeats: CPU per beat, wake-ups per second
    Beats(BeatsArgs),
    /// All devices reconnect at once and claim their identity: CPU per accept + first frame + claim + eviction of the
    /// former connection, against the bare accept rate
    Storm(StormArgs),
    /// The server's process of a measurement
    #[command(hide = true)]
    Serve {
        #[arg(value_parser = plan::parse::<ServePlan>)]
        plan: ServePlan,
    },
    /// The generator's process of a measurement
    #[command(hide = true)]
    Load {
        #[arg(value_parser = plan::parse::<LoadPlan>)]
        plan: LoadPlan,
    },
}

#[derive(Debug, Args)]
struct EchoArgs {
    /// Connections, each with one message under way
    #[arg(long, default_value_t = 1000)]
    connections: u32,
    /// Bytes of a message
    #[arg(long, default_value_t = 32)]
    bytes: u32,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct BeatsArgs {
    /// Connections, each silent but for its heartbeats
    #[arg(long, default_value_t = 5000)]
    connections: u32,
    /// Heartbeats per second, over all connections
    #[arg(long, default_value_t = 5000)]
    rate: u32,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct StormArgs {
    /// Devices, each with an identity of its own
    #[arg(long, default_value_t = 2000)]
    identities: u32,
    /// How many of them reconnect at once; the next ones follow when all are served [default: all, as far as a listen
    /// queue holds them]
    #[arg(long)]
    at_once: Option<u32>,
    /// Shards of heartring, all on one core; with more than one, most claims go to another shard
    #[arg(long, default_value_t = 1)]
    shards: u16,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// Rounds; every contender is measured once in each. Many short ones: a shared machine changes its pace every few
    /// seconds, and only what is measured under the same pace can be compared
    #[arg(long, default_value_t = 24)]
    rounds: u32,
    /// Seconds of one measurement
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Who is measured, separated by commas [default: all, of the runtimes those that are built]
    #[arg(long, value_delimiter = ',')]
    contenders: Vec<String>,
    /// Milliseconds that the server may wait for more work before it wakes; the runtimes have no such choice
    #[arg(long, default_value_t = 0.0, value_name = "MS")]
    batch_within: f64,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// Runs what `heartring bench` was asked for.
///
/// The program must offer [`BenchArgs`] as its subcommand `bench`, because measurements start the running
/// executable again as `bench serve` and `bench load`.
///
/// # Errors
///
/// Bad input, an interrupt, or no contender that could be measured; [`Error::exit_status`] says which status
/// the program should end with.
pub fn run(args: BenchArgs) -> Result<ExitCode, Error> {
    match args.command {
        Command::Echo(EchoArgs { connections, bytes, common }) => {
            bench(Workload::Echo { connections, bytes }, &common)
        }
        Command::Beats(BeatsArgs { connections, rate, common }) => {
            bench(Workload::Beats { connections, rate }, &common)
        }
        Command::Storm(StormArgs { identities, at_once, shards, common }) => {
            let at_once = at_once.unwrap_or(identities.min(BACKLOG));
            bench(Workload::Storm { identities, at_once, shards }, &common)
        }
        Command::Serve { plan } => {
            serve::run(&plan, |plan| plan.contender.start(plan));
            Ok(ExitCode::SUCCESS)
        }
        Command::Load { plan } => {
            load::run(&plan);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn bench(workload: Workload, common: &CommonArgs) -> Result<ExitCode, Error> {
    let setup = setup(workload, common, Machine::examine()?)?;
    let interrupt = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, interrupt.clone()).map_err(Error::system("signal handler"))?;
    }
    if common.contenders.is_empty() {
        say_who_is_not_built(workload);
    }
    // The suite itself stays off the server's core.
    process::pin(setup.machine.generator_core).map_err(Error::system("pinning the suite"))?;
    let progress = Progress::new(&setup);
    let outcome = suite::run(&setup, &progress, &interrupt);
    progress.finish();
    let report = Report::new(&setup, outcome?);
    let text = if common.json { report.to_json() } else { table::render(&setup, &report) };
    io::stdout().write_all(text.as_bytes()).map_err(Error::system("writing the report"))?;
    Ok(ExitCode::SUCCESS)
}

/// The one place that refuses.
fn setup(workload: Workload, common: &CommonArgs, machine: Machine) -> Result<Setup, Error> {
    check_sizes(workload, &machine)?;
    check_pace(workload)?;
    if !(1..=ROUNDS_MAX).contains(&common.rounds) {
        return refuse(format!("--rounds {} is not between 1 and {ROUNDS_MAX}", common.rounds));
    }
    if !(0.05..=600.0).contains(&common.seconds) {
        return refuse(format!("--seconds {} is not between 0.05 and 600", common.seconds));
    }
    if !(0.0..=100.0).contains(&common.batch_within) {
        return refuse(format!("--batch-within {} is not between 0 and 100 ms", common.batch_within));
    }
    Ok(Setup {
        workload,
        contenders: contenders(workload, &common.contenders)?,
        rounds: common.rounds,
        window: Duration::from_secs_f64(common.seconds),
        batch_within: Duration::from_secs_f64(common.batch_within / 1000.0),
        dead_within: DEAD_WITHIN,
        machine,
    })
}

fn check_sizes(workload: Workload, machine: &Machine) -> Result<(), Error> {
    if let Workload::Storm { identities, at_once, shards } = workload {
        return check_storm(identities, at_once, shards, machine);
    }
    let connections = workload.connections();
    if connections == 0 {
        return refuse("--connections 0 leaves nothing to measure: use 1 or more".into());
    }
    let most = machine.descriptors_max.saturating_sub(DESCRIPTORS_RESERVED);
    if u64::from(connections) > most {
        return refuse(format!(
            "--connections {connections} is more than a process may open: use at most {most}, or raise the hard \
             limit of descriptors (ulimit -Hn, now {})",
            machine.descriptors_max
        ));
    }
    if !(1..=MESSAGE_BYTES_MAX).contains(&workload.bytes()) {
        return refuse(format!("--bytes {} is not between 1 and {MESSAGE_BYTES_MAX}", workload.bytes()));
    }
    Ok(())
}

fn check_storm(identities: u32, at_once: u32, shards: u16, machine: &Machine) -> Result<(), Error> {
    let most = machine.descriptors_max.saturating_sub(DESCRIPTORS_RESERVED) / 2;
    if identities == 0 || u64::from(identities) > most {
        return refuse(format!(
            "--identities {identities} is not between 1 and {most}: each has two connections at times, and the hard \
             limit of descriptors (ulimit -Hn) is {}",
            machine.descriptors_max
        ));
    }
    if at_once == 0 || at_once > identities.min(BACKLOG) {
        return refuse(format!(
            "--at-once {at_once} is not between 1 and {}: a device comes once, and a listen queue holds {BACKLOG}",
            identities.min(BACKLOG)
        ));
    }
    if !(1..=64).contains(&shards) {
        return refuse(format!("--shards {shards} is not between 1 and 64"));
    }
    Ok(())
}

/// Every connection must beat at least twice per deadline, or healthy ones would be closed.
fn check_pace(workload: Workload) -> Result<(), Error> {
    let Workload::Beats { connections, rate } = workload else { return Ok(()) };
    let least = (f64::from(connections) * 2.0 / DEAD_WITHIN.as_secs_f64()).ceil();
    if f64::from(rate) < least {
        return refuse(format!(
            "--rate {rate} is too low for {connections} connections with a deadline of {} s: use {least} or more",
            DEAD_WITHIN.as_secs()
        ));
    }
    if rate > 1_000_000 {
        return refuse(format!("--rate {rate} is more than one generator can send: use at most 1000000"));
    }
    Ok(())
}

fn contenders(workload: Workload, names: &[String]) -> Result<Vec<Contender>, Error> {
    let able = Contender::able(workload);
    if names.is_empty() {
        return Ok(able.into_iter().filter(|contender| contender.is_built()).collect());
    }
    let mut contenders = Vec::new();
    for name in names {
        let Some(contender) = Contender::from_name(name).filter(|contender| able.contains(contender)) else {
            let known: Vec<&str> = able.into_iter().map(Contender::name).collect();
            let known = known.join(", ");
            return refuse(format!("unknown contender '{name}': use some of {known}"));
        };
        if contenders.contains(&contender) {
            return refuse(format!("contender '{name}' is named twice: name it once"));
        }
        contenders.push(contender);
    }
    Ok(contenders)
}

fn say_who_is_not_built(workload: Workload) {
    let absent = Contender::able(workload).into_iter().filter(|contender| !contender.is_built());
    let absent: Vec<&str> = absent.map(Contender::name).collect();
    if !absent.is_empty() {
        eprintln!("Without {}, which are not built: {RUNTIMES_REMEDY}", absent.join(", "));
    }
}

fn refuse<T>(why: String) -> Result<T, Error> {
    Err(Error::Usage(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn ask(line: &str) -> Result<Setup, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let args = Program::try_parse_from(words).expect("valid for clap");
        let mut machine = Machine::examine().map_err(|e| e.to_string())?;
        machine.descriptors_max = 20_000;
        let (workload, common) = match args.bench.command {
            Command::Echo(EchoArgs { connections, bytes, common }) => {
                (Workload::Echo { connections, bytes }, common)
            }
            Command::Beats(BeatsArgs { connections, rate, common }) => {
                (Workload::Beats { connections, rate }, common)
            }
            Command::Storm(StormArgs { identities, at_once, shards, common }) => {
                let at_once = at_once.unwrap_or(identities.min(BACKLOG));
                (Workload::Storm { identities, at_once, shards }, common)
            }
            Command::Serve { .. } | Command::Load { .. } => panic!("not a workload"),
        };
        setup(workload, &common, machine).map_err(|error| {
            assert_eq!(error.exit_status(), 2);
            error.to_string()
        })
    }

    #[test]
    fn defaults_measure_everyone() {
        let echo = ask("echo").unwrap();
        assert_eq!(echo.workload, Workload::Echo { connections: 1000, bytes: 32 });
        assert_eq!(echo.contenders, built(&Contender::ALL[2..]));
        let beats = ask("beats --connections 19000 --contenders bare_epoll,bare_uring").unwrap();
        assert_eq!(beats.workload, Workload::Beats { connections: 19_000, rate: 5000 });
        assert_eq!(beats.contenders, [Contender::BareEpoll, Contender::BareUring]);
        let storm = ask("storm").unwrap();
        assert_eq!(storm.workload, Workload::Storm { identities: 2000, at_once: 2000, shards: 1 });
        assert_eq!(storm.contenders, built(&Contender::ALL));
    }

    fn built(contenders: &[Contender]) -> Vec<Contender> {
        contenders.iter().copied().filter(|contender| contender.is_built()).collect()
    }

    #[test]
    fn a_runtime_that_is_asked_for_is_measured_or_said_to_be_missing() {
        let echo = ask("echo --contenders bare_epoll,tokio").unwrap();
        assert_eq!(echo.contenders, [Contender::BareEpoll, Contender::Tokio]);
    }

    #[test]
    fn bad_input_is_refused_in_one_line_with_a_remedy() {
        for (line, remedy) in [
            ("echo --connections 0", "use 1 or more"),
            ("echo --connections 19990", "use at most 19872"),
            ("echo --bytes 0", "between 1 and 4096"),
            ("echo --bytes 5000", "between 1 and 4096"),
            ("echo --contenders nginx", "use some of bare_uring, bare_epoll"),
            ("echo --contenders bare_epoll,bare_epoll", "name it once"),
            ("echo --rounds 0", "between 1 and 99"),
            ("echo --seconds NaN", "between 0.05 and 600"),
            ("echo --contenders accept_epoll", "use some of bare_uring, bare_epoll"),
            ("storm --identities 0", "between 1 and 9936"),
            ("storm --identities 10000", "between 1 and 9936"),
            ("storm --identities 10 --at-once 11", "between 1 and 10"),
            ("storm --identities 9000 --at-once 5000", "between 1 and 4096"),
            ("storm --shards 0", "between 1 and 64"),
            ("beats --rate 0", "use 334 or more"),
            ("beats --rate 2000000", "at most 1000000"),
            ("beats --batch-within 2000", "between 0 and 100 ms"),
        ] {
            let refusal = ask(line).unwrap_err();
            assert!(refusal.contains(remedy) && !refusal.contains('\n'), "{line}: {refusal}");
        }
    }
}
