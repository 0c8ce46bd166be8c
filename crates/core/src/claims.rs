//! What a connection has claimed, and what waits while it is undecided.

use crate::deadlines::Tick;
use crate::identity::Identity;
use crate::op::RecvEnd;

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

    /// The epoch of the grant.
    pub(crate) const fn epoch(&self) -> Option<u64> {
        match self.state {
            ClaimState::Granted { epoch } => Some(epoch),
            ClaimState::Asked { .. } | ClaimState::Revoked => None,
        }
    }
}
