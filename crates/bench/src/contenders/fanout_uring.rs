//! The limit of a fan-out on io_uring: at every tick one entry per connection, a whole tick with a few system calls.
//!
//! What the devices say is received and thrown away.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use socket2::Socket;

use crate::clock;
use crate::picture::{Picture, Ticks};
use crate::plan::ServePlan;
use crate::ring_unsafe::{Completion, Kind, Message, Ring};
use crate::service::Service;

/// How many ticks' messages are kept at a time. A send that takes longer than this many ticks would send a newer picture, which
/// is what its device wants.
const PICTURES: usize = 4;

pub(crate) struct FanoutUring {
    ring: Ring,
    listener: Socket,
    conns: Vec<u32>,
    ticks: Ticks,
    picture: Picture,
    /// Static, since the kernel reads them when it likes.
    messages: Vec<&'static Message>,
    next: usize,
}

impl Service for FanoutUring {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        let mut ring = Ring::open(plan.workload.connections(), plan.workload.received_bytes_max())?;
        ring.accept(&listener)?;
        let picture = Picture::of(plan.workload);
        let messages = (0..PICTURES).map(|_| Message::leak(picture.len())).collect();
        let ticks = Ticks::of(plan.workload);
        Ok(FanoutUring { ring, listener, conns: Vec::new(), ticks, picture, messages, next: 0 })
    }

    fn run(mut self) -> io::Result<Infallible> {
        let mut completions = Vec::new();
        loop {
            let rest = Duration::from_nanos(self.ticks.rest_ns(clock::now_ns()));
            self.ring.wait_at_most(rest, &mut completions)?;
            for completion in completions.drain(..) {
                self.handle(&completion)?;
            }
            let now = clock::now_ns();
            if self.ticks.is_due(now) {
                self.send_to_all(now)?;
            }
        }
    }
}

impl FanoutUring {
    fn handle(&mut self, completion: &Completion) -> io::Result<()> {
        match completion.kind {
            Kind::Accept => self.accepted(completion),
            Kind::Receive => self.received(completion),
            // Only a failed one is heard of: its device has left, which its receive tells.
            Kind::Send | Kind::Close | Kind::Deadline | Kind::Cancel => Ok(()),
        }
    }

    fn accepted(&mut self, completion: &Completion) -> io::Result<()> {
        let Some(slot) = self.ring.accepted(completion, &self.listener)? else { return Ok(()) };
        self.conns.push(slot);
        self.ring.receive(slot)
    }

    fn received(&mut self, completion: &Completion) -> io::Result<()> {
        if let Some(buffer) = completion.received_buffer {
            self.ring.recycle(buffer);
        }
        let slot = completion.slot;
        match completion.result {
            _ if completion.more => Ok(()),
            Ok(count) if count > 0 => self.ring.receive(slot),
            Err(Errno::NOBUFS) => self.ring.receive(slot),
            Ok(_) | Err(_) => {
                self.conns.retain(|conn| *conn != slot);
                self.ring.close(slot)
            }
        }
    }

    fn send_to_all(&mut self, now: u64) -> io::Result<()> {
        let message = self.messages[self.next];
        self.next = (self.next + 1) % PICTURES;
        message.write(self.picture.taken_at(now));
        for &slot in &self.conns {
            self.ring.say_message(slot, message)?;
        }
        Ok(())
    }
}
