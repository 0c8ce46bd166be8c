//! Who is let in.
//!
//! Every accept in flight holds a reserved slot, so a client is never taken from the kernel's queue without a place for it.
//! At the limit the client is taken and refused: left in the queue it would believe itself served. Only what time mends
//! leaves it there: a shortage of descriptors or memory, and more clients per second than the configuration allows.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Shard, index};
use crate::backend::Listener;
use crate::cause::{Cause, Refusal};
use crate::config::Limits;
use crate::errno::{AcceptNews, Errno};
use crate::handler::Handler;
use crate::id::{ConnId, ListenerId};
use crate::op::{CloseHow, Op, OpKind};
use crate::sources::Sources;
use crate::state::Event;
use crate::time::Instant;
use crate::token_bucket::TokenBucket;

/// The first pause after descriptors or memory have run out; it doubles up to [`BACK_OFF_MAX`].
const BACK_OFF_MIN: Duration = Duration::from_millis(10);

/// The longest pause: what was freed meanwhile is noticed within a second.
const BACK_OFF_MAX: Duration = Duration::from_millis(500);

/// The listeners of a shard.
pub(super) struct Doors {
    list: Vec<Door>,
    conns_max: u32,
    accepts_per_door: u32,
    /// Connections let in that have not ended, the refused ones not counted.
    admitted: u32,
    sources: Sources,
    rate: Option<TokenBucket>,
    /// A listener has no accept in flight because of the rate: when it can have one.
    throttled_until: Option<Instant>,
    /// Accepts that failed since the last one that brought a client.
    failed_in_a_row: u32,
    /// After a failure that only time mends: when to accept again.
    retry_at: Option<Instant>,
    back_off: Duration,
}

#[derive(Clone, Copy)]
struct Door {
    listener: ListenerId,
    accepts: u32,
    state: DoorState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DoorState {
    Open,
    Closing,
    Closed,
}

impl Doors {
    pub(super) fn new(listeners: &[Listener], conns_max: u32, shards: u16, limits: &Limits) -> Self {
        let (burst, v4, v6) = (limits.accept_burst, limits.source_prefix_v4, limits.source_prefix_v6);
        let open = |listener: &Listener| Door { listener: listener.id, accepts: 0, state: DoorState::Open };
        let list: Vec<Door> = listeners.iter().map(open).collect();
        let in_order = list.iter().enumerate().all(|(nth, door)| index(door.listener) == nth);
        assert!(in_order, "listeners are numbered in order");
        Self {
            list,
            conns_max,
            accepts_per_door: limits.accepts_in_flight,
            admitted: 0,
            sources: Sources::new(limits.conns_per_source_max, v4, v6),
            rate: limits
                .accepts_per_second
                .map(|rate| TokenBucket::share_of(rate, burst, shards).holding(listeners.len() as u64)),
            throttled_until: None,
            failed_in_a_row: 0,
            retry_at: None,
            back_off: BACK_OFF_MIN,
        }
    }

    pub(super) fn remove(&mut self, listener: ListenerId) {
        let door = &mut self.list[index(listener)];
        assert_eq!(door.accepts, 0, "a listener is closed after its last accept");
        door.state = DoorState::Closed;
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        match (self.retry_at, self.throttled_until) {
            (Some(retry), Some(rate)) => Some(retry.max(rate)),
            (retry, rate) => retry.or(rate),
        }
    }

    /// Counts a client that is let in, or says why it is not.
    fn enter(&mut self, peer: SocketAddr) -> Result<(), Cause> {
        if self.admitted >= self.conns_max {
            return Err(Cause::Refused(Refusal::ConnsMax));
        }
        if self.is_draining() {
            return Err(Cause::Draining);
        }
        if !self.sources.enter(peer) {
            return Err(Cause::Refused(Refusal::SourceMax));
        }
        self.admitted += 1;
        Ok(())
    }

    /// Forgets a connection that has ended.
    pub(super) fn leave(&mut self, peer: SocketAddr) {
        self.sources.leave(peer);
        self.admitted -= 1;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.list.iter().all(|door| door.state == DoorState::Closed)
    }

    pub(super) fn open_total(&self) -> u64 {
        let listeners = self.list.iter().filter(|door| door.state != DoorState::Closed).count();
        (listeners + self.sources.open()) as u64
    }

    /// The open door with the fewest accepts in flight, if it may have another.
    fn neediest(&mut self) -> Option<&mut Door> {
        let open = self.list.iter_mut().filter(|door| door.state == DoorState::Open);
        open.min_by_key(|door| door.accepts).filter(|door| door.accepts < self.accepts_per_door)
    }

    /// There is no token for another accept. A door that has one in flight hears of the next client in any case.
    fn throttle(&mut self, now: Instant) {
        let in_flight: u32 = self.list.iter().map(|door| door.accepts).sum();
        let waits = self.list.iter().any(|door| door.state == DoorState::Open && door.accepts == 0);
        let rate = self.rate.filter(|_| waits);
        self.throttled_until = rate.map(|rate| rate.next_at(now, u64::from(in_flight)));
    }

    fn is_draining(&self) -> bool {
        self.list.iter().any(|door| door.state != DoorState::Open)
    }

    fn back_off(&mut self, now: Instant) {
        if self.retry_at.is_none() {
            self.retry_at = Some(now + self.back_off);
            self.back_off = (self.back_off * 2).min(BACK_OFF_MAX);
        }
    }
}

impl<H: Handler> Shard<H> {
    pub(super) fn accepted(&mut self, listener: ListenerId, id: ConnId, peer: SocketAddr) {
        self.table.landed(id, OpKind::Accept);
        self.doors.list[index(listener)].accepts -= 1;
        (self.doors.back_off, self.doors.failed_in_a_row) = (BACK_OFF_MIN, 0);
        self.table.stats.accepted += 1;
        if let Some(rate) = &mut self.doors.rate {
            rate.take(self.table.now);
        }
        match self.doors.enter(peer) {
            Ok(()) => self.open(id, peer),
            Err(cause) => self.refuse(id, &cause),
        }
    }

    fn open(&mut self, id: ConnId, peer: SocketAddr) {
        let table = &mut self.table;
        let record = table.conns.get_mut(id).expect("its accept has just landed");
        record.state.transition(Event::Accepted);
        record.opened_at = table.now;
        record.peer = peer.into();
        let hello_due = table.now_tick.plus(crate::deadlines::Ticks::of(table.liveness.hello_within));
        self.forget_protocol_state(id);
        self.expect_by(id, hello_due);
        self.table.emit_recv(id);
        self.tell(id, |handler, conn| handler.opened(conn));
    }

    /// Counts a client that is not let in, and resets it. The handler never hears of it.
    fn refuse(&mut self, id: ConnId, cause: &Cause) {
        self.table.stats.count_closed(cause);
        self.release_with(id, CloseHow::Abortive);
    }

    pub(super) fn accept_failed(&mut self, listener: ListenerId, id: ConnId, errno: Errno) {
        self.table.landed(id, OpKind::Accept);
        self.table.free(id);
        self.doors.list[index(listener)].accepts -= 1;
        let waits = match errno.accept_news() {
            AcceptNews::ListenerClosed => return,
            // One client that left is one failure. When all fail, none of them is to blame (a firewall rule, a security
            // module), and trying again at once would spin.
            AcceptNews::NextClient => self.doors.failed_in_a_row >= self.doors.accepts_per_door,
            // What cannot be mended is tried again at the same slow pace.
            AcceptNews::BackOff | AcceptNews::Broken => true,
        };
        self.doors.failed_in_a_row += 1;
        self.table.stats.accept_failures += 1;
        if waits {
            self.table.stats.accept_back_offs += u64::from(self.doors.retry_at.is_none());
            self.doors.back_off(self.table.now);
        }
    }

    /// Keeps as many accepts in flight as the configuration says, unless a shortage makes it wait.
    pub(super) fn open_doors(&mut self) {
        if self.doors.retry_at.is_some_and(|at| at > self.table.now) {
            return;
        }
        self.doors.retry_at = None;
        let was_throttled = self.doors.throttled_until.take().is_some();
        // An accept in flight may bring a client at any moment: it needs a token that is there now.
        let in_flight: u32 = self.doors.list.iter().map(|door| door.accepts).sum();
        let tokens = self.doors.rate.map_or(u64::MAX, |rate| rate.tokens(self.table.now));
        let mut tokens = tokens.saturating_sub(u64::from(in_flight));
        // The door with the fewest accepts is next: a quiet listener must not keep the tokens from a busy one.
        while let Some(door) = self.doors.neediest() {
            if tokens == 0 {
                self.doors.throttle(self.table.now);
                break;
            }
            tokens -= 1;
            // No slot: every one of them is closing. Each that is freed comes back here.
            let Some(conn) = self.table.reserve() else { break };
            door.accepts += 1;
            let listener = door.listener;
            self.table.emit(conn, OpKind::Accept, Op::Accept { listener, conn });
        }
        self.table.stats.accept_throttles +=
            u64::from(self.doors.throttled_until.is_some() && !was_throttled);
    }

    pub(super) fn close_doors(&mut self) {
        for door in &mut self.doors.list {
            if door.state == DoorState::Open {
                door.state = DoorState::Closing;
                self.table.ops.push(Op::Unlisten { listener: door.listener });
            }
        }
    }
}
