//! The limit on epoll: one thread, no deadlines, no frames, no states, no send queues.
//!
//! Edge-triggered, and a read that comes back short is the end of what was there: one `recv` and one `send`
//! per message, and `epoll_wait` shared by all that were ready. A peer that does not take its echo is closed:
//! a queue would be the first piece of a connection manager.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;

use super::epoll_conns::{EVENTS_MAX, EpollConns};
use crate::plan::ServePlan;
use crate::service::Service;

pub(crate) struct BareEpoll {
    conns: EpollConns,
    buffer: Vec<u8>,
    answered: bool,
    batch_within: Duration,
}

impl Service for BareEpoll {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        let conns = EpollConns::open(listener, plan.workload.connections())?;
        // One byte longer than a message: a read of exactly one message is then a short one.
        let buffer = vec![0; plan.workload.bytes() as usize + 1];
        let (answered, batch_within) = (plan.workload.answered(), plan.batch_within());
        Ok(BareEpoll { conns, buffer, answered, batch_within })
    }

    fn run(mut self) -> io::Result<Infallible> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.conns.wait(&mut events, None)?;
            for event in &events {
                if let Some(fd) = self.conns.conn_of(event)?
                    && self.receive(fd, event.flags).is_break()
                {
                    self.conns.conns[fd] = None;
                }
            }
            if !self.batch_within.is_zero() {
                std::thread::sleep(self.batch_within);
            }
        }
    }
}

impl BareEpoll {
    /// Takes what is there, and returns it if the workload says so. Breaks when the connection is over.
    fn receive(&mut self, fd: usize, flags: EventFlags) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};
        let Some(conn) = self.conns.conns[fd].as_ref() else { return Continue(()) };
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        loop {
            let count = match recv(conn, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => return Break(()),
                Ok((count, _)) => count,
                Err(Errno::AGAIN) => return Continue(()),
                Err(Errno::INTR) => continue,
                Err(_) => return Break(()),
            };
            if self.answered && send(conn, &self.buffer[..count], SendFlags::NOSIGNAL) != Ok(count) {
                return Break(());
            }
            // A FIN that was already there makes no second edge, so then read on until it shows.
            if count < self.buffer.len() && !ended {
                return Continue(());
            }
        }
    }
}
