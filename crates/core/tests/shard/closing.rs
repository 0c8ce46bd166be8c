//! How it ends: our own closes, from inside every handler method, and the drain.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use heartring_core::{Backend, ConnId, DeadlineStrategy, SendError};
use heartring_sim::{Saw, SimPeer};

use crate::recorder::Told;
use crate::world::{TICK, World, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);

/// Brings a connection to the point where the handler method `name` is called, with a handler that closes in it.
fn close_from_inside(strategy: DeadlineStrategy, name: &'static str) -> (World, SimPeer) {
    let mut world = World::with_buffers(strategy, 100, |config| {
        config.limits.send_queue_high = 1_000;
        config.limits.send_queue_low = 500;
    });
    world.act(move |conn, told| {
        if *told == Told::Received(b"fill".to_vec()) {
            conn.send_copy(&[b'x'; 2_000]).unwrap();
        }
        if told.name() == name {
            conn.close();
            conn.close();
        }
    });
    let peer = world.connect();
    peer.send(b"\n");
    world.run_for(Duration::ZERO);
    match name {
        "received" => peer.send(b"frame\nanother\n"),
        "writable" => {
            peer.stop_reading();
            peer.send(b"fill\n");
            world.run_for(SECOND);
            peer.start_reading();
        }
        "overdue" => world.run_for(world.liveness.overdue_after + 2 * TICK),
        "closing" => world.run_for(world.liveness.dead_within + 2 * TICK),
        "late" => {
            world.run_for(world.liveness.dead_within + 2 * TICK);
            peer.send(b"late\nlater\n");
        }
        "closed" => peer.fin(),
        _ => assert_eq!(name, "opened"),
    }
    world.run_for(Duration::ZERO);
    (world, peer)
}

#[test]
fn a_handler_may_close_from_every_method() {
    under_each_strategy(|strategy| {
        let cases = [
            ("opened", "local", 1),
            ("received", "local", 2),
            ("writable", "local", 3),
            ("overdue", "local", 2),
            ("closing", "heartbeat_missed", 2),
            ("late", "heartbeat_missed", 4),
            ("closed", "peer_closed", 1),
        ];
        for (name, cause, calls_before_closed) in cases {
            let (mut world, peer) = close_from_inside(strategy, name);
            assert_eq!(world.cause_of(&peer), cause, "from {name}");
            let calls = world.calls(&peer);
            assert_eq!(calls.len(), calls_before_closed + 1, "from {name}: {calls:?}");
            world.finish();
        }
    });
}

#[test]
fn the_tick_may_close_everybody() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| config.tick_every = Some(SECOND));
        let fleet = world.connect_fleet(20);
        world.shard.handler().act_on_tick = Box::new(|conns| {
            let ids: Vec<ConnId> = conns.ids().collect();
            for id in ids {
                conns.close(id);
            }
        });
        world.run_for(2 * SECOND);
        for peer in &fleet {
            assert_eq!((world.cause_of(peer), peer.saw()), ("local", Saw::Eof));
        }
        world.finish();
    });
}

#[test]
fn a_handler_may_close_another_connection_whose_frame_comes_next() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let fleet = world.connect_fleet(2);
        let victim = world.conn_of(&fleet[1]);
        world.act(move |conn, told| {
            if *told == Told::Received(b"kill".to_vec()) {
                conn.conns().close(victim);
            }
        });
        fleet[1].send(b"half");
        world.run_for(Duration::ZERO);
        fleet[0].send(b"kill\nand go on\n");
        fleet[1].send(b" a frame\n");
        world.run_for(Duration::ZERO);
        assert_eq!(world.cause_of(&fleet[1]), "local");
        assert_eq!(world.calls(&fleet[1]), ["opened", "closed"], "nothing is delivered after the close");
        assert_eq!(world.frames_of(&fleet[0]).0, [&b"kill"[..], b"and go on"]);
        world.finish();
    });
}

#[test]
fn a_close_or_a_send_to_an_id_that_is_gone_does_nothing() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| {
            config.limits.conns_max = Some(2);
            config.limits.accepts_in_flight = 1;
        });
        let gone = world.connect_live();
        let stale = world.conn_of(&gone);
        gone.reset();
        world.run_for(Duration::ZERO);
        // Its slot has a new occupant by now.
        let fleet = world.connect_fleet(2);
        let slots: Vec<u32> = fleet.iter().map(|peer| world.conn_of(peer).slot()).collect();
        assert!(slots.contains(&stale.slot()));
        let refused = Rc::new(Cell::new(None));
        let seen = refused.clone();
        world.act(move |conn, told| {
            if matches!(told, Told::Received(_)) {
                seen.set(Some(conn.conns().send(stale, bytes::Bytes::from_static(b"ghost"))));
                conn.conns().close(stale);
            }
        });
        fleet[0].send(b"go\n");
        world.run_for(SECOND);
        assert_eq!(refused.get(), Some(Err(SendError::Closed)));
        for peer in &fleet {
            assert_eq!((peer.saw(), peer.received()), (Saw::Open, Vec::new()));
        }
        world.finish();
    });
}

#[test]
fn our_close_sends_what_is_queued_and_then_a_fin() {
    under_each_strategy(|strategy| {
        let mut world = World::with_buffers(strategy, 10, |_| ());
        world.act(|conn, told| {
            if matches!(told, Told::Received(_)) {
                for _ in 0..100 {
                    conn.send_copy(b"0123456789").unwrap();
                }
                conn.close();
            }
        });
        let peer = world.connect();
        peer.stop_reading();
        peer.send(b"go\n");
        world.run_for(SECOND);
        assert_eq!(world.calls(&peer), ["opened", "received", "closed"], "told when the close begins");
        peer.start_reading();
        world.run_for(SECOND);
        assert_eq!(peer.received(), b"0123456789".repeat(100));
        assert_eq!(peer.saw(), Saw::Eof);
        peer.send(b"this is discarded\n");
        peer.fin();
        world.run_for(Duration::ZERO);
        assert_eq!(world.backend.ledger().sockets, 0, "the peer's FIN ends the wait");
        world.finish();
    });
}

#[test]
fn a_peer_that_closes_while_we_owe_it_bytes_still_gets_them() {
    under_each_strategy(|strategy| {
        let mut world = World::with_buffers(strategy, 10, |_| ());
        world.act(|conn, told| {
            if matches!(told, Told::Received(_)) {
                conn.send_copy(&[b'x'; 1_000]).unwrap();
            }
        });
        let peer = world.connect();
        peer.stop_reading();
        peer.send(b"go\n");
        peer.fin();
        world.run_for(SECOND);
        assert_eq!(world.cause_of(&peer), "peer_closed");
        peer.start_reading();
        world.run_for(SECOND);
        assert_eq!((peer.received().len(), peer.saw()), (1_000, Saw::Eof));
        assert_eq!(world.backend.ledger().sockets, 0);
        world.finish();
    });
}

#[test]
fn a_peer_that_never_closes_is_aborted_at_drain_within() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let fleet = world.connect_fleet(10);
        let began_at = world.now();
        let drain_within = world.liveness.drain_within;
        fleet[3].fin();
        world.shard.drain(began_at);
        world.run_for(Duration::ZERO);
        for peer in &fleet {
            assert_eq!(peer.saw(), Saw::Eof);
        }
        fleet[4].fin();
        world.run_for(drain_within - SECOND);
        assert_eq!(world.backend.ledger().sockets, 8);
        world.run_for(SECOND + 2 * TICK);
        assert_eq!(world.backend.ledger().sockets, 0);
        assert!(world.shard.is_empty());
        let causes: Vec<_> = fleet.iter().map(|peer| world.cause_of(peer)).collect();
        assert_eq!(causes.iter().filter(|cause| **cause == "draining").count(), 10);
        let late = world.connect();
        assert_eq!(late.saw(), Saw::Reset, "nobody listens any more");
        world.finish();
    });
}

#[test]
fn a_drain_keeps_its_bound_towards_a_peer_that_reads_nothing() {
    under_each_strategy(|strategy| {
        let mut world = World::with_buffers(strategy, 10, |_| ());
        world.act(|conn, told| {
            if matches!(told, Told::Received(_)) {
                conn.send_copy(&[b'x'; 1_000]).unwrap();
            }
        });
        let peer = world.connect();
        peer.stop_reading();
        peer.send(b"go\n");
        world.run_for(SECOND);
        let began_at = world.now();
        world.shard.drain(began_at);
        world.run_for(world.liveness.drain_within - SECOND);
        assert!(!world.shard.is_empty(), "it has that long to read");
        world.run_for(SECOND + 2 * TICK);
        assert!(world.shard.is_empty());
        assert_eq!(peer.saw(), Saw::Reset);
        world.finish();
    });
}

#[test]
fn a_drain_in_every_state_ends_each_connection_once() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let condemned = world.connect_live();
        world.run_for(world.liveness.dead_within - world.liveness.overdue_after);
        let overdue = world.connect_live();
        world.run_for(world.liveness.overdue_after + SECOND);
        let live = world.connect_live();
        let greeting = world.connect();
        world.shard.drain(world.now());
        world.run_for(Duration::ZERO);
        let peers = [&condemned, &overdue, &live, &greeting];
        let causes = peers.map(|peer| world.cause_of(peer));
        assert_eq!(causes, ["heartbeat_missed", "draining", "draining", "draining"]);
        world.finish();
    });
}
