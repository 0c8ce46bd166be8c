//! The driver: several shards, each on a backend of its own, in one virtual time.
//!
//! Time goes on in steps that the dice choose. In each, clients act, letters arrive, and every shard turns until nothing is
//! left for it to do; some are away for a while and come late.

use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use heartring_core::{
    Backend, BackendConfig, Config, DeadlineStrategy, Identity, Instant, Letter, Partition, Place, Request,
    Shard, ShardId,
};
use heartring_sim::SimBackend;

use crate::clients::{Client, Surroundings};
use crate::dice::Dice;
use crate::history::{Deeds, History};
use crate::post::{Habits, Post};
use crate::villager::Villager;

/// What a village is like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) shards: u16,
    pub(crate) identities: usize,
    pub(crate) clients: usize,
    pub(crate) strategy: DeadlineStrategy,
    pub(crate) config: Config,
    pub(crate) habits: Habits,
    /// How many clients there are at a time.
    pub(crate) crowd: usize,
    pub(crate) step_max: Duration,
    /// One turn in so many is followed by an absence of the thread.
    pub(crate) absent_in: u64,
}

struct House {
    shard: Shard<Villager>,
    backend: SimBackend,
    addr: SocketAddr,
    id: ShardId,
}

/// See the module's own text.
pub(crate) struct Village {
    plan: Plan,
    houses: Vec<House>,
    post: Post,
    dice: Dice,
    now: Instant,
    clients: Vec<Client>,
    pub(crate) history: Rc<RefCell<History>>,
}

impl Village {
    pub(crate) fn new(plan: Plan, dice: Dice) -> Self {
        let history = Rc::default();
        let houses = (0..plan.shards).map(|shard| House::new(&plan, ShardId(shard), &history)).collect();
        let post = Post::new(usize::from(plan.shards), plan.habits);
        Self { plan, houses, post, dice, now: Instant::ZERO, clients: Vec::new(), history }
    }

    /// Plays until every client has come, and then until all but the living have gone.
    pub(crate) fn play(&mut self) {
        while self.clients.len() < self.plan.clients {
            let present = self.clients.iter().rev().take(4 * self.plan.crowd);
            let present = present.filter(|client| !client.is_gone()).count();
            if present < self.plan.crowd || self.dice.one_in(4) {
                self.welcome();
            }
            self.act();
            self.step();
        }
        for _ in 0..20 {
            self.step();
        }
    }

    /// What is sent to an identity reaches its holder, once nothing is under way: the directory has forgotten nobody who
    /// lives, whatever was released meanwhile.
    pub(crate) fn every_holder_is_found(&mut self) {
        self.post.mend();
        self.plan.absent_in = u64::MAX;
        self.rest();
        let before = self.history.borrow().holders();
        for identity in before.keys() {
            let (identity, payload) = (Identity::from(identity.as_str()), format!("are you {identity}\n"));
            let request = Request::Forward { identity, payload: payload.into() };
            let house = &mut self.houses[self.dice.below(usize::from(self.plan.shards))];
            house.shard.deliver(house.backend.now(), Letter::Request(request));
            self.rest(); // One by one: an outbox may have room for a single one.
        }
        let after = self.history.borrow().holders();
        for (identity, client) in before {
            if after.get(&identity) == Some(&client) && !self.clients[client].is_gone() {
                let found = self.clients[client].has_read(&format!("are you {identity}\n"));
                assert!(found, "client {client} holds {identity}, and nothing reaches it");
            }
        }
    }

    /// Steps until no letter waits or is under way, and no thread is away.
    fn rest(&mut self) {
        for _ in 0..100_000 {
            self.step();
            let rests = |house: &House| house.shard.outbox_len() == 0 && house.backend.now() <= self.now;
            if self.post.is_idle() && self.houses.iter().all(rests) {
                return;
            }
        }
        panic!("the letters do not come to an end");
    }

    /// Drains every shard, one after the other, and checks that nothing is left.
    pub(crate) fn finish(mut self) -> (Rc<RefCell<History>>, Vec<Deeds>) {
        self.post.mend();
        for nth in 0..self.houses.len() {
            let house = &mut self.houses[nth];
            house.shard.drain(house.backend.now());
            for _ in 0..self.dice.below(4) {
                self.step();
            }
        }
        let liveness = self.plan.config.liveness().expect("it was valid before");
        let bound = self.now + 2 * (liveness.drain_within + liveness.grace) + Duration::from_mins(1);
        while !(self.post.is_idle() && self.houses.iter().all(|house| house.shard.is_empty())) {
            assert!(self.now < bound, "the village does not come to an end");
            self.step();
        }
        for house in &self.houses {
            let (books, ledger) = (house.shard.open_total(), house.backend.ledger());
            assert_eq!((books, ledger.open_total()), (0, 0), "shard {}: {ledger}", house.id);
            assert_eq!(house.shard.stats().early, 0);
        }
        (self.history, self.clients.into_iter().map(Client::deeds).collect())
    }

    /// Letters carried, and letters that the post gave back.
    pub(crate) fn mail(&self) -> (u64, u64) {
        (self.post.carried, self.post.given_back)
    }

    fn around(&self) -> Surroundings {
        Surroundings { shards: self.houses.len(), identities: self.plan.identities }
    }

    fn welcome(&mut self) {
        let around = self.around();
        let house = &self.houses[self.dice.below(self.houses.len())];
        let peer = house.backend.world().connect(house.addr);
        self.clients.push(Client::new(self.clients.len(), peer, around, &mut self.dice));
    }

    /// A few of those who came last do something.
    fn act(&mut self) {
        let around = self.around();
        let recent = self.clients.len().min(4 * self.plan.crowd);
        for _ in 0..self.dice.below(self.plan.crowd) {
            let nth = self.clients.len() - 1 - self.dice.below(recent.max(1)).min(self.clients.len() - 1);
            self.clients[nth].act(around, &mut self.dice);
        }
    }

    fn step(&mut self) {
        let step = self.dice.between(1, self.plan.step_max.as_nanos() as u64);
        self.now = self.now + Duration::from_nanos(step);
        let first = self.dice.below(self.houses.len());
        for nth in 0..self.houses.len() {
            let house = &mut self.houses[(first + nth) % usize::from(self.plan.shards)];
            house.live_until(self.now, &mut self.post, &mut self.dice);
            if self.dice.one_in(self.plan.absent_in) {
                let away = self.plan.step_max * self.dice.between(1, 100) as u32;
                house.backend.world().stall(away);
            }
        }
    }
}

impl House {
    fn new(plan: &Plan, id: ShardId, history: &Rc<RefCell<History>>) -> Self {
        let conns_max = 4096;
        let slots = plan.config.limits.slots_for(conns_max, 1);
        let mut backend = SimBackend::new(&BackendConfig { slots, ..BackendConfig::default() });
        let options = plan.config.listen_options().expect("a valid configuration");
        let listener =
            backend.listen("10.0.0.1:7000".parse().expect("an address"), &options).expect("a port");
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let directory = Box::new(Partition::new(id, plan.shards, hasher, plan.config.flap_guard));
        let place = Place { shard: id, shards: plan.shards, conns_max, strategy: plan.strategy, directory };
        let villager = Villager::new(history, id, usize::from(plan.shards));
        let shard = Shard::new(place, &plan.config, &[listener], villager).expect("a valid configuration");
        Self { shard, backend, addr: listener.addr, id }
    }

    /// Turns until `now` has come and nothing is left to do; not at all if its thread is away for longer.
    fn live_until(&mut self, now: Instant, post: &mut Post, dice: &mut Dice) {
        while self.backend.now() <= now {
            let (shard, backend) = (&mut self.shard, &mut self.backend);
            let mut busy = false;
            while let Some(letter) = post.arrived(dice, backend.now(), self.id) {
                busy = true;
                shard.deliver(backend.now(), letter);
            }
            shard.end_turn(backend.now(), &mut |op| {
                busy = true;
                backend.submit(op);
            });
            shard.post(&mut |to, letter| post.take(dice, backend.now(), self.id, to, letter));
            let until = shard.wake_at().map_or(now, |at| at.min(now));
            backend
                .wait(Some(until), &mut |now, completion| {
                    busy = true;
                    shard.handle(now, completion);
                })
                .expect("a simulated backend does not break");
            if !busy && backend.now() >= now {
                return;
            }
        }
    }
}
