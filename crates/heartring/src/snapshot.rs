//! What a gateway looks like at one moment: each shard's own word, asked by mail.

use heartring_core::{Ledger, ShardId, StateCounts, Stats};

/// What the shards of a gateway have answered. It is not one instant: each answered when it came to it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By shard. `None`: it did not answer in time, or its mailbox was full, or it has ended.
    pub shards: Vec<Option<ShardSnapshot>>,
}

/// What one shard has answered.
#[derive(Clone, Debug)]
pub struct ShardSnapshot {
    /// Which one.
    pub shard: ShardId,
    /// What it has counted.
    pub stats: Stats,
    /// How many of its connections are in which state.
    pub states: StateCounts,
    /// Everything that is open in it: slots, partial frames, send queues, listeners, letters to carry, identities in its
    /// partition of the directory.
    pub open_total: u64,
    /// What its backend has open and in flight.
    pub ledger: Ledger,
    /// Letters that lie in its mailbox, behind the question for this.
    pub letters_in: u64,
    /// Letters of its own that other shards have not taken yet.
    pub letters_out: u64,
}

impl Snapshot {
    /// The shards that have answered.
    pub fn answered(&self) -> impl Iterator<Item = &ShardSnapshot> {
        self.shards.iter().flatten()
    }

    /// The shards that have not.
    pub fn silent(&self) -> impl Iterator<Item = ShardId> {
        let silent = self.shards.iter().enumerate().filter(|(_, shard)| shard.is_none());
        silent.map(|(shard, _)| ShardId(shard as u16))
    }

    /// What those that have answered have counted together.
    pub fn stats(&self) -> Stats {
        let mut total = Stats::default();
        self.answered().for_each(|shard| total.merge(&shard.stats));
        total
    }

    /// How many connections of those that have answered are in which state.
    pub fn states(&self) -> StateCounts {
        let mut total = StateCounts::default();
        for StateCounts { greeting, live, overdue, grace, closing } in
            self.answered().map(|shard| shard.states)
        {
            total.greeting += greeting;
            total.live += live;
            total.overdue += overdue;
            total.grace += grace;
            total.closing += closing;
        }
        total
    }

    /// Letters that wait in mailboxes, or for one, of those that have answered.
    pub fn letters_waiting(&self) -> u64 {
        self.answered().map(|shard| shard.letters_in + shard.letters_out).sum()
    }
}
