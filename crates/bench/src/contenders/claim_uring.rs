//! The limit of a storm on io_uring: accept, receive the first frame, answer, and reset the former connection of the same
//! device. What a turn decides goes to the kernel with the system call that waits for the next.
//!
//! No directory, no deadlines, no states, as on epoll. A connection has one receive in its life, so that nothing is parked on
//! it when it is closed: no cancellation is ever needed.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use socket2::Socket;

use crate::plan::ServePlan;
use crate::ring_unsafe::{Completion, Kind, Ring};
use crate::service::Service;
use crate::workload::{CLAIM_BYTES, GRANTED, number_in};

/// Beyond the devices: descriptors whose close is under way.
const SLOTS_CLOSING: u32 = 1024;

pub(crate) struct ClaimUring {
    ring: Ring,
    listener: Socket,
    /// The slot of each device's connection, by the device's number.
    holders: Vec<Option<u32>>,
    /// Connections whose receive ended for want of a buffer.
    starved: Vec<u32>,
}

impl Service for ClaimUring {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        // Inherited by what is accepted: to close it is to reset it.
        listener.set_linger(Some(Duration::ZERO))?;
        let mut ring = Ring::open(plan.workload.connections() + SLOTS_CLOSING, plan.workload.bytes())?;
        ring.accept(&listener)?;
        let (holders, starved) = (Vec::new(), Vec::new());
        Ok(ClaimUring { ring, listener, holders, starved })
    }

    fn run(mut self) -> io::Result<Infallible> {
        let mut completions = Vec::new();
        loop {
            self.ring.wait(&mut completions)?;
            for completion in completions.drain(..) {
                self.handle(&completion)?;
            }
            // Every buffer is back by the end of a turn.
            for slot in std::mem::take(&mut self.starved) {
                self.ring.receive_once(slot)?;
            }
        }
    }
}

impl ClaimUring {
    fn handle(&mut self, completion: &Completion) -> io::Result<()> {
        match completion.kind {
            Kind::Accept => self.accepted(completion),
            Kind::Receive => self.received(completion),
            // A device that has left already is evicted when it comes again.
            Kind::Send | Kind::Close | Kind::Deadline | Kind::Cancel => Ok(()),
        }
    }

    fn accepted(&mut self, completion: &Completion) -> io::Result<()> {
        match self.ring.accepted(completion, &self.listener)? {
            Some(slot) => self.ring.receive_once(slot),
            None => Ok(()),
        }
    }

    /// The first frame, which arrives whole.
    fn received(&mut self, completion: &Completion) -> io::Result<()> {
        let slot = completion.slot;
        let claim = completion.received_buffer.map(|buffer| {
            let claim = self.ring.front::<CLAIM_BYTES>(buffer);
            self.ring.recycle(buffer);
            claim
        });
        match (completion.result, claim) {
            (Ok(count), Some(claim)) if count as usize == CLAIM_BYTES => self.grant(slot, number_in(claim)),
            (Err(Errno::NOBUFS), _) => {
                self.starved.push(slot);
                Ok(())
            }
            (Ok(_) | Err(_), _) => self.ring.close(slot),
        }
    }

    fn grant(&mut self, slot: u32, device: u32) -> io::Result<()> {
        let device = device as usize;
        if self.holders.len() <= device {
            self.holders.resize(device + 1, None);
        }
        self.ring.say(slot, GRANTED)?;
        match self.holders[device].replace(slot) {
            Some(former) => self.ring.close(former),
            None => Ok(()),
        }
    }
}
