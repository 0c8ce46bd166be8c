//! The bare accept rate on epoll: takes each client from the queue and resets it.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use socket2::Socket;

use crate::plan::ServePlan;
use crate::service::Service;

pub(crate) struct AcceptEpoll {
    listener: Socket,
}

impl Service for AcceptEpoll {
    fn open(listener: Socket, _plan: &ServePlan) -> io::Result<Self> {
        // Inherited by what is accepted: to drop it is to reset it.
        listener.set_linger(Some(Duration::ZERO))?;
        Ok(AcceptEpoll { listener })
    }

    fn run(self) -> io::Result<Infallible> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &self.listener, EventData::new_u64(0), EventFlags::IN | EventFlags::ET)?;
        let mut events = Vec::with_capacity(1);
        loop {
            events.clear();
            match epoll::wait(&epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => self.accept_all()?,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AcceptEpoll {
    fn accept_all(&self) -> io::Result<()> {
        loop {
            match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(conn) => drop(conn),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
