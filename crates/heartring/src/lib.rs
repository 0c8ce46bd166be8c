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
mod gateway;
mod mailbox;
mod ports;
mod signals;
mod sync;
mod worker;

pub use bytes::Bytes;
pub use error::Error;
pub use gateway::{Backend, Gateway, Running, Summary};
pub use heartring_core::{
    BackendChoice, Cause, ClaimError, Closed, Config, ConfigError, Conn, ConnAt, ConnId, Conns,
    DEAD_WITHIN_MAX, DEAD_WITHIN_MIN, DeadlineStrategy, Decoded, ERRNO_TABLE, Errno, Evidence, ExplainRow,
    FlapGuard, FrameKind, Handler, Identity, Instant, Keepalive, Lateness, LengthPrefixed, Limits, Lines,
    ListenOptions, Liveness, Overrides, PathDeath, PostError, Protocol, Raw, Refusal, SendError, ShardId,
    SocketEvidence, StateCounts, Stats, TcpEvidence, Watchdog,
};

/// The README's code, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
