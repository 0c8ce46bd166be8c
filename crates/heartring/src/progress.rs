//! What is seen of a shard without asking it, because it may not answer: how long its present turn lasts, and the clients
//! that wait at its listeners.
//!
//! The turn is one word in a cache line of its own, written by the shard's thread alone: two stores a turn. The listeners are
//! shown when the shard starts and hidden before it closes them, since what is shown is a second descriptor of the same socket
//! and would keep it listening.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam::utils::CachePadded;
use heartring_core::{Backend, Instant, Listener, ShardId};
use heartring_socket::{AcceptQueue, accept_queue};

/// The shards of a gateway as seen from outside.
pub(crate) struct Watched {
    pub(crate) shards: Box<[Progress]>,
    /// How long a turn may last.
    pub(crate) stuck_after: Duration,
}

/// One shard.
#[derive(Default)]
pub(crate) struct Progress {
    /// When the present turn began, in nanoseconds; zero while the shard waits in the kernel.
    turn_began: CachePadded<AtomicU64>,
    /// Written by the watchdog alone.
    times_stuck: AtomicU64,
    /// Taken by the shard when it starts and when it drains, never in a turn between.
    listening: Mutex<Vec<Listening>>,
}

/// A listening socket of a shard, on loan.
pub(crate) struct Listening {
    fd: OwnedFd,
    pub(crate) addr: SocketAddr,
    backlog: u32,
}

impl Watched {
    pub(crate) fn new(shards: u16, stuck_after: Duration) -> Self {
        Self { shards: (0..shards).map(|_| Progress::default()).collect(), stuck_after }
    }

    pub(crate) fn shard(&self, shard: ShardId) -> &Progress {
        &self.shards[usize::from(shard.0)]
    }
}

impl Progress {
    /// The shard turns, since `now` unless it did before.
    pub(crate) fn turn(&self, now: Instant) {
        if self.turn_began.load(Ordering::Relaxed) == 0 {
            self.turn_began.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// The shard goes to wait in the kernel.
    pub(crate) fn rest(&self) {
        self.turn_began.store(0, Ordering::Relaxed);
    }

    /// When the present turn began, if there is one.
    pub(crate) fn turn_began(&self) -> Option<Instant> {
        let nanos = self.turn_began.load(Ordering::Relaxed);
        (nanos != 0).then(|| Instant::from_nanos(nanos))
    }

    pub(crate) fn times_stuck(&self) -> u64 {
        self.times_stuck.load(Ordering::Relaxed)
    }

    pub(crate) fn count_stuck(&self) {
        self.times_stuck.fetch_add(1, Ordering::Relaxed);
    }

    /// Shows the listeners of the shard until they are hidden, at the latest when the guard is dropped.
    pub(crate) fn show(
        &self,
        backend: &impl Backend,
        listeners: &[Listener],
        backlog: u32,
    ) -> io::Result<Shown<'_>> {
        let shown = Shown(self);
        for &Listener { id, addr } in listeners {
            if let Some(socket) = backend.listening_socket(id) {
                self.listening().push(Listening { fd: socket.try_clone_to_owned()?, addr, backlog });
            }
        }
        Ok(shown)
    }

    /// To be called before the shard closes its listeners.
    pub(crate) fn hide(&self) {
        self.listening().clear();
    }

    /// The listeners that are shown. They are not closed while this is held.
    pub(crate) fn listening(&self) -> MutexGuard<'_, Vec<Listening>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hides the listeners of a shard when its thread ends, in whatever way.
pub(crate) struct Shown<'a>(&'a Progress);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.hide();
        self.0.rest();
    }
}

impl Listening {
    /// The clients that wait there; `None` while it is closed.
    pub(crate) fn queue(&self) -> Option<AcceptQueue> {
        accept_queue(self.fd.as_fd()).ok().flatten()
    }

    pub(crate) fn close(&self) -> io::Result<()> {
        heartring_socket::stop_listening(self.fd.as_fd())
    }

    pub(crate) fn reopen(&self) -> io::Result<()> {
        heartring_socket::listen_again(self.fd.as_fd(), self.addr, self.backlog)
    }

    /// Has its shard look for clients.
    pub(crate) fn nudge(&self) {
        // It fails where nobody listens, and nobody waits there either.
        let _ = heartring_socket::nudge(self.fd.as_fd());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_lasts_from_its_first_completion_until_the_shard_rests() {
        let progress = Progress::default();
        assert_eq!(progress.turn_began(), None, "it has not begun");
        progress.turn(Instant::from_nanos(7));
        progress.turn(Instant::from_nanos(9));
        assert_eq!(progress.turn_began(), Some(Instant::from_nanos(7)));
        progress.rest();
        assert_eq!(progress.turn_began(), None);
    }
}
