//! Letters and what handlers make of them: messages to shards, payloads to identities, broadcasts.

use std::time::Duration;

use bytes::Bytes;
use heartring_core::{Completion, Handler};
use heartring_core::{
    Config, ConnId, DeadlineStrategy, Errno, Instant, Letter, Listener, ListenerId, Op, Place, PostError,
    RecvEnd, Request, SendError, Shard, ShardId,
};

use crate::recorder::Told;
use crate::world::{World, under_each_strategy, without_identities};

const SECOND: Duration = Duration::from_secs(1);

fn text(letter: &Letter) -> &[u8] {
    let Letter::Message(message) = letter else { panic!("{letter:?}") };
    message
}

#[test]
fn a_message_to_the_others_goes_to_each_of_them_and_not_here() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |config| {
            config.limits.outbox_letters_max = 1;
            config.tick_every = Some(SECOND);
        });
        world.shard.handler().act_on_tick = Box::new(|conns| {
            let message = Bytes::from("a");
            assert_eq!(conns.post_to_others(&message), Ok(()));
            let full = PostError::Full { to: ShardId(1), max: 1 };
            assert_eq!(conns.post_to_others(&message), Err(full));
        });
        world.run_for(Duration::ZERO);
        let letters = std::mem::take(&mut world.letters);
        let sent: Vec<_> = letters.iter().map(|(to, letter)| (to.0, text(letter))).collect();
        assert_eq!(sent, [(1, &b"a"[..])]);
        world.finish();
    });
}

#[test]
fn messages_to_shards_wait_in_order_up_to_the_limit() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |config| {
            config.limits.outbox_letters_max = 2;
            config.tick_every = Some(SECOND);
        });
        world.shard.handler().act_on_tick = Box::new(|conns| {
            assert_eq!((conns.shard(), conns.shards()), (ShardId(0), 2));
            assert_eq!(conns.post(ShardId(2), Bytes::new()), Err(PostError::NoShard(ShardId(2))));
            for to in [ShardId(0), ShardId(1)] {
                assert_eq!(conns.post(to, "a".into()), Ok(()));
                assert_eq!(conns.post(to, "b".into()), Ok(()));
                assert_eq!(conns.post(to, "c".into()), Err(PostError::Full { to, max: 2 }));
            }
        });
        world.run_for(Duration::ZERO);
        let letters = std::mem::take(&mut world.letters);
        let sent: Vec<_> = letters.iter().map(|(to, letter)| (to.0, text(letter))).collect();
        assert_eq!(sent, [(0, &b"a"[..]), (0, b"b"), (1, b"a"), (1, b"b")]);
        // What a shard posts to itself comes back like any other letter.
        for (_, letter) in letters.into_iter().filter(|(to, _)| *to == ShardId(0)) {
            let now = world.now();
            world.shard.deliver(now, letter);
        }
        assert_eq!(world.shard.handler().messages, ["a", "b"]);
        world.finish();
    });
}

#[test]
fn a_payload_to_an_identity_reaches_its_holder_and_nobody_else() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        world.act(|conn, told| {
            if let Told::Received(frame) = told {
                match frame.strip_prefix(b"to ") {
                    Some(identity) => conn.conns().send_to(identity, "hello".into()),
                    None => conn.claim(frame).unwrap(),
                }
            }
        });
        let (pump, valve, sender) = (world.connect(), world.connect(), world.connect());
        pump.send(b"pump\n");
        valve.send(b"valve\n");
        sender.send(b"to pump\nto nobody\nto valve\nto pump\nto \n");
        world.run_for(SECOND);
        assert_eq!((pump.received(), valve.received()), (b"hellohello".to_vec(), b"hello".to_vec()));
        assert_eq!(world.shard.stats().undelivered, 2, "to nobody, and to no name");
        pump.fin();
        world.run_for(SECOND);
        sender.send(b"to pump\n");
        world.run_for(SECOND);
        assert_eq!(world.shard.stats().undelivered, 3);
        world.finish();
    });
}

#[test]
fn a_payload_to_an_identity_elsewhere_is_dropped_and_counted_when_the_outbox_is_full() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |config| config.limits.outbox_letters_max = 3);
        world.act(|conn, told| {
            if matches!(told, Told::Received(_)) {
                (0..5).for_each(|_| conn.conns().send_to(b"pump", "hello".into()));
            }
        });
        let peer = world.connect();
        peer.send(b"go\n");
        world.run_for(Duration::ZERO);
        let forwards =
            world.letters.iter().filter(|(_, l)| matches!(l, Letter::Request(Request::Forward { .. })));
        assert_eq!((forwards.count(), world.shard.stats().undelivered), (3, 2));
        world.finish();
    });
}

#[test]
fn a_broadcast_reaches_whoever_is_connected_and_counts_whom_it_did_not() {
    under_each_strategy(|strategy| {
        let mut world = World::with_buffers(strategy, 10, |config| {
            config.limits.send_queue_bytes_max = 20;
            (config.limits.send_queue_high, config.limits.send_queue_low) = (20, 1);
        });
        let (live, greeting, clogged, ending) =
            (world.connect_live(), world.connect(), world.connect_live(), world.connect_live());
        clogged.stop_reading();
        ending.fin();
        world.run_for(Duration::ZERO);
        for _ in 0..5 {
            let now = world.now();
            world.shard.deliver(now, Letter::Broadcast("0123456".into()));
            world.run_for(Duration::ZERO);
        }
        assert_eq!((live.received().len(), greeting.received().len()), (35, 35));
        assert_eq!(ending.received(), b"");
        assert_eq!(world.shard.stats().undelivered, 1, "four fit into the buffer and the queue");
        world.finish();
    });
}

#[test]
fn who_no_longer_exists_can_be_named_without_harm() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| config.tick_every = Some(SECOND));
        let (gone, here) = (world.connect_live(), world.connect_live());
        let (gone_id, here_id) = (world.conn_of(&gone), world.conn_of(&here));
        gone.reset();
        world.run_for(SECOND);
        world.connect_live(); // In the slot of the one that is gone.
        world.shard.handler().act_on_tick = Box::new(move |conns| {
            let never = ConnId::new(ConnId::SLOT_MAX, 0);
            for id in [gone_id, never] {
                assert!(conns.get(id).is_none());
                assert_eq!(conns.send(id, "x".into()), Err(SendError::Closed));
                conns.close(id);
            }
            let Some(conn) = conns.get(here_id) else { return };
            assert_eq!((conn.id(), conn.at().conn, conn.at().shard), (here_id, here_id, ShardId(0)));
        });
        world.run_for(2 * SECOND);
        assert_eq!(world.end_of(&here), None);
        world.finish();
    });
}

/// Claims in `opened`, the name being its own address.
#[derive(Default)]
struct ByAddress;

impl Handler for ByAddress {
    type Protocol = heartring_core::Lines;

    fn opened(&mut self, conn: &mut heartring_core::Conn<'_>) {
        let name = conn.peer().to_string();
        conn.claim(name.as_bytes()).unwrap();
    }

    fn received(&mut self, _conn: &mut heartring_core::Conn<'_>, _frame: &[u8]) {}
}

#[test]
fn a_shard_that_takes_no_mail_does_not_fill_the_memory_of_the_others() {
    let mut config = Config::default();
    config.limits.outbox_letters_max = 10;
    config.limits.accepts_in_flight = 4;
    let listener = Listener { id: ListenerId(0), addr: "10.0.0.1:7000".parse().unwrap() };
    let place = without_identities(Place::alone(8, DeadlineStrategy::Sweep));
    let mut shard = Shard::new(place, &config, &[listener], ByAddress).unwrap();
    let (mut now, mut ops, mut clients) = (Instant::ZERO, Vec::new(), 0_u64);
    while clients < 10_000 {
        now = now + Duration::from_micros(100);
        shard.end_turn(now, &mut |op| ops.push(op));
        for op in std::mem::take(&mut ops) {
            match op {
                Op::Accept { listener, conn } => {
                    clients += 1;
                    let peer = "10.0.0.2:50000".parse().unwrap();
                    shard.handle(now, Completion::Accepted { listener, conn, peer });
                }
                // The peer leaves at once, and the claim that nobody answers is given up as slowly as can be.
                Op::Recv { conn, .. } => {
                    shard
                        .handle(now, Completion::RecvEnded { conn, end: RecvEnd::Failed(Errno::ECONNRESET) });
                }
                Op::Close { conn, .. } => shard.handle(now, Completion::Closed { conn }),
                Op::Watch { .. }
                | Op::Send { .. }
                | Op::Examine { .. }
                | Op::Shutdown { .. }
                | Op::Unlisten { .. } => panic!("{op:?}"),
            }
        }
        now = now + config.liveness().unwrap().hello_within;
    }
    // Claims up to the limit and the slots, and a release for each of those that were asked.
    assert!(shard.outbox_len() <= 2 * (10 + 8 + 4), "{} letters", shard.outbox_len());
    assert!(shard.stats().refused("claim_undecided") > 9_000);
}
