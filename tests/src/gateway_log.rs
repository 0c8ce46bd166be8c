//! Everything that a gateway under test tells its handler, with the instant at which it did.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use heartring::{Cause, Closed, ConnId, Instant};
use heartring_socket::now;

/// What a handler was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// [`Handler::opened`](heartring::Handler::opened).
    Opened,
    /// A data frame.
    Received(Vec<u8>),
    /// A beat is overdue.
    Overdue,
    /// The cause is decided; after a missed heartbeat the grace period begins.
    Closing(Cause),
    /// A frame in grace; empty for a heartbeat.
    Late(Vec<u8>),
    /// The send queue refused a payload: it is full. Not from the library, but noted where it happened.
    Full,
    /// The end.
    Closed(Closed),
}

/// One event.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `CLOCK_MONOTONIC` in the call.
    pub at: Instant,
    /// The connection.
    pub conn: ConnId,
    /// Its address.
    pub peer: SocketAddr,
    /// What was told.
    pub event: Event,
}

/// Written by the handlers of all shards, read by the test.
#[derive(Debug, Default)]
pub struct Log {
    entries: Mutex<Vec<Entry>>,
    news: Condvar,
    ticks: Mutex<Ticks>,
}

/// The ticks of one shard.
#[derive(Debug, Default)]
struct Ticks {
    last: Option<Instant>,
    longest: Absence,
}

/// The time between two ticks: so long did the shard serve nobody, in whatever it was engaged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Absence {
    /// How long it was.
    pub lasted: Duration,
    /// When it was over.
    pub until: Instant,
}

impl Absence {
    /// The longer of two.
    #[must_use]
    pub fn longer(self, other: Self) -> Self {
        if other.lasted > self.lasted { other } else { self }
    }
}

impl Log {
    /// Notes an event.
    pub(crate) fn note(&self, conn: ConnId, peer: SocketAddr, event: Event) {
        self.lock().push(Entry { at: now(), conn, peer, event });
        self.news.notify_all();
    }

    /// Notes a tick.
    pub(crate) fn note_tick(&self) {
        let (at, mut ticks) = (now(), self.ticks());
        let lasted = ticks.last.replace(at).map_or(Duration::ZERO, |last| at.saturating_since(last));
        ticks.longest = ticks.longest.longer(Absence { lasted, until: at });
    }

    /// The longest time between two ticks since this was asked before; for gateways with one shard.
    pub fn take_longest_absence(&self) -> Absence {
        std::mem::take(&mut self.ticks().longest)
    }

    /// What was told so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// What was told of `peer` so far.
    pub fn of(&self, peer: SocketAddr) -> Vec<Event> {
        self.lock().iter().filter(|entry| entry.peer == peer).map(|entry| entry.event.clone()).collect()
    }

    /// Waits until `find` finds what it looks for.
    ///
    /// # Panics
    ///
    /// If it does not within `bound`, with the end of the log.
    pub fn wait<T>(&self, what: &str, bound: Duration, mut find: impl FnMut(&[Entry]) -> Option<T>) -> T {
        let give_up_at = now() + bound;
        let mut entries = self.lock();
        loop {
            if let Some(found) = find(&entries) {
                return found;
            }
            let left = give_up_at.saturating_since(now());
            if left.is_zero() {
                let shown = entries.len().saturating_sub(20);
                let text: Vec<String> = entries[shown..].iter().map(|entry| format!("{entry:?}")).collect();
                drop(entries);
                panic!("no {what} within {bound:?}; last of the log:\n{}", text.join("\n"));
            }
            entries = self
                .news
                .wait_timeout(entries, left)
                .map_or_else(|error| error.into_inner().0, |woken| woken.0);
        }
    }

    fn ticks(&self) -> MutexGuard<'_, Ticks> {
        self.ticks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
