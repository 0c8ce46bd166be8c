//! The limit of a fan-out on epoll: at every tick one `send` per connection.
//!
//! What the devices say is read and thrown away. A device that does not take what it is sent is closed: a queue would be the
//! first piece of a connection manager.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};
use socket2::Socket;

use crate::clock;
use crate::picture::{Picture, Ticks};
use crate::plan::ServePlan;
use crate::service::Service;

/// The listener's event data; connections use their descriptor's number.
const LISTENER: u64 = u64::MAX;

/// Events taken with one system call. Their array stays in the first-level cache.
const EVENTS_MAX: usize = 512;

pub(crate) struct FanoutEpoll {
    epoll: OwnedFd,
    listener: Socket,
    /// By descriptor number.
    conns: Vec<Option<OwnedFd>>,
    ticks: Ticks,
    picture: Picture,
}

impl Service for FanoutEpoll {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN | EventFlags::ET)?;
        let (ticks, picture) = (Ticks::of(plan.workload), Picture::of(plan.workload));
        Ok(FanoutEpoll { epoll, listener, conns: Vec::new(), ticks, picture })
    }

    fn run(mut self) -> io::Result<Infallible> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            events.clear();
            let rest = clock::timespec(self.ticks.rest_ns(clock::now_ns()));
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&rest)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.handle(event)?;
            }
            let now = clock::now_ns();
            if self.ticks.is_due(now) {
                self.send_to_all(now);
            }
        }
    }
}

impl FanoutEpoll {
    fn handle(&mut self, event: &Event) -> io::Result<()> {
        match event.data.u64() {
            LISTENER => self.accept_all(),
            fd => {
                self.hear(fd as usize);
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

    fn hear(&mut self, fd: usize) {
        let Some(conn) = self.conns[fd].as_ref() else { return };
        let mut heard = [0; 64];
        match recv(conn, &mut heard[..], RecvFlags::empty()) {
            Ok((count, _)) if count > 0 => {}
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(_) | Err(_) => self.conns[fd] = None,
        }
    }

    fn send_to_all(&mut self, now: u64) {
        let message = self.picture.taken_at(now);
        for place in &mut self.conns {
            let Some(conn) = place else { continue };
            if send(conn, message, SendFlags::NOSIGNAL) != Ok(message.len()) {
                *place = None;
            }
        }
    }
}
