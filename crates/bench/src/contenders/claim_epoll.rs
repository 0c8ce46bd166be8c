//! The limit of a storm on epoll: accept, read the first frame, answer, and reset the former connection of the same device.
//!
//! No directory, no deadlines, no states: whose claim it is, is a number in the frame, and who held it before is a place in
//! an array. What comes after the first frame is not read, and an end of the peer's own is not seen.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;

use super::epoll_conns::{EVENTS_MAX, EpollConns};
use crate::plan::ServePlan;
use crate::service::Service;
use crate::workload::{CLAIM_BYTES, GRANTED, number_in};

pub(crate) struct ClaimEpoll {
    /// Those that have not said who they are.
    unknown: EpollConns,
    /// By the device's number.
    holders: Vec<Option<OwnedFd>>,
}

impl Service for ClaimEpoll {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        // Inherited by what is accepted: to drop it is to reset it.
        listener.set_linger(Some(Duration::ZERO))?;
        let unknown = EpollConns::open(listener, plan.workload.connections())?;
        Ok(ClaimEpoll { unknown, holders: Vec::new() })
    }

    fn run(mut self) -> io::Result<Infallible> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.unknown.wait(&mut events, None)?;
            for event in &events {
                if let Some(fd) = self.unknown.conn_of(event)? {
                    self.hear(fd);
                }
            }
        }
    }
}

impl ClaimEpoll {
    /// Takes the first frame, which arrives whole, and lets the device have its place.
    fn hear(&mut self, fd: usize) {
        let Some(conn) = self.unknown.conns[fd].take() else { return };
        let mut claim = [0; CLAIM_BYTES];
        match recv(&conn, &mut claim[..], RecvFlags::empty()) {
            Ok((CLAIM_BYTES, _)) => {}
            Err(Errno::AGAIN | Errno::INTR) => return self.unknown.conns[fd] = Some(conn),
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
