//! Accepts, holds, and waits for nothing: no epoll, no ring, no read. What a connection costs before anybody watches it.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use socket2::Socket;

use crate::plan::ServePlan;
use crate::service::Service;

pub(crate) struct BareSockets {
    listener: Socket,
    conns: Vec<OwnedFd>,
}

impl Service for BareSockets {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        listener.set_nonblocking(false)?;
        Ok(BareSockets { listener, conns: Vec::with_capacity(plan.workload.connections() as usize) })
    }

    fn run(mut self) -> io::Result<Infallible> {
        loop {
            match accept_with(&self.listener, SocketFlags::CLOEXEC) {
                Ok(conn) => self.conns.push(conn),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
