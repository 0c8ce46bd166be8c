//! The caller's half of the contract: which ops core may submit for which connection. Everything here asserts.
//!
//! This is core's view, not the kernel's: an op is in flight from `submit` until its terminal completion was told.

use heartring_core::{BackendConfig, Completion, ConnId, Op, OpKind, OpSet};

/// The occupant of one slot.
#[derive(Clone, Copy, Debug)]
struct Occupant {
    conn: ConnId,
    /// `Accepted` was told.
    accepted: bool,
    in_flight: OpSet,
}

/// All slots.
pub(crate) struct Slots {
    occupants: Vec<Option<Occupant>>,
    /// The generation that each slot had last: the next one must differ.
    last: Vec<Option<u32>>,
}

impl Slots {
    pub(crate) fn new(config: &BackendConfig) -> Self {
        let slots = config.slots as usize;
        Self { occupants: vec![None; slots], last: vec![None; slots] }
    }

    /// Checks clause 3 and notes the op. Returns its kind; `None` for `Unlisten`, which belongs to no connection.
    pub(crate) fn submitted(&mut self, op: &Op) -> Option<OpKind> {
        let (conn, kind) = match *op {
            Op::Accept { conn, .. } => {
                self.reserve(conn);
                (conn, OpKind::Accept)
            }
            Op::Recv { conn, .. } => (conn, OpKind::Recv),
            Op::Watch { conn, .. } => (conn, OpKind::Watch),
            Op::Send { conn, ref payload, .. } => {
                assert!(!payload.is_empty(), "{conn}: a send of nothing");
                (conn, OpKind::Send)
            }
            Op::Examine { conn } => (conn, OpKind::Examine),
            Op::Shutdown { conn } => (conn, OpKind::Shutdown),
            Op::Close { conn, .. } => (conn, OpKind::Close),
            Op::Unlisten { .. } => return None,
        };
        let occupant = self.occupant(conn, kind);
        let before = occupant.in_flight;
        assert!(kind == OpKind::Accept || occupant.accepted, "{conn}: {kind:?} before Accepted");
        assert!(!before.contains(OpKind::Close), "{conn}: {kind:?} after Close");
        assert!(
            kind != OpKind::Watch || before.contains(OpKind::Recv),
            "{conn}: a Watch needs a Recv in flight"
        );
        assert!(occupant.in_flight.insert(kind), "{conn}: a second {kind:?} in flight");
        Some(kind)
    }

    /// Notes a completion. Returns the kind of the op that it ends, if it ends one of a connection.
    pub(crate) fn told(&mut self, completion: &Completion<'_>) -> Option<OpKind> {
        let (conn, kind) = match *completion {
            Completion::Accepted { conn, .. } | Completion::AcceptFailed { conn, .. } => {
                (conn, OpKind::Accept)
            }
            Completion::Received { .. } | Completion::Unlistened { .. } | Completion::Woken => return None,
            Completion::RecvEnded { conn, .. } => (conn, OpKind::Recv),
            Completion::WatchEnded { conn, .. } => (conn, OpKind::Watch),
            Completion::Sent { conn, .. } => (conn, OpKind::Send),
            Completion::Examined { conn, .. } => (conn, OpKind::Examine),
            Completion::ShutDown { conn, .. } => (conn, OpKind::Shutdown),
            Completion::Closed { conn } => (conn, OpKind::Close),
        };
        let occupant = self.occupant(conn, kind);
        assert!(occupant.in_flight.remove(kind), "{conn}: {kind:?} ended without being in flight");
        occupant.accepted |= matches!(completion, Completion::Accepted { .. });
        if matches!(completion, Completion::AcceptFailed { .. } | Completion::Closed { .. }) {
            assert!(occupant.in_flight.is_empty(), "{conn}: freed with ops in flight");
            self.occupants[conn.slot() as usize] = None;
        }
        Some(kind)
    }

    fn reserve(&mut self, conn: ConnId) {
        let slot = conn.slot() as usize;
        assert!(slot < self.occupants.len(), "{conn}: beyond the {} slots", self.occupants.len());
        assert!(self.occupants[slot].is_none(), "{conn}: the slot holds {:?}", self.occupants[slot]);
        assert!(self.last[slot] != Some(conn.generation()), "{conn}: a generation was used twice");
        self.last[slot] = Some(conn.generation());
        self.occupants[slot] = Some(Occupant { conn, accepted: false, in_flight: OpSet::EMPTY });
    }

    fn occupant(&mut self, conn: ConnId, kind: OpKind) -> &mut Occupant {
        let occupant = self.occupants.get_mut(conn.slot() as usize).and_then(Option::as_mut);
        match occupant.filter(|occupant| occupant.conn == conn) {
            Some(occupant) => occupant,
            None => panic!("{conn}: {kind:?} for a connection that does not exist"),
        }
    }
}

#[cfg(test)]
mod tests {
    use heartring_core::{CloseHow, ListenerId, WatchEnd};

    use super::*;

    const CONN: ConnId = ConnId::new(3, 1);

    fn accepted() -> Slots {
        let mut slots = Slots::new(&BackendConfig::default());
        slots.submitted(&Op::Accept { listener: ListenerId(0), conn: CONN });
        let peer = "10.0.0.1:1".parse().unwrap();
        slots.told(&Completion::Accepted { listener: ListenerId(0), conn: CONN, peer });
        slots
    }

    #[test]
    #[should_panic(expected = "3.1: Recv before Accepted")]
    fn an_op_before_accepted_is_refused() {
        let mut slots = Slots::new(&BackendConfig::default());
        slots.submitted(&Op::Accept { listener: ListenerId(0), conn: CONN });
        slots.submitted(&Op::Recv { conn: CONN, deadline: None });
    }

    #[test]
    #[should_panic(expected = "3.1: a second Recv in flight")]
    fn a_second_op_of_one_kind_is_refused() {
        let mut slots = accepted();
        slots.submitted(&Op::Recv { conn: CONN, deadline: None });
        slots.submitted(&Op::Recv { conn: CONN, deadline: None });
    }

    #[test]
    #[should_panic(expected = "3.1: Examine after Close")]
    fn an_op_after_close_is_refused() {
        let mut slots = accepted();
        slots.submitted(&Op::Close { conn: CONN, how: CloseHow::Orderly });
        slots.submitted(&Op::Examine { conn: CONN });
    }

    #[test]
    #[should_panic(expected = "3.1: Watch ended without being in flight")]
    fn a_second_terminal_completion_is_a_bug_of_the_simulator() {
        let mut slots = accepted();
        slots.told(&Completion::WatchEnded { conn: CONN, end: WatchEnd::Expired });
    }
}
