//! A connection that negotiates its own deadline.

use std::time::Duration;

use heartring_core::{DeadlineStrategy, OpKind, WatchEnd};
use heartring_sim::SimPeer;

use crate::by_hand::ByHand;
use crate::recorder::Told;
use crate::world::{TICK, World, since, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);

/// A world in which `set_dead_within(dead_within)` is called in the first call of `name`, and a client that beats at once.
fn negotiated(strategy: DeadlineStrategy, name: &'static str, dead_within: Duration) -> (World, SimPeer) {
    let mut world = World::new(strategy);
    let mut done = false;
    world.act(move |conn, told| {
        if told.name() == name && !done {
            conn.set_dead_within(dead_within).unwrap();
            done = true;
        }
    });
    let peer = world.connect();
    peer.send(b"hello\n");
    world.run_for(Duration::ZERO);
    (world, peer)
}

/// How long after now it is condemned.
fn condemned_after(world: &mut World, peer: &SimPeer) -> Duration {
    let silent_since = world.now();
    world.run_for(300 * SECOND);
    since(silent_since, world.when(peer, "closing").expect("it is dead"))
}

fn assert_on_time(took: Duration, dead_within: Duration, what: &str) {
    assert!((dead_within..=dead_within + 3 * TICK).contains(&took), "{what}: {took:?} for {dead_within:?}");
}

#[test]
fn a_deadline_can_be_negotiated_from_the_first_moment() {
    under_each_strategy(|strategy| {
        for dead_within in [SECOND, 10 * SECOND, 120 * SECOND] {
            for name in ["opened", "received"] {
                let (mut world, peer) = negotiated(strategy, name, dead_within);
                let took = condemned_after(&mut world, &peer);
                assert_on_time(took, dead_within, name);
                world.finish();
            }
        }
    });
}

#[test]
fn a_negotiated_deadline_is_kept_for_the_rest_of_the_life() {
    under_each_strategy(|strategy| {
        for dead_within in [SECOND, 120 * SECOND] {
            for name in ["opened", "received"] {
                let (mut world, peer) = negotiated(strategy, name, dead_within);
                for _ in 0..20 {
                    world.run_for(dead_within * 2 / 5);
                    peer.send(b"\n");
                    world.run_for(Duration::ZERO);
                }
                assert_eq!(world.calls(&peer), ["opened", "received"], "{name}: {dead_within:?}");
                let took = condemned_after(&mut world, &peer);
                assert_on_time(took, dead_within, name);
                world.finish();
            }
        }
    });
}

#[test]
fn overdue_follows_in_proportion() {
    under_each_strategy(|strategy| {
        let (mut world, peer) = negotiated(strategy, "opened", 2 * SECOND);
        let silent_since = world.now();
        world.run_for(10 * SECOND);
        let took = since(silent_since, world.when(&peer, "overdue").unwrap());
        assert_on_time(took, SECOND, "overdue");
        world.finish();
    });
}

#[test]
fn a_deadline_shortened_while_overdue_counts_from_the_next_beat() {
    under_each_strategy(|strategy| {
        let (mut world, peer) = negotiated(strategy, "overdue", 2 * SECOND);
        world.run_for(world.liveness.overdue_after + SECOND);
        assert_eq!(world.calls(&peer), ["opened", "received", "overdue"]);
        peer.send(b"\n");
        world.run_for(Duration::ZERO);
        let took = condemned_after(&mut world, &peer);
        assert_on_time(took, 2 * SECOND, "after the next beat");
        world.finish();
    });
}

#[test]
fn a_watch_of_a_longer_deadline_does_not_delay_a_shorter_one() {
    let mut by_hand = ByHand::new(DeadlineStrategy::Linked);
    let conn = by_hand.accept(b"\n");
    by_hand.pass(16 * SECOND);
    assert!(by_hand.has(OpKind::Watch));
    by_hand.shard.handler().act = Box::new(|conn, told| {
        if matches!(told, Told::Received(_)) {
            conn.set_dead_within(2 * SECOND).unwrap();
        }
    });
    // The recv takes the bytes; the old watch, until 30 s, stays in flight (clause 11).
    by_hand.receive(conn, b"shorter\n");
    by_hand.pass(2 * SECOND + Duration::from_millis(40));
    assert!(by_hand.has(OpKind::Examine), "2 s of silence have passed");
    by_hand.end_watch(conn, WatchEnd::Expired);
    by_hand.finish();
}

#[test]
fn a_negotiation_is_no_proof_of_life() {
    under_each_strategy(|strategy| {
        // It reads, it never sends: what makes it writable again is our own data.
        let mut world = World::with_buffers(strategy, 100, |config| {
            config.limits.send_queue_high = 1_000;
            config.limits.send_queue_low = 500;
        });
        world.act(|conn, told| match told {
            Told::Received(_) => conn.send_copy(&[b'x'; 2_000]).unwrap(),
            Told::Writable => conn.set_dead_within(30 * SECOND).unwrap(),
            Told::Opened
            | Told::Overdue
            | Told::Claimed(_)
            | Told::Closing
            | Told::Late(_)
            | Told::Closed(_) => {}
        });
        let peer = world.connect();
        peer.stop_reading();
        peer.send(b"go\n");
        world.run_for(10 * SECOND);
        peer.start_reading();
        let took = condemned_after(&mut world, &peer);
        assert_on_time(took, 20 * SECOND, "ten seconds of silence were over already");
        world.finish();
    });
}

#[test]
fn a_deadline_out_of_range_is_refused_and_changes_nothing() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        world.act(|conn, told| {
            if matches!(told, Told::Received(_)) {
                assert!(conn.set_dead_within(Duration::ZERO).is_err());
                assert!(conn.set_dead_within(Duration::from_millis(99)).is_err());
                assert!(conn.set_dead_within(Duration::from_hours(25)).is_err());
                assert!(conn.set_dead_within(Duration::MAX).is_err());
            }
        });
        let peer = world.connect();
        peer.send(b"hello\n");
        world.run_for(Duration::ZERO);
        let took = condemned_after(&mut world, &peer);
        assert_on_time(took, world.liveness.dead_within, "as configured");
        world.finish();
    });
}

#[test]
fn an_overdue_time_below_half_of_the_deadline_is_kept_too() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| {
            config.overrides.beat_every = Some(5 * SECOND);
            config.overrides.overdue_after = Some(6 * SECOND);
        });
        let peer = world.connect_live();
        world.run_for(7 * SECOND);
        peer.send(b"\n");
        world.run_for(Duration::ZERO);
        let beat_at = world.now();
        world.run_for(29 * SECOND);
        let overdue: Vec<_> =
            world.told(&peer).into_iter().filter(|(_, told)| *told == Told::Overdue).collect();
        assert_eq!(overdue.len(), 2);
        assert_on_time(since(beat_at, overdue[1].0), 6 * SECOND, "overdue for the second time");
        world.finish();
    });
}
