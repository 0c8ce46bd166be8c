//! What a connection has claimed, and what waits while it is undecided.
//!
//! Claims are pooled, and a connection keeps four bytes: the place of its claim, and how far that is.

use std::num::NonZeroU32;

use crate::deadlines::{Tick, Ticks};
use crate::id::{ConnAt, ConnId};
use crate::identity::{ClaimError, Identity};
use crate::mail::Request;
use crate::op::RecvEnd;
use crate::table::Table;

/// The claim of one connection.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) identity: Identity,
    pub(crate) state: ClaimState,
}

/// A claim as its connection knows it. Invariant: it says the same of the claim's state as the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClaimRef(NonZeroU32);

impl ClaimRef {
    const UNDECIDED: u32 = 1 << 31;
    const GRANTED: u32 = 1 << 30;

    /// `place` is below the number of slots, which has 24 bits.
    fn new(place: u32, state: &ClaimState) -> Self {
        let standing = match state {
            ClaimState::Asked { .. } => Self::UNDECIDED,
            ClaimState::Granted { .. } => Self::GRANTED,
            ClaimState::Revoked => 0,
        };
        Self(NonZeroU32::MIN.saturating_add(place) | standing)
    }

    const fn place(self) -> usize {
        (self.0.get() & !(Self::UNDECIDED | Self::GRANTED)) as usize - 1
    }

    /// Whether the directory has not answered yet.
    pub(crate) const fn is_undecided(self) -> bool {
        self.0.get() & Self::UNDECIDED != 0
    }

    /// Whether it holds the identity.
    pub(crate) const fn is_granted(self) -> bool {
        self.0.get() & Self::GRANTED != 0
    }
}

/// The claims of one shard.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    entries: Vec<Option<Claim>>,
    free: Vec<u32>,
}

impl Claims {
    fn insert(&mut self, claim: Claim) -> ClaimRef {
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() as u32 - 1
        });
        let reference = ClaimRef::new(place, &claim.state);
        self.entries[place as usize] = Some(claim);
        reference
    }

    fn get(&self, claim: ClaimRef) -> &Claim {
        self.entries[claim.place()].as_ref().expect("a connection has the only reference")
    }

    fn get_mut(&mut self, claim: ClaimRef) -> &mut Claim {
        self.entries[claim.place()].as_mut().expect("a connection has the only reference")
    }

    fn remove(&mut self, claim: ClaimRef) -> Claim {
        self.free.push(claim.place() as u32);
        self.entries[claim.place()].take().expect("a connection has the only reference")
    }

    /// When each must be decided that is not, to be moved.
    pub(crate) fn ticks_mut(&mut self) -> impl Iterator<Item = &mut Tick> {
        self.entries.iter_mut().flatten().filter_map(Claim::due_mut)
    }

    /// Claims at present.
    pub(crate) fn open(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

/// How far a claim is.
#[derive(Debug)]
pub(crate) enum ClaimState {
    /// The directory has been asked. What the peer sends meanwhile is held back, so that it is received under the identity
    /// or not at all.
    Asked {
        /// By when it must be decided.
        due: Tick,
        /// How the peer's stream ended meanwhile.
        end: Option<RecvEnd>,
    },
    /// It holds the identity.
    Granted {
        /// Since which epoch.
        epoch: u64,
    },
    /// Another has claimed the identity.
    Revoked,
}

impl Claim {
    /// By when it must be decided, if it is not.
    pub(crate) const fn due(&self) -> Option<Tick> {
        match self.state {
            ClaimState::Asked { due, .. } => Some(due),
            ClaimState::Granted { .. } | ClaimState::Revoked => None,
        }
    }

    /// The same, to be moved.
    pub(crate) const fn due_mut(&mut self) -> Option<&mut Tick> {
        match &mut self.state {
            ClaimState::Asked { due, .. } => Some(due),
            ClaimState::Granted { .. } | ClaimState::Revoked => None,
        }
    }

    /// The epoch of the grant.
    pub(crate) const fn epoch(&self) -> Option<u64> {
        match self.state {
            ClaimState::Granted { epoch } => Some(epoch),
            ClaimState::Asked { .. } | ClaimState::Revoked => None,
        }
    }
}

impl Table {
    /// Claims an identity for a connection: the directory will be asked.
    pub(crate) fn claim(&mut self, id: ConnId, identity: &[u8]) -> Result<(), ClaimError> {
        let max = self.limits.identity_bytes_max;
        if identity.is_empty() {
            return Err(ClaimError::Empty);
        }
        if identity.len() > max as usize {
            return Err(ClaimError::TooLong { bytes: identity.len(), max });
        }
        let due = self.now_tick.plus(Ticks::of(self.liveness.hello_within));
        let proved = self.proved(id);
        let record = self.conns.get_mut(id).ok_or(ClaimError::Closed)?;
        if record.state.standing().is_none() {
            return Err(ClaimError::Closed);
        }
        if record.claim.is_some() {
            return Err(ClaimError::Claimed);
        }
        let identity = Identity::new(identity);
        let state = ClaimState::Asked { due, end: None };
        record.claim = Some(self.claims.insert(Claim { identity: identity.clone(), state }));
        record.proved = proved.unwrap_or(record.proved);
        self.reset_stall(id);
        self.stats.claims += 1;
        let by = ConnAt { shard: self.shard, conn: id };
        self.requests.push_back(Request::Claim { identity, by });
        Ok(())
    }

    pub(crate) fn claim_of(&self, id: ConnId) -> Option<&Claim> {
        Some(self.claims.get(self.conns.get(id)?.claim?))
    }

    /// How the peer's stream has ended, to be noted while its claim is undecided.
    pub(crate) fn held_end_mut(&mut self, id: ConnId) -> Option<&mut Option<RecvEnd>> {
        match &mut self.claims.get_mut(self.conns.get(id)?.claim?).state {
            ClaimState::Asked { end, .. } => Some(end),
            ClaimState::Granted { .. } | ClaimState::Revoked => None,
        }
    }

    /// Notes what has become of a claim. Returns what it was before.
    pub(crate) fn decide_claim(&mut self, id: ConnId, decided: ClaimState) -> Option<ClaimState> {
        let claim = self.conns.get_mut(id)?.claim.as_mut()?;
        let entry = self.claims.get_mut(*claim);
        *claim = ClaimRef::new(claim.place() as u32, &decided);
        Some(std::mem::replace(&mut entry.state, decided))
    }

    pub(crate) fn take_claim(&mut self, id: ConnId) -> Option<Claim> {
        let claim = self.conns.get_mut(id)?.claim.take()?;
        Some(self.claims.remove(claim))
    }

    /// When the claim must be decided, if it is not.
    pub(crate) fn claim_due(&self, id: ConnId) -> Option<Tick> {
        self.claim_of(id)?.due()
    }
}
