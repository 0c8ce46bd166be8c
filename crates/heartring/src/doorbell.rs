//! Whether a shard that gets a letter must be woken.
//!
//! To wake a thread costs a system call or a completion, and a shard that is awake looks into its mailbox anyway. So the
//! receiver says when it lies down, and then looks once more; the sender looks at that word after it has put its letter in.
//! One of the two sees the other, whatever the order: `tests/doorbell.rs` has every interleaving tried.

use super::sync::{AtomicBool, Ordering, fence};

/// The word of one receiver.
#[derive(Debug)]
pub(crate) struct Doorbell {
    asleep: AtomicBool,
}

impl Doorbell {
    pub(crate) fn new() -> Self {
        Self { asleep: AtomicBool::new(false) }
    }

    /// The receiver is about to sleep. It must look for letters once more after this, and not sleep if there are any.
    pub(crate) fn lie_down(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        // The word is out before the look.
        fence(Ordering::SeqCst);
    }

    /// The receiver is awake.
    pub(crate) fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Whether the sender of a letter that has just been put in must wake the receiver. Of several senders one is told so.
    pub(crate) fn must_ring(&self) -> bool {
        // The letter is in before the look.
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }
}
