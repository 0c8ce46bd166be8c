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
        self.reading().0
    }

    /// Digits behind the point that mean something.
    pub(crate) fn decimals(self) -> usize {
        self.reading().1
    }

    /// In a sentence, after "less" or "more".
    pub(crate) fn spoken(self) -> &'static str {
        let (title, _, spoken) = self.reading();
        spoken.unwrap_or(title)
    }

    /// Title, decimals, and how it is spoken of where that is another way.
    fn reading(self) -> (&'static str, usize, Option<&'static str>) {
        match self {
            Metric::CpuNsPerMessage => ("CPU ns/message", 0, Some("CPU per message")),
            Metric::CpuNsPerBeat => ("CPU ns/beat", 0, Some("CPU per beat")),
            Metric::CpuNsPerClaim => ("CPU ns/claim", 0, Some("CPU per claim")),
            Metric::CpuNsPerDelivery => ("CPU ns/delivery", 0, Some("CPU per delivery")),
            Metric::CpuMsPerConnHour => ("CPU ms/conn hour", 2, Some("CPU per connection and hour")),
            Metric::ClaimsPerCoreS => ("claims/core s", 0, None),
            Metric::MessagesPerS => ("messages/s", 0, None),
            Metric::BeatsPerS => ("beats/s", 0, None),
            Metric::ClaimsPerS => ("claims/s", 0, None),
            Metric::DeliveriesPerS => ("deliveries/s", 0, None),
            Metric::LatencyP50Us => ("p50 µs", 0, None),
            Metric::LatencyP99Us => ("p99 µs", 0, None),
            Metric::LongestWaitMs => ("longest ms", 1, None),
            Metric::AllServedMs => ("all served ms", 1, None),
            Metric::LastDeliveryMs => ("last has it ms", 1, None),
            Metric::UserBytes => ("user bytes", 0, Some("user-space memory per connection")),
            Metric::KernelBytes => ("kernel bytes", 0, Some("kernel memory per connection")),
            Metric::KernelBytesBothEnds => ("kernel, both ends", 0, None),
            Metric::Deaths => ("deaths", 0, None),
            Metric::Early => ("early", 0, None),
            Metric::FalseCloses => ("false", 0, None),
            Metric::Undetected => ("undetected", 0, None),
            Metric::LatenessP50Us => ("late p50 µs", 0, None),
            Metric::LatenessP99Us => ("late p99 µs", 0, Some("time for its verdicts (p99)")),
            Metric::LatenessP999Us => ("late p99.9 µs", 0, None),
            Metric::LatenessMaxUs => ("late max µs", 0, Some("time for its last verdict")),
            Metric::SeenP50Us => ("seen p50 µs", 0, None),
            Metric::SeenMaxUs => ("seen max µs", 0, None),
            Metric::Connections => ("connections", 0, None),
            Metric::ConnectS => ("connected in s", 1, None),
            Metric::WakeupsPerS => ("wake-ups/s", 1, None),
            Metric::ServerBusy => ("server busy", 2, None),
            Metric::GeneratorBusy => ("generator busy", 2, None),
            Metric::ForeignBusy => ("foreign busy", 2, None),
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
