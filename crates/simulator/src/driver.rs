//! The driver: several shards, each on a kernel of its own, in one virtual time.
//!
//! Whoever has something to do earliest goes on, and lets time pass until somebody else has. So no shard is ahead of the others,
//! except by as long as its thread is away.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use heartring_core::{Backend, Instant, Letter, Order, ShardId};
use heartring_sim::Dice;

use crate::character::Character;
use crate::journal::Journal;
use crate::mishap::Mishap;
use crate::plan::{Plan, up_to};
use crate::post::Post;
use crate::record::{Act, Record};
use crate::scene::{Guest, Scene, SceneRef, die, invite};
use crate::search::for_identity;
use crate::speech::Answer;
use crate::station::Station;
use crate::whim::{Whim, whims_of};

/// Steps after which a run is not going to end: a usual one takes some ten thousand.
const STEPS_MAX: u64 = 3_000_000;

/// Steps in which time may stand still. A stream that is read byte by byte takes some thousands.
const STEPS_AT_ONCE_MAX: u64 = 300_000;

/// See the module's own text.
pub(crate) struct Driver {
    plan: Rc<Plan>,
    pub(crate) stations: Vec<Station>,
    pub(crate) post: Post,
    pub(crate) scene: SceneRef,
    pub(crate) journal: Rc<RefCell<Journal>>,
    pub(crate) dice: Dice,
    /// Whims to come, the last first.
    whims: Vec<(Instant, ShardId, Whim)>,
    pub(crate) now: Instant,
    steps: u64,
    steps_at_once: u64,
    pub(crate) letters: u32,
    pub(crate) holders_lost: Vec<String>,
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Going {
    /// Until then there is nothing more to do.
    Done,
    /// It goes nowhere.
    Astray,
}

/// Plays a plan to its end.
pub(crate) fn play(plan: Plan, journal: &Rc<RefCell<Journal>>) -> Record {
    let mut driver = Driver::new(plan, journal);
    driver.invite_all();
    let quiescent = driver.play();
    driver.record(quiescent)
}

impl Driver {
    fn new(plan: Plan, journal: &Rc<RefCell<Journal>>) -> Self {
        let mut dice = Dice::new(plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let plan = Rc::new(plan);
        let stations: Vec<Station> =
            (0..plan.shards).map(|id| Station::new(&plan, ShardId(id), journal, &mut dice)).collect();
        let scene = Scene {
            plan: Rc::clone(&plan),
            clients: Vec::new(),
            doors: stations.iter().map(|station| (station.world.clone(), station.addr)).collect(),
            journal: Rc::clone(journal),
            dice: dice.fork(),
        };
        let whims = whims_of(&plan, &mut dice);
        Self {
            post: Post::new(plan.shards, plan.habits, dice.fork()),
            now: plan.starts_at,
            plan,
            stations,
            scene: Rc::new(RefCell::new(scene)),
            journal: Rc::clone(journal),
            dice,
            whims,
            steps: 0,
            steps_at_once: 0,
            letters: 0,
            holders_lost: Vec::new(),
        }
    }

    /// Clients come one by one, or many in the same instant.
    fn invite_all(&mut self) {
        let Self { plan, dice, scene, .. } = self;
        let mut last = plan.starts_at;
        for _ in 0..plan.clients {
            let rushes = dice.one_in(plan.rush_in);
            let at = if rushes { last } else { plan.starts_at + up_to(dice, plan.span) };
            if rushes {
                self.journal.borrow_mut().count(Mishap::Rush);
            }
            last = at;
            let character = Character::draw(dice, &plan.cast);
            let comes_back = matches!(character, Character::Rebooting | Character::Fighting);
            let returns = if comes_back { dice.between(1, 4) as u32 } else { 0 };
            let claims = returns > 0 || dice.one_in(plan.claims_in);
            let identity = claims.then(|| dice.below(plan.identities as usize) as u32);
            let shard = ShardId(dice.below(usize::from(plan.shards)) as u16);
            invite(scene, shard, at, Guest { character, identity, returns });
        }
    }

    /// Plays until nothing is left; false if that does not come to be.
    fn play(&mut self) -> bool {
        let liveness = self.plan.liveness;
        let stormy = self.plan.starts_at + self.plan.span + liveness.dead_within + liveness.grace;
        if self.run_until(stormy) == Going::Astray {
            return false;
        }
        self.whims.clear();
        self.post.mend();
        if self.plan.calms_down {
            self.mend();
            if self.rest() == Going::Astray || self.find_every_holder() == Going::Astray {
                return false;
            }
        } else {
            self.invite_latecomers();
        }
        for nth in 0..self.stations.len() {
            self.stations[nth].wake(self.now, &mut self.post, &self.scene);
            self.stations[nth].drain();
            self.stations[nth].turn(&mut self.post, &self.scene);
            let pause = self.now + up_to(&mut self.dice, liveness.drain_within);
            if self.run_until(pause) == Going::Astray {
                return false;
            }
        }
        self.run_out()
    }

    /// Some come while the shards are drained.
    fn invite_latecomers(&mut self) {
        for _ in 0..40 {
            let at = self.now + up_to(&mut self.dice, self.plan.liveness.drain_within);
            let at = *self.dice.pick(&[self.now, at]);
            let shard = ShardId(self.dice.below(self.stations.len()) as u16);
            let guest = Guest { character: Character::Honest, identity: None, returns: 0 };
            invite(&self.scene, shard, at, guest);
        }
    }

    /// Nothing goes wrong in the kernels any more.
    fn mend(&mut self) {
        self.stations.iter_mut().for_each(Station::mend);
        self.journal.borrow_mut().step(self.now, format_args!("from now on nothing goes wrong"));
    }

    /// Goes on until every shard is empty and no letter is under way.
    fn run_out(&mut self) -> bool {
        let liveness = self.plan.liveness;
        let stalls = self.plan.absence_max + self.plan.odds.stall_max;
        let longest = 2 * (liveness.drain_within + liveness.dead_within + liveness.grace) + 10 * stalls;
        let bound = self.now + longest + Duration::from_mins(1);
        while !(self.post.is_idle() && self.stations.iter().all(Station::is_empty)) {
            let next = self.next();
            let Some((nth, at)) = next.filter(|(_, at)| *at <= bound) else { return false };
            if self.step(nth, at, bound) == Some(Going::Astray) {
                return false;
            }
        }
        true
    }

    /// Goes on until no letter waits or is under way and no thread is away.
    pub(crate) fn rest(&mut self) -> Going {
        let bound = self.now + self.plan.absence_max + self.plan.odds.stall_max + Duration::from_mins(1);
        // Longer than a turn takes, with all that its handlers may take.
        let pause = Duration::from_millis(5) + self.plan.config.dead_within / 20;
        loop {
            let settled = self.now + pause;
            if self.run_until(settled) == Going::Astray {
                return Going::Astray;
            }
            let rests = |station: &Station| station.shard.outbox_len() == 0 && station.awake_at() <= self.now;
            if self.post.is_idle() && self.stations.iter().all(rests) {
                return Going::Done;
            }
            if self.now > bound {
                self.holders_lost.push(format!("the letters do not come to an end by {}", self.now));
                return Going::Astray;
            }
        }
    }

    /// Goes on until nothing is left to do by `until`.
    fn run_until(&mut self, until: Instant) -> Going {
        while let Some((nth, at)) = self.next() {
            if let Some(&(whim_at, shard, whim)) = self.whims.last()
                && whim_at <= at.min(until)
            {
                self.whims.pop();
                self.now = self.now.max(whim_at);
                self.follow_when_awake(shard, whim);
                continue;
            }
            if at > until {
                break;
            }
            if let Some(going) = self.step(nth, at, until) {
                return going;
            }
        }
        self.now = self.now.max(until);
        Going::Done
    }

    /// Who has something to do next, and when.
    fn next(&self) -> Option<(usize, Instant)> {
        let each = self.stations.iter().enumerate();
        each.filter_map(|(nth, station)| Some((nth, station.next_at(&self.post)?))).min_by_key(|(_, at)| *at)
    }

    /// One shard goes on, until another has something to do.
    fn step(&mut self, nth: usize, at: Instant, until: Instant) -> Option<Going> {
        let others = self.stations.iter().enumerate().filter(|(other, _)| *other != nth);
        let others_at = others.filter_map(|(_, station)| station.next_at(&self.post)).min();
        let whim_at = self.whims.last().map(|(at, _, _)| *at);
        let limit = [others_at, whim_at].into_iter().flatten().fold(until, Instant::min).max(at);
        let station = &mut self.stations[nth];
        let before = station.world.now();
        station.go_on(limit, &mut self.post, &self.scene);
        let stands = station.world.now() == before;
        self.now = self.now.max(at);
        self.steps += 1;
        self.steps_at_once = if stands { self.steps_at_once + 1 } else { 0 };
        (self.steps > STEPS_MAX || self.steps_at_once > STEPS_AT_ONCE_MAX).then_some(Going::Astray)
    }

    /// A thread that is away does nothing before it is back.
    fn follow_when_awake(&mut self, shard: ShardId, whim: Whim) {
        let station = &mut self.stations[usize::from(shard.0)];
        let awake_at = station.awake_at();
        if awake_at > self.now {
            let place = self.whims.partition_point(|(at, _, _)| *at > awake_at);
            return self.whims.insert(place, (awake_at, shard, whim));
        }
        if !matches!(whim, Whim::MassDeath | Whim::Absence(_)) {
            station.wake(self.now, &mut self.post, &self.scene);
        }
        self.follow(shard, whim);
    }

    fn follow(&mut self, shard: ShardId, whim: Whim) {
        let station = &mut self.stations[usize::from(shard.0)];
        self.journal.borrow_mut().step(self.now, format_args!("shard {shard}: {whim:?}"));
        match whim {
            Whim::Absence(duration) => {
                let long = duration > self.plan.liveness.stall_tolerance;
                self.journal.borrow_mut().count(if long {
                    Mishap::AbsenceLong
                } else {
                    Mishap::AbsenceShort
                });
                station.stall(duration);
            }
            Whim::Wake => {
                self.journal.borrow_mut().count(Mishap::WokenForNothing);
                if self.dice.one_in(2) {
                    station.backend.waker().wake();
                }
            }
            Whim::Letter => self.write_from_outside(shard),
            Whim::MassDeath => self.kill_many(shard),
            Whim::Drain => {
                self.journal.borrow_mut().count(Mishap::DrainedEarly);
                station.drain();
                station.turn(&mut self.post, &self.scene);
            }
        }
    }

    /// A letter as a program beside the shards would post it.
    fn write_from_outside(&mut self, shard: ShardId) {
        self.letters += 1;
        let number = self.letters;
        let station = &mut self.stations[usize::from(shard.0)];
        let somebody = station.anybody();
        match (self.dice.below(4), somebody) {
            (0, _) => {
                self.journal.borrow_mut().count(Mishap::Broadcast);
                station.deliver(Letter::Broadcast(Answer::ForAll { number }.frame(5)));
            }
            (1, Some((conn, client))) => {
                self.journal.borrow_mut().count(Mishap::ClosedByLetter);
                let at = station.backend.now();
                self.scene.borrow_mut().clients[client as usize].act(at, Act::OrderedClosed);
                station.close(conn);
            }
            (2, Some((conn, _))) => {
                let payload = Answer::ForAll { number }.frame(70);
                station.deliver(Letter::Order(Order::Send { conn, payload }));
            }
            _ => {
                let identity = self.dice.below(self.plan.identities as usize) as u32;
                station.deliver(Letter::Request(for_identity(identity, number)));
            }
        }
        station.turn(&mut self.post, &self.scene);
    }

    /// Two thirds of the clients of a shard vanish in the same instant.
    fn kill_many(&mut self, shard: ShardId) {
        let station = &self.stations[usize::from(shard.0)];
        let scene = Rc::clone(&self.scene);
        let mut dice = self.dice.fork();
        station.world.at(self.now, move |world| {
            let all = scene.borrow().clients.len() as u32;
            scene.borrow().journal.borrow_mut().count(Mishap::MassDeath);
            for number in 0..all {
                let here = scene.borrow().clients[number as usize].truth.shard == shard;
                if here && dice.below(3) > 0 {
                    die(&scene, number, world);
                }
            }
        });
    }

    fn record(self, quiescent: bool) -> Record {
        let Self { plan, stations, scene, journal, now, holders_lost, .. } = self;
        let shards = stations.iter().map(Station::record).collect();
        drop(stations);
        let clients = std::mem::take(&mut scene.borrow_mut().clients);
        let mut journal = journal.borrow_mut();
        Record {
            plan: Plan::clone(&plan),
            clients: clients.into_iter().map(|client| client.finish()).collect(),
            entries: std::mem::take(&mut journal.entries),
            shards,
            bounds_broken: std::mem::take(&mut journal.bounds_broken),
            messages_posted: std::mem::take(&mut journal.messages_posted),
            messages_come: std::mem::take(&mut journal.messages_come),
            ended_at: now,
            quiescent,
            holders_lost,
            mishaps: journal.mishaps.clone(),
        }
    }
}
