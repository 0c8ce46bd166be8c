//! Counters of one shard. Shards share none; reports merge them.

use crate::cause::{Cause, Refusal};
use crate::lateness::Lateness;

/// What a shard has counted since it started.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Connections taken from the kernel's queue, the refused ones included.
    pub accepted: u64,
    /// Accepts that failed; most concern one client that left early.
    pub accept_failures: u64,
    /// Times the shard stopped accepting for a while because descriptors or memory had run out.
    pub accept_back_offs: u64,
    /// Connections ended, by cause, in the order of [`Cause::NAMES`].
    closed: [u64; Cause::COUNT],
    /// Those of them that were refused, by reason, in the order of [`Refusal::NAMES`].
    refused: [u64; Refusal::COUNT],
    /// Claims that connections have made.
    pub claims: u64,
    /// Those of them that were granted.
    pub grants: u64,
    /// Payloads for connections or identities that were no longer there, or that did not take them.
    pub undelivered: u64,
    /// States of [`Conn::send_latest`](crate::Conn::send_latest) that gave way to newer ones unsent.
    pub states_replaced: u64,
    /// Letters that came from other shards and from outside.
    pub letters: u64,
    /// Times that clients were left waiting in the kernel's queue because of `accepts_per_second`.
    pub accept_throttles: u64,
    /// Complete valid frames, heartbeats included.
    pub frames: u64,
    /// Those of them that were heartbeats, pings or pongs.
    pub beats: u64,
    /// Those of them that came during grace.
    pub late_frames: u64,
    /// Payload bytes of the frames that came during grace, each delivered to [`Handler::late`](crate::Handler::late).
    pub late_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes that the sockets took.
    pub sent_bytes: u64,
    /// Times a beat was overdue.
    pub overdue: u64,
    /// Deadlines that had passed while bytes lay unread: nobody was convicted.
    pub acquitted: u64,
    /// Verdicts that came before their deadline. Always zero; counted so that it can be seen.
    pub early: u64,
    /// Times the shard's own thread was away for longer than `stall_tolerance`.
    pub stalls: u64,
    /// Verdicts that were put off because of that.
    pub postponed: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Sweeps of the deadline arrays.
    pub sweeps: u64,
    /// How late the verdicts of deadlines were.
    pub lateness: Lateness,
}

impl Stats {
    /// Connections ended for a cause of this name.
    pub fn closed(&self, cause: &str) -> u64 {
        self.closed_by_cause().find(|(name, _)| *name == cause).map_or(0, |(_, count)| count)
    }

    /// Connections ended, by the cause's name; causes that did not occur included.
    pub fn closed_by_cause(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Cause::NAMES.into_iter().zip(self.closed)
    }

    /// Connections refused for a reason of this name.
    pub fn refused(&self, reason: &str) -> u64 {
        self.refused_by_reason().find(|(name, _)| *name == reason).map_or(0, |(_, count)| count)
    }

    /// Connections refused, by the reason's name; reasons that did not occur included.
    pub fn refused_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::NAMES.into_iter().zip(self.refused)
    }

    /// Connections ended in all.
    pub fn closed_total(&self) -> u64 {
        self.closed.iter().sum()
    }

    /// Adds what another shard has counted.
    pub fn merge(&mut self, other: &Self) {
        let by_name = self.closed.iter_mut().chain(&mut self.refused);
        for (mine, theirs) in by_name.zip(other.closed.into_iter().chain(other.refused)) {
            *mine += theirs;
        }
        self.lateness.merge(&other.lateness);
        let pairs = [
            (&mut self.accepted, other.accepted),
            (&mut self.accept_failures, other.accept_failures),
            (&mut self.accept_back_offs, other.accept_back_offs),
            (&mut self.accept_throttles, other.accept_throttles),
            (&mut self.claims, other.claims),
            (&mut self.grants, other.grants),
            (&mut self.undelivered, other.undelivered),
            (&mut self.states_replaced, other.states_replaced),
            (&mut self.letters, other.letters),
            (&mut self.frames, other.frames),
            (&mut self.beats, other.beats),
            (&mut self.late_frames, other.late_frames),
            (&mut self.late_bytes, other.late_bytes),
            (&mut self.received_bytes, other.received_bytes),
            (&mut self.sent_bytes, other.sent_bytes),
            (&mut self.overdue, other.overdue),
            (&mut self.acquitted, other.acquitted),
            (&mut self.early, other.early),
            (&mut self.stalls, other.stalls),
            (&mut self.postponed, other.postponed),
            (&mut self.turns, other.turns),
            (&mut self.sweeps, other.sweeps),
        ];
        for (mine, theirs) in pairs {
            *mine += theirs;
        }
    }

    /// Counts a connection that has ended.
    pub fn count_closed(&mut self, cause: &Cause) {
        self.closed[cause.index()] += 1;
        if let Cause::Refused(refusal) = cause {
            self.refused[refusal.index()] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds_everything() {
        let mut one = Stats { accepted: 2, ..Stats::default() };
        one.count_closed(&Cause::PeerReset);
        let mut two = one.clone();
        two.merge(&one);
        assert_eq!((two.accepted, two.closed("peer_reset"), two.closed_total()), (4, 2, 2));
    }
}
