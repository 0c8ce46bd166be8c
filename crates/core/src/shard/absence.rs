//! Our own absences.
//!
//! If the whole thread was away (a frozen process, a machine that sleeps), nobody is judged before everybody had the time for
//! another beat. It was away if something was to wake it and nothing did for longer than `stall_tolerance`: an entry of the arrays,
//! or a timeout that the kernel held. Being behind is not being away: while turn follows turn, timeouts may be told late because
//! thousands are told before them, and to put those verdicts off would only make the next heap as large.

use std::time::Duration;

use super::Shard;
use crate::deadlines::{DEADLINE_AHEAD_MAX, Tick};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::record::Record;
use crate::slots::Deadline::Stall;
use crate::state::Standing;
use crate::time::Instant;

/// A gap of which a dozen could follow each other before an instant in ticks repeats itself.
const LONG_GAP: Duration = Duration::from_hours(1);

impl<H: Handler> Shard<H> {
    /// Looks at the time since the turn before, which began at `before`.
    pub(super) fn note_gap(&mut self, before: Instant) {
        let (now, tolerance) = (self.table.now, self.table.liveness.stall_tolerance);
        if now > before + tolerance {
            self.gap_until = now;
        }
        if now > before + LONG_GAP {
            self.keep_in_reach(before);
        }
        if self.expected_at.take().is_some_and(|expected| now > expected + tolerance) {
            self.was_away();
        }
    }

    /// Instants in ticks are compared by their distance: one that lies days behind would seem to lie ahead. After a long gap those that
    /// have passed by more than a day are moved up to a day ago. `before` is when all lay within a day.
    fn keep_in_reach(&mut self, before: Instant) {
        let oldest = self.table.now - DEADLINE_AHEAD_MAX;
        self.table.conns.pull_up(oldest, before);
        let of_records = self.table.conns.values_mut().flat_map(Record::ticks_mut);
        let of_claims = self.table.claims.ticks_mut();
        for tick in of_records.chain(of_claims).chain(self.table.partials.ticks_mut()) {
            *tick = tick.not_before(oldest, before);
        }
    }

    /// A timeout of the kernel that was due long before a gap between two turns was over means that the thread was away,
    /// although nothing in the arrays was to wake it. One that was due before the present amnesty began is late because of what
    /// that was given for.
    pub(super) fn doubt_if_late(&mut self, due: Tick) {
        let (due, liveness) = (due.near(self.table.now), &self.table.liveness);
        let pardoned_at = self.amnesty_until - liveness.beat_every;
        if due >= pardoned_at && self.gap_until > due + liveness.stall_tolerance {
            self.was_away();
        }
    }

    pub(super) fn is_amnesty(&self) -> bool {
        self.table.now < self.amnesty_until
    }

    /// The thread was away: this verdict waits until everybody had the time for another beat.
    pub(super) fn postpone(&mut self, id: ConnId) {
        let until = Tick::at_or_after(self.amnesty_until);
        self.table.stats.postponed += 1;
        match self.table.conns.get(id).and_then(|record| record.state.standing()) {
            Some(Standing::Overdue) => self.watch(id, until),
            Some(Standing::Greeting | Standing::Live) => self.expect_by(id, until),
            None => {}
        }
    }

    pub(super) fn postpone_stall(&mut self, id: ConnId) {
        self.table.stats.postponed += 1;
        self.table.conns.set(Stall, id.slot(), Tick::at_or_after(self.amnesty_until));
    }

    /// Every peer gets another beat.
    fn was_away(&mut self) {
        self.amnesty_until = self.table.now + self.table.liveness.beat_every;
        self.table.stats.stalls += 1;
    }
}
