//! Receiving: who takes what has arrived, and when a lease ends.

use heartring_core::{Completion, ConnId, Errno, Instant, RecvEnd};

use super::Kernel;
use crate::agenda::Step;
use crate::fault::Fault;
use crate::in_flight::{Recv, RecvState};
use crate::peer::Harm;
use crate::socket::{Readable, SocketId};

/// What an op fails with when the machine has no memory for it.
pub(super) const NO_MEMORY: [Errno; 2] = [Errno::ENOMEM, Errno::ENOBUFS];

impl Kernel {
    pub(super) fn recv(&mut self, conn: ConnId, lease: Option<Instant>) {
        let (id, serial) = (self.socket_of(conn), self.next_serial());
        self.sockets[id.0].in_flight.recv = Some(Recv { serial, state: RecvState::Taking });
        if let Some(at) = lease {
            self.step_at(at, id, serial, Step::LeaseDue);
        }
        self.socket_changed(id);
    }

    /// Something can be read: the recv gets its turn.
    pub(super) fn wake_recv(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id.0];
        let Some(recv) = &socket.in_flight.recv else { return };
        match recv.state {
            RecvState::Taking if !socket.queued => {
                socket.queued = true;
                self.ready.push_back(id);
            }
            RecvState::Taking | RecvState::Starved => {}
            RecvState::Overdue => self.lease_over(id),
        }
    }

    pub(super) fn lease_due(&mut self, id: SocketId, serial: u64) {
        let silent = self.sockets[id.0].readable() == Readable::Nothing;
        if silent && self.faults.strikes(Fault::LeaseMeetsBytes) {
            let recv = self.sockets[id.0].in_flight.recv.as_mut().expect("it was found by its serial number");
            recv.state = RecvState::Overdue;
        } else if !self.faults.strikes(Fault::LeaseLate) {
            return self.lease_over(id);
        }
        self.step_later(id, serial, Step::LeaseOver);
    }

    /// What is unread stays unread: the next recv finds it.
    pub(super) fn lease_over(&mut self, id: SocketId) {
        let conn = self.conn_of(id);
        self.sockets[id.0].in_flight.recv = None;
        self.ended(id, Completion::RecvEnded { conn, end: RecvEnd::Expired });
        self.wake_watch(id);
    }

    pub(super) fn buffer_back(&mut self, id: SocketId) {
        if let Some(recv) = &mut self.sockets[id.0].in_flight.recv {
            recv.state = RecvState::Taking;
            self.socket_changed(id);
        }
    }

    /// How many sockets have something to receive: each has one turn per `wait`, which is what makes it fair.
    pub(crate) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// The turn of the next ready socket: a piece of its stream in `buffer`, or the end of its recv.
    pub(crate) fn receive<'a>(&mut self, buffer: &'a mut Vec<u8>) -> Option<Completion<'a>> {
        let id = self.ready.pop_front()?;
        self.sockets[id.0].queued = false;
        // The recv may have ended while the socket stood in the list.
        let recv = self.sockets[id.0].in_flight.recv.as_mut()?;
        if self.faults.strikes(Fault::BuffersOut) {
            recv.state = RecvState::Starved;
            let serial = recv.serial;
            self.step_later(id, serial, Step::Buffer);
            return None;
        }
        let conn = self.conn_of(id);
        match self.sockets[id.0].readable() {
            Readable::Nothing => None,
            Readable::Eof | Readable::Failed(_) if self.failed_send_waits(conn) => {
                self.sockets[id.0].queued = true;
                self.ready.push_back(id);
                None
            }
            Readable::Bytes if self.recv_fails(id) => {
                let errno = *self.faults.dice().pick(&NO_MEMORY);
                self.sockets[id.0].harm.get_or_insert(Harm::RecvFailed(errno));
                Some(self.end_recv(id, RecvEnd::Failed(errno)))
            }
            Readable::Bytes => {
                let max = self.piece_max(id);
                self.sockets[id.0].read(max, buffer);
                self.socket_changed(id);
                Some(Completion::Received { conn, bytes: buffer })
            }
            Readable::Eof => Some(self.end_recv(id, RecvEnd::Eof)),
            Readable::Failed(errno) => {
                self.sockets[id.0].take_error();
                Some(self.end_recv(id, RecvEnd::Failed(errno)))
            }
        }
    }

    /// Whether a send that was handed the error has not been told yet: what it has left of the stream's end is told after it.
    fn failed_send_waits(&self, conn: ConnId) -> bool {
        let is_it = |news: &Completion<'_>| matches!(news, Completion::Sent { conn: of, result: Err(_), .. } if *of == conn);
        self.news.iter().any(is_it)
    }

    /// Once the connection is closing, nobody would notice.
    fn recv_fails(&mut self, id: SocketId) -> bool {
        !self.sockets[id.0].in_flight.is_closing() && self.faults.strikes(Fault::RecvFails)
    }

    fn piece_max(&mut self, id: SocketId) -> usize {
        let there = self.piece_bytes_max.min(self.sockets[id.0].unread_bytes() as usize);
        if there > 1 && self.faults.strikes(Fault::ReadPiece) { self.faults.part(there - 1) } else { there }
    }

    /// Ends a recv whose end is told at once; what it sets free is told after it.
    fn end_recv(&mut self, id: SocketId, end: RecvEnd) -> Completion<'static> {
        let conn = self.conn_of(id);
        self.sockets[id.0].in_flight.recv = None;
        self.join(id);
        self.wake_watch(id);
        Completion::RecvEnded { conn, end }
    }
}
