//! Sending, and shutting the sending side.
//!
//! Owns the way of a payload into the ring's keeping and back. Invariant: core gets back the very buffer that it gave, once,
//! when the kernel has let go of it.

use bytes::Bytes;
use heartring_core::{Completion, ConnId, Errno, Instant, OpKind};

use crate::backend::UringBackend;
use crate::completion::Cqe;
use crate::request_unsafe::Request;

impl UringBackend {
    pub(crate) fn send(&mut self, conn: ConnId, payload: Bytes, more: bool) {
        assert!(!payload.is_empty(), "{conn} sends nothing");
        self.begin(conn, OpKind::Send);
        let target = self.slots.target(conn);
        self.slots.get(conn).loan = self.ring.send(conn, target, payload, more);
    }

    pub(crate) fn send_ended(
        &mut self,
        conn: ConnId,
        cqe: Cqe,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) {
        self.end(conn, OpKind::Send);
        let slot = self.slots.get(conn);
        let result = match cqe.result() {
            Err(_) if slot.is_reset() => Err(Errno::ECANCELED),
            result => result.map(|sent| sent as usize),
        };
        let payload = self.ring.take_payload(slot.loan, cqe);
        sink(self.now, Completion::Sent { conn, payload, result });
        self.join(conn);
    }

    pub(crate) fn shutdown(&mut self, conn: ConnId) {
        self.begin(conn, OpKind::Shutdown);
        let target = self.slots.target(conn);
        self.ring.push(Request::shutdown(conn, target));
    }

    pub(crate) fn shutdown_ended(
        &mut self,
        conn: ConnId,
        result: Result<u32, Errno>,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) {
        self.end(conn, OpKind::Shutdown);
        sink(self.now, Completion::ShutDown { conn, result: result.map(drop) });
        self.join(conn);
    }
}
