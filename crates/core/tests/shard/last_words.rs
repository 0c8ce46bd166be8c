//! What a handler says when the cause is decided: it arrives before the connection ends, or nobody waits for it.

use std::time::Duration;

use heartring_core::{CloseHow, Completion, ConnId, DeadlineStrategy, Errno, Op, OpKind, RecvEnd, SendError};
use heartring_sim::{Saw, SimPeer};

use crate::by_hand::ByHand;
use crate::recorder::Told;
use crate::world::{TICK, World, since, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);

/// A world whose handler claims, closes and fills queues when it is told to, and always has a last word.
fn polite(strategy: DeadlineStrategy) -> World {
    let mut world = World::with_buffers(strategy, 10, |config| {
        config.overrides.frame_within = Some(2 * SECOND);
        config.overrides.hello_within = Some(3 * SECOND);
        config.limits.frame_bytes_max = 100;
    });
    world.act(|conn, told| match told {
        Told::Received(frame) => match frame.as_slice() {
            b"close" => conn.close(),
            b"claim" => conn.claim(b"pump").unwrap(),
            b"fill the buffer" => conn.send_copy(b"0123456789").unwrap(),
            b"fill the queue" => conn.send_copy(b"0123456789x").unwrap(),
            _ => {}
        },
        Told::Closing => {
            let _ = conn.send_copy(b"BYE");
        }
        Told::Closed(_) => assert_eq!(conn.send_copy(b"too late"), Err(SendError::Closed)),
        Told::Opened | Told::Overdue | Told::Claimed(_) | Told::Late(_) | Told::Writable => {}
    });
    world
}

/// Ends the connection of `peer` for `cause`.
fn end(world: &mut World, peer: &SimPeer, cause: &str) {
    match cause {
        "peer_closed" => peer.fin(),
        "peer_reset" => peer.reset(),
        "path_dead_unreachable" => peer.fail(Errno::EHOSTUNREACH),
        "os" => peer.fail(Errno::ENOMEM),
        "local" => peer.send(b"close\n"),
        "frame_stalled" => peer.send(b"half"),
        "too_large" => peer.send(&[b'x'; 101]),
        "superseded" => {
            peer.send(b"claim\n");
            world.run_for(Duration::ZERO);
            world.connect().send(b"claim\n");
        }
        _ => assert!(matches!(cause, "heartbeat_missed" | "hello_missed" | "draining"), "{cause}"),
    }
    match cause {
        "frame_stalled" | "hello_missed" => world.run_for(4 * SECOND),
        "heartbeat_missed" => world.run_for(world.liveness.dead_within + world.liveness.grace + SECOND),
        "draining" => {
            world.shard.drain(world.now());
            world.run_for(SECOND);
        }
        _ => world.run_for(SECOND),
    }
    assert_eq!(world.cause_of(peer), cause);
}

#[test]
fn the_last_word_arrives_wherever_somebody_can_hear_it() {
    under_each_strategy(|strategy| {
        for (cause, received, saw) in [
            ("peer_closed", &b"BYE"[..], Saw::Eof),
            ("local", b"BYE", Saw::Eof),
            ("draining", b"BYE", Saw::Eof),
            ("too_large", b"BYE", Saw::Eof),
            ("superseded", b"BYE", Saw::Reset),
            ("frame_stalled", b"BYE", Saw::Reset),
            ("hello_missed", b"BYE", Saw::Reset),
            // The FIN of the grace period comes first.
            ("heartbeat_missed", b"BYE", Saw::Reset),
            ("peer_reset", b"", Saw::Open),
            ("path_dead_unreachable", b"", Saw::Open),
            ("os", b"", Saw::Open),
        ] {
            let mut world = polite(strategy);
            let peer = if cause == "hello_missed" { world.connect() } else { world.connect_live() };
            end(&mut world, &peer, cause);
            assert_eq!((peer.received(), peer.saw()), (received.to_vec(), saw), "{cause}");
            world.finish();
        }
    });
}

#[test]
fn where_nobody_hears_it_the_handler_is_told_so() {
    under_each_strategy(|strategy| {
        for cause in ["peer_reset", "path_dead_unreachable", "os"] {
            let mut world = World::new(strategy);
            world.act(|conn, told| {
                if *told == Told::Closing {
                    assert_eq!(conn.send_copy(b"BYE"), Err(SendError::Closed));
                    let id = conn.id();
                    assert!(conn.conns().get(id).is_none(), "it no longer counts");
                }
            });
            let peer = world.connect_live();
            end(&mut world, &peer, cause);
            world.finish();
        }
    });
}

/// A claim is granted and taken over in one turn: both the answer and the last word go out before the reset.
#[test]
fn who_is_answered_and_superseded_in_one_turn_hears_both() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        world.act(|conn, told| match told {
            Told::Received(_) => {
                conn.claim(b"pump").unwrap();
                conn.send_copy(b"WELCOME ").unwrap();
            }
            Told::Closing => conn.send_copy(b"BYE").unwrap(),
            Told::Opened
            | Told::Overdue
            | Told::Claimed(_)
            | Told::Late(_)
            | Told::Writable
            | Told::Closed(_) => {}
        });
        let fleet = world.connect_fleet_sending(2, b"claim\n");
        world.run_for(SECOND);
        assert_eq!(world.cause_of(&fleet[0]), "superseded");
        assert_eq!((fleet[0].received(), fleet[0].saw()), (b"WELCOME BYE".to_vec(), Saw::Reset));
        world.finish();
    });
}

/// A connection that is taken over while a send to it has been in flight for so long.
fn superseded_while_sending(strategy: DeadlineStrategy, sending_for: Duration) -> (ByHand, ConnId) {
    let mut by_hand = ByHand::new(strategy);
    by_hand.shard.handler().act = Box::new(|conn, told| {
        if *told == Told::Received(b"claim".to_vec()) {
            conn.claim(b"pump").unwrap();
        } else if *told == Told::Received(b"ask".to_vec()) {
            conn.send_copy(b"PICTURE").unwrap();
        } else if *told == Told::Closing {
            conn.send_copy(b"BYE").unwrap();
        }
    });
    let old = by_hand.accept(b"claim\n");
    by_hand.receive(old, b"ask\n");
    by_hand.turn();
    by_hand.pass(sending_for);
    by_hand.accept(b"claim\n");
    assert_eq!(by_hand.end_of(old).unwrap().cause.name(), "superseded");
    (by_hand, old)
}

/// A batch of completions may tell that another has claimed before it tells that the send is done.
#[test]
fn who_is_superseded_while_a_send_is_in_flight_hears_the_last_word() {
    under_each_strategy(|strategy| {
        let (mut by_hand, old) = superseded_while_sending(strategy, Duration::from_millis(1));
        for word in [&b"PICTURE"[..], b"BYE"] {
            assert!(!by_hand.has(OpKind::Close));
            let Op::Send { payload, .. } = by_hand.take(OpKind::Send) else { unreachable!("it is a Send") };
            assert_eq!(payload, word);
            by_hand.tell(Completion::Sent { conn: old, payload, result: Ok(word.len()) });
            by_hand.turn();
        }
        let Op::Close { how, .. } = by_hand.take(OpKind::Close) else { unreachable!("it is a Close") };
        assert_eq!(how, CloseHow::Abortive);
        by_hand.end_recv(old, RecvEnd::Cancelled);
        by_hand.tell(Completion::Closed { conn: old });
        by_hand.finish();
    });
}

#[test]
fn who_has_not_taken_a_send_for_a_tenth_of_a_second_gets_no_last_word() {
    under_each_strategy(|strategy| {
        let (by_hand, _) = superseded_while_sending(strategy, Duration::from_millis(120));
        assert!(by_hand.has(OpKind::Close));
        by_hand.finish();
    });
}

#[test]
fn a_clogged_peer_is_released_at_once() {
    under_each_strategy(|strategy| {
        let mut world = polite(strategy);
        let (old, new) = (world.connect(), world.connect());
        old.stop_reading();
        old.send(b"claim\nfill the queue\n");
        world.run_for(SECOND);
        new.send(b"claim\n");
        world.run_for(Duration::ZERO);
        assert_eq!((world.cause_of(&old), old.saw()), ("superseded", Saw::Reset));
        assert_eq!(world.calls(&new), ["opened", "received", "claimed"]);
        let slow = world.connect();
        slow.stop_reading();
        slow.send(b"fill the queue\n");
        crate::world::beats(&slow, SECOND, 40 * SECOND);
        world.run_for(world.liveness.send_stall_within + TICK * 2);
        assert_eq!((world.cause_of(&slow), slow.saw()), ("slow_consumer", Saw::Reset));
        world.finish();
    });
}

#[test]
fn a_last_word_that_does_not_go_out_is_waited_for_a_tenth_of_a_second() {
    under_each_strategy(|strategy| {
        let mut world = polite(strategy);
        let (old, new) = (world.connect(), world.connect());
        old.stop_reading();
        old.send(b"claim\nfill the buffer\n");
        world.run_for(SECOND);
        let superseded = world.now();
        new.send(b"claim\n");
        world.run_for(Duration::from_millis(50));
        assert_eq!(world.calls(&new), ["opened", "received", "claimed"], "the successor does not wait");
        assert_eq!((world.cause_of(&old), old.saw()), ("superseded", Saw::Open));
        old.send(b"what it still says\n");
        while old.saw() == Saw::Open {
            world.run_for(TICK);
        }
        let waited = since(superseded, world.now());
        assert!(waited <= Duration::from_millis(100) + 3 * TICK, "{waited:?}");
        assert_eq!(world.calls(&old), ["opened", "received", "claimed", "received", "closed"]);
        world.finish();
    });
}

#[test]
fn a_last_word_that_goes_out_late_ends_the_wait() {
    under_each_strategy(|strategy| {
        let mut world = polite(strategy);
        let (old, new) = (world.connect(), world.connect());
        old.stop_reading();
        old.send(b"claim\nfill the buffer\n");
        world.run_for(SECOND);
        new.send(b"claim\n");
        world.run_for(Duration::from_millis(50));
        old.start_reading();
        world.run_for(Duration::ZERO);
        assert_eq!((old.received(), old.saw()), (b"0123456789BYE".to_vec(), Saw::Reset));
        world.finish();
    });
}
