//! A shard: completions in, handler calls and ops out.
//!
//! It owns its connections, its deadlines and its handler, and shares nothing. It reads no clock: `now` comes with every
//! completion. One turn is
//!
//! 1. [`Shard::handle`] for every completion of a [`Backend::wait`](crate::Backend::wait),
//! 2. [`Shard::end_turn`], which finds whose deadline has come, accepts anew, and gives out the ops of the turn,
//! 3. [`Shard::wake_at`], which says until when the backend may sleep.
//!
//! The work is divided by what it decides: who is let in (`accept`), what bytes mean (`receive`), who is dead (`verdict`),
//! how it ends (`close`).

mod accept;
mod close;
mod receive;
mod verdict;

use crate::backend::Listener;
use crate::config::{Config, DeadlineStrategy};
use crate::config_error::ConfigError;
use crate::conn::{Conn, Conns};
use crate::deadlines::Tick;
use crate::handler::Handler;
use crate::id::{ConnId, ListenerId, ShardId};
use crate::op::{Completion, Op, OpKind};
use crate::protocol::Protocol;
use crate::stats::Stats;
use crate::table::Table;
use crate::time::Instant;

use accept::Doors;

/// One shard: see the module's own text for what to call when.
pub struct Shard<H: Handler> {
    table: Table,
    handler: H,
    protocol: H::Protocol,
    /// What the protocol remembers per connection, by slot.
    protocol_states: Vec<<H::Protocol as Protocol>::State>,
    doors: Doors,
    tick_every: Option<std::time::Duration>,
    tick_at: Option<Instant>,
    /// Until when the backend was allowed to sleep: waking up much later means that the thread was away.
    expected_at: Option<Instant>,
    /// No verdict is spoken before this: the thread was away, and every peer gets another beat.
    amnesty_until: Instant,
    /// Timeouts of the kernel that were judged in this turn.
    judged: u32,
    /// Slots found due, kept for its memory.
    due: Vec<u32>,
}

impl<H: Handler> Shard<H> {
    /// A shard for at most `conns_max` connections, which accepts from `listeners` of its backend, in the order in which
    /// they were opened.
    ///
    /// # Errors
    ///
    /// As [`Config::validate`].
    pub fn new(
        id: ShardId,
        config: &Config,
        strategy: DeadlineStrategy,
        conns_max: u32,
        listeners: &[Listener],
        handler: H,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let liveness = config.liveness()?;
        let slots = config.limits.slots_for(conns_max, listeners.len() as u32);
        Ok(Self {
            table: Table::new(id, slots, liveness, config.limits, strategy),
            handler,
            protocol: H::Protocol::default(),
            protocol_states: Vec::new(),
            doors: Doors::new(listeners, conns_max, config.limits.accepts_in_flight),
            tick_every: config.tick_every,
            tick_at: None,
            expected_at: None,
            amnesty_until: Instant::ZERO,
            judged: 0,
            due: Vec::new(),
        })
    }

    /// Takes in one completion. All completions of a batch carry the same instant.
    pub fn handle(&mut self, now: Instant, completion: Completion<'_>) {
        self.begin_turn(now);
        match completion {
            Completion::Accepted { listener, conn, peer } => self.accepted(listener, conn, peer),
            Completion::AcceptFailed { listener, conn, errno } => self.accept_failed(listener, conn, errno),
            Completion::Received { conn, bytes } => self.received(conn, bytes),
            Completion::RecvEnded { conn, end } => {
                self.landed(conn, OpKind::Recv);
                self.recv_ended(conn, end);
            }
            Completion::WatchEnded { conn, end } => {
                self.landed(conn, OpKind::Watch);
                self.watch_ended(conn, end);
            }
            Completion::Sent { conn, payload, result } => {
                self.landed(conn, OpKind::Send);
                self.sent(conn, payload, result);
            }
            Completion::Examined { conn, evidence } => {
                self.landed(conn, OpKind::Examine);
                self.examined(conn, evidence);
            }
            Completion::ShutDown { conn, result } => {
                self.landed(conn, OpKind::Shutdown);
                self.shut_down(conn, result);
            }
            Completion::Closed { conn } => {
                self.landed(conn, OpKind::Close);
                self.table.free(conn);
            }
            Completion::Unlistened { listener } => self.doors.remove(listener),
            Completion::Woken => {}
        }
        self.obey();
    }

    /// Ends the turn: whose deadline has come is dealt with, freed slots accept anew, and the ops of the turn go to
    /// `submit`.
    pub fn end_turn(&mut self, now: Instant, submit: &mut impl FnMut(Op)) {
        self.begin_turn(now);
        self.table.stats.turns += 1;
        self.speak_verdicts();
        self.tick();
        self.open_doors();
        self.obey();
        self.table.ops.drain(..).for_each(submit);
        (self.expected_at, self.judged) = (None, 0);
    }

    /// Until when the backend may sleep if nothing happens; `None`: for ever.
    pub fn wake_at(&mut self) -> Option<Instant> {
        let now = self.table.now;
        let bounds =
            [self.table.beats.bound(now), self.table.stalls.bound(now), self.doors.retry_at(), self.tick_at];
        let wake_at = bounds.into_iter().flatten().min();
        // What is due already is a backlog or a bound that is low: neither says that the thread was away.
        self.expected_at = wake_at.map(|at| at.max(now));
        wake_at
    }

    /// Stops accepting and closes every connection in order, within
    /// [`Liveness::drain_within`](crate::Liveness::drain_within).
    pub fn drain(&mut self, now: Instant) {
        self.begin_turn(now);
        self.close_doors();
        self.drain_conns();
        self.obey();
    }

    /// Whether nothing is left: every listener and every connection is closed.
    pub fn is_empty(&self) -> bool {
        self.doors.is_closed() && self.table.conns.is_empty() && self.table.ops.is_empty()
    }

    /// Everything that is open: slots, partial frames, send queues, listeners. Zero after a drain.
    pub fn open_total(&self) -> u64 {
        self.table.open_total() + self.doors.open_total()
    }

    /// What the shard has counted.
    pub fn stats(&self) -> &Stats {
        &self.table.stats
    }

    /// The handler.
    pub fn handler(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Notes the instant of the turn, and whether the thread was away: then every peer gets another beat before it is
    /// judged.
    fn begin_turn(&mut self, now: Instant) {
        assert!(now >= self.table.now, "time never goes back: {now} after {}", self.table.now);
        self.table.now = now;
        self.table.now_tick = Tick::at_or_after(now);
        let liveness = &self.table.liveness;
        if self.expected_at.take().is_some_and(|expected| now > expected + liveness.stall_tolerance) {
            self.was_away();
        }
    }

    /// The thread was away: every peer gets another beat.
    fn was_away(&mut self) {
        self.amnesty_until = self.table.now + self.table.liveness.beat_every;
        self.table.stats.stalls += 1;
    }

    /// Takes an op off the books of its connection.
    fn landed(&mut self, id: ConnId, kind: OpKind) {
        let record = self.table.conns.get_mut(id).expect("a connection exists until its last completion");
        assert!(record.ops.remove(kind), "{kind:?} of {id} completed twice");
    }

    fn tick(&mut self) {
        let (Some(every), now) = (self.tick_every, self.table.now) else { return };
        if self.tick_at.is_none_or(|at| at <= now) {
            self.handler.tick(&mut Conns { table: &mut self.table });
            // From now on, not from when it was due: after a stall there is one tick, not a burst.
            self.tick_at = Some(now + every);
        }
    }

    /// Calls the handler for one connection.
    fn tell(&mut self, id: ConnId, call: impl FnOnce(&mut H, &mut Conn<'_>)) {
        call(&mut self.handler, &mut Conn { table: &mut self.table, id });
    }
}

/// The name of a listener as an index.
fn index(listener: ListenerId) -> usize {
    usize::from(listener.0)
}
