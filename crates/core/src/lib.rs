//! The state machines of heartring: no system call, no clock, no thread, no unsafe.
//!
//! Core decides who is there, who is late and who is dead, and does no I/O to find out: it emits [`Op`]s, is fed
//! [`Completion`]s, and a [`Backend`] (io_uring, epoll, a simulator) turns the one into the other. That makes every decision
//! testable in virtual time, and the same on every backend.
//!
//! # A tour
//!
//! | What | Where |
//! |---|---|
//! | the boundary, as data, and its contract clause by clause | `op`, [`Backend`], [`Ledger`] |
//! | a shard: completions in, handler calls and ops out | [`Shard`] |
//! | the life of a connection: states and transitions | `state` |
//! | who exists, and who is due: the dense heads and their sweep | [`Slots`], [`Tick`] |
//! | what proves life: bytes become frames | [`Protocol`] |
//! | who is who: claims, takeovers, epochs | [`Identity`], [`Directory`], [`Partition`] |
//! | what shards say to each other, as data | [`Letter`], [`Request`], [`Order`] |
//! | why it ended, and the evidence | [`Cause`], [`Closed`], [`Evidence`], [`Errno`] |
//! | the one knob and what follows from it | [`Liveness`], [`Keepalive`], [`Config`] |
//! | what a gateway implements and holds | [`Handler`], [`Conn`], [`Conns`] |
//!
//! # The shape of a loop
//!
//! ```text
//! loop {
//!     shard.end_turn(backend.now(), &mut |op| backend.submit(op));
//!     backend.wait(shard.wake_at(), &mut |now, completion| shard.handle(now, completion))?;
//! }
//! ```
//!
//! # Panics
//!
//! What a peer or a kernel does never panics. A backend that breaks the contract does, and so does core if its own
//! bookkeeping is broken: going on would mean to close the wrong connection.

#![forbid(unsafe_code)]

mod backend;
mod backend_config;
mod cause;
mod claims;
mod config;
mod config_error;
mod conn;
mod conn_map;
mod deadlines;
mod directory;
mod errno;
mod evidence;
mod handler;
mod id;
mod identity;
mod keepalive;
mod lateness;
mod ledger;
mod listen;
mod liveness;
mod mail;
mod op;
mod outbox;
mod partials;
mod partition;
mod peer;
mod protocol;
mod record;
mod send_queue;
mod shard;
mod slots;
mod sources;
mod state;
mod stats;
mod table;
mod time;
mod token_bucket;

pub use backend::{Backend, Listener, Wake};
pub use backend_config::BackendConfig;
pub use cause::{Cause, Closed, PathDeath, Refusal};
pub use config::{BackendChoice, Config, DeadlineStrategy, Limits, Watchdog};
pub use config_error::ConfigError;
pub use conn::{Conn, Conns, StateCounts};
pub use conn_map::ConnMap;
pub use deadlines::{DEADLINE_AHEAD_MAX, Tick, Ticks};
pub use directory::{Directory, Post};
pub use errno::{AcceptNews, ERRNO_TABLE, Errno, PeerNews};
pub use evidence::{Evidence, SocketEvidence, TcpEvidence};
pub use handler::Handler;
pub use id::{ConnAt, ConnId, ListenerId, ShardId};
pub use identity::{ClaimError, Identity};
pub use keepalive::Keepalive;
pub use lateness::Lateness;
pub use ledger::Ledger;
pub use listen::ListenOptions;
pub use liveness::{DEAD_WITHIN_MAX, DEAD_WITHIN_MIN, ExplainRow, Liveness, Overrides};
pub use mail::{Letter, Order, PostError, Request};
pub use op::{CloseHow, Completion, Op, OpKind, OpSet, RecvEnd, WatchEnd};
pub use partition::{FlapGuard, Partition};
pub use protocol::{Decoded, FrameKind, LengthPrefixed, Lines, MqttPackets, Protocol, Raw};
pub use shard::{Place, Shard};
pub use slots::{Deadline, Slots};
pub use stats::Stats;
pub use table::SendError;
pub use time::Instant;
