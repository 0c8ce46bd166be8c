//! What the shards of a gateway share: their mailboxes, and the order to stop.

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering, fence};
use std::time::Duration;

use heartring_core::{Directory, Identity, Partition, ShardId, Wake};

use crate::mailbox::Mailbox;
use crate::progress::Watched;

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
    /// Nobody waits for letters any more: none is under way, or a shard has ended that will not take its own.
    over: AtomicBool,
    mailboxes: Box<[Mailbox]>,
    /// An empty partition, which knows who owns which identity.
    partition: Partition<RandomState>,
    watched: Watched,
}

impl Control {
    /// `hasher` has the key by which identities are divided over the shards.
    pub(crate) fn new(shards: u16, hasher: RandomState, letters_max: u32, stuck_after: Duration) -> Self {
        let mailboxes = (0..shards).map(|_| Mailbox::new(letters_max)).collect();
        Self {
            draining: AtomicBool::new(false),
            drained: AtomicU16::new(0),
            over: AtomicBool::new(false),
            mailboxes,
            partition: Partition::new(ShardId(0), shards, hasher, None),
            watched: Watched::new(shards, stuck_after),
        }
    }

    pub(crate) fn mailbox(&self, shard: ShardId) -> &Mailbox {
        &self.mailboxes[usize::from(shard.0)]
    }

    pub(crate) fn shards(&self) -> u16 {
        self.mailboxes.len() as u16
    }

    pub(crate) fn shard_ids(&self) -> impl Iterator<Item = ShardId> {
        (0..self.shards()).map(ShardId)
    }

    /// Whose partition of the directory decides about an identity. With another directory in its place, it is one hop more.
    pub(crate) fn owner(&self, identity: &Identity) -> ShardId {
        self.partition.owner(identity)
    }

    pub(crate) fn watched(&self) -> &Watched {
        &self.watched
    }

    pub(crate) fn order(&self) -> Order {
        if self.draining.load(Ordering::Acquire) { Order::Drain } else { Order::Run }
    }

    /// Adds a shard to those that are woken. If the order has been given already, it is woken at once.
    pub(crate) fn enlist(&self, shard: ShardId, waker: &Arc<dyn Wake>) {
        self.mailbox(shard).set_waker(Arc::clone(waker));
        // Either this sees the order, or `wake_all` sees the waker.
        fence(Ordering::SeqCst);
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
        if self.over.load(Ordering::Acquire) {
            return true;
        }
        // Of two shards that settle their last letters at the same time, one sees the other.
        fence(Ordering::SeqCst);
        if usize::from(self.drained.load(Ordering::SeqCst)) < self.mailboxes.len() {
            return false;
        }
        // In this order: what is settled was sent before, so the sums can only be equal if nothing is between them.
        let settled: u64 = self.mailboxes.iter().map(Mailbox::settled).sum();
        let sent: u64 = self.mailboxes.iter().map(Mailbox::sent).sum();
        settled == sent
    }

    /// From now on nobody waits for letters. It stands, although a handler may post another one in its last tick.
    pub(crate) fn declare_over(&self) {
        self.over.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Ends all mailboxes: also those of shards that have never started.
    pub(crate) fn end(&self) {
        self.mailboxes.iter().for_each(Mailbox::end);
    }

    fn wake_all(&self) {
        fence(Ordering::SeqCst);
        for waker in self.mailboxes.iter().filter_map(Mailbox::waker) {
            waker.wake();
        }
    }
}

/// Ends the mailbox of a shard and stops the other shards when its thread ends, in whatever way.
pub(crate) struct StopsOthers {
    pub(crate) control: Arc<Control>,
    pub(crate) shard: ShardId,
    /// It has ended as it should, and not by a failure or a panic.
    pub(crate) in_order: bool,
}

impl Drop for StopsOthers {
    fn drop(&mut self) {
        self.control.mailbox(self.shard).end();
        if !self.in_order {
            self.control.declare_over();
        }
        self.control.drain();
    }
}
