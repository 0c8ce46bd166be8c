//! What the devices do: the workloads, with their sizes.

use serde::{Deserialize, Serialize};

use crate::metric::Metric;

/// A heartbeat on the wire: the empty frame of the length-prefixed protocol, a big-endian zero.
const BEAT: [u8; 4] = [0; 4];

/// A claim on the wire: one length-prefixed frame with the identity, which is as long as device ids are and ends with the
/// device's number.
const CLAIM_HEAD: [u8; 16] = *b"\0\0\0\x10device-4711-";

/// A claim's bytes, the device's number included.
pub const CLAIM_BYTES: usize = CLAIM_HEAD.len() + size_of::<u32>();

/// What a server says to a device that holds its identity: one length-prefixed frame.
pub const GRANTED: &[u8] = b"\0\0\0\x07granted";

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
    /// Devices reconnect, `at_once` together, and claim their identity while their former connection is still open; the
    /// server ends that and answers.
    Storm { identities: u32, at_once: u32, shards: u16 },
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::Echo { .. } => "echo",
            Workload::Beats { .. } => "beats",
            Workload::Storm { .. } => "storm",
        }
    }

    /// The unit of work to which the cost is charged.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Workload::Echo { .. } => "message",
            Workload::Beats { .. } => "beat",
            Workload::Storm { .. } => "claim",
        }
    }

    /// Connections that the server holds at one time.
    pub(crate) fn connections(self) -> u32 {
        match self {
            Workload::Echo { connections, .. } | Workload::Beats { connections, .. } => connections,
            // Of each device the present one, and the former one until it is evicted.
            Workload::Storm { identities, .. } => identities * 2,
        }
    }

    /// Bytes of one message.
    pub(crate) fn bytes(self) -> u32 {
        match self {
            Workload::Echo { bytes, .. } => bytes,
            Workload::Beats { .. } => BEAT.len() as u32,
            Workload::Storm { .. } => CLAIM_BYTES as u32,
        }
    }

    /// What a device sends. The bytes of an echo do not matter, as long as no protocol takes them for a beat.
    pub(crate) fn message(self) -> Vec<u8> {
        match self {
            Workload::Echo { bytes, .. } => vec![b'.'; bytes as usize],
            Workload::Beats { .. } => BEAT.to_vec(),
            Workload::Storm { .. } => claim_of(0).to_vec(),
        }
    }

    /// Whether the devices wait for an answer to what they send.
    pub(crate) fn answered(self) -> bool {
        match self {
            Workload::Echo { .. } | Workload::Storm { .. } => true,
            Workload::Beats { .. } => false,
        }
    }

    /// The metric on which contenders are judged: server CPU per unit.
    pub(crate) fn cost(self) -> Metric {
        match self {
            Workload::Echo { .. } => Metric::CpuNsPerMessage,
            Workload::Beats { .. } => Metric::CpuNsPerBeat,
            Workload::Storm { .. } => Metric::CpuNsPerClaim,
        }
    }

    /// The table's columns. What it has no room for is in the JSON.
    pub(crate) fn columns(self) -> &'static [Metric] {
        match self {
            Workload::Echo { .. } => {
                &[Metric::CpuNsPerMessage, Metric::MessagesPerS, Metric::LatencyP50Us, Metric::LatencyP99Us]
            }
            Workload::Beats { .. } => &[Metric::CpuNsPerBeat, Metric::BeatsPerS, Metric::WakeupsPerS],
            Workload::Storm { .. } => &[
                Metric::CpuNsPerClaim,
                Metric::ClaimsPerCoreS,
                Metric::ClaimsPerS,
                Metric::LatencyP50Us,
                Metric::LongestWaitMs,
                Metric::AllServedMs,
            ],
        }
    }

    /// Metrics for which the report gives paired ratios, the cost first.
    pub(crate) fn compared(self) -> &'static [Metric] {
        match self {
            Workload::Echo { .. } => &[Metric::CpuNsPerMessage, Metric::MessagesPerS],
            Workload::Beats { .. } => &[Metric::CpuNsPerBeat, Metric::WakeupsPerS],
            Workload::Storm { .. } => &[Metric::CpuNsPerClaim, Metric::ClaimsPerCoreS, Metric::ClaimsPerS],
        }
    }
}

/// What device `number` claims.
pub(crate) fn claim_of(number: u32) -> [u8; CLAIM_BYTES] {
    let mut claim = [0; CLAIM_BYTES];
    let (head, tail) = claim.split_at_mut(CLAIM_HEAD.len());
    head.copy_from_slice(&CLAIM_HEAD);
    tail.copy_from_slice(&number.to_be_bytes());
    claim
}

/// Whose claim it is: all that a server without a directory looks at.
pub fn number_in(claim: [u8; CLAIM_BYTES]) -> u32 {
    let [.., a, b, c, d] = claim;
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_one_frame_with_an_identity_of_its_own() {
        let claim = claim_of(4711);
        assert_eq!(number_in(claim), 4711);
        let (length, identity) = claim.split_at(4);
        assert_eq!(u32::from_be_bytes(length.try_into().unwrap()) as usize, identity.len());
        assert_ne!(claim_of(1), claim_of(2));
    }
}
