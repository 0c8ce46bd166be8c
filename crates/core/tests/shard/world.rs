//! A shard on the simulated backend, and the loop that a gateway's thread runs over the two.
//!
//! Every world ends with [`World::finish`], which drains the shard and checks what must hold at the end of every test:
//! exactly one `closed` per `opened`, no verdict before its deadline, and nothing left open anywhere.

use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;
use std::time::Duration;

use heartring_core::{
    Backend, BackendConfig, Closed, Config, Conn, ConnId, DeadlineStrategy, Directory, Identity, Instant,
    Letter, Lines, Liveness, Op, OpKind, Order, Partition, Place, Post, Protocol, Request, Shard, ShardId,
};
use heartring_sim::{SimBackend, SimPeer};

use crate::recorder::{Recorder, Told};

/// What the deadline array rounds by: 2^16 ns.
pub(crate) const TICK: Duration = Duration::from_nanos(1 << 16);

/// Turns at one instant after which a loop is called a spin. A full send queue takes some thousands, piece by piece.
const TURNS_AT_ONCE_MAX: u32 = 20_000;

/// Runs `test` under every strategy, and says under which it failed.
pub(crate) fn under_each_strategy(test: impl Fn(DeadlineStrategy)) {
    for strategy in [DeadlineStrategy::Linked, DeadlineStrategy::Lease, DeadlineStrategy::Sweep] {
        let guard = Announce(strategy);
        test(strategy);
        drop(guard);
    }
}

struct Announce(DeadlineStrategy);

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed under DeadlineStrategy::{:?}", self.0);
        }
    }
}

/// See the module's own text.
pub(crate) struct World<P: Protocol + Default = Lines> {
    pub(crate) shard: Shard<Recorder<P>>,
    pub(crate) backend: SimBackend,
    pub(crate) net: heartring_sim::World,
    pub(crate) liveness: Liveness,
    /// Ops submitted, by kind.
    pub(crate) submitted: [u64; OpKind::COUNT],
    /// The most connections that were condemned or closed in one turn.
    pub(crate) verdicts_in_a_turn_max: usize,
    /// How long the thread is away after every turn that did something: handlers take time.
    pub(crate) turn_takes: Duration,
    /// What the shard had to say to other shards.
    pub(crate) letters: Vec<(ShardId, Letter)>,
    addr: std::net::SocketAddr,
    finished: bool,
}

impl World {
    /// A shard that speaks lines, with everything at its default.
    pub(crate) fn new(strategy: DeadlineStrategy) -> Self {
        Self::with(strategy, |_| ())
    }

    /// A shard that speaks lines, with a configuration that `change` has changed.
    pub(crate) fn with(strategy: DeadlineStrategy, change: impl FnOnce(&mut Config)) -> Self {
        Self::speaking(strategy, change)
    }

    /// The same, with socket buffers that hold `send_buffer_bytes`.
    pub(crate) fn with_buffers(
        strategy: DeadlineStrategy,
        send_buffer_bytes: u32,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::built(strategy, Some(send_buffer_bytes), |alone| alone, change)
    }
}

/// The directory's partition is on another shard, which is the test.
struct Elsewhere;

impl Directory for Elsewhere {
    fn owner(&self, _identity: &Identity) -> ShardId {
        ShardId(1)
    }

    fn handle(&mut self, _now: Instant, request: Request, _post: Post<'_>) {
        panic!("{request:?} was asked of the wrong shard");
    }

    fn open_total(&self) -> u64 {
        0
    }
}

/// The first of two shards, which owns no identity.
pub(crate) fn without_identities(mut place: Place) -> Place {
    (place.shards, place.directory) = (2, Box::new(Elsewhere));
    place
}

impl<P: Protocol + Default> World<P> {
    pub(crate) fn speaking(strategy: DeadlineStrategy, change: impl FnOnce(&mut Config)) -> Self {
        Self::built(strategy, None, |alone| alone, change)
    }

    /// A shard whose claims are decided by another, which is the test: see `letters` and [`World::order`].
    pub(crate) fn undecided(strategy: DeadlineStrategy, change: impl FnOnce(&mut Config)) -> Self {
        Self::built(strategy, None, without_identities, change)
    }

    fn built(
        strategy: DeadlineStrategy,
        send_buffer_bytes: Option<u32>,
        place: impl FnOnce(Place) -> Place,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let conns_max = config.limits.conns_max.unwrap_or(2_000);
        let slots = config.limits.slots_for(conns_max, 1);
        let mut backend = SimBackend::new(&BackendConfig { slots, ..BackendConfig::default() });
        let mut options = config.listen_options().unwrap();
        options.send_buffer_bytes = send_buffer_bytes;
        let listener = backend.listen("10.0.0.1:7000".parse().unwrap(), &options).unwrap();
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let directory = Box::new(Partition::new(ShardId(0), 1, hasher, config.flap_guard));
        let place = place(Place { directory, ..Place::alone(conns_max, strategy) });
        let shard = Shard::new(place, &config, &[listener], Recorder::default()).unwrap();
        Self {
            shard,
            letters: Vec::new(),
            net: backend.world(),
            backend,
            liveness: config.liveness().unwrap(),
            submitted: [0; OpKind::COUNT],
            verdicts_in_a_turn_max: 0,
            turn_takes: Duration::ZERO,
            addr: listener.addr,
            finished: false,
        }
    }

    /// A client connects, and is accepted.
    pub(crate) fn connect(&mut self) -> SimPeer {
        let peer = self.net.connect(self.addr);
        self.run_for(Duration::ZERO);
        peer
    }

    /// A client connects and sends its first beat.
    pub(crate) fn connect_live(&mut self) -> SimPeer {
        let peer = self.net.connect(self.addr);
        peer.send(b"\n");
        self.run_for(Duration::ZERO);
        peer
    }

    /// `count` clients connect and beat.
    pub(crate) fn connect_fleet(&mut self, count: usize) -> Vec<SimPeer> {
        self.connect_fleet_sending(count, b"\n")
    }

    /// `count` clients connect and send `hello`.
    pub(crate) fn connect_fleet_sending(&mut self, count: usize, hello: &[u8]) -> Vec<SimPeer> {
        let fleet: Vec<_> = (0..count).map(|_| self.net.connect(self.addr)).collect();
        for peer in &fleet {
            peer.send(hello);
        }
        self.run_for(Duration::ZERO);
        fleet
    }

    pub(crate) fn now(&self) -> Instant {
        self.backend.now()
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now() + duration);
    }

    /// Runs the loop until `until` has come and nothing is left to do by then.
    pub(crate) fn run_until(&mut self, until: Instant) {
        let mut turns = 0;
        loop {
            let before = self.now();
            let busy = self.turn(until);
            if !busy && before >= until {
                return;
            }
            turns = if self.now() == before { turns + 1 } else { 0 };
            assert!(turns < TURNS_AT_ONCE_MAX, "the loop spins at {before}");
        }
    }

    /// One turn of the loop; false if nothing was asked of the backend and nothing was told.
    pub(crate) fn turn(&mut self, until: Instant) -> bool {
        let told_before = self.shard.handler().log.len();
        let (backend, submitted) = (&mut self.backend, &mut self.submitted);
        let mut busy = false;
        self.shard.end_turn(backend.now(), &mut |op| {
            busy = true;
            if let Some(kind) = kind_of(&op) {
                submitted[kind as usize] += 1;
            }
            backend.submit(op);
        });
        let letters = &mut self.letters;
        self.shard.post(&mut |to, letter| {
            letters.push((to, letter));
            Ok(())
        });
        let wake_at = self.shard.wake_at().map_or(until, |at| at.min(until));
        let shard = &mut self.shard;
        backend
            .wait(Some(wake_at), &mut |now, completion| {
                busy = true;
                shard.handle(now, completion);
            })
            .unwrap();
        if busy && !self.turn_takes.is_zero() {
            self.net.stall(self.turn_takes);
        }
        let verdicts = self.shard.handler().log[told_before..]
            .iter()
            .filter(|(_, _, told)| matches!(told, Told::Closing | Told::Closed(_)))
            .count();
        self.verdicts_in_a_turn_max = self.verdicts_in_a_turn_max.max(verdicts);
        busy
    }

    /// An order comes from the directory on another shard.
    pub(crate) fn order(&mut self, order: Order) {
        self.shard.deliver(self.backend.now(), Letter::Order(order));
        self.run_for(Duration::ZERO);
    }

    /// The claim of a client is granted.
    pub(crate) fn grant(&mut self, peer: &SimPeer, epoch: u64) {
        let conn = self.conn_of(peer);
        self.order(Order::Grant { conn, epoch });
    }

    /// What happens in every handler method from now on.
    pub(crate) fn act(&mut self, act: impl FnMut(&mut Conn<'_>, &Told) + 'static) {
        self.shard.handler().act = Box::new(act);
    }

    /// The connection of a client.
    pub(crate) fn conn_of(&mut self, peer: &SimPeer) -> ConnId {
        let addr = peer.addr();
        *self.shard.handler().by_peer.get(&addr).expect("this client was accepted")
    }

    /// What the handler was told about a client, in order; empty if it was not let in.
    pub(crate) fn told(&mut self, peer: &SimPeer) -> Vec<(Instant, Told)> {
        let addr = peer.addr();
        let recorder = self.shard.handler();
        let Some(&conn) = recorder.by_peer.get(&addr) else { return Vec::new() };
        recorder.of(conn).map(|(at, told)| (at, told.clone())).collect()
    }

    /// The names of the methods that were called for a client, in order.
    pub(crate) fn calls(&mut self, peer: &SimPeer) -> Vec<&'static str> {
        self.told(peer).iter().map(|(_, told)| told.name()).collect()
    }

    /// When a method was first called for a client.
    pub(crate) fn when(&mut self, peer: &SimPeer, name: &str) -> Option<Instant> {
        self.told(peer).iter().find(|(_, told)| told.name() == name).map(|(at, _)| *at)
    }

    /// The end of a client's connection, if it has ended.
    pub(crate) fn end_of(&mut self, peer: &SimPeer) -> Option<Closed> {
        let addr = peer.addr();
        let recorder = self.shard.handler();
        let conn = *recorder.by_peer.get(&addr)?;
        recorder.of(conn).find_map(|(_, told)| if let Told::Closed(end) = told { Some(**end) } else { None })
    }

    /// Why a client's connection has ended; panics if it has not.
    pub(crate) fn cause_of(&mut self, peer: &SimPeer) -> &'static str {
        self.end_of(peer).expect("it has ended").cause.name()
    }

    /// The frames that were delivered in time, and those that were late.
    pub(crate) fn frames_of(&mut self, peer: &SimPeer) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (mut frames, mut late) = (Vec::new(), Vec::new());
        for (_, told) in self.told(peer) {
            if let Told::Received(frame) = told {
                frames.push(frame);
            } else if let Told::Late(frame) = told {
                late.push(frame);
            }
        }
        (frames, late)
    }

    /// Drains, and checks what must hold at every end.
    pub(crate) fn finish(mut self) {
        self.shard.drain(self.backend.now());
        let bound = self.now() + self.liveness.drain_within + self.liveness.grace + Duration::from_secs(1);
        while !self.shard.is_empty() {
            assert!(self.now() < bound, "the drain does not end: {}", self.backend.ledger());
            self.turn(bound);
        }
        assert_eq!(self.shard.open_total(), 0, "the shard's books");
        assert_eq!(self.backend.ledger().open_total(), 0, "the backend's: {}", self.backend.ledger());
        assert_eq!(self.shard.stats().early, 0, "a verdict came before its deadline");
        self.shard.handler().assert_each_life_is_whole();
        let ends = self.shard.handler().ends().count() as u64;
        assert_eq!(
            self.shard.stats().closed_total(),
            self.shard.stats().accepted,
            "each accepted client has one end"
        );
        assert!(ends <= self.shard.stats().accepted, "the refused are counted and not told");
        self.finished = true;
    }
}

impl<P: Protocol + Default> Drop for World<P> {
    fn drop(&mut self) {
        assert!(self.finished || std::thread::panicking(), "a test ends with finish()");
    }
}

/// Whose op it is; `None` for one that belongs to no connection.
pub(crate) fn kind_of(op: &Op) -> Option<OpKind> {
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

/// How far `at` lies after `from`.
pub(crate) fn since(from: Instant, at: Instant) -> Duration {
    assert!(at >= from, "{at} before {from}");
    at.saturating_since(from)
}

/// `peer` beats every `every`, from `every` from now on, for `lasting`.
pub(crate) fn beats(peer: &SimPeer, every: Duration, lasting: Duration) {
    let mut after = every;
    while after <= lasting {
        peer.send_after(after, b"\n");
        after += every;
    }
}
