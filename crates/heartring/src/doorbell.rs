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
        // Release: who reads that it sleeps also finds how to wake it.
        self.asleep.store(true, Ordering::Release);
        // The word is out before the look.
        fence(Ordering::SeqCst);
    }

    /// The receiver is awake. It may say so with every completion: a word that stands already is not written again. Returns
    /// whether it was asleep until now: then nobody has rung, and it need not look for letters before it lies down again.
    pub(crate) fn get_up(&self) -> bool {
        let was_asleep = self.asleep.load(Ordering::Relaxed);
        if was_asleep {
            self.asleep.store(false, Ordering::Relaxed);
        }
        was_asleep
    }

    /// Whether the sender of a letter that has just been put in must wake the receiver. Of several senders one is told so.
    pub(crate) fn must_ring(&self) -> bool {
        // The letter is in before the look.
        fence(Ordering::SeqCst);
        // Compared, not swapped: a swap would also write over a word that says awake already, and the model check cannot tell
        // such a write from one that comes after the next sleep.
        self.asleep.load(Ordering::Relaxed)
            && self.asleep.compare_exchange(true, false, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}
