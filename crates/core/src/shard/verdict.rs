//! Who is dead.
//!
//! A deadline accuses, it does not convict: before the verdict the socket is examined (`examination`). And if the whole thread was
//! away (`absence`), nobody is judged before everybody had the time for another beat.

use std::time::Duration;

use super::Shard;
use crate::cause::{Cause, Refusal};
use crate::config::DeadlineStrategy;
use crate::deadlines::{Tick, Ticks};
use crate::errno::{Errno, PeerNews, SmallErrno};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::op::{Op, OpKind, RecvEnd, WatchEnd};
use crate::protocol::Protocol;
use crate::slots::Deadline::{Beat, Stall};
use crate::state::{Accusation, Event, Standing, State};
use crate::time::Instant;

impl<H: Handler> Shard<H> {
    /// Deals with every deadline that has come.
    pub(super) fn speak_verdicts(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        let (now, max) = (self.table.now, self.table.limits.verdicts_per_turn_max as usize);
        self.table.stats.sweeps += u64::from(self.table.conns.sweep(Beat, now, max, &mut due));
        for slot in due.drain(..) {
            match self.table.conns.id_of(slot) {
                Some(id) => {
                    self.beat_due(id);
                    self.keep_receiving(id);
                }
                None => self.table.conns.clear(Beat, slot),
            }
        }
        self.table.stats.sweeps += u64::from(self.table.conns.sweep(Stall, now, max, &mut due));
        for slot in due.drain(..) {
            match self.table.conns.id_of(slot) {
                Some(id) => self.stall_due(id),
                None => self.table.conns.clear(Stall, slot),
            }
        }
        self.due = due;
    }

    /// Sets when a connection must have proved something, and has somebody watch it.
    pub(super) fn expect_by(&mut self, id: ConnId, due: Tick) {
        match self.table.strategy {
            DeadlineStrategy::Sweep | DeadlineStrategy::Linked => self.table.conns.set(Beat, id.slot(), due),
            DeadlineStrategy::Lease if self.kernel_is_later(id, OpKind::Recv, due) => {
                self.table.conns.set(Beat, id.slot(), due);
            }
            // The recv in flight, or the one about to be armed, ends at or before it.
            DeadlineStrategy::Lease => self.table.conns.touch(Beat, id.slot(), due),
        }
    }

    /// Whether the timeout that the kernel holds with this op runs out too late for `due`: the deadline was shortened
    /// meanwhile, and the sweep has to judge.
    fn kernel_is_later(&self, id: ConnId, kind: OpKind, due: Tick) -> bool {
        let later = |until: Tick| !until.is_by(due);
        self.table.in_flight(id, kind) && self.table.conns.get(id).is_some_and(|r| later(r.kernel_until))
    }

    /// The hello deadline, the overdue time or the heartbeat deadline of a connection has come.
    fn beat_due(&mut self, id: ConnId) {
        let slot = id.slot();
        let Some(record) = self.table.conns.get(id) else { return };
        if record.is_undecided() {
            // What it sends is held back: it cannot be blamed for silence. How long that may take is among the stalls.
            let later = self.table.now_tick.plus(Ticks::of(self.table.liveness.hello_within));
            return self.expect_by(id, later);
        }
        let due = self.table.conns.due(Beat, slot).unwrap_or(record.deadline).near(self.table.now);
        match record.state.standing() {
            Some(Standing::Live) => self.beat_missing(id),
            Some(Standing::Greeting) if self.is_amnesty() => self.postpone(id),
            Some(Standing::Greeting) => self.accuse(id, Cause::HelloMissed, Some(due), None),
            Some(Standing::Overdue) if self.is_amnesty() => self.postpone(id),
            Some(Standing::Overdue) => {
                let deadline = record.deadline.near(self.table.now);
                self.accuse(id, Cause::HeartbeatMissed, Some(deadline), None);
            }
            None => self.table.conns.clear(Beat, slot),
        }
    }

    fn beat_missing(&mut self, id: ConnId) {
        let Some(overdue_at) = self.table.conns.due(Beat, id.slot()) else { return };
        let overdue_after = self.table.conns.overdue_after(id.slot());
        let record = self.table.conns.get_mut(id).expect("it is live");
        record.proved = overdue_at.minus(overdue_after);
        record.deadline = record.proved.plus(record.dead_within);
        record.state.transition(Event::BeatMissing);
        let deadline = record.deadline;
        self.table.stats.overdue += 1;
        self.watch(id, deadline);
        if let Some(ping) = self.protocol.ping(&self.protocol_states[id.slot() as usize]) {
            // If the queue is full, what fills it serves as well.
            let _ = self.table.send(id, ping);
        }
        self.tell(id, |handler, conn| handler.overdue(conn));
    }

    /// Has the strategy watch an overdue connection until `until`.
    pub(super) fn watch(&mut self, id: ConnId, until: Tick) {
        let slot = id.slot();
        match self.table.strategy {
            DeadlineStrategy::Sweep => self.table.conns.set(Beat, slot, until),
            DeadlineStrategy::Linked => {
                // A watch that is still in flight from the last time ends before, and then this one follows.
                let in_flight = self.table.in_flight(id, OpKind::Watch);
                let are_too_many = self.table.watches >= self.table.limits.watches_max;
                if self.kernel_is_later(id, OpKind::Watch, until) || (!in_flight && are_too_many) {
                    return self.table.conns.set(Beat, slot, until);
                }
                // From here on the kernel judges between byte and deadline. On a busy ring its timeout waits behind everything else
                // that is to be done: so the sweep has the same deadline one tick later, and judges if it is first.
                self.table.conns.set(Beat, slot, until.plus(Ticks::ONE));
                if !in_flight {
                    if !self.table.in_flight(id, OpKind::Recv) {
                        self.table.emit_recv(id); // A watch stands beside a recv.
                    }
                    self.table.kernel_takes_over(id, until);
                    let deadline = until.near(self.table.now);
                    self.table.emit(id, OpKind::Watch, Op::Watch { conn: id, deadline });
                }
            }
            DeadlineStrategy::Lease => {
                self.expect_by(id, until);
                if !self.table.in_flight(id, OpKind::Recv) {
                    self.table.emit_recv(id);
                }
            }
        }
    }

    pub(super) fn watch_ended(&mut self, id: ConnId, end: WatchEnd) {
        let Some(record) = self.table.conns.get(id) else { return };
        if !matches!(record.state, State::Overdue) {
            return; // It has proved that it lives, or its end is decided.
        }
        let (deadline, expired_at) = (record.deadline, record.kernel_until);
        let until = self.table.conns.due(Beat, id.slot()).map_or(deadline, |due| due.minus(Ticks::ONE));
        match end {
            WatchEnd::Expired if until.is_by(expired_at) && deadline.is_due(self.table.now) => {
                self.doubt_if_late(expired_at);
                if self.may_judge() {
                    self.beat_due(id);
                } else {
                    self.table.conns.set(Beat, id.slot(), deadline);
                }
            }
            // A watch from an earlier silence, or from before an acquittal: the present deadline is later.
            WatchEnd::Expired => self.watch(id, until),
            // Something came that has not proved life so far (half a frame), or the kernel cannot watch: the sweep judges.
            WatchEnd::Ready | WatchEnd::Failed(_) | WatchEnd::Cancelled => {}
        }
    }

    pub(super) fn recv_ended(&mut self, id: ConnId, end: RecvEnd) {
        let Some(end) = self.hold_end(id, end) else { return };
        let Some(record) = self.table.conns.get(id) else { return };
        let send_errno = record.send_errno.map(SmallErrno::errno);
        match &record.state {
            State::Greeting | State::Live | State::Overdue | State::Suspect(_) => match end {
                RecvEnd::Expired => self.lease_expired(id),
                // EPIPE says only that the stream is over: the error itself was left for the recv.
                RecvEnd::Failed(errno) => {
                    let first = send_errno.filter(|first| *first != Errno::EPIPE);
                    self.path_failed(id, first.unwrap_or(errno));
                }
                RecvEnd::Eof => match send_errno {
                    // The error was handed to the send; the recv only learned that it is over.
                    Some(errno) => self.path_failed(id, errno),
                    None => self.end(id, Cause::PeerClosed),
                },
                RecvEnd::Cancelled => {}
            },
            State::Grace(_) | State::Closing(_) => self.recv_ended_while_closing(id, end),
            State::Accepting => {}
        }
    }

    /// A lease ran out. Most often the peer has proved itself meanwhile and the lease is renewed for the remainder.
    fn lease_expired(&mut self, id: ConnId) {
        let due = self.table.conns.due(Beat, id.slot());
        if let Some(due) = due.filter(|due| due.is_due(self.table.now)) {
            let record = self.table.conns.get(id).expect("its recv has just landed");
            self.doubt_if_late(record.kernel_until);
            if !self.may_judge() {
                return self.table.conns.set(Beat, id.slot(), due); // The sweep goes on with it, and with its recv.
            }
            self.beat_due(id);
        }
        self.keep_receiving(id);
    }

    /// Arms the recv anew after its lease ran out, unless the end is near.
    pub(super) fn keep_receiving(&mut self, id: ConnId) {
        let standing = self.table.conns.get(id).is_some_and(|record| record.state.standing().is_some());
        if standing && !self.table.in_flight(id, OpKind::Recv) {
            self.table.emit_recv(id);
        }
    }

    /// Whether the timeouts of the kernel that were told in this turn are still few enough. The rest is left to the sweep,
    /// which has its own bound.
    fn may_judge(&mut self) -> bool {
        self.judged += 1;
        self.judged <= self.table.limits.verdicts_per_turn_max
    }

    /// TCP has ended the connection with an errno.
    fn path_failed(&mut self, id: ConnId, errno: Errno) {
        let cause = Cause::from_errno(errno);
        if let Some(record) = self.table.conns.get_mut(id)
            && let State::Suspect(accusation) = &mut record.state
        {
            accusation.errno = Some(errno); // Accused already, of something else: a note.
        }
        match errno.peer_news() {
            PeerNews::TimedOut | PeerNews::Unreachable => self.accuse(id, cause, None, Some(errno)),
            PeerNews::Reset | PeerNews::None => self.end_with(id, cause, Some(errno)),
        }
    }

    /// A claim, a frame, a send, the grace period or the drain has run out of time.
    fn stall_due(&mut self, id: ConnId) {
        let now = self.table.now;
        let Some(record) = self.table.conns.get(id) else { return };
        match &record.state {
            State::Grace(_) => return self.grace_over(id),
            State::Closing(_) => return self.drain_over(id),
            State::Greeting | State::Live | State::Overdue => {}
            State::Suspect(_) | State::Accepting => return self.table.conns.clear(Stall, id.slot()),
        }
        if let Some(errno) = record.send_errno {
            return self.path_failed(id, errno.errno());
        }
        let overdue = |due: Option<Tick>| due.filter(|due| due.is_due(now)).map(|due| due.near(now));
        let claim = overdue(self.table.claim_due(id));
        let (frame, send) = (overdue(self.table.frame_due(id)), overdue(self.table.send_due(id)));
        if self.is_amnesty() && claim.or(frame).or(send).is_some() {
            return self.postpone_stall(id);
        }
        if claim.is_some() {
            self.end(id, Cause::Refused(Refusal::ClaimUndecided));
        } else if frame.is_some() {
            self.accuse(id, Cause::FrameStalled, frame, None);
        } else if send.is_some() {
            self.accuse(id, Cause::SlowConsumer, send, None);
        } else {
            self.table.reset_stall(id);
        }
    }

    /// Accuses, and asks the socket for the evidence.
    fn accuse(&mut self, id: ConnId, cause: Cause, deadline: Option<Instant>, errno: Option<Errno>) {
        let slot = id.slot();
        let proved = self.table.proved(id);
        let record = self.table.conns.get_mut(id).expect("the accused exists");
        let Some(from) = record.state.standing() else { return };
        record.proved = proved.unwrap_or(record.proved);
        record.state.transition(Event::Accused(Box::new(Accusation { cause, deadline, errno, from })));
        self.table.conns.clear(Beat, slot);
        self.table.conns.clear(Stall, slot);
        if !self.table.in_flight(id, OpKind::Examine) {
            self.table.emit(id, OpKind::Examine, Op::Examine { conn: id });
        }
    }

    /// Since the last proof of life.
    pub(super) fn silence(&self, id: ConnId) -> Duration {
        let now = self.table.now;
        let Some(record) = self.table.conns.get(id) else { return Duration::ZERO };
        let proved = self.table.proved(id);
        now.saturating_since(proved.map_or(record.opened_at, |tick| tick.near(now)))
    }
}
