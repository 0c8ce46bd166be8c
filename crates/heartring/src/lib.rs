//! A Linux connection manager for game and IoT gateways: very many TCP connections, one io_uring per core, shared-nothing,
//! and it always knows which of the peers are still there.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use heartring::{Config, Conn, Gateway, Handler, Lines};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type Protocol = Lines;
//!
//!     fn received(&mut self, conn: &mut Conn<'_>, line: &[u8]) {
//!         if conn.send_copy(line).and_then(|()| conn.send_copy(b"\n")).is_err() {
//!             conn.close(); // It does not read what it asked for.
//!         }
//!     }
//! }
//!
//! fn main() -> Result<(), heartring::Error> {
//!     let config = Config { dead_within: Duration::from_secs(30), ..Config::default() };
//!     Gateway::new(config).listen("0.0.0.0:7000").run(|_shard| Echo)?;
//!     Ok(())
//! }
//! ```
//!
//! A [`Handler`] is the gateway's own code, one value per shard; a [`Protocol`] says how bytes become frames and which of
//! them are heartbeats; [`Config::dead_within`] is the one knob, and [`Liveness::explain`] says what follows from it. Every
//! connection ends with exactly one [`Cause`], and [`Closed`] carries the evidence.
//!
//! The crate re-exports `heartring-core`, which holds the state machines and does no I/O, and adds threads, signals and the
//! choice between io_uring and epoll.

#![forbid(unsafe_code)]

mod affinity;
mod choice;
mod control;
mod descriptors;
mod doorbell;
mod error;
mod gate;
mod gateway;
mod handle;
mod health;
mod mailbox;
mod ports;
mod progress;
mod signals;
mod snapshot;
mod sync;
mod watchdog;
mod worker;

#[cfg(feature = "websocket")]
pub mod websocket;

pub use bytes::Bytes;
pub use choice::Backend;
pub use error::Error;
pub use gateway::{Gateway, Running, Summary};
pub use handle::{Handle, MailError};
pub use health::{Health, ListenerHealth, ShardHealth};
pub use heartring_core::{
    BackendChoice, Cause, ClaimError, Closed, Config, ConfigError, Conn, ConnAt, ConnId, ConnMap, Conns,
    DEAD_WITHIN_MAX, DEAD_WITHIN_MIN, DeadlineStrategy, Decoded, ERRNO_TABLE, Errno, Evidence, ExplainRow,
    FlapGuard, FrameKind, Handler, Identity, Instant, Keepalive, Lateness, Ledger, LengthPrefixed, Limits,
    Lines, ListenOptions, Liveness, MqttPackets, Overrides, PathDeath, PostError, Protocol, Raw, Refusal,
    SendError, ShardId, SocketEvidence, StateCounts, Stats, TcpEvidence, Watchdog,
};
// For a directory in place of the one in the process.
pub use heartring_core::{Directory, Order, Partition, Post, Request};
pub use snapshot::{ShardSnapshot, Snapshot};

/// What a gateway finds out before it starts, for programs that look without starting one (`heartring doctor`).
pub mod preflight {
    pub use crate::affinity::cores;
    #[cfg(feature = "uring")]
    pub use crate::choice::probe_uring;
    pub use crate::descriptors::{Home, conns_per_shard_within};
    #[cfg(feature = "uring")]
    pub use heartring_uring::{Descriptors, Features, Refusal};
}

/// The README's code, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The code of the page for those who embed it, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
struct Embedding;
