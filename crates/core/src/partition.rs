//! The directory of a gateway in one process: one shard's partition.
//!
//! It is the only judge of its identities. A takeover has three steps: the partition names the successor and orders the
//! holder's shard to end it; that shard ends it, grants the successor its claim and reports; the partition notes that the
//! takeover is over. A claim that comes in between waits, and only the newest one does.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::hash::BuildHasher;
use std::time::Duration;

use crate::directory::{Directory, Post};
use crate::id::{ConnAt, ShardId};
use crate::identity::Identity;
use crate::mail::{Order, Request};
use crate::time::Instant;

/// When an identity that is claimed again and again is left with its holder for a while.
///
/// Two live devices with one identity (a cloned image, a copied configuration) take it from each other as fast as they can
/// connect. The newest wins, up to `takeovers_max` within `window`; after that claims are refused for `cool_down`, with the
/// time to wait. A device that reboots in a loop is a takeover each time as well, so the bound is well above that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlapGuard {
    /// Takeovers within `window` that are nothing unusual. 20: a device that reboots every three seconds.
    pub takeovers_max: u32,
    /// The time over which they are counted. It begins with the first.
    pub window: Duration,
    /// How long claims are refused then.
    pub cool_down: Duration,
}

impl Default for FlapGuard {
    fn default() -> Self {
        Self { takeovers_max: 20, window: Duration::from_mins(1), cool_down: Duration::from_secs(10) }
    }
}

/// One shard's partition of the directory of a gateway in one process.
#[derive(Debug)]
pub struct Partition<S> {
    shard: ShardId,
    shards: u16,
    /// Keyed, since identities are chosen by peers, and the same in all partitions.
    hasher: S,
    entries: HashMap<Identity, Entry, S>,
    flap_guard: Option<FlapGuard>,
    /// The epoch of the last claim. Counted for all identities of the partition together, so that it grows for each of
    /// them although nothing is remembered of those that nobody holds.
    epoch: u64,
}

#[derive(Debug)]
struct Entry {
    /// `None`: the successor of a takeover left before it was over.
    holder: Option<ConnAt>,
    epoch: u64,
    /// The former holder has been ordered to end and has not been reported.
    evicting: bool,
    /// The newest claim that came meanwhile, with its epoch.
    waiting: Option<(ConnAt, u64)>,
    takeovers: u32,
    counted_since: Instant,
    cooling_until: Instant,
}

impl<S: BuildHasher + Clone> Partition<S> {
    /// The partition of `shard` out of `shards`. All partitions of a gateway need hashers with the same keys.
    pub fn new(shard: ShardId, shards: u16, hasher: S, flap_guard: Option<FlapGuard>) -> Self {
        assert!(shard.0 < shards, "shard {shard} of {shards}");
        let entries = HashMap::with_hasher(hasher.clone());
        Self { shard, shards, hasher, entries, flap_guard, epoch: 0 }
    }

    fn claim(&mut self, now: Instant, identity: Identity, by: ConnAt, post: Post<'_>) {
        let epoch = self.epoch + 1;
        match self.entries.entry(identity) {
            MapEntry::Vacant(vacant) => {
                vacant.insert(Entry::held(by, epoch, now));
                post(by.shard, Order::Grant { conn: by.conn, epoch });
            }
            MapEntry::Occupied(mut occupied) => {
                if let Some(retry_after) = occupied.get_mut().flaps(now, self.flap_guard) {
                    return post(by.shard, Order::Refuse { conn: by.conn, retry_after });
                }
                let identity = occupied.key().clone();
                occupied.get_mut().take_over(identity, by, epoch, post);
            }
        }
        self.epoch = epoch;
    }

    fn release(&mut self, identity: Identity, by: ConnAt) {
        let MapEntry::Occupied(mut occupied) = self.entries.entry(identity) else { return };
        let entry = occupied.get_mut();
        if entry.holder == Some(by) {
            entry.holder = None;
        } else if entry.waiting.is_some_and(|(waiting, _)| waiting == by) {
            entry.waiting = None;
        }
        if entry.is_over() {
            occupied.remove();
        }
    }

    fn evicted(&mut self, identity: Identity, epoch: u64, post: Post<'_>) {
        let MapEntry::Occupied(mut occupied) = self.entries.entry(identity) else { return };
        let identity = occupied.key().clone();
        let entry = occupied.get_mut();
        if entry.epoch != epoch {
            return; // Not the takeover that is going on.
        }
        entry.evicting = false;
        if let Some((by, epoch)) = entry.waiting.take() {
            entry.take_over(identity, by, epoch, post);
        }
        if entry.is_over() {
            occupied.remove();
        }
    }
}

impl<S: BuildHasher + Clone + Send> Directory for Partition<S> {
    fn owner(&self, identity: &Identity) -> ShardId {
        // The high bits: the map of the partition uses the low ones.
        let hash = self.hasher.hash_one(identity);
        ShardId(((u128::from(hash) * u128::from(self.shards)) >> 64) as u16)
    }

    fn handle(&mut self, now: Instant, request: Request, post: Post<'_>) {
        debug_assert_eq!(self.owner(request.identity()), self.shard, "{request:?} went astray");
        match request {
            Request::Claim { identity, by } => self.claim(now, identity, by, post),
            Request::Release { identity, by } => self.release(identity, by),
            Request::Evicted { identity, epoch } => self.evicted(identity, epoch, post),
            Request::Forward { identity, payload } => {
                // While a takeover goes on, nobody holds it for certain.
                let settled = self.entries.get(&identity).filter(|entry| !entry.evicting);
                if let Some((to, epoch)) = settled.and_then(|entry| Some((entry.holder?, entry.epoch))) {
                    post(to.shard, Order::Deliver { conn: to.conn, epoch, payload });
                }
            }
        }
    }

    fn open_total(&self) -> u64 {
        self.entries.len() as u64
    }
}

impl Entry {
    fn held(by: ConnAt, epoch: u64, now: Instant) -> Self {
        Self {
            holder: Some(by),
            epoch,
            evicting: false,
            waiting: None,
            takeovers: 0,
            counted_since: now,
            cooling_until: Instant::ZERO,
        }
    }

    /// Gives the identity to `by`, once whoever has it has ended.
    fn take_over(&mut self, identity: Identity, by: ConnAt, epoch: u64, post: Post<'_>) {
        if self.evicting {
            if let Some((former, _)) = self.waiting.replace((by, epoch)) {
                let conn = former.conn;
                post(former.shard, Order::Evict { conn, identity, by: epoch, successor: None });
            }
            return;
        }
        self.epoch = epoch;
        match self.holder.replace(by) {
            Some(former) => {
                self.evicting = true;
                let (conn, successor) = (former.conn, Some(by));
                post(former.shard, Order::Evict { conn, identity, by: epoch, successor });
            }
            None => post(by.shard, Order::Grant { conn: by.conn, epoch }),
        }
    }

    /// Counts a takeover. If it is one too many, for how long there is none.
    fn flaps(&mut self, now: Instant, guard: Option<FlapGuard>) -> Option<Duration> {
        let FlapGuard { takeovers_max, window, cool_down } = guard?;
        if now < self.cooling_until {
            return Some(self.cooling_until.saturating_since(now));
        }
        if now.saturating_since(self.counted_since) >= window {
            (self.takeovers, self.counted_since) = (0, now);
        }
        if self.takeovers >= takeovers_max {
            // After the pause it counts from zero.
            (self.takeovers, self.counted_since, self.cooling_until) = (0, now + cool_down, now + cool_down);
            return Some(cool_down);
        }
        self.takeovers += 1;
        None
    }

    fn is_over(&self) -> bool {
        self.holder.is_none() && self.waiting.is_none() && !self.evicting
    }
}
