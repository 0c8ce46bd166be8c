//! One shard on a kernel of its own, and the loop that a gateway's thread runs over the two.

use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use heartring_core::{
    Backend, BackendConfig, Completion, ConnId, Instant, Letter, Op, OpKind, Order, Partition, Place, Shard,
    ShardId,
};
use heartring_sim::{Dice, FaultOdds, SimBackend, World};

use crate::journal::Journal;
use crate::plan::{Plan, up_to};
use crate::post::Post;
use crate::record::ShardRecord;
use crate::scene::{SceneRef, look_soon};
use crate::witness::Witness;

/// The bounds are looked at once in so many turns: to count connections is to walk the whole table.
const LOOK_IN: u64 = 64;

/// See the module's own text.
pub(crate) struct Station {
    pub(crate) id: ShardId,
    pub(crate) shard: Shard<Witness>,
    pub(crate) backend: SimBackend,
    pub(crate) world: World,
    pub(crate) addr: SocketAddr,
    plan: Rc<Plan>,
    journal: Rc<RefCell<Journal>>,
    dice: Dice,
    /// Until when the shard allowed its thread to sleep.
    wake_at: Option<Instant>,
    /// Its thread is away.
    away_until: Instant,
    /// When letters that a full mailbox gave back are offered again.
    offer_at: Option<Instant>,
    /// The clients that something was done to in this turn, who will look what it is.
    concerned: Vec<ConnId>,
    pub(crate) drained_at: Option<Instant>,
    submitted: [u64; OpKind::COUNT],
    ended: [u64; OpKind::COUNT],
    pub(crate) turns: u64,
}

impl Station {
    pub(crate) fn new(plan: &Rc<Plan>, id: ShardId, journal: &Rc<RefCell<Journal>>, dice: &mut Dice) -> Self {
        let (config, limits) = (&plan.config, &plan.config.limits);
        let slots = limits.slots_for(plan.conns_max, 1);
        let receive_buffer_bytes = plan.receive_buffer_bytes;
        let sizes = BackendConfig { slots, receive_buffer_bytes, ..BackendConfig::default() };
        let mut backend = SimBackend::new(&sizes);
        let world = backend.world();
        world.advance_to(plan.starts_at);
        world.inject(dice.roll(), plan.odds.clone());
        let mut options = config.listen_options().expect("a valid configuration");
        options.send_buffer_bytes = Some(plan.send_buffer_bytes);
        let anywhere = "10.255.0.1:7000".parse().expect("an address");
        let listener = backend.listen(anywhere, &options).expect("a port that nobody has");
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let directory = Box::new(Partition::new(id, plan.shards, hasher, config.flap_guard));
        let (shards, conns_max, strategy) = (plan.shards, plan.conns_max, plan.strategy);
        let place = Place { shard: id, shards, conns_max, strategy, directory };
        let witness = Witness::new(journal, id, shards, limits.send_queue_bytes_max);
        let shard = Shard::new(place, config, &[listener], witness).expect("a valid configuration");
        Self {
            id,
            shard,
            backend,
            world,
            addr: listener.addr,
            plan: Rc::clone(plan),
            journal: Rc::clone(journal),
            dice: dice.fork(),
            wake_at: Some(plan.starts_at),
            away_until: plan.starts_at,
            offer_at: None,
            concerned: Vec::new(),
            drained_at: None,
            submitted: [0; OpKind::COUNT],
            ended: [0; OpKind::COUNT],
            turns: 0,
        }
    }

    /// When something happens here next; `None`: nothing will by itself.
    pub(crate) fn next_at(&self, post: &Post) -> Option<Instant> {
        let next = [self.world.next_at(), self.wake_at, self.offer_at, post.next_at(self.id)];
        next.into_iter().flatten().min().map(|at| at.max(self.world.now()))
    }

    /// Lets time pass here until there is something to do, or `limit`, and does it.
    pub(crate) fn go_on(&mut self, limit: Instant, post: &mut Post, scene: &SceneRef) {
        let needed = [self.wake_at, self.offer_at, post.next_at(self.id)].into_iter().flatten().min();
        let until = needed.map_or(limit, |at| at.min(limit));
        let told = self.wait(until);
        let now = self.backend.now();
        if told || needed.is_some_and(|at| at <= now) {
            self.turn(post, scene);
        }
    }

    /// Whether anything was told.
    fn wait(&mut self, until: Instant) -> bool {
        let Self { id, shard, backend, ended, journal, concerned, .. } = self;
        let mut told = false;
        backend
            .wait(Some(until), &mut |now, completion| {
                told = true;
                journal.borrow_mut().step(now, format_args!("shard {id} is told {completion:?}"));
                if let Some(kind) = ends(&completion) {
                    ended[kind as usize] += 1;
                }
                if let Completion::ShutDown { conn, .. } | Completion::Sent { conn, .. } = completion {
                    concerned.push(conn);
                }
                shard.handle(now, completion);
            })
            .expect("a simulated backend does not break");
        told
    }

    /// One turn of the loop, up to where it sleeps again.
    pub(crate) fn turn(&mut self, post: &mut Post, scene: &SceneRef) {
        let now = self.backend.now();
        while let Some(letter) = post.arrived(now, self.id) {
            self.deliver(letter);
        }
        self.end_turn(now);
        let (id, journal) = (self.id, &self.journal);
        self.shard.post(&mut |to, letter| {
            let mut journal = journal.borrow_mut();
            journal.step(now, format_args!("shard {id} posts to {to}: {letter:?}"));
            post.take(now, id, to, letter, &mut journal.mishaps)
        });
        let soon = now + self.plan.config.dead_within / 1_000;
        self.offer_at = (self.shard.outbox_len() > 0).then(|| post.offer_at(soon));
        self.wake_at = self.shard.wake_at();
        self.look_at_bounds();
        self.take_time();
        self.have_clients_look(scene);
    }

    pub(crate) fn deliver(&mut self, letter: Letter) {
        let now = self.backend.now();
        self.journal.borrow_mut().step(now, format_args!("shard {} gets {letter:?}", self.id));
        self.shard.deliver(now, letter);
    }

    pub(crate) fn drain(&mut self) {
        let now = self.backend.now();
        if self.drained_at.is_none() {
            self.journal.borrow_mut().step(now, format_args!("shard {} is drained", self.id));
            self.drained_at = Some(now);
            self.shard.drain(now);
        }
    }

    /// The connection of somebody who is there, and its client.
    pub(crate) fn anybody(&mut self) -> Option<(ConnId, u32)> {
        let nth = self.dice.roll();
        self.shard.handler().somebody(nth)
    }

    /// Closes a connection by a letter.
    pub(crate) fn close(&mut self, conn: ConnId) {
        self.deliver(Letter::Order(Order::Close { conn }));
    }

    fn end_turn(&mut self, now: Instant) {
        let Self { id, shard, backend, submitted, journal, concerned, .. } = self;
        shard.end_turn(now, &mut |op| {
            journal.borrow_mut().step(now, format_args!("shard {id} submits {op:?}"));
            if let Some(kind) = kind_of(&op) {
                submitted[kind as usize] += 1;
            }
            if let Op::Send { conn, .. } | Op::Shutdown { conn } | Op::Close { conn, .. } = op {
                concerned.push(conn);
            }
            backend.submit(op);
        });
        self.turns += 1;
    }

    /// Handlers take time, and so does the loop itself.
    fn take_time(&mut self) {
        let pause = std::mem::take(&mut self.journal.borrow_mut().pause);
        let takes = up_to(&mut self.dice, self.plan.turn_takes_max) + pause;
        if !takes.is_zero() {
            self.stall(takes);
        }
    }

    fn have_clients_look(&mut self, scene: &SceneRef) {
        self.concerned.sort_unstable();
        self.concerned.dedup();
        for conn in std::mem::take(&mut self.concerned) {
            if let Some(client) = self.shard.handler().client_of(conn) {
                look_soon(scene, client);
            }
        }
    }

    fn look_at_bounds(&mut self) {
        let limits = self.plan.config.limits;
        let slots = limits.slots_for(self.plan.conns_max, 1);
        let ledger = self.backend.ledger();
        // Claims are bounded by letters and slots; of each connection there are at most a release, a grant to its successor and
        // a report to the directory behind them.
        let letters =
            (limits.outbox_letters_max as usize + 4 * slots as usize) * usize::from(self.plan.shards);
        let mut looks = vec![
            ("sockets", u64::from(ledger.sockets), u64::from(slots)),
            ("accepts in flight", u64::from(ledger.ops(OpKind::Accept)), u64::from(limits.accepts_in_flight)),
            ("letters in the outbox", self.shard.outbox_len() as u64, letters as u64),
        ];
        if self.turns.is_multiple_of(LOOK_IN) {
            let counts = self.shard.state_counts();
            let admitted = counts.greeting + counts.live + counts.overdue + counts.grace;
            looks.push(("connections", u64::from(admitted), u64::from(self.plan.conns_max)));
            let all = admitted + counts.closing;
            looks.push(("connections with those that close", u64::from(all), u64::from(slots)));
        }
        for (what, are, may) in looks.into_iter().filter(|(_, are, may)| are > may) {
            let (id, now) = (self.id, self.backend.now());
            self.journal.borrow_mut().broken(format!("shard {id} at {now}: {are} {what}, above {may}"));
        }
    }

    /// From now on nothing goes wrong in its kernel.
    pub(crate) fn mend(&mut self) {
        self.world.inject(0, FaultOdds::NONE);
    }

    /// Whether all that was done is done.
    pub(crate) fn is_empty(&self) -> bool {
        self.shard.is_empty()
    }

    /// Keeps the thread away.
    pub(crate) fn stall(&mut self, duration: Duration) {
        self.away_until = self.away_until.max(self.world.now() + duration);
        self.world.stall(duration);
    }

    /// When its thread can be woken.
    pub(crate) fn awake_at(&self) -> Instant {
        self.away_until.max(self.world.now())
    }

    /// Something from outside wakes its thread, which does what else there is to do.
    pub(crate) fn wake(&mut self, now: Instant, post: &mut Post, scene: &SceneRef) {
        self.wait(now);
        self.turn(post, scene);
    }

    pub(crate) fn record(&self) -> ShardRecord {
        ShardRecord {
            drained_at: self.drained_at,
            absences: self.world.absences(),
            open_total: self.shard.open_total(),
            ledger: self.backend.ledger(),
            ops_submitted: self.submitted,
            ops_ended: self.ended,
            stats: self.shard.stats().clone(),
            faults: self.world.fault_counts(),
            turns: self.turns,
        }
    }
}

/// Whose op it is; `None` for one that belongs to no connection.
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

/// Which op a completion ends.
fn ends(completion: &Completion<'_>) -> Option<OpKind> {
    match completion {
        Completion::Accepted { .. } | Completion::AcceptFailed { .. } => Some(OpKind::Accept),
        Completion::RecvEnded { .. } => Some(OpKind::Recv),
        Completion::WatchEnded { .. } => Some(OpKind::Watch),
        Completion::Sent { .. } => Some(OpKind::Send),
        Completion::Examined { .. } => Some(OpKind::Examine),
        Completion::ShutDown { .. } => Some(OpKind::Shutdown),
        Completion::Closed { .. } => Some(OpKind::Close),
        Completion::Received { .. } | Completion::Unlistened { .. } | Completion::Woken => None,
    }
}
