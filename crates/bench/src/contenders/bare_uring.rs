//! The limit on io_uring: one ring, no frames, no states, no send queues; and no deadlines, unless a [`Keeper`] keeps them.
//!
//! Multishot accept into direct descriptors, a multishot receive per connection from one buffer ring, and the
//! echo is sent from the very buffer that the message arrived in. What a turn decides goes to the kernel with
//! the system call that waits for the next.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use socket2::Socket;

use crate::contenders::keepers::Keeper;
use crate::plan::ServePlan;
use crate::ring_unsafe::{Completion, Kind, Ring};
use crate::service::Service;

pub(crate) struct BareUring<K> {
    ring: Ring,
    keeper: K,
    listener: Socket,
    answered: bool,
    batch_within: Duration,
    /// Connections whose receive ended for want of a buffer.
    starved: Vec<u32>,
}

impl<K: Keeper> Service for BareUring<K> {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        let mut ring = Ring::open(plan.workload.connections(), plan.workload.bytes())?;
        ring.accept(&listener)?;
        let (answered, batch_within) = (plan.workload.answered(), plan.batch_within());
        Ok(BareUring { ring, keeper: K::new(plan), listener, answered, batch_within, starved: Vec::new() })
    }

    fn run(mut self) -> io::Result<Infallible> {
        let mut completions = Vec::new();
        loop {
            self.keeper.wait(&mut self.ring, self.batch_within, &mut completions)?;
            for completion in completions.drain(..) {
                self.handle(&completion)?;
            }
            self.feed_starved()?;
            while let Some(slot) = self.keeper.expired() {
                self.ring.cancel_receive(slot)?;
            }
        }
    }
}

impl<K: Keeper> BareUring<K> {
    fn handle(&mut self, completion: &Completion) -> io::Result<()> {
        match completion.kind {
            Kind::Accept => self.accepted(completion),
            Kind::Receive => self.received(completion),
            Kind::Send => {
                self.ring.recycle(completion.sent_buffer);
                Ok(())
            }
            Kind::Close | Kind::Deadline | Kind::Cancel => Ok(()),
        }
    }

    fn accepted(&mut self, completion: &Completion) -> io::Result<()> {
        match self.ring.accepted(completion, &self.listener)? {
            Some(slot) => self.keeper.receive(&mut self.ring, slot),
            None => Ok(()),
        }
    }

    fn received(&mut self, completion: &Completion) -> io::Result<()> {
        let slot = completion.slot;
        if completion.received_buffer.is_some() {
            self.keeper.heard(slot);
        }
        match (completion.result, completion.received_buffer) {
            (Ok(count), Some(buffer)) if count > 0 && self.answered => self.ring.send(slot, buffer, count)?,
            (_, Some(buffer)) => self.ring.recycle(buffer),
            (_, None) => {}
        }
        if completion.more {
            return Ok(());
        }
        match completion.result {
            Ok(count) if count > 0 => self.keeper.receive(&mut self.ring, slot),
            Err(Errno::NOBUFS) => {
                self.starved.push(slot);
                Ok(())
            }
            Ok(_) | Err(_) => {
                self.keeper.forget(slot);
                self.ring.close(slot)
            }
        }
    }

    /// Arming a receive on an empty buffer ring fails at once, so it waits until a buffer is back.
    fn feed_starved(&mut self) -> io::Result<()> {
        if self.ring.buffers_free() > 0 {
            for slot in std::mem::take(&mut self.starved) {
                self.keeper.receive(&mut self.ring, slot)?;
            }
        }
        Ok(())
    }
}
