//! What every bare server on epoll is made of: the epoll descriptor, the listener, and the connections by descriptor number.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use socket2::Socket;

use crate::clock;

/// The listener's event data; connections use their descriptor's number.
const LISTENER: u64 = u64::MAX;

/// Events taken with one system call. Their array stays in the first-level cache.
pub(super) const EVENTS_MAX: usize = 512;

/// Edge-triggered.
pub(super) struct EpollConns {
    epoll: OwnedFd,
    listener: Socket,
    /// By descriptor number.
    pub(super) conns: Vec<Option<OwnedFd>>,
}

impl EpollConns {
    pub(super) fn open(listener: Socket, connections: u32) -> io::Result<EpollConns> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN | EventFlags::ET)?;
        Ok(EpollConns { epoll, listener, conns: Vec::with_capacity(connections as usize + 64) })
    }

    /// Waits for events, no longer than `within_ns`.
    pub(super) fn wait(&self, events: &mut Vec<Event>, within_ns: Option<u64>) -> io::Result<()> {
        events.clear();
        let within = within_ns.map(clock::timespec);
        match epoll::wait(&self.epoll, spare_capacity(events), within.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The descriptor number of the connection that has an event. What waits at the listener is accepted.
    pub(super) fn conn_of(&mut self, event: &Event) -> io::Result<Option<usize>> {
        match event.data.u64() {
            LISTENER => self.accept_all().map(|()| None),
            fd => Ok(Some(fd as usize)),
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
}
