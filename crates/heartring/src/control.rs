//! What the shards of a gateway share: their mailboxes, and the order to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use heartring_core::{ShardId, Wake};

use crate::mailbox::Mailbox;

/// What the shards are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Serve.
    Run,
    /// Stop accepting, close everything in order, end.
    Drain,
}

/// Shared by the shards and whoever holds the gateway. A shard reads it only when it is woken.
pub(crate) struct Control {
    draining: AtomicBool,
    /// Shards that have closed everything.
    drained: AtomicU16,
    /// A shard has ended without having been told to: nobody can wait for its letters.
    broken: AtomicBool,
    mailboxes: Box<[Mailbox]>,
}

impl Control {
    pub(crate) fn new(shards: u16, letters_max: u32) -> Self {
        let mailboxes = (0..shards).map(|_| Mailbox::new(letters_max)).collect();
        Self {
            draining: AtomicBool::new(false),
            drained: AtomicU16::new(0),
            broken: AtomicBool::new(false),
            mailboxes,
        }
    }

    pub(crate) fn mailbox(&self, shard: ShardId) -> &Mailbox {
        &self.mailboxes[usize::from(shard.0)]
    }

    pub(crate) fn order(&self) -> Order {
        if self.draining.load(Ordering::Acquire) { Order::Drain } else { Order::Run }
    }

    /// Adds a shard to those that are woken. If the order has been given already, it is woken at once.
    pub(crate) fn enlist(&self, shard: ShardId, waker: &Arc<dyn Wake>) {
        self.mailbox(shard).set_waker(Arc::clone(waker));
        // After the waker is set, so that either this sees the order or the order sees the waker.
        if self.order() == Order::Drain {
            waker.wake();
        }
    }

    /// Tells every shard to stop. A second time changes nothing.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.wake_all();
    }

    /// A shard has closed everything that it had.
    pub(crate) fn note_drained(&self) {
        self.drained.fetch_add(1, Ordering::SeqCst);
        self.wake_all();
    }

    /// Whether no letter is under way between shards that have all drained: then none will be.
    pub(crate) fn is_quiet(&self) -> bool {
        if self.broken.load(Ordering::Acquire) {
            return true;
        }
        if usize::from(self.drained.load(Ordering::SeqCst)) < self.mailboxes.len() {
            return false;
        }
        // In this order: what is settled was sent before, so the sums can only be equal if nothing is between them.
        let settled: u64 = self.mailboxes.iter().map(Mailbox::settled).sum();
        let sent: u64 = self.mailboxes.iter().map(Mailbox::sent).sum();
        settled == sent
    }

    pub(crate) fn wake_all(&self) {
        for waker in self.mailboxes.iter().filter_map(Mailbox::waker) {
            waker.wake();
        }
    }
}

/// Stops the other shards when a shard's thread ends, in whatever way.
pub(crate) struct StopsOthers(pub(crate) Arc<Control>);

impl Drop for StopsOthers {
    fn drop(&mut self) {
        if self.0.order() == Order::Run {
            self.0.broken.store(true, Ordering::Release);
        }
        self.0.drain();
    }
}
