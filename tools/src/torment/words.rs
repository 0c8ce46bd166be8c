//! What the parent and its parts say to each other: JSON, a line each. Instants are nanoseconds on `CLOCK_MONOTONIC`, which all
//! processes of a machine share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a process is to play.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Part {
    Gateway(GatewayPart),
    Fleet(FleetPart),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct GatewayPart {
    pub(super) backend: String,
    pub(super) shards: u16,
    pub(super) dead_within: Duration,
    pub(super) listen: SocketAddr,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FleetPart {
    pub(super) gateway: SocketAddr,
    pub(super) beat_every: Duration,
    pub(super) seed: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum GatewayOrder {
    /// Say what is known inside.
    Look,
    /// Drain, and start again on the same port at once.
    Restart,
    /// Drain and end.
    Stop,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum GatewayWord {
    Listening(Listening),
    Ended(Ending),
    Looked(Look),
    /// It has drained; the last look at it, and what was still open.
    Drained {
        look: Look,
        ledger_open: u64,
    },
    Failed(String),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Listening {
    pub(super) backend: String,
    pub(super) reason: String,
    pub(super) deadlines: String,
    pub(super) conns_max: u64,
}

/// The end of one connection, as the handler was told it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ending {
    /// `None`: it never introduced itself.
    pub(super) device: Option<u32>,
    pub(super) cause: String,
    pub(super) decided_at: u64,
    /// Data frames that came, each the next one.
    pub(super) frames: u32,
    /// Frames that were not the next one: something was lost, doubled or changed.
    pub(super) garbled: u32,
}

/// What the gateway knows about itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Look {
    /// Shards that did not answer in time.
    pub(super) silent_shards: usize,
    pub(super) accepted: u64,
    pub(super) closed: BTreeMap<String, u64>,
    pub(super) early: u64,
    pub(super) stalls: u64,
    pub(super) postponed: u64,
    pub(super) accept_back_offs: u64,
    /// Connections in any state.
    pub(super) conns: u64,
    /// Slots, partial frames, queues and listeners of core, and ops and sockets of the backend.
    pub(super) open_total: u64,
    pub(super) ops: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct FleetOrder {
    /// The devices that are meant.
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) act: Act,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Act {
    /// Come to be and connect; with a receive buffer that is soon full, if `small`.
    Connect { small: bool },
    /// Close in order.
    Close,
    /// Close abortively.
    Reset,
    /// Send a beat at once, and close without a word to the other side.
    Vanish,
    /// Send so many frames at once, beside the beats.
    Flood { frames: u32 },
    /// Ask for so many bytes, and read none of them.
    Ask { bytes: u32 },
    /// Begin a frame, and send a byte of it now and then.
    Drip,
    /// Send something that is no frame.
    Garbage,
    /// Count them.
    Count,
    /// Tell everything about them.
    Tell,
    /// Forget them, whatever becomes of their connections.
    Forget,
}

/// The answer to one order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FleetWord {
    Done,
    Counted(Counts),
    Told(Vec<Truth>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) connected: u32,
    pub(super) served: u32,
    /// Everything that they wanted to send is acknowledged.
    pub(super) sent: u32,
    pub(super) open: u32,
}

impl Counts {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            connected: self.connected + other.connected,
            served: self.served + other.served,
            sent: self.sent + other.sent,
            open: self.open + other.open,
        }
    }
}

/// A device's own account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Truth {
    pub(super) device: u32,
    pub(super) came_at: u64,
    /// The handshake was over.
    pub(super) connected_at: Option<u64>,
    /// The gateway answered its hello.
    pub(super) served_at: Option<u64>,
    /// When it did what it was told, read before and after.
    pub(super) acted: Option<(u64, u64)>,
    /// The last beats, read before each was sent.
    pub(super) beats: Vec<Beat>,
    /// Data frames that it has handed to its kernel, whole or in part.
    pub(super) frames: u32,
    pub(super) end: End,
}

/// Before it sent frame number `frame`, its gateway's kernel had acknowledged the first `acked` ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beat {
    pub(super) at: u64,
    pub(super) frame: u32,
    pub(super) acked: u32,
}

/// How a connection ended, as its device saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    #[default]
    Open,
    /// The device ended it.
    Own,
    SawFin,
    /// The gateway reset it, or TCP gave up.
    Cut(i32),
}
