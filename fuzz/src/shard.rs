//! A shard between a kernel, peers, a neighbour and a handler that do whatever the input says, as long as the contracts allow
//! it.
//!
//! Nothing here simulates anything: the input is the backend. For each op in flight it chooses any completion that the contract
//! of [`Backend`](heartring_core::Backend) allows, in any order, and how much time passes between turns. What must hold is
//! checked where it can be seen: ops by `kernel`, calls of the handler by `lives`, identities by `holders`.

mod actor;
mod holders;
mod kernel;
mod lives;
mod neighbour;
mod talk;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use heartring_core::{
    Completion, Config, DeadlineStrategy, FlapGuard, Instant, Letter, Listener, ListenerId, Order, Place,
    Protocol, Raw, Request, Shard, ShardId,
};

use crate::input::Input;
use actor::{Actor, Stage};
use kernel::{Kernel, News};
use lives::Lives;
use neighbour::{Here, NAMES, Neighbour};
use talk::Talk;

/// The shard that is tried.
const HERE: ShardId = ShardId(0);

/// The neighbour, which the input plays.
const THERE: ShardId = ShardId(1);

/// Turns after which a shard that is left alone must have come to rest, or to its end.
const TURNS_MAX: u32 = 300;

/// After a step of this length or more the kernel tells what is due before anything else happens: to be a day late is not among
/// the faults of a kernel.
const LONG: Duration = Duration::from_mins(1);

/// How long a trial lasts at the most: several rounds of the counter of ticks, which core keeps its instants in.
const LASTS: Duration = Duration::from_hours(400);

/// The first bytes choose the protocol and the configuration; the rest are steps, and what the handler does in them.
pub fn shard(data: &[u8]) {
    let mut input = Input::new(data);
    if input.below(4) == 3 {
        Trial::<Raw>::new(input).run();
    } else {
        Trial::<Talk>::new(input).run();
    }
}

struct Trial<P: Protocol + Default> {
    shard: Shard<Actor<P>>,
    stage: Rc<RefCell<Stage<P>>>,
    kernel: Kernel,
    neighbour: Neighbour,
    /// What the shard has posted to itself.
    own: Vec<Letter>,
    now: Instant,
    until: Instant,
    conns_max: u32,
}

impl<P: Protocol + Default> Trial<P> {
    fn new(mut input: Input) -> Self {
        let config = config(&mut input);
        let conns_max = 1 + input.below(6) as u32;
        let doors = 1 + input.below(2);
        let strategy =
            input.choose(&[DeadlineStrategy::Sweep, DeadlineStrategy::Linked, DeadlineStrategy::Lease]);
        // The counter of ticks wraps every 2^48 ns.
        let ten_hours = Duration::from_hours(10).as_nanos() as u64;
        let start =
            input.choose(&[1 << 40, 0, (1 << 48) - 5_000_000_000, (1 << 48) - ten_hours, (3 << 48) - 1]);
        let start = Instant::from_nanos(start);
        let listeners: Vec<Listener> = (0..doors as u8)
            .map(|nth| Listener {
                id: ListenerId(nth),
                addr: "10.0.0.1:7000".parse().expect("it is an address"),
            })
            .collect();
        let liveness = config.liveness().expect("the configuration is valid");
        let lives = Lives::new(&config.limits, liveness, conns_max);
        let stage = Rc::new(RefCell::new(Stage { input, lives }));
        let directory = Box::new(Here::new(config.flap_guard));
        let place = Place { shard: HERE, shards: 2, directory, ..Place::alone(conns_max, strategy) };
        let shard = Shard::new(place, &config, &listeners, Actor { stage: Rc::clone(&stage) });
        Self {
            shard: shard.expect("the configuration is valid"),
            stage,
            kernel: Kernel::new(&config.limits, conns_max, doors),
            neighbour: Neighbour::default(),
            own: Vec::new(),
            now: start,
            until: start + LASTS,
            conns_max,
        }
    }

    fn run(mut self) {
        self.turn();
        while !self.stage.borrow().input.is_empty() {
            self.step();
        }
        self.finish();
    }

    fn draw<T>(&mut self, draw: impl FnOnce(&mut Input) -> T) -> T {
        draw(&mut self.stage.borrow_mut().input)
    }

    fn step(&mut self) {
        match self.draw(|input| input.below(16)) {
            0..=6 => {
                let nth = self.draw(|input| input.below(256));
                self.complete(nth);
            }
            7..=10 => {
                self.turn();
                self.pass();
            }
            11 | 12 => self.neighbour_asks(),
            13 => self.neighbour_decides(),
            14 => _ = self.neighbour_reads(),
            _ => self.interrupt(),
        }
    }

    /// The nth op that can complete does.
    fn complete(&mut self, nth: usize) -> bool {
        let Some(index) = self.kernel.nth(nth) else { return false };
        let mut stage = self.stage.borrow_mut();
        let news = self.kernel.complete(index, self.now, &mut stage.input);
        drop(stage);
        self.tell(news);
        true
    }

    fn tell(&mut self, news: News) {
        match news {
            News::Received { conn, bytes } => {
                self.stage.borrow_mut().lives.arrive(conn, &bytes);
                self.shard.handle(self.now, Completion::Received { conn, bytes: &bytes });
            }
            News::Ended(completion) => self.shard.handle(self.now, completion),
        }
    }

    /// Ends the turn; until when the backend may sleep.
    fn turn(&mut self) -> Option<Instant> {
        let kernel = &mut self.kernel;
        self.shard.end_turn(self.now, &mut |op| kernel.submit(op));
        let (neighbour, own) = (&mut self.neighbour, &mut self.own);
        self.shard.post(&mut |to, letter| {
            if to == HERE {
                own.push(letter);
                return Ok(());
            }
            assert_eq!(to, THERE, "{letter:?}");
            neighbour.take(letter)
        });
        assert_eq!(self.shard.stats().early, 0, "a verdict came before its deadline");
        let counts = self.shard.state_counts();
        let standing = counts.greeting + counts.live + counts.overdue + counts.grace;
        assert!(standing <= self.conns_max, "{counts:?} of {}", self.conns_max);
        self.shard.wake_at()
    }

    /// Time passes, and then comes what the shard has told itself.
    fn pass(&mut self) {
        let wake_at = self.shard.wake_at().unwrap_or(self.now);
        let until = match self.draw(|input| input.below(16)) {
            0 | 1 => self.now,
            2 | 3 => wake_at,
            4 => wake_at + Duration::from_nanos(1 << 16),
            5 => wake_at + Duration::from_secs(2),
            6 => self.now + Duration::from_nanos(1),
            7 => self.now + Duration::from_millis(1),
            8 => self.now + Duration::from_millis(11),
            9 => self.now + Duration::from_millis(101),
            10 => self.now + Duration::from_millis(600),
            11 => self.now + Duration::from_secs(5),
            12 => self.now + Duration::from_secs(31),
            13 => self.now + Duration::from_mins(10),
            14 => self.now + Duration::from_hours(3),
            _ => self.now + Duration::from_hours(50),
        };
        let until = until.min(self.until).max(self.now);
        let long = until.saturating_since(self.now) >= LONG;
        self.now = until;
        if long {
            self.catch_up();
        }
        self.read_own();
    }

    /// The kernel tells what is due, until the shard rests.
    fn catch_up(&mut self) {
        for _ in 0..TURNS_MAX {
            while let Some(news) = self.kernel.overdue(self.now) {
                self.tell(news);
            }
            if self.turn().is_none_or(|at| at > self.now) && !self.kernel.is_overdue(self.now) {
                return;
            }
        }
        panic!("the shard does not rest");
    }

    fn read_own(&mut self) {
        for letter in std::mem::take(&mut self.own) {
            self.shard.deliver(self.now, letter);
        }
    }

    fn deliver(&mut self, letters: Vec<Letter>) {
        for letter in letters {
            self.shard.deliver(self.now, letter);
        }
    }

    /// What connections of the neighbour want.
    fn neighbour_asks(&mut self) {
        let (what, name) = self.draw(|input| (input.below(8), input.below(NAMES.len())));
        let letters = match what {
            0..=2 => self.neighbour.claim(name),
            3 | 4 => {
                let nth = self.draw(Input::byte);
                self.neighbour.leave(nth.into(), &mut self.stage.borrow_mut().lives.holders)
            }
            5 => vec![Letter::Request(Request::Forward {
                identity: neighbour::here(name),
                payload: self.payload(),
            })],
            6 => vec![Letter::Broadcast(self.payload())],
            _ => vec![Letter::Message(self.payload())],
        };
        self.deliver(letters);
    }

    fn payload(&mut self) -> bytes::Bytes {
        self.draw(|input| vec![0x41; input.below(50)]).into()
    }

    /// The neighbour's directory orders whatever it likes; what this shard's directory decides about is left alone.
    fn neighbour_decides(&mut self) {
        let mut stage = self.stage.borrow_mut();
        let Stage { input, lives } = &mut *stage;
        let (what, nth) = (input.below(8), input.byte());
        let conn = lives.any(nth.into());
        let epoch = 1 + input.below(8) as u64;
        let free = !lives.claims_here(conn);
        let order = match what {
            0..=2 if free => Order::Grant { conn, epoch },
            3 if free => {
                let nth = input.byte();
                let successor = self.neighbour.successor(input.flag(), lives.asked_there(nth.into()));
                let identity = neighbour::there(input.below(NAMES.len()));
                Order::Evict { conn, identity, by: epoch, successor }
            }
            0..=4 => Order::Refuse { conn, retry_after: Duration::from_secs(1) },
            5 => Order::Deliver { conn, epoch, payload: vec![0x42; input.below(50)].into() },
            6 => Order::Send { conn, payload: vec![0x43; input.below(50)].into() },
            _ => Order::Close { conn },
        };
        drop(stage);
        self.shard.deliver(self.now, Letter::Order(order));
    }

    /// The neighbour reads a letter and does what it says.
    fn neighbour_reads(&mut self) -> bool {
        let read = self.neighbour.read(&mut self.stage.borrow_mut().lives.holders);
        let any = read.is_some();
        self.deliver(read.unwrap_or_default());
        any
    }

    fn interrupt(&mut self) {
        match self.draw(Input::byte) {
            0xFF => self.shard.drain(self.now),
            odd if odd & 1 == 1 => self.neighbour.is_full = !self.neighbour.is_full,
            _ => self.shard.handle(self.now, Completion::Woken),
        }
    }

    /// Everything ends as it should; then nothing may be left.
    fn finish(mut self) {
        self.neighbour.is_full = false;
        self.shard.drain(self.now);
        let released = self.neighbour.leave_all(&mut self.stage.borrow_mut().lives.holders);
        self.deliver(released);
        for _ in 0..TURNS_MAX {
            self.turn();
            self.read_own();
            while self.neighbour_reads() {}
            while self.complete(0) {}
            if self.shard.is_empty() && self.kernel.is_empty() && self.neighbour.is_idle() {
                break;
            }
            self.now = self.now + Duration::from_millis(20);
        }
        assert!(self.shard.is_empty() && self.kernel.is_empty(), "{:?}", self.kernel);
        assert_eq!(self.shard.open_total(), 0, "something is left open");
        assert_eq!(self.shard.stats().early, 0, "a verdict came before its deadline");
        assert_eq!(self.shard.stats().closed_total(), self.shard.stats().accepted, "each has one end");
        self.stage.borrow().lives.assert_whole();
    }
}

/// Small limits, so that a short input reaches them.
fn config(input: &mut Input) -> Config {
    let dead_within = input.choose(&[Duration::from_secs(30), Duration::from_millis(100), LONG * 60]);
    let mut config = Config { dead_within, claim_required: input.flag(), ..Config::default() };
    config.tick_every = input.flag().then_some(Duration::from_millis(250));
    config.overrides.grace = input.flag().then_some(Duration::ZERO);
    config.flap_guard = input.flag().then_some(FlapGuard { takeovers_max: 1, ..FlapGuard::default() });
    let limits = &mut config.limits;
    limits.accepts_in_flight = 1 + input.below(3) as u32;
    limits.conns_per_source_max = input.flag().then_some(2);
    (limits.accepts_per_second, limits.accept_burst) = (input.flag().then_some(8), 3);
    limits.verdicts_per_turn_max = 1 + input.below(3) as u32;
    limits.outbox_letters_max = 1 + input.below(4) as u32;
    limits.identity_bytes_max = 4;
    (limits.held_bytes_max, limits.frame_bytes_max, limits.partial_bytes_max) = (40, 48, 120);
    (limits.send_queue_bytes_max, limits.send_queue_high, limits.send_queue_low) = (100, 60, 20);
    config
}
