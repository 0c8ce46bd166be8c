//! The limit on epoll: one thread, no deadlines, no frames, no states, no send queues.
//!
//! Edge-triggered, and a read that comes back short is the end of what was there: one `recv` and one `send`
//! per message, and `epoll_wait` shared by all that were ready. A peer that does not take its echo is closed:
//! a queue would be the first piece of a connection manager.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};
use socket2::Socket;

use crate::plan::ServePlan;
use crate::service::Service;

/// The listener's event data; connections use their descriptor's number.
const LISTENER: u64 = u64::MAX;

/// Events taken with one system call. Their array stays in the first-level cache.
const EVENTS_MAX: usize = 512;

pub(crate) struct BareEpoll {
    epoll: OwnedFd,
    listener: Socket,
    /// By descriptor number.
    conns: Vec<Option<OwnedFd>>,
    buffer: Vec<u8>,
    answered: bool,
    batch_within: Duration,
}

impl Service for BareEpoll {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN | EventFlags::ET)?;
        // One byte longer than a message: a read of exactly one message is then a short one.
        let buffer = vec![0; plan.workload.bytes() as usize + 1];
        let conns = Vec::with_capacity(plan.workload.connections() as usize + 64);
        let answered = plan.workload.answered();
        Ok(BareEpoll { epoll, listener, conns, buffer, answered, batch_within: plan.batch_within() })
    }

    fn run(mut self) -> io::Result<Infallible> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.handle(event)?;
            }
            if !self.batch_within.is_zero() {
                std::thread::sleep(self.batch_within);
            }
        }
    }
}

impl BareEpoll {
    fn handle(&mut self, event: &Event) -> io::Result<()> {
        match event.data.u64() {
            LISTENER => self.accept_all(),
            fd => {
                if self.receive(fd as usize, event.flags).is_break() {
                    self.conns[fd as usize] = None;
                }
                Ok(())
            }
        }
    }

    fn accept_all(&mut self) -> io::Result<()> {
        loop {
            match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(conn) => self.insert(conn)?,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn insert(&mut self, conn: OwnedFd) -> io::Result<()> {
        let fd = conn.as_raw_fd() as usize;
        let interest = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &conn, EventData::new_u64(fd as u64), interest)?;
        if self.conns.len() <= fd {
            self.conns.resize_with(fd + 1, || None);
        }
        self.conns[fd] = Some(conn);
        Ok(())
    }

    /// Takes what is there, and returns it if the workload says so. Breaks when the connection is over.
    fn receive(&mut self, fd: usize, flags: EventFlags) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};
        let Some(conn) = self.conns[fd].as_ref() else { return Continue(()) };
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
