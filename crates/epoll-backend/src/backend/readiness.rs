//! What is done for sockets that have become ready, and for deadlines that have come. All of it is bounded per turn.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use heartring_core::{Completion, ConnId, ListenerId, OpKind, RecvEnd, WatchEnd};

use super::{EpollBackend, Sink};
use crate::conns::{Parcel, Taken};
use crate::deadlines::Timer;
use crate::listeners::Accepted;
use crate::poller::Source;

/// Bytes delivered in one turn before the others in line wait for the next. A handler acts on the instant at which the
/// turn began, so a turn must not last: this much is copied in about 0.1 ms. (The connection that reaches it may exceed
/// it by what it gets in one turn.)
const TURN_BYTES_MAX: usize = 1 << 20;

/// Deadlines told in one turn. When thousands of connections expire together, the bytes that arrive meanwhile are seen
/// in between.
const TURN_EXPIRIES_MAX: usize = 1024;

/// `recv`s per connection and turn. The second is only made for the end that is known to be behind the bytes.
const TURN_READS_MAX: usize = 2;

impl EpollBackend {
    pub(super) fn note_edges(&mut self, sink: &mut impl Sink) {
        for index in 0..self.poller.found() {
            match self.poller.event(index) {
                // The doorbell is never read: each ring is an edge.
                (Source::Waker, _) => self.tell(Completion::Woken, sink),
                (Source::Alarm, _) => self.poller.alarm_is_over(),
                (Source::Listener(listener), _) => self.listeners.note_edge(listener),
                (Source::Conn(id), flags) => {
                    if let Some(conn) = self.conns.find(id) {
                        conn.note_edge(flags);
                        self.conns.line_up(id);
                    }
                }
            }
        }
    }

    /// Takes as many clients as there are and as core has asked for.
    pub(super) fn accept_clients(&mut self, sink: &mut impl Sink) {
        while let Some((listener, accepted)) = self.listeners.accept() {
            match accepted {
                Accepted::Client(conn, fd, peer) => self.admit(listener, conn, fd, peer, sink),
                Accepted::Failed(conn, errno) => {
                    let failed = Completion::AcceptFailed { listener, conn, errno };
                    self.end(conn, OpKind::Accept, failed, sink);
                }
            }
        }
    }

    fn admit(
        &mut self,
        listener: ListenerId,
        conn: ConnId,
        fd: OwnedFd,
        peer: SocketAddr,
        sink: &mut impl Sink,
    ) {
        let outcome = match self.poller.register(&fd, Source::Conn(conn)) {
            Ok(()) => {
                self.conns.conn(conn).open(fd);
                self.ledger.sockets += 1;
                Completion::Accepted { listener, conn, peer }
            }
            // ENOSPC (fs.epoll.max_user_watches) or ENOMEM: this client is lost. The next would be, too.
            Err(errno) => {
                self.listeners.pause(listener);
                Completion::AcceptFailed { listener, conn, errno }
            }
        };
        self.end(conn, OpKind::Accept, outcome, sink);
    }

    /// Serves those in line, each once: who has more to read goes to the back and waits for the next turn.
    pub(super) fn serve_line(&mut self, sink: &mut impl Sink) {
        let mut bytes = 0;
        for _ in 0..self.conns.line_len() {
            if bytes >= TURN_BYTES_MAX {
                return;
            }
            if let Some(conn) = self.conns.call_next() {
                bytes += self.serve(conn, sink);
            }
        }
    }

    fn serve(&mut self, conn: ConnId, sink: &mut impl Sink) -> usize {
        if self.conns.find(conn).is_none() {
            return 0; // closed while it stood in line
        }
        if self.conns.conn(conn).can_send()
            && let Some(Parcel { payload, more }) = self.conns.unpark(conn)
        {
            self.send(conn, payload, more, sink);
        }
        let bytes = if self.conns.conn(conn).can_receive() { self.receive(conn, sink) } else { 0 };
        self.conns.line_up(conn);
        bytes
    }

    /// Delivers what is there to the `Recv`, and tells the `Watch` beside it that something was. Says how many bytes.
    fn receive(&mut self, conn: ConnId, sink: &mut impl Sink) -> usize {
        let mut bytes = 0;
        // Without a `Recv` nothing is read, and what an edge said is all that is known.
        let mut came = !self.conns.conn(conn).ops.contains(OpKind::Recv);
        for _ in 0..TURN_READS_MAX {
            let socket = self.conns.conn(conn);
            if !socket.ops.contains(OpKind::Recv) || !socket.is_readable() {
                break;
            }
            match socket.take(&mut self.receive_buffer) {
                Taken::Bytes(taken) => {
                    bytes += taken;
                    self.told += 1;
                    sink(self.now, Completion::Received { conn, bytes: &self.receive_buffer[..taken] });
                    if taken == self.receive_buffer.len() {
                        break;
                    }
                }
                Taken::Eof => self.end_recv(conn, RecvEnd::Eof, sink),
                Taken::Failed(errno) => self.end_recv(conn, RecvEnd::Failed(errno), sink),
                Taken::Nothing => break,
            }
            came = true;
        }
        if came && self.conns.conn(conn).ops.contains(OpKind::Watch) {
            self.end_watch(conn, WatchEnd::Ready, sink);
        }
        bytes
    }

    pub(super) fn expire(&mut self, sink: &mut impl Sink) {
        for _ in 0..TURN_EXPIRIES_MAX {
            let Some((slot, timer)) = self.deadlines.pop_due(self.now) else { return };
            let conn = self.conns.occupant(slot);
            match timer {
                Timer::Lease => self.end_recv(conn, RecvEnd::Expired, sink),
                // What is known to have arrived wins, even if its turn to be read has not come.
                Timer::Watch if self.conns.conn(conn).is_readable() => {
                    self.end_watch(conn, WatchEnd::Ready, sink);
                }
                Timer::Watch => self.end_watch(conn, WatchEnd::Expired, sink),
            }
        }
    }
}
