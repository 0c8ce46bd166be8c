//! What is measured: the names in the JSON, and how a person reads them.

use serde::Serialize;

/// One measured quantity. The order is that of the table's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// CPU time of the server process per echoed message.
    CpuNsPerMessage,
    /// CPU time of the server process per one-way beat.
    CpuNsPerBeat,
    /// CPU time of the server process per accept + first frame + claim + eviction of the former holder. For a server that
    /// only accepts, per accept.
    CpuNsPerClaim,
    /// Claims per second of the server's CPU time: what one core could do if no generator held it up.
    ClaimsPerCoreS,
    /// Echoes per second, as the generator counted them.
    MessagesPerS,
    /// Beats per second, as the generator sent them; below the asked rate, the generator was too slow.
    BeatsPerS,
    /// Claims answered per second, as the generator counted them; it pays for both ends of every handshake and is the limit
    /// on most machines.
    ClaimsPerS,
    /// Median time from a message's `send`, or a device's connect, to the answer, seen by the generator.
    LatencyP50Us,
    /// The same, 99th percentile.
    LatencyP99Us,
    /// The longest time from a device's connect to its answer.
    LongestWaitMs,
    /// From the first connect of those that come at once to the last answer; mean.
    AllServedMs,
    /// Voluntary context switches of the server's threads: how often it went to sleep and was woken.
    WakeupsPerS,
    /// Share of one core that the server used.
    ServerBusy,
    /// Share of one core that the generator used. At 1.0 with an idle server, the generator is the limit.
    GeneratorBusy,
    /// Share of the server's core that others used: other programs, kernel threads, the hypervisor.
    ForeignBusy,
}

impl Metric {
    /// The head of the table's column.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Metric::CpuNsPerMessage => "CPU ns/message",
            Metric::CpuNsPerBeat => "CPU ns/beat",
            Metric::CpuNsPerClaim => "CPU ns/claim",
            Metric::ClaimsPerCoreS => "claims/core s",
            Metric::MessagesPerS => "messages/s",
            Metric::BeatsPerS => "beats/s",
            Metric::ClaimsPerS => "claims/s",
            Metric::LatencyP50Us => "p50 µs",
            Metric::LatencyP99Us => "p99 µs",
            Metric::LongestWaitMs => "longest ms",
            Metric::AllServedMs => "all served ms",
            Metric::WakeupsPerS => "wake-ups/s",
            Metric::ServerBusy => "server busy",
            Metric::GeneratorBusy => "generator busy",
            Metric::ForeignBusy => "foreign busy",
        }
    }
}
