//! Look before you convict: a deadline that passed while bytes lay unread convicts nobody, a peer that sends garbage for
//! ever is convicted all the same.

use std::time::Duration;

use heartring_core::{
    Cause, Completion, DeadlineStrategy, Errno, Op, OpKind, RecvEnd, SocketEvidence, TcpEvidence, WatchEnd,
};

use crate::by_hand::ByHand;
use crate::world::{TICK, World, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);

/// A socket in which bytes wait.
const UNREAD: SocketEvidence = SocketEvidence { unread: Some(5), unsent: Some(0), tcp: None };

/// A socket in which nothing waits.
const EMPTY: SocketEvidence = SocketEvidence { unread: Some(0), unsent: Some(0), tcp: None };

/// Lets the heartbeat deadline of the only connection pass without a byte, up to the examination.
fn silence(by_hand: &mut ByHand, conn: heartring_core::ConnId) {
    let until = by_hand.now + Duration::from_secs(31);
    while by_hand.now < until && !by_hand.has(OpKind::Examine) {
        by_hand.pass(Duration::from_millis(20));
        if by_hand.watched_until().is_some_and(|at| at <= by_hand.now) {
            by_hand.end_watch(conn, WatchEnd::Expired);
        }
        if by_hand.leased_until().is_some_and(|at| at <= by_hand.now) {
            by_hand.end_recv(conn, RecvEnd::Expired);
        }
        by_hand.turn();
    }
    assert!(by_hand.has(OpKind::Examine), "the deadline has passed and somebody looks");
}

#[test]
fn a_beat_that_arrives_while_the_thread_is_away_acquits() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| {
            // Too short a stall to be one: only the look saves it.
            config.overrides.stall_tolerance = Some(Duration::from_mins(1));
        });
        let peer = world.connect_live();
        world.run_for(world.liveness.dead_within - Duration::from_millis(5));
        peer.send_after(Duration::from_millis(2), b"\n");
        world.net.stall(Duration::from_millis(50));
        world.run_for(SECOND);
        assert_eq!(world.calls(&peer), ["opened", "overdue"]);
        world.finish();
    });
}

#[test]
fn unread_bytes_acquit() {
    under_each_strategy(|strategy| {
        let mut by_hand = ByHand::new(strategy);
        let conn = by_hand.accept(b"\n");
        silence(&mut by_hand, conn);
        by_hand.examine(conn, UNREAD);
        by_hand.turn();
        assert_eq!(by_hand.calls(conn), ["opened", "overdue"]);
        by_hand.receive(conn, b"beat\n");
        by_hand.turn();
        assert_eq!(by_hand.calls(conn), ["opened", "overdue", "received"]);
        assert_eq!(by_hand.shard.stats().acquitted, 1);
        by_hand.finish();
    });
}

#[test]
fn a_watch_that_sees_the_unread_bytes_uses_up_no_look() {
    let mut by_hand = ByHand::new(DeadlineStrategy::Linked);
    let conn = by_hand.accept(b"\n");
    silence(&mut by_hand, conn);
    by_hand.examine(conn, UNREAD);
    by_hand.turn();
    // What lies unread is what the next watch sees. It is still to be read within the time that acquittal gives.
    by_hand.end_watch(conn, WatchEnd::Ready);
    by_hand.pass(SECOND / 2);
    assert!(!by_hand.has(OpKind::Examine), "another look follows at once");
    by_hand.pass(SECOND);
    assert!(by_hand.has(OpKind::Examine), "and none follows at all");
    by_hand.finish();
}

#[test]
fn where_tcp_knows_the_end_already_the_recv_says_which() {
    under_each_strategy(|strategy| {
        // CLOSE: an RST has come, and its error waits for the recv.
        let tcp = Some(TcpEvidence { state: 7, ..TcpEvidence::default() });
        let mut by_hand = ByHand::new(strategy);
        let conn = by_hand.accept(b"\n");
        silence(&mut by_hand, conn);
        by_hand.examine(conn, SocketEvidence { tcp, ..EMPTY });
        by_hand.turn();
        by_hand.end_recv(conn, RecvEnd::Failed(Errno::ECONNRESET));
        by_hand.turn();
        assert_eq!(by_hand.end_of(conn).map(|end| end.cause.name()), Some("peer_reset"));
        by_hand.finish();
    });
}

/// A connection whose send is stalled, and which beats while its socket is examined.
fn beats_while_accused_of_a_stalled_send(strategy: DeadlineStrategy) -> (ByHand, heartring_core::ConnId) {
    let mut by_hand = ByHand::speaking(strategy, |config| {
        config.overrides.send_stall_within = Some(SECOND);
        config.dead_within = Duration::from_secs(10);
    });
    by_hand.answer();
    let conn = by_hand.accept(b"ask\n");
    by_hand.pass(2 * SECOND);
    by_hand.receive(conn, b"\n");
    by_hand.turn();
    assert!(by_hand.has(OpKind::Examine), "it is accused");
    (by_hand, conn)
}

#[test]
fn who_beats_while_accused_of_something_else_has_its_time_from_that_beat() {
    under_each_strategy(|strategy| {
        let (mut by_hand, conn) = beats_while_accused_of_a_stalled_send(strategy);
        let beat = by_hand.now;
        by_hand.examine(conn, EMPTY);
        by_hand.turn();
        let Op::Send { payload, .. } = by_hand.take(OpKind::Send) else { unreachable!("it is a Send") };
        by_hand.tell(Completion::Sent { conn, payload, result: Ok(6) });
        by_hand.turn();
        silence(&mut by_hand, conn);
        assert!(by_hand.now >= beat + 10 * SECOND, "accused after {:?}", by_hand.now.saturating_since(beat));
        by_hand.finish();
    });
}

#[test]
fn the_silence_of_a_slow_consumer_is_since_the_beat_that_came_while_it_was_accused() {
    under_each_strategy(|strategy| {
        let (mut by_hand, conn) = beats_while_accused_of_a_stalled_send(strategy);
        by_hand.pass(SECOND / 2);
        by_hand.examine(conn, SocketEvidence { unsent: Some(6), ..EMPTY });
        by_hand.turn();
        let end = by_hand.end_of(conn).unwrap();
        assert_eq!(end.cause, Cause::SlowConsumer);
        assert!(end.evidence.silence <= SECOND / 2, "{:?}", end.evidence.silence);
        by_hand.finish();
    });
}

#[test]
fn garbage_for_ever_is_convicted() {
    under_each_strategy(|strategy| {
        let mut by_hand = ByHand::new(strategy);
        let conn = by_hand.accept(b"\n");
        for look in 0..4 {
            silence(&mut by_hand, conn);
            assert_eq!(by_hand.calls(conn), ["opened", "overdue"], "look {look}");
            by_hand.examine(conn, UNREAD);
            by_hand.turn();
        }
        assert_eq!(by_hand.calls(conn), ["opened", "overdue", "closing"]);
        assert_eq!(by_hand.shard.stats().acquitted, 3);
        by_hand.finish();
    });
}

#[test]
fn a_proof_of_life_gives_back_every_look() {
    under_each_strategy(|strategy| {
        let mut by_hand = ByHand::new(strategy);
        let conn = by_hand.accept(b"\n");
        for round in 0..10 {
            silence(&mut by_hand, conn);
            by_hand.examine(conn, UNREAD);
            by_hand.turn();
            by_hand.receive(conn, b"\n");
            by_hand.turn();
            assert!(
                !by_hand.calls(conn).contains(&"closing"),
                "round {round}: the machine was late, not the peer"
            );
        }
        by_hand.finish();
    });
}

#[test]
fn a_proof_between_the_accusation_and_the_evidence_acquits() {
    under_each_strategy(|strategy| {
        let mut by_hand = ByHand::new(strategy);
        let conn = by_hand.accept(b"\n");
        silence(&mut by_hand, conn);
        if by_hand.has(OpKind::Recv) {
            by_hand.receive(conn, b"\n");
            by_hand.examine(conn, EMPTY);
            by_hand.turn();
            assert_eq!(by_hand.calls(conn), ["opened", "overdue"]);
            // And the deadline is kept as before.
            silence(&mut by_hand, conn);
            by_hand.examine(conn, EMPTY);
            by_hand.turn();
            assert_eq!(by_hand.calls(conn), ["opened", "overdue", "overdue", "closing"]);
        }
        by_hand.finish();
    });
}

#[test]
fn a_proof_under_accusation_does_not_forget_a_stalled_send() {
    under_each_strategy(|strategy| {
        let mut by_hand = ByHand::speaking(strategy, |config| {
            config.overrides.send_stall_within = Some(Duration::from_secs(40));
        });
        let conn = by_hand.accept(b"\n");
        by_hand.shard.handler().act = Box::new(|conn, told| {
            if told.name() == "overdue" && conn.queued_bytes() == 0 {
                conn.send_copy(b"it does not take this").unwrap();
            }
        });
        silence(&mut by_hand, conn);
        if by_hand.has(OpKind::Recv) {
            by_hand.receive(conn, b"\n");
            by_hand.examine(conn, EMPTY);
            by_hand.turn();
            for _ in 0..10 {
                by_hand.pass(5 * SECOND);
                if !by_hand.has(OpKind::Examine) {
                    by_hand.receive(conn, b"\n");
                }
            }
            by_hand.examine(conn, SocketEvidence { unsent: Some(22), ..EMPTY });
            assert_eq!(by_hand.end_of(conn).map(|end| end.cause.name()), Some("slow_consumer"));
        }
        by_hand.finish();
    });
}

#[test]
fn a_watch_left_over_from_an_earlier_silence_never_convicts() {
    let mut by_hand = ByHand::new(heartring_core::DeadlineStrategy::Linked);
    let conn = by_hand.accept(b"\n");
    by_hand.pass(16 * SECOND);
    let first = by_hand.watched_until().expect("overdue, and watched");
    // The recv takes the bytes and the poll beside it sleeps on, as the contract allows (clause 11).
    by_hand.receive(conn, b"\n");
    let beat_at = by_hand.now;
    by_hand.pass(first.saturating_since(by_hand.now) + TICK);
    by_hand.end_watch(conn, WatchEnd::Expired);
    by_hand.turn();
    assert_eq!(by_hand.calls(conn), ["opened", "overdue"], "it has beaten since");
    by_hand.pass(16 * SECOND);
    let second = by_hand.watched_until().expect("overdue again, and watched again");
    assert!(second >= beat_at + 30 * SECOND);
    by_hand.finish();
}

#[test]
fn a_watch_that_ends_in_a_later_silence_is_followed_by_its_own() {
    let mut by_hand = ByHand::new(heartring_core::DeadlineStrategy::Linked);
    let conn = by_hand.accept(b"\n");
    by_hand.pass(15 * SECOND + SECOND / 2);
    let first = by_hand.watched_until().expect("overdue, and watched");
    by_hand.receive(conn, b"\n");
    let beat_at = by_hand.now;
    // Overdue again while the old watch is still in flight.
    by_hand.shard.handler().act = Box::new(|_, _| ());
    by_hand.pass(first.saturating_since(by_hand.now) + SECOND);
    by_hand.end_watch(conn, WatchEnd::Expired);
    by_hand.turn();
    assert!(!by_hand.has(OpKind::Examine), "an old watch accuses nobody");
    by_hand.pass(2 * SECOND);
    let second = by_hand.watched_until().expect("the present silence is watched");
    assert!(second >= beat_at + 30 * SECOND && second <= beat_at + 30 * SECOND + 2 * TICK);
    by_hand.finish();
}

#[test]
fn a_watch_that_the_kernel_refuses_is_replaced_by_the_sweep() {
    for failure in [WatchEnd::Failed(Errno::ENOMEM), WatchEnd::Ready] {
        let mut by_hand = ByHand::new(heartring_core::DeadlineStrategy::Linked);
        let conn = by_hand.accept(b"\n");
        by_hand.pass(16 * SECOND);
        by_hand.end_watch(conn, failure);
        // Half a frame, or nothing at all.
        by_hand.pass(14 * SECOND + SECOND / 2);
        assert!(by_hand.has(OpKind::Examine), "{failure:?}");
        by_hand.examine(conn, EMPTY);
        assert_eq!(by_hand.calls(conn), ["opened", "overdue", "closing"]);
        by_hand.finish();
    }
}

#[test]
fn a_watch_is_submitted_only_beside_a_recv() {
    let mut by_hand = ByHand::new(heartring_core::DeadlineStrategy::Linked);
    let conn = by_hand.accept(b"\n");
    silence(&mut by_hand, conn);
    // The last bytes are read and TCP gives up between the look and its result.
    by_hand.receive(conn, b"half a fra");
    by_hand.end_recv(conn, RecvEnd::Failed(Errno::ETIMEDOUT));
    by_hand.examine(conn, UNREAD);
    by_hand.turn();
    if let (Some(watch), recv) = (by_hand.position(OpKind::Watch), by_hand.position(OpKind::Recv)) {
        assert!(recv.is_some_and(|recv| recv < watch), "a Watch needs a Recv in flight (Op::Watch)");
    }
    by_hand.finish();
}

#[test]
fn an_errno_that_comes_after_the_accusation_is_evidence() {
    under_each_strategy(|strategy| {
        let mut by_hand = ByHand::new(strategy);
        let conn = by_hand.accept(b"\n");
        silence(&mut by_hand, conn);
        if by_hand.has(OpKind::Recv) {
            by_hand.end_recv(conn, RecvEnd::Failed(Errno::ETIMEDOUT));
            by_hand.examine(conn, EMPTY);
            by_hand.turn();
            by_hand.end_recv(conn, RecvEnd::Eof);
        } else {
            // The lease has ended the recv; the one of the grace period meets the errno.
            by_hand.examine(conn, EMPTY);
            by_hand.turn();
            by_hand.end_recv(conn, RecvEnd::Failed(Errno::ETIMEDOUT));
        }
        by_hand.turn();
        let end = by_hand.end_of(conn).unwrap();
        assert_eq!(end.cause, Cause::HeartbeatMissed, "the first cause wins");
        assert_eq!(end.evidence.errno, Some(Errno::ETIMEDOUT), "what comes later is noted");
        by_hand.finish();
    });
}

#[test]
fn where_unread_bytes_cannot_be_seen_the_recv_is_given_a_moment_once() {
    let blank = SocketEvidence { unread: None, ..EMPTY };
    under_each_strategy(|strategy| {
        let mut by_hand = ByHand::new(strategy);
        let conn = by_hand.accept(b"\n");
        silence(&mut by_hand, conn);
        by_hand.examine(conn, blank);
        by_hand.turn();
        assert_eq!(by_hand.calls(conn), ["opened", "overdue"], "the bytes may be there");
        silence(&mut by_hand, conn);
        by_hand.examine(conn, blank);
        by_hand.turn();
        assert!(by_hand.calls(conn).contains(&"closing"), "and they are not");
    });
}

#[test]
fn a_peer_that_has_taken_everything_is_no_slow_consumer() {
    under_each_strategy(|strategy| {
        let mut by_hand: ByHand = ByHand::speaking(strategy, |config| {
            config.overrides.send_stall_within = Some(5 * SECOND);
        });
        by_hand.shard.handler().act = Box::new(|conn, told| {
            if told.name() == "received" {
                conn.send_copy(b"an answer").unwrap();
            }
        });
        let conn = by_hand.accept(b"a question\n");
        by_hand.pass(6 * SECOND);
        // It has taken the answer; that the send is over is told a moment later.
        by_hand.examine(conn, EMPTY);
        by_hand.turn();
        let Op::Send { payload, .. } = by_hand.take(OpKind::Send) else {
            unreachable!("a Send was asked for")
        };
        let result = Ok(payload.len());
        by_hand.tell(Completion::Sent { conn, payload, result });
        by_hand.pass(4 * SECOND);
        assert_eq!(by_hand.calls(conn), ["opened", "received"]);
        by_hand.finish();
    });
}

#[test]
fn a_send_that_is_never_over_is_a_slow_consumers_whatever_the_socket_says() {
    under_each_strategy(|strategy| {
        let mut by_hand: ByHand = ByHand::speaking(strategy, |config| {
            config.overrides.send_stall_within = Some(5 * SECOND);
        });
        by_hand.shard.handler().act = Box::new(|conn, told| {
            if told.name() == "received" {
                conn.send_copy(b"an answer").unwrap();
            }
        });
        let conn = by_hand.accept(b"a question\n");
        for look in 1..=4 {
            by_hand.pass(6 * SECOND / look);
            by_hand.examine(conn, EMPTY);
        }
        by_hand.turn();
        assert_eq!(by_hand.end_of(conn).map(|end| end.cause), Some(Cause::SlowConsumer));
        by_hand.finish();
    });
}
