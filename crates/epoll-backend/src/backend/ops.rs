//! What each op does when it is performed: at the start of the `wait` after its submission, in the order of submission.

use std::os::fd::AsFd;

use bytes::Bytes;
use heartring_core::{CloseHow, Completion, ConnId, Errno, ListenerId, Op, OpKind, RecvEnd, WatchEnd};
use rustix::net::Shutdown;

use super::{EpollBackend, Sink};
use crate::conns::Parcel;
use crate::deadlines::Timer;

/// The connection that an op belongs to, and the kind under which it is in flight there.
pub(super) fn conn_and_kind(op: &Op) -> Option<(ConnId, OpKind)> {
    match *op {
        Op::Accept { conn, .. } => Some((conn, OpKind::Accept)),
        Op::Recv { conn, .. } => Some((conn, OpKind::Recv)),
        Op::Watch { conn, .. } => Some((conn, OpKind::Watch)),
        Op::Send { conn, .. } => Some((conn, OpKind::Send)),
        Op::Examine { conn } => Some((conn, OpKind::Examine)),
        Op::Shutdown { conn } => Some((conn, OpKind::Shutdown)),
        Op::Close { conn, .. } => Some((conn, OpKind::Close)),
        Op::Unlisten { .. } => None,
    }
}

impl EpollBackend {
    pub(super) fn perform(&mut self, op: Op, sink: &mut impl Sink) {
        match op {
            Op::Accept { listener, conn } => self.listeners.grant(listener, conn),
            Op::Recv { conn, deadline } => {
                if let Some(deadline) = deadline {
                    self.deadlines.insert(deadline, conn.slot(), Timer::Lease);
                }
                self.conns.line_up(conn);
            }
            Op::Watch { conn, deadline } => {
                self.deadlines.insert(deadline, conn.slot(), Timer::Watch);
                self.conns.line_up(conn);
            }
            Op::Send { conn, payload, more } => self.send(conn, payload, more, sink),
            Op::Examine { conn } => {
                let evidence = heartring_socket::examine(self.conns.conn(conn).fd());
                self.end(conn, OpKind::Examine, Completion::Examined { conn, evidence }, sink);
            }
            Op::Shutdown { conn } => self.shut_down(conn, sink),
            Op::Close { conn, how } => self.close(conn, how, sink),
            Op::Unlisten { listener } => self.unlisten(listener, sink),
        }
    }

    /// Tries, and parks what finds no room.
    pub(super) fn send(&mut self, conn: ConnId, payload: Bytes, more: bool, sink: &mut impl Sink) {
        debug_assert!(!payload.is_empty(), "an empty send would complete with nothing sent");
        match self.conns.conn(conn).put(&payload, more) {
            Some(result) => self.end(conn, OpKind::Send, Completion::Sent { conn, payload, result }, sink),
            None => self.conns.park(conn, Parcel { payload, more }),
        }
    }

    fn shut_down(&mut self, conn: ConnId, sink: &mut impl Sink) {
        let result = rustix::net::shutdown(self.conns.conn(conn).fd(), Shutdown::Write);
        let result = result.map_err(|error| Errno(error.raw_os_error()));
        self.end(conn, OpKind::Shutdown, Completion::ShutDown { conn, result }, sink);
    }

    fn close(&mut self, conn: ConnId, how: CloseHow, sink: &mut impl Sink) {
        self.cancel_all(conn, sink);
        let fd = self.conns.conn(conn).take_fd();
        match how {
            CloseHow::Orderly => {}
            // It fails on no open TCP socket; if it did, an orderly close would be the best that is left.
            CloseHow::Abortive => {
                let _ = heartring_socket::set_abortive(fd.as_fd());
            }
        }
        drop(fd); // and with it goes its registration
        self.ledger.sockets -= 1;
        self.end(conn, OpKind::Close, Completion::Closed { conn }, sink);
    }

    /// Ends what is in flight. Examinations and shutdowns never are: they were performed in the order of submission.
    fn cancel_all(&mut self, conn: ConnId, sink: &mut impl Sink) {
        let ops = self.conns.conn(conn).ops;
        if ops.contains(OpKind::Recv) {
            self.end_recv(conn, RecvEnd::Cancelled, sink);
        }
        if ops.contains(OpKind::Watch) {
            self.end_watch(conn, WatchEnd::Cancelled, sink);
        }
        if let Some(Parcel { payload, .. }) = self.conns.unpark(conn) {
            let result = Err(Errno::ECANCELED);
            self.end(conn, OpKind::Send, Completion::Sent { conn, payload, result }, sink);
        }
    }

    pub(super) fn end_recv(&mut self, conn: ConnId, end: RecvEnd, sink: &mut impl Sink) {
        self.deadlines.remove(conn.slot(), Timer::Lease);
        self.end(conn, OpKind::Recv, Completion::RecvEnded { conn, end }, sink);
    }

    pub(super) fn end_watch(&mut self, conn: ConnId, end: WatchEnd, sink: &mut impl Sink) {
        self.deadlines.remove(conn.slot(), Timer::Watch);
        self.end(conn, OpKind::Watch, Completion::WatchEnded { conn, end }, sink);
    }

    fn unlisten(&mut self, listener: ListenerId, sink: &mut impl Sink) {
        let (fd, grants) = self.listeners.remove(listener);
        for conn in grants {
            let errno = Errno::ECANCELED;
            self.end(conn, OpKind::Accept, Completion::AcceptFailed { listener, conn, errno }, sink);
        }
        drop(fd); // clients in its queue get an RST
        self.ledger.listeners -= 1;
        self.tell(Completion::Unlistened { listener }, sink);
    }
}
