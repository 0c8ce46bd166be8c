//! Listening sockets and the accepts in flight on them.
//!
//! Owns the way from `Accept` to an open slot, and `Unlisten`. Each `Accept` is one single-shot request: a multishot accept
//! gives no addresses, and takes clients that nobody asked for. Invariant: a listening socket is closed after the last
//! accept on it has ended.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use heartring_core::{Completion, ConnId, Instant, ListenOptions, Listener, ListenerId, OpKind};

use crate::backend::{Settled, UringBackend};
use crate::completion::Cqe;
use crate::request_unsafe::Request;
use crate::slots::Phase;
use crate::user_data::Kind;

/// A listening socket. Its [`ListenerId`] is its place in the table, which is never given to another.
#[derive(Debug)]
pub(crate) enum ListenSocket {
    Open {
        fd: OwnedFd,
        /// Who is being accepted: a few.
        accepting: Vec<ConnId>,
    },
    /// As open, but nobody else is accepted.
    Closing {
        fd: OwnedFd,
        accepting: Vec<ConnId>,
    },
    Closed,
}

impl UringBackend {
    pub(crate) fn open_listener(
        &mut self,
        addr: SocketAddr,
        options: &ListenOptions,
    ) -> io::Result<Listener> {
        let Ok(number) = u8::try_from(self.listeners.len()) else {
            return Err(io::Error::other("a backend opens at most 256 listeners in its life"));
        };
        let fd = heartring_socket::listen(addr, options)?;
        let addr = heartring_socket::local_addr(fd.as_fd())?;
        self.listeners.push(ListenSocket::Open { fd, accepting: Vec::new() });
        self.ledger.listeners += 1;
        Ok(Listener { id: ListenerId(number), addr })
    }

    pub(crate) fn accept(&mut self, listener: ListenerId, conn: ConnId) {
        let ListenSocket::Open { fd, accepting } = &mut self.listeners[usize::from(listener.0)] else {
            panic!("{listener:?} was closed");
        };
        accepting.push(conn);
        let loan = self.ring.accept(conn, fd.as_raw_fd());
        let slot = self.slots.occupy(conn, listener);
        slot.loan = loan;
        slot.ops.insert(OpKind::Accept);
        self.ledger.open(OpKind::Accept);
    }

    pub(crate) fn accept_ended(
        &mut self,
        conn: ConnId,
        cqe: Cqe,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) {
        self.end(conn, OpKind::Accept);
        let slot = self.slots.get(conn);
        let Phase::Accepting(listener) = slot.phase else { panic!("{conn} is {:?}", slot.phase) };
        match self.ring.accepted(slot.loan, cqe) {
            Ok((peer, fd)) => {
                slot.phase = Phase::Open;
                if let Some(fd) = fd {
                    self.slots.put_fd(conn, fd);
                }
                self.ledger.sockets += 1;
                sink(self.now, Completion::Accepted { listener, conn, peer });
            }
            Err(errno) => {
                slot.phase = Phase::Free;
                sink(self.now, Completion::AcceptFailed { listener, conn, errno });
            }
        }
        self.accept_joined(listener, conn);
    }

    /// The accept of `conn` is over: was it the last that a closing listener waited for?
    fn accept_joined(&mut self, listener: ListenerId, conn: ConnId) {
        match &mut self.listeners[usize::from(listener.0)] {
            ListenSocket::Open { accepting, .. } => accepting.retain(|other| *other != conn),
            ListenSocket::Closing { accepting, .. } => {
                accepting.retain(|other| *other != conn);
                if accepting.is_empty() {
                    self.settled.push_back(Settled::Unlisten(listener));
                }
            }
            ListenSocket::Closed => panic!("{listener:?} was closed with an accept in flight"),
        }
    }

    pub(crate) fn unlisten(&mut self, listener: ListenerId) {
        let socket = &mut self.listeners[usize::from(listener.0)];
        let ListenSocket::Open { fd, accepting } = std::mem::replace(socket, ListenSocket::Closed) else {
            panic!("{listener:?} is closed twice");
        };
        for &conn in &accepting {
            self.ring.push(Request::cancel(Kind::Accept, conn));
        }
        if accepting.is_empty() {
            self.settled.push_back(Settled::Unlisten(listener));
        }
        *socket = ListenSocket::Closing { fd, accepting };
    }

    pub(crate) fn unlisten_ended(
        &mut self,
        listener: ListenerId,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) {
        let socket = &mut self.listeners[usize::from(listener.0)];
        let ListenSocket::Closing { fd, accepting } = std::mem::replace(socket, ListenSocket::Closed) else {
            panic!("{listener:?} is not closing");
        };
        assert!(accepting.is_empty(), "{listener:?} is closed under {accepting:?}");
        drop(fd);
        self.ledger.listeners -= 1;
        sink(self.now, Completion::Unlistened { listener });
    }
}
