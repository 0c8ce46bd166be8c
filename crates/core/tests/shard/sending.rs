//! The send queue: order, marks, bounds, and peers that do not read.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use heartring_core::{Backend, DeadlineStrategy, OpKind, SendError};
use heartring_sim::{Saw, SimPeer};
use proptest::prelude::*;

use crate::recorder::Told;
use crate::world::{TICK, World, beats, since, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);

/// A world whose socket buffers hold ten bytes, with one client that reads nothing, to which the handler sends `payloads`.
fn blocked(strategy: DeadlineStrategy, payloads: Vec<Bytes>) -> (World, SimPeer) {
    let mut world = World::with_buffers(strategy, 10, |config| {
        config.limits.send_queue_bytes_max = 10_000;
        config.limits.send_queue_high = 5_000;
        config.limits.send_queue_low = 1_000;
    });
    world.act(move |conn, told| {
        if *told == Told::Received(b"go".to_vec()) {
            for payload in &payloads {
                conn.send(payload.clone()).unwrap();
            }
        }
    });
    let peer = world.connect();
    peer.stop_reading();
    peer.send(b"go\n");
    world.run_for(Duration::ZERO);
    (world, peer)
}

#[test]
fn payloads_leave_in_order_whatever_the_socket_takes_at_a_time() {
    under_each_strategy(|strategy| {
        for bytes_max in [1, 3, 7, 10] {
            let payloads: Vec<Bytes> = (0..100).map(|n| format!("<payload {n}>").into()).collect();
            let (mut world, peer) = blocked(strategy, payloads.clone());
            world.net.limit_sends(bytes_max);
            peer.start_reading();
            world.run_for(SECOND);
            assert_eq!(peer.received(), payloads.concat());
            assert_eq!(world.shard.stats().sent_bytes, payloads.concat().len() as u64);
            world.finish();
        }
    });
}

#[test]
fn what_is_sent_in_one_turn_leaves_as_one() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        world.act(|conn, told| {
            if *told == Told::Received(b"go".to_vec()) {
                for answer in [b"a", b"b", b"c"] {
                    conn.send_copy(answer).unwrap();
                }
            }
        });
        let peer = world.connect();
        peer.send(b"go\ngo\n");
        world.run_for(SECOND);
        assert_eq!(peer.received(), b"abcabc");
        assert_eq!(world.submitted[OpKind::Send as usize], 1);
        world.finish();
    });
}

#[test]
fn an_empty_payload_is_nothing() {
    under_each_strategy(|strategy| {
        let (mut world, peer) = blocked(strategy, vec![Bytes::new(), Bytes::from_static(b"x"), Bytes::new()]);
        peer.start_reading();
        world.run_for(SECOND);
        assert_eq!(peer.received(), b"x");
        world.finish();
    });
}

#[test]
fn an_empty_state_leaves_the_one_that_waits() {
    under_each_strategy(|strategy| {
        let (mut world, peer) = blocked(strategy, vec![vec![b'a'; 20].into()]);
        world.act(|conn, told| {
            if *told == Told::Received(b"state".to_vec()) {
                conn.send_latest(Bytes::from_static(b"s")).unwrap();
                conn.send_latest(Bytes::new()).unwrap();
            }
        });
        peer.send(b"state\n");
        world.run_for(Duration::ZERO);
        peer.start_reading();
        world.run_for(SECOND);
        assert_eq!(peer.received(), [&[b'a'; 20][..], b"s"].concat());
        world.finish();
    });
}

#[test]
fn a_state_that_replaces_a_smaller_one_congests_as_any_payload_does() {
    under_each_strategy(|strategy| {
        let (mut world, peer) = blocked(strategy, vec![vec![b'a'; 20].into()]);
        world.act(|conn, told| {
            if *told == Told::Received(b"state".to_vec()) {
                conn.send_latest(Bytes::from_static(b"s")).unwrap();
                conn.send_latest(vec![b'S'; 6_000].into()).unwrap();
                assert!(conn.is_congested());
            }
        });
        peer.send(b"state\n");
        world.run_for(Duration::ZERO);
        peer.start_reading();
        world.run_for(SECOND);
        assert!(world.calls(&peer).contains(&"writable"));
        world.finish();
    });
}

#[test]
fn a_full_queue_refuses_and_says_how_full_it_is() {
    under_each_strategy(|strategy| {
        let (mut world, peer) = blocked(strategy, vec![vec![b'a'; 9_000].into()]);
        let seen = Rc::new(RefCell::new(Vec::new()));
        let results = seen.clone();
        world.act(move |conn, told| {
            if *told == Told::Received(b"more".to_vec()) {
                let queued = conn.queued_bytes();
                results.borrow_mut().push((queued, conn.send_copy(&[b'b'; 1_011])));
                results.borrow_mut().push((conn.queued_bytes(), conn.send_copy(&[b'c'; 1_010])));
                results.borrow_mut().push((conn.queued_bytes(), conn.send_copy(b"d")));
            }
        });
        peer.send(b"more\n");
        world.run_for(Duration::ZERO);
        let full = |queued, more| Err(SendError::Full { queued, more, max: 10_000 });
        let expected = [(8_990, full(8_990, 1_011)), (8_990, Ok(())), (10_000, full(10_000, 1))];
        assert_eq!(*seen.borrow(), expected);
        peer.start_reading();
        world.run_for(SECOND);
        assert_eq!(peer.received(), [vec![b'a'; 9_000], vec![b'c'; 1_010]].concat());
        world.finish();
    });
}

#[test]
fn writable_is_told_once_when_a_congested_queue_has_drained_to_the_low_mark() {
    under_each_strategy(|strategy| {
        let (mut world, peer) = blocked(strategy, vec![vec![b'a'; 5_020].into()]);
        let left = Rc::new(RefCell::new(Vec::new()));
        let queued = left.clone();
        world.act(move |conn, told| {
            if matches!(told, Told::Writable | Told::Received(_)) {
                queued.borrow_mut().push((conn.queued_bytes(), conn.is_congested()));
            }
        });
        peer.send(b"how full?\n");
        world.run_for(Duration::ZERO);
        peer.start_reading();
        world.run_for(SECOND);
        assert_eq!(*left.borrow(), [(5_010, true), (1_000, false)], "told at the low mark");
        assert_eq!(world.calls(&peer), ["opened", "received", "received", "writable"]);
        world.finish();
    });
}

#[test]
fn a_queue_that_was_never_congested_is_not_called_writable() {
    under_each_strategy(|strategy| {
        let (mut world, peer) = blocked(strategy, vec![vec![b'a'; 5_000].into()]);
        peer.start_reading();
        world.run_for(SECOND);
        assert_eq!(world.calls(&peer), ["opened", "received"]);
        world.finish();
    });
}

#[test]
fn a_peer_that_beats_and_does_not_read_is_a_slow_consumer() {
    under_each_strategy(|strategy| {
        let (mut world, peer) = blocked(strategy, vec![vec![b'a'; 5_020].into()]);
        let stalled_since = world.now();
        let send_stall_within = world.liveness.send_stall_within;
        beats(&peer, 5 * SECOND, send_stall_within);
        world.run_for(send_stall_within + SECOND);
        let end = world.end_of(&peer).unwrap();
        assert_eq!(end.cause.name(), "slow_consumer");
        let took = since(stalled_since, end.decided_at);
        assert!((send_stall_within..=send_stall_within + 2 * TICK).contains(&took), "{took:?}");
        assert_eq!(end.evidence.socket.unsent, Some(10), "the evidence was collected");
        assert_eq!(peer.saw(), Saw::Reset, "closed abortively");
        world.finish();
    });
}

#[test]
fn a_peer_that_reads_a_little_from_time_to_time_is_no_slow_consumer() {
    under_each_strategy(|strategy| {
        let (mut world, peer) = blocked(strategy, vec![vec![b'a'; 5_020].into()]);
        world.net.limit_sends(10);
        let every = world.liveness.send_stall_within - SECOND;
        for _ in 0..10 {
            beats(&peer, 5 * SECOND, every);
            world.run_for(every);
            // One gulp: what lies in the socket buffer.
            peer.start_reading();
            peer.stop_reading();
            world.run_for(Duration::ZERO);
        }
        assert_eq!(world.end_of(&peer), None);
        world.finish();
    });
}

#[test]
fn a_broadcast_reaches_everybody_with_one_buffer() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let fleet = world.connect_fleet(200);
        world.act(|conn, told| {
            if let Told::Received(frame) = told {
                let payload = Bytes::copy_from_slice(frame);
                let mut conns = conn.conns();
                let ids: Vec<_> = conns.ids().collect();
                for id in ids {
                    conns.send(id, payload.clone()).unwrap();
                }
            }
        });
        fleet[7].send(b"to all\n");
        world.run_for(Duration::ZERO);
        assert!(fleet.iter().all(|peer| peer.received() == b"to all"));
        world.finish();
    });
}

#[test]
fn nothing_queued_for_a_dead_peer_stays_behind() {
    under_each_strategy(|strategy| {
        let (mut world, peer) = blocked(strategy, vec![vec![b'a'; 100].into(); 50]);
        let open_before = world.shard.open_total();
        peer.reset();
        world.run_for(SECOND);
        assert_eq!(world.cause_of(&peer), "peer_reset");
        // Its slot went to the accept that was waiting for one; its queue is gone.
        assert_eq!(world.backend.ledger().sockets, 0);
        assert!(world.shard.open_total() < open_before);
        world.finish();
    });
}

/// What a test does to the path, step by step.
#[derive(Clone, Debug)]
enum Step {
    Send(Vec<usize>),
    LimitTo(usize),
    Stop,
    Start,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec(prop_oneof![4 => 1..200_usize, 1 => 4_000..6_000_usize], 1..8).prop_map(Step::Send),
        2 => (16..5_000_usize).prop_map(Step::LimitTo),
        1 => Just(Step::Stop),
        2 => Just(Step::Start),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Whatever was taken from the handler reaches the peer, once and in order.
    #[test]
    fn what_is_accepted_arrives_in_order(steps in steps(), buffer in 16..3_000_u32) {
        let strategy = DeadlineStrategy::Linked;
        let mut world = World::with_buffers(strategy, buffer, |config| {
            config.limits.send_queue_bytes_max = 20_000;
            config.limits.send_queue_high = 10_000;
            config.limits.send_queue_low = 2_000;
        });
        let (next, accepted) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::<u8>::new())));
        let (sizes, taken) = (next.clone(), accepted.clone());
        world.act(move |conn, told| {
            if matches!(told, Told::Received(_)) {
                for size in sizes.take() {
                    let from = taken.borrow().len();
                    let payload: Vec<u8> = (from..from + size).map(|n| (n % 251) as u8).collect();
                    if conn.send_copy(&payload).is_ok() {
                        taken.borrow_mut().extend(payload);
                    }
                }
            }
        });
        let peer = world.connect_live();
        for step in steps {
            match step {
                Step::Send(sizes) => {
                    next.replace(sizes);
                    peer.send(b"go\n");
                }
                Step::LimitTo(bytes_max) => world.net.limit_sends(bytes_max),
                Step::Stop => peer.stop_reading(),
                Step::Start => peer.start_reading(),
            }
            world.run_for(Duration::from_millis(10));
        }
        peer.start_reading();
        world.run_for(SECOND);
        prop_assert_eq!(&peer.received(), &*accepted.borrow());
        world.finish();
    }
}
