//! The bare accept rate on io_uring: a multishot accept into direct descriptors, each of which is closed, and so reset, with
//! the system call that waits for more.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use socket2::Socket;

use crate::plan::ServePlan;
use crate::ring_unsafe::{Completion, Kind, Ring};
use crate::service::Service;

/// Beyond the devices: descriptors whose close is under way.
const SLOTS_CLOSING: u32 = 1024;

pub(crate) struct AcceptUring {
    ring: Ring,
    listener: Socket,
}

impl Service for AcceptUring {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        // Inherited by what is accepted: to close it is to reset it.
        listener.set_linger(Some(Duration::ZERO))?;
        let mut ring = Ring::open(plan.workload.connections() + SLOTS_CLOSING, plan.workload.bytes())?;
        ring.accept(&listener)?;
        Ok(AcceptUring { ring, listener })
    }

    fn run(mut self) -> io::Result<Infallible> {
        let mut completions = Vec::new();
        loop {
            self.ring.wait(&mut completions)?;
            for completion in completions.drain(..) {
                self.handle(&completion)?;
            }
        }
    }
}

impl AcceptUring {
    fn handle(&mut self, completion: &Completion) -> io::Result<()> {
        match completion.kind {
            Kind::Accept => {}
            Kind::Receive | Kind::Send | Kind::Close | Kind::Deadline | Kind::Cancel => return Ok(()),
        }
        match self.ring.accepted(completion, &self.listener)? {
            Some(slot) => self.ring.close(slot),
            None => Ok(()),
        }
    }
}
