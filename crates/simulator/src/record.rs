//! What happened in a run: the truth as the world knows it, and what the handlers were told. The driver and the clients write
//! it, the checker reads it, and nothing in it comes from core's own books unless it says so.

use std::net::SocketAddr;
use std::time::Duration;

use heartring_core::{Closed, ConnAt, Errno, FrameKind, Instant, Ledger, ShardId, Stats};
use heartring_sim::{FaultCounts, Harm, Saw};

use crate::mishap::MishapCounts;
use crate::plan::Plan;

/// Everything of one run.
pub(crate) struct Record {
    /// What was to happen.
    pub plan: Plan,
    /// Every client, by its number: one for each connect.
    pub clients: Vec<Client>,
    /// What the handlers of all shards were told and did, in the order of the calls.
    pub entries: Vec<Entry>,
    /// Every shard, by its number.
    pub shards: Vec<ShardRecord>,
    /// Bounds that did not hold when they were looked at on the way, in words.
    pub bounds_broken: Vec<String>,
    /// Messages between handlers: posted, and come, as (from, to, number).
    pub messages_posted: Vec<(ShardId, ShardId, u64)>,
    /// See above; in the order in which they came.
    pub messages_come: Vec<(ShardId, ShardId, u64)>,
    /// When the run was over.
    pub ended_at: Instant,
    /// It ended because nothing was left, and not because it took too long.
    pub quiescent: bool,
    /// Holders of identities whom nothing reached that was sent to their identity when all was quiet, in words.
    pub holders_lost: Vec<String>,
    /// What clients, network, threads and mail did wrong.
    pub mishaps: MishapCounts,
}

/// One client: one connect, from an address that no other has.
pub(crate) struct Client {
    /// Where it connected.
    pub shard: ShardId,
    /// Where it comes from.
    pub addr: SocketAddr,
    /// When it connected: from then on it can be accepted.
    pub connected_at: Instant,
    /// The identity that it claims, by its number.
    pub identity: Option<u32>,
    /// The complete valid frames that it has sent, in order. A frame counts when its last byte was sent.
    pub frames: Vec<Frame>,
    /// Frames, and what begins like one, that did not arrive in one go: when the first byte did, and when the last.
    pub in_parts: Vec<(Instant, Option<Instant>)>,
    /// What else it did, or was done to it, in the order in which it reached our kernel.
    pub acts: Vec<(Instant, Act)>,
    /// The frames of its own handler that it has read, by their numbers, in order.
    pub read: Vec<u32>,
    /// The frames for its identity that it has read, in order: whose handler sent them (the number of a client), and which of
    /// that handler's frames they were.
    pub read_for_identity: Vec<(u32, u32)>,
    /// What it read was not a sequence of whole frames, of which the last may be cut short.
    pub misread: Option<String>,
    /// How our stream looked to it at the end.
    pub saw: Saw,
    /// What our kernel did to it.
    pub harm: Option<Harm>,
}

/// A complete valid frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// What it is for.
    pub kind: FrameKind,
    /// Data frames are numbered per client, from zero; 0 for others.
    pub number: u32,
    /// When its first byte reached our kernel.
    pub began_at: Option<Instant>,
    /// When its last byte reached our kernel; `None`: never, or only after our kernel had closed.
    pub arrived_at: Option<Instant>,
}

/// What a client does, or what is done to it, beside frames, as our kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Its FIN arrived.
    Fin,
    /// Its FIN arrived, and from now on it answers our data with RST.
    Closed,
    /// Its RST arrived.
    Reset,
    /// From now on nothing reaches it and nothing comes from it.
    Vanished,
    /// Its program hangs: it sends nothing more, its kernel still acknowledges.
    Hung,
    /// The path is gone.
    Cut,
    /// The path is back.
    Mended,
    /// Our kernel gave up on it.
    PathFailed(Errno),
    /// Bytes arrived that no continuation makes a frame.
    Garbage,
    /// The head of a frame above the limit arrived.
    TooLarge,
    /// The first bytes of a frame arrived, and the rest did not at once.
    BeganFrame,
    /// It stopped reading.
    StoppedReading,
    /// It reads again.
    Reads,
    /// The driver asked for its end by a letter (`Order::Close`).
    OrderedClosed,
}

/// One call to or by a handler.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The instant of the shard's turn.
    pub at: Instant,
    /// Which connection.
    pub conn: ConnAt,
    /// What.
    pub told: Told,
}

/// What a handler was told of a connection, or did to it.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// `opened`; the client is known by its address.
    Opened {
        /// Its number.
        client: u32,
    },
    /// `received`, of the client's data frame of this number.
    Received {
        /// The number; `None`: the payload is not one that a client sends.
        number: Option<u32>,
    },
    /// `overdue`.
    Overdue,
    /// `late`: a data frame's number; `None` for a heartbeat.
    Late {
        /// The number.
        number: Option<u32>,
        /// How many bytes its payload has.
        bytes: u32,
    },
    /// `claimed`.
    Claimed {
        /// The epoch.
        epoch: u64,
    },
    /// `writable`.
    Writable,
    /// `closing`.
    Closing(Closed),
    /// `closed`.
    Closed(Closed),
    /// The handler claims the client's identity.
    Claims {
        /// The identity's number.
        identity: u32,
    },
    /// The handler has queued a frame; they are numbered per connection, from zero.
    Sends {
        /// The number.
        number: u32,
        /// It was a state (`send_latest`): a newer one may replace it.
        state: bool,
        /// It is for whoever holds an identity (`send_to`), and was sent by the handler of this connection.
        to_identity: Option<u32>,
    },
    /// The handler closes it.
    Closes,
    /// The handler negotiates a deadline.
    Negotiates(Duration),
}

/// One shard.
pub(crate) struct ShardRecord {
    /// When it was told to drain.
    pub drained_at: Option<Instant>,
    /// When its thread was away, or woke late.
    pub absences: Vec<(Instant, Instant)>,
    /// Everything that core says is open, at the end.
    pub open_total: u64,
    /// Everything that the backend says is open, at the end.
    pub ledger: Ledger,
    /// Ops that core submitted, and terminal completions that it was told, by kind.
    pub ops_submitted: [u64; heartring_core::OpKind::COUNT],
    /// See above.
    pub ops_ended: [u64; heartring_core::OpKind::COUNT],
    /// What core has counted.
    pub stats: Stats,
    /// What went wrong in its kernel.
    pub faults: FaultCounts,
    /// Turns.
    pub turns: u64,
}
