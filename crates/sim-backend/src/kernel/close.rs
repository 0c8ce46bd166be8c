//! Closing: cancel what is in flight, join it, then close.

use heartring_core::{CloseHow, Completion, ConnId, Errno, RecvEnd, WatchEnd};

use super::Kernel;
use crate::agenda::Step;
use crate::fault::Fault;
use crate::in_flight::{RecvState, Sending};
use crate::socket::{Readable, SocketId};

impl Kernel {
    pub(super) fn close(&mut self, conn: ConnId, how: CloseHow) {
        let id = self.socket_of(conn);
        let in_flight = &mut self.sockets[id.0].in_flight;
        in_flight.close = Some(how);
        for serial in in_flight.cancellable().flatten() {
            if self.faults.strikes(Fault::CloseJoinsSlowly) {
                self.step_later(id, serial, Step::Cancel);
            } else {
                self.cancel(id, serial);
            }
        }
        self.join(id);
    }

    /// Cancels an op, unless it is just about to end by itself.
    pub(super) fn cancel(&mut self, id: SocketId, serial: u64) {
        let in_flight = &self.sockets[id.0].in_flight;
        if in_flight.recv.as_ref().is_some_and(|recv| recv.serial == serial) {
            self.cancel_recv(id, serial);
        } else if in_flight.watch.as_ref().is_some_and(|watch| watch.serial == serial) {
            self.cancel_watch(id);
        } else if let Some(send) = self.sockets[id.0].in_flight.send.take_if(|send| send.serial == serial) {
            self.cancel_send(id, send);
        }
    }

    fn cancel_recv(&mut self, id: SocketId, serial: u64) {
        let socket = &mut self.sockets[id.0];
        let takes = socket.in_flight.recv.as_ref().is_some_and(|recv| recv.state == RecvState::Taking);
        let delivers = takes && socket.readable() == Readable::Bytes;
        if delivers && self.faults.strikes(Fault::ReceivedAfterClose) {
            // It has its turn in this `wait`, and then it is cancelled again.
            return self.step_later(id, serial, Step::Cancel);
        }
        socket.in_flight.recv = None;
        let conn = self.conn_of(id);
        self.ended(id, Completion::RecvEnded { conn, end: RecvEnd::Cancelled });
    }

    fn cancel_watch(&mut self, id: SocketId) {
        let horizon = self.agenda.now() + self.faults.delay_max();
        let socket = &self.sockets[id.0];
        let Some(watch) = &socket.in_flight.watch else { return };
        let ready = socket.readable() != Readable::Nothing;
        let soon = ready || watch.woken || watch.deadline <= horizon;
        if !(soon && self.faults.strikes(Fault::WatchedAfterClose)) {
            return self.end_watch(id, WatchEnd::Cancelled);
        }
        if ready && !watch.woken {
            self.end_watch(id, WatchEnd::Ready);
        }
        // Else it ends by itself.
    }

    fn cancel_send(&mut self, id: SocketId, send: Sending) {
        let (now, socket) = (self.agenda.now(), &mut self.sockets[id.0]);
        let sends = socket.can_send() && socket.room() > 0;
        let result = if sends && self.faults.strikes(Fault::SentAfterClose) {
            socket.write(&send.payload, usize::MAX, now).expect("there is room")
        } else {
            Err(Errno::ECANCELED)
        };
        let conn = self.conn_of(id);
        self.ended(id, Completion::Sent { conn, payload: send.payload, result });
    }

    /// Closes the socket if a close waits for nothing any more.
    pub(super) fn join(&mut self, id: SocketId) {
        let in_flight = &mut self.sockets[id.0].in_flight;
        let Some(how) = in_flight.close.filter(|_| in_flight.is_joined()) else { return };
        let conn = self.conn_of(id);
        self.sockets[id.0].close(how == CloseHow::Abortive);
        self.slots[conn.slot() as usize] = None;
        self.news.push_back(Completion::Closed { conn });
    }
}
