//! The state machines of heartring: no system call, no clock, no thread, no unsafe.

#![forbid(unsafe_code)]

mod backend;
mod backend_config;
mod cause;
mod config;
mod conn;
mod deadlines;
mod errno;
mod evidence;
mod handler;
mod id;
mod keepalive;
mod lateness;
mod ledger;
mod listen;
mod liveness;
mod op;
mod partials;
mod peer;
mod protocol;
mod send_queue;
mod shard;
mod slots;
mod state;
mod stats;
mod table;
mod time;

pub use backend::{Backend, Listener, Wake};
pub use backend_config::BackendConfig;
pub use cause::{Cause, Closed, PathDeath, Refusal};
pub use config::{BackendChoice, Config, ConfigError, DeadlineStrategy, Limits};
pub use conn::{Conn, Conns, StateCounts};
pub use deadlines::{DEADLINE_AHEAD_MAX, Deadlines, Tick, Ticks};
pub use errno::{AcceptNews, ERRNO_TABLE, Errno, PeerNews};
pub use evidence::{Evidence, SocketEvidence, TcpEvidence};
pub use handler::Handler;
pub use id::{ConnId, ListenerId, ShardId};
pub use keepalive::Keepalive;
pub use lateness::Lateness;
pub use ledger::Ledger;
pub use listen::ListenOptions;
pub use liveness::{DEAD_WITHIN_MAX, DEAD_WITHIN_MIN, ExplainRow, Liveness, Overrides};
pub use op::{CloseHow, Completion, Op, OpKind, OpSet, RecvEnd, WatchEnd};
pub use protocol::{Decoded, FrameKind, LengthPrefixed, Lines, Protocol, Raw};
pub use shard::Shard;
pub use slots::Slots;
pub use stats::Stats;
pub use table::SendError;
pub use time::Instant;
