//! Claims on one shard: who holds an identity, and what becomes of the former holder.

use std::time::Duration;

use heartring_core::{
    Cause, ClaimError, Completion, DeadlineStrategy, Errno, FlapGuard, OpKind, RecvEnd, Refusal,
    SocketEvidence,
};
use heartring_sim::Saw;

use crate::by_hand::ByHand;
use crate::recorder::Told;
use crate::world::{TICK, World, beats, since, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);

/// Who says `i am ...` claims to be that.
fn claiming(world: &mut World) {
    world.act(|conn, told| {
        if let Told::Received(frame) = told
            && let Some(identity) = frame.strip_prefix(b"i am ")
        {
            conn.claim(identity).unwrap();
        }
    });
}

#[test]
fn the_newest_claim_wins_and_the_former_holder_is_superseded() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        claiming(&mut world);
        let old = world.connect();
        old.send(b"i am pump\nfrom the old\n");
        world.run_for(SECOND);
        let new = world.connect();
        new.send(b"i am pump\nfrom the new\n");
        world.run_for(SECOND);
        assert_eq!(world.calls(&old), ["opened", "received", "claimed", "received", "closed"]);
        assert_eq!(world.calls(&new), ["opened", "received", "claimed", "received"]);
        assert_eq!(world.end_of(&old).unwrap().cause, Cause::Superseded { by: 2 });
        assert_eq!(old.saw(), Saw::Reset);
        world.finish();
    });
}

#[test]
fn what_is_no_claim_is_refused_and_changes_nothing() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let max = heartring_core::Limits::default().identity_bytes_max as usize;
        world.act(move |conn, told| match told {
            Told::Opened => {
                assert_eq!(conn.claim(b""), Err(ClaimError::Empty));
                let too_long = ClaimError::TooLong { bytes: 64 << 10, max: max as u32 };
                assert_eq!(conn.claim(&vec![b'x'; 64 << 10]), Err(too_long));
                assert_eq!(conn.claim(&vec![b'x'; max]), Ok(()));
                assert_eq!(conn.claim(b"another"), Err(ClaimError::Claimed));
            }
            Told::Closing | Told::Closed(_) => assert_eq!(conn.claim(b"late"), Err(ClaimError::Closed)),
            Told::Claimed(_) | Told::Received(_) | Told::Overdue | Told::Late(_) | Told::Writable => {}
        });
        let peer = world.connect();
        world.run_for(SECOND);
        assert_eq!(world.calls(&peer), ["opened", "claimed"]);
        world.finish();
    });
}

#[test]
fn a_claim_before_the_first_frame_is_granted_before_it() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| config.claim_required = true);
        world.act(|conn, told| {
            if *told == Told::Opened {
                conn.claim(b"by address").unwrap();
            }
        });
        let peer = world.connect();
        peer.send(b"first\n");
        world.run_for(SECOND);
        assert_eq!(world.calls(&peer), ["opened", "claimed", "received"]);
        world.finish();
    });
}

#[test]
fn where_a_claim_is_required_a_frame_does_not_end_the_greeting() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| config.claim_required = true);
        claiming(&mut world);
        let opened = world.now();
        let (anonymous, named) = (world.connect(), world.connect());
        for peer in [&anonymous, &named] {
            peer.send(b"hello\n");
            beats(peer, SECOND, 60 * SECOND);
        }
        let hello_within = world.liveness.hello_within;
        named.send_after(hello_within - SECOND / 10, b"i am pump\n");
        world.run_for(3 * hello_within);
        assert_eq!(world.calls(&anonymous), ["opened", "received", "closed"]);
        assert_eq!(world.cause_of(&anonymous), "hello_missed");
        let late = since(opened + hello_within, world.when(&anonymous, "closed").unwrap());
        assert!(
            late <= 2 * TICK + SECOND / 10,
            "the beats that lay unread acquitted it for a moment: {late:?}"
        );
        assert_eq!(world.calls(&named), ["opened", "received", "received", "claimed"]);
        world.finish();
    });
}

#[test]
fn a_frame_at_the_hello_deadline_does_not_let_the_unidentified_stay() {
    under_each_strategy(|strategy| {
        if strategy == DeadlineStrategy::Lease {
            return; // The accusation ends the recv: nothing comes between it and the verdict.
        }
        let mut by_hand: ByHand = ByHand::speaking(strategy, |config| config.claim_required = true);
        let conn = by_hand.accept(b"hello\n");
        by_hand.pass(11 * SECOND);
        assert!(by_hand.has(OpKind::Examine), "it is accused");
        by_hand.receive(conn, b"still here\n");
        by_hand.examine(conn, SocketEvidence { unread: Some(0), ..SocketEvidence::default() });
        assert_eq!(by_hand.end_of(conn).map(|end| end.cause), Some(Cause::HelloMissed));
        by_hand.finish();
    });
}

#[test]
fn a_frame_that_is_complete_after_all_is_forgiven_and_the_greeting_goes_on() {
    under_each_strategy(|strategy| {
        let mut by_hand: ByHand = ByHand::speaking(strategy, |config| {
            config.claim_required = true;
            config.overrides.frame_within = Some(2 * SECOND);
        });
        let conn = by_hand.accept(b"half a fra");
        by_hand.pass(3 * SECOND);
        assert!(by_hand.has(OpKind::Examine), "it is accused of a stalled frame");
        by_hand.receive(conn, b"me\n");
        by_hand.examine(conn, SocketEvidence { unread: Some(0), ..SocketEvidence::default() });
        assert_eq!(by_hand.end_of(conn), None);
        by_hand.pass(8 * SECOND);
        if !by_hand.has(OpKind::Examine) {
            by_hand.end_recv(conn, RecvEnd::Expired);
            by_hand.turn();
        }
        by_hand.examine(conn, SocketEvidence { unread: Some(0), ..SocketEvidence::default() });
        assert_eq!(by_hand.end_of(conn).map(|end| end.cause), Some(Cause::HelloMissed));
        by_hand.finish();
    });
}

#[test]
fn who_is_ending_for_whatever_cause_claims_nothing() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        claiming(&mut world);
        let holder = world.connect();
        holder.send(b"i am pump\n");
        beats(&holder, SECOND, 120 * SECOND);
        world.run_for(Duration::ZERO);
        world.act(|conn, told| match told {
            Told::Received(frame) if frame == b"close" => conn.close(),
            Told::Closing | Told::Closed(_) | Told::Late(_) => {
                assert_eq!(conn.claim(b"pump"), Err(ClaimError::Closed));
            }
            Told::Opened | Told::Received(_) | Told::Overdue | Told::Claimed(_) | Told::Writable => {}
        });
        let fleet = world.connect_fleet(6);
        fleet[0].fin();
        fleet[1].reset();
        fleet[2].fail(Errno::EHOSTUNREACH);
        fleet[3].fail(Errno::ENOMEM);
        fleet[4].send(b"close\n");
        fleet[5].send_after(world.liveness.dead_within + SECOND, b"late\n");
        world.run_for(world.liveness.dead_within + world.liveness.grace + SECOND);
        let causes: Vec<_> = fleet.iter().map(|peer| world.cause_of(peer)).collect();
        let expected =
            ["peer_closed", "peer_reset", "path_dead_unreachable", "os", "local", "heartbeat_missed"];
        assert_eq!(causes, expected);
        assert_eq!(world.calls(&holder), ["opened", "received", "claimed"], "nobody took it from the holder");
        world.finish();
    });
}

#[test]
fn the_accused_claims_nothing() {
    under_each_strategy(|strategy| {
        let mut by_hand = ByHand::new(strategy);
        by_hand.shard.handler().act = Box::new(|conn, told| {
            if *told == Told::Received(b"i am pump".to_vec()) {
                assert_eq!(conn.claim(b"pump"), Err(ClaimError::Closed));
            }
        });
        let conn = by_hand.accept(b"\n");
        by_hand.end_recv(conn, RecvEnd::Failed(Errno::EHOSTUNREACH));
        by_hand.turn();
        // What was received before the error and is told after it.
        by_hand.tell(Completion::Received { conn, bytes: b"i am pump\n" });
        by_hand.examine(conn, SocketEvidence::default());
        assert_eq!(by_hand.calls(conn), ["opened", "received", "closed"]);
        by_hand.finish();
    });
}

#[test]
fn who_claims_and_closes_in_one_call_is_closed_and_holds_nothing() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        world.act(|conn, told| {
            if *told == Told::Received(b"both".to_vec()) {
                conn.claim(b"pump").unwrap();
                conn.close();
            } else if *told == Told::Received(b"one".to_vec()) {
                conn.claim(b"pump").unwrap();
            }
        });
        let (both, one) = (world.connect(), world.connect());
        both.send(b"both\nmore\n");
        world.run_for(SECOND);
        assert_eq!(
            (world.calls(&both), world.cause_of(&both)),
            (vec!["opened", "received", "closed"], "local")
        );
        one.send(b"one\n");
        world.run_for(SECOND);
        assert_eq!(world.calls(&one), ["opened", "received", "claimed"]);
        world.finish();
    });
}

#[test]
fn a_connection_may_end_inside_claimed_and_nothing_behind_its_claim_is_received() {
    under_each_strategy(|strategy| {
        for fin in [false, true] {
            let mut world = World::new(strategy);
            world.act(|conn, told| match told {
                Told::Received(_) => conn.claim(b"pump").unwrap(),
                Told::Claimed(_) => conn.close(),
                Told::Opened
                | Told::Overdue
                | Told::Closing
                | Told::Late(_)
                | Told::Writable
                | Told::Closed(_) => {}
            });
            let peer = world.connect();
            // The claim comes in pieces, so that it is decoded out of a buffer that is lent out meanwhile.
            peer.send(b"i am ");
            world.run_for(SECOND);
            peer.send(b"pump\nbehind it\nhalf");
            if fin {
                peer.fin();
            }
            world.run_for(SECOND);
            assert_eq!(world.calls(&peer), ["opened", "received", "claimed", "closed"]);
            assert_eq!(world.cause_of(&peer), "local");
            world.finish();
        }
    });
}

#[test]
fn a_holder_in_grace_makes_room_at_once_and_its_cause_stands() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        claiming(&mut world);
        let old = world.connect();
        old.send(b"i am pump\n");
        world.run_for(world.liveness.dead_within + SECOND);
        assert_eq!(world.calls(&old).last(), Some(&"closing"), "in grace");
        let new = world.connect();
        new.send(b"i am pump\nhello\n");
        old.send(b"late\n");
        world.run_for(SECOND);
        assert_eq!(world.cause_of(&old), "heartbeat_missed");
        assert_eq!(world.calls(&new), ["opened", "received", "claimed", "received"]);
        assert_eq!(old.saw(), Saw::Reset);
        world.finish();
    });
}

#[test]
fn an_idle_connection_can_be_claimed_for_and_half_a_frame_of_it_waits_meanwhile() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| config.tick_every = Some(SECOND));
        let fleet = world.connect_fleet_sending(20, b"first\nhalf a ");
        world.shard.handler().act_on_tick = Box::new(|conns| {
            let ids: Vec<_> = conns.ids().collect();
            for id in ids {
                let mut conn = conns.get(id).unwrap();
                if conn.identity().is_none() {
                    let name = format!("pump-{}", id.slot() % 10);
                    conn.claim(name.as_bytes()).unwrap();
                }
            }
        });
        world.run_for(2 * SECOND);
        let mut ends = 0;
        for peer in &fleet {
            if peer.saw() == Saw::Open {
                peer.send(b"frame\n");
                world.run_for(Duration::ZERO);
                assert_eq!(world.calls(peer), ["opened", "received", "claimed", "received"]);
                assert_eq!(world.frames_of(peer).0, [&b"first"[..], b"half a frame"]);
            } else {
                assert_eq!(world.cause_of(peer), "superseded");
                ends += 1;
            }
        }
        assert_eq!(ends, 10, "each identity was claimed twice");
        world.finish();
    });
}

#[test]
fn two_devices_that_fight_are_told_to_wait_and_the_holder_keeps_its_connection() {
    under_each_strategy(|strategy| {
        let cool_down = 5 * SECOND;
        let mut world = World::with(strategy, |config| {
            config.flap_guard = Some(FlapGuard { takeovers_max: 3, window: 60 * SECOND, cool_down });
        });
        world.act(|conn, told| match told {
            Told::Received(_) => conn.claim(b"pump").unwrap(),
            Told::Closing => conn.send_copy(b"last word").unwrap(),
            Told::Opened
            | Told::Claimed(_)
            | Told::Overdue
            | Told::Late(_)
            | Told::Writable
            | Told::Closed(_) => {}
        });
        let mut holder = world.connect_fleet_sending(1, b"claim\n").remove(0);
        for _ in 0..3 {
            let next = world.connect_fleet_sending(1, b"claim\n").remove(0);
            assert!(matches!(world.end_of(&holder).unwrap().cause, Cause::Superseded { .. }));
            holder = next;
        }
        for waited in [0, 2, 4] {
            let refused = world.connect_fleet_sending(1, b"claim\nunheard\n").remove(0);
            let retry_after = cool_down - waited * SECOND;
            let cause = world.end_of(&refused).unwrap().cause;
            assert_eq!(cause, Cause::Refused(Refusal::Flapping { retry_after }));
            assert_eq!(world.calls(&refused), ["opened", "received", "closed"]);
            assert_eq!((refused.received(), refused.saw()), (b"last word".to_vec(), Saw::Reset));
            beats(&holder, SECOND, 2 * SECOND);
            world.run_for(2 * SECOND);
        }
        assert_eq!(world.calls(&holder), ["opened", "received", "claimed"]);
        let next = world.connect_fleet_sending(1, b"claim\n").remove(0);
        assert_eq!(world.calls(&next), ["opened", "received", "claimed"], "it has cooled down");
        let stats = world.shard.stats();
        assert_eq!((stats.refused("flapping"), stats.claims, stats.grants), (3, 8, 5));
        world.finish();
    });
}
