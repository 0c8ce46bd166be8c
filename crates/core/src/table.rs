//! The connections of one shard and what belongs to them: deadlines, partial frames, send queues, ops to submit.
//!
//! This is the part of a shard that handlers may touch while it works, through [`Conn`](crate::Conn) and
//! [`Conns`](crate::Conns). It knows no handler and no protocol.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes};
use thiserror::Error;

use crate::claims::Claims;
use crate::config::{DeadlineStrategy, Limits};
use crate::config_error::ConfigError;
use crate::deadlines::{Tick, Ticks};
use crate::id::{ConnId, ShardId};
use crate::liveness::Liveness;
use crate::mail::Request;
use crate::op::{Op, OpKind, OpSet};
use crate::outbox::Outbox;
use crate::partials::Partials;
use crate::peer::Peer;
use crate::record::Record;
use crate::send_queue::SendQueues;
use crate::slots::Deadline::{Beat, Stall};
use crate::slots::Slots;
use crate::state::{Standing, State};
use crate::stats::Stats;
use crate::time::Instant;

/// From so many examinations in flight on, shutdowns and closes wait.
const EXAMINATIONS_OF_A_MASS_DEATH: u32 = 64;

/// How many of those that have waited leave in one turn. Each takes some four microseconds, and the living wait as long.
const FAREWELLS_PER_TURN_MAX: usize = 128;

/// Why a send was refused. Nothing of the payload was queued.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SendError {
    /// The connection has ended, is being closed, or is in grace: our sending side is shut.
    #[error("the connection no longer sends")]
    Closed,
    /// The queue would grow beyond `send_queue_bytes_max`.
    #[error("{queued} bytes are queued and {more} more do not fit into send_queue_bytes_max {max}")]
    Full {
        /// Bytes queued, what is in flight included.
        queued: u32,
        /// Bytes of the refused payload.
        more: usize,
        /// The limit.
        max: u32,
    },
}

pub(crate) struct Table {
    pub(crate) shard: ShardId,
    pub(crate) liveness: Liveness,
    pub(crate) limits: Limits,
    pub(crate) strategy: DeadlineStrategy,
    /// The instant of this turn.
    pub(crate) now: Instant,
    /// The same, rounded up: what is added to it is never early.
    pub(crate) now_tick: Tick,
    pub(crate) conns: Slots<Record>,
    pub(crate) partials: Partials,
    pub(crate) claims: Claims,
    queues: SendQueues,
    send_stall_ticks: Ticks,
    /// Ops of this turn, to be submitted at its end.
    pub(crate) ops: Vec<Op>,
    /// Watches in flight.
    pub(crate) watches: u32,
    /// Examinations in flight.
    examining: u32,
    /// Shutdowns and closes, in order, that wait until a mass death is judged.
    farewells: VecDeque<Op>,
    /// Whether a payload was queued in this turn, perhaps behind one that has not been submitted.
    queued: bool,
    /// Connections that a handler has asked to close.
    pub(crate) close_requests: Vec<ConnId>,
    /// What is to be asked of the directory.
    pub(crate) requests: VecDeque<Request>,
    pub(crate) outbox: Outbox,
    pub(crate) stats: Stats,
}

impl Table {
    pub(crate) fn new(
        shard: ShardId,
        shards: u16,
        slots: u32,
        liveness: Liveness,
        limits: Limits,
        strategy: DeadlineStrategy,
    ) -> Self {
        Self {
            shard,
            liveness,
            limits,
            strategy,
            now: Instant::ZERO,
            now_tick: Tick::at_or_after(Instant::ZERO),
            conns: Slots::new(slots),
            partials: Partials::new(limits.partial_bytes_max),
            claims: Claims::default(),
            queues: SendQueues::default(),
            send_stall_ticks: Ticks::of(liveness.send_stall_within),
            ops: Vec::new(),
            watches: 0,
            examining: 0,
            farewells: VecDeque::new(),
            queued: false,
            close_requests: Vec::new(),
            requests: VecDeque::new(),
            outbox: Outbox::new(shards, limits.outbox_letters_max, slots),
            stats: Stats::default(),
        }
    }

    /// Reserves a slot for an accept; `None` if all are taken.
    pub(crate) fn reserve(&mut self) -> Option<ConnId> {
        let unset = Tick::at_or_after(Instant::ZERO);
        let record = Record {
            state: State::Accepting,
            ops: OpSet::EMPTY,
            looks: 0,
            congested: false,
            send_errno: None,
            partial: None,
            claim: None,
            queue: None,
            unsent: 0,
            send_due: unset,
            dead_within: Ticks::of(self.liveness.dead_within),
            proved: unset,
            deadline: unset,
            kernel_until: unset,
            opened_at: Instant::ZERO,
            peer: Peer::NOBODY,
        };
        self.conns.insert(record, Ticks::of(self.liveness.overdue_after)).ok()
    }

    /// Frees the slot and all that belongs to the connection.
    pub(crate) fn free(&mut self, id: ConnId) {
        self.drop_partial(id);
        self.drop_queue(id);
        let record = self.conns.remove(id).expect("a connection is freed once");
        assert!(record.claim.is_none(), "what {id} has claimed was released when it ended");
        assert!(record.ops.is_empty(), "nothing is freed while an op is in flight: {:?}", record.ops);
    }

    /// Emits an op and counts it as in flight.
    pub(crate) fn emit(&mut self, id: ConnId, kind: OpKind, op: Op) {
        let record = self.conns.get_mut(id).expect("ops are emitted for connections that exist");
        assert!(record.ops.insert(kind), "{kind:?} of {id} is in flight already");
        self.watches += u32::from(kind == OpKind::Watch);
        self.examining += u32::from(kind == OpKind::Examine);
        let is_farewell = matches!(kind, OpKind::Shutdown | OpKind::Close);
        if is_farewell && (self.is_mass_death() || !self.farewells.is_empty()) {
            self.farewells.push_back(op);
        } else {
            self.ops.push(op);
        }
    }

    /// Notes that an op has ended.
    pub(crate) fn landed(&mut self, id: ConnId, kind: OpKind) {
        let record = self.conns.get_mut(id).expect("a connection exists until its last completion");
        assert!(record.ops.remove(kind), "{kind:?} of {id} completed twice");
        self.watches -= u32::from(kind == OpKind::Watch);
        self.examining -= u32::from(kind == OpKind::Examine);
    }

    /// Whether so many are accused that verdicts go first. Taking leave of a socket costs more than examining one: the last of
    /// those that died together would be known dead only when all others are closed.
    fn is_mass_death(&self) -> bool {
        self.examining >= EXAMINATIONS_OF_A_MASS_DEATH
    }

    /// Whether shutdowns or closes have waited long enough: the next turn has work.
    pub(crate) fn farewells_are_due(&self) -> bool {
        !self.farewells.is_empty() && !self.is_mass_death()
    }

    /// Gives out the ops of the turn. A watch stands beside a recv: one whose recv has ended after it was emitted is left out,
    /// and the sweep judges.
    pub(crate) fn submit_ops(&mut self, submit: &mut impl FnMut(Op)) {
        let Self { ops, conns, watches, .. } = self;
        for op in ops.drain(..) {
            if let Op::Watch { conn, .. } = op
                && let Some(record) = conns.get_mut(conn)
                && !record.ops.contains(OpKind::Recv)
            {
                record.ops.remove(OpKind::Watch);
                *watches -= 1;
            } else {
                submit(op);
            }
        }
        // Behind what was emitted before them: nothing is submitted after a close.
        if self.farewells_are_due() {
            let count = self.farewells.len().min(FAREWELLS_PER_TURN_MAX);
            self.farewells.drain(..count).for_each(&mut *submit);
            if self.farewells.is_empty() {
                self.farewells = VecDeque::new(); // Its memory was for a mass.
            }
        }
    }

    pub(crate) fn in_flight(&self, id: ConnId, kind: OpKind) -> bool {
        self.conns.get(id).is_some_and(|record| record.ops.contains(kind))
    }

    /// Emits the recv, with a lease where the strategy says so.
    pub(crate) fn emit_recv(&mut self, id: ConnId) {
        let deadline = match self.strategy {
            DeadlineStrategy::Lease => self.lease(id),
            DeadlineStrategy::Linked | DeadlineStrategy::Sweep => None,
        };
        if let Some(until) = deadline {
            self.kernel_takes_over(id, until);
        }
        let deadline = deadline.map(|until| until.near(self.now));
        self.emit(id, OpKind::Recv, Op::Recv { conn: id, deadline });
    }

    /// Notes when the timeout that the kernel is about to be given runs out: not before it was given.
    pub(crate) fn kernel_takes_over(&mut self, id: ConnId, until: Tick) {
        let record = self.conns.get_mut(id).expect("the caller has found it");
        record.kernel_until = if until.is_by(self.now_tick) { self.now_tick } else { until };
    }

    /// Until when a recv may be leased: to the next deadline, and in Greeting no longer than to when the first beat would be
    /// overdue, since a lease in flight cannot be shortened.
    fn lease(&self, id: ConnId) -> Option<Tick> {
        let record = self.conns.get(id)?;
        let due = self.conns.due(Beat, id.slot())?;
        match record.state.standing()? {
            Standing::Greeting => Some(due.min(self.now_tick.plus(self.conns.overdue_after(id.slot())))),
            Standing::Live | Standing::Overdue => Some(due),
        }
    }

    /// Takes a payload from the handler.
    pub(crate) fn send(&mut self, id: ConnId, payload: Bytes) -> Result<(), SendError> {
        self.enqueue(id, payload, false)
    }

    /// Takes a state from the handler: an earlier one that still waits is dropped.
    pub(crate) fn send_latest(&mut self, id: ConnId, payload: Bytes) -> Result<(), SendError> {
        // An empty payload is nothing, and nothing is not newer than what waits.
        let waiting = self.conns.get(id).filter(|_| !payload.is_empty()).and_then(|record| record.queue);
        if let Some(queue) = waiting
            && let Some((nth, bytes)) = self.queues.state(queue)
        {
            let record = self.conns.get_mut(id).expect("it has a queue");
            if !record.takes_payloads() {
                return Err(SendError::Closed);
            }
            let unsent = record.unsent - bytes as u32;
            check_room(unsent, &payload, self.limits.send_queue_bytes_max)?;
            record.unsent = unsent + payload.len() as u32;
            record.congested |= record.unsent > self.limits.send_queue_high;
            self.stats.states_replaced += 1;
            self.queues.replace_state(queue, nth, payload);
            return Ok(());
        }
        self.enqueue(id, payload, true)
    }

    fn enqueue(&mut self, id: ConnId, payload: Bytes, is_state: bool) -> Result<(), SendError> {
        let record = self.conns.get_mut(id).ok_or(SendError::Closed)?;
        if !record.takes_payloads() {
            return Err(SendError::Closed);
        }
        check_room(record.unsent, &payload, self.limits.send_queue_bytes_max)?;
        if payload.is_empty() {
            return Ok(());
        }
        record.unsent += payload.len() as u32;
        record.congested |= record.unsent > self.limits.send_queue_high;
        if record.ops.contains(OpKind::Send) {
            record.queue = Some(self.queues.push(record.queue, payload, is_state));
            self.queued = true;
        } else {
            self.emit_send(id, payload, false);
        }
        Ok(())
    }

    /// Lets what was sent in this turn in several small payloads, the answers to a pipeline, leave as one.
    pub(crate) fn gather_sends(&mut self) {
        if !std::mem::take(&mut self.queued) {
            return;
        }
        for op in &mut self.ops {
            let Op::Send { conn, payload, more } = op else { continue };
            let Some(record) = self.conns.get_mut(*conn) else { continue };
            let Some(queue) = record.queue else { continue };
            (*payload, *more) = self.queues.gather(queue, std::mem::take(payload));
            if !*more {
                record.queue = None;
            }
        }
    }

    /// Counts what a send took and emits the next one.
    pub(crate) fn sent(&mut self, id: ConnId, mut payload: Bytes, taken: usize) {
        self.stats.sent_bytes += taken as u64;
        let record = self.conns.get_mut(id).expect("the caller has found it");
        record.unsent -= taken as u32;
        payload.advance(taken);
        if !payload.is_empty() {
            let more = record.queue.is_some();
            self.emit_send(id, payload, more);
        } else if let Some(queue) = record.queue {
            let (next, more) = self.queues.pop(queue);
            if !more {
                record.queue = None;
            }
            self.emit_send(id, next, more);
        } else if record.stalls_by_sends_only() {
            self.conns.clear(Stall, id.slot());
        } else {
            self.reset_stall(id);
        }
    }

    /// Whether a congested connection has just been relieved.
    pub(crate) fn take_relief(&mut self, id: ConnId) -> bool {
        let low = self.limits.send_queue_low;
        self.conns.get_mut(id).is_some_and(|record| {
            let relieved = record.congested && record.unsent <= low && record.state.sends();
            record.congested &= !relieved;
            relieved
        })
    }

    /// Drops what waits to be sent; what is in flight comes back by itself.
    pub(crate) fn drop_queue(&mut self, id: ConnId) {
        if let Some(queue) = self.conns.get_mut(id).and_then(|record| record.queue.take()) {
            self.queues.release(queue);
        }
    }

    pub(crate) fn drop_partial(&mut self, id: ConnId) {
        if let Some(partial) = self.conns.get_mut(id).and_then(|record| record.partial.take()) {
            self.partials.release(partial);
        }
    }

    /// Sets the stall deadline to the earliest of the partial frame's, the send's and the claim's. Other states have set
    /// their own.
    pub(crate) fn reset_stall(&mut self, id: ConnId) {
        if !self.conns.get(id).is_some_and(Record::stalls_by_its_own_work) {
            return;
        }
        let due = [self.frame_due(id), self.send_due(id), self.claim_due(id)];
        match due.into_iter().flatten().reduce(Tick::min) {
            Some(due) => self.conns.set(Stall, id.slot(), due),
            None => self.conns.clear(Stall, id.slot()),
        }
    }

    /// When the partial frame counts as stalled. What is held back because of an undecided claim does not.
    pub(crate) fn frame_due(&self, id: ConnId) -> Option<Tick> {
        let record = self.conns.get(id)?;
        record.partial.filter(|_| !record.is_undecided()).map(|partial| self.partials.due(partial))
    }

    /// Whether the last send began at `tick` or after it. Meaningful for what lies within a day of it.
    pub(crate) fn sends_since(&self, id: ConnId, tick: Tick) -> bool {
        self.conns.get(id).is_some_and(|record| tick.is_by(record.send_due.minus(self.send_stall_ticks)))
    }

    /// When the send in flight counts as stalled.
    pub(crate) fn send_due(&self, id: ConnId) -> Option<Tick> {
        self.conns.get(id).filter(|record| record.ops.contains(OpKind::Send)).map(|record| record.send_due)
    }

    /// The last proof of life; `None` if there was none, or if the end is decided.
    pub(crate) fn proved(&self, id: ConnId) -> Option<Tick> {
        let record = self.conns.get(id)?;
        match &record.state {
            State::Live if !record.is_undecided() => {
                self.conns.due(Beat, id.slot()).map(|due| due.minus(self.conns.overdue_after(id.slot())))
            }
            State::Live | State::Overdue => Some(record.proved),
            State::Suspect(accusation) if accusation.from != Standing::Greeting => Some(record.proved),
            State::Suspect(_) | State::Greeting | State::Accepting | State::Grace(_) | State::Closing(_) => {
                None
            }
        }
    }

    /// Negotiates another deadline for one connection, from now on.
    pub(crate) fn set_dead_within(&mut self, id: ConnId, dead_within: Duration) -> Result<(), ConfigError> {
        let Limits { dead_within_min, dead_within_max, .. } = self.limits;
        if !(dead_within_min..=dead_within_max).contains(&dead_within) {
            return Err(ConfigError::new(format!(
                "dead_within {dead_within:?} is outside {dead_within_min:?}..={dead_within_max:?}, the bounds for what a connection may negotiate"
            )));
        }
        let ratio = dead_within.as_secs_f64() / self.liveness.dead_within.as_secs_f64();
        let overdue_after = Ticks::of(self.liveness.overdue_after.mul_f64(ratio));
        let Some(record) = self.conns.get_mut(id) else { return Ok(()) };
        record.dead_within = Ticks::of(dead_within);
        let is_live = matches!(record.state, State::Live);
        let before = self.conns.set_overdue_after(id.slot(), overdue_after);
        if is_live && let Some(overdue_at) = self.conns.due(Beat, id.slot()) {
            // From the last proof of life, not from now: to negotiate proves nothing. `set`, not `touch`: the new deadline
            // may be earlier than what anybody watches.
            self.conns.set(Beat, id.slot(), overdue_at.minus(before).plus(overdue_after));
        }
        Ok(())
    }

    /// Queues, partial frames, claims and slots that are open.
    pub(crate) fn open_total(&self) -> u64 {
        let pooled = self.partials.open() + self.claims.open() + self.queues.open();
        (self.conns.len() + pooled + self.outbox.len()) as u64
    }

    fn emit_send(&mut self, id: ConnId, payload: Bytes, more: bool) {
        let due = self.now_tick.plus(self.send_stall_ticks);
        let record = self.conns.get_mut(id).expect("the caller has found it");
        record.send_due = due;
        assert!(record.ops.insert(OpKind::Send), "a second send of {id}");
        self.ops.push(Op::Send { conn: id, payload, more });
        if record.stalls_by_sends_only() {
            self.conns.set(Stall, id.slot(), due);
        } else {
            self.reset_stall(id);
        }
    }
}

fn check_room(queued: u32, payload: &Bytes, max: u32) -> Result<(), SendError> {
    if payload.len() > (max - queued) as usize {
        return Err(SendError::Full { queued, more: payload.len(), max });
    }
    Ok(())
}
