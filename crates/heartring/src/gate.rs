//! Whether a mailbox still takes letters from outside.
//!
//! Whoever puts a letter into the mailbox of a shard that is just ending must know whether it was accepted. So senders go
//! through a gate and are counted while they are inside, and who closes it waits until the last of them is out: what lies in the
//! mailbox then is all that was ever accepted. `tests/gate.rs` has every interleaving tried.

use super::sync::{AtomicU32, Ordering, yield_now};

/// Set when the gate is closed; the other bits count the senders inside.
const CLOSED: u32 = 1 << 31;

/// The gate of one mailbox.
#[derive(Debug)]
pub(crate) struct Gate {
    state: AtomicU32,
}

/// A sender that is inside, until this is dropped.
pub(crate) struct Inside<'a>(&'a Gate);

impl Gate {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU32::new(0) }
    }

    /// Lets a sender in, unless the gate is closed.
    pub(crate) fn enter(&self) -> Option<Inside<'_>> {
        // Looked at first, so that senders who are refused again and again do not keep the gate from closing.
        if self.is_closed() {
            return None;
        }
        let before = self.state.fetch_add(1, Ordering::Relaxed);
        let inside = Inside(self);
        (before & CLOSED == 0).then_some(inside)
    }

    /// Closes it and waits until nobody is inside. A sender is inside only to push: it does not wait for anything there.
    pub(crate) fn close(&self) {
        self.state.fetch_or(CLOSED, Ordering::Relaxed);
        // Acquire: what those who are out have put in is seen.
        while self.state.load(Ordering::Acquire) != CLOSED {
            yield_now();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.load(Ordering::Relaxed) & CLOSED != 0
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_sub(1, Ordering::Release);
    }
}
