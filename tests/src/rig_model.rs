//! The contract as a model: it is told what was submitted and judges each completion against it.
//!
//! It knows what may come next, not what will. Whatever a test is about, an op that ends twice, an item without its op,
//! a payload that changed, a completion after `Closed` or a deadline that expired early is found here.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use heartring_core::{
    Completion, ConnId, Errno, Instant, Ledger, ListenerId, Op, OpKind, OpSet, RecvEnd, SocketEvidence,
    WatchEnd,
};

/// What is known of one connection: what is in flight on it, and everything that it was told.
#[derive(Debug, Default)]
pub struct Conn {
    in_flight: OpSet,
    /// Of the accept in flight, or of the last one; likewise below.
    listener: Option<ListenerId>,
    lease: Option<Instant>,
    watched_until: Instant,
    payload: Bytes,

    /// The address that it was accepted with.
    pub peer: Option<SocketAddr>,
    /// The errno that its accept ended with.
    pub refused: Option<Errno>,
    /// The bytes received, over all recvs.
    pub received: Vec<u8>,
    /// The ends of its recvs.
    pub recv_ends: Vec<RecvEnd>,
    /// The ends of its watches.
    pub watch_ends: Vec<WatchEnd>,
    /// How many bytes it had received when its last watch ended.
    pub received_at_watch_end: usize,
    /// The bytes that the socket took, over all sends.
    pub sent: Vec<u8>,
    /// The results of its sends.
    pub send_results: Vec<Result<usize, Errno>>,
    /// The answers to its examinations.
    pub evidence: Vec<SocketEvidence>,
    /// The results of its shutdowns.
    pub shutdowns: Vec<Result<(), Errno>>,
    /// The last completion has come.
    pub closed: bool,
}

impl Conn {
    /// Whether an op of this kind is in flight.
    pub fn in_flight(&self, kind: OpKind) -> bool {
        self.in_flight.contains(kind)
    }

    /// Whether no op is in flight.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Notes the terminal completion of an op.
    fn ended(&mut self, conn: ConnId, kind: OpKind) -> Result<(), String> {
        let was = self.in_flight.remove(kind);
        check(was, || format!("{conn}: the end of a {kind:?} that is not in flight"))
    }

    /// Whether it was accepted and not closed.
    pub fn is_open(&self) -> bool {
        self.peer.is_some() && !self.closed
    }
}

/// What was submitted and what came of it.
#[derive(Debug)]
pub struct Model {
    conns: BTreeMap<ConnId, Conn>,
    unlistening: Vec<ListenerId>,
    /// The listeners that have ended.
    pub unlistened: Vec<ListenerId>,
    /// Listeners that are open.
    pub listeners: u32,
    /// How often `Woken` came.
    pub wakes: usize,
    /// Every connection that was told something, in order, with the number of bytes where bytes came.
    pub order: Vec<(ConnId, usize)>,
    last: Instant,
}

impl Model {
    /// One listener is open, nothing else.
    pub(crate) fn new() -> Self {
        Self {
            conns: BTreeMap::new(),
            unlistening: Vec::new(),
            unlistened: Vec::new(),
            listeners: 1,
            wakes: 0,
            order: Vec::new(),
            last: Instant::ZERO,
        }
    }

    /// What is known of a connection.
    ///
    /// # Panics
    ///
    /// If nothing was ever submitted for it.
    pub fn conn(&self, conn: ConnId) -> &Conn {
        &self.conns[&conn]
    }

    /// Forgets connections that are closed; their completions are then as wrong as a stranger's.
    pub fn forget_closed(&mut self) {
        self.conns.retain(|_, conn| !conn.closed && conn.refused.is_none());
        self.order.clear();
    }

    /// Notes an op. A test that breaks clause 3 fails here.
    ///
    /// # Panics
    ///
    /// If the test breaks clause 3.
    pub fn submitted(&mut self, op: &Op) {
        let (conn, kind) = match op {
            Op::Accept { conn, .. } => (conn, OpKind::Accept),
            Op::Recv { conn, .. } => (conn, OpKind::Recv),
            Op::Watch { conn, .. } => (conn, OpKind::Watch),
            Op::Send { conn, .. } => (conn, OpKind::Send),
            Op::Examine { conn } => (conn, OpKind::Examine),
            Op::Shutdown { conn } => (conn, OpKind::Shutdown),
            Op::Close { conn, .. } => (conn, OpKind::Close),
            Op::Unlisten { listener } => return self.unlistening.push(*listener),
        };
        let record = self.conns.entry(*conn).or_default();
        let may = if kind == OpKind::Accept { record.peer.is_none() } else { record.is_open() };
        assert!(may, "the test submits {kind:?} for {conn}, which is not there");
        assert!(!record.in_flight(OpKind::Close), "the test submits {kind:?} for {conn} after Close");
        assert!(record.in_flight.insert(kind), "the test submits a second {kind:?} for {conn}");
        match op {
            Op::Accept { listener, .. } => record.listener = Some(*listener),
            Op::Recv { deadline, .. } => record.lease = *deadline,
            Op::Watch { deadline, .. } => record.watched_until = *deadline,
            Op::Send { payload, .. } => record.payload = payload.clone(),
            Op::Examine { .. } | Op::Shutdown { .. } | Op::Close { .. } | Op::Unlisten { .. } => {}
        }
    }

    /// Judges a completion.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn told(&mut self, now: Instant, completion: Completion<'_>) -> Result<(), String> {
        check(now >= self.last, || format!("the instant went back from {} to {now}", self.last))?;
        self.last = now;
        match completion {
            Completion::Woken => {
                self.wakes += 1;
                Ok(())
            }
            Completion::Unlistened { listener } => self.told_unlistened(listener),
            Completion::Accepted { listener, conn, peer } => {
                self.known(conn, 0)?.peer = Some(peer);
                self.told_accept_ended(listener, conn)
            }
            Completion::AcceptFailed { listener, conn, errno } => {
                self.known(conn, 0)?.refused = Some(errno);
                self.told_accept_ended(listener, conn)
            }
            Completion::Received { conn, bytes } => {
                let record = self.known(conn, bytes.len())?;
                record.received.extend_from_slice(bytes);
                check(!bytes.is_empty(), || format!("{conn} received an empty slice"))?;
                check(record.in_flight(OpKind::Recv), || format!("{conn} received without a Recv in flight"))
            }
            Completion::RecvEnded { conn, end } => self.told_recv_ended(now, conn, end),
            Completion::WatchEnded { conn, end } => self.told_watch_ended(now, conn, end),
            Completion::Sent { conn, payload, result } => self.told_sent(conn, &payload, result),
            Completion::Examined { conn, evidence } => {
                let record = self.known(conn, 0)?;
                record.evidence.push(evidence);
                record.ended(conn, OpKind::Examine)
            }
            Completion::ShutDown { conn, result } => {
                let record = self.known(conn, 0)?;
                record.shutdowns.push(result);
                record.ended(conn, OpKind::Shutdown)
            }
            Completion::Closed { conn } => {
                let record = self.known(conn, 0)?;
                record.closed = true;
                record.ended(conn, OpKind::Close)?;
                let left: Vec<_> = OpKind::ALL.into_iter().filter(|kind| record.in_flight(*kind)).collect();
                check(left.is_empty(), || format!("{conn} closed with {left:?} in flight"))
            }
        }
    }

    /// Compares the backend's ledger with what is in flight here.
    ///
    /// # Errors
    ///
    /// Where they differ.
    pub fn check_ledger(&self, ledger: Ledger) -> Result<(), String> {
        for kind in OpKind::ALL {
            let mine = self.conns.values().filter(|conn| conn.in_flight(kind)).count() as u32;
            let theirs = ledger.ops(kind);
            check(mine == theirs, || format!("the ledger counts {theirs} {kind:?} in flight, not {mine}"))?;
        }
        let open = self.conns.values().filter(|conn| conn.is_open()).count() as u32;
        check(ledger.sockets == open, || {
            format!("the ledger counts {} sockets, not {open}", ledger.sockets)
        })?;
        let (theirs, mine) = (ledger.listeners, self.listeners);
        check(theirs == mine, || format!("the ledger counts {theirs} listeners, not {mine}"))
    }

    fn told_accept_ended(&mut self, listener: ListenerId, conn: ConnId) -> Result<(), String> {
        let Some(record) = self.conns.get_mut(&conn) else { return Ok(()) };
        let asked = record.listener;
        check(asked == Some(listener), || {
            format!("{conn} comes from {listener:?} and was asked of {asked:?}")
        })?;
        record.ended(conn, OpKind::Accept)
    }

    fn told_unlistened(&mut self, listener: ListenerId) -> Result<(), String> {
        let at = self.unlistening.iter().position(|id| *id == listener);
        check(at.is_some(), || format!("{listener:?} ended unasked"))?;
        at.map(|at| self.unlistening.remove(at));
        self.unlistened.push(listener);
        self.listeners -= 1;
        let accepts = |conn: &&Conn| conn.in_flight(OpKind::Accept) && conn.listener == Some(listener);
        let left = self.conns.values().filter(accepts).count();
        check(left == 0, || format!("{listener:?} ended with {left} Accepts in flight"))
    }

    fn told_recv_ended(&mut self, now: Instant, conn: ConnId, end: RecvEnd) -> Result<(), String> {
        let record = self.known(conn, 0)?;
        record.recv_ends.push(end);
        record.ended(conn, OpKind::Recv)?;
        let just = match end {
            RecvEnd::Expired => record.lease.is_some_and(|at| now >= at),
            RecvEnd::Cancelled => record.in_flight(OpKind::Close),
            RecvEnd::Eof | RecvEnd::Failed(_) => true,
        };
        check(just, || {
            format!("{conn}: the Recv leased until {:?} ended with {end:?} at {now}", record.lease)
        })
    }

    fn told_watch_ended(&mut self, now: Instant, conn: ConnId, end: WatchEnd) -> Result<(), String> {
        let record = self.known(conn, 0)?;
        record.watch_ends.push(end);
        record.received_at_watch_end = record.received.len();
        record.ended(conn, OpKind::Watch)?;
        let deadline = record.watched_until;
        let just = match end {
            WatchEnd::Expired => now >= deadline,
            WatchEnd::Cancelled => record.in_flight(OpKind::Close),
            WatchEnd::Failed(_) => false,
            WatchEnd::Ready => true,
        };
        check(just, || format!("{conn}: the Watch until {deadline} ended with {end:?} at {now}"))
    }

    fn told_sent(
        &mut self,
        conn: ConnId,
        payload: &Bytes,
        result: Result<usize, Errno>,
    ) -> Result<(), String> {
        let record = self.known(conn, 0)?;
        record.send_results.push(result);
        record.ended(conn, OpKind::Send)?;
        let submitted = std::mem::take(&mut record.payload);
        let same = submitted.as_ptr() == payload.as_ptr() && submitted == *payload;
        check(same, || format!("{conn}: a Send gave back another payload"))?;
        if let Ok(count) = result {
            let range = 1..=payload.len();
            check(range.contains(&count), || format!("{conn}: sent {count} bytes of {}", payload.len()))?;
            record.sent.extend_from_slice(&payload[..count]);
        }
        Ok(())
    }

    /// The record of a connection that may still be told something.
    fn known(&mut self, conn: ConnId, bytes: usize) -> Result<&mut Conn, String> {
        self.order.push((conn, bytes));
        match self.conns.get_mut(&conn) {
            Some(record) if !record.closed && record.refused.is_none() => Ok(record),
            Some(_) => Err(format!("{conn} was told something after its end")),
            None => Err(format!("{conn} was told something and never existed")),
        }
    }
}

fn check(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}
