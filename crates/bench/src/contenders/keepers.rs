//! Who keeps the deadlines of the bare io_uring server: nobody, the kernel with a timeout per receive, or a wheel.

use std::io;
use std::time::Duration;

use io_uring::types::Timespec;

use crate::plan::ServePlan;
use crate::ring_unsafe::{Completion, Ring};

/// Keeps the deadlines of a server's connections.
pub(crate) trait Keeper: Sized {
    fn new(plan: &ServePlan) -> Self;

    /// Arms a receive.
    fn receive(&mut self, ring: &mut Ring, slot: u32) -> io::Result<()>;

    /// A connection was heard.
    fn heard(&mut self, slot: u32) {
        let _ = slot;
    }

    /// A connection is closed.
    fn forget(&mut self, slot: u32) {
        let _ = slot;
    }

    /// Sleeps until something completes, or until a deadline has to be looked at.
    fn wait(
        &mut self,
        ring: &mut Ring,
        batch_within: Duration,
        into: &mut Vec<Completion>,
    ) -> io::Result<()> {
        ring.wait_with(batch_within, into)
    }

    /// A connection whose receive is to be ended because it was silent for too long.
    fn expired(&mut self) -> Option<u32> {
        None
    }
}

/// No deadlines: the limit.
pub(crate) struct Nobody;

impl Keeper for Nobody {
    fn new(_plan: &ServePlan) -> Self {
        Nobody
    }

    fn receive(&mut self, ring: &mut Ring, slot: u32) -> io::Result<()> {
        ring.receive(slot)
    }
}

/// The obvious way: every receive is for one message and carries a linked timeout, so that both are armed anew per message.
pub(crate) struct Rearmed {
    within: &'static Timespec,
}

impl Keeper for Rearmed {
    fn new(plan: &ServePlan) -> Self {
        Rearmed { within: Box::leak(Box::new(Timespec::from(plan.dead_within))) }
    }

    fn receive(&mut self, ring: &mut Ring, slot: u32) -> io::Result<()> {
        ring.receive_within(slot, self.within)
    }
}
