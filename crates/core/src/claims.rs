//! What a connection has claimed, and what waits while it is undecided.

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
        record.claim = Some(Box::new(Claim { identity: identity.clone(), state }));
        record.proved = proved.unwrap_or(record.proved);
        self.reset_stall(id);
        self.stats.claims += 1;
        let by = ConnAt { shard: self.shard, conn: id };
        self.requests.push_back(Request::Claim { identity, by });
        Ok(())
    }

    pub(crate) fn claim_of(&self, id: ConnId) -> Option<&Claim> {
        self.conns.get(id)?.claim.as_deref()
    }

    pub(crate) fn claim_of_mut(&mut self, id: ConnId) -> Option<&mut Claim> {
        self.conns.get_mut(id)?.claim.as_deref_mut()
    }

    /// Notes what has become of a claim. Returns what it was before.
    pub(crate) fn decide_claim(&mut self, id: ConnId, decided: ClaimState) -> Option<ClaimState> {
        let claim = self.claim_of_mut(id)?;
        Some(std::mem::replace(&mut claim.state, decided))
    }

    pub(crate) fn take_claim(&mut self, id: ConnId) -> Option<Box<Claim>> {
        self.conns.get_mut(id)?.claim.take()
    }

    /// When the claim must be decided, if it is not.
    pub(crate) fn claim_due(&self, id: ConnId) -> Option<Tick> {
        self.claim_of(id)?.due()
    }
}
