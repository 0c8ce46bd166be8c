//! How the shards are told to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use heartring_core::Wake;

/// What the shards are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Serve.
    Run,
    /// Stop accepting, close everything in order, end.
    Drain,
}

/// Shared by the shards and whoever holds the gateway. A shard reads it only when it is woken.
#[derive(Default)]
pub(crate) struct Control {
    draining: AtomicBool,
    wakers: Mutex<Vec<Arc<dyn Wake>>>,
}

impl Control {
    pub(crate) fn order(&self) -> Order {
        if self.draining.load(Ordering::Acquire) { Order::Drain } else { Order::Run }
    }

    /// Adds a shard to those that are woken. If the order has been given already, it is woken at once.
    pub(crate) fn enlist(&self, waker: Arc<dyn Wake>) {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        if self.order() == Order::Drain {
            waker.wake();
        }
        wakers.push(waker);
    }

    /// Tells every shard to stop. A second time changes nothing.
    pub(crate) fn drain(&self) {
        let wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        self.draining.store(true, Ordering::Release);
        for waker in wakers.iter() {
            waker.wake();
        }
    }
}

/// Stops the other shards when a shard's thread ends, in whatever way.
pub(crate) struct StopsOthers(pub(crate) Arc<Control>);

impl Drop for StopsOthers {
    fn drop(&mut self) {
        self.0.drain();
    }
}
