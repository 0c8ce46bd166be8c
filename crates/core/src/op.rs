//! The boundary is data: what core asks of a backend ([`Op`]) and what it is told ([`Completion`]).
//!
//! Both are plain enums, so that a turn can be asserted, logged, replayed, fuzzed and simulated. The rules that bind
//! the two together are written on [`Backend`](crate::Backend).

use std::net::SocketAddr;

use bytes::Bytes;

use crate::errno::Errno;
use crate::evidence::SocketEvidence;
use crate::id::{ConnId, ListenerId};
use crate::time::Instant;

/// What core asks of a backend. Each op ends with exactly one terminal [`Completion`].
#[derive(Debug)]
pub enum Op {
    /// Take one client from the listener's queue and bind it to `conn`, whose slot core has reserved. Several may be
    /// in flight on one listener. Ends with [`Completion::Accepted`] or [`Completion::AcceptFailed`].
    Accept {
        /// Whose queue.
        listener: ListenerId,
        /// The reserved slot.
        conn: ConnId,
    },
    /// Deliver everything that the peer sends, as a stream of [`Completion::Received`] that ends with
    /// [`Completion::RecvEnded`].
    Recv {
        /// The connection.
        conn: ConnId,
        /// The lease: at this instant the stream ends with [`RecvEnd::Expired`], however much was received before.
        deadline: Option<Instant>,
    },
    /// Judge between the next byte and a deadline, while a `Recv` of the same connection is in flight. Ends with
    /// [`Completion::WatchEnded`].
    Watch {
        /// The connection.
        conn: ConnId,
        /// When silence becomes a verdict.
        deadline: Instant,
    },
    /// Send from the front of `payload` as much as the socket takes. Ends with [`Completion::Sent`], which gives the
    /// payload back.
    Send {
        /// The connection.
        conn: ConnId,
        /// Not empty. The backend owns it until the completion.
        payload: Bytes,
        /// Another `Send` of this connection follows at once: TCP may wait for it to fill a segment (`MSG_MORE`).
        more: bool,
    },
    /// Collect what the kernel knows about the connection. Ends with [`Completion::Examined`].
    Examine {
        /// The connection.
        conn: ConnId,
    },
    /// Shut our sending side (`SHUT_WR`): a FIN follows what was sent. Receiving goes on. Ends with
    /// [`Completion::ShutDown`].
    Shutdown {
        /// The connection.
        conn: ConnId,
    },
    /// End every op of the connection that is in flight, wait until each has had its terminal completion, and close the
    /// socket. Ends with [`Completion::Closed`], the last completion of this [`ConnId`].
    Close {
        /// The connection.
        conn: ConnId,
        /// Orderly or abortive.
        how: CloseHow,
    },
    /// Close the listener. Every `Accept` in flight on it ends first. Ends with [`Completion::Unlistened`].
    Unlisten {
        /// The listener.
        listener: ListenerId,
    },
}

/// How a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseHow {
    /// `close`: the kernel still delivers what was sent, then a FIN. For peers that are known to be there.
    Orderly,
    /// `close` with `SO_LINGER` 0: the peer gets an RST and nothing stays in the kernel. For peers that are dead, slow
    /// or replaced: towards a dead peer an orderly close leaves an orphan for minutes.
    Abortive,
}

/// The kinds of [`Op`] that belong to a connection, as bits of [`OpSet`]. Of each kind at most one is in flight per
/// connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpKind {
    /// [`Op::Accept`]
    Accept = 0,
    /// [`Op::Recv`]
    Recv = 1,
    /// [`Op::Watch`]
    Watch = 2,
    /// [`Op::Send`]
    Send = 3,
    /// [`Op::Examine`]
    Examine = 4,
    /// [`Op::Shutdown`]
    Shutdown = 5,
    /// [`Op::Close`]
    Close = 6,
}

impl OpKind {
    /// How many kinds there are.
    pub const COUNT: usize = 7;

    /// All kinds, in the order of their bits.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Accept, Self::Recv, Self::Watch, Self::Send, Self::Examine, Self::Shutdown, Self::Close];
}

/// A set of [`OpKind`]s: which ops of one connection are in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpSet(u8);

impl OpSet {
    /// No op.
    pub const EMPTY: Self = Self(0);

    /// Whether `kind` is in the set.
    pub const fn contains(self, kind: OpKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds `kind`; false if it was there already.
    pub const fn insert(&mut self, kind: OpKind) -> bool {
        let new = !self.contains(kind);
        self.0 |= 1 << kind as u8;
        new
    }

    /// Takes `kind` out; false if it was not there.
    pub const fn remove(&mut self, kind: OpKind) -> bool {
        let was = self.contains(kind);
        self.0 &= !(1 << kind as u8);
        was
    }
}

/// What a backend tells core. `Received` is an item of a stream, `Woken` belongs to no op; all others are terminal.
#[derive(Debug)]
pub enum Completion<'a> {
    /// A client was taken from the queue. Ends an [`Op::Accept`].
    Accepted {
        /// Whose queue.
        listener: ListenerId,
        /// The connection it is now.
        conn: ConnId,
        /// The client's address, as `accept` returned it: asking for it later can fail.
        peer: SocketAddr,
    },
    /// No client came of it. Ends an [`Op::Accept`]; the slot is core's to reuse.
    AcceptFailed {
        /// Whose queue.
        listener: ListenerId,
        /// The slot that had been reserved.
        conn: ConnId,
        /// Why; `ECANCELED` if the listener is being closed.
        errno: Errno,
    },
    /// The next bytes of the stream, never empty. They are borrowed for the call.
    Received {
        /// The connection.
        conn: ConnId,
        /// The bytes, in order, each once.
        bytes: &'a [u8],
    },
    /// No more bytes from this [`Op::Recv`].
    RecvEnded {
        /// The connection.
        conn: ConnId,
        /// Why.
        end: RecvEnd,
    },
    /// The judgement of an [`Op::Watch`].
    WatchEnded {
        /// The connection.
        conn: ConnId,
        /// Byte or deadline.
        end: WatchEnd,
    },
    /// Ends an [`Op::Send`].
    Sent {
        /// The connection.
        conn: ConnId,
        /// What the op owned, unchanged.
        payload: Bytes,
        /// How many bytes from its front the socket took: at least one, and possibly not all.
        result: Result<usize, Errno>,
    },
    /// Ends an [`Op::Examine`].
    Examined {
        /// The connection.
        conn: ConnId,
        /// What the kernel knows.
        evidence: SocketEvidence,
    },
    /// Ends an [`Op::Shutdown`].
    ShutDown {
        /// The connection.
        conn: ConnId,
        /// `ENOTCONN` if the peer was gone already.
        result: Result<(), Errno>,
    },
    /// Ends an [`Op::Close`]: the socket is closed and nothing of this id is in flight any more.
    Closed {
        /// The id that has ceased to exist.
        conn: ConnId,
    },
    /// Ends an [`Op::Unlisten`]: the listening socket is closed.
    Unlistened {
        /// The listener.
        listener: ListenerId,
    },
    /// Another thread called [`Wake::wake`](crate::Wake::wake), once or several times.
    Woken,
}

/// Why a stream of received bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvEnd {
    /// The peer has shut its sending side (FIN), after all the bytes before it.
    Eof,
    /// The lease of the op ran out. Bytes may be left in the socket: the next `Recv` delivers them.
    Expired,
    /// The socket has failed. The kernel hands out an error once, after the bytes that came before it.
    Failed(Errno),
    /// An [`Op::Close`] ended it.
    Cancelled,
}

/// What a watch saw first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchEnd {
    /// Something to read (bytes, a FIN or an error) came before the deadline.
    Ready,
    /// Nothing came before the deadline. By now something may have.
    Expired,
    /// An [`Op::Close`] ended it.
    Cancelled,
    /// The kernel could not watch (for example `ENOMEM`): core must judge by its own clock.
    Failed(Errno),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_op_set_holds_each_kind_once() {
        let mut set = OpSet::EMPTY;
        for kind in OpKind::ALL {
            assert!(set.insert(kind) && !set.insert(kind), "{kind:?}");
        }
        for kind in OpKind::ALL {
            assert!(set.remove(kind) && !set.remove(kind), "{kind:?}");
        }
        assert!(set.is_empty());
    }

    #[test]
    fn an_op_is_small_enough_to_move() {
        assert!(size_of::<Op>() <= 56, "{}", size_of::<Op>());
    }
}
