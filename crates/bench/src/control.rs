//! What a measurement's processes say to each other: one JSON object a line, commands on the child's stdin,
//! reports on its stdout. The end of stdin ends the child.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// From the suite to either child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// The window begins.
    Begin,
    /// The window has ended.
    End,
}

/// From a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServerReport {
    /// It listens.
    Ready { addr: SocketAddr },
    /// What it has used since it started; the answer to every command.
    Mark(ServerMark),
    /// It cannot run, or cannot go on.
    Failed { why: String },
}

/// What a server process has used since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerMark {
    pub(crate) cpu_ns: u64,
    /// Of all threads but the one that answers commands.
    pub(crate) voluntary_switches: u64,
    /// Of servers that keep account of them.
    pub(crate) verdicts: Option<Verdicts>,
}

/// What a server itself says of the deadlines that passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdicts {
    pub(crate) count: u64,
    pub(crate) early: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) max_ns: u64,
}

/// From a generator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoadReport {
    /// All connections are up and warm.
    Steady,
    /// The window has begun.
    Begun,
    /// The window has ended; the load goes on until the generator is ended.
    Ended(LoadResult),
    /// It cannot go on.
    Failed { why: String },
}

/// What a generator saw in its window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoadResult {
    /// Messages echoed, beats sent, claims answered, messages delivered, or deaths.
    pub(crate) units: u64,
    pub(crate) elapsed_ns: u64,
    pub(crate) generator_cpu_ns: u64,
    /// None where nothing is answered.
    pub(crate) latency: Option<Latency>,
    /// Mean time until all devices of a wave were served, where they come, or are served, in waves.
    pub(crate) wave_ns: Option<u64>,
    /// What the latencies were, or how late deaths were seen: values in nanoseconds, rising, with their counts.
    pub(crate) histogram: Vec<(u64, u64)>,
    /// Where devices die: from their deadline to the reset.
    pub(crate) seen: Option<Latency>,
    /// Where devices die.
    pub(crate) deaths: Option<Deaths>,
}

/// What became of devices that died, and of those that did not, as the devices saw it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deaths {
    /// Died, and reset by the server.
    pub(crate) seen: u64,
    /// Died, reset before the deadline after its last beat.
    pub(crate) early: u64,
    /// Died, and never reset.
    pub(crate) undetected: u64,
    /// Lived, and closed.
    pub(crate) false_closes: u64,
}

/// Quantiles of the time to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "units are in the names")]
pub(crate) struct Latency {
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
}

/// Writes one report to stdout. A suite that no longer reads has ended, and so this process is about to.
pub(crate) fn report<T: Serialize>(report: &T) {
    let mut line = serde_json::to_vec(report).expect("reports are plain data");
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
}

/// The commands on stdin, until it ends. A line that is no command ends it as well.
pub(crate) fn commands() -> impl Iterator<Item = Command> {
    io::stdin().lock().lines().map_while(|line| serde_json::from_str(&line.ok()?).ok())
}
