//! A partition of the directory against a model that is too simple to be wrong: of those who asked, and have neither left nor
//! been told to go, one remains, and it has the identity.
//!
//! The shards around it do what orders say and nothing else. Letters from one node to another keep their order, and which of
//! those that wait arrives next is drawn: all orders of claims, releases and reports of evictions come about.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::time::Duration;

use heartring_core::{
    ConnAt, ConnId, Directory, FlapGuard, Identity, Instant, Order, Partition, Request, ShardId,
};
use proptest::prelude::*;

const SHARDS: usize = 3;
/// The node on which the partition lives. None of the connections do, so that no letter takes a short cut.
const OWNER: usize = SHARDS;
const IDENTITIES: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A new connection claims.
    Claim { identity: usize, shard: usize },
    /// The nth connection that lives ends of itself.
    End(usize),
    /// The nth letter that can arrive does.
    Arrive(usize),
    /// Time passes.
    Pass(u64),
    /// Something is sent to whoever holds the identity.
    Forward(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..IDENTITIES, 0..SHARDS).prop_map(|(identity, shard)| Step::Claim { identity, shard }),
        2 => any::<usize>().prop_map(Step::End),
        10 => any::<usize>().prop_map(Step::Arrive),
        1 => (1..400_u64).prop_map(Step::Pass),
        1 => (0..IDENTITIES).prop_map(Step::Forward),
    ];
    prop::collection::vec(step, 0..300)
}

#[derive(Clone, Debug)]
enum Letter {
    Request(Request),
    Order(Order),
}

/// One connection, as its own shard sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conn {
    Asked,
    Granted(u64),
    Gone,
}

struct World {
    partition: Partition<BuildHasherDefault<DefaultHasher>>,
    guard: Option<FlapGuard>,
    now: Instant,
    conns: BTreeMap<ConnAt, (usize, Conn)>,
    next: u32,
    /// By sender and receiver.
    letters: HashMap<(usize, usize), VecDeque<Letter>>,
    /// The model: who asked, was not refused, has not left and was not told to go; by identity, the newest last.
    remaining: [Vec<ConnAt>; IDENTITIES],
    granted_last: [u64; IDENTITIES],
    answers: BTreeMap<ConnAt, u32>,
}

fn name(identity: usize) -> Identity {
    Identity::from(["pump", "valve"][identity])
}

fn index(identity: &Identity) -> usize {
    usize::from(*identity == name(1))
}

impl World {
    fn new(guard: Option<FlapGuard>) -> Self {
        Self {
            partition: Partition::new(ShardId(0), 1, BuildHasherDefault::default(), guard),
            guard,
            now: Instant::ZERO,
            conns: BTreeMap::new(),
            next: 0,
            letters: HashMap::new(),
            remaining: Default::default(),
            granted_last: [0; IDENTITIES],
            answers: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Claim { identity, shard } => {
                let by = ConnAt { shard: ShardId(shard as u16), conn: ConnId::new(self.next, 0) };
                self.next += 1;
                self.conns.insert(by, (identity, Conn::Asked));
                self.ask(shard, Request::Claim { identity: name(identity), by });
            }
            Step::End(nth) => {
                let living = self.conns.iter().filter(|(_, (_, conn))| *conn != Conn::Gone);
                let living: Vec<ConnAt> = living.map(|(at, _)| *at).collect();
                if !living.is_empty() {
                    self.end(living[nth % living.len()]);
                }
            }
            Step::Arrive(nth) => {
                self.arrive(nth);
            }
            Step::Pass(millis) => self.now = self.now + Duration::from_millis(millis),
            Step::Forward(identity) => {
                self.ask(0, Request::Forward { identity: name(identity), payload: "hello".into() });
            }
        }
    }

    fn ask(&mut self, from: usize, request: Request) {
        self.letters.entry((from, OWNER)).or_default().push_back(Letter::Request(request));
    }

    /// A connection ends of itself: it releases what it had claimed.
    fn end(&mut self, at: ConnAt) {
        let (identity, conn) = self.conns.get_mut(&at).expect("it lives");
        *conn = Conn::Gone;
        let request = Request::Release { identity: name(*identity), by: at };
        self.ask(usize::from(at.shard.0), request);
    }

    /// Returns whether there was a letter.
    fn arrive(&mut self, nth: usize) -> bool {
        let mut ways: Vec<(usize, usize)> =
            self.letters.iter().filter(|(_, queue)| !queue.is_empty()).map(|(way, _)| *way).collect();
        ways.sort_unstable();
        let Some(&way) = ways.get(nth.checked_rem(ways.len()).unwrap_or(0)) else { return false };
        let letter = self.letters.get_mut(&way).and_then(VecDeque::pop_front).expect("it is not empty");
        match letter {
            Letter::Request(request) => self.decide(&request),
            Letter::Order(order) => self.follow(way.1, order),
        }
        true
    }

    /// The partition takes a request in; the model does, too.
    fn decide(&mut self, request: &Request) {
        let mut orders = Vec::new();
        self.partition.handle(self.now, request.clone(), &mut |to, order| orders.push((to, order)));
        let remaining = &mut self.remaining[index(request.identity())];
        let before = remaining.len();
        match request {
            Request::Claim { by, .. } => remaining.push(*by),
            Request::Release { by, .. } => {
                remaining.retain(|at| at != by);
                assert!(orders.is_empty(), "a release orders nothing: {orders:?}");
            }
            Request::Evicted { .. } => {}
            Request::Forward { .. } => assert!(orders.len() <= 1, "{orders:?}"),
        }
        let newest = remaining.last().copied();
        for (to, order) in orders {
            match &order {
                Order::Evict { conn, .. } => {
                    let former = ConnAt { shard: to, conn: *conn };
                    assert_ne!(Some(former), newest, "the newest wins");
                    remaining.retain(|at| *at != former);
                }
                Order::Refuse { conn, retry_after } => {
                    let guard = self.guard.expect("only a guard refuses");
                    assert!(!retry_after.is_zero() && *retry_after <= guard.cool_down);
                    assert_eq!(newest, Some(ConnAt { shard: to, conn: *conn }));
                    remaining.pop();
                    assert_eq!(remaining.len(), before, "a refusal changes nothing");
                }
                Order::Deliver { conn, .. } => {
                    let holder = ConnAt { shard: to, conn: *conn };
                    assert_eq!(remaining.as_slice(), [holder], "nobody else may have it");
                }
                Order::Grant { .. } => {}
                Order::Send { .. } | Order::Close { .. } => {
                    panic!("a directory does not order this: {order:?}")
                }
            }
            let way = (OWNER, usize::from(to.0));
            self.letters.entry(way).or_default().push_back(Letter::Order(order));
        }
    }

    /// A shard does what an order says.
    fn follow(&mut self, shard: usize, order: Order) {
        let at = |conn| ConnAt { shard: ShardId(shard as u16), conn };
        match order {
            Order::Grant { conn, epoch } => self.grant(at(conn), epoch),
            Order::Refuse { conn, .. } => {
                if self.conns[&at(conn)].1 == Conn::Asked {
                    self.answered(at(conn));
                    self.end(at(conn));
                }
            }
            Order::Evict { conn, identity, by, successor } => {
                match self.conns[&at(conn)].1 {
                    Conn::Granted(epoch) => assert!(by > epoch, "{conn} of {epoch} makes room for {by}"),
                    Conn::Asked => self.answered(at(conn)),
                    Conn::Gone => {}
                }
                self.conns.get_mut(&at(conn)).expect("it has claimed").1 = Conn::Gone;
                if let Some(successor) = successor {
                    let grant = Letter::Order(Order::Grant { conn: successor.conn, epoch: by });
                    let way = (shard, usize::from(successor.shard.0));
                    self.letters.entry(way).or_default().push_back(grant);
                    self.ask(shard, Request::Evicted { identity, epoch: by });
                }
            }
            Order::Deliver { conn, epoch, .. } => {
                // It can overtake the grant, and is dropped then; it never reaches the holder of another epoch.
                if let (_, Conn::Granted(held)) = self.conns[&at(conn)] {
                    assert_eq!(held, epoch);
                }
            }
            Order::Send { .. } | Order::Close { .. } => panic!("a directory does not order this"),
        }
    }

    fn grant(&mut self, at: ConnAt, epoch: u64) {
        let (identity, conn) = self.conns[&at];
        if conn != Conn::Asked {
            return; // It has left, or was evicted before it was granted.
        }
        let holds = |(_, (its, conn)): &(&ConnAt, &(usize, Conn))| {
            *its == identity && matches!(conn, Conn::Granted(_))
        };
        assert_eq!(self.conns.iter().find(holds), None, "{at} is the second holder of {identity}");
        assert!(epoch > self.granted_last[identity], "epochs grow");
        self.granted_last[identity] = epoch;
        self.answered(at);
        self.conns.insert(at, (identity, Conn::Granted(epoch)));
    }

    fn answered(&mut self, at: ConnAt) {
        let answers = self.answers.entry(at).or_default();
        *answers += 1;
    }

    /// Once nothing is under way.
    fn check(&mut self) {
        for (at, (identity, conn)) in &self.conns {
            assert_ne!(*conn, Conn::Asked, "{at} never heard of its claim");
            let has_it = self.remaining[*identity].contains(at);
            assert_eq!(matches!(conn, Conn::Granted(_)), has_it, "{at}, {conn:?}, and {:?}", self.remaining);
        }
        assert_eq!(self.partition.open_total(), self.remaining.iter().flatten().count() as u64);
        for (identity, remaining) in self.remaining.iter().enumerate() {
            let mut reached = None;
            let request = Request::Forward { identity: name(identity), payload: "hello".into() };
            self.partition.handle(self.now, request, &mut |shard, order| {
                if let Order::Deliver { conn, .. } = order {
                    reached = Some(ConnAt { shard, conn });
                }
            });
            assert!(remaining.len() <= 1, "one remains: {remaining:?}");
            assert_eq!(reached.as_ref(), remaining.first(), "what is forwarded");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn of_those_who_ask_one_remains_and_has_the_identity(
        steps in steps(),
        takeovers_max in prop::option::of(0..4_u32),
    ) {
        let guard = takeovers_max.map(|takeovers_max| FlapGuard {
            takeovers_max,
            window: Duration::from_secs(1),
            cool_down: Duration::from_millis(300),
        });
        let mut world = World::new(guard);
        for step in steps {
            world.step(step);
        }
        while world.arrive(0) {}
        world.check();
        let living: Vec<ConnAt> =
            world.conns.iter().filter(|(_, (_, conn))| *conn != Conn::Gone).map(|(at, _)| *at).collect();
        for at in living {
            world.end(at);
        }
        while world.arrive(0) {}
        prop_assert_eq!(world.partition.open_total(), 0);
        prop_assert!(world.answers.values().all(|answers| *answers == 1), "{:?}", world.answers);
    }
}

/// A partition with one identity, and what it orders.
struct Alone(Partition<BuildHasherDefault<DefaultHasher>>, u32);

impl Alone {
    fn new(guard: FlapGuard) -> Self {
        Self(Partition::new(ShardId(0), 1, BuildHasherDefault::default(), Some(guard)), 0)
    }

    /// A new connection claims, and whoever makes room for it does. Returns for how long it is refused.
    fn claim(&mut self, millis: u64) -> Option<Duration> {
        let now = Instant::from_nanos(millis * 1_000_000);
        let by = ConnAt { shard: ShardId(0), conn: ConnId::new(self.1, 0) };
        self.1 += 1;
        let (mut refused, mut evicted) = (None, None);
        self.0.handle(now, Request::Claim { identity: name(0), by }, &mut |_, order| match order {
            Order::Refuse { retry_after, .. } => refused = Some(retry_after),
            Order::Evict { by, .. } => evicted = Some(by),
            Order::Grant { .. } | Order::Send { .. } | Order::Deliver { .. } | Order::Close { .. } => {}
        });
        if let Some(epoch) = evicted {
            self.0.handle(now, Request::Evicted { identity: name(0), epoch }, &mut |_, _| ());
        }
        refused
    }
}

#[test]
fn so_many_takeovers_are_allowed_within_a_window_and_then_none_for_a_while() {
    let millis = Duration::from_millis;
    let guard = FlapGuard { takeovers_max: 3, window: millis(1_000), cool_down: millis(500) };
    let mut alone = Alone::new(guard);
    assert_eq!(alone.claim(0), None, "nobody has it");
    for at in [100, 200, 300] {
        assert_eq!(alone.claim(at), None, "{at}");
    }
    assert_eq!(alone.claim(400), Some(millis(500)), "one too many");
    assert_eq!(alone.claim(600), Some(millis(300)), "what is left of the pause");
    assert_eq!(alone.claim(899), Some(millis(1)));
    for at in [900, 910, 920] {
        assert_eq!(alone.claim(at), None, "after the pause it counts from zero");
    }
    assert_eq!(alone.claim(930), Some(millis(500)));
}

#[test]
fn takeovers_that_are_far_apart_are_nothing_unusual() {
    let millis = Duration::from_millis;
    let guard = FlapGuard { takeovers_max: 2, window: millis(1_000), cool_down: millis(500) };
    let mut alone = Alone::new(guard);
    for nth in 0..100 {
        assert_eq!(alone.claim(nth * 500), None, "{nth}");
    }
}

#[test]
fn a_report_of_another_takeover_ends_none() {
    let mut partition = Alone::new(FlapGuard::default()).0;
    let mut ask = |request| {
        let mut orders = Vec::new();
        partition.handle(Instant::ZERO, request, &mut |_, order| orders.push(order));
        orders
    };
    for slot in 0..3 {
        let by = ConnAt { shard: ShardId(0), conn: ConnId::new(slot, 0) };
        ask(Request::Claim { identity: name(0), by });
    }
    let mut report = |epoch| ask(Request::Evicted { identity: name(0), epoch });
    for other in [1, 3, 7] {
        assert_eq!(report(other), []);
    }
    assert!(matches!(report(2).as_slice(), [Order::Evict { by: 3, .. }]), "the one that waited is next");
    assert_eq!(report(2), [], "it is over");
}

#[test]
fn all_partitions_agree_on_the_owner_and_share_the_identities_evenly() {
    let partitions: Vec<_> = (0..4)
        .map(|shard| Partition::new(ShardId(shard), 4, BuildHasherDefault::<DefaultHasher>::default(), None))
        .collect();
    let mut owned = [0; 4];
    for nth in 0..4_000 {
        let identity = Identity::from(format!("pump-{nth}").as_str());
        let owner = partitions[0].owner(&identity);
        assert!(partitions.iter().all(|partition| partition.owner(&identity) == owner));
        owned[usize::from(owner.0)] += 1;
    }
    assert!(owned.iter().all(|count| (800..1_200).contains(count)), "{owned:?}");
}
