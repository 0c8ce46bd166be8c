//! How it ends: the only place that closes.
//!
//! A connection goes through at most three steps: flush what is queued, send our FIN and await the peer's, release. The
//! dead, the slow and the replaced are released at once and abortively, so that nothing of them lingers in the kernel. The
//! handler is told when the close begins; what still comes is discarded.

use std::time::Duration;

use bytes::Bytes;

use super::Shard;
use crate::cause::{Cause, Closed};
use crate::conn::Conns;
use crate::deadlines::{Tick, Ticks};
use crate::errno::{Errno, PeerNews, SmallErrno};
use crate::evidence::{Evidence, SocketEvidence};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::op::{CloseHow, Op, OpKind, RecvEnd};
use crate::slots::Deadline::{Beat, Stall};
use crate::state::{AfterFlush, Event, State, Step};

/// How long the last bytes of a grace period may take to be read, and a recv to end after a send has met the error.
pub(super) const LAST_LOOK: Duration = Duration::from_millis(10);

/// How long the last word to a peer that is not waited for may take to reach the socket's buffer. It is empty nearly always.
/// A socket that has not taken a send for as long is not given a last word.
const LAST_WORD: Duration = Duration::from_millis(100);

/// How a connection is closed, by its cause.
enum Exit {
    /// Send what is queued, our FIN, await the peer's.
    Drain,
    /// The peer's FIN is here: send what is queued, close.
    Flush,
    /// Close. The socket is dead already.
    Orderly,
    /// Reset.
    Abortive,
    /// Send the handler's last word, then reset.
    LastWord,
}

impl<H: Handler> Shard<H> {
    /// Does what handlers have asked for.
    pub(super) fn obey(&mut self) {
        loop {
            if let Some(id) = self.table.close_requests.pop() {
                self.end(id, Cause::Local);
            } else if let Some(request) = self.table.requests.pop_front() {
                self.ask(request);
            } else if let Some(order) = self.orders.pop_front() {
                self.follow(order);
            } else {
                return;
            }
        }
    }

    /// Ends a connection for a cause that needs no evidence.
    pub(super) fn end(&mut self, id: ConnId, cause: Cause) {
        self.end_with(id, cause, None);
    }

    pub(super) fn end_with(&mut self, id: ConnId, cause: Cause, errno: Option<Errno>) {
        let Some(record) = self.table.conns.get(id) else { return };
        let closed = match &record.state {
            State::Accepting | State::Closing(_) => return,
            // The first cause wins, and its last word has been said.
            State::Grace(_) => return self.end_grace(id, CloseHow::Abortive),
            State::Greeting | State::Live | State::Overdue | State::Suspect(_) => Closed {
                cause,
                evidence: Evidence { silence: self.silence(id), socket: SocketEvidence::default(), errno },
                opened_at: record.opened_at,
                decided_at: self.table.now,
                lateness: None,
                late_bytes: 0,
            },
        };
        self.finish(id, &closed, None);
    }

    /// Tells the handler and begins the close: as `exit` says after a grace period, otherwise as the cause and the last word
    /// want it.
    pub(super) fn finish(&mut self, id: ConnId, closed: &Closed, exit: Option<CloseHow>) {
        self.table.stats.count_closed(&closed.cause);
        self.table.drop_partial(id);
        self.table.conns.clear(Beat, id.slot());
        let record = self.table.conns.get(id).expect("the caller has found it");
        self.doors.leave(record.peer.into());
        let exit = match exit {
            Some(CloseHow::Orderly) => Exit::Orderly,
            Some(CloseHow::Abortive) => Exit::Abortive,
            None => {
                // A send of a moment ago may have ended, and its completion stand behind the one that is told now.
                let a_moment_ago = self.table.now_tick.minus(Ticks::of(LAST_WORD));
                let takes = record.unsent == 0 || self.table.sends_since(id, a_moment_ago);
                self.last_word(id, closed);
                self.exit_of(id, &closed.cause, takes)
            }
        };
        match exit {
            Exit::Drain => self.begin_flush(id, AfterFlush::Fin),
            Exit::Flush => self.begin_flush(id, AfterFlush::Release),
            Exit::LastWord => self.begin_flush(id, AfterFlush::Reset),
            Exit::Orderly => self.release_with(id, CloseHow::Orderly),
            Exit::Abortive => self.release_with(id, CloseHow::Abortive),
        }
        self.tell(id, |handler, conn| handler.closed(conn, closed));
        self.release_claim(id);
    }

    /// Lets the handler say something to a peer that may still hear it.
    fn last_word(&mut self, id: ConnId, closed: &Closed) {
        let heard = match closed.cause {
            Cause::PeerReset | Cause::PathDead(_) | Cause::Os(_) => false,
            Cause::PeerClosed
            | Cause::HeartbeatMissed
            | Cause::HelloMissed
            | Cause::FrameStalled
            | Cause::PeerStuck
            | Cause::SlowConsumer
            | Cause::Superseded { .. }
            | Cause::Protocol(_)
            | Cause::TooLarge
            | Cause::Refused(_)
            | Cause::Draining
            | Cause::Local => true,
        };
        let record = self.table.conns.get_mut(id).expect("the caller has found it");
        record.state.transition(Event::Ended(Step::LastWord { heard }));
        self.tell(id, |handler, conn| handler.closing(conn, closed));
    }

    fn exit_of(&self, id: ConnId, cause: &Cause, takes: bool) -> Exit {
        let unsent = self.table.conns.get(id).is_some_and(|record| record.unsent > 0);
        match cause {
            Cause::Draining | Cause::Local => Exit::Drain,
            // A goodbye in the protocol's words: the peer's FIN is still to come.
            Cause::PeerClosed if self.table.in_flight(id, OpKind::Recv) => Exit::Drain,
            // What the handler has said about it still reaches the peer; without that there is nothing to wait for.
            Cause::Protocol(_) | Cause::TooLarge if unsent => Exit::Drain,
            Cause::PeerClosed if unsent => Exit::Flush,
            Cause::PeerClosed | Cause::PeerReset => Exit::Orderly,
            Cause::PathDead(_) | Cause::Os(_) => Exit::Abortive,
            Cause::Protocol(_)
            | Cause::TooLarge
            | Cause::HeartbeatMissed
            | Cause::HelloMissed
            | Cause::FrameStalled
            | Cause::PeerStuck
            | Cause::SlowConsumer
            | Cause::Superseded { .. }
            | Cause::Refused(_) => {
                if unsent && takes {
                    Exit::LastWord
                } else {
                    Exit::Abortive
                }
            }
        }
    }

    /// Shuts our sending side; what the device still sends within the grace period is delivered as late.
    pub(super) fn begin_grace(&mut self, id: ConnId, closed: Closed) {
        let until = self.table.now_tick.plus(Ticks::of(self.table.liveness.grace));
        self.tell(id, |handler, conn| handler.closing(conn, &closed));
        let record = self.table.conns.get_mut(id).expect("the convicted exists");
        record.state.transition(Event::Condemned(Box::new(closed)));
        record.looks = 0;
        self.table.drop_queue(id);
        self.table.conns.set(Stall, id.slot(), until);
        self.table.emit(id, OpKind::Shutdown, Op::Shutdown { conn: id });
        if !self.table.in_flight(id, OpKind::Recv) {
            self.table.emit_recv(id);
        }
    }

    /// The grace period is over; one last look whether something lies unread.
    pub(super) fn grace_over(&mut self, id: ConnId) {
        if self.is_amnesty() {
            let until = Tick::at_or_after(self.amnesty_until);
            return self.table.conns.set(Stall, id.slot(), until);
        }
        self.table.conns.clear(Stall, id.slot());
        if !self.table.in_flight(id, OpKind::Examine) {
            self.table.emit(id, OpKind::Examine, Op::Examine { conn: id });
        }
    }

    pub(super) fn grace_examined(&mut self, id: ConnId, unread: bool) {
        let again = self.table.now_tick.plus(Ticks::of(LAST_LOOK));
        let record = self.table.conns.get_mut(id).expect("the caller has found it");
        record.looks += 1;
        if unread && record.looks == 1 {
            self.table.conns.set(Stall, id.slot(), again);
        } else {
            self.end_grace(id, CloseHow::Abortive);
        }
    }

    fn end_grace(&mut self, id: ConnId, how: CloseHow) {
        let record = self.table.conns.get(id).expect("the caller has found it");
        let State::Grace(closed) = &record.state else { return };
        let closed = **closed;
        self.finish(id, &closed, Some(how));
    }

    pub(super) fn recv_ended_while_closing(&mut self, id: ConnId, end: RecvEnd) {
        let Some(record) = self.table.conns.get_mut(id) else { return };
        match (&mut record.state, end) {
            // The lease of an earlier state.
            (State::Grace(_) | State::Closing(Step::Flush { .. } | Step::Fin), RecvEnd::Expired) => {
                self.table.emit_recv(id);
            }
            (State::Grace(_), RecvEnd::Eof) => self.end_grace(id, CloseHow::Orderly),
            (State::Grace(closed), RecvEnd::Failed(errno)) => {
                closed.evidence.errno = Some(errno); // The cause stands; this is a note.
                self.end_grace(id, CloseHow::Orderly);
            }
            (State::Closing(Step::Flush { then: AfterFlush::Fin }), RecvEnd::Eof) => {
                record.state.transition(Event::Ended(Step::Flush { then: AfterFlush::Release }));
            }
            (State::Closing(Step::Fin), RecvEnd::Eof | RecvEnd::Failed(_)) => {
                self.release_with(id, CloseHow::Orderly);
            }
            // If it was our own machine that failed, the peer is there: it must not take what was sent so far for all of it.
            (State::Closing(Step::Flush { .. }), RecvEnd::Failed(_)) => {
                self.release_with(id, CloseHow::Abortive);
            }
            (
                State::Accepting
                | State::Greeting
                | State::Live
                | State::Overdue
                | State::Suspect(_)
                | State::Grace(_)
                | State::Closing(_),
                _,
            ) => {}
        }
    }

    fn begin_flush(&mut self, id: ConnId, then: AfterFlush) {
        let within = match then {
            AfterFlush::Fin | AfterFlush::Release => self.table.liveness.drain_within,
            AfterFlush::Reset => LAST_WORD,
        };
        let until = self.table.now_tick.plus(Ticks::of(within));
        let record = self.table.conns.get_mut(id).expect("the caller has found it");
        record.state.transition(Event::Ended(Step::Flush { then }));
        self.table.conns.set(Stall, id.slot(), until);
        self.advance_flush(id);
    }

    /// Goes on to the next step once everything is sent.
    fn advance_flush(&mut self, id: ConnId) {
        let Some(record) = self.table.conns.get_mut(id) else { return };
        let State::Closing(Step::Flush { then }) = record.state else { return };
        if record.unsent > 0 {
            return;
        }
        match then {
            AfterFlush::Release => self.release_with(id, CloseHow::Orderly),
            AfterFlush::Reset => self.release_with(id, CloseHow::Abortive),
            AfterFlush::Fin => {
                record.state.transition(Event::Ended(Step::Fin));
                self.table.emit(id, OpKind::Shutdown, Op::Shutdown { conn: id });
                if !self.table.in_flight(id, OpKind::Recv) {
                    self.table.emit_recv(id);
                }
            }
        }
    }

    pub(super) fn shut_down(&mut self, id: ConnId, result: Result<(), Errno>) {
        let Some(record) = self.table.conns.get(id) else { return };
        // The peer is gone already. In grace the recv says so.
        if result.is_err() && matches!(record.state, State::Closing(Step::Fin)) {
            self.release_with(id, CloseHow::Orderly);
        }
    }

    /// The flush or the peer's FIN took too long.
    pub(super) fn drain_over(&mut self, id: ConnId) {
        let Some(record) = self.table.conns.get(id) else { return };
        if matches!(record.state, State::Closing(Step::Flush { .. } | Step::Fin)) {
            self.release_with(id, CloseHow::Abortive);
        } else {
            self.table.conns.clear(Stall, id.slot());
        }
    }

    /// The last step: the backend ends what is in flight and closes the socket; `Closed` frees the slot.
    pub(super) fn release_with(&mut self, id: ConnId, how: CloseHow) {
        self.table.drop_queue(id);
        self.table.conns.clear(Stall, id.slot());
        let record = self.table.conns.get_mut(id).expect("the caller has found it");
        record.state.transition(Event::Ended(Step::Release));
        self.table.emit(id, OpKind::Close, Op::Close { conn: id, how });
    }

    pub(super) fn sent(&mut self, id: ConnId, payload: Bytes, result: Result<usize, Errno>) {
        let Some(record) = self.table.conns.get_mut(id) else { return };
        if matches!(record.state, State::Closing(Step::Release) | State::Grace(_)) {
            record.unsent = 0; // Nobody waits for it any more.
            return;
        }
        match result {
            Ok(taken) => {
                let (congested, closing) = (record.congested, matches!(record.state, State::Closing(_)));
                self.table.sent(id, payload, taken);
                if closing {
                    self.advance_flush(id);
                }
                if congested && self.table.take_relief(id) {
                    self.tell(id, |handler, conn| handler.writable(conn));
                }
            }
            Err(errno) => self.send_failed(id, errno),
        }
    }

    /// A send met an error. If the peer is gone, the recv ends with it too, after whatever is left to read: it decides.
    fn send_failed(&mut self, id: ConnId, errno: Errno) {
        self.table.drop_queue(id);
        let soon = self.table.now_tick.plus(Ticks::of(LAST_LOOK));
        let record = self.table.conns.get_mut(id).expect("the caller has found it");
        record.unsent = 0;
        match &record.state {
            State::Closing(_) => self.release_with(id, CloseHow::Abortive),
            // The verdict is under way. If it is an acquittal, the recv ends without knowing why.
            State::Suspect(_) => record.send_errno = Some(SmallErrno::of(errno)),
            State::Greeting | State::Live | State::Overdue => {
                record.send_errno = Some(SmallErrno::of(errno));
                if errno.peer_news() == PeerNews::None {
                    self.end_with(id, Cause::Os(errno), Some(errno));
                } else {
                    self.table.conns.set(Stall, id.slot(), soon);
                }
            }
            State::Accepting | State::Grace(_) => {}
        }
    }

    pub(super) fn drain_conns(&mut self) {
        let ids: Vec<ConnId> = Conns { table: &mut self.table }.ids().collect();
        for id in ids {
            self.end(id, Cause::Draining);
        }
    }
}
