//! What the devices do: the workloads, with their sizes.

use serde::{Deserialize, Serialize};

use crate::contender::Server;
use crate::metric::Metric;

/// A heartbeat on the wire: the empty frame of the length-prefixed protocol, a big-endian zero.
pub(crate) const BEAT: [u8; 4] = [0; 4];

/// What one ring is given at most: its table of direct descriptors is as long as RLIMIT_NOFILE, often 20 000, and finding a
/// request by name takes longer the more there are.
pub(crate) const CONNS_PER_RING_MAX: u32 = 19_800;

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
    /// Mostly idle connections; `rate` heartbeats a second in all, each answered with another if `answered`. Without any, the
    /// fleet is idle, and what is measured is the price of holding it.
    Beats {
        connections: u32,
        rate: u32,
        #[serde(default)]
        answered: bool,
    },
    /// Devices reconnect, `at_once` together, and claim their identity while their former connection is still open; the
    /// server ends that and answers.
    Storm { identities: u32, at_once: u32, shards: u16 },
    /// The server sends one message of `bytes` to all connections, `hz` times a second, as a game does.
    Fanout { connections: u32, bytes: u32, hz: u32 },
    /// Devices die without a FIN, and the verdicts are timed.
    Detect { scene: Scene, connections: u32, deaths: u32 },
    /// Idle connections, first `few` and then `many`: what one more costs.
    Memory { few: u32, many: u32 },
    /// As many heart-beating connections as the machine holds, in one server process; then `deaths` of them die.
    Scale { connections: u32, shards: u16, rate: u32, deaths: u32 },
}

/// Under which circumstances devices die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scene {
    /// One after the other, while the others only beat.
    Single,
    /// All in one instant.
    Mass,
    /// One after the other, while others keep the server busy with messages that it returns.
    Loaded,
}

impl Scene {
    pub(crate) const ALL: [Scene; 3] = [Scene::Single, Scene::Mass, Scene::Loaded];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Scene::Single => "single",
            Scene::Mass => "mass",
            Scene::Loaded => "loaded",
        }
    }

    pub(crate) fn from_name(name: &str) -> Result<Scene, String> {
        let known = Scene::ALL.map(Scene::name).join(", ");
        Scene::ALL.into_iter().find(|scene| scene.name() == name).ok_or(format!("use one of {known}"))
    }
}

/// Busy devices beside those that die, in a loaded scene.
pub(crate) const LOADING: u32 = 1000;

/// What they say: one length-prefixed frame, whose bytes do not matter.
pub(crate) const LOADING_MESSAGE: &[u8; 32] = b"\0\0\0\x1c............................";

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::Echo { .. } => "echo",
            Workload::Beats { .. } => "beats",
            Workload::Storm { .. } => "storm",
            Workload::Fanout { .. } => "fanout",
            Workload::Detect { .. } => "detect",
            Workload::Memory { .. } => "memory",
            Workload::Scale { .. } => "scale",
        }
    }

    /// The unit of work to which the cost is charged.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Workload::Echo { .. } => "message",
            Workload::Beats { rate: 0, .. } | Workload::Scale { .. } => "connection hour",
            Workload::Beats { .. } => "beat",
            Workload::Storm { .. } => "claim",
            Workload::Fanout { .. } => "delivery",
            Workload::Detect { .. } => "death",
            Workload::Memory { .. } => "connection",
        }
    }

    /// Connections that the server holds at one time.
    pub(crate) fn connections(self) -> u32 {
        match self {
            Workload::Echo { connections, .. }
            | Workload::Beats { connections, .. }
            | Workload::Fanout { connections, .. }
            | Workload::Scale { connections, .. } => connections,
            // Of each device the present one, and the former one until it is evicted.
            Workload::Storm { identities, .. } => identities * 2,
            Workload::Detect { scene: Scene::Loaded, connections, .. } => connections + LOADING,
            Workload::Detect { connections, .. } => connections,
            Workload::Memory { many, .. } => many,
        }
    }

    /// Bytes of one message of a device.
    pub(crate) fn bytes(self) -> u32 {
        self.message().len() as u32
    }

    /// The longest run of bytes that a server receives of one connection at a time.
    pub(crate) fn received_bytes_max(self) -> u32 {
        match self {
            Workload::Detect { .. } => LOADING_MESSAGE.len() as u32,
            Workload::Echo { .. }
            | Workload::Beats { .. }
            | Workload::Storm { .. }
            | Workload::Fanout { .. }
            | Workload::Memory { .. }
            | Workload::Scale { .. } => self.bytes(),
        }
    }

    /// What a device sends. The bytes of an echo do not matter, as long as no protocol takes them for a beat.
    pub(crate) fn message(self) -> Vec<u8> {
        match self {
            Workload::Echo { bytes, .. } => vec![b'.'; bytes as usize],
            Workload::Beats { .. }
            | Workload::Fanout { .. }
            | Workload::Detect { .. }
            | Workload::Memory { .. }
            | Workload::Scale { .. } => BEAT.to_vec(),
            Workload::Storm { .. } => claim_of(0).to_vec(),
        }
    }

    /// Whether a server returns what it receives.
    pub(crate) fn answered(self) -> bool {
        match self {
            Workload::Echo { .. } | Workload::Storm { .. } => true,
            Workload::Beats { answered, .. } => answered,
            Workload::Fanout { .. }
            | Workload::Detect { .. }
            | Workload::Memory { .. }
            | Workload::Scale { .. } => false,
        }
    }

    /// The metric on which contenders are judged: mostly server CPU per unit.
    pub(crate) fn cost(self) -> Metric {
        match self {
            Workload::Echo { .. } => Metric::CpuNsPerMessage,
            Workload::Beats { rate: 0, .. } | Workload::Scale { .. } => Metric::CpuMsPerConnHour,
            Workload::Beats { .. } => Metric::CpuNsPerBeat,
            Workload::Storm { .. } => Metric::CpuNsPerClaim,
            Workload::Fanout { .. } => Metric::CpuNsPerDelivery,
            Workload::Detect { .. } => Metric::LatenessP99Us,
            Workload::Memory { .. } => Metric::UserBytes,
        }
    }

    /// Metrics for which the report gives paired ratios, the cost first.
    pub(crate) fn compared(self) -> &'static [Metric] {
        match self {
            Workload::Echo { .. } => &[Metric::CpuNsPerMessage, Metric::MessagesPerS],
            Workload::Beats { rate: 0, .. } => &[Metric::CpuMsPerConnHour],
            Workload::Beats { .. } => &[Metric::CpuNsPerBeat, Metric::WakeupsPerS],
            Workload::Storm { .. } => &[Metric::CpuNsPerClaim, Metric::ClaimsPerCoreS, Metric::ClaimsPerS],
            Workload::Fanout { .. } => &[Metric::CpuNsPerDelivery, Metric::LastDeliveryMs],
            Workload::Detect { .. } => &[Metric::LatenessP99Us, Metric::LatenessMaxUs],
            Workload::Memory { .. } => &[Metric::UserBytes, Metric::KernelBytes],
            Workload::Scale { .. } => &[Metric::CpuMsPerConnHour],
        }
    }
}

/// The table's columns for a workload, by its name. What they have no room for is in the JSON.
pub(crate) fn columns(workload: &str) -> &'static [Metric] {
    match workload {
        "echo" => {
            &[Metric::CpuNsPerMessage, Metric::MessagesPerS, Metric::LatencyP50Us, Metric::LatencyP99Us]
        }
        "beats" => &[Metric::CpuNsPerBeat, Metric::CpuMsPerConnHour, Metric::BeatsPerS, Metric::WakeupsPerS],
        "storm" => &[
            Metric::CpuNsPerClaim,
            Metric::ClaimsPerCoreS,
            Metric::ClaimsPerS,
            Metric::LatencyP50Us,
            Metric::LongestWaitMs,
            Metric::AllServedMs,
        ],
        "fanout" => &[
            Metric::CpuNsPerDelivery,
            Metric::DeliveriesPerS,
            Metric::LatencyP50Us,
            Metric::LatencyP99Us,
            Metric::LastDeliveryMs,
        ],
        "memory" => &[Metric::UserBytes, Metric::KernelBytes, Metric::KernelBytesBothEnds],
        "scale" => &[
            Metric::Connections,
            Metric::ConnectS,
            Metric::CpuMsPerConnHour,
            Metric::UserBytes,
            Metric::KernelBytesBothEnds,
            Metric::Deaths,
            Metric::Early,
            Metric::FalseCloses,
            Metric::Undetected,
            Metric::LatenessMaxUs,
        ],
        _ => &[
            Metric::Deaths,
            Metric::Early,
            Metric::FalseCloses,
            Metric::Undetected,
            Metric::LatenessP50Us,
            Metric::LatenessP99Us,
            Metric::LatenessP999Us,
            Metric::LatenessMaxUs,
            Metric::SeenMaxUs,
        ],
    }
}

/// What the table's first column compares everybody's cost with.
pub(crate) fn reference(workload: &str) -> Option<(Metric, Server)> {
    match workload {
        "echo" => Some((Metric::CpuNsPerMessage, Server::BareEpoll)),
        "beats" => Some((Metric::CpuNsPerBeat, Server::BareEpoll)),
        "storm" => Some((Metric::CpuNsPerClaim, Server::BareEpoll)),
        "fanout" => Some((Metric::CpuNsPerDelivery, Server::BareEpoll)),
        _ => None,
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
