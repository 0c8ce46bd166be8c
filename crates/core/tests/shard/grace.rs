//! Grace: after the verdict, no byte that reached the machine is lost.

use std::time::Duration;

use heartring_core::Errno;
use heartring_sim::Saw;

use crate::recorder::Told;
use crate::world::{TICK, World, beats, since, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn late_frames_are_delivered_in_order_whatever_their_cuts() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        peer.send(b"in ti");
        peer.send_after(Duration::from_millis(1), b"me\n");
        world.run_for(world.liveness.dead_within + SECOND);
        assert_eq!(world.calls(&peer).last(), Some(&"closing"));
        peer.send(b"one\ntw");
        peer.send_after(SECOND, b"o\n\nthr");
        peer.send_after(2 * SECOND, b"ee\n");
        world.run_for(3 * SECOND);
        let (frames, late) = world.frames_of(&peer);
        assert_eq!(frames, [b"in time"]);
        assert_eq!(late, [&b"one"[..], b"two", b"", b"three"], "a late heartbeat is an empty frame");
        world.run_for(world.liveness.grace);
        assert_eq!(world.end_of(&peer).unwrap().late_bytes, 11);
        assert_eq!((world.shard.stats().late_frames, world.shard.stats().late_bytes), (4, 11));
        world.finish();
    });
}

#[test]
fn half_a_frame_from_before_the_verdict_is_completed_in_grace() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| {
            config.overrides.frame_within = Some(Duration::from_mins(10));
        });
        let peer = world.connect_live();
        peer.send(b"ha");
        world.run_for(world.liveness.dead_within + SECOND);
        peer.send(b"lf\n");
        world.run_for(Duration::ZERO);
        assert_eq!(world.frames_of(&peer).1, [b"half"]);
        world.finish();
    });
}

#[test]
fn grace_ends_when_it_is_over() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        world.run_for(world.liveness.dead_within + world.liveness.grace + SECOND);
        let (begun, over) = (world.when(&peer, "closing").unwrap(), world.when(&peer, "closed").unwrap());
        let lasted = since(begun, over);
        assert!((world.liveness.grace..=world.liveness.grace + 2 * TICK).contains(&lasted), "{lasted:?}");
        let end = world.end_of(&peer).unwrap();
        assert_eq!(end.decided_at, begun, "the cause was decided before the grace");
        assert_eq!(peer.saw(), Saw::Reset);
        world.finish();
    });
}

#[test]
fn a_late_beat_does_not_revive_a_connection() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        world.run_for(world.liveness.dead_within + SECOND);
        beats(&peer, SECOND, 20 * SECOND);
        world.run_for(world.liveness.grace);
        assert_eq!(world.cause_of(&peer), "heartbeat_missed");
        world.finish();
    });
}

#[test]
fn a_grace_of_zero_closes_at_once() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| config.overrides.grace = Some(Duration::ZERO));
        let peer = world.connect_live();
        world.run_for(world.liveness.dead_within + 2 * TICK);
        assert_eq!(world.calls(&peer), ["opened", "overdue", "closed"]);
        assert_eq!(peer.saw(), Saw::Reset);
        world.finish();
    });
}

#[test]
fn a_last_word_is_sent_before_grace_and_nothing_in_it() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        world.act(|conn, told| match told {
            Told::Closing => conn.send_copy(b"last word").unwrap(),
            Told::Late(_) | Told::Closed(_) => {
                assert_eq!(conn.send_copy(b"too late"), Err(heartring_core::SendError::Closed));
            }
            Told::Opened | Told::Received(_) | Told::Overdue | Told::Claimed(_) | Told::Writable => {}
        });
        world.run_for(world.liveness.dead_within + SECOND);
        peer.send(b"late\n");
        world.run_for(world.liveness.grace);
        assert_eq!(peer.received(), b"last word");
        assert_eq!(world.calls(&peer), ["opened", "overdue", "closing", "late", "closed"]);
        world.finish();
    });
}

#[test]
fn the_first_cause_wins_over_what_happens_in_grace() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let fleet = world.connect_fleet(4);
        world.run_for(world.liveness.dead_within + SECOND);
        fleet[0].fin();
        fleet[1].reset();
        fleet[2].fail(Errno::EHOSTUNREACH);
        fleet[3].send(b"forbidden\n");
        world.run_for(world.liveness.grace);
        for peer in &fleet {
            assert_eq!(world.cause_of(peer), "heartbeat_missed");
        }
        world.finish();
    });
}

#[test]
fn bytes_that_arrive_at_the_last_instant_of_grace_are_delivered() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        world.run_for(world.liveness.dead_within + SECOND);
        // The thread is away when the grace period ends; the bytes came before.
        peer.send_after(world.liveness.grace - 2 * SECOND, b"last words\n");
        world.run_for(world.liveness.grace - 3 * SECOND);
        world.net.stall(Duration::from_millis(1_900));
        world.run_for(2 * SECOND + world.liveness.grace);
        assert_eq!(world.frames_of(&peer).1, [b"last words"]);
        world.finish();
    });
}
