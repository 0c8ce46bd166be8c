//! The runtimes that people would build a gateway on, as contenders of the benchmark: one program each, so that nothing of
//! them reaches a user of heartring.
//!
//! Each is what a competent user of that runtime would write for one core: a task per connection (mio: a table), the
//! runtime's own way to close who is silent for too long, buffers that are allocated once, `TCP_NODELAY` and the congestion
//! control of all other contenders. None is tuned beyond that, and none is held back: where a runtime offers two ways, the file
//! of its server says why it takes one.
//!
//! What they share is here: what the suite asks for comes from [`heartring_bench::server`].

use std::io;
use std::time::Duration;

use heartring_bench::server::{ServePlan, Work};
use socket2::Socket;

mod beats;
#[allow(unsafe_code)] // a descriptor changes its owner
mod listener_unsafe;

pub use beats::{BEAT_BYTES, Beats, NotABeat};
pub use listener_unsafe::hand_over;

/// Submissions that a ring takes without a system call, and half of what it completes: enough for a burst of a thousand
/// connections that each have something. Defaults are 128 to 1024.
pub const RING_ENTRIES: u32 = 4096;

/// What every connection is served with.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// What is done.
    pub work: Work,
    /// Whether each heartbeat is answered with another.
    pub answers_beats: bool,
    /// The length of its buffer: two messages, so that a reader sees when it has taken all, and a handful of beats even
    /// where messages are short. A longer one would only cost memory.
    pub buffer_bytes: usize,
    /// How long it may be silent.
    pub dead_within: Duration,
}

impl Terms {
    /// The terms of a plan.
    pub fn of(plan: &ServePlan) -> Terms {
        let buffer_bytes = (plan.message_bytes() * 2).max(64);
        let (work, answers_beats) = (plan.work(), plan.answers_beats());
        Terms { work, answers_beats, buffer_bytes, dead_within: plan.dead_within() }
    }
}

/// Sets what accepted sockets inherit beyond what they have in common with other contenders.
///
/// A ring gives an accept on a non-blocking listener up at once instead of parking it, so that only runtimes on epoll want
/// theirs not to block.
///
/// # Errors
///
/// What the kernel says.
pub fn prepare(listener: &Socket, plan: &ServePlan, blocks: bool) -> io::Result<()> {
    listener.set_nonblocking(!blocks)?;
    match plan.work() {
        // To drop a connection is to reset it.
        Work::Claims => listener.set_linger(Some(Duration::ZERO)),
        Work::Echo | Work::Beats => Ok(()),
    }
}

/// Whether an accept that failed is the fault of a client that has left already, and the next may succeed.
pub fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}
