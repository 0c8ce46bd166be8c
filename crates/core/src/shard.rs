//! A shard: completions in, handler calls and ops out.
//!
//! It owns its connections, its deadlines and its handler, and shares nothing. It reads no clock: `now` comes with every
//! completion. One turn is
//!
//! 1. [`Shard::handle`] for every completion of a [`Backend::wait`](crate::Backend::wait),
//! 2. [`Shard::end_turn`], which finds whose deadline has come, accepts anew, and gives out the ops of the turn,
//! 3. [`Shard::wake_at`], which says until when the backend may sleep.
//!
//! Between turns, [`Shard::deliver`] takes in letters from other shards, and [`Shard::post`] gives out those for them.
//!
//! The work is divided by what it decides: who is let in (`accept`), what bytes mean (`receive`), who is accused of
//! being dead (`verdict`) and convicted (`examination`), when we are to blame ourselves (`absence`), who is who (`identity`), how it
//! ends (`close`).

mod absence;
mod accept;
mod close;
mod examination;
mod identity;
mod receive;
mod verdict;

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;

use crate::backend::Listener;
use crate::config::{Config, DeadlineStrategy};
use crate::config_error::ConfigError;
use crate::conn::{Conn, Conns, StateCounts};
use crate::deadlines::Tick;
use crate::directory::Directory;
use crate::handler::Handler;
use crate::id::{ConnId, ListenerId, ShardId};
use crate::mail::Order;
use crate::op::{Completion, Op, OpKind};
use crate::partition::{FlapGuard, Partition};
use crate::protocol::Protocol;
use crate::slots::Deadline::{Beat, Stall};
use crate::stats::Stats;
use crate::table::Table;
use crate::time::Instant;

use accept::Doors;
use identity::Resumed;

/// Where a shard stands in its gateway.
pub struct Place {
    /// Which shard it is.
    pub shard: ShardId,
    /// How many there are.
    pub shards: u16,
    /// How many connections it takes before it refuses.
    pub conns_max: u32,
    /// Who keeps its deadlines.
    pub strategy: DeadlineStrategy,
    /// Its partition of the directory.
    pub directory: Box<dyn Directory>,
}

impl Place {
    /// The only shard of a gateway, with the whole directory to itself. Its hash has no secret key: for tests and
    /// benchmarks.
    pub fn alone(conns_max: u32, strategy: DeadlineStrategy) -> Self {
        let (shard, hasher) = (ShardId(0), BuildHasherDefault::<DefaultHasher>::default());
        let directory = Box::new(Partition::new(shard, 1, hasher, Some(FlapGuard::default())));
        Self { shard, shards: 1, conns_max, strategy, directory }
    }
}

/// One shard: see the module's own text for what to call when.
pub struct Shard<H: Handler> {
    table: Table,
    handler: H,
    protocol: H::Protocol,
    /// What the protocol remembers per connection, by slot.
    protocol_states: Vec<<H::Protocol as Protocol>::State>,
    doors: Doors,
    directory: Box<dyn Directory>,
    /// What the directory wants done with connections of this shard.
    orders: VecDeque<Order>,
    /// Connections whose claim has just been granted and from which something was held back.
    resumed: VecDeque<Resumed>,
    /// Only an identity ends the greeting.
    claim_required: bool,
    tick_every: Option<std::time::Duration>,
    tick_at: Option<Instant>,
    /// Until when the backend was allowed to sleep: waking up much later means that the thread was away.
    expected_at: Option<Instant>,
    /// When the last gap between two turns was over that was longer than `stall_tolerance`: the thread slept as it was allowed to,
    /// or was away.
    gap_until: Instant,
    /// No verdict is spoken before this: the thread was away, and every peer gets another beat.
    amnesty_until: Instant,
    /// Timeouts of the kernel that were judged in this turn.
    judged: u32,
    /// Slots found due, kept for its memory.
    due: Vec<u32>,
}

impl<H: Handler> Shard<H> {
    /// A shard that accepts from `listeners` of its backend, in the order in which they were opened.
    ///
    /// # Errors
    ///
    /// As [`Config::validate`].
    pub fn new(
        place: Place,
        config: &Config,
        listeners: &[Listener],
        handler: H,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let liveness = config.liveness()?;
        let limits = &config.limits;
        let slots = limits.slots_for(place.conns_max, listeners.len() as u32);
        Ok(Self {
            table: Table::new(place.shard, place.shards, slots, liveness, *limits, place.strategy),
            claim_required: config.claim_required,
            directory: place.directory,
            orders: VecDeque::new(),
            resumed: VecDeque::new(),
            handler,
            protocol: H::Protocol::default(),
            protocol_states: Vec::new(),
            doors: Doors::new(listeners, place.conns_max, place.shards, limits),
            tick_every: config.tick_every,
            tick_at: None,
            expected_at: None,
            gap_until: Instant::ZERO,
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
                self.table.landed(conn, OpKind::Recv);
                self.recv_ended(conn, end);
            }
            Completion::WatchEnded { conn, end } => {
                self.table.landed(conn, OpKind::Watch);
                self.watch_ended(conn, end);
            }
            Completion::Sent { conn, payload, result } => {
                self.table.landed(conn, OpKind::Send);
                self.sent(conn, payload, result);
            }
            Completion::Examined { conn, evidence } => {
                self.table.landed(conn, OpKind::Examine);
                self.examined(conn, evidence);
            }
            Completion::ShutDown { conn, result } => {
                self.table.landed(conn, OpKind::Shutdown);
                self.shut_down(conn, result);
            }
            Completion::Closed { conn } => {
                self.table.landed(conn, OpKind::Close);
                self.table.free(conn);
                self.forget_protocol_state(conn);
            }
            Completion::Unlistened { listener } => self.doors.remove(listener),
            Completion::Woken => {}
        }
        self.settle();
    }

    /// Ends the turn: whose deadline has come is dealt with, freed slots accept anew, and the ops of the turn go to
    /// `submit`.
    pub fn end_turn(&mut self, now: Instant, submit: &mut impl FnMut(Op)) {
        self.begin_turn(now);
        self.table.stats.turns += 1;
        self.speak_verdicts();
        self.tick();
        self.settle();
        self.open_doors();
        self.table.gather_sends();
        self.table.submit_ops(submit);
        (self.expected_at, self.judged) = (None, 0);
    }

    /// Until when the backend may sleep if nothing happens; `None`: for ever.
    pub fn wake_at(&mut self) -> Option<Instant> {
        let now = self.table.now;
        let bounds = [
            self.table.conns.bound(Beat, now),
            self.table.conns.bound(Stall, now),
            self.doors.wake_at(),
            self.tick_at,
            self.table.farewells_are_due().then_some(now),
        ];
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
        self.settle();
    }

    /// Whether nothing is left: every listener and every connection is closed, and every letter is carried.
    pub fn is_empty(&self) -> bool {
        self.doors.is_closed()
            && self.table.conns.is_empty()
            && self.table.ops.is_empty()
            && self.table.outbox.is_empty()
    }

    /// Everything that is open: slots, partial frames, send queues, listeners, letters to carry, identities in its partition of
    /// the directory. Zero after a drain of all shards.
    pub fn open_total(&self) -> u64 {
        self.table.open_total() + self.doors.open_total() + self.directory.open_total()
    }

    /// What the shard has counted.
    pub fn stats(&self) -> &Stats {
        &self.table.stats
    }

    /// How many of its connections are in which state.
    pub fn state_counts(&mut self) -> StateCounts {
        Conns { table: &mut self.table }.state_counts()
    }

    /// The handler.
    pub fn handler(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Notes the instant of the turn, and whether the thread was away.
    fn begin_turn(&mut self, now: Instant) {
        assert!(now >= self.table.now, "time never goes back: {now} after {}", self.table.now);
        let before = std::mem::replace(&mut self.table.now, now);
        self.table.now_tick = Tick::at_or_after(now);
        if now > before {
            self.note_gap(before);
        }
    }

    /// Does what handlers and other shards have asked for, until nothing more follows from it.
    fn settle(&mut self) {
        self.obey();
        while let Some((id, end)) = self.resumed.pop_front() {
            self.resume(id, end);
            self.obey();
        }
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
