//! Who holds which identity.
//!
//! The directory is partitioned over the shards: [`Directory::owner`] says whose partition decides about an identity, and
//! only that one does. Everything goes by [`Request`]s and [`Order`]s, so that a partition needs no lock and can as well be
//! the front of something outside the process.

use crate::id::ShardId;
use crate::identity::Identity;
use crate::mail::{Order, Request};
use crate::time::Instant;

/// Carries an order to a shard.
pub type Post<'a> = &'a mut dyn FnMut(ShardId, Order);

/// One shard's partition of the directory. [`Partition`](crate::Partition) is the one for a gateway in one process.
///
/// What a directory owes:
///
/// - *One holder at a time*: an identity is granted only when no other connection holds it, or when its holder has been
///   evicted and the eviction is reported ([`Request::Evicted`]), or by the evicting shard itself, which is told the
///   successor.
/// - *Epochs grow*: each grant of an identity has a larger epoch than any before it.
/// - *Each claim is answered* by a [`Order::Grant`], a [`Order::Refuse`] or an [`Order::Evict`], unless it is released
///   before.
/// - *A release ends only what it names*: of a connection that is no longer the holder, it changes nothing.
///
/// A directory that several machines share answers later, from another thread: it keeps what [`Directory::handle`] is given,
/// names its own shard as the owner of every identity, and posts its orders through the gateway's handle.
pub trait Directory: Send {
    /// The shard whose partition decides about `identity`. All partitions agree.
    fn owner(&self, identity: &Identity) -> ShardId;

    /// Takes in a request about an identity that this partition owns.
    fn handle(&mut self, now: Instant, request: Request, post: Post<'_>);

    /// Identities that are held or waited for: zero when the last connection is gone.
    fn open_total(&self) -> u64;
}
