//! Our own absences, and deaths in masses.

use std::time::Duration;

use heartring_core::{
    Backend, ConnId, DeadlineStrategy, Errno, Instant, OpKind, RecvEnd, SocketEvidence, WatchEnd,
};
use heartring_sim::Saw;

use crate::by_hand::ByHand;
use crate::life::Pinging;
use crate::recorder::Told;
use crate::world::{TICK, World, since, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);
const FLEET: usize = 1_000;

#[test]
fn a_stall_longer_than_three_deadlines_blames_nobody_and_the_dead_are_still_found() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let fleet = world.connect_fleet(FLEET);
        let dead_within = world.liveness.dead_within;
        for (nth, peer) in fleet.iter().enumerate() {
            // Spread over the interval, as real fleets are. Number 500 dies in the middle of the stall.
            let offset = world.liveness.beat_every * nth as u32 / FLEET as u32;
            let mut after = offset;
            while after < 8 * dead_within {
                peer.send_after(after, b"\n");
                after += world.liveness.beat_every;
            }
        }
        let (dying, dies_after) = (fleet[500].clone(), 2 * dead_within);
        world.net.after(dies_after, move |_| dying.vanish());
        world.run_for(dead_within / 2);
        world.net.stall(3 * dead_within + 7 * SECOND);
        world.run_for(7 * dead_within);
        let false_closes = fleet
            .iter()
            .enumerate()
            .filter(|(nth, peer)| {
                *nth != 500 && world.calls(peer).iter().any(|call| *call == "closing" || *call == "closed")
            })
            .count();
        assert_eq!(false_closes, 0);
        assert_eq!(world.cause_of(&fleet[500]), "heartbeat_missed");
        world.finish();
    });
}

#[test]
fn a_stall_does_not_blame_devices_that_speak_only_when_asked() {
    under_each_strategy(|strategy| {
        let mut world = World::<Pinging>::speaking(strategy, |_| ());
        let fleet = world.connect_fleet_sending(100, b"hello\n");
        world.run_for(SECOND);
        // While the thread is away nobody asks them; once it is back, each answers a second after it was asked.
        world.net.stall(3 * world.liveness.dead_within);
        world.run_for(3 * world.liveness.dead_within);
        world.run_for(SECOND);
        for peer in &fleet {
            assert_eq!(peer.take_received(), b"ping\n");
            peer.send(b"pong\n");
        }
        world.run_for(SECOND);
        let blamed = fleet.iter().filter(|peer| world.calls(peer).contains(&"closing")).count();
        assert_eq!(blamed, 0);
        assert!(world.shard.stats().stalls >= 1, "and the stall was counted");
        world.finish();
    });
}

#[test]
fn a_second_stall_within_the_amnesty_for_the_first_gives_another_beat() {
    under_each_strategy(|strategy| {
        // With 30 s a beat is overdue after 15, and comes every 10.
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        world.run_for(7 * SECOND);
        let _noticed_by = world.connect_live();
        world.run_for(13 * SECOND);
        world.net.stall(5 * SECOND);
        world.run_for(9 * SECOND);
        assert_eq!(world.shard.stats().stalls, 1, "the second beat was to be missed in the middle of it");
        world.net.stall(4 * SECOND);
        world.run_for(4 * SECOND);
        let back_at = world.now();
        assert_eq!(world.shard.stats().stalls, 2, "the first deadline was in the middle of it");
        world.run_for(3 * world.liveness.dead_within);
        let end = world.end_of(&peer).unwrap();
        assert_eq!(end.cause.name(), "heartbeat_missed");
        assert!(
            end.decided_at >= back_at + world.liveness.beat_every,
            "{}",
            since(back_at, end.decided_at).as_secs()
        );
        world.finish();
    });
}

#[test]
fn a_stall_while_everybody_is_overdue_is_noticed_too() {
    under_each_strategy(|strategy| {
        let mut world = World::<Pinging>::speaking(strategy, |_| ());
        let peer = world.connect();
        peer.send(b"hello\n");
        world.run_for(world.liveness.overdue_after + SECOND);
        assert_eq!(world.calls(&peer), ["opened", "received", "overdue"]);
        // The deadline passes while the thread is away.
        world.net.stall(2 * world.liveness.dead_within);
        world.run_for(2 * world.liveness.dead_within + SECOND);
        peer.send(b"pong\n");
        world.run_for(SECOND);
        assert_eq!(world.calls(&peer), ["opened", "received", "overdue"]);
        assert_eq!(world.shard.stats().stalls, 1);
        world.finish();
    });
}

#[test]
fn a_verdict_that_a_stall_has_put_off_is_not_put_off_again_before_its_time() {
    let mut by_hand = ByHand::new(DeadlineStrategy::Linked);
    let conn = by_hand.accept(b"\n");
    by_hand.now = by_hand.now + Duration::from_secs(100);
    // A beat lies unread, so that every watch sees it at once, and many others are read first.
    for _ in 0..10 {
        by_hand.turn();
        if by_hand.has(OpKind::Watch) {
            by_hand.end_watch(conn, WatchEnd::Ready);
        }
        by_hand.now = by_hand.now + Duration::from_millis(1);
    }
    assert_eq!((by_hand.shard.stats().stalls, by_hand.shard.stats().postponed), (1, 1));
    by_hand.receive(conn, b"\n");
    by_hand.turn();
    assert_eq!(by_hand.calls(conn), ["opened", "overdue"]);
    by_hand.finish();
}

#[test]
fn a_stall_postpones_a_hello_and_a_frame_as_well() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let greeting = world.connect();
        let half = world.connect_live();
        half.send(b"half a fra");
        world.run_for(SECOND);
        world.net.stall(world.liveness.dead_within);
        world.run_for(world.liveness.dead_within);
        world.run_for(SECOND);
        greeting.send(b"hello\n");
        half.send(b"me\n");
        world.run_for(SECOND);
        assert_eq!(world.calls(&greeting), ["opened", "received"]);
        assert_eq!(world.frames_of(&half).0, [b"half a frame"]);
        assert_eq!(world.end_of(&half), None);
        world.finish();
    });
}

#[test]
fn a_device_that_stays_silent_after_a_stall_is_convicted_one_beat_later() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        peer.vanish();
        world.run_for(SECOND);
        world.net.stall(2 * world.liveness.dead_within);
        world.run_for(2 * world.liveness.dead_within);
        let back_at = world.now();
        world.run_for(world.liveness.dead_within);
        let took = since(back_at, world.when(&peer, "closing").unwrap());
        assert!(took <= world.liveness.beat_every + SECOND, "{took:?}");
        world.finish();
    });
}

fn mass_death(strategy: DeadlineStrategy, verdicts_per_turn_max: u32, turn_takes: Duration) -> World {
    let mut world = World::with(strategy, |config| {
        config.limits.verdicts_per_turn_max = verdicts_per_turn_max;
    });
    let fleet = world.connect_fleet(FLEET);
    for peer in &fleet {
        peer.vanish();
    }
    world.turn_takes = turn_takes;
    world.run_for(world.liveness.dead_within + SECOND);
    let condemned = fleet.iter().filter(|peer| world.calls(peer).contains(&"closing")).count();
    assert_eq!(condemned, FLEET, "within a second");
    world.run_for(world.liveness.grace + 2 * SECOND);
    for peer in &fleet {
        assert_eq!(world.cause_of(peer), "heartbeat_missed");
    }
    world
}

#[test]
fn a_thousand_deaths_at_one_instant_are_each_found_within_a_tick() {
    under_each_strategy(|strategy| {
        let world = mass_death(strategy, 2_000, Duration::ZERO);
        let lateness = &world.shard.stats().lateness;
        assert_eq!(lateness.count(), FLEET as u64);
        assert!(lateness.max() <= TICK, "{lateness:?}");
        world.finish();
    });
}

#[test]
fn a_mass_death_puts_few_timeouts_into_the_kernel_and_everybody_is_found() {
    let mut world = World::with(DeadlineStrategy::Linked, |config| config.limits.watches_max = 10);
    let fleet = world.connect_fleet(FLEET);
    for peer in &fleet {
        peer.vanish();
    }
    world.run_for(world.liveness.dead_within - TICK);
    assert_eq!(world.backend.ledger().ops(OpKind::Watch), 10);
    world.run_for(SECOND);
    assert_eq!(world.shard.stats().lateness.count(), FLEET as u64);
    world.run_for(world.liveness.grace + SECOND);
    world.finish();
}

#[test]
fn a_mass_death_is_dealt_with_in_bounded_turns() {
    under_each_strategy(|strategy| {
        let world = mass_death(strategy, 50, Duration::ZERO);
        let most = world.verdicts_in_a_turn_max;
        assert!(
            most <= 2 * 50,
            "{most} verdicts in one turn: those of deadlines and those of grace are bounded each"
        );
        world.finish();
    });
}

/// A fleet that dies without grace, 99 verdicts a turn, up to the turn of the last verdict.
fn judged_mass_death(strategy: DeadlineStrategy) -> World {
    let mut world = World::with(strategy, |config| {
        config.overrides.grace = Some(Duration::ZERO);
        config.limits.verdicts_per_turn_max = 99;
    });
    let fleet = world.connect_fleet(FLEET);
    for peer in &fleet {
        peer.vanish();
    }
    let give_up = world.now() + 2 * world.liveness.dead_within;
    while world.shard.stats().lateness.count() < FLEET as u64 {
        assert!(world.now() < give_up, "{:?}", world.shard.stats());
        world.turn(give_up);
    }
    world
}

#[test]
fn in_a_mass_death_verdicts_come_before_closes() {
    under_each_strategy(|strategy| {
        let mut world = judged_mass_death(strategy);
        let closes = world.submitted[OpKind::Close as usize];
        assert!(closes <= 128, "{closes} sockets were closed before the last verdict");
        world.run_for(Duration::ZERO);
        assert_eq!(world.submitted[OpKind::Close as usize], FLEET as u64, "and all of them right after it");
        world.finish();
    });
}

/// Seed 9571 of the simulator.
#[test]
fn a_close_behind_those_of_a_mass_death_does_not_overtake_its_own_recv() {
    under_each_strategy(|strategy| {
        let mut world = judged_mass_death(strategy);
        // In the turn in which the rivals come 128 leave, and in the next one the rest, and whoever joins them meanwhile.
        let waiting = |world: &World| FLEET as u64 - world.submitted[OpKind::Close as usize];
        while waiting(&world) >= 2 * 128 {
            world.turn(world.now());
        }
        assert!(waiting(&world) > 128);
        world.act(|conn, told| {
            if *told == Told::Opened {
                conn.claim(b"one").unwrap();
            }
        });
        let rivals = world.connect_fleet(2);
        assert_eq!(world.cause_of(&rivals[0]), "superseded");
        assert_eq!(rivals[0].saw(), Saw::Reset);
        world.finish();
    });
}

#[test]
fn a_backlog_of_verdicts_is_not_mistaken_for_a_stall() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| {
            config.dead_within = SECOND;
            config.limits.verdicts_per_turn_max = 10;
        });
        let fleet = world.connect_fleet(FLEET);
        for peer in &fleet {
            peer.vanish();
        }
        // A hundred turns of 3 ms each for the overdue, and as many for the verdicts.
        world.turn_takes = Duration::from_millis(3);
        world.run_for(4 * SECOND);
        assert_eq!(world.shard.stats().stalls, 0, "no turn was longer than 3 ms");
        assert_eq!(world.shard.stats().postponed, 0);
        world.finish();
    });
}

#[test]
fn a_backlog_of_the_kernels_timeouts_is_not_mistaken_for_a_stall() {
    under_each_strategy(|strategy| {
        let mut by_hand = ByHand::new(strategy);
        let conn = by_hand.accept(b"\n");
        // Each timeout is told two seconds late, because thousands are told before it; turn follows turn meanwhile.
        while !by_hand.has(OpKind::Examine) {
            assert_eq!(by_hand.shard.stats().stalls, 0, "the verdict waits for ever");
            by_hand.pass(Duration::from_millis(100));
            let is_told = |until: Instant| until + 2 * SECOND <= by_hand.now;
            let (watch, lease) = (by_hand.watched_until(), by_hand.leased_until());
            if watch.is_some_and(is_told) {
                by_hand.end_watch(conn, WatchEnd::Expired);
            } else if lease.is_some_and(is_told) {
                by_hand.end_recv(conn, RecvEnd::Expired);
            }
            by_hand.turn();
        }
        by_hand.finish();
    });
}

/// Somebody whose deadline has passed, and whose watch has expired in the kernel, which has not told it.
fn accused_by_the_sweep() -> (ByHand, ConnId) {
    let mut by_hand = ByHand::new(DeadlineStrategy::Linked);
    let conn = by_hand.accept(b"\n");
    while by_hand.watched_until().is_none() {
        by_hand.pass(TICK);
    }
    let deadline = by_hand.watched_until().unwrap();
    by_hand.pass(deadline.saturating_since(by_hand.now));
    assert!(!by_hand.has(OpKind::Examine), "the kernel is given a tick");
    by_hand.pass(TICK);
    assert!(by_hand.has(OpKind::Examine));
    (by_hand, conn)
}

#[test]
fn a_timeout_that_is_told_after_an_acquittal_accuses_nobody() {
    let (mut by_hand, conn) = accused_by_the_sweep();
    by_hand.examine(conn, SocketEvidence { unread: Some(1), ..SocketEvidence::default() });
    by_hand.turn();
    by_hand.end_watch(conn, WatchEnd::Expired);
    by_hand.turn();
    assert!(!by_hand.has(OpKind::Examine), "it has the time to be heard");
    assert!(by_hand.watched_until().unwrap() > by_hand.now);
    by_hand.receive(conn, b"\n");
    assert_eq!(by_hand.calls(conn), ["opened", "overdue"]);
    by_hand.finish();
}

#[test]
fn what_the_kernel_tells_late_the_sweep_judges_a_tick_after_the_deadline() {
    let (mut by_hand, conn) = accused_by_the_sweep();
    by_hand.end_watch(conn, WatchEnd::Expired);
    by_hand.examine(conn, SocketEvidence { unread: Some(0), ..SocketEvidence::default() });
    assert_eq!(by_hand.calls(conn), ["opened", "overdue", "closing"]);
    assert_eq!(by_hand.shard.stats().lateness.count(), 1);
    by_hand.finish();
}

#[test]
fn a_wait_that_returns_early_changes_nothing() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        world.net.return_early(100);
        peer.send_after(world.liveness.beat_every, b"\n");
        world.run_for(world.liveness.dead_within);
        assert_eq!(world.calls(&peer).iter().filter(|call| **call == "closing").count(), 0);
        world.run_for(world.liveness.dead_within);
        assert_eq!(world.calls(&peer), ["opened", "overdue", "closing", "closed"]);
        world.finish();
    });
}

#[test]
fn a_path_that_fails_during_a_stall_leaves_no_watch_without_a_recv() {
    let mut world = World::new(DeadlineStrategy::Linked);
    let peer = world.connect_live();
    world.run_for(world.liveness.dead_within - SECOND);
    // The watch expires first, which the stall puts off, and in the same turn the recv fails.
    let failing = peer.clone();
    world.net.after(2 * SECOND, move |_| failing.fail(Errno::ETIMEDOUT));
    world.net.stall(10 * SECOND);
    world.run_for(11 * SECOND);
    assert_eq!(world.cause_of(&peer), "path_dead_keepalive");
    world.finish();
}

/// Instants are kept in ticks that repeat themselves after 78 hours.
#[test]
fn after_a_stall_of_days_the_dead_are_found_as_soon_as_after_one_of_minutes() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let (dead, living) = (world.connect_live(), world.connect_live());
        let half = world.connect_live();
        half.send(b"half a fra");
        dead.vanish();
        world.run_for(SECOND);
        let away = Duration::from_hours(50);
        world.net.stall(away);
        let beat_every = world.liveness.beat_every;
        for nth in 0..14 {
            living.send_after(away + beat_every * nth / 2, b"\n");
        }
        world.run_for(away + 2 * world.liveness.dead_within);
        assert_eq!(world.cause_of(&dead), "heartbeat_missed");
        // Its frame is due at the same moment, when the amnesty is over.
        assert!(["heartbeat_missed", "frame_stalled"].contains(&world.cause_of(&half)));
        assert!(!world.calls(&living).contains(&"closing"));
        assert_eq!(world.shard.stats().early, 0);
        world.finish();
    });
}
