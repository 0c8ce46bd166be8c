//! The state machines of heartring: no system call, no clock, no thread, no unsafe.

#![forbid(unsafe_code)]

mod backend;
mod backend_config;
mod errno;
mod evidence;
mod id;
mod keepalive;
mod ledger;
mod listen;
mod op;
mod time;

pub use backend::{Backend, Listener, Wake};
pub use backend_config::BackendConfig;
pub use errno::{AcceptNews, ERRNO_TABLE, Errno, PeerNews};
pub use evidence::{Evidence, SocketEvidence, TcpEvidence};
pub use id::{ConnId, ListenerId, ShardId};
pub use keepalive::Keepalive;
pub use ledger::Ledger;
pub use listen::ListenOptions;
pub use op::{CloseHow, Completion, Op, OpKind, OpSet, RecvEnd, WatchEnd};
pub use time::Instant;
