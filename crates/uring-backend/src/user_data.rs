//! Names of requests in the kernel: what a request does, and for which connection, in the 64 bits that come back.
//!
//! Owns the layout, kind 8 bits | generation 32 | slot 24, and nothing else. Invariant: no two requests that the kernel
//! holds at one time bear the same name. A linked timeout and a cancellation find their victim by name, and with
//! duplicates they were seen to hit the wrong connection. It holds because core keeps at most one op of each kind in
//! flight per connection, and because each op is at most one request of its [`Kind`] at a time.

use heartring_core::ConnId;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Accept into the slot.
    Accept = 1,
    /// Multishot receive.
    Recv,
    /// The timeout linked to a `Recv`: the lease.
    RecvDeadline,
    /// Poll for the next byte.
    Watch,
    /// The timeout linked to a `Watch`.
    WatchDeadline,
    /// Send one payload.
    Send,
    /// Install the direct descriptor as a plain one, to ask it for TCP_INFO.
    Examine,
    /// Ask only for SIOCINQ, when no plain descriptor was to be had.
    ExamineUnread,
    /// Shut the sending side.
    Shutdown,
    /// Reset the connection.
    Reset,
    /// Set SO_LINGER to zero before an abortive close.
    Linger,
    /// Close the direct descriptor.
    Close,
    /// Cancel another request, of the connection or of a listener.
    Cancel,
    /// Watch the eventfd of the wakers; the connection means nothing.
    Wake,
    /// Send a message to another ring; the slot is the message's number.
    Message,
    /// No request of this ring, but a message from another; the connection means nothing.
    Rung,
    /// The timer that ends sleeps; the connection means nothing.
    Alarm,
}

impl Kind {
    /// In the order of their numbers, which start at one: a `user_data` of zero is nobody's.
    const ALL: [Self; 17] = [
        Self::Accept,
        Self::Recv,
        Self::RecvDeadline,
        Self::Watch,
        Self::WatchDeadline,
        Self::Send,
        Self::Examine,
        Self::ExamineUnread,
        Self::Shutdown,
        Self::Reset,
        Self::Linger,
        Self::Close,
        Self::Cancel,
        Self::Wake,
        Self::Message,
        Self::Rung,
        Self::Alarm,
    ];

    /// Whether the kernel owes a request of this kind exactly one final completion. The others complete only when they
    /// fail, and a message from another ring is nobody's request.
    pub(crate) const fn is_owed(self) -> bool {
        !matches!(
            self,
            Self::Cancel
                | Self::Reset
                | Self::RecvDeadline
                | Self::WatchDeadline
                | Self::Message
                | Self::Rung
        )
    }
}

/// The name of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserData(u64);

impl UserData {
    const SLOT_BITS: u32 = 24;
    const KIND_SHIFT: u32 = 56;

    pub(crate) const fn new(kind: Kind, conn: ConnId) -> Self {
        let (slot, generation) = (conn.slot() as u64, conn.generation() as u64);
        Self((kind as u64) << Self::KIND_SHIFT | generation << Self::SLOT_BITS | slot)
    }

    /// The name of the request that watches the wakers' eventfd.
    pub(crate) const fn wake() -> Self {
        Self::new(Kind::Wake, ConnId::new(0, 0))
    }

    /// The name of a message from another ring.
    pub(crate) const fn rung() -> Self {
        Self::new(Kind::Rung, ConnId::new(0, 0))
    }

    /// The name of the timer that ends sleeps.
    pub(crate) const fn alarm() -> Self {
        Self::new(Kind::Alarm, ConnId::new(0, 0))
    }

    pub(crate) const fn raw(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// What it names.
    ///
    /// # Panics
    ///
    /// If no request can have had this name.
    pub(crate) fn parts(self) -> (Kind, ConnId) {
        let number = (self.0 >> Self::KIND_SHIFT) as usize;
        assert!((1..=Kind::ALL.len()).contains(&number), "a completion of nobody's request: {:#x}", self.0);
        let generation = (self.0 >> Self::SLOT_BITS) as u32;
        let slot = self.0 as u32 & ConnId::SLOT_MAX;
        (Kind::ALL[number - 1], ConnId::new(slot, generation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_survives_the_round_trip() {
        let ids = [
            ConnId::new(0, 0),
            ConnId::new(ConnId::SLOT_MAX, 0),
            ConnId::new(0, u32::MAX),
            ConnId::new(0x00a5_5a01, 0xdead_beef),
        ];
        for kind in Kind::ALL {
            for conn in ids {
                let name = UserData::new(kind, conn);
                assert_eq!(UserData::from_raw(name.raw()).parts(), (kind, conn));
            }
        }
    }

    #[test]
    fn names_of_different_requests_differ() {
        let conn = ConnId::new(7, 3);
        let mut names: Vec<u64> = Kind::ALL.iter().map(|&kind| UserData::new(kind, conn).raw()).collect();
        names.extend([ConnId::new(8, 3), ConnId::new(7, 4)].map(|c| UserData::new(Kind::Recv, c).raw()));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len() + 2);
    }

    #[test]
    #[should_panic(expected = "nobody's request")]
    fn zero_is_nobodys_name() {
        UserData::from_raw(0).parts();
    }
}
