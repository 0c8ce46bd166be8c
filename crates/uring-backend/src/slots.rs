//! What the backend remembers of each connection: 12 bytes.
//!
//! Owns the records, and beside them what few connections have: deadlines in flight, and, on old kernels, plain descriptors. It
//! does not decide anything. Invariant: a record is found
//! only under the id of its present occupant; whoever asks with another has a bug, and panics.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};

use heartring_core::{ConnId, Instant, ListenerId, OpSet};

use crate::request_unsafe::Target;

/// Where a slot is in the life of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Free,
    /// Reserved for the next client of the listener.
    Accepting(ListenerId),
    Open,
    /// Ops are ending; the socket is closed after the last.
    Closing(Ending),
}

/// How a closing socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As the kernel closes: what was sent is delivered.
    Orderly,
    /// The close resets the peer.
    Abortive,
    /// The peer was reset when the close began, and the errors of the ops in flight are of our own making.
    Reset,
}

/// One slot.
#[derive(Debug)]
pub(crate) struct Slot {
    generation: u32,
    /// The number of what is lent to the kernel: an address buffer while accepting, a payload while sending.
    pub(crate) loan: u32,
    pub(crate) phase: Phase,
    /// Ops without their terminal completion.
    pub(crate) ops: OpSet,
    /// The `Recv` in flight has no request in the kernel: it waits for a buffer.
    pub(crate) recv_parked: bool,
}

impl Slot {
    const fn free() -> Self {
        Self { generation: 0, loan: 0, phase: Phase::Free, ops: OpSet::EMPTY, recv_parked: false }
    }

    /// Whether an op that fails now fails because of our reset.
    pub(crate) const fn is_reset(&self) -> bool {
        self.phase.is_reset()
    }
}

impl Phase {
    /// Whether an op that fails now fails because of our reset.
    pub(crate) const fn is_reset(self) -> bool {
        matches!(self, Self::Closing(Ending::Reset))
    }

    pub(crate) const fn is_closing(self) -> bool {
        matches!(self, Self::Closing(_))
    }
}

/// All slots, as many as were ever used.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    records: Vec<Slot>,
    /// The sockets, by slot, where they are not direct descriptors; else it stays empty.
    fds: Vec<Option<OwnedFd>>,
    /// The leases of the `Recv`s in flight that have one.
    pub(crate) leases: Deadlines,
    /// The deadlines of the `Watch`es in flight.
    pub(crate) watches: Deadlines,
}

/// Deadlines of ops in flight, by slot. Under most strategies only those whose beat is overdue have one.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(HashMap<u32, Instant>);

impl Deadlines {
    pub(crate) fn set(&mut self, conn: ConnId, deadline: Instant) {
        self.0.insert(conn.slot(), deadline);
    }

    pub(crate) fn get(&self, conn: ConnId) -> Option<Instant> {
        self.0.get(&conn.slot()).copied()
    }

    pub(crate) fn clear(&mut self, conn: ConnId) {
        if self.0.remove(&conn.slot()).is_some() && self.0.is_empty() {
            self.0 = HashMap::new(); // What a mass of them needed is not kept for the next.
        }
    }
}

/// Slots for which memory is set aside at once. The kernel gives it page by page; what grows by being copied leaves its former
/// places behind.
const SET_ASIDE_MAX: u32 = 1 << 15;

impl Slots {
    /// For about so many slots; there may be more.
    pub(crate) fn new(slots: u32) -> Self {
        Self { records: Vec::with_capacity(slots.min(SET_ASIDE_MAX) as usize), ..Self::default() }
    }

    /// Gives a free slot to `conn`, which is about to be accepted from `listener`.
    pub(crate) fn occupy(&mut self, conn: ConnId, listener: ListenerId) -> &mut Slot {
        let index = conn.slot() as usize;
        if index >= self.records.len() {
            self.records.resize_with(index + 1, Slot::free);
        }
        let slot = &mut self.records[index];
        assert_eq!(slot.phase, Phase::Free, "{conn} is accepted into an occupied slot");
        *slot = Slot { generation: conn.generation(), phase: Phase::Accepting(listener), ..Slot::free() };
        slot
    }

    /// The slot of `conn`, which occupies it.
    pub(crate) fn get(&mut self, conn: ConnId) -> &mut Slot {
        self.find(conn).unwrap_or_else(|| panic!("{conn} does not exist"))
    }

    /// The slot of `conn`, if it still occupies it.
    pub(crate) fn find(&mut self, conn: ConnId) -> Option<&mut Slot> {
        let slot = self.records.get_mut(conn.slot() as usize)?;
        (slot.generation == conn.generation() && slot.phase != Phase::Free).then_some(slot)
    }

    /// The occupied slots and their ops in flight.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, OpSet)> {
        let slots = (0_u32..).zip(&self.records).filter(|(_, slot)| slot.phase != Phase::Free);
        slots.map(|(index, slot)| (ConnId::new(index, slot.generation), slot.ops))
    }

    /// Where the socket of `conn` is.
    pub(crate) fn target(&mut self, conn: ConnId) -> Target {
        match self.fd(conn) {
            Some(fd) => Target::Plain(fd.as_raw_fd()),
            None => Target::Direct(conn.slot()),
        }
    }

    /// The socket of `conn`, if it is a plain descriptor.
    pub(crate) fn fd(&mut self, conn: ConnId) -> Option<&OwnedFd> {
        self.get(conn); // It exists.
        self.fds.get(conn.slot() as usize)?.as_ref()
    }

    /// Gives `conn` its socket, a plain descriptor.
    pub(crate) fn put_fd(&mut self, conn: ConnId, fd: OwnedFd) {
        let index = conn.slot() as usize;
        if index >= self.fds.len() {
            self.fds.resize_with(index + 1, || None);
        }
        let before = self.fds[index].replace(fd);
        assert!(before.is_none(), "{conn} has a socket already");
    }

    /// Takes it away, to close it.
    pub(crate) fn take_fd(&mut self, conn: ConnId) -> Option<OwnedFd> {
        self.get(conn); // It exists.
        self.fds.get_mut(conn.slot() as usize)?.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_small() {
        assert!(size_of::<Slot>() <= 12, "{}", size_of::<Slot>());
    }

    #[test]
    fn only_the_present_occupant_is_found() {
        let mut slots = Slots::default();
        let (old, new) = (ConnId::new(5, 1), ConnId::new(5, 2));
        slots.occupy(old, ListenerId(0));
        assert!(slots.find(new).is_none());
        slots.get(old).phase = Phase::Free;
        slots.occupy(new, ListenerId(0));
        assert!(slots.find(old).is_none() && slots.find(new).is_some());
        assert!(slots.find(ConnId::new(6, 0)).is_none());
    }

    #[test]
    #[should_panic(expected = "occupied slot")]
    fn a_slot_has_one_occupant() {
        let mut slots = Slots::default();
        slots.occupy(ConnId::new(0, 1), ListenerId(0));
        slots.occupy(ConnId::new(0, 2), ListenerId(0));
    }
}
