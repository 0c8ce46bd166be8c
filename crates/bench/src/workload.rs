//! What the devices do: the workloads, with their sizes.

use serde::{Deserialize, Serialize};

use crate::metric::Metric;

/// A heartbeat on the wire: the empty frame of the length-prefixed protocol, a big-endian zero.
const BEAT: [u8; 4] = [0; 4];

/// Largest message of `echo`. It fits the smallest send buffer that a kernel gives a TCP socket (16 kB), so
/// that a bare contender without send queues never meets a full one.
pub(crate) const MESSAGE_BYTES_MAX: u32 = 4096;

/// What the devices do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// Every connection has one message of `bytes` under way at any time; the server returns it.
    Echo { connections: u32, bytes: u32 },
    /// Mostly idle connections; `rate` heartbeats a second in all, which nobody answers.
    Beats { connections: u32, rate: u32 },
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::Echo { .. } => "echo",
            Workload::Beats { .. } => "beats",
        }
    }

    /// The unit of work to which the cost is charged.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Workload::Echo { .. } => "message",
            Workload::Beats { .. } => "beat",
        }
    }

    pub(crate) fn connections(self) -> u32 {
        match self {
            Workload::Echo { connections, .. } | Workload::Beats { connections, .. } => connections,
        }
    }

    /// Bytes of one message.
    pub(crate) fn bytes(self) -> u32 {
        match self {
            Workload::Echo { bytes, .. } => bytes,
            Workload::Beats { .. } => BEAT.len() as u32,
        }
    }

    /// What a device sends. The bytes of an echo do not matter, as long as no protocol takes them for a beat.
    pub(crate) fn message(self) -> Vec<u8> {
        match self {
            Workload::Echo { bytes, .. } => vec![b'.'; bytes as usize],
            Workload::Beats { .. } => BEAT.to_vec(),
        }
    }

    /// Whether the server returns what it receives.
    pub(crate) fn answered(self) -> bool {
        match self {
            Workload::Echo { .. } => true,
            Workload::Beats { .. } => false,
        }
    }

    /// The metric on which contenders are judged: server CPU per unit.
    pub(crate) fn cost(self) -> Metric {
        match self {
            Workload::Echo { .. } => Metric::CpuNsPerMessage,
            Workload::Beats { .. } => Metric::CpuNsPerBeat,
        }
    }

    /// The table's columns. What it has no room for is in the JSON.
    pub(crate) fn columns(self) -> &'static [Metric] {
        match self {
            Workload::Echo { .. } => {
                &[Metric::CpuNsPerMessage, Metric::MessagesPerS, Metric::LatencyP50Us, Metric::LatencyP99Us]
            }
            Workload::Beats { .. } => &[Metric::CpuNsPerBeat, Metric::BeatsPerS, Metric::WakeupsPerS],
        }
    }

    /// Metrics for which the report gives paired ratios, the cost first.
    pub(crate) fn compared(self) -> &'static [Metric] {
        match self {
            Workload::Echo { .. } => &[Metric::CpuNsPerMessage, Metric::MessagesPerS],
            Workload::Beats { .. } => &[Metric::CpuNsPerBeat, Metric::WakeupsPerS],
        }
    }
}
