//! Who is let in.
//!
//! Every accept in flight holds a reserved slot, so a client is never taken from the kernel's queue without a place for it.
//! At the limit the client is taken and refused: left in the queue it would believe itself served.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Shard, index};
use crate::backend::Listener;
use crate::cause::{Cause, Refusal};
use crate::errno::{AcceptNews, Errno};
use crate::handler::Handler;
use crate::id::{ConnId, ListenerId};
use crate::op::{CloseHow, Op, OpKind};
use crate::state::Event;
use crate::time::Instant;

/// The first pause after descriptors or memory have run out; it doubles up to [`BACK_OFF_MAX`].
const BACK_OFF_MIN: Duration = Duration::from_millis(10);

/// The longest pause: what was freed meanwhile is noticed within a second.
const BACK_OFF_MAX: Duration = Duration::from_millis(500);

/// The listeners of a shard.
pub(super) struct Doors {
    list: Vec<Door>,
    conns_max: u32,
    accepts_per_door: u32,
    /// Connections let in and not yet freed, the refused ones not counted.
    pub(super) admitted: u32,
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
    pub(super) fn new(listeners: &[Listener], conns_max: u32, accepts_per_door: u32) -> Self {
        let open = |listener: &Listener| Door { listener: listener.id, accepts: 0, state: DoorState::Open };
        let list: Vec<Door> = listeners.iter().map(open).collect();
        let in_order = list.iter().enumerate().all(|(nth, door)| index(door.listener) == nth);
        assert!(in_order, "listeners are numbered in order");
        Self {
            list,
            conns_max,
            accepts_per_door,
            admitted: 0,
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

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    pub(super) fn is_closed(&self) -> bool {
        self.list.iter().all(|door| door.state == DoorState::Closed)
    }

    pub(super) fn open_total(&self) -> u64 {
        self.list.iter().filter(|door| door.state != DoorState::Closed).count() as u64
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
        self.landed(id, OpKind::Accept);
        self.doors.list[index(listener)].accepts -= 1;
        (self.doors.back_off, self.doors.failed_in_a_row) = (BACK_OFF_MIN, 0);
        self.table.stats.accepted += 1;
        if self.doors.admitted >= self.doors.conns_max {
            return self.refuse(id, Cause::Refused(Refusal::ConnsMax));
        }
        if self.doors.is_draining() {
            return self.refuse(id, Cause::Draining);
        }
        self.doors.admitted += 1;
        self.open(id, peer);
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
    fn refuse(&mut self, id: ConnId, cause: Cause) {
        self.table.stats.count_closed(&cause);
        self.release_with(id, CloseHow::Abortive);
    }

    pub(super) fn accept_failed(&mut self, listener: ListenerId, id: ConnId, errno: Errno) {
        self.landed(id, OpKind::Accept);
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
        for door in 0..self.doors.list.len() {
            self.open_door(door);
        }
    }

    fn open_door(&mut self, door: usize) {
        let accepts_per_door = self.doors.accepts_per_door;
        let door = &mut self.doors.list[door];
        while door.state == DoorState::Open && door.accepts < accepts_per_door {
            // No slot: every one of them is closing. Each that is freed comes back here.
            let Some(conn) = self.table.reserve() else { return };
            door.accepts += 1;
            let listener = door.listener;
            self.table.emit(conn, OpKind::Accept, Op::Accept { listener, conn });
        }
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
