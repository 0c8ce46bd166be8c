//! The ops in flight on one socket, as the kernel knows them.
//!
//! Each carries a serial number, unique for ever. What the agenda holds for an op names that number, so that it does
//! nothing when the op has ended meanwhile.

use bytes::Bytes;
use heartring_core::{CloseHow, Instant, SocketEvidence};

/// A recv.
pub(crate) struct Recv {
    pub(crate) serial: u64,
    pub(crate) state: RecvState,
}

/// What a recv does about bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecvState {
    /// It takes them.
    Taking,
    /// There is no buffer to take them into.
    Starved,
    /// Its lease is over, which nobody has noticed. When they arrive, it will be.
    Overdue,
}

/// A watch.
pub(crate) struct Watch {
    pub(crate) serial: u64,
    pub(crate) deadline: Instant,
    /// Something came: it will say so, and its deadline does not count any more.
    pub(crate) woken: bool,
}

/// A send.
pub(crate) struct Sending {
    pub(crate) serial: u64,
    pub(crate) payload: Bytes,
    /// It waits although the buffer has room.
    pub(crate) parked: bool,
}

/// An examination that takes its time.
pub(crate) struct Examination {
    pub(crate) serial: u64,
    /// What it saw at its beginning. Else it looks at its end.
    pub(crate) seen: Option<SocketEvidence>,
}

/// The ops in flight on one socket.
#[derive(Default)]
pub(crate) struct InFlight {
    pub(crate) recv: Option<Recv>,
    pub(crate) watch: Option<Watch>,
    pub(crate) send: Option<Sending>,
    pub(crate) examine: Option<Examination>,
    /// The serial number of a shutdown that takes its time.
    pub(crate) shutdown: Option<u64>,
    /// It waits for all the others.
    pub(crate) close: Option<CloseHow>,
}

impl InFlight {
    /// Whether nothing is left for a close to wait for.
    pub(crate) fn is_joined(&self) -> bool {
        self.cancellable().all(|op| op.is_none()) && self.examine.is_none() && self.shutdown.is_none()
    }

    /// Whether the op with this number is still in flight.
    pub(crate) fn contains(&self, serial: u64) -> bool {
        let examine = self.examine.as_ref().map(|examination| examination.serial);
        self.cancellable().chain([examine, self.shutdown]).any(|op| op == Some(serial))
    }

    /// The serial numbers of the ops that a close cancels; the others come to their end by themselves.
    pub(crate) fn cancellable(&self) -> impl Iterator<Item = Option<u64>> + use<> {
        [
            self.recv.as_ref().map(|recv| recv.serial),
            self.watch.as_ref().map(|watch| watch.serial),
            self.send.as_ref().map(|send| send.serial),
        ]
        .into_iter()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.close.is_some()
    }
}
