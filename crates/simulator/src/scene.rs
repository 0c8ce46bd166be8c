//! The clients and the network between them and the shards.
//!
//! Each step of a client, and each arrival, is an act in the world of the shard that it has connected to. So it happens at its
//! instant even while the shard's thread is away. The functions here take the scene by its handle, since what they do schedules
//! further acts, which need one.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use heartring_core::{FrameKind, Instant, ShardId};
use heartring_sim::{Dice, Saw, World};

use crate::character::Character;
use crate::client::{Cargo, Client, Stage};
use crate::journal::{Journal, Known};
use crate::mishap::Mishap;
use crate::path::{cut, expect_time_out, mend};
use crate::plan::{Plan, up_to};
use crate::record::{self, Act};
use crate::script::{End, Move, script_of};
use crate::speech::{GARBAGE, HEADER, head};

/// The clients of all shards.
pub(crate) struct Scene {
    pub(crate) plan: Rc<Plan>,
    pub(crate) clients: Vec<Client>,
    /// Where each shard listens.
    pub(crate) doors: Vec<(World, SocketAddr)>,
    pub(crate) journal: Rc<RefCell<Journal>>,
    pub(crate) dice: Dice,
}

/// A scene, to those who act in it.
pub(crate) type SceneRef = Rc<RefCell<Scene>>;

/// Somebody who will connect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guest {
    pub(crate) character: Character,
    pub(crate) identity: Option<u32>,
    /// How often it will come back.
    pub(crate) returns: u32,
}

impl Scene {
    pub(crate) fn count(&self, mishap: Mishap) {
        self.journal.borrow_mut().count(mishap);
    }

    fn latency(&mut self) -> Duration {
        let latency = up_to(&mut self.dice, self.plan.latency_max);
        if !latency.is_zero() {
            self.count(Mishap::Delayed);
        }
        latency
    }

    /// An address that no client had before, of one of the sources.
    fn fresh_addr(&mut self) -> SocketAddr {
        let nth = self.clients.len() as u32;
        let source = self.dice.below(self.plan.sources as usize) as u32;
        let host = Ipv4Addr::from_bits(10 << 24 | (nth / 50_000) << 16 | source);
        SocketAddr::from((host, 1_024 + (nth % 50_000) as u16))
    }
}

/// Lets somebody connect to a shard at `at`.
pub(crate) fn invite(scene: &SceneRef, shard: ShardId, at: Instant, guest: Guest) {
    let world = scene.borrow().doors[usize::from(shard.0)].0.clone();
    let scene = Rc::clone(scene);
    world.at(at, move |world| welcome(&scene, world, shard, guest));
}

fn welcome(scene: &SceneRef, world: &World, shard: ShardId, guest: Guest) {
    let number = {
        let scene = &mut *scene.borrow_mut();
        let number = scene.clients.len() as u32;
        let addr = scene.fresh_addr();
        let mut dice = scene.dice.fork();
        let claims_when_opened = guest.identity.is_some() && dice.one_in(16);
        let known = Known { number, identity: guest.identity, claims_when_opened };
        let truth = record::Client {
            shard,
            addr,
            connected_at: world.now(),
            identity: guest.identity,
            frames: Vec::new(),
            in_parts: Vec::new(),
            acts: Vec::new(),
            read: Vec::new(),
            read_for_identity: Vec::new(),
            misread: None,
            saw: Saw::Open,
            harm: None,
        };
        let mut journal = scene.journal.borrow_mut();
        journal.clients.insert(truth.addr, known);
        journal.step(world.now(), format_args!("client {number} connects to shard {shard}: {guest:?}"));
        drop(journal);
        let peer = world.connect_from(scene.doors[usize::from(shard.0)].1, truth.addr);
        let mut client = Client::new(number, truth, peer, dice);
        let claims = guest.identity.is_some() && !claims_when_opened;
        client.character = guest.character;
        client.script = script_of(guest.character, &mut client.dice, &scene.plan, claims);
        client.returns = guest.returns;
        client.answers = client.dice.below(4) > 0;
        client.follows = client.dice.below(5) > 0;
        scene.clients.push(client);
        number
    };
    go_on(scene, number, world);
}

/// Has a client make its next move when its time has come.
fn go_on(scene: &SceneRef, number: u32, world: &World) {
    loop {
        let next = {
            let scene = &mut *scene.borrow_mut();
            scene.clients[number as usize].script.pop_front()
        };
        let Some((wait, next)) = next else { return };
        if !wait.is_zero() {
            let scene = Rc::clone(scene);
            return world.after(wait, move |world| {
                make(&scene, number, world, next);
                go_on(&scene, number, world);
            });
        }
        make(scene, number, world, next);
    }
}

/// Makes one move.
fn make(scene: &SceneRef, number: u32, world: &World, next: Move) {
    {
        let scene = &mut *scene.borrow_mut();
        let client = &mut scene.clients[number as usize];
        if client.peer.saw() == Saw::Reset {
            client.stage = Stage::Gone;
        }
        scene.journal.borrow_mut().step(world.now(), format_args!("client {number} {next:?}"));
    }
    let say = |mishap: Option<Mishap>, compose: &dyn Fn(&mut Client, &Plan) -> Vec<u8>| {
        say(scene, number, world, mishap, compose);
    };
    match next {
        Move::Data(ask) => say(None, &|client, plan| client.say(ask, plan.filler_max as usize)),
        Move::Burst(frames) => {
            let mishap = (frames >= 8).then_some(Mishap::Flooded);
            say(mishap, &|client, plan| client.say_many(frames, plan.filler_max.min(64) as usize));
        }
        Move::Beat => say(None, &|client, _| client.say_other(FrameKind::Beat, b"")),
        Move::Ping => say(None, &|client, _| client.say_other(FrameKind::Ping, &number.to_be_bytes())),
        Move::Goodbye => {
            say(Some(Mishap::Goodbye), &|client, _| client.say_other(FrameKind::Goodbye, b"bye"));
        }
        Move::Begin => say(None, &|client, plan| client.begin(plan.filler_max.min(60) as usize)),
        Move::Drip => say(None, &|client, _| client.next_of_begun(1)),
        Move::Rest => say(None, &|client, _| client.next_of_begun(usize::MAX)),
        Move::Garbage => {
            say(Some(Mishap::Garbage), &|client, _| client.say_nonsense(vec![GARBAGE], Act::Garbage));
        }
        Move::TooLarge => {
            say(Some(Mishap::TooLarge), &|client, plan| {
                // The head counts: such a frame is too large by at least one byte.
                let length = plan.config.limits.frame_bytes_max - HEADER as u32 + 1;
                let beyond = client.dice.below(100) as u32;
                client.say_nonsense(head(length + beyond), Act::TooLarge)
            });
        }
        Move::End(how) => end(scene, number, world, how),
        Move::Hang => hang(scene, number, world.now()),
        Move::StopReading => stop_reading(scene, number, world.now()),
        Move::Read => read_again(scene, number, world.now()),
        Move::Cut => cut(scene, number, world),
        Move::Mend => mend(scene, number, world),
        Move::Return => come_back(scene, number, world),
        Move::Note(mishap) => scene.borrow().count(mishap),
    }
}

/// Sends what `compose` gives, if it still sends; that may be a mishap.
fn say(
    scene: &SceneRef,
    number: u32,
    world: &World,
    mishap: Option<Mishap>,
    compose: &dyn Fn(&mut Client, &Plan) -> Vec<u8>,
) {
    let bytes = {
        let scene = &mut *scene.borrow_mut();
        let client = &mut scene.clients[number as usize];
        if client.stage != Stage::Talks {
            return;
        }
        let bytes = compose(client, &scene.plan);
        if let Some(mishap) = mishap {
            scene.count(mishap);
        }
        bytes
    };
    transmit(scene, number, world, &bytes);
}

/// Sends bytes, in one segment or several.
fn transmit(scene: &SceneRef, number: u32, world: &World, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let mut rest = bytes;
    {
        let scene = &mut *scene.borrow_mut();
        if bytes.len() > 1 && scene.dice.one_in(scene.plan.segmented_in) {
            scene.count(Mishap::Segmented);
            for _ in 0..scene.dice.between(1, 3) {
                let cut = scene.dice.below(rest.len());
                if cut > 0 {
                    ship(scene, number, world.now(), Cargo::Bytes(rest[..cut].to_vec()));
                    rest = &rest[cut..];
                }
            }
        }
        ship(scene, number, world.now(), Cargo::Bytes(rest.to_vec()));
    }
    land(scene, number, world);
}

fn ship(scene: &mut Scene, number: u32, now: Instant, cargo: Cargo) {
    let latency = scene.latency();
    scene.clients[number as usize].send(cargo, now, latency);
}

/// What is due arrives; the rest will when it is.
pub(crate) fn land(scene: &SceneRef, number: u32, world: &World) {
    let (landed, next) = {
        let scene = &mut *scene.borrow_mut();
        let client = &mut scene.clients[number as usize];
        let landed = client.land(world.now());
        let next = client.next_landing(world.now());
        let mut journal = scene.journal.borrow_mut();
        for cargo in &landed {
            journal.step(world.now(), format_args!("client {number} has arrived: {}", cargo.in_short()));
        }
        (landed, next)
    };
    if landed.iter().any(|cargo| matches!(cargo, Cargo::End(End::Vanish))) {
        expect_time_out(scene, number, world);
    }
    if let Some(at) = next {
        let scene = Rc::clone(scene);
        world.at(at, move |world| land(&scene, number, world));
    }
}

/// Ends its side of it.
fn end(scene: &SceneRef, number: u32, world: &World, how: End) {
    {
        let scene = &mut *scene.borrow_mut();
        let client = &mut scene.clients[number as usize];
        let may = match client.stage {
            Stage::Talks => true,
            Stage::Listens | Stage::Hangs => how != End::Fin,
            Stage::Gone => false,
        };
        if !may {
            return;
        }
        client.stage = if how == End::Fin { Stage::Listens } else { Stage::Gone };
        let mishap = match how {
            End::Fin => Mishap::HalfOpen,
            End::Close => Mishap::ClosedUnread,
            End::Reset => Mishap::Reset,
            End::Vanish if client.is_within_a_frame() => Mishap::VanishedInFrame,
            End::Vanish => Mishap::Vanished,
        };
        scene.count(mishap);
        ship(scene, number, world.now(), Cargo::End(how));
    }
    land(scene, number, world);
}

/// Vanishes in this instant, whatever is under way.
pub(crate) fn die(scene: &SceneRef, number: u32, world: &World) {
    {
        let client = &mut scene.borrow_mut().clients[number as usize];
        if client.stage == Stage::Gone {
            return;
        }
        client.stage = Stage::Gone;
        client.under_way.clear();
        client.send(Cargo::End(End::Vanish), world.now(), Duration::ZERO);
        client.hurry(world.now());
    }
    land(scene, number, world);
}

fn hang(scene: &SceneRef, number: u32, now: Instant) {
    let scene = &mut *scene.borrow_mut();
    let client = &mut scene.clients[number as usize];
    if client.stage != Stage::Gone {
        client.stage = Stage::Hangs;
        client.act(now, Act::Hung);
        scene.count(Mishap::Hung);
    }
}

fn stop_reading(scene: &SceneRef, number: u32, now: Instant) {
    let scene = &mut *scene.borrow_mut();
    let client = &mut scene.clients[number as usize];
    if client.stage != Stage::Gone {
        client.act(now, Act::StoppedReading);
        client.peer.stop_reading();
        scene.count(Mishap::StoppedReading);
    }
}

fn read_again(scene: &SceneRef, number: u32, now: Instant) {
    let client = &mut scene.borrow_mut().clients[number as usize];
    if client.stage != Stage::Gone {
        client.act(now, Act::Reads);
        client.peer.start_reading();
    }
}

/// Comes back under another address, perhaps on another shard.
fn come_back(scene: &SceneRef, number: u32, world: &World) {
    let (shard, at, guest) = {
        let scene = &mut *scene.borrow_mut();
        let client = &mut scene.clients[number as usize];
        if client.returns == 0 {
            return;
        }
        let returns = std::mem::take(&mut client.returns) - 1;
        let (character, identity) = (client.character, client.truth.identity);
        let fights = character == Character::Fighting;
        scene.count(if fights { Mishap::FoughtBack } else { Mishap::Rebooted });
        let shard = ShardId(scene.dice.below(scene.doors.len()) as u16);
        let at = world.now() + scene.latency();
        (shard, at, Guest { character, identity, returns })
    };
    invite(scene, shard, at, guest);
}

/// A client looks at what was sent to it, soon.
pub(crate) fn look_soon(scene: &SceneRef, number: u32) {
    let (world, latency) = {
        let scene = &mut *scene.borrow_mut();
        let client = &scene.clients[number as usize];
        let world = scene.doors[usize::from(client.truth.shard.0)].0.clone();
        (world, Duration::from_nanos(1) + up_to(&mut scene.dice, scene.plan.latency_max))
    };
    let scene = Rc::clone(scene);
    world.after(latency, move |world| look(&scene, number, world));
}

/// A client reads what was sent to it, and answers.
pub(crate) fn look(scene: &SceneRef, number: u32, world: &World) {
    let mut pongs = Vec::new();
    let (leaves, returns) = {
        let client = &mut scene.borrow_mut().clients[number as usize];
        let reads = matches!(client.stage, Stage::Talks | Stage::Listens);
        if !reads || client.cut_since.is_some() {
            return;
        }
        let pings = client.read();
        if client.answers && client.stage == Stage::Talks && !client.is_left() {
            for ping in pings {
                pongs.append(&mut client.say_other(FrameKind::Pong, &ping));
            }
        }
        let reset = client.peer.saw() == Saw::Reset;
        if reset {
            client.stage = Stage::Gone;
        }
        let left = client.is_left();
        (left && !reset && client.follows, left && client.character == Character::Fighting)
    };
    transmit(scene, number, world, &pongs);
    if leaves {
        end(scene, number, world, End::Close);
    }
    if returns {
        come_back(scene, number, world);
    }
}
