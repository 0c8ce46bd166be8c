//! Watching: byte or deadline, whichever comes first.

use heartring_core::{Completion, ConnId, Errno, Instant, WatchEnd};

use super::Kernel;
use crate::agenda::Step;
use crate::fault::Fault;
use crate::in_flight::Watch;
use crate::socket::{Readable, SocketId};

impl Kernel {
    pub(super) fn watch(&mut self, conn: ConnId, deadline: Instant) {
        if self.faults.strikes(Fault::WatchFails) {
            let end = WatchEnd::Failed(Errno::ENOMEM);
            return self.news.push_back(Completion::WatchEnded { conn, end });
        }
        let (id, serial) = (self.socket_of(conn), self.next_serial());
        self.sockets[id.0].in_flight.watch = Some(Watch { serial, deadline, woken: false });
        self.step_at(deadline, id, serial, Step::WatchDue);
        self.socket_changed(id);
    }

    /// Tells the watch that there is something to read, if there is.
    ///
    /// It may miss bytes only while there is a recv that will take them, and never what stays: the end of the stream.
    pub(super) fn wake_watch(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id.0];
        if socket.readable() == Readable::Nothing {
            return;
        }
        let may_miss = socket.has_only_bytes() && socket.in_flight.recv.is_some();
        let Some(watch) = socket.in_flight.watch.as_mut().filter(|watch| !watch.woken) else { return };
        if may_miss && self.faults.strikes(Fault::WatchMissesBytes) {
            return;
        }
        watch.woken = true;
        let serial = watch.serial;
        if self.faults.strikes(Fault::WatchReadyLate) {
            self.step_later(id, serial, Step::WatchReady);
        } else {
            self.end_watch(id, WatchEnd::Ready);
        }
    }

    pub(super) fn watch_due(&mut self, id: SocketId, serial: u64) {
        if self.faults.strikes(Fault::WatchLate) {
            self.step_later(id, serial, Step::WatchOver);
        } else {
            self.watch_over(id);
        }
    }

    /// Its deadline, unless something has woken it. What it has missed and the recv has not taken is seen now.
    pub(super) fn watch_over(&mut self, id: SocketId) {
        let socket = &self.sockets[id.0];
        if socket.in_flight.watch.as_ref().is_some_and(|watch| watch.woken) {
            return;
        }
        let silent = socket.readable() == Readable::Nothing;
        self.end_watch(id, if silent { WatchEnd::Expired } else { WatchEnd::Ready });
    }

    pub(super) fn watch_ready(&mut self, id: SocketId) {
        self.end_watch(id, WatchEnd::Ready);
    }

    pub(super) fn end_watch(&mut self, id: SocketId, end: WatchEnd) {
        let conn = self.conn_of(id);
        self.sockets[id.0].in_flight.watch = None;
        self.ended(id, Completion::WatchEnded { conn, end });
    }
}
