//! Accepts, takes the first message, holds, and waits for nothing more: no epoll, no ring. What a connection costs before
//! anybody watches it.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags, accept_with, recv};
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
                Ok(conn) => {
                    // Unread bytes would be counted with the socket. A device that has left has none.
                    let _ = recv(&conn, &mut [0; 64][..], RecvFlags::empty());
                    self.conns.push(conn);
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
