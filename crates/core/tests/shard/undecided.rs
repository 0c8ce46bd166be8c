//! Claims that another shard decides: how long they may take, and what happens meanwhile.

use std::time::Duration;

use heartring_core::{Cause, ConnAt, ConnId, Errno, Identity, Letter, Order, Refusal, Request, ShardId};
use heartring_sim::{Saw, SimPeer};

use crate::recorder::Told;
use crate::world::{TICK, World, beats, since, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);

/// Every `claim` is one, of the identity `pump`.
fn claiming(world: &mut World) {
    world.act(|conn, told| {
        if *told == Told::Received(b"claim".to_vec()) {
            conn.claim(b"pump").unwrap();
        }
    });
}

fn refused(world: &mut World, peer: &SimPeer) -> Option<Refusal> {
    let cause = world.end_of(peer)?.cause;
    let Cause::Refused(refusal) = cause else { panic!("{cause}") };
    Some(refusal)
}

#[test]
fn a_claim_is_asked_of_the_shard_that_owns_it_and_released_when_its_connection_ends() {
    under_each_strategy(|strategy| {
        let mut world = World::undecided(strategy, |_| ());
        claiming(&mut world);
        let peer = world.connect();
        peer.send(b"claim\n");
        world.run_for(SECOND);
        let (identity, conn) = (Identity::from("pump"), world.conn_of(&peer));
        let by = ConnAt { shard: ShardId(0), conn };
        let claim = Letter::Request(Request::Claim { identity: identity.clone(), by });
        assert_eq!(std::mem::take(&mut world.letters), [(ShardId(1), claim)]);
        world.grant(&peer, 1);
        peer.fin();
        world.run_for(SECOND);
        let release = Letter::Request(Request::Release { identity, by });
        assert_eq!(std::mem::take(&mut world.letters), [(ShardId(1), release)]);
        world.finish();
    });
}

#[test]
fn a_claim_that_nobody_decides_ends_its_connection_after_hello_within() {
    under_each_strategy(|strategy| {
        // The overdue time before the hello deadline, and far behind it.
        for dead_within in [SECOND, 5 * SECOND, 30 * SECOND, 3600 * SECOND] {
            for claims_at in [Duration::ZERO, dead_within / 4] {
                let mut world: World = World::undecided(strategy, |config| config.dead_within = dead_within);
                claiming(&mut world);
                let peer = world.connect_live();
                world.run_for(claims_at);
                let asked = world.now();
                peer.send(b"claim\n");
                // What it sends is held back, and so are its beats: nobody may blame it for that.
                beats(&peer, dead_within / 8, 2 * dead_within);
                world.run_for(world.liveness.hello_within + SECOND);
                assert_eq!(refused(&mut world, &peer), Some(Refusal::ClaimUndecided));
                assert_eq!(world.calls(&peer), ["opened", "received", "closed"], "never overdue");
                let late = since(asked + world.liveness.hello_within, world.when(&peer, "closed").unwrap());
                assert!(late <= 2 * TICK, "{late:?} late, with {dead_within:?}");
                let silence = world.end_of(&peer).unwrap().evidence.silence;
                assert!(silence >= world.liveness.hello_within, "{silence:?}");
                assert!(silence <= world.liveness.hello_within + 4 * TICK, "{silence:?}");
                assert_eq!(world.shard.stats().refused("claim_undecided"), 1);
                world.finish();
            }
        }
    });
}

#[test]
fn a_claim_in_opened_that_nobody_decides_is_no_missed_hello() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |config| config.claim_required = true);
        world.act(|conn, told| {
            if *told == Told::Opened {
                conn.claim(b"pump").unwrap();
            }
        });
        let peer = world.connect();
        world.run_for(world.liveness.hello_within + SECOND);
        assert_eq!(refused(&mut world, &peer), Some(Refusal::ClaimUndecided));
        assert_eq!(peer.saw(), Saw::Reset);
        world.finish();
    });
}

#[test]
fn a_claim_that_is_granted_as_its_lease_runs_out_beyond_the_verdicts_of_the_turn_is_read_from() {
    under_each_strategy(|strategy| {
        // With 10 s a beat is overdue after 5, and the claim may take 10.
        let mut world: World = World::undecided(strategy, |config| {
            config.dead_within = 10 * SECOND;
            config.limits.verdicts_per_turn_max = 1;
        });
        claiming(&mut world);
        let fleet = world.connect_fleet_sending(2, b"claim\n");
        world.run_for(world.liveness.overdue_after - Duration::from_millis(1));
        world.turn(world.now() + SECOND);
        for (peer, epoch) in fleet.iter().zip(1..) {
            world.grant(peer, epoch);
            peer.send(b"behind it\n");
            world.run_for(SECOND);
            assert_eq!(world.frames_of(peer).0, [&b"claim"[..], b"behind it"]);
        }
        world.run_for(2 * world.liveness.dead_within);
        for peer in &fleet {
            assert_eq!(world.cause_of(peer), "heartbeat_missed", "and who then falls silent is found");
        }
        world.finish();
    });
}

#[test]
fn a_thread_that_was_away_does_not_lay_the_wait_to_the_claim() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |_| ());
        claiming(&mut world);
        let peer = world.connect();
        peer.send(b"claim\n");
        world.run_for(SECOND);
        world.net.stall(2 * world.liveness.hello_within);
        world.run_for(2 * world.liveness.hello_within + SECOND);
        assert_eq!(world.end_of(&peer), None, "the decision may be in the mailbox");
        world.grant(&peer, 1);
        world.run_for(SECOND);
        assert_eq!(world.calls(&peer), ["opened", "received", "claimed"]);
        world.finish();
        let mut world: World = World::undecided(strategy, |_| ());
        claiming(&mut world);
        let peer = world.connect();
        peer.send(b"claim\n");
        world.run_for(SECOND);
        world.net.stall(2 * world.liveness.hello_within);
        world.run_for(2 * world.liveness.hello_within + world.liveness.beat_every + SECOND);
        assert_eq!(refused(&mut world, &peer), Some(Refusal::ClaimUndecided), "one beat later");
        world.finish();
    });
}

#[test]
fn the_time_of_a_connection_begins_anew_with_its_grant() {
    under_each_strategy(|strategy| {
        // With 10 s a beat is overdue after 5, and the claim may take 10.
        let mut world: World = World::undecided(strategy, |config| config.dead_within = 10 * SECOND);
        world.act(|conn, told| {
            if let Told::Overdue = told {
                let _ = conn.claim(b"pump");
            }
        });
        let (overdue_after, dead_within) = (world.liveness.overdue_after, world.liveness.dead_within);
        let late = world.connect_live();
        world.run_for(overdue_after + SECOND);
        assert_eq!(world.calls(&late), ["opened", "overdue"]);
        world.run_for(dead_within - overdue_after + SECOND);
        assert_eq!(world.calls(&late), ["opened", "overdue"], "it could not be heard");
        world.grant(&late, 1);
        let granted = world.now();
        world.run_for(overdue_after + SECOND);
        assert_eq!(world.calls(&late), ["opened", "overdue", "claimed", "overdue"]);
        let overdue = world.told(&late).last().unwrap().0;
        assert!(since(granted + overdue_after, overdue) <= 2 * TICK);
        world.run_for(dead_within - overdue_after);
        assert_eq!(world.end_of(&late), None, "in grace");
        world.run_for(world.liveness.grace);
        assert_eq!(world.cause_of(&late), "heartbeat_missed");
        world.finish();
    });
}

#[test]
fn a_live_connection_whose_claim_took_long_is_overdue_in_time_afterwards() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |config| {
            config.dead_within = 10 * SECOND;
            config.tick_every = Some(SECOND / 10);
        });
        let overdue_after = world.liveness.overdue_after;
        let peer = world.connect_live();
        let (conn, claims_at) = (world.conn_of(&peer), world.now() + overdue_after - SECOND / 4);
        world.shard.handler().act_on_tick = Box::new(move |conns| {
            if conns.now() >= claims_at
                && let Some(mut conn) = conns.get(conn)
                && conn.identity().is_none()
            {
                conn.claim(b"pump").unwrap();
                conn.set_dead_within(Duration::from_secs(8)).unwrap();
            }
        });
        world.run_for(overdue_after + SECOND);
        assert_eq!(world.calls(&peer), ["opened"], "its beat was due while it could not be heard");
        world.grant(&peer, 1);
        let granted = world.now();
        world.run_for(overdue_after);
        assert_eq!(world.calls(&peer), ["opened", "claimed", "overdue"]);
        let late = since(granted + overdue_after * 8 / 10, world.when(&peer, "overdue").unwrap());
        assert!(late <= 3 * TICK, "{late:?}");
        world.finish();
    });
}

#[test]
fn a_peer_that_takes_nothing_is_a_slow_consumer_although_its_claim_is_undecided() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |config| {
            config.overrides.send_stall_within = Some(2 * SECOND);
        });
        world.act(|conn, told| {
            if *told == Told::Received(b"claim".to_vec()) {
                conn.claim(b"pump").unwrap();
                conn.send_copy(&vec![b'x'; 200_000]).unwrap();
            }
        });
        let peer = world.connect();
        peer.stop_reading();
        peer.send(b"claim\n");
        world.run_for(3 * SECOND);
        assert_eq!(world.cause_of(&peer), "slow_consumer");
        world.finish();
    });
}

#[test]
fn what_is_sent_meanwhile_goes_out_and_does_not_put_the_decision_off() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |config| config.tick_every = Some(SECOND));
        claiming(&mut world);
        let peer = world.connect();
        peer.send(b"claim\n");
        world.run_for(Duration::ZERO);
        let conn = world.conn_of(&peer);
        world.shard.handler().act_on_tick = Box::new(move |conns| {
            let _ = conns.send(conn, "patience\n".into());
        });
        world.run_for(world.liveness.hello_within + SECOND / 2);
        assert!(peer.received().starts_with(b"patience\n"));
        assert_eq!(refused(&mut world, &peer), Some(Refusal::ClaimUndecided));
        world.finish();
    });
}

#[test]
fn a_reset_behind_a_claim_stays_a_reset_however_long_the_decision_takes() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |config| {
            config.dead_within = 2 * SECOND;
            config.overrides.hello_within = Some(60 * SECOND);
        });
        claiming(&mut world);
        let peer = world.connect();
        peer.send(b"claim\nlast\n");
        world.run_for(Duration::ZERO);
        peer.reset();
        // Long enough for the recv to be armed anew, which then ends with a bare end of stream.
        world.run_for(50 * SECOND);
        assert_eq!(world.calls(&peer), ["opened", "received"]);
        world.grant(&peer, 1);
        assert_eq!(world.calls(&peer), ["opened", "received", "claimed", "received", "closed"]);
        let end = world.end_of(&peer).unwrap();
        assert_eq!((end.cause, end.evidence.errno), (Cause::PeerReset, Some(Errno::ECONNRESET)));
        world.finish();
    });
}

#[test]
fn an_order_for_a_connection_that_is_gone_does_nothing_and_a_payload_is_counted() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |_| ());
        claiming(&mut world);
        let peer = world.connect();
        peer.send(b"claim\n");
        world.run_for(Duration::ZERO);
        let conn = world.conn_of(&peer);
        peer.reset();
        world.run_for(2 * world.liveness.hello_within);
        assert_eq!(refused(&mut world, &peer), Some(Refusal::ClaimUndecided));
        let payload = || "lost".into();
        let never = ConnId::new(9_999, 7);
        for conn in [conn, never] {
            world.order(Order::Grant { conn, epoch: 1 });
            world.order(Order::Refuse { conn, retry_after: SECOND });
            world.order(Order::Close { conn });
            world.order(Order::Send { conn, payload: payload() });
            world.order(Order::Deliver { conn, epoch: 1, payload: payload() });
        }
        assert_eq!(world.shard.stats().undelivered, 4);
        assert_eq!(world.shard.stats().grants, 0);
        // What an eviction is for is done all the same.
        world.letters.clear();
        let (identity, successor) = (Identity::from("pump"), ConnAt { shard: ShardId(1), conn: never });
        world.order(Order::Evict { conn, identity: identity.clone(), by: 7, successor: Some(successor) });
        let grant = Letter::Order(Order::Grant { conn: never, epoch: 7 });
        let evicted = Letter::Request(Request::Evicted { identity, epoch: 7 });
        assert_eq!(std::mem::take(&mut world.letters), [(ShardId(1), grant), (ShardId(1), evicted)]);
        world.finish();
    });
}

#[test]
fn an_eviction_that_overtakes_the_grant_ends_the_claim_and_the_grant_comes_too_late() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |_| ());
        claiming(&mut world);
        let peer = world.connect();
        peer.send(b"claim\nbehind it\n");
        world.run_for(SECOND);
        let conn = world.conn_of(&peer);
        world.letters.clear();
        world.order(Order::Evict { conn, identity: Identity::from("pump"), by: 9, successor: None });
        world.grant(&peer, 8);
        assert_eq!(world.calls(&peer), ["opened", "received", "closed"]);
        assert_eq!(world.end_of(&peer).unwrap().cause, Cause::Superseded { by: 9 });
        assert_eq!(world.letters, [], "it had only waited: nobody is told, and nothing is released");
        world.finish();
    });
}

#[test]
fn a_payload_for_a_holder_does_not_reach_one_who_only_waits_or_holds_by_another_epoch() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |_| ());
        claiming(&mut world);
        let peer = world.connect();
        peer.send(b"claim\n");
        world.run_for(SECOND);
        let conn = world.conn_of(&peer);
        let deliver = |epoch| Order::Deliver { conn, epoch, payload: format!("for {epoch}\n").into() };
        world.order(deliver(3));
        world.grant(&peer, 3);
        world.order(deliver(2));
        world.order(deliver(3));
        assert_eq!(peer.received(), b"for 3\n");
        assert_eq!(world.shard.stats().undelivered, 2);
        world.finish();
    });
}
