//! The limit of a storm on epoll: accept, read the first frame, answer, and reset the former connection of the same device.
//!
//! No directory, no deadlines, no states: whose claim it is, is a number in the frame, and who held it before is a place in
//! an array. What comes after the first frame is not read, and an end of the peer's own is not seen.

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
use crate::workload::{CLAIM_BYTES, GRANTED, number_in};

/// The listener's event data; connections use their descriptor's number.
const LISTENER: u64 = u64::MAX;

/// Events taken with one system call. Their array stays in the first-level cache.
const EVENTS_MAX: usize = 512;

pub(crate) struct ClaimEpoll {
    epoll: OwnedFd,
    listener: Socket,
    /// Those that have not said who they are, by descriptor number.
    unknown: Vec<Option<OwnedFd>>,
    /// By the device's number.
    holders: Vec<Option<OwnedFd>>,
    batch_within: Duration,
}

impl Service for ClaimEpoll {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        // Inherited by what is accepted: to drop it is to reset it.
        listener.set_linger(Some(Duration::ZERO))?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN | EventFlags::ET)?;
        let unknown = Vec::with_capacity(plan.workload.connections() as usize + 64);
        let batch_within = plan.batch_within();
        Ok(ClaimEpoll { epoll, listener, unknown, holders: Vec::new(), batch_within })
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

impl ClaimEpoll {
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
        if self.unknown.len() <= fd {
            self.unknown.resize_with(fd + 1, || None);
        }
        self.unknown[fd] = Some(conn);
        Ok(())
    }

    /// Takes the first frame, which arrives whole, and lets the device have its place.
    fn hear(&mut self, fd: usize) {
        let Some(conn) = self.unknown[fd].take() else { return };
        let mut claim = [0; CLAIM_BYTES];
        match recv(&conn, &mut claim[..], RecvFlags::empty()) {
            Ok((CLAIM_BYTES, _)) => {}
            Err(Errno::AGAIN | Errno::INTR) => return self.unknown[fd] = Some(conn),
            Ok(_) | Err(_) => return,
        }
        // A device that has left already is evicted when it comes again.
        let _ = send(&conn, GRANTED, SendFlags::NOSIGNAL);
        let device = number_in(claim) as usize;
        if self.holders.len() <= device {
            self.holders.resize_with(device + 1, || None);
        }
        self.holders[device] = Some(conn);
    }
}
