//! Closing: mark, reset or cancel, join, close.
//!
//! Owns the only way by which a connection's socket is closed and its slot freed. Invariant: the socket is closed after the
//! last completion of the connection's other requests. A descriptor that is closed under a parked receive sends no FIN,
//! and its data would arrive under the old name while the slot has a new occupant.
//!
//! An abortive close of a direct descriptor begins with the reset: the peer reads ECONNRESET, TCP forgets the connection, and
//! whatever was parked on the socket ends by itself. To cancel it by name costs a walk of the kernel's hash chain, which
//! grows with the ring, and SO_LINGER another command. Plain descriptors are those of old kernels, and what costs less there
//! was not measured.

use std::os::fd::AsFd;

use heartring_core::{CloseHow, Completion, ConnId, Errno, Instant, OpKind, OpSet};

use crate::backend::{Settled, UringBackend};
use crate::request_unsafe::{Request, Target};
use crate::slots::{Ending, Phase};
use crate::user_data::{Kind, UserData};

/// Ops that wait for the peer: only a cancellation is sure to end them. The others end by themselves.
const CANCELLED: [(OpKind, Kind); 3] =
    [(OpKind::Recv, Kind::Recv), (OpKind::Watch, Kind::Watch), (OpKind::Send, Kind::Send)];

/// Everything has ended but the close.
const JOINED: OpSet = {
    let mut set = OpSet::EMPTY;
    set.insert(OpKind::Close);
    set
};

/// The end of the backend. The ring cancels whatever it has left; cancelled by name first, that is next to nothing, where
/// finding 20 000 requests without their names takes the kernel seconds.
impl Drop for UringBackend {
    fn drop(&mut self) {
        self.waker.retire();
        self.messages.ring_instead();
        self.ring.cancel_now(UserData::wake());
        self.ring.cancel_now(UserData::alarm());
        for (conn, ops) in self.slots.iter() {
            for (op, request) in CANCELLED.into_iter().chain([(OpKind::Accept, Kind::Accept)]) {
                if ops.contains(op) {
                    self.ring.cancel_now(UserData::new(request, conn));
                }
            }
        }
    }
}

impl UringBackend {
    pub(crate) fn close(&mut self, conn: ConnId, how: CloseHow) {
        self.begin(conn, OpKind::Close);
        let ending = match (how, self.slots.target(conn)) {
            (CloseHow::Orderly, _) => Ending::Orderly,
            (CloseHow::Abortive, Target::Direct(_)) if self.resets => Ending::Reset,
            (CloseHow::Abortive, _) => Ending::Abortive,
        };
        self.slots.get(conn).phase = Phase::Closing(ending);
        match ending {
            Ending::Reset => self.ring.push(Request::reset(conn)),
            Ending::Orderly | Ending::Abortive => self.cancel_ops(conn),
        }
        if std::mem::take(&mut self.slots.get(conn).recv_parked) {
            self.settled.push_back(Settled::RecvCancelled(conn));
        }
        self.join(conn);
    }

    /// Cancels what waits for the peer in the kernel.
    fn cancel_ops(&mut self, conn: ConnId) {
        let slot = self.slots.get(conn);
        let (ops, parked) = (slot.ops, slot.recv_parked);
        for (op, request) in CANCELLED {
            if ops.contains(op) && !(parked && op == OpKind::Recv) {
                self.ring.push(Request::cancel(request, conn));
            }
        }
    }

    /// A kernel without it, or a security module that forbids it, will not be asked again. The close that met it goes on by
    /// cancellation; if nothing was in flight, the descriptor is closed already, and in order.
    pub(crate) fn reset_refused(&mut self, conn: ConnId, result: Result<u32, Errno>) {
        if std::mem::take(&mut self.resets) {
            tracing::debug!(?result, "io_uring: connections are not reset by connect(AF_UNSPEC) here");
        }
        let Some(slot) = self.slots.find(conn) else { return };
        if slot.is_reset() && slot.ops != JOINED {
            slot.phase = Phase::Closing(Ending::Abortive);
            self.cancel_ops(conn);
        }
    }

    /// Closes the socket of `conn` if it is closing and everything else has ended. Called after every end of an op.
    pub(crate) fn join(&mut self, conn: ConnId) {
        let slot = self.slots.get(conn);
        let Phase::Closing(ending) = slot.phase else { return };
        if slot.ops != JOINED {
            return;
        }
        match (self.slots.target(conn), ending) {
            (Target::Plain(_), _) => self.settled.push_back(Settled::Close(conn)),
            (Target::Direct(_), Ending::Orderly | Ending::Reset) => self.ring.push(Request::close(conn)),
            (Target::Direct(_), Ending::Abortive) => self.ring.push(Request::close_abortively(conn)),
        }
    }

    pub(crate) fn close_plain(&mut self, conn: ConnId, sink: &mut impl FnMut(Instant, Completion<'_>)) {
        let (phase, fd) = (self.slots.get(conn).phase, self.slots.take_fd(conn));
        if let (Some(fd), Phase::Closing(Ending::Abortive)) = (&fd, phase)
            && let Err(error) = heartring_socket::set_abortive(fd.as_fd())
        {
            tracing::debug!(%conn, %error, "SO_LINGER was refused: the close is orderly");
        }
        drop(fd);
        self.closed(conn, sink);
    }

    pub(crate) fn linger_ended(conn: ConnId, result: Result<u32, Errno>) {
        if let Err(errno) = result {
            tracing::debug!(%conn, %errno, "SO_LINGER was refused: the close is orderly");
        }
    }

    pub(crate) fn close_ended(
        &mut self,
        conn: ConnId,
        result: Result<u32, Errno>,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) {
        debug_assert!(result.is_ok(), "{conn}: an occupied slot can be closed, but: {result:?}");
        self.closed(conn, sink);
    }

    fn closed(&mut self, conn: ConnId, sink: &mut impl FnMut(Instant, Completion<'_>)) {
        self.end(conn, OpKind::Close);
        self.slots.get(conn).phase = Phase::Free;
        self.ledger.sockets -= 1;
        sink(self.now, Completion::Closed { conn });
    }
}
