//! The command line of `heartring bench`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::asked::{self, Asked};
use crate::compare;
use crate::contenders;
use crate::error::Error;
use crate::machine::Machine;
use crate::outlet::Outlet;
use crate::plan::{self, LoadPlan, ServePlan};
use crate::transport::Rps;
use crate::workload::Scene;
use crate::{bench, load, serve};

/// Measure what a server's work costs, against bare io_uring, bare epoll and the runtimes.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Busy connections, small messages returned: CPU per message, messages per second, latency
    Echo(EchoArgs),
    /// Mostly idle connections with heartbeats: CPU per beat, wake-ups per second, with and without waiting for company
    Beats(BeatsArgs),
    /// What keeping deadlines costs, in each way to keep them: CPU per message and per connection and hour, memory, lateness
    Deadlines(DeadlinesArgs),
    /// How late verdicts are: for single deaths, for all at once, and under load
    Detect(DetectArgs),
    /// All devices reconnect at once and claim their identity: CPU per accept + first frame + claim + eviction of the
    /// former connection, against the bare accept rate
    Storm(StormArgs),
    /// One message to all connections, many times a second: CPU per delivery, and when the last one has it
    Fanout(FanoutArgs),
    /// Bytes per idle connection, of user space and of the kernel
    Memory(MemoryArgs),
    /// As many heart-beating connections as this machine holds, in one process; then some of them die
    Scale(ScaleArgs),
    /// Everything, with sizes that fit into half an hour
    All(AllArgs),
    /// What changed between two reports in JSON
    Compare(compare::CompareArgs),
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
pub(crate) struct EchoArgs {
    /// Connections, each with one message under way; several counts, separated by commas, are measured one after the other
    #[arg(long, default_value = "1000", value_delimiter = ',')]
    pub(crate) connections: Vec<u32>,
    /// Bytes of a message
    #[arg(long, default_value_t = 32)]
    pub(crate) bytes: u32,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BeatsArgs {
    /// Connections, each silent but for its heartbeats; several counts, separated by commas, are measured one after the
    /// other
    #[arg(long, default_value = "19000", value_delimiter = ',')]
    pub(crate) connections: Vec<u32>,
    /// Heartbeats per second, over all connections; 0: the fleet is idle, and the price of holding it is measured
    #[arg(long, default_value_t = 5000)]
    pub(crate) rate: u32,
    /// The server answers each heartbeat with another
    #[arg(long)]
    pub(crate) answered: bool,
    /// Milliseconds that the `_batched` contenders wait for more work before they wake; the runtimes have no such choice
    #[arg(long, default_value_t = 5.0, value_name = "MS")]
    pub(crate) batch_within: f64,
    /// Seconds of silence after which a connection is dead
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    pub(crate) dead_within: f64,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeadlinesArgs {
    /// Rounds of each part; every contender is measured once in each
    #[arg(long)]
    pub(crate) rounds: Option<u32>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DetectArgs {
    /// Circumstances, separated by commas: `single` (one after the other), `mass` (all in one instant), `loaded` (one after
    /// the other beside 1000 busy connections)
    #[arg(long, default_value = "single,mass,loaded", value_delimiter = ',', value_parser = Scene::from_name)]
    pub(crate) scenes: Vec<Scene>,
    /// Deaths of a measurement in the scenes `single` and `loaded`; twice as many devices stay alive
    #[arg(long, default_value_t = 1000)]
    pub(crate) deaths: u32,
    /// Devices that die at once in the scene `mass` [default: 20000, or as many as there are descriptors for]
    #[arg(long)]
    pub(crate) mass: Option<u32>,
    /// Seconds of silence after which a connection is dead
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub(crate) dead_within: f64,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StormArgs {
    /// Devices, each with an identity of its own
    #[arg(long, default_value_t = 2000)]
    pub(crate) identities: u32,
    /// How many of them reconnect at once; the next ones follow when all are served [default: all, as far as a listen
    /// queue holds them]
    #[arg(long)]
    pub(crate) at_once: Option<u32>,
    /// Shards of heartring, all on one core; with more than one, most claims go to another shard
    #[arg(long, default_value_t = 1)]
    pub(crate) shards: u16,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FanoutArgs {
    /// Connections that get each message; several counts, separated by commas, are measured one after the other
    #[arg(long, default_value = "5000", value_delimiter = ',')]
    pub(crate) connections: Vec<u32>,
    /// Bytes of a message
    #[arg(long, default_value_t = 64)]
    pub(crate) bytes: u32,
    /// Messages per second
    #[arg(long, default_value_t = 20)]
    pub(crate) hz: u32,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MemoryArgs {
    /// The smaller count of connections
    #[arg(long, default_value_t = 3000)]
    pub(crate) few: u32,
    /// The larger one
    #[arg(long, default_value_t = 19_000)]
    pub(crate) many: u32,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// Connections [default: 1000000, or as many as there is memory for]
    #[arg(long)]
    pub(crate) connections: Option<u32>,
    /// Seconds of silence after which a connection is dead; devices beat three times as often
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    pub(crate) dead_within: f64,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AllArgs {
    /// A tenth of the time: fewer rounds, smaller fleets. To see the page, not to quote it
    #[arg(long)]
    pub(crate) brief: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// Rounds; every contender is measured once in each. Many short ones: a shared machine changes its pace every few
    /// seconds, and only what is measured under the same pace can be compared [default: 24, or 6 or fewer where a
    /// measurement takes long]
    #[arg(long)]
    pub(crate) rounds: Option<u32>,
    /// Seconds of one measurement [default: 0.5 to 3, by workload]
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// Who is measured, separated by commas [default: all, of the runtimes those that are built]
    #[arg(long, value_delimiter = ',')]
    pub(crate) contenders: Vec<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Whether loopback hands TCP input to the generator's core (receive packet steering, in a network namespace of its own);
    /// `auto`: where privileges allow
    #[arg(long, value_enum, default_value_t = Rps::Auto)]
    pub(crate) rps: Rps,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the report as a web page, complete in one file
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
}

/// Runs what `heartring bench` was asked for.
///
/// The program must offer [`BenchArgs`] as its subcommand `bench`, because measurements start the running
/// executable again as `bench serve` and `bench load`. It must not have started a thread: the network namespace of a
/// measurement is that of a process.
///
/// # Errors
///
/// Bad input, an interrupt, or no contender that could be measured; [`Error::exit_status`] says which status
/// the program should end with.
pub fn run(args: BenchArgs) -> Result<ExitCode, Error> {
    let command = match args.command {
        Command::Serve { plan } => {
            serve::run(&plan, contenders::start);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Load { plan } => {
            load::run(&plan);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Compare(args) => return compare::run(&args),
        other @ (Command::Echo(_)
        | Command::Beats(_)
        | Command::Deadlines(_)
        | Command::Detect(_)
        | Command::Storm(_)
        | Command::Fanout(_)
        | Command::Memory(_)
        | Command::Scale(_)
        | Command::All(_)) => other,
    };
    let outlet = Outlet::open(command.output())?;
    let machine = Machine::examine(command.output().rps)?;
    let Asked { name, setups } = asked::read(&command, &machine)?;
    bench::run(name, machine, setups, outlet)
}

impl BenchArgs {
    #[cfg(test)]
    pub(crate) fn command(&self) -> &Command {
        &self.command
    }
}

impl Command {
    pub(crate) fn output(&self) -> &OutputArgs {
        match self {
            Command::Echo(args) => &args.common.output,
            Command::Beats(args) => &args.common.output,
            Command::Deadlines(args) => &args.output,
            Command::Detect(args) => &args.common.output,
            Command::Storm(args) => &args.common.output,
            Command::Fanout(args) => &args.common.output,
            Command::Memory(args) => &args.common.output,
            Command::Scale(args) => &args.common.output,
            Command::All(args) => &args.output,
            Command::Compare(_) | Command::Serve { .. } | Command::Load { .. } => {
                unreachable!("these measure nothing")
            }
        }
    }
}
