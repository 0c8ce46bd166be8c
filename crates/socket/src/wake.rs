//! The doorbell: an eventfd that other threads ring and a backend watches.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use heartring_core::Wake;
use rustix::event::{EventfdFlags, eventfd};

/// An eventfd, readable after [`Wake::wake`] until [`drain`](WakeFd::drain).
///
/// It is reference-counted because the wakers outlive the backend: a late `wake` then writes into a counter that nobody
/// reads, and not into a descriptor that has become something else.
#[derive(Debug)]
pub struct WakeFd(OwnedFd);

impl WakeFd {
    /// A doorbell that has not been rung.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE` or `ENOMEM`.
    pub fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Makes it silent again; false if it had not been rung. An edge-triggered watcher need not: each ring is an edge.
    pub fn drain(&self) -> bool {
        rustix::io::read(&self.0, &mut [0; 8]).is_ok()
    }
}

impl Wake for WakeFd {
    fn wake(&self) {
        // The one error that can come is EAGAIN: the counter is at its maximum, so a ring is pending already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl AsFd for WakeFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_rings_are_drained_at_once() {
        let bell = WakeFd::new().unwrap();
        assert!(!bell.drain());
        bell.wake();
        std::thread::scope(|scope| scope.spawn(|| bell.wake()).join().unwrap());
        assert!(bell.drain());
        assert!(!bell.drain());
    }

    #[test]
    fn a_full_counter_still_reads_as_rung() {
        let bell = WakeFd::new().unwrap();
        rustix::io::write(&bell, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        bell.wake();
        assert!(bell.drain());
    }
}
