//! What shards say to each other, as data.
//!
//! A shard never calls into another: it posts a [`Letter`], and whoever runs the shards carries it (mailboxes between
//! threads; a simulated post in virtual time). Letters from one shard to another arrive in the order in which they were
//! posted; nothing is assumed about letters from different shards.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::id::{ConnAt, ConnId, ShardId};
use crate::identity::Identity;

/// One message to a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Letter {
    /// To its partition of the directory.
    Request(Request),
    /// To one of its connections.
    Order(Order),
    /// Send a payload to each of its connections.
    Broadcast(Bytes),
    /// To its handler: [`Handler::message`](crate::Handler::message).
    Message(Bytes),
}

/// What a directory is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A connection claims an identity.
    Claim {
        /// Which.
        identity: Identity,
        /// For whom.
        by: ConnAt,
    },
    /// A connection that had claimed is no more.
    Release {
        /// What it had claimed.
        identity: Identity,
        /// Which connection.
        by: ConnAt,
    },
    /// The holder before the claim of this epoch has ended, as the directory had ordered.
    Evicted {
        /// Whose former holder.
        identity: Identity,
        /// The epoch of the claim for which it made room.
        epoch: u64,
    },
    /// Send a payload to whoever holds an identity.
    Forward {
        /// To whom.
        identity: Identity,
        /// What.
        payload: Bytes,
    },
}

/// What a shard is to do with one of its connections. If the connection no longer exists, what the order wants is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Its claim is granted.
    Grant {
        /// Whose.
        conn: ConnId,
        /// The epoch of the claim: larger than that of every earlier holder of the identity.
        epoch: u64,
    },
    /// Its claim is refused: too many take the identity from each other.
    Refuse {
        /// Whose.
        conn: ConnId,
        /// How long the identity stays with its present holder.
        retry_after: Duration,
    },
    /// Another has claimed its identity: it ends as `Superseded`. Then the successor, if one waits for it, is granted its
    /// claim, and the directory is told.
    Evict {
        /// Who ends.
        conn: ConnId,
        /// Which identity.
        identity: Identity,
        /// The epoch of the claim that replaces it.
        by: u64,
        /// Who waits for its end. `None`: it had only waited itself, and nothing depends on it.
        successor: Option<ConnAt>,
    },
    /// Send it a payload.
    Send {
        /// Whom.
        conn: ConnId,
        /// What.
        payload: Bytes,
    },
    /// Send a payload to it as the holder of an identity: not before its claim is granted.
    Deliver {
        /// Whom.
        conn: ConnId,
        /// The epoch of its claim.
        epoch: u64,
        /// What.
        payload: Bytes,
    },
    /// Close it in order, as its handler could.
    Close {
        /// Whom.
        conn: ConnId,
    },
}

/// Why a message was not posted. Nothing of it was.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PostError {
    /// The other shard does not take its mail as fast as this one posts: `outbox_letters_max` are waiting.
    #[error("{max} letters wait for shard {to}, which does not take them")]
    Full {
        /// For which shard.
        to: ShardId,
        /// The limit.
        max: u32,
    },
    /// There is no such shard.
    #[error("there is no shard {0}")]
    NoShard(ShardId),
}

impl Request {
    /// Which identity it is about.
    pub fn identity(&self) -> &Identity {
        match self {
            Self::Claim { identity, .. }
            | Self::Release { identity, .. }
            | Self::Evicted { identity, .. }
            | Self::Forward { identity, .. } => identity,
        }
    }
}
