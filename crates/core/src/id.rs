//! Names of connections and listeners.
//!
//! A [`ConnId`] is a slot and the generation of its occupant. A slot is reused at once; the generation tells the
//! occupants apart, so that a completion, a message or a handle that is late finds out that its connection is gone
//! instead of reaching a stranger. Generations are 32 bits: a slot that is reused a thousand times a second repeats one
//! after 49 days, and nothing in the system holds an id for that long without hearing of the close.

use std::fmt;

/// One connection on one shard: a slot and the generation of its occupant.
///
/// The slot is also the connection's place in every dense array of the shard and its backend, down to the kernel's
/// table of direct descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    slot: u32,
    generation: u32,
}

impl ConnId {
    /// The largest slot: slots fit in 24 bits, so that kind, slot and generation fit in one `user_data`.
    pub const SLOT_MAX: u32 = (1 << 24) - 1;

    /// The id of the occupant `generation` of `slot`.
    ///
    /// # Panics
    ///
    /// If `slot` is above [`ConnId::SLOT_MAX`].
    pub const fn new(slot: u32, generation: u32) -> Self {
        assert!(slot <= Self::SLOT_MAX, "slots are 24 bits");
        Self { slot, generation }
    }

    /// The place in the shard's tables.
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// Which occupant of the slot.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// One connection of a gateway: where it lives, and its name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnAt {
    /// Its shard.
    pub shard: ShardId,
    /// Its name on that shard.
    pub conn: ConnId,
}

impl fmt::Display for ConnAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.shard, self.conn)
    }
}

/// One listening socket of a backend, numbered from zero in the order of the calls to `listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u8);

/// One shard of a gateway, numbered from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
