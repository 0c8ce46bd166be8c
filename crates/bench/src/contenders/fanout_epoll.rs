//! The limit of a fan-out on epoll: at every tick one `send` per connection.
//!
//! What the devices say is read and thrown away. A device that does not take what it is sent is closed: a queue would be the
//! first piece of a connection manager.

use std::convert::Infallible;
use std::io;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;

use super::epoll_conns::{EVENTS_MAX, EpollConns};
use crate::clock;
use crate::picture::{Picture, Ticks};
use crate::plan::ServePlan;
use crate::service::Service;

pub(crate) struct FanoutEpoll {
    conns: EpollConns,
    ticks: Ticks,
    picture: Picture,
}

impl Service for FanoutEpoll {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        let conns = EpollConns::open(listener, plan.workload.connections())?;
        Ok(FanoutEpoll { conns, ticks: Ticks::of(plan.workload), picture: Picture::of(plan.workload) })
    }

    fn run(mut self) -> io::Result<Infallible> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.conns.wait(&mut events, Some(self.ticks.rest_ns(clock::now_ns())))?;
            for event in &events {
                if let Some(fd) = self.conns.conn_of(event)? {
                    self.hear(fd);
                }
            }
            let now = clock::now_ns();
            if self.ticks.is_due(now) {
                self.send_to_all(now);
            }
        }
    }
}

impl FanoutEpoll {
    fn hear(&mut self, fd: usize) {
        let Some(conn) = self.conns.conns[fd].as_ref() else { return };
        let mut heard = [0; 64];
        match recv(conn, &mut heard[..], RecvFlags::empty()) {
            Ok((count, _)) if count > 0 => {}
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(_) | Err(_) => self.conns.conns[fd] = None,
        }
    }

    fn send_to_all(&mut self, now: u64) {
        let message = self.picture.taken_at(now);
        for place in &mut self.conns.conns {
            let Some(conn) = place else { continue };
            if send(conn, message, SendFlags::NOSIGNAL) != Ok(message.len()) {
                *place = None;
            }
        }
    }
}
