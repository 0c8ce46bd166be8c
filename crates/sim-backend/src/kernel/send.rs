//! Sending, and the two ops beside it that are done on the spot: examining and shutting down.

use bytes::Bytes;
use heartring_core::{Completion, ConnId, Errno, SocketEvidence};

use super::Kernel;
use super::receive::NO_MEMORY;
use crate::agenda::Step;
use crate::fault::Fault;
use crate::in_flight::{Examination, Sending};
use crate::peer::Harm;
use crate::socket::SocketId;

impl Kernel {
    pub(super) fn send(&mut self, conn: ConnId, payload: Bytes) {
        let (id, serial) = (self.socket_of(conn), self.next_serial());
        let parked = self.faults.strikes(Fault::SendParks);
        self.sockets[id.0].in_flight.send = Some(Sending { serial, payload, parked });
        if parked {
            self.step_later(id, serial, Step::SendAgain);
        }
        self.socket_changed(id);
    }

    pub(super) fn send_again(&mut self, id: SocketId) {
        if let Some(send) = &mut self.sockets[id.0].in_flight.send {
            send.parked = false;
            self.try_send(id);
        }
    }

    /// Sends what there is room for, if a send is in flight. One that is parked still hears that it will never succeed.
    pub(super) fn try_send(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id.0];
        let hopeless = !socket.can_send();
        let Some(send) = socket.in_flight.send.take_if(|send| !send.parked || hopeless) else { return };
        let conn = self.conn_of(id);
        let (now, max) = (self.agenda.now(), self.send_max(id, send.payload.len()));
        let result = match max {
            Ok(max) => self.sockets[id.0].write(&send.payload, max, now),
            Err(errno) => Some(Err(errno)),
        };
        match result {
            Some(result) => self.ended(id, Completion::Sent { conn, payload: send.payload, result }),
            None => self.sockets[id.0].in_flight.send = Some(send),
        }
    }

    /// How much a send may take, or why it fails although the connection is well.
    fn send_max(&mut self, id: SocketId, length: usize) -> Result<usize, Errno> {
        let max = self.faults.send_bytes_max.unwrap_or(usize::MAX);
        let socket = &self.sockets[id.0];
        let room = socket.room().min(length);
        if !socket.can_send() || room == 0 {
            return Ok(max);
        }
        // Once the connection is closing, nobody would notice.
        if !socket.in_flight.is_closing() && self.faults.strikes(Fault::SendFails) {
            let errno = *self.faults.dice().pick(&NO_MEMORY);
            self.sockets[id.0].harm.get_or_insert(Harm::SendFailed(errno));
            return Err(errno);
        }
        if room > 1 && self.faults.strikes(Fault::SendShort) {
            return Ok(max.min(self.faults.part(room - 1)));
        }
        Ok(max)
    }

    pub(super) fn examine(&mut self, conn: ConnId) {
        let id = self.socket_of(conn);
        let evidence = self.evidence(id);
        if self.faults.strikes(Fault::ExamineLate) {
            let (serial, early) = (self.next_serial(), self.faults.coin());
            let seen = early.then_some(evidence);
            self.sockets[id.0].in_flight.examine = Some(Examination { serial, seen });
            return self.step_later(id, serial, Step::Examined);
        }
        self.news.push_back(Completion::Examined { conn, evidence });
    }

    pub(super) fn examined(&mut self, id: SocketId) {
        let conn = self.conn_of(id);
        let seen = self.sockets[id.0].in_flight.examine.take().and_then(|examination| examination.seen);
        let evidence = match seen {
            Some(seen) => seen,
            None => self.evidence(id),
        };
        self.ended(id, Completion::Examined { conn, evidence });
    }

    fn evidence(&mut self, id: SocketId) -> SocketEvidence {
        let evidence = self.sockets[id.0].evidence(self.agenda.now());
        if !self.faults.strikes(Fault::ExamineBlank) {
            return evidence;
        }
        // A bit for each part that is known; never all three.
        let known = self.faults.dice().below(7);
        SocketEvidence {
            unread: evidence.unread.filter(|_| known & 1 != 0),
            unsent: evidence.unsent.filter(|_| known & 2 != 0),
            tcp: evidence.tcp.filter(|_| known & 4 != 0),
        }
    }

    pub(super) fn shut_down(&mut self, conn: ConnId) {
        let (id, serial) = (self.socket_of(conn), self.next_serial());
        self.sockets[id.0].in_flight.shutdown = Some(serial);
        if self.faults.strikes(Fault::ShutdownLate) {
            self.step_later(id, serial, Step::ShutDown);
        } else {
            self.shutdown_done(id);
        }
    }

    pub(super) fn shutdown_done(&mut self, id: SocketId) {
        let conn = self.conn_of(id);
        let result = self.sockets[id.0].shut_down();
        self.sockets[id.0].in_flight.shutdown = None;
        self.ended(id, Completion::ShutDown { conn, result });
        self.socket_changed(id);
    }
}
