//! The examination: what the socket says for and against the accused.
//!
//! If bytes lie unread, if TCP knows the end already, or if everything was taken that was sent, *we* are late, and the accused is
//! acquitted for the moment that it takes to be told. Else it is convicted, of what the evidence shows.

use std::time::Duration;

use super::Shard;
use super::close::LAST_LOOK;
use crate::cause::{Cause, Closed, PathDeath};
use crate::deadlines::{Tick, Ticks};
use crate::evidence::{Evidence, SocketEvidence};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::slots::Deadline::Stall;
use crate::state::{Accusation, Event, Standing, State};

/// How often evidence acquits in a row, without a valid frame. A peer that sends garbage for ever is not alive.
const LOOKS_MAX: u8 = 3;

/// States of tcp_states.h: an RST or a time-out has ended the connection...
const TCP_CLOSE: u8 = 7;

/// ...or a FIN its incoming half.
const TCP_CLOSE_WAIT: u8 = 8;

/// The kernel counts in jiffies of up to 10 ms when it last sent: a question that was asked at the very moment can look
/// that much older.
const CLOCK_SLACK: Duration = Duration::from_millis(10);

impl<H: Handler> Shard<H> {
    pub(super) fn examined(&mut self, id: ConnId, evidence: SocketEvidence) {
        let Some(record) = self.table.conns.get(id) else { return };
        // Where it could not be asked, the recv gets one more moment to say it.
        let unread = evidence.unread.map_or(record.looks == 0, |bytes| bytes > 0);
        match &record.state {
            State::Suspect(accusation) => {
                let accusation = **accusation;
                if record.looks < LOOKS_MAX && speaks_for(&accusation, &evidence, unread) {
                    self.acquit(id, accusation);
                } else {
                    self.convict(id, accusation, evidence);
                }
            }
            State::Grace(_) => self.grace_examined(id, unread),
            // It has spoken meanwhile, or its end is decided.
            State::Greeting | State::Live | State::Overdue | State::Accepting | State::Closing(_) => {}
        }
    }

    /// The accused gets the time that it takes to be told what speaks for it, which is as long as our own thread may be late.
    pub(super) fn acquit(&mut self, id: ConnId, accusation: Accusation) {
        let recheck = self.table.now_tick.plus(Ticks::of(self.table.liveness.stall_tolerance));
        let overdue_after = self.table.conns.overdue_after(id.slot());
        let record = self.table.conns.get_mut(id).expect("the accused exists");
        record.looks += 1;
        record.state.transition(Event::Acquitted);
        let (overdue_at, deadline) = (record.proved.plus(overdue_after), record.deadline);
        let hello_within = Ticks::of(self.table.liveness.hello_within);
        let hello_due = Tick::at_or_after(record.opened_at).plus(hello_within);
        if accusation.cause == Cause::FrameStalled
            && let Some(partial) = record.partial
        {
            self.table.partials.get_mut(partial).due = recheck;
        }
        self.table.stats.acquitted += 1;
        match accusation.from {
            Standing::Greeting if !hello_due.is_due(self.table.now) => self.expect_by(id, hello_due),
            Standing::Greeting => self.expect_by(id, recheck),
            Standing::Live => self.expect_by(id, overdue_at),
            Standing::Overdue if deadline.is_due(self.table.now) => self.watch(id, recheck),
            Standing::Overdue => self.watch(id, deadline),
        }
        self.put_back_stalls(id);
        if accusation.cause == Cause::SlowConsumer {
            self.table.conns.set(Stall, id.slot(), recheck); // Else its send would be due again at once.
        }
        self.keep_receiving(id);
    }

    /// Sets the stall deadlines that an accusation has put away. A send error met meanwhile, or before, decides alone if the recv
    /// stays silent.
    pub(super) fn put_back_stalls(&mut self, id: ConnId) {
        if self.table.conns.get(id).is_some_and(|record| record.send_errno.is_some()) {
            let soon = self.table.now_tick.plus(Ticks::of(LAST_LOOK));
            self.table.conns.set(Stall, id.slot(), soon);
        } else {
            self.table.reset_stall(id);
        }
    }

    fn convict(&mut self, id: ConnId, accusation: Accusation, socket: SocketEvidence) {
        let now = self.table.now;
        let evidence = Evidence { silence: self.silence(id), socket, errno: accusation.errno };
        let record = self.table.conns.get(id).expect("the accused exists");
        let lateness = accusation.deadline.map(|deadline| now.saturating_since(deadline));
        if let Some(lateness) = lateness {
            self.table.stats.lateness.record(lateness);
        }
        self.table.stats.early += u64::from(accusation.deadline.is_some_and(|deadline| now < deadline));
        let overdue_after = self.table.conns.overdue_after(id.slot());
        let overdue_at = record.proved.plus(overdue_after);
        let asked = self.table.sends_since(id, overdue_at);
        // A socket that has failed meanwhile has nothing unsent either.
        let stuck = asked && accusation.errno.is_none() && is_stuck(&evidence, overdue_after.duration());
        let unsent = socket.unsent.is_some_and(|bytes| bytes > 0);
        let cause = if accusation.cause == Cause::HeartbeatMissed && stuck {
            Cause::PeerStuck
        } else if accusation.cause == Cause::PathDead(PathDeath::Keepalive) && unsent {
            // A time-out with nothing in flight came from keepalive, one with bytes unacknowledged from the user timeout.
            Cause::PathDead(PathDeath::UserTimeout)
        } else {
            accusation.cause
        };
        let opened_at = record.opened_at;
        let closed = Closed { cause, evidence, opened_at, decided_at: now, lateness, late_bytes: 0 };
        let silent = matches!(cause, Cause::HeartbeatMissed | Cause::PeerStuck);
        if silent && !self.table.liveness.grace.is_zero() {
            self.begin_grace(id, closed);
        } else {
            self.finish(id, &closed, None);
        }
    }
}

/// Whether the evidence speaks for the accused: something is about to be told that refutes the accusation, or gives a better cause.
fn speaks_for(accusation: &Accusation, evidence: &SocketEvidence, unread: bool) -> bool {
    // Where TCP knows the end already, the recv is about to say which.
    let ended = evidence.tcp.is_some_and(|tcp| matches!(tcp.state, TCP_CLOSE | TCP_CLOSE_WAIT));
    let voice = accusation.is_refuted_by_proof() && (unread || ended);
    // The peer has taken everything: the send is about to say so.
    let appetite = accusation.cause == Cause::SlowConsumer && evidence.unsent == Some(0);
    // With an errno, the recv has said it already.
    accusation.errno.is_none() && (voice || appetite)
}

/// Whether the device is on and its program hangs: we sent it something after its beat was overdue, its kernel has
/// acknowledged everything, and yet nothing came.
///
/// The evidence says how old the last send was when it was collected, which may be long ago if the thread was away since: so our own
/// clock is asked first. It repeats itself after 78 hours, and then the evidence tells.
fn is_stuck(evidence: &Evidence, overdue_after: Duration) -> bool {
    let since_overdue = evidence.silence.saturating_sub(overdue_after);
    let asked = evidence.socket.tcp.is_some_and(|tcp| tcp.last_data_sent <= since_overdue + CLOCK_SLACK);
    asked && evidence.socket.unsent == Some(0)
}
