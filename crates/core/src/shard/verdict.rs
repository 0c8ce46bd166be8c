//! Who is dead.
//!
//! A deadline accuses, it does not convict. Before the verdict the socket is examined: if bytes lie unread, *we* are late, and
//! the accused gets another moment. And if the whole thread was away (a frozen process, a machine that sleeps), nobody is
//! judged before everybody had the time for another beat.

use std::time::Duration;

use super::Shard;
use crate::cause::{Cause, Closed, PathDeath, Refusal};
use crate::config::DeadlineStrategy;
use crate::deadlines::{Tick, Ticks};
use crate::errno::{Errno, PeerNews};
use crate::evidence::{Evidence, SocketEvidence};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::op::{Op, OpKind, RecvEnd, WatchEnd};
use crate::protocol::Protocol;
use crate::state::{Accusation, Event, Standing, State};
use crate::time::Instant;

/// How often unread bytes acquit in a row, without a valid frame among them. A peer that sends garbage for ever is not alive.
const LOOKS_MAX: u8 = 3;

/// States of tcp_states.h: an RST or a time-out has ended the connection...
const TCP_CLOSE: u8 = 7;

/// ...or a FIN its incoming half.
const TCP_CLOSE_WAIT: u8 = 8;

/// The kernel counts in jiffies of up to 10 ms when it last sent: a question that was asked at the very moment can look
/// that much older.
const CLOCK_SLACK: Duration = Duration::from_millis(10);

impl<H: Handler> Shard<H> {
    /// Deals with every deadline that has come.
    pub(super) fn speak_verdicts(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        let (now, max) = (self.table.now, self.table.limits.verdicts_per_turn_max as usize);
        self.table.stats.sweeps += u64::from(self.table.beats.sweep(now, max, &mut due));
        for slot in due.drain(..) {
            match self.table.conns.id_of(slot) {
                Some(id) => {
                    self.beat_due(id);
                    self.keep_receiving(id);
                }
                None => self.table.beats.clear(slot),
            }
        }
        self.table.stats.sweeps += u64::from(self.table.stalls.sweep(now, max, &mut due));
        for slot in due.drain(..) {
            match self.table.conns.id_of(slot) {
                Some(id) => self.stall_due(id),
                None => self.table.stalls.clear(slot),
            }
        }
        self.due = due;
    }

    /// Sets when a connection must have proved something, and has somebody watch it.
    pub(super) fn expect_by(&mut self, id: ConnId, due: Tick) {
        match self.table.strategy {
            DeadlineStrategy::Sweep | DeadlineStrategy::Linked => self.table.beats.set(id.slot(), due),
            DeadlineStrategy::Lease if self.kernel_is_later(id, OpKind::Recv, due) => {
                self.table.beats.set(id.slot(), due);
            }
            // The recv in flight, or the one about to be armed, ends at or before it.
            DeadlineStrategy::Lease => self.table.beats.touch(id.slot(), due),
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
        let due = self.table.beats.get(slot).unwrap_or(record.deadline).near(self.table.now);
        match record.state.standing() {
            Some(Standing::Live) => self.beat_missing(id),
            Some(Standing::Greeting) if self.is_amnesty() => self.postpone(id),
            Some(Standing::Greeting) => self.accuse(id, Cause::HelloMissed, Some(due), None),
            Some(Standing::Overdue) if self.is_amnesty() => self.postpone(id),
            Some(Standing::Overdue) => {
                let deadline = record.deadline.near(self.table.now);
                self.accuse(id, Cause::HeartbeatMissed, Some(deadline), None);
            }
            None => self.table.beats.clear(slot),
        }
    }

    fn beat_missing(&mut self, id: ConnId) {
        let Some(overdue_at) = self.table.beats.get(id.slot()) else { return };
        let record = self.table.conns.get_mut(id).expect("it is live");
        record.proved = overdue_at.minus(record.overdue_after);
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
            DeadlineStrategy::Sweep => self.table.beats.set(slot, until),
            DeadlineStrategy::Linked => {
                // From here on the kernel judges between byte and deadline. A watch that is still in flight from the last
                // time ends before, and then this one follows.
                self.table.beats.clear(slot);
                if self.kernel_is_later(id, OpKind::Watch, until) {
                    self.table.beats.set(slot, until);
                } else if !self.table.in_flight(id, OpKind::Watch) {
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
        match end {
            WatchEnd::Expired if deadline.is_due(self.table.now) => {
                self.doubt_if_late(expired_at);
                if self.may_judge() {
                    self.beat_due(id);
                } else {
                    self.table.beats.set(id.slot(), deadline);
                }
            }
            // A watch from an earlier silence: the present one has its own deadline.
            WatchEnd::Expired => self.watch(id, deadline),
            // Something came that has not proved life so far (half a frame), or the kernel cannot watch: the sweep does, for as
            // long. After an acquittal or a stall that is beyond the deadline: what woke the watch are the bytes that lie unread,
            // and they are given the time.
            WatchEnd::Ready | WatchEnd::Failed(_) if self.table.beats.get(id.slot()).is_none() => {
                let until = if expired_at.is_by(deadline) { deadline } else { expired_at };
                self.table.beats.set(id.slot(), until);
            }
            // The sweep has a deadline that was shortened meanwhile.
            WatchEnd::Ready | WatchEnd::Failed(_) => {}
            WatchEnd::Cancelled => {}
        }
    }

    pub(super) fn recv_ended(&mut self, id: ConnId, end: RecvEnd) {
        let Some(end) = self.hold_end(id, end) else { return };
        let Some(record) = self.table.conns.get(id) else { return };
        let send_errno = record.send_errno;
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
        let due = self.table.beats.get(id.slot());
        if let Some(due) = due.filter(|due| due.is_due(self.table.now)) {
            let record = self.table.conns.get(id).expect("its recv has just landed");
            self.doubt_if_late(record.kernel_until);
            if !self.may_judge() {
                return self.table.beats.set(id.slot(), due); // The sweep goes on with it, and with its recv.
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
            State::Suspect(_) | State::Accepting => return self.table.stalls.clear(id.slot()),
        }
        if let Some(errno) = record.send_errno {
            return self.path_failed(id, errno);
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
        self.table.beats.clear(slot);
        self.table.stalls.clear(slot);
        if !self.table.in_flight(id, OpKind::Examine) {
            self.table.emit(id, OpKind::Examine, Op::Examine { conn: id });
        }
    }

    pub(super) fn examined(&mut self, id: ConnId, evidence: SocketEvidence) {
        let Some(record) = self.table.conns.get(id) else { return };
        // Where it could not be asked, the recv gets one more moment to say it.
        let unread = evidence.unread.map_or(record.looks == 0, |bytes| bytes > 0);
        // And where TCP knows the end already: the recv is about to say which.
        let ended = evidence.tcp.is_some_and(|tcp| matches!(tcp.state, TCP_CLOSE | TCP_CLOSE_WAIT));
        match &record.state {
            State::Suspect(accusation) => {
                let accusation = **accusation;
                if (unread || ended) && accusation.is_refuted_by_proof() && record.looks < LOOKS_MAX {
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

    /// Bytes lie unread: the accused gets the time that it takes to read them, which is as long as our own thread may be late.
    pub(super) fn acquit(&mut self, id: ConnId, accusation: Accusation) {
        let recheck = self.table.now_tick.plus(Ticks::of(self.table.liveness.stall_tolerance));
        let record = self.table.conns.get_mut(id).expect("the accused exists");
        record.looks += 1;
        record.state.transition(Event::Acquitted);
        let (overdue_at, deadline) = (record.proved.plus(record.overdue_after), record.deadline);
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
        self.table.reset_stall(id);
        self.keep_receiving(id);
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
        let overdue_at = record.proved.plus(record.overdue_after);
        let asked = self.table.sends_since(id, overdue_at);
        // A socket that has failed meanwhile has nothing unsent either.
        let stuck = asked && accusation.errno.is_none() && is_stuck(&evidence, record.overdue_after.duration());
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

    /// Since the last proof of life.
    pub(super) fn silence(&self, id: ConnId) -> Duration {
        let now = self.table.now;
        let Some(record) = self.table.conns.get(id) else { return Duration::ZERO };
        let proved = self.table.proved(id);
        now.saturating_since(proved.map_or(record.opened_at, |tick| tick.near(now)))
    }
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
