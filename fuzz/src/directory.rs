//! The directory against a model that is too simple to be wrong: of those who asked, and have neither left nor been told to go,
//! one remains, and it has the identity.
//!
//! The shards around it do what orders say and nothing else. Letters from one node to another keep their order, and which of
//! those that wait arrives next is drawn: all orders of claims, releases and reports of evictions come about.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::time::Duration;

use heartring_core::{
    ConnAt, ConnId, Directory, FlapGuard, Identity, Instant, Order, Partition, Request, ShardId,
};

use crate::input::Input;

const SHARDS: usize = 3;

const NAMES: [&str; 4] = ["pump", "valve", "meter", "lamp"];

/// The first bytes choose the flap guard, how many partitions there are and where they live; each of the others, with one more,
/// is a step.
pub fn directory(data: &[u8]) {
    let mut input = Input::new(data);
    let guard = input.below(5).checked_sub(1).map(|takeovers_max| FlapGuard {
        takeovers_max: takeovers_max as u32,
        window: Duration::from_secs(1),
        cool_down: Duration::from_millis(300),
    });
    let mut world = World::new(guard, 1 + input.below(SHARDS), input.flag());
    while !input.is_empty() {
        world.step(&mut input);
    }
    world.finish();
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
    partitions: Vec<Partition<BuildHasherDefault<DefaultHasher>>>,
    /// On which node the first of them lives: on the first shard, or, so that no letter takes a short cut, behind the last.
    first_node: usize,
    guard: Option<FlapGuard>,
    now: Instant,
    conns: BTreeMap<ConnAt, (usize, Conn)>,
    next: u32,
    /// By sender and receiver; none is empty.
    letters: BTreeMap<(usize, usize), VecDeque<Letter>>,
    /// The model: who asked, was not refused, has not left and was not told to go; by identity, the newest last.
    remaining: [Vec<ConnAt>; NAMES.len()],
    granted_last: [u64; NAMES.len()],
    answers: BTreeMap<ConnAt, u32>,
}

fn index(identity: &Identity) -> usize {
    NAMES.iter().position(|name| Identity::from(*name) == *identity).expect("one of those asked for")
}

impl World {
    fn new(guard: Option<FlapGuard>, partitions: usize, apart: bool) -> Self {
        let partition = |nth: usize| {
            Partition::new(ShardId(nth as u16), partitions as u16, BuildHasherDefault::default(), guard)
        };
        Self {
            partitions: (0..partitions).map(partition).collect(),
            first_node: if apart { SHARDS } else { 0 },
            guard,
            now: Instant::ZERO,
            conns: BTreeMap::new(),
            next: 0,
            letters: BTreeMap::new(),
            remaining: Default::default(),
            granted_last: [0; NAMES.len()],
            answers: BTreeMap::new(),
        }
    }

    fn step(&mut self, input: &mut Input) {
        match input.below(20) {
            0..=10 => _ = self.arrive(input.below(256)),
            11..=14 => {
                let (identity, shard) = (input.below(NAMES.len()), input.below(SHARDS));
                let by = self.newcomer(shard);
                self.conns.insert(by, (identity, Conn::Asked));
                self.ask(shard, Request::Claim { identity: NAMES[identity].into(), by });
            }
            15 | 16 => {
                let living = self.living();
                if let Some(nth) = input.below(256).checked_rem(living.len()) {
                    self.end(living[nth]);
                }
            }
            17 => self.now = self.now + Duration::from_millis(2 * input.below(256) as u64),
            18 => {
                let identity = NAMES[input.below(NAMES.len())].into();
                self.ask(0, Request::Forward { identity, payload: "hello".into() });
            }
            _ => {
                // One that never claimed. It takes nothing from anybody.
                let (identity, by) = (NAMES[input.below(NAMES.len())].into(), self.newcomer(0));
                self.ask(0, Request::Release { identity, by });
            }
        }
    }

    fn newcomer(&mut self, shard: usize) -> ConnAt {
        self.next += 1;
        ConnAt { shard: ShardId(shard as u16), conn: ConnId::new(self.next, 0) }
    }

    fn living(&self) -> Vec<ConnAt> {
        let living = self.conns.iter().filter(|(_, (_, conn))| *conn != Conn::Gone);
        living.map(|(at, _)| *at).collect()
    }

    fn owner(&self, identity: &Identity) -> usize {
        usize::from(self.partitions[0].owner(identity).0)
    }

    fn ask(&mut self, from: usize, request: Request) {
        let to = self.first_node + self.owner(request.identity());
        self.send(from, to, Letter::Request(request));
    }

    fn send(&mut self, from: usize, to: usize, letter: Letter) {
        self.letters.entry((from, to)).or_default().push_back(letter);
    }

    /// A connection ends of itself: it releases what it had claimed.
    fn end(&mut self, at: ConnAt) {
        let (identity, conn) = self.conns.get_mut(&at).expect("it lives");
        *conn = Conn::Gone;
        let request = Request::Release { identity: NAMES[*identity].into(), by: at };
        self.ask(usize::from(at.shard.0), request);
    }

    /// The first letter on the nth way arrives. Returns whether there was one.
    fn arrive(&mut self, nth: usize) -> bool {
        let Some(nth) = nth.checked_rem(self.letters.len()) else { return false };
        let (&way, queue) = self.letters.iter_mut().nth(nth).expect("there are as many ways");
        let letter = queue.pop_front().expect("no queue is empty");
        if queue.is_empty() {
            self.letters.remove(&way);
        }
        match letter {
            Letter::Request(request) => self.decide(way.1, &request),
            Letter::Order(order) => self.follow(way.1, order),
        }
        true
    }

    /// A partition takes a request in; the model does, too.
    fn decide(&mut self, node: usize, request: &Request) {
        let mut orders = Vec::new();
        let partition = &mut self.partitions[node - self.first_node];
        partition.handle(self.now, request.clone(), &mut |to, order| orders.push((to, order)));
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
        for (to, order) in &orders {
            check_order(remaining, before, self.guard, *to, order);
        }
        for (to, order) in orders {
            self.send(node, usize::from(to.0), Letter::Order(order));
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
                    self.send(shard, usize::from(successor.shard.0), grant);
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
        *self.answers.entry(at).or_default() += 1;
    }

    /// Every letter arrives, and everybody leaves.
    fn finish(mut self) {
        while self.arrive(0) {}
        self.check();
        for at in self.living() {
            self.end(at);
        }
        while self.arrive(0) {}
        assert_eq!(self.open_total(), 0);
        assert!(self.answers.values().all(|answers| *answers == 1), "{:?}", self.answers);
    }

    fn open_total(&self) -> u64 {
        self.partitions.iter().map(Directory::open_total).sum()
    }

    /// Once nothing is under way.
    fn check(&mut self) {
        for (at, (identity, conn)) in &self.conns {
            assert_ne!(*conn, Conn::Asked, "{at} never heard of its claim");
            let has_it = self.remaining[*identity].contains(at);
            assert_eq!(matches!(conn, Conn::Granted(_)), has_it, "{at}, {conn:?}, and {:?}", self.remaining);
        }
        assert_eq!(self.open_total(), self.remaining.iter().flatten().count() as u64);
        for (name, remaining) in NAMES.iter().zip(&self.remaining) {
            let (mut reached, identity) = (None, Identity::from(*name));
            let owner = self.owner(&identity);
            let request = Request::Forward { identity, payload: "hello".into() };
            self.partitions[owner].handle(self.now, request, &mut |shard, order| {
                if let Order::Deliver { conn, .. } = order {
                    reached = Some(ConnAt { shard, conn });
                }
            });
            assert!(remaining.len() <= 1, "one remains: {remaining:?}");
            assert_eq!(reached.as_ref(), remaining.first(), "what is forwarded");
        }
    }
}

/// What an order means for those who remain, of whom there were `before` when it was asked for.
fn check_order(
    remaining: &mut Vec<ConnAt>,
    before: usize,
    guard: Option<FlapGuard>,
    to: ShardId,
    order: &Order,
) {
    let newest = remaining.last().copied();
    match order {
        Order::Evict { conn, .. } => {
            let former = ConnAt { shard: to, conn: *conn };
            assert_ne!(Some(former), newest, "the newest wins");
            remaining.retain(|at| *at != former);
        }
        Order::Refuse { conn, retry_after } => {
            let guard = guard.expect("only a guard refuses");
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
        Order::Send { .. } | Order::Close { .. } => panic!("a directory does not order this: {order:?}"),
    }
}
