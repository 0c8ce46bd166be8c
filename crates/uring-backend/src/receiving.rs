//! Receiving and watching.
//!
//! Owns the stream that core sees as one, whatever becomes of the multishot requests beneath it: one may end because the
//! completion queue or the buffers ran out, and the next continues. Invariant: a `Recv` in flight has exactly one request in
//! the kernel, or is parked, or (on a closing connection) is about to be told as cancelled.
//!
//! A linked timeout is judged by the final completion of the request that it guards, never by its own: that arrives before
//! or after, and may say ETIME although the receive succeeded. A guarded request that was cancelled before its deadline
//! was hit by a late timeout of its predecessor, which bore the same name; it is armed again.

use heartring_core::{Completion, ConnId, Errno, Instant, OpKind, RecvEnd, WatchEnd};

use crate::backend::UringBackend;
use crate::completion::Cqe;
use crate::request_unsafe::Request;
use crate::slots::Phase;
use crate::user_data::Kind;

/// What follows when a request has ended.
#[derive(Debug, PartialEq, Eq)]
enum Next<End> {
    /// The op goes on in a new request, at once.
    Rearm,
    /// The op goes on when a buffer is free.
    Park,
    /// The op has ended.
    End(End),
}

impl UringBackend {
    pub(crate) fn recv(&mut self, conn: ConnId, deadline: Option<Instant>) {
        self.begin(conn, OpKind::Recv);
        if let Some(deadline) = deadline {
            self.slots.leases.set(conn, deadline);
        }
        self.arm_recv(conn);
    }

    fn arm_recv(&mut self, conn: ConnId) {
        let (target, deadline) = (self.slots.target(conn), self.slots.leases.get(conn));
        self.ring.push(Request::recv(conn, target, deadline));
    }

    pub(crate) fn recv_brought(
        &mut self,
        conn: ConnId,
        mut cqe: Cqe,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) {
        let now = self.now;
        self.ring.read(&mut cqe, |bytes| sink(now, Completion::Received { conn, bytes }));
        if !cqe.is_final() {
            return;
        }
        let phase = self.slots.get(conn).phase;
        match recv_next(cqe.result(), phase, self.slots.leases.get(conn), now) {
            Next::Rearm => self.arm_recv(conn),
            Next::Park => {
                self.slots.get(conn).recv_parked = true;
                self.parked.push_back(conn);
            }
            Next::End(end) => {
                self.slots.leases.clear(conn);
                self.end(conn, OpKind::Recv);
                sink(now, Completion::RecvEnded { conn, end });
                self.join(conn);
            }
        }
    }

    /// Arms parked receives again, as many as could find a buffer: all buffers are free between two turns. Arming more
    /// would fail at once, even on idle sockets.
    pub(crate) fn rearm_parked(&mut self) {
        for _ in 0..self.ring.receive_buffers() {
            let Some(conn) = self.parked.pop_front() else { return };
            let Some(slot) = self.slots.find(conn) else { continue };
            // Not parked any more if it was closed meanwhile.
            if std::mem::take(&mut slot.recv_parked) {
                self.arm_recv(conn);
            }
        }
    }

    pub(crate) fn parked_recv_cancelled(
        &mut self,
        conn: ConnId,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) {
        self.slots.leases.clear(conn);
        self.end(conn, OpKind::Recv);
        sink(self.now, Completion::RecvEnded { conn, end: RecvEnd::Cancelled });
        self.join(conn);
    }

    pub(crate) fn watch(&mut self, conn: ConnId, deadline: Instant) {
        self.begin(conn, OpKind::Watch);
        self.slots.watches.set(conn, deadline);
        self.arm_watch(conn, deadline);
    }

    fn arm_watch(&mut self, conn: ConnId, deadline: Instant) {
        let target = self.slots.target(conn);
        self.ring.push(Request::watch(conn, target, deadline));
    }

    pub(crate) fn watch_ended(
        &mut self,
        conn: ConnId,
        result: Result<u32, Errno>,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) {
        let phase = self.slots.get(conn).phase;
        let deadline = self.slots.watches.get(conn).expect("a watch has a deadline");
        match watch_next(result, phase, deadline, self.now) {
            Next::Rearm | Next::Park => self.arm_watch(conn, deadline),
            Next::End(end) => {
                self.slots.watches.clear(conn);
                self.end(conn, OpKind::Watch);
                sink(self.now, Completion::WatchEnded { conn, end });
                self.join(conn);
            }
        }
    }

    /// A linked timeout that completes at all was not armed: its chain was split over two submits, which takes a kernel
    /// without memory. What it should guard is cancelled, and being early, armed again.
    pub(crate) fn timeout_failed(&mut self, conn: ConnId, guarded: Kind, result: Result<u32, Errno>) {
        if result == Err(Errno::EINVAL) && self.slots.find(conn).is_some() {
            self.ring.push(Request::cancel(guarded, conn));
        }
    }
}

fn recv_next(
    result: Result<u32, Errno>,
    phase: Phase,
    lease: Option<Instant>,
    now: Instant,
) -> Next<RecvEnd> {
    match result {
        Ok(0) => Next::End(RecvEnd::Eof),
        Err(_) if phase.is_reset() => Next::End(RecvEnd::Cancelled),
        Ok(_) | Err(Errno::ECANCELED | Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR)
            if phase.is_closing() =>
        {
            Next::End(RecvEnd::Cancelled)
        }
        Err(Errno::ECANCELED) if lease.is_some_and(|deadline| now >= deadline) => Next::End(RecvEnd::Expired),
        Ok(_) | Err(Errno::ECANCELED) => Next::Rearm,
        // EAGAIN and EINTR: the kernel had no memory to park the request. Neither says anything of the peer.
        Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => Next::Park,
        Err(errno) => Next::End(RecvEnd::Failed(errno)),
    }
}

fn watch_next(result: Result<u32, Errno>, phase: Phase, deadline: Instant, now: Instant) -> Next<WatchEnd> {
    match result {
        // It was woken by the reset, or as good as that.
        Ok(_) | Err(_) if phase.is_reset() => Next::End(WatchEnd::Cancelled),
        Ok(_) => Next::End(WatchEnd::Ready),
        Err(Errno::ECANCELED) if phase.is_closing() => Next::End(WatchEnd::Cancelled),
        Err(Errno::ECANCELED) if now >= deadline => Next::End(WatchEnd::Expired),
        Err(Errno::ECANCELED) => Next::Rearm,
        Err(errno) => Next::End(WatchEnd::Failed(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Ending;

    const DEADLINE: Instant = Instant::from_nanos(100);
    const EARLY: Instant = Instant::from_nanos(99);

    fn judge(phase: Phase) -> impl Fn(Result<u32, Errno>, Instant) -> (Next<RecvEnd>, Next<WatchEnd>) {
        move |result, now| {
            let recv = recv_next(result, phase, Some(DEADLINE), now);
            (recv, watch_next(result, phase, DEADLINE, now))
        }
    }

    #[test]
    fn a_cancellation_is_an_expiry_only_from_the_deadline_on() {
        let judge = judge(Phase::Open);
        let expired = (Next::End(RecvEnd::Expired), Next::End(WatchEnd::Expired));
        assert_eq!(judge(Err(Errno::ECANCELED), DEADLINE), expired);
        assert_eq!(judge(Err(Errno::ECANCELED), EARLY), (Next::Rearm, Next::Rearm));
        assert_eq!(
            recv_next(Err(Errno::ECANCELED), Phase::Open, None, DEADLINE),
            Next::Rearm,
            "it has no lease"
        );
    }

    #[test]
    fn a_cancellation_while_closing_is_one() {
        let judge = judge(Phase::Closing(Ending::Orderly));
        let cancelled = (Next::End(RecvEnd::Cancelled), Next::End(WatchEnd::Cancelled));
        assert_eq!(judge(Err(Errno::ECANCELED), DEADLINE), cancelled);
        assert_eq!(judge(Ok(7), EARLY).0, Next::End(RecvEnd::Cancelled), "it is not armed again");
        assert_eq!(judge(Ok(0), EARLY).0, Next::End(RecvEnd::Eof), "the peer was faster");
    }

    #[test]
    fn what_our_own_reset_has_ended_was_cancelled() {
        let judge = judge(Phase::Closing(Ending::Reset));
        let cancelled = (Next::End(RecvEnd::Cancelled), Next::End(WatchEnd::Cancelled));
        for errno in [Errno::ECONNRESET, Errno::ENOTCONN, Errno::ECANCELED] {
            assert_eq!(judge(Err(errno), DEADLINE), cancelled);
        }
        assert_eq!(judge(Ok(7), EARLY), cancelled, "no byte has woken the watch");
    }

    #[test]
    fn data_without_more_goes_on_and_scarcity_parks() {
        let judge = judge(Phase::Open);
        assert_eq!(judge(Ok(7), DEADLINE).0, Next::Rearm);
        assert_eq!(judge(Err(Errno::ENOBUFS), DEADLINE).0, Next::Park);
        let reset = judge(Err(Errno::ECONNRESET), EARLY);
        assert_eq!(reset.0, Next::End(RecvEnd::Failed(Errno::ECONNRESET)));
        assert_eq!(reset.1, Next::End(WatchEnd::Failed(Errno::ECONNRESET)));
    }
}
