//! What is measured: the names in the JSON, and how a person reads them.

use serde::{Deserialize, Serialize};

/// One measured quantity. The order is that of the table's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// CPU time of the server process per echoed message.
    CpuNsPerMessage,
    /// CPU time of the server process per heartbeat.
    CpuNsPerBeat,
    /// CPU time of the server process per accept + first frame + claim + eviction of the former holder. For a server that
    /// only accepts, per accept.
    CpuNsPerClaim,
    /// CPU time of the server process per delivery of a message that goes to all.
    CpuNsPerDelivery,
    /// CPU time of the server process per connection that it holds for an hour.
    CpuMsPerConnHour,
    /// Claims per second of the server's CPU time: what one core could do if no generator held it up.
    ClaimsPerCoreS,
    /// Echoes per second, as the generator counted them.
    MessagesPerS,
    /// Beats per second, as the generator sent them; below the asked rate, the generator was too slow.
    BeatsPerS,
    /// Claims answered per second, as the generator counted them; it pays for both ends of every handshake and is the limit
    /// on most machines.
    ClaimsPerS,
    /// Deliveries per second, as the generator counted them.
    DeliveriesPerS,
    /// Median time from a message's `send`, or a device's connect, to the answer, seen by the generator. In `fanout`, from the
    /// tick to the delivery.
    LatencyP50Us,
    /// The same, 99th percentile.
    LatencyP99Us,
    /// The longest time from a device's connect to its answer.
    LongestWaitMs,
    /// From the first connect of those that come at once to the last answer; mean.
    AllServedMs,
    /// From the tick to the last delivery; mean.
    LastDeliveryMs,
    /// Resident memory of the server process per idle connection, from the slope between two counts.
    UserBytes,
    /// Memory of the kernel per idle connection, without the client's end: what both ends take, less half of what a pair of
    /// plain sockets takes.
    KernelBytes,
    /// Memory of the kernel per idle connection, both ends of it.
    KernelBytesBothEnds,
    /// Connections that died.
    Deaths,
    /// Verdicts that came before their deadline. To be zero.
    Early,
    /// Connections that were closed although their devices beat in time. To be zero.
    FalseCloses,
    /// Deaths without a verdict. To be zero.
    Undetected,
    /// Median time from a deadline to its verdict, by the server's own account.
    LatenessP50Us,
    /// The same, 99th percentile.
    LatenessP99Us,
    /// The same, 99.9th percentile.
    #[serde(rename = "lateness_p999_us")]
    LatenessP999Us,
    /// The same, the last one.
    LatenessMaxUs,
    /// Median time from a device's last beat, plus the deadline, to the moment when it sees that it was reset.
    SeenP50Us,
    /// The same, the last one.
    SeenMaxUs,
    /// Connections held at one time.
    Connections,
    /// Until all were connected.
    ConnectS,
    /// Voluntary context switches of the server's threads: how often it went to sleep and was woken.
    WakeupsPerS,
    /// Share of one core that the server used.
    ServerBusy,
    /// Share of one core that the generator used. At 1.0 with an idle server, the generator is the limit.
    GeneratorBusy,
    /// Share of the server's core that others used: other programs, kernel threads, the hypervisor.
    ForeignBusy,
}

/// A distribution, over all rounds together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Curve {
    /// Time to an answer or a delivery.
    LatencyUs,
    /// Time from a device's deadline until it sees that it was reset.
    SeenUs,
}

impl Metric {
    /// The head of the table's column.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Metric::CpuNsPerMessage => "CPU ns/message",
            Metric::CpuNsPerBeat => "CPU ns/beat",
            Metric::CpuNsPerClaim => "CPU ns/claim",
            Metric::CpuNsPerDelivery => "CPU ns/delivery",
            Metric::CpuMsPerConnHour => "CPU ms/conn hour",
            Metric::ClaimsPerCoreS => "claims/core s",
            Metric::MessagesPerS => "messages/s",
            Metric::BeatsPerS => "beats/s",
            Metric::ClaimsPerS => "claims/s",
            Metric::DeliveriesPerS => "deliveries/s",
            Metric::LatencyP50Us => "p50 µs",
            Metric::LatencyP99Us => "p99 µs",
            Metric::LongestWaitMs => "longest ms",
            Metric::AllServedMs => "all served ms",
            Metric::LastDeliveryMs => "last has it ms",
            Metric::UserBytes => "user bytes",
            Metric::KernelBytes => "kernel bytes",
            Metric::KernelBytesBothEnds => "kernel, both ends",
            Metric::Deaths => "deaths",
            Metric::Early => "early",
            Metric::FalseCloses => "false",
            Metric::Undetected => "undetected",
            Metric::LatenessP50Us => "late p50 µs",
            Metric::LatenessP99Us => "late p99 µs",
            Metric::LatenessP999Us => "late p99.9 µs",
            Metric::LatenessMaxUs => "late max µs",
            Metric::SeenP50Us => "seen p50 µs",
            Metric::SeenMaxUs => "seen max µs",
            Metric::Connections => "connections",
            Metric::ConnectS => "connected in s",
            Metric::WakeupsPerS => "wake-ups/s",
            Metric::ServerBusy => "server busy",
            Metric::GeneratorBusy => "generator busy",
            Metric::ForeignBusy => "foreign busy",
        }
    }

    /// Digits behind the point that mean something.
    pub(crate) fn decimals(self) -> usize {
        match self {
            Metric::CpuMsPerConnHour | Metric::ServerBusy | Metric::GeneratorBusy | Metric::ForeignBusy => 2,
            Metric::LongestWaitMs
            | Metric::AllServedMs
            | Metric::LastDeliveryMs
            | Metric::WakeupsPerS
            | Metric::ConnectS => 1,
            Metric::CpuNsPerMessage
            | Metric::CpuNsPerBeat
            | Metric::CpuNsPerClaim
            | Metric::CpuNsPerDelivery
            | Metric::ClaimsPerCoreS
            | Metric::MessagesPerS
            | Metric::BeatsPerS
            | Metric::ClaimsPerS
            | Metric::DeliveriesPerS
            | Metric::LatencyP50Us
            | Metric::LatencyP99Us
            | Metric::UserBytes
            | Metric::KernelBytes
            | Metric::KernelBytesBothEnds
            | Metric::Deaths
            | Metric::Early
            | Metric::FalseCloses
            | Metric::Undetected
            | Metric::LatenessP50Us
            | Metric::LatenessP99Us
            | Metric::LatenessP999Us
            | Metric::LatenessMaxUs
            | Metric::SeenP50Us
            | Metric::SeenMaxUs
            | Metric::Connections => 0,
        }
    }

    /// Whether a larger value is the better one.
    pub(crate) fn more_is_better(self) -> bool {
        matches!(
            self,
            Metric::ClaimsPerCoreS
                | Metric::MessagesPerS
                | Metric::BeatsPerS
                | Metric::ClaimsPerS
                | Metric::DeliveriesPerS
                | Metric::Connections
        )
    }
}
