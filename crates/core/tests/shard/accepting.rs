//! Who is let in: shortages that do not spin, limits that refuse with a cause.

use std::time::Duration;

use heartring_core::{Errno, OpKind};
use heartring_sim::Saw;

use crate::by_hand::ByHand;
use crate::world::{World, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);

fn accepts<P: heartring_core::Protocol + Default>(world: &World<P>) -> u64 {
    world.submitted[OpKind::Accept as usize]
}

#[test]
fn a_shortage_of_descriptors_backs_off_and_recovers() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| config.limits.accepts_in_flight = 1);
        let healthy = world.connect_live();
        let accepts_before = accepts(&world);
        world.net.fail_accepts(Errno::EMFILE, 10);
        // The accept in flight takes this one's place; from then on the machine has no descriptor.
        let waiting = world.connect();
        for _ in 0..10 {
            healthy.send(b"\n");
            world.run_for(SECOND / 5);
        }
        let tried = accepts(&world) - accepts_before;
        assert!(tried <= 12, "{tried} accepts in two seconds: it spins");
        assert!(world.shard.stats().accept_back_offs >= 5);
        for _ in 0..30 {
            healthy.send(b"\n");
            world.run_for(SECOND / 5);
        }
        assert_eq!(world.shard.stats().accept_failures, 10);
        assert_eq!(world.calls(&waiting), ["opened"], "the client waited in the queue and was let in");
        assert_eq!(world.calls(&healthy), ["opened"], "nobody else noticed");
        world.finish();
    });
}

#[test]
fn many_accepts_in_flight_back_off_together() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let accepts_before = accepts(&world);
        world.net.fail_accepts(Errno::ENFILE, 100_000);
        world.connect();
        world.run_for(10 * SECOND);
        let (tried, in_flight) = (accepts(&world) - accepts_before, 32);
        // 10 + 20 + … + 320 ms, then every half second: some 26 times in ten seconds.
        assert!(tried <= 30 * in_flight, "{tried} accepts in ten seconds");
        assert!((20..=30).contains(&world.shard.stats().accept_back_offs));
        world.finish();
    });
}

#[test]
fn a_client_that_left_early_costs_one_accept() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        world.net.fail_accepts(Errno::ECONNABORTED, 3);
        let clients: Vec<_> = (0..5).map(|_| world.connect()).collect();
        assert_eq!(world.shard.stats().accept_failures, 3);
        assert_eq!(world.shard.stats().accept_back_offs, 0);
        let let_in = clients.iter().filter(|peer| !world.calls(peer).is_empty()).count();
        assert_eq!(let_in, 2, "the next client is accepted at once");
        world.finish();
    });
}

#[test]
fn an_accept_that_stays_broken_does_not_spin() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| config.limits.accepts_in_flight = 1);
        world.net.fail_accepts(Errno::EINVAL, 1000);
        let accepts_before = accepts(&world);
        for _ in 0..10 {
            world.connect();
        }
        world.run_for(SECOND);
        let tried = accepts(&world) - accepts_before;
        assert!(tried <= 10, "{tried}");
        world.finish();
    });
}

#[test]
fn an_errno_that_takes_no_client_from_the_queue_does_not_spin() {
    under_each_strategy(|strategy| {
        let mut by_hand = ByHand::new(strategy);
        // EPERM of a security module: the client stays in the queue, and so every accept fails at once.
        let mut tried = 0;
        for _ in 0..1000 {
            if by_hand.has(OpKind::Accept) {
                by_hand.fail_accept(Errno::EPERM);
                tried += 1;
            }
            by_hand.turn();
        }
        assert!((2..=3).contains(&tried), "{tried} accepts in no time at all");
        by_hand.pass(SECOND);
        assert!(by_hand.has(OpKind::Accept), "it is tried again");
        by_hand.finish();
    });
}

#[test]
fn beyond_conns_max_a_client_is_refused_with_a_cause_and_counted() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| config.limits.conns_max = Some(3));
        let fleet = world.connect_fleet(3);
        let refused: Vec<_> = (0..40).map(|_| world.connect()).collect();
        for peer in &refused {
            assert_eq!(peer.saw(), Saw::Reset);
            assert_eq!(world.calls(peer), [""; 0], "the handler never hears of it");
        }
        assert_eq!(world.shard.stats().closed("refused"), 40);
        // A place that becomes free is given away again.
        fleet[1].close();
        world.run_for(Duration::ZERO);
        let next = world.connect_live();
        assert_eq!(next.saw(), Saw::Open);
        assert_eq!(world.calls(&next), ["opened"]);
        world.finish();
    });
}

#[test]
fn a_slot_is_reused_and_nothing_of_its_last_occupant_is() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| {
            config.limits.conns_max = Some(1);
            config.limits.accepts_in_flight = 1;
        });
        for round in 0..50 {
            let peer = world.connect();
            assert_eq!(peer.saw(), Saw::Open, "round {round}");
            peer.send(b"hello\nhalf a fra");
            world.run_for(SECOND);
            assert_eq!(world.frames_of(&peer).0, [b"hello"], "round {round}");
            peer.reset();
            world.run_for(Duration::ZERO);
            assert_eq!(world.cause_of(&peer), "peer_reset");
        }
        world.finish();
    });
}
