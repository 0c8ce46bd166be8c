//! The ops in flight, and how they may end.
//!
//! It asserts what the contract demands of the caller, and draws from the input what it leaves to the backend.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Buf, Bytes};
use heartring_core::{
    Completion, ConnId, Errno, Instant, Limits, ListenerId, Op, OpKind, RecvEnd, SocketEvidence, TcpEvidence,
    WatchEnd,
};

use crate::input::Input;

const ERRNOS: [Errno; 16] = [
    Errno::ECONNRESET,
    Errno::ETIMEDOUT,
    Errno::EPIPE,
    Errno::EHOSTUNREACH,
    Errno::ECONNABORTED,
    Errno::ENETDOWN,
    Errno::ECONNREFUSED,
    Errno::ENOMEM,
    Errno::ENOBUFS,
    Errno::EMFILE,
    Errno::EINVAL,
    Errno::EBADF,
    Errno::EAGAIN,
    Errno::EPERM,
    Errno::ECANCELED,
    Errno(4095),
];

/// What the backend tells.
#[derive(Debug)]
pub(super) enum News {
    Received { conn: ConnId, bytes: Vec<u8> },
    Ended(Completion<'static>),
}

/// See the module's own text.
#[derive(Debug)]
pub(super) struct Kernel {
    in_flight: Vec<Op>,
    sockets: BTreeMap<ConnId, Socket>,
    doors: Vec<Door>,
    /// Every id that was ever accepted into.
    used: BTreeSet<ConnId>,
    slots: u32,
    accepts_per_door: usize,
}

/// A connection from its accept to its `Closed`.
#[derive(Debug, Default)]
struct Socket {
    /// How its stream has ended.
    end: Option<RecvEnd>,
    /// What the last send did not take: the next begins with it.
    unsent: Bytes,
    is_shut: bool,
    is_closing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Open,
    Closing,
    Closed,
}

impl Kernel {
    pub(super) fn new(limits: &Limits, conns_max: u32, doors: usize) -> Self {
        Self {
            in_flight: Vec::new(),
            sockets: BTreeMap::new(),
            doors: vec![Door::Open; doors],
            used: BTreeSet::new(),
            slots: limits.slots_for(conns_max, doors as u32),
            accepts_per_door: limits.accepts_in_flight as usize,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
            && self.sockets.is_empty()
            && self.doors.iter().all(|door| *door == Door::Closed)
    }

    /// Takes an op on, which must be one that may be asked for.
    pub(super) fn submit(&mut self, op: Op) {
        match &op {
            Op::Accept { listener, conn } => self.check_accept(*listener, *conn),
            Op::Unlisten { listener } => {
                let door = &mut self.doors[usize::from(listener.0)];
                assert_eq!(std::mem::replace(door, Door::Closing), Door::Open, "closed twice");
            }
            Op::Recv { conn, .. }
            | Op::Watch { conn, .. }
            | Op::Send { conn, .. }
            | Op::Examine { conn }
            | Op::Shutdown { conn }
            | Op::Close { conn, .. } => self.check(*conn, &op),
        }
        self.in_flight.push(op);
    }

    fn check_accept(&mut self, listener: ListenerId, conn: ConnId) {
        assert_eq!(self.doors[usize::from(listener.0)], Door::Open, "an accept after the end");
        assert!(conn.slot() < self.slots, "{conn} of {} slots", self.slots);
        assert!(self.used.insert(conn), "{conn} for the second time");
        let accepts = self.accepts_of(listener);
        assert!(accepts.len() < self.accepts_per_door, "too many accepts on {listener:?}: {accepts:?}");
        let in_flight = self.in_flight.iter().filter_map(conn_of);
        let mut others = in_flight.chain(self.sockets.keys().copied());
        assert!(others.all(|other| other.slot() != conn.slot()), "the slot of {conn} is in use");
    }

    fn accepts_of(&self, listener: ListenerId) -> Vec<ConnId> {
        let accepts = self.in_flight.iter().filter_map(|op| {
            if let Op::Accept { listener: its, conn } = op {
                (*its == listener).then_some(*conn)
            } else {
                None
            }
        });
        accepts.collect()
    }

    fn check(&mut self, conn: ConnId, op: &Op) {
        let has = |kind| self.has(conn, kind);
        assert!(kind_of(op).is_some_and(|kind| !has(kind)), "{op:?} beside {:?}", self.in_flight);
        let beside_recv = has(OpKind::Recv);
        let socket = self.sockets.get_mut(&conn).unwrap_or_else(|| panic!("{op:?} of nobody"));
        assert!(!socket.is_closing, "{op:?} after the close");
        match op {
            Op::Watch { .. } => assert!(beside_recv, "a watch stands beside a recv"),
            Op::Send { payload, .. } => {
                assert!(!socket.is_shut && !payload.is_empty(), "{op:?} of {socket:?}");
                assert!(payload.starts_with(&socket.unsent), "{op:?} goes on after {socket:?}");
            }
            Op::Shutdown { .. } => {
                assert!(!std::mem::replace(&mut socket.is_shut, true), "{conn} is shut a second time");
            }
            Op::Close { .. } => socket.is_closing = true,
            Op::Accept { .. } | Op::Recv { .. } | Op::Examine { .. } | Op::Unlisten { .. } => {}
        }
    }

    fn has(&self, conn: ConnId, kind: OpKind) -> bool {
        self.in_flight.iter().any(|op| conn_of(op) == Some(conn) && kind_of(op) == Some(kind))
    }

    /// Where the nth op stands that can complete now: closing comes last.
    pub(super) fn nth(&self, nth: usize) -> Option<usize> {
        let can_complete = |op: &Op| match op {
            Op::Close { conn, .. } => {
                self.in_flight.iter().filter(|other| conn_of(other) == Some(*conn)).count() == 1
            }
            Op::Unlisten { listener } => self.accepts_of(*listener).is_empty(),
            Op::Accept { .. }
            | Op::Recv { .. }
            | Op::Watch { .. }
            | Op::Send { .. }
            | Op::Examine { .. }
            | Op::Shutdown { .. } => true,
        };
        let candidates: Vec<usize> =
            (0..self.in_flight.len()).filter(|nth| can_complete(&self.in_flight[*nth])).collect();
        candidates.get(nth.checked_rem(candidates.len())?).copied()
    }

    /// Completes an op, or tells an item of it. An input that is over lets it end as it would among the well-behaved.
    pub(super) fn complete(&mut self, index: usize, now: Instant, input: &mut Input) -> News {
        if let Op::Recv { conn, deadline } = self.in_flight[index] {
            return self.receive(index, conn, deadline.is_some_and(|at| at <= now), input);
        }
        let op = self.in_flight.remove(index);
        News::Ended(match op {
            Op::Accept { listener, conn } => self.accept(listener, conn, input),
            Op::Recv { .. } => unreachable!("it was found before"),
            Op::Watch { conn, deadline } => {
                let end = self.watch_end(conn, deadline <= now, input);
                Completion::WatchEnded { conn, end }
            }
            Op::Send { conn, payload, .. } => self.send(conn, payload, input),
            Op::Examine { conn } => Completion::Examined { conn, evidence: evidence(input) },
            Op::Shutdown { conn } => {
                let result = if input.flag() { Err(Errno::ENOTCONN) } else { Ok(()) };
                Completion::ShutDown { conn, result }
            }
            Op::Close { conn, .. } => {
                self.sockets.remove(&conn).expect("it was closed once");
                Completion::Closed { conn }
            }
            Op::Unlisten { listener } => {
                self.doors[usize::from(listener.0)] = Door::Closed;
                Completion::Unlistened { listener }
            }
        })
    }

    fn accept(&mut self, listener: ListenerId, conn: ConnId, input: &mut Input) -> Completion<'static> {
        let is_closing = self.doors[usize::from(listener.0)] == Door::Closing;
        let how = input.below(8);
        if (how == 0 && is_closing) || how > 5 {
            let errno = input.choose(&ERRNOS);
            let errno = match errno {
                Errno::ECANCELED if !is_closing => Errno::ECONNABORTED,
                _ if how == 0 => Errno::ECANCELED,
                errno => errno,
            };
            return Completion::AcceptFailed { listener, conn, errno };
        }
        self.sockets.insert(conn, Socket::default());
        let host = input.below(5) as u8;
        let peer =
            if host < 4 { ([10, 0, 0, host], 50_000).into() } else { ([host.into(); 8], 50_000).into() };
        Completion::Accepted { listener, conn, peer }
    }

    fn receive(&mut self, index: usize, conn: ConnId, is_due: bool, input: &mut Input) -> News {
        let socket = self.sockets.get_mut(&conn).expect("a recv has a socket");
        let how = input.below(16);
        let end = match (how, socket.end) {
            (0 | 14, _) if socket.is_closing => RecvEnd::Cancelled,
            // A stream ends once, and then the same way or barely.
            (_, Some(end)) => {
                if how & 1 == 1 {
                    end
                } else {
                    RecvEnd::Eof
                }
            }
            (0 | 13, None) => RecvEnd::Eof,
            (10, None) if is_due => RecvEnd::Expired,
            (11 | 12, None) => RecvEnd::Failed(input.choose(&ERRNOS)),
            (_, None) => {
                let count = 1 + if how == 15 { input.below(150) } else { input.below(12) };
                return News::Received { conn, bytes: input.take(count) };
            }
        };
        if matches!(end, RecvEnd::Eof | RecvEnd::Failed(_)) {
            socket.end.get_or_insert(end);
        }
        self.in_flight.remove(index);
        News::Ended(Completion::RecvEnded { conn, end })
    }

    fn watch_end(&self, conn: ConnId, is_due: bool, input: &mut Input) -> WatchEnd {
        match input.below(4) {
            0 if self.sockets[&conn].is_closing => WatchEnd::Cancelled,
            0 | 2 if is_due => WatchEnd::Expired,
            3 => WatchEnd::Failed(input.choose(&ERRNOS)),
            // Also where nothing came: it may have been woken by bytes of an earlier turn.
            _ => WatchEnd::Ready,
        }
    }

    fn send(&mut self, conn: ConnId, payload: Bytes, input: &mut Input) -> Completion<'static> {
        let socket = self.sockets.get_mut(&conn).expect("a send has a socket");
        let result = match input.below(8) {
            4 => Ok(1),
            5 => Ok(payload.len().div_ceil(2)),
            6 => Ok(1 + input.below(256) % payload.len()),
            7 => Err(input.choose(&ERRNOS)),
            _ => Ok(payload.len()),
        };
        socket.unsent = payload.clone();
        socket.unsent.advance(result.unwrap_or(payload.len()));
        Completion::Sent { conn, payload, result }
    }

    /// Ends an op whose time is over by the clock, as it is over: a timeout, or a question that needs none.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<News> {
        let index = self.in_flight.iter().position(|op| is_over(op, now))?;
        let op = self.in_flight.remove(index);
        Some(News::Ended(match op {
            Op::Recv { conn, .. } => {
                let end = self.sockets[&conn].end.unwrap_or(RecvEnd::Expired);
                Completion::RecvEnded { conn, end }
            }
            Op::Watch { conn, .. } => Completion::WatchEnded { conn, end: WatchEnd::Expired },
            Op::Examine { conn } => Completion::Examined { conn, evidence: SocketEvidence::default() },
            Op::Accept { .. }
            | Op::Send { .. }
            | Op::Shutdown { .. }
            | Op::Close { .. }
            | Op::Unlisten { .. } => {
                unreachable!("it has no time")
            }
        }))
    }

    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.in_flight.iter().any(|op| is_over(op, now))
    }
}

/// Whether the time of an op is over by the clock.
fn is_over(op: &Op, now: Instant) -> bool {
    match op {
        Op::Recv { deadline, .. } => deadline.is_some_and(|at| at <= now),
        Op::Watch { deadline, .. } => *deadline <= now,
        Op::Examine { .. } => true,
        Op::Accept { .. }
        | Op::Send { .. }
        | Op::Shutdown { .. }
        | Op::Close { .. }
        | Op::Unlisten { .. } => false,
    }
}

fn evidence(input: &mut Input) -> SocketEvidence {
    let count = |choice: usize| [Some(0), None, Some(5)][choice % 3];
    let (unread, unsent, tcp) = (input.below(4), input.below(3), input.below(4));
    let ago = [0, 1, 3600][tcp % 3];
    let tcp = TcpEvidence { last_data_sent: Duration::from_secs(ago), ..TcpEvidence::default() };
    SocketEvidence { unread: count(unread), unsent: count(unsent), tcp: (ago > 0).then_some(tcp) }
}

fn conn_of(op: &Op) -> Option<ConnId> {
    match op {
        Op::Accept { conn, .. }
        | Op::Recv { conn, .. }
        | Op::Watch { conn, .. }
        | Op::Send { conn, .. }
        | Op::Examine { conn }
        | Op::Shutdown { conn }
        | Op::Close { conn, .. } => Some(*conn),
        Op::Unlisten { .. } => None,
    }
}

fn kind_of(op: &Op) -> Option<OpKind> {
    match op {
        Op::Accept { .. } => Some(OpKind::Accept),
        Op::Recv { .. } => Some(OpKind::Recv),
        Op::Watch { .. } => Some(OpKind::Watch),
        Op::Send { .. } => Some(OpKind::Send),
        Op::Examine { .. } => Some(OpKind::Examine),
        Op::Shutdown { .. } => Some(OpKind::Shutdown),
        Op::Close { .. } => Some(OpKind::Close),
        Op::Unlisten { .. } => None,
    }
}
