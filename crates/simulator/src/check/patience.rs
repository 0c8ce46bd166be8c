//! How late something may be: what the record says was late, and no more.
//!
//! Three things make a shard late. Its thread was away: the record has when. Its kernel was late: each fault is late by
//! `delay_max` at the most, and how often in a row follows from its odds. And when the thread was away for longer than
//! `stall_tolerance`, every verdict waits until everybody had the time for another beat.

use std::time::Duration;

use heartring_core::{Instant, ShardId};
use heartring_sim::{Fault, FaultOdds};

use crate::record::Record;

/// Rounding: deadlines are kept in ticks of 65.5 µs, each sum of two of them is rounded twice, and four follow each other at the
/// most (the proof, overdue, the deadline, the look).
const TICKS: Duration = Duration::from_micros(8 * 66);

/// Unread bytes acquit three times in a row at the most, for `stall_tolerance` each.
const ACQUITTALS: u32 = 3;

/// See the module's own text.
pub(super) struct Patience<'r> {
    record: &'r Record,
    /// How late the kernel can be with what has arrived.
    reading: Duration,
    /// How late it can be with a deadline and the look at the socket that follows.
    judging: Duration,
    /// A kernel that is later than `stall_tolerance` looks like a thread that was away: for how long each shard has spared
    /// everybody for that.
    spared: Vec<Duration>,
}

impl<'r> Patience<'r> {
    pub(super) fn of(record: &'r Record) -> Self {
        let odds = &record.plan.odds;
        let late = |fault| in_a_row(odds, fault) * odds.delay_max;
        let reading = late(Fault::BuffersOut) + late(Fault::LeaseMeetsBytes);
        let judging = late(Fault::WatchLate)
            + late(Fault::WatchReadyLate)
            + late(Fault::LeaseLate)
            + late(Fault::LeaseMeetsBytes)
            + late(Fault::ExamineLate)
            + late(Fault::WaitEarly);
        let mut patience = Self { record, reading, judging, spared: Vec::new() };
        let mistakes = |nth| patience.mistakes(ShardId(nth)) * record.plan.liveness.beat_every;
        patience.spared = (0..record.shards.len() as u16).map(mistakes).collect();
        patience
    }

    /// Amnesties of a shard that may have been for its kernel and not for its absences, if its kernel can be as late as that.
    fn mistakes(&self, shard: ShardId) -> u32 {
        let given = self.record.shards[usize::from(shard.0)].stats.stalls;
        if self.kernel_looks_away() { given as u32 } else { 0 }
    }

    /// Whether the kernel can be later than `stall_tolerance`.
    pub(super) fn kernel_looks_away(&self) -> bool {
        2 * self.record.plan.odds.delay_max + TICKS > self.record.plan.liveness.stall_tolerance
    }

    /// How late the kernel can be with what has arrived, the thread's absences aside.
    pub(super) fn reading(&self) -> Duration {
        self.reading + TICKS
    }

    /// How late the kernel can be with what is sent.
    pub(super) fn sending(&self) -> Duration {
        let odds = &self.record.plan.odds;
        in_a_row(odds, Fault::SendParks) * odds.delay_max + self.reading()
    }

    /// By when what arrived at `arrived` has been told.
    pub(super) fn told_by(&self, shard: ShardId, arrived: Instant) -> Instant {
        self.after_absences(shard, arrived, self.reading + TICKS, Duration::ZERO)
    }

    /// By when a verdict that is due at `due` has been spoken, if nothing of the accused can lie unread. A look that sees nothing
    /// acquits once.
    pub(super) fn judged_by(&self, shard: ShardId, due: Instant) -> Instant {
        let blank = u32::from(self.record.plan.odds.get(Fault::ExamineBlank) > 0);
        self.spoken_by(shard, due, blank)
    }

    /// The same, if something can.
    pub(super) fn judged_at_last_by(&self, shard: ShardId, due: Instant) -> Instant {
        self.spoken_by(shard, due, ACQUITTALS)
    }

    fn spoken_by(&self, shard: ShardId, due: Instant, acquittals: u32) -> Instant {
        let liveness = &self.record.plan.liveness;
        let spared = self.spared[usize::from(shard.0)];
        let slack = self.judging + TICKS + acquittals * liveness.stall_tolerance;
        let absent = self.after_absences(shard, due, slack, liveness.beat_every);
        if spared.is_zero() {
            return absent;
        }
        // An amnesty by mistake can come when one for an absence is nearly over.
        self.after_absences(shard, absent + spared, slack, liveness.beat_every)
    }

    /// When the thread of `shard` was away for longer than it tolerates.
    pub(super) fn long_absences(&self, shard: ShardId) -> impl Iterator<Item = (Instant, Instant)> + Clone {
        let tolerance = self.record.plan.liveness.stall_tolerance;
        let absences = self.record.shards[usize::from(shard.0)].absences.iter().copied();
        absences.filter(move |(from, to)| to.saturating_since(*from) > tolerance)
    }

    /// `due`, put off by each absence that covers it or, as it is put off, comes to cover it; and by `amnesty` from the end
    /// of each long one.
    fn after_absences(&self, shard: ShardId, due: Instant, slack: Duration, amnesty: Duration) -> Instant {
        let tolerance = self.record.plan.liveness.stall_tolerance;
        let absences = &self.record.shards[usize::from(shard.0)].absences;
        let first = absences.partition_point(|(_, to)| *to + amnesty < due);
        let mut at = due + slack;
        for &(from, to) in &absences[first..] {
            if from > at {
                break;
            }
            // What was under way when the thread left takes as long again when it is back.
            at = at.max(to + slack);
            if to.saturating_since(from) > tolerance {
                at = at.max(to + amnesty + slack);
            }
        }
        at
    }
}

/// How often in a row `fault` happens at the most: so often that once more is as unlikely as one in 10^12.
fn in_a_row(odds: &FaultOdds, fault: Fault) -> u32 {
    let mut left = 1e12;
    let mut times = 0;
    while left > 1.0 && odds.get(fault) > 0 {
        left *= f64::from(odds.get(fault)) / 1e6;
        times += 1;
    }
    times
}
